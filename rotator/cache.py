"""
Cache client: gets, sets and deletes one entry, and makes stored names.

    from rotator import Cache

    with Cache.open("maverics.yaml", name="shared-redis", namespace="/app/oidc") as cache:
        cache.set("abc123", b"value", ttl=3600)
        cache.get("abc123")
        cache.get("no such key", None)

- The stored name is made from namespace and key (design, section 3), by the cache's own switches.
- Values are bytes. They are encrypted under the current key and opened under any configured one;
  where the cache's encryption is off they are stored as they are. TTLs are seconds or timedeltas.
- Entries live in database 0, where the Orchestrator keeps them, unless another is asked for.
- A connection that was lost is made anew, and the primary of the moment is found.
- Threads may share a client: it does one thing after another. A process that was forked makes a
  client of its own, and none travels in a pickle.
"""

import hashlib
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, NoReturn, Self, TypeVar, overload

from rotator.config.load import load
from rotator.config.names import Names
from rotator.crypto.codec import Codec, Opened, Reason
from rotator.crypto.layout import Format
from rotator.errors import ConfigError, MissingError, RightsError, ServerError, UnopenedError
from rotator.server.context import CacheContext
from rotator.server.replies import ErrorKind, ErrorReply, NoValue, number_of, understood
from rotator.server.routing import ClusterRouter
from rotator.server.store import Store, Value
from rotator.text import listing

T = TypeVar("T")

_DEMANDED: Final = object()  # stands for a default that is not given
_MILLISECOND = timedelta(milliseconds=1)
_SHOWN = 12  # characters of a hash that are enough to recognise it
_KEYS = "`rotator keys` lists the keys of this cache, `rotator detect` says which open its values"


class Cache:
    """
    Cache client: works on the entries of one *namespace* of a cache.

    An empty namespace is one too: the stored name then begins with the colon. It must be empty
    where the cache's prefix is disabled.

    *choose* tells the format of new values, asked for where the configuration leaves a choice;
    *check* is told the format before a value is written. Threads may share it.

    Raises (every method that talks):
        ServerError: The server cannot be reached, is no primary, or answers with an error.
        RightsError: The user may not do this.
    """

    def __init__(
        self,
        access: CacheContext,
        namespace: str = "",
        *,
        database: int = 0,
        choose: Callable[[], Format] | None = None,
        check: Callable[[Format], None] = lambda _: None,
    ) -> None:
        if not isinstance(namespace, str):
            raise TypeError(f"a namespace is text, not {type(namespace).__name__}")
        if namespace and access.cache.keys.disable_prefix:
            raise ConfigError(
                f"{access.cache.field('keys.disablePrefix')}: names of this cache have no prefix,"
                " so there is no namespace",
                hint="leave the namespace empty",
            )
        self.access = access
        self._names = Names(
            **dict(access.settings.names),
            hashed=not access.cache.hashing.keys.disabled,
            prefixed=not access.cache.keys.disable_prefix,
        )
        self.namespace = namespace
        self.database = database
        self._owners = ClusterRouter(access, database)
        self._choose, self._check = choose, check
        # One conversation with a server at a time: answers come in the order of the questions.
        self._turn = threading.RLock()

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
        Open the cache *name* of the configuration; the name may be left out if there is only one.

        *config_files* are one file or several, later ones win; without any it is `MAVERICS_CONFIG`,
        else `/etc/maverics/maverics.yaml`. *provider_url* defaults to `MAVERICS_SECRET_PROVIDER`.
        *database* is the number of the Redis database. Secrets are resolved here, and nothing is
        connected before the first call.

        Raises:
            ConfigError: The configuration is wrong, has no such cache, several to choose from, its
                names have no namespace, or it does not say in which format new values are.
            SecretError: A reference cannot be resolved.
            SourceError: The secret provider cannot be reached.
        """
        several = (config_files,) if isinstance(config_files, str | Path) else config_files
        config = load([Path(file) for file in several])
        access = CacheContext.open(config, name, provider_url or None)
        access.require_labels()
        if access.codec and access.codec.write is None and len(access.codec.formats) > 1:
            names = [form.name for form in access.codec.formats]
            raise ConfigError(
                f"rotator.caches.{access.cache.name}.write: missing: new values could have any of"
                f" the formats {listing(names)}",
                hint=f"add it, such as write: {names[0]}; `rotator detect` shows what the cache"
                " has",
            )
        return cls(access, namespace, database=database)

    @overload
    def get(self, key: str) -> bytes: ...

    @overload
    def get(self, key: str, default: T) -> bytes | T: ...

    def get(self, key: str, default: Any = _DEMANDED) -> Any:
        """
        Return the value of *key*, decrypted; *default*, if that is given, where there is none.

        Raises:
            MissingError: There is none, or it has expired; and no *default* is given.
            UnopenedError: It opens under no configured key and format, or is no string.
        """
        name = self.stored_name(key)
        answer = self._read(name)
        if answer is NoValue.GONE and default is not _DEMANDED:
            return default
        value = self._require(name, answer)
        codec = self.access.codec
        if codec is None:
            return bytes(value)
        opened = codec.open(name, value)
        if isinstance(opened, Reason):
            reason = codec.explain(name, value, opened)
            raise UnopenedError(f"{self.shown(name)} does not open: {reason}", hint=_KEYS)
        return opened.plaintext

    def set(self, key: str, value: bytes, ttl: timedelta | float | None = None) -> None:
        """
        Store *value* under *key*, in place of whatever is there; without *ttl* it stays for good.

        *value* is bytes, a bytearray or a memoryview. *ttl* is in seconds, or a timedelta; it
        counts in whole milliseconds, and what is less is cut off.

        It is written in the format that the configuration names. With `write: same` a value that is
        there already keeps its own format.

        Raises:
            TypeError: *value* is not bytes, or *ttl* is no time.
            ConfigError: *ttl* is shorter than a millisecond, or the format of a new value is not
                known.
            SelfCheckError: The value does not open after encrypting; nothing was written.
        """
        if not isinstance(value, bytes | bytearray | memoryview):
            kind = type(value).__name__
            raise TypeError(f"values are bytes: text.encode() makes them of text; this is {kind}")
        expiry = () if ttl is None else ("PX", _milliseconds(ttl))
        name, sealed = self.stored_name(key), bytes(value)
        with self._turn:
            if codec := self.access.codec:
                sealed = self._seal(codec, name, sealed)
            self._ask(name, _done, "SET", name, sealed, *expiry)

    def delete(self, key: str) -> bool:
        """Remove the entry of *key*, and say whether there was one."""
        name = self.stored_name(key)
        return bool(self._ask(name, number_of, "DEL", name))

    def stored_name(self, key: str) -> bytes:
        """Return the name under which Redis holds *key*; TypeError: that is no text."""
        if not isinstance(key, str):
            raise TypeError(f"keys are text: key.decode() makes it; this is {type(key).__name__}")
        return self._names.stored(self.namespace, key)

    def close(self) -> None:
        """Close the connections; the next call would open new ones."""
        with self._turn:
            self._owners.close()

    def _seal(self, codec: Codec, name: bytes, plaintext: bytes) -> bytes:
        """Encrypt in the format that is configured, or that the value there has, or is chosen."""
        form, like = codec.write, None
        if form is None:
            there = self._read(name)
            opened = codec.open(name, there) if isinstance(there, bytes) else None
            if isinstance(opened, Opened):
                form, like = opened.format, opened.value
            else:
                form = self._choose() if self._choose else codec.formats[0]
        self._check(form)
        return codec.seal(name, plaintext, form, like)

    def shown(self, name: bytes) -> str:
        """Return a stored name for messages: a hash cut short, never the key itself."""
        if not self._names.hashed:
            return f"sha256:{hashlib.sha256(name).hexdigest()[:_SHOWN]}..."
        text = name.decode(errors="backslashreplace")
        prefix, colon, digest = text.rpartition(":")
        return f"{prefix}{colon}{digest[:_SHOWN]}..."

    def _read(self, name: bytes) -> Value:
        """Return what the node that holds *name* has there."""
        with self._turn:
            return self._owners.ask(name, lambda store: store.read([name])[0])

    def _ask(self, name: bytes, read: Callable[[Any], Any], *command: Any) -> Any:
        """Return what *read* makes of the answer to a command about *name*; a refusal is raised."""

        def ask(store: Store) -> Any:
            answer = store.answer(*command)
            refused = isinstance(answer, ErrorReply)
            return answer if refused else understood(store.node, command[0], read, answer)

        with self._turn:
            return self._require(name, self._owners.ask(name, ask))

    def _require(self, name: bytes, answer: Any) -> Any:
        """Return the *answer* of a server, unless it says that there is no value to be had."""
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
            raise RightsError(
                f"the Redis user has no right to do this with {self.shown(name)}", hint=hint
            )
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


def _done(reply: object) -> None:
    """Read a reply that says only that it was done."""
    if reply != b"OK":
        raise ValueError("something else than OK")


def _milliseconds(ttl: timedelta | float) -> int:
    """Return a TTL, in seconds or a timedelta, in whole milliseconds."""
    if isinstance(ttl, bool) or not isinstance(ttl, timedelta | int | float):
        raise TypeError(f"a TTL is a number of seconds or a timedelta, not {type(ttl).__name__}")
    try:
        span = ttl if isinstance(ttl, timedelta) else timedelta(seconds=ttl)
    except (OverflowError, ValueError):
        span = timedelta(0)
    if span < _MILLISECOND:
        hint = "give at least 0.001 seconds, or leave it out for no expiry"
        raise ConfigError("the TTL is not a positive number", hint=hint)
    return span // _MILLISECOND


def open_cache(
    access: CacheContext,
    namespace: str | None,
    database: int,
    choose: Callable[[], Format] | None = None,
    check: Callable[[Format], None] = lambda _: None,
) -> Cache:
    """
    Return a client for what the command line says; *choose* and *check* as in `Cache`.

    Names with a prefix need a namespace, if need be an empty one, said aloud: an entry that is
    written without is one that no application finds.

    Raises:
        ConfigError: There is no namespace where one is needed, or one where there is none.
    """
    if namespace is None and not access.cache.keys.disable_prefix:
        raise ConfigError(
            "names of this cache begin with a namespace, and none is given",
            hint="give it with --namespace, for example /app/oidc",
        )
    return Cache(access, namespace or "", database=database, choose=choose, check=check)
