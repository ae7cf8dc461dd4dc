"""
Entry: describes one stored entry, its type, expiry, format and key, but not what it holds.

The plaintext is kept with the description, out of its `repr` and its fields, for whoever asks for
it by name.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from rotator.crypto.codec import Opened
from rotator.crypto.keyring import Key
from rotator.crypto.layout import FieldName
from rotator.errors import ConfigError, MissingError, RightsError, ServerError
from rotator.server.context import CacheContext
from rotator.server.hash_fields import expiries, read
from rotator.server.replies import ErrorReply, NoValue
from rotator.server.store import GONE, NEVER, Store
from rotator.server.topology import discover
from rotator.text import listing


@dataclass(frozen=True)
class Entry:
    """
    Entry: describes what Redis holds as *name*.

    - *type*: Redis's word for it; *size*: bytes of a string's value, as stored
    - *expires_at*: None is never
    - *format*, *key*: what opens it; *inner*: the keys met inside, if it is nested
    - *reason*: why it does not open; without one and without a key it was not tried
    - *plaintext*: what it holds, or None
    """

    name: bytes
    node: str
    database: int
    type: str
    size: int | None
    expires_at: datetime | None
    format: str | None = None
    key: Key | None = None
    inner: tuple[Key, ...] = ()
    reason: str | None = None
    plaintext: bytes | None = field(default=None, repr=False)


def find(access: CacheContext, name: bytes, database: int | None = None) -> Entry:
    """
    Look for the entry stored as *name*, in *database* or in all of them, and describe it.

    A `FieldName` is that of a field of a hash.

    Raises:
        MissingError: There is none.
        ConfigError: Several databases have one.
        ServerError: A node cannot be reached, or refuses to say.
        RightsError: The user may not read it.
    """
    found: list[Entry] = []
    for address in discover(access.cache.addresses, access.connect).primaries:
        with access.connect(address) as store:
            store.enable_no_touch()
            databases = sorted(store.databases()) if database is None else [database]
            for number in databases:
                store.select(number)
                if (entry := _describe(access, store, name)) is not None:
                    found.append(entry)
    if not found:
        where = "any database" if database is None else f"database {database}"
        raise MissingError(
            f"there is no such {'field' if isinstance(name, FieldName) else 'entry'} in {where}",
            hint="give the name in Redis, or --namespace and the key as the application uses it",
        )
    if len(found) > 1:
        numbers = listing(str(entry.database) for entry in found)
        raise ConfigError(
            f"there are entries with this name in the databases {numbers}",
            hint="choose one with --db",
        )
    return found[0]


def _describe(access: CacheContext, store: Store, name: bytes) -> Entry | None:
    """Return the entry in the store's database, or None where there is none."""
    value = read(store, [name])[0]
    expires_at = expiries(store, [name])[0]
    # A value of a cluster may be elsewhere: MOVED says that it is not on this node.
    elsewhere = isinstance(value, ErrorReply) and value.message.startswith("MOVED")
    if value is NoValue.GONE or expires_at == GONE or elsewhere:
        return None
    if isinstance(value, ErrorReply):
        raise ServerError(f"{store.node} refused to read the entry: {value.message}")
    if value is NoValue.DENIED or expires_at is None:
        hint = "`rotator check` says which rights the user lacks"
        raise RightsError("the Redis user has no right to read this entry", hint=hint)
    expires = None if expires_at == NEVER else datetime.fromtimestamp(expires_at / 1000, UTC)
    kind = "hash" if isinstance(name, FieldName) else "string"
    entry = Entry(name, store.node, store.connection.db, kind, None, expires)
    if value is NoValue.NOT_STRING:
        return replace(entry, type=store.type(name) or "not a string")
    return replace(entry, size=len(value), **_opened(access, name, value))


def _opened(access: CacheContext, name: bytes, value: bytes) -> dict[str, Any]:
    """Return what a string's value is under, or why it does not open."""
    codec = access.codec
    if codec is None:
        return {"plaintext": value}
    opened = codec.open(name, value)
    if not isinstance(opened, Opened):
        return {"reason": str(codec.explain(name, value, opened))}
    return {
        "format": opened.format.name,
        "key": opened.key,
        "inner": opened.inner,
        "plaintext": opened.plaintext,
    }
