"""
What it takes to use one cache: its configuration with every secret resolved, at the last moment.

An `Access` is opened where it is used and never travels: what goes to another process is the list
of configuration files and the cache's name.
"""

from __future__ import annotations

from typing import NoReturn

from rotator.config.load import Config
from rotator.config.schema import SAME, CacheConfig, CacheSettings
from rotator.config.types import Address, Provider, SecretRef
from rotator.crypto.codec import Codec
from rotator.crypto.keyring import Key, Keyring
from rotator.crypto.layout import BUILTIN, Format
from rotator.server.connection import Connection, Login
from rotator.server.store import Store
from rotator.tls import tls_context


class Access:
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
