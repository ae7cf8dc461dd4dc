"""
Names: says what reports call an entry, or a field of one.

A name that is not hashed may hold what only applications should know.
"""

import hashlib

from rotator.crypto.layout import FieldName


def display_name(name: bytes, *, plain: bool) -> str:
    """Return what reports call *name*; with *plain* as it is stored, else its SHA-256."""
    if plain:
        return name.decode("utf-8", "backslashreplace")
    return f"sha256:{hashlib.sha256(name).hexdigest()}"


def display_field(name: bytes, *, plain: bool) -> str | None:
    """Return what reports call the field of a hash, in the same way; None: *name* has none."""
    return display_name(name.field, plain=plain) if isinstance(name, FieldName) else None


def with_field(name: str, field: str | None) -> str:
    """Return a name and its field, as they may be shown, in one."""
    return name if field is None else f"{name}, field {field}"


def display_entry(name: bytes, *, plain: bool) -> str:
    """Return what reports call an entry, or a field of one."""
    return with_field(display_name(name, plain=plain), display_field(name, plain=plain))
