"""
The cache client: get, set and delete by logical key, as applications do through `api.Cache`.

    from datetime import timedelta
    from rotator import Cache

    with Cache.open("maverics.yaml", name="shared-redis", namespace="/app/oidc") as cache:
        cache.set("abc123", b"value", ttl=timedelta(hours=1))
        cache.get("abc123")

- The stored name is made from namespace and key (design, section 3), by the cache's own switches.
- Values are bytes. They are encrypted under the current key and opened under any configured one;
  where the cache's encryption is off they are stored as they are.
- Entries live in database 0, where the Orchestrator keeps them, unless another is asked for.
- A connection that was lost is made anew, and whoever is primary now is found (`owner`).
- A client is for one thread.

How the name that Redis holds is made from a namespace and a logical key.

`namespace + ":" + hash(key)`; with hashing off the key itself, with the prefix off no namespace.
Only the cache client needs it: a sweep works on the names that are stored.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn, Self

from rotator.config.load import load
from rotator.config.schema import SAME
from rotator.crypto.codec import Opened, Refused
from rotator.crypto.layout import Format
from rotator.errors import ConfigError, MissingError, RightsError, ServerError, UnopenedError
from rotator.secrets.provider import PROVIDER_VARIABLE, provider_from_url
from rotator.server.context import CacheContext, choose
from rotator.server.replies import ErrorKind, ErrorReply
from rotator.server.routing import ClusterRouter
from rotator.server.store import NoValue, Value


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


_MILLISECOND = timedelta(milliseconds=1)


_SHOWN = 12  # characters of a hash that are enough to recognise it


_KEYS = "`rotator keys` lists the keys of this cache, `rotator detect` says which open its values"


class Cache:
    """
    The entries of one *namespace* of a cache.

    An empty namespace is one too: the stored name then begins with the colon. It must be empty
    where the cache's prefix is disabled.

    Raises (every method that talks):
        ServerError: The server cannot be reached, is no primary, or answers with an error.
        RightsError: The user may not do this.
    """

    def __init__(self, access: CacheContext, namespace: str = "", *, database: int = 0) -> None:
        if namespace and access.cache.disable_prefix:
            raise ConfigError(
                f"{access.cache.field('keys.disablePrefix')}: names of this cache have no prefix,"
                " so there is no namespace",
                hint="leave the namespace empty",
            )
        self.access = access
        self._names = _names_of(access)
        self.namespace = namespace
        self.database = database
        self._owners = ClusterRouter(access, database)

    @classmethod
    def open(
        cls,
        config_files: Path | str | Sequence[Path | str] = (),
        name: str | None = None,
        namespace: str = "",
        provider_url: str | None = None,
        *,
        database: int = 0,
    ) -> Self:
        """
        The cache *name* of the configuration; the name may be left out if there is only one.

        *config_files* are one file or several, later ones win; without any it is `MAVERICS_CONFIG`,
        else `/etc/maverics/maverics.yaml`. *provider_url* defaults to `MAVERICS_SECRET_PROVIDER`.
        *database* is the number of the Redis database. Secrets are resolved here, and nothing is
        connected before the first call.

        Raises:
            ConfigError: The configuration is wrong, has no such cache, or its names have no
                namespace.
            SecretError: A reference cannot be resolved.
            SourceError: The secret provider cannot be reached.
        """
        several = (config_files,) if isinstance(config_files, str | Path) else config_files
        config = load([Path(file) for file in several])
        url = provider_url or os.environ.get(PROVIDER_VARIABLE)
        access = CacheContext(config, choose(config, name), provider_from_url(url))
        return cls(access, namespace, database=database)

    def get(self, key: str) -> bytes:
        """
        The value of *key*, decrypted.

        Raises:
            MissingError: There is none, or it has expired.
            UnopenedError: It opens under no configured key and format, or is no string.
        """
        name = self.stored_name(key)
        value = self._require(name, self._read(name))
        codec = self.access.codec
        if codec is None:
            return bytes(value)
        opened = codec.open(name, value)
        if isinstance(opened, Refused):
            reason = codec.explain(name, value, opened.reason)
            raise UnopenedError(f"{self.shown(name)} does not open: {reason}", hint=_KEYS)
        return opened.plaintext

    def set(self, key: str, value: bytes, ttl: timedelta | None = None) -> None:
        """
        Store *value* under *key*, in place of whatever is there; without *ttl* it stays for good.

        *ttl* counts in whole milliseconds; what is less of it is cut off.

        It is written in the format that the configuration names. With `write: same` a value that is
        there already keeps its own format, and a new one has the first configured format.

        Raises:
            ConfigError: *ttl* is shorter than a millisecond.
            SelfCheckError: The value does not open after encrypting; nothing was written.
        """
        expiry: tuple[str | int, ...] = ()
        if ttl is not None:
            if ttl < _MILLISECOND:
                raise ConfigError("the TTL is not positive", hint="leave it out for no expiry")
            expiry = ("PX", ttl // _MILLISECOND)
        name = self.stored_name(key)
        codec = self.access.codec
        if codec is not None:
            value = codec.seal(name, value, self._format_kept(name))
        self._ask(name, "SET", name, value, *expiry)

    def delete(self, key: str) -> bool:
        """Remove the entry of *key*; whether there was one."""
        name = self.stored_name(key)
        return bool(self._ask(name, "DEL", name))

    def stored_name(self, key: str) -> bytes:
        """The name under which Redis holds *key*."""
        return self._names.stored(self.namespace, key)

    def close(self) -> None:
        """Close the connections; the next call would open new ones."""
        self._owners.close()

    def _format_kept(self, name: bytes) -> Format | None:
        """The format of the value that is there; None: the configured one."""
        codec = self.access.codec
        if codec is None or self.access.settings.write != SAME:
            return None
        value = self._read(name)
        opened = codec.open(name, value) if isinstance(value, bytes) else None
        return opened.format if isinstance(opened, Opened) else None

    def shown(self, name: bytes) -> str:
        """A stored name as messages may show it: a hash cut short, never the key itself."""
        if not self._names.hashed:
            return f"sha256:{hashlib.sha256(name).hexdigest()[:_SHOWN]}..."
        text = name.decode(errors="backslashreplace")
        prefix, colon, digest = text.rpartition(":")
        return f"{prefix}{colon}{digest[:_SHOWN]}..."

    def _read(self, name: bytes) -> Value:
        """What the node that holds *name* has there."""
        return self._owners.ask(name, lambda store: store.read([name])[0])

    def _ask(self, name: bytes, *command: Any) -> Any:
        """The answer to a command about *name*; a refusal is raised."""
        return self._require(name, self._owners.ask(name, lambda store: store.answer(*command)))

    def _require(self, name: bytes, answer: Any) -> Any:
        """The *answer* of a server, unless it says that there is no value to be had."""
        if answer is NoValue.GONE:
            raise MissingError(
                f"there is no entry {self.shown(name)} in database {self.database}",
                hint="is the namespace right? it may also have expired",
            )
        if answer is NoValue.NOT_STRING:
            hint = "`rotator inspect` says what it is"
            raise UnopenedError(f"{self.shown(name)} is not a string", hint=hint)
        if answer is NoValue.DENIED or (
            isinstance(answer, ErrorReply) and answer.meaning is ErrorKind.DENIED
        ):
            hint = "`rotator check` says which rights the user lacks"
            raise RightsError(f"the user may not do this with {self.shown(name)}", hint=hint)
        if isinstance(answer, ErrorReply):
            raise ServerError(f"the server refused {self.shown(name)}: {answer.message}")
        return answer

    def __repr__(self) -> str:
        return f"Cache({self.access.cache.name!r}, {self.namespace!r})"

    def __getstate__(self) -> NoReturn:
        raise TypeError("a cache client must not be pickled")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _names_of(access: CacheContext) -> Names:
    """The rule by which the stored names of a cache are made."""
    given = access.settings.names
    return Names(
        hash=given.hash,
        encoding=given.encoding,
        scope=given.scope,
        hashed=not access.cache.hashing_disabled,
        prefixed=not access.cache.disable_prefix,
    )


def open_cache(access: CacheContext, namespace: str | None, database: int) -> Cache:
    """
    The cache client. Names with a prefix need a namespace, if need be an empty one, said aloud:
    an entry that is written without is one that no application finds.

    Raises:
        ConfigError: There is no namespace where one is needed, or one where there is none.
    """
    if namespace is None and not access.cache.disable_prefix:
        raise ConfigError(
            "names of this cache begin with a namespace, and none is given",
            hint="give it with --namespace, for example /app/oidc",
        )
    return Cache(access, namespace or "", database=database)
