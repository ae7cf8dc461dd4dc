"""
Load: finds, merges and expands the files, and validates the whole.

A later file wins. Mappings merge field by field, `caches` by the name of the cache; any other list,
and every scalar, replaces what was there. An empty section takes nothing away.

Only the sections that rotator reads are built, so whatever else the files hold cannot fail here.
Nor can caches of type cluster, or TLS profiles that no cache names. What `load` returns can be
used, but for the secrets it refers to.
"""

import os
import re
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, PlainValidator, ValidationInfo, field_validator

from rotator.config.files import Document, Unquoted, read
from rotator.config.schema import (
    CacheConfig,
    CacheSettings,
    ClusterCache,
    Encryption,
    RotatorSection,
    TlsProfile,
)
from rotator.config.types import Reading, Section, child, problem, read_section, shown
from rotator.errors import ConfigError

SECTIONS = ("caches", "tls", "rotator")
DEFAULT_PLACE = Path("/etc/maverics/maverics.yaml")
Entry = CacheConfig | ClusterCache

_VARIABLE = re.compile(r"\{\{\s*env\.([^\s{}]+)\s*\}\}")


def locate(files: Sequence[Path]) -> tuple[Path, ...]:
    """Return *files*, else the one MAVERICS_CONFIG names, else the Orchestrator's default."""
    return tuple(files) or (Path(os.environ.get("MAVERICS_CONFIG") or DEFAULT_PLACE),)


def read_all(files: Sequence[Path], digests: dict[Path, str] | None = None) -> Document:
    """
    Read *files* and merge them in order; their SHA-256 go into *digests*.

    Raises:
        ConfigError: A file cannot be read or is broken; see `files.read`.
    """
    return reduce(merge, (read(path, SECTIONS, digests) for path in files), {})


def merge(base: Document, over: Document) -> Document:
    """Return *base* with *over* on top; neither is changed."""
    merged: Document = _merge_values(base, over)
    old, new = base.get("caches"), over.get("caches")
    if isinstance(old, list) and isinstance(new, list | None):
        merged["caches"] = _merge_caches(old, new or [])
    return merged


def _merge_values(old: Any, new: Any) -> Any:
    """Return *new* on top of *old*: field by field if both are mappings."""
    if not isinstance(old, dict):
        return new
    if isinstance(new, dict):
        return old | {field: _merge_values(old.get(field), value) for field, value in new.items()}
    return old if new is None else new


def _merge_caches(old: list[Any], new: list[Any]) -> list[Any]:
    """Merge lists of caches; each old one takes at most one new one, so that twins are noticed."""
    merged = list(old)
    free = {_name_of(cache): index for index, cache in reversed(list(enumerate(old)))}
    for cache in new:
        index = free.pop(name, None) if (name := _name_of(cache)) is not None else None
        if index is None:
            merged.append(cache)
        else:
            merged[index] = _merge_values(merged[index], cache)
    return merged


def _name_of(cache: Any) -> str | None:
    """Return the name of a cache, if it has one that is text."""
    name = cache.get("name") if isinstance(cache, dict) else None
    return name if isinstance(name, str) else None


def expand(value: Any, path: str, done: dict[str, str] | None = None) -> Any:
    """
    Replace every `{{ env.NAME }}` in the strings of *value*, which stands at *path*.

    A text that aliases repeat stays one text, in *done*.

    Raises:
        ConfigError: A variable is not set.
    """
    done = {} if done is None else done
    if isinstance(value, dict):
        return {name: expand(inner, child(path, name), done) for name, inner in value.items()}
    if isinstance(value, list):
        return [expand(inner, child(path, index), done) for index, inner in enumerate(value)]
    if not isinstance(value, str) or isinstance(value, Unquoted):
        return value
    if value not in done:
        done[value] = _VARIABLE.sub(lambda match: _variable(match[1], path), value)
    return done[value]


def _variable(name: str, path: str) -> str:
    """Return the environment variable *name*, which is asked for at *path*."""
    if (found := os.environ.get(name)) is None:
        raise ConfigError(
            f"{path}: the environment variable {name} is not set",
            hint=f"set {name}, or replace {{{{ env.{name} }}}} in the file",
        )
    return found


def _read_caches(given: Any, info: ValidationInfo[Reading]) -> tuple[Entry, ...]:
    """Read the caches of both types, in the order of the file."""
    if not isinstance(given, list | tuple):
        raise ConfigError("caches: must be a list", hint="begin each cache with a dash")
    found: dict[str, Entry] = {}
    for index, one in enumerate(given):
        path = child("caches", index)
        cache = _read_cache(one, Reading(path, info.context.warnings))
        if cache.name in found:
            raise ConfigError(
                f"{path}.name: {found[cache.name].path} has the same name",
                hint="give each cache its own name",
            )
        found[cache.name] = cache
    if not any(isinstance(cache, CacheConfig) for cache in found.values()):
        raise ConfigError(
            f"caches: there is no cache{' of type redis' if found else ''}",
            hint="rotator works on the caches of type redis; is this the right file?",
        )
    return tuple(found.values())


def _read_cache(given: Any, reading: Reading) -> Entry:
    """Read one cache; of one of type cluster only its name and its keys."""
    path = reading.path
    if isinstance(given, dict) and expand(given.get("type"), f"{path}.type") == "cluster":
        name = expand(given.get("name"), f"{path}.name")
        cache = read_section(ClusterCache, {"name": name}, reading)
        keys = _read_skipped(given.get("encryption"), f"{path}.encryption")
        return cache.model_copy(update={"encryption": keys})
    return read_section(CacheConfig, expand(given, path), reading)


def _read_skipped(given: Any, path: str) -> Encryption | None:
    """Read the keys of a cache that is skipped; None if not all of it is understood."""
    reading = Reading(path)
    try:
        found = read_section(Encryption, expand(given, path), reading)
    except ConfigError:  # it is no error of ours that another cache is not understood
        return None
    return None if reading.warnings else found


def _read_profiles(given: Any, info: ValidationInfo[Reading]) -> dict[str, TlsProfile]:
    """Read the profiles that caches name; the others may be broken for all we know."""
    given = given if isinstance(given, dict) else {}
    found = {}
    for cache in info.data["every"]:
        if isinstance(cache, ClusterCache) or (name := cache.redis.tls) is None:
            continue
        if name not in given:
            known = ", ".join(map(shown, given))
            raise ConfigError(
                f"{cache.field('redis.tls')}: there is no such profile under tls",
                hint=f"profiles are {known}" if known else "add the profile under tls",
            )
        path = child("tls", name)
        found[name] = read_section(TlsProfile, expand(given[name], path), Reading(path))
    return found


class RotatorConfig(Section):
    """
    Configuration: holds everything that rotator reads from *files*.

    *every* are the caches of both types, *tls* the profiles that they name; *warnings* name each
    field that was ignored.
    """

    foreign: ClassVar[bool] = True
    every: Annotated[tuple[Entry, ...], PlainValidator(_read_caches)] = Field(
        default=(), alias="caches", validate_default=True
    )
    tls: Annotated[dict[str, TlsProfile], PlainValidator(_read_profiles)] = Field(
        default={}, validate_default=True
    )
    rotator: RotatorSection = RotatorSection()
    files: tuple[Path, ...] = ()
    digests: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def caches(self) -> tuple[CacheConfig, ...]:
        """Return the caches of type redis."""
        return tuple(cache for cache in self.every if isinstance(cache, CacheConfig))

    @property
    def skipped(self) -> tuple[str, ...]:
        """Return the names of the caches of type cluster."""
        return tuple(cache.name for cache in self.every if isinstance(cache, ClusterCache))

    def cache(self, name: str | None = None) -> CacheConfig:
        """
        Return the cache called *name*; without a name the only one.

        Raises:
            ConfigError: There is none, it is of type cluster, or there are several to choose from.
        """
        names = ", ".join(cache.name for cache in self.caches)
        if name is None and len(self.caches) > 1:
            raise ConfigError("there are several caches", hint=f"choose one with --cache: {names}")
        for cache in self.caches:
            if name in {None, cache.name}:
                return cache
        reason = "is of type cluster" if name in self.skipped else "is not in the configuration"
        raise ConfigError(f"the cache {name} {reason}", hint=f"choose from {names}")

    def tls_profile(self, cache: CacheConfig) -> TlsProfile | None:
        """Return the TLS profile of *cache*; None: no TLS."""
        return None if cache.redis.tls is None else self.tls[cache.redis.tls]

    def settings(self, cache: CacheConfig) -> CacheSettings:
        """Return `rotator.caches.<name>` of *cache*, or the defaults."""
        return self.rotator.caches.get(cache.name) or CacheSettings()

    @field_validator("rotator", mode="before")
    @classmethod
    def _expand(cls, given: Any) -> Any:
        """Replace the variables in our own section."""
        return expand(given, "rotator")

    @field_validator("rotator")
    @classmethod
    def _check_names(cls, ours: RotatorSection, info: ValidationInfo[Reading]) -> RotatorSection:
        """Check that the settings are for caches that exist."""
        kinds = {cache.name: type(cache) for cache in info.data["every"]}
        names = sorted(kinds, key=lambda name: kinds[name] is ClusterCache)
        hint = f"under caches there are {', '.join(map(shown, names))}"
        for name, settings in ours.caches.items():
            path = child("rotator.caches", name)
            if name not in kinds:
                raise problem("there is no such cache", hint, "caches", name)
            assumed = settings.assume.caches
            for index, other in enumerate(assumed.value if assumed else ()):
                at = ("caches", name, "assume", "caches", "is", index)
                if other not in kinds:
                    raise problem("there is no such cache", hint, *at)
                if other == name:
                    raise problem("is this cache itself", "name other caches", *at)
            if kinds[name] is ClusterCache:
                warning = f"{path}: settings of a cache of type cluster, ignored"
                info.context.warnings.append(warning)
        return ours


def load(files: Sequence[Path] = ()) -> RotatorConfig:
    """
    Read and check the configuration: *files*, or the default place.

    Raises:
        ConfigError: It cannot be read, or something in it is wrong; the message begins with the
            path of the field (or of the file) and there is a hint.
    """
    places, reading, digests = locate(files), Reading(), dict[Path, str]()
    config = read_section(RotatorConfig, read_all(places, digests), reading)
    known = {"files": places, "digests": tuple(digests[place] for place in places)}
    return config.model_copy(update={**known, "warnings": tuple(reading.warnings)})
