"""
The configuration, checked: what `load` returns can be used, but for the secrets it refers to.

Nothing here holds a secret in the open, and no message shows a value.

The configuration as plain data: found, read, merged. What the fields mean is `config`'s part.

A later file wins. Mappings merge field by field, `caches` by the name of the cache; any other list,
and every scalar, replaces what was there. An empty section takes nothing away. Only the sections
that rotator reads are built, so whatever else the files hold cannot fail here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rotator.config.files import Document, read
from rotator.config.schema import (
    BUILT_IN_FORMATS,
    SAME,
    CacheConfig,
    CacheSettings,
    RotatorSection,
    TlsProfile,
    read_caches,
    read_profile,
)
from rotator.config.types import child, expand, read_section, shown
from rotator.errors import ConfigError

SECTIONS = ("caches", "tls", "rotator")


DEFAULT_PLACE = Path("/etc/maverics/maverics.yaml")


def locate(files: Sequence[Path]) -> tuple[Path, ...]:
    """The files to read: *files*, else MAVERICS_CONFIG, else the Orchestrator's default."""
    if files:
        return tuple(files)
    named = os.environ.get("MAVERICS_CONFIG")
    return (Path(named) if named else DEFAULT_PLACE,)


def read_all(files: Sequence[Path]) -> Document:
    """
    Read *files* and merge them in order.

    Raises:
        ConfigError: A file cannot be read or is broken; see `datafile.read`.
    """
    merged: Document = {}
    for path in files:
        merged = merge(merged, read(path, SECTIONS))
    return merged


def merge(base: Document, over: Document) -> Document:
    """*base* with *over* on top; neither is changed."""
    merged = dict(base)
    for name, value in over.items():
        old = merged.get(name)
        if name == "caches" and isinstance(old, list) and isinstance(value, list | None):
            merged[name] = _merge_caches(old, value or [])
        else:
            merged[name] = _merge_values(old, value)
    return merged


def _merge_values(old: Any, new: Any) -> Any:
    """*new* on top of *old*: field by field if both are mappings."""
    if not isinstance(old, dict):
        return new
    if isinstance(new, dict):
        return old | {field: _merge_values(old.get(field), value) for field, value in new.items()}
    return old if new is None else new


def _merge_caches(old: list[Any], new: list[Any]) -> list[Any]:
    """Each old cache takes at most one new one, so that a name given twice in a file stays two."""
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
    """The name of a cache, if it has one that is text."""
    name = cache.get("name") if isinstance(cache, dict) else None
    return name if isinstance(name, str) else None


__all__ = ["CacheConfig", "CacheSettings", "Config", "FormatConfig", "TlsProfile", "load"]


@dataclass(frozen=True)
class FormatConfig:
    """A value format as `rotator.formats` describes it, not yet understood."""

    name: str
    encoding: str
    layout: tuple[str, ...]
    aad: str

    @property
    def field(self) -> str:
        """Where it is described."""
        return child("rotator.formats", self.name)


@dataclass(frozen=True)
class Config:
    """
    Everything rotator reads from *files*.

    *skipped* are the names of caches of type cluster; *warnings* name each field that was ignored.
    """

    caches: tuple[CacheConfig, ...]
    skipped: tuple[str, ...]
    warnings: tuple[str, ...]
    files: tuple[Path, ...]
    custom_formats: tuple[FormatConfig, ...]
    profiles: Mapping[str, TlsProfile] = field(repr=False)
    per_cache: Mapping[str, CacheSettings] = field(repr=False)

    def cache(self, name: str) -> CacheConfig:
        """
        The cache called *name*.

        Raises:
            ConfigError: There is none, or it is of type cluster.
        """
        for cache in self.caches:
            if cache.name == name:
                return cache
        names = ", ".join(cache.name for cache in self.caches)
        reason = "is of type cluster" if name in self.skipped else "is not in the configuration"
        raise ConfigError(f"the cache {name} {reason}", hint=f"choose from {names}")

    def tls_profile(self, cache: CacheConfig) -> TlsProfile | None:
        """The TLS profile of *cache*; None: no TLS."""
        return None if cache.tls is None else self.profiles[cache.tls]

    def settings(self, cache: CacheConfig) -> CacheSettings:
        """`rotator.caches.<name>` of *cache*, or the defaults."""
        return self.per_cache.get(cache.name) or CacheSettings()

    def formats(self, cache: CacheConfig) -> tuple[str, ...]:
        """The names of the formats that *cache* is tried with, in order."""
        return self.settings(cache).formats


def load(files: Sequence[Path] = ()) -> Config:
    """
    Read and check the configuration: *files*, or the default place.

    Raises:
        ConfigError: It cannot be read, or something in it is wrong; the message begins with the
            path of the field (or of the file) and there is a hint.
    """
    places = locate(files)
    merged = read_all(places)
    caches, skipped, warnings = read_caches(merged.get("caches"))
    raw_profiles = merged.get("tls")
    profiles = {c.tls: read_profile(c, raw_profiles) for c in caches if c.tls is not None}
    ours = read_section(RotatorSection, expand(merged.get("rotator"), "rotator"), "rotator")
    _check_formats(ours)
    _check_caches(ours, [cache.name for cache in caches] + list(skipped))
    warnings += tuple(
        f"{child('rotator.caches', name)}: settings of a cache of type cluster, ignored"
        for name in skipped
        if name in ours.caches
    )
    return Config(
        caches=caches,
        skipped=skipped,
        warnings=warnings,
        files=places,
        custom_formats=tuple(
            FormatConfig(name, given.encoding, given.layout, given.aad)
            for name, given in ours.formats.items()
        ),
        profiles=profiles,
        per_cache=ours.caches,
    )


def _check_caches(ours: RotatorSection, names: Sequence[str]) -> None:
    """Check that the settings are for caches that exist."""
    for name in ours.caches:
        if name not in names:
            raise ConfigError(
                f"{child('rotator.caches', name)}: there is no such cache",
                hint=f"under caches there are {', '.join(map(shown, names))}",
            )


def _check_formats(ours: RotatorSection) -> None:
    """Check the names of formats: those described, and those that caches use."""
    for name in ours.formats:
        if name in {*BUILT_IN_FORMATS, SAME}:
            raise ConfigError(
                f"{child('rotator.formats', name)}: the name is taken",
                hint=f"{', '.join(BUILT_IN_FORMATS)} are built in, and {SAME} has a meaning",
            )
    known = (*BUILT_IN_FORMATS, *ours.formats)
    for cache, settings in ours.caches.items():
        path = child("rotator.caches", cache)
        for index, name in enumerate(settings.formats):
            if name not in known:
                raise ConfigError(
                    f"{path}.formats[{index}]: there is no such format",
                    hint=f"formats are {', '.join(map(shown, known))}",
                )
        if settings.write not in {SAME, *settings.formats}:
            raise ConfigError(
                f"{path}.write: is neither {SAME} nor one of this cache's formats",
                hint=f"write {SAME}, or one of {', '.join(map(shown, settings.formats))}",
            )
