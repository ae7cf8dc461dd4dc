"""
Opening, sealing and re-encrypting values: formats and a keyring put to work.

- Formats are tried in the order given. Where a format names its key, only that key is tried, else
  all keys are, the one that opened the last value first.
- What key a value is under is proven by authenticated decryption, never taken from a header.
- A plaintext that opens as a value itself, under any key and format and the same name, is nested:
  the keys met inside are reported, and such a value is not rewritten.
- What was encrypted is opened again and compared before it is handed out.

Limit: nesting is followed `DEPTH` deep.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from rotator.errors import FormatError, SelfCheckError
from rotator.format import BUILTIN, Format, Parts
from rotator.keyring import TAG_SIZE, Key, Keyring

DEPTH = 4  # layers


class Reason(StrEnum):
    """Why a value does not open."""

    UNKNOWN_KEY_ID = "unknown_key_id"
    WRONG_NAME = "wrong_name"
    BAD_TAG = "bad_tag"
    NOT_A_FORMAT = "not_a_format"


@dataclass(slots=True)
class Opened:
    """
    A value that opened: under *key*, in *format*.

    *inner* holds the keys met inside a nested value, outermost first; empty is not nested.
    """

    plaintext: bytes = field(repr=False)
    key: Key
    format: Format
    inner: tuple[Key, ...] = ()


@dataclass(slots=True)
class Refused:
    """A value that no configured format and key opens."""

    reason: Reason


class _Reader:
    """One format, and the keys to try on it, the most recently successful first."""

    __slots__ = ("_keyring", "_keys", "format")

    def __init__(self, form: Format, keyring: Keyring) -> None:
        self.format = form
        self._keyring = keyring
        self._keys = keyring.all

    def read(self, name: bytes, parts: Parts) -> tuple[bytes, Key] | Reason:
        """The plaintext of *parts* stored as *name*, and the key that opened them."""
        key_id, nonce, body, header = parts
        aad = self.format.associated(header, name)
        if key_id is not None:
            named = self._keyring.by_id(key_id)
            if named is None:
                return Reason.UNKNOWN_KEY_ID
            plaintext = named.decrypt(nonce, body, aad)
            return Reason.BAD_TAG if plaintext is None else (plaintext, named)
        keys = self._keys
        for key in keys:
            plaintext = key.decrypt(nonce, body, aad)
            if plaintext is not None:
                if key is not keys[0]:
                    # A new tuple: another thread may be going through the old one.
                    self._keys = (key, *(other for other in keys if other is not key))
                return plaintext, key
        return Reason.BAD_TAG


class Codec:
    """
    Opens and writes the values of one cache.

    *formats* are tried in this order. *write* is the format of rewritten values, None for the one
    that each value has; it is also read, after the others when it is not among them.

    Raises:
        FormatError: There is no format at all.
    """

    __slots__ = ("_readers", "_write", "digest", "formats", "keyring")

    def __init__(
        self, keyring: Keyring, formats: Sequence[Format], write: Format | None = None
    ) -> None:
        if write is not None and write not in formats:
            formats = (*formats, write)
        if not formats:
            raise FormatError("no value format is given", hint=f"name some: {', '.join(BUILTIN)}")
        self.keyring = keyring
        self.formats = tuple(formats)
        self._readers = tuple(_Reader(form, keyring) for form in formats)
        self._write = write
        # Positions of a stopped run are good only for what they were taken with.
        described = "\n".join((keyring.digest, *map(str, formats), f"write {write or 'same'}"))
        self.digest = hashlib.sha256(described.encode()).hexdigest()

    def open(self, name: bytes, value: bytes) -> Opened | Refused:
        """Decrypt *value*, stored as *name*, with whatever format and key open it."""
        worst = Reason.NOT_A_FORMAT
        for reader in self._readers:
            parts = reader.format.split(value)
            if parts is None:
                continue
            found = reader.read(name, parts)
            if not isinstance(found, Reason):
                plaintext, key = found
                form = reader.format.spelling(value)
                return Opened(plaintext, key, form, self._inside(name, plaintext))
            if worst is not Reason.UNKNOWN_KEY_ID:
                worst = found
        return Refused(worst)

    def needs_rewrite(self, opened: Opened) -> bool:
        """Whether the value is under an old key, or in another format than the one to write."""
        if opened.key is not self.keyring.current:
            return True
        return self._write is not None and self._write.name != opened.format.name

    def seal(self, name: bytes, plaintext: bytes, form: Format | None = None) -> bytes:
        """
        A value that holds *plaintext* under the current key, to be stored as *name*.

        Without *form* it has the format to write, else the first one.

        Raises:
            SelfCheckError: What was made does not open to *plaintext*.
        """
        form = form or self._write or self._readers[0].format
        key = self.keyring.current
        nonce = form.new_nonce()
        aad = form.associated(form.header(key.id_bytes), name)
        body = key.encrypt(nonce, plaintext, aad)
        value = form.join(key.id_bytes, nonce, body[:-TAG_SIZE], body[-TAG_SIZE:])
        if self._reopened(name, value, form) != plaintext:
            raise SelfCheckError(
                f"a value of {len(plaintext)} bytes does not open after encrypting as {form.name}",
                hint="nothing was written; check the memory of this machine and report the format",
            )
        return value

    def rewrite(self, name: bytes, opened: Opened) -> bytes:
        """
        The same plaintext under the current key, in the value's own format or the one to write.

        Raises:
            SelfCheckError: What was made does not open to the same plaintext.
            ValueError: *opened* is nested.
        """
        if opened.inner:
            raise ValueError("a nested value is not to be rewritten")
        write = self._write
        same = write is None or write.name == opened.format.name
        return self.seal(name, opened.plaintext, opened.format if same else write)

    def explain(
        self, name: bytes, value: bytes, reason: Reason, other_names: Iterable[bytes] = ()
    ) -> Reason:
        """
        A closer reason for a value that does not open under *name*.

        `bad_tag` becomes `wrong_name` when the value opens under one of *other_names*, or under the
        empty name: it was written for that one and moved. Each name costs a decryption or more.
        """
        if reason is not Reason.BAD_TAG:
            return reason
        others = [other for other in (b"", *other_names) if other != name]
        for reader in self._readers:
            parts = reader.format.split(value) if reader.format.binds_name else None
            if parts is None:
                continue
            for other in others:
                if not isinstance(reader.read(other, parts), Reason):
                    return Reason.WRONG_NAME
        return reason

    def _inside(self, name: bytes, plaintext: bytes) -> tuple[Key, ...]:
        """The keys of the values that *plaintext* consists of, outermost first."""
        keys: tuple[Key, ...] = ()
        while len(keys) < DEPTH:
            found = self._peel(name, plaintext)
            if found is None:
                break
            plaintext = found[0]
            keys = (*keys, found[1])
        return keys

    def _peel(self, name: bytes, plaintext: bytes) -> tuple[bytes, Key] | None:
        """What is inside when *plaintext* is a value itself, and the key that opened it."""
        for reader in self._readers:
            parts = reader.format.split(plaintext)
            if parts is None:
                continue
            found = reader.read(name, parts)
            if not isinstance(found, Reason):
                return found
        return None

    def _reopened(self, name: bytes, value: bytes, form: Format) -> bytes | None:
        """What a reader who knows only the current key makes of *value*."""
        parts = form.split(value)
        key = self.keyring.current
        if parts is None or parts.key_id not in (None, key.id_bytes):
            return None
        return key.decrypt(parts.nonce, parts.body, form.associated(parts.header, name))
