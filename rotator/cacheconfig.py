"""
One cache as the configuration describes it, checked: `caches[]`.

The file is the Orchestrator's, which moves on: a field that is not known is a warning, unless it
looks like a known one misspelled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from rotator.address import Address
from rotator.config.schema import CacheSection, ClusterSection
from rotator.config.types import read_section, unknown_fields
from rotator.document import child, expand
from rotator.errors import ConfigError
from rotator.secrets.reference import SecretRef

RESERVED = "local_default"


@dataclass(frozen=True)
class CacheConfig:
    """
    One cache of type redis.

    *index* is its place in `caches`, all types counted; *tls* the name of its TLS profile. With
    encryption on, *current* is there.
    """

    index: int
    name: str
    disable_prefix: bool
    encryption_disabled: bool
    current: SecretRef | None
    old: tuple[SecretRef, ...]
    hashing_disabled: bool
    addresses: tuple[Address, ...]
    username: SecretRef | None
    password: SecretRef | None
    tls: str | None

    def field(self, suffix: str) -> str:
        """The path of a field of this cache: `redis.tls` gives `caches[0].redis.tls`."""
        return f"caches[{self.index}].{suffix}"


def read_caches(
    raw: Any,
) -> tuple[tuple[CacheConfig, ...], tuple[str, ...], tuple[str, ...]]:
    """The redis caches, the names of the others, and the warnings."""
    if raw is not None and not isinstance(raw, list):
        raise ConfigError("caches: must be a list", hint="begin each cache with a dash")
    caches: list[CacheConfig] = []
    skipped: list[str] = []
    warnings: list[str] = []
    seen: dict[str, str] = {}
    for index, given in enumerate(raw or ()):
        path = child("caches", index)
        if isinstance(given, dict) and expand(given.get("type"), f"{path}.type") == "cluster":
            name = expand(given.get("name"), f"{path}.name")
            name = read_section(ClusterSection, {"name": name}, path).name
            skipped.append(name)
        else:
            section = read_section(CacheSection, expand(given, path), path)
            name = section.name
            caches.append(_cache(section, index, path))
            warnings += [f"{p}: unknown field, ignored" for p in unknown_fields(section, path)]
        _check_name(name, path, seen)
    if not caches:
        raise ConfigError(
            f"caches: there is no cache{' of type redis' if skipped else ''}",
            hint="rotator works on the caches of type redis; is this the right file?",
        )
    return tuple(caches), tuple(skipped), tuple(warnings)


def secret_at(given: SecretStr | None, path: str, *, plain: bool = False) -> SecretRef | None:
    """A reference to what stands at *path*; an empty text is none."""
    text = given.get_secret_value() if given else ""
    return SecretRef(text, path, plain=plain) if text else None


def _check_name(name: str, path: str, seen: dict[str, str]) -> None:
    """Refuse an empty name, the built-in cache's, and one that was *seen* before (name: path)."""
    if not name:
        raise ConfigError(f"{path}.name: is empty", hint="give the cache a name")
    if name == RESERVED:
        raise ConfigError(
            f"{path}.name: {RESERVED} is the Orchestrator's built-in cache",
            hint="choose another name",
        )
    if name in seen:
        raise ConfigError(
            f"{path}.name: {seen[name]} has the same name", hint="give each cache its own name"
        )
    seen[name] = path


def _cache(section: CacheSection, index: int, path: str) -> CacheConfig:
    """The cache that *section*, found at *path*, describes."""
    keys = f"{path}.encryption.keys"
    current = secret_at(section.encryption.keys.current, f"{keys}.current")
    old = [secret_at(key, f"{keys}.old[{i}]") for i, key in enumerate(section.encryption.keys.old)]
    cache = CacheConfig(
        index=index,
        name=section.name,
        disable_prefix=section.keys.disable_prefix,
        encryption_disabled=section.encryption.disabled,
        current=current,
        old=tuple(key for key in old if key is not None),
        hashing_disabled=section.hashing.keys.disabled,
        addresses=section.redis.addresses,
        username=secret_at(section.redis.username, f"{path}.redis.username", plain=True),
        password=secret_at(section.redis.password, f"{path}.redis.password"),
        tls=section.redis.tls,
    )
    _check_cache(cache, gaps=[i for i, key in enumerate(old) if key is None])
    return cache


def _check_cache(cache: CacheConfig, gaps: Sequence[int]) -> None:
    """Check what several fields of *cache* say together; *gaps* are old keys that are empty."""
    if not cache.addresses:
        raise ConfigError(
            f"{cache.field('redis.addresses')}: missing",
            hint="list at least one host:port; of a Redis cluster, all nodes",
        )
    for index in gaps:
        raise ConfigError(
            f"{cache.field(f'encryption.keys.old[{index}]')}: is empty",
            hint="give the key, or a reference such as <cache_key_old>",
        )
    if cache.current is None and not cache.encryption_disabled:
        raise ConfigError(
            f"{cache.field('encryption.keys.current')}: missing while encryption is on",
            hint="give 64 hex characters or a reference; `rotator keygen` makes a key",
        )
    if cache.disable_prefix and not (cache.encryption_disabled and cache.hashing_disabled):
        raise ConfigError(
            f"{cache.field('keys.disablePrefix')}: true demands that encryption.disabled and "
            "hashing.keys.disabled are true",
            hint="the Orchestrator demands the same; leave the prefix on",
        )
