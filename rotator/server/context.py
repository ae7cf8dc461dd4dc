"""
What it takes to use one cache: its configuration with every secret resolved, at the last moment.

An `Access` is opened where it is used and never travels: what goes to another process is the list
of configuration files and the cache's name.

What two machines must agree on before one sweeps for the other, in a form that may travel.

Digests tell that something differs, not what: of the keys only what their ids say goes in, of the
configuration only what is not secret. Where a reference stands, the reference counts; that both
machines find the same key behind it, the key ids say. What is in a TLS profile may differ: it says
how this machine gets there.

Which caches of a configuration a run works on, and the keys of all of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Self

import structlog

from rotator.config.load import Config, load
from rotator.config.schema import SAME, CacheConfig, CacheSettings
from rotator.config.types import Address, Provider, SecretRef
from rotator.console import start_logging
from rotator.crypto.codec import Codec
from rotator.crypto.keyring import Key, Keyring
from rotator.crypto.layout import BUILTIN, Format
from rotator.errors import ConfigError, SourceError
from rotator.secrets.provider import provider_from_url
from rotator.server.connection import Connection, Login
from rotator.server.store import Store
from rotator.tls import tls_context


def choose(config: Config, name: str | None) -> CacheConfig:
    """
    The cache called *name*; without a name the only one.

    Raises:
        ConfigError: There is no such cache, or several to choose from.
    """
    if name is not None:
        return config.cache(name)
    if len(config.caches) > 1:
        names = ", ".join(cache.name for cache in config.caches)
        raise ConfigError("there are several caches", hint=f"choose one with --cache: {names}")
    return config.caches[0]


class CacheContext:
    """
    A cache that can be talked to, and, with encryption on, a keyring and a codec for its values.

    Raises:
        ConfigError: A key, a format or a name rule is wrong.
        SecretError: A reference cannot be resolved.
        SourceError: The secret provider cannot be reached.
    """

    def __init__(self, config: Config, cache: CacheConfig, provider: Provider | None) -> None:
        self.cache = cache
        self.settings: CacheSettings = config.settings(cache)
        self.login = Login(
            _resolve(cache.username, provider),
            _resolve(cache.password, provider),
            tls_context(config.tls_profile(cache), provider),
        )
        self.keyring = open_keyring(cache, provider)
        self.formats = _formats(config)
        self.codec = None if self.keyring is None else self._codec(self.keyring)

    def __repr__(self) -> str:
        return f"Access({self.cache.name!r})"

    def __getstate__(self) -> NoReturn:
        raise TypeError("an access must not be pickled")

    def connect(self, address: Address) -> Store:
        """A store on a new pinned connection to *address*, or to where the map says it is."""
        reached = self.settings.address_map.get(address, address)
        return Store(Connection(reached, self.login).open())

    def _codec(self, keyring: Keyring) -> Codec:
        write = self.settings.write
        formats = [self.formats[name] for name in self.settings.formats]
        return Codec(keyring, formats, None if write == SAME else self.formats[write])


def _resolve(reference: SecretRef | None, provider: Provider | None) -> str | None:
    return None if reference is None else reference.resolve(provider)


def open_keyring(cache: CacheConfig, provider: Provider | None) -> Keyring | None:
    """
    The keys of *cache*; None with encryption off.

    Raises:
        KeyMaterialError: A key is no 64 hex characters, or listed twice.
        SecretError: A reference cannot be resolved.
        SourceError: The secret provider cannot be reached.
    """
    if cache.encryption_disabled or cache.current is None:
        return None
    current = Key.from_hex(cache.current.resolve(provider), cache.current.field)
    old = [Key.from_hex(ref.resolve(provider), ref.field) for ref in cache.old]
    return Keyring(current, old)


def _formats(config: Config) -> dict[str, Format]:
    custom = {
        given.name: Format.parse(given.name, given.encoding, given.layout, given.aad)
        for given in config.custom_formats
    }
    return {**BUILTIN, **custom}


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Digests of a cache's keys and formats, and of everything else that is configured for it."""

    cache: str
    codec: str
    settings: str

    @classmethod
    def of(cls, access: CacheContext) -> Self:
        """
        The fingerprint of a cache with encryption on.

        Raises:
            ValueError: It has none.
        """
        if access.codec is None:
            raise ValueError("a cache without encryption is not swept")
        cache = access.cache
        secrets = (cache.current, *cache.old, cache.username, cache.password)
        said = [
            cache.index,
            [str(address) for address in cache.addresses],
            [_shown(secret) for secret in secrets],
            cache.tls,
            [cache.disable_prefix, cache.hashing_disabled],
            repr(access.settings),
        ]
        digest = hashlib.sha256(json.dumps(said).encode()).hexdigest()
        return cls(cache.name, access.codec.digest, digest)

    def difference(self, other: Fingerprint) -> str | None:
        """How this machine's differs from that of the *other*, in a few words; None: not at all."""
        if self.codec != other.codec:
            return f"its keys or formats of the cache {self.cache} are not those of this machine"
        if self.settings != other.settings:
            return f"its configuration of the cache {self.cache} is not that of this machine"
        return None


def _shown(secret: SecretRef | None) -> str | None:
    """What may be said of a secret: the reference, or that there is a value."""
    return None if secret is None else secret.display


log = structlog.get_logger(__name__)


def select(config: Config, names: Sequence[str], provider: Provider | None) -> list[CacheContext]:
    """
    The caches called *names*, else every one with encryption on, ready to be used.

    Raises:
        ConfigError: There is no such cache, none is left, or a key or format is wrong.
        SourceError: The secret provider cannot be reached.
    """
    if names:
        chosen = [config.cache(name) for name in dict.fromkeys(names)]
    else:
        chosen = [cache for cache in config.caches if not cache.encryption_disabled]
        for cache in config.caches:
            if cache.encryption_disabled:
                log.info("cache is not encrypted, nothing to rotate", cache=cache.name)
    if not chosen:
        raise ConfigError(
            "caches: every cache has encryption disabled, so there is nothing to rotate",
            hint="is this the right configuration?",
        )
    return [CacheContext(config, cache, provider) for cache in chosen]


def all_keyrings(
    config: Config, selected: Sequence[CacheContext], provider: Provider | None
) -> dict[str, Keyring | None]:
    """
    The keys of every encrypted cache by its name; None where they cannot be known now.

    Those that are not *selected* count too: a key may be shared with one of them.
    """
    keyrings = {access.cache.name: access.keyring for access in selected}
    for cache in config.caches:
        if cache.encryption_disabled or cache.name in keyrings:
            continue
        try:
            keyrings[cache.name] = open_keyring(cache, provider)
        except (ConfigError, SourceError) as error:
            log.warning("keys of a cache that is not in this run are not known", error=str(error))
            keyrings[cache.name] = None
    return keyrings


def open_config(files: Sequence[Path] | None) -> Config:
    """
    The configuration of *files*, with what it warns of in the log.

    Raises:
        ConfigError: It cannot be read, or something in it is wrong.
    """
    config = load(files or ())
    start_logging()
    for warning in config.warnings:
        log.warning(warning)
    for name in config.skipped:
        log.info("skipped, its type is cluster", cache=name)
    return config


def open_access(config: Config, cache_name: str | None, provider_url: str | None) -> CacheContext:
    """
    What it takes to use one cache; without a name the only one.

    Raises:
        ConfigError: There is no such cache, several to choose from, or a key or format is wrong.
        SourceError: The secret provider cannot be reached.
    """
    return CacheContext(config, choose(config, cache_name), provider_from_url(provider_url))
