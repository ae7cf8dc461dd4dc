"""
How the name that Redis holds is made from a namespace and a logical key.

`namespace + ":" + hash(key)`; with hashing off the key itself, with the prefix off no namespace.
Only the cache client needs it: a sweep works on the names that are stored.
"""

from __future__ import annotations

import base64
import hashlib

from rotator.errors import ConfigError


class Names:
    """
    The rule of one cache.

    *hash* is any of hashlib's with a fixed length. *encoding* `base64url` goes without padding.
    *scope* `key` leaves the namespace readable, `name` hashes it too. *hashed* and *prefixed* are
    the cache's own switches.

    Raises:
        ConfigError: The hash, the encoding or the scope is not known.
    """

    __slots__ = ("encoding", "hash", "hashed", "prefixed", "scope")

    def __init__(
        self,
        hash: str = "sha256",  # noqa: A002 - the word of the configuration
        encoding: str = "hex",
        scope: str = "key",
        *,
        hashed: bool = True,
        prefixed: bool = True,
    ) -> None:
        self.hash = _known_hash(hash)
        self.encoding = _one_of("encoding", encoding, ("hex", "base64url"))
        self.scope = _one_of("scope", scope, ("key", "name"))
        self.hashed = hashed
        self.prefixed = prefixed

    def stored(self, namespace: str, key: str) -> bytes:
        """The name under which Redis holds *key* of *namespace*; text is taken as UTF-8."""
        prefix = _bytes(f"{namespace}:") if self.prefixed else b""
        if not self.hashed:
            return prefix + _bytes(key)
        if self.scope == "name":
            return self._digest(prefix + _bytes(key))
        return prefix + self._digest(_bytes(key))

    def _digest(self, data: bytes) -> bytes:
        """The hash of *data* as text."""
        digest = hashlib.new(self.hash, data, usedforsecurity=False).digest()
        if self.encoding == "hex":
            return digest.hex().encode()
        return base64.urlsafe_b64encode(digest).rstrip(b"=")


def _bytes(text: str) -> bytes:
    """*text* as UTF-8."""
    # An argument of the command line that is not UTF-8 arrives in this disguise.
    return text.encode("utf-8", "surrogateescape")


def _one_of(field: str, value: str, allowed: tuple[str, ...]) -> str:
    """*value*, when it is one of *allowed*."""
    if value not in allowed:
        hint = f"it is {' or '.join(allowed)}"
        raise ConfigError(f"names.{field}: {value!r} is not known", hint=hint)
    return value


def _known_hash(name: str) -> str:
    """*name*, when hashlib here can compute it and its length is fixed."""
    hint = f"one of {', '.join(sorted(_fixed_hashes()))}"
    try:
        size = hashlib.new(name, usedforsecurity=False).digest_size
    except ValueError:
        raise ConfigError(f"names.hash: {name!r} is not known here", hint=hint) from None
    if size == 0:
        raise ConfigError(f"names.hash: {name!r} has no fixed length", hint=hint)
    return name


def _fixed_hashes() -> set[str]:
    """The hashes with a length of their own that every Python has."""
    return {name for name in hashlib.algorithms_guaranteed if not name.startswith("shake")}
