"""
The configuration, checked: what `load` returns can be used, but for the secrets it refers to.

Nothing here holds a secret in the open, and no message shows a value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rotator import document
from rotator.cacheconfig import CacheConfig, read_caches
from rotator.config.files import shown
from rotator.config.schema import BUILT_IN_FORMATS, SAME, CacheSettings, RotatorSection
from rotator.config.types import read_section
from rotator.document import child, expand
from rotator.errors import ConfigError
from rotator.tlsprofile import TlsProfile, read_profile

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
    places = document.locate(files)
    merged = document.read_all(places)
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
