"""
Names: says what reports call an entry, or a field of one.

A name that is not hashed may hold what only applications should know, and so may a field.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from rotator.crypto.layout import FieldName

if TYPE_CHECKING:  # the library for Redis comes with it, and renderings need none
    from rotator.server.context import CacheContext


def display_name(name: bytes, *, plain: bool) -> str:
    """Return what reports call *name*; with *plain* as it is stored, else its SHA-256."""
    if plain:
        return name.decode("utf-8", "backslashreplace")
    return f"sha256:{hashlib.sha256(name).hexdigest()}"


class Plain(NamedTuple):
    """Plain: says whether names, and fields of hashes, may be shown as they are stored."""

    names: bool
    fields: bool


def display_field(name: bytes, *, plain: bool) -> str | None:
    """Return what reports call the field of a hash, in the same way; None: *name* has none."""
    return display_name(name.field, plain=plain) if isinstance(name, FieldName) else None


def with_field(name: str, field: str | None) -> str:
    """Return a name and its field, as they may be shown, in one."""
    return name if field is None else f"{name}, field {field}"


def display_entry(name: bytes, *, plain: Plain) -> str:
    """Return what reports call an entry, or a field of one."""
    field = display_field(name, plain=plain.fields)
    return with_field(display_name(name, plain=plain.names), field)


def shown_as_stored(access: CacheContext, *, show_names: bool) -> Plain:
    """
    Return what may be shown of a cache: hashed names, and fields that the configuration names.

    Other names, and fields where all are visited, only if somebody asks for it.
    """
    hashed = not access.cache.hashing.keys.disabled
    return Plain(show_names or hashed, show_names or access.settings.fields != "*")
