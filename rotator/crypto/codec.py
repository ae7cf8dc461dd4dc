"""
Opening, sealing and re-encrypting values: formats and a keyring put to work.

- Formats are tried in the order given, each by a `Reader` that knows which keys to try.
- A plaintext that opens as a value itself, under any key and format and the same name, is nested:
  the keys met inside are reported, and such a value is not rewritten.
- What was encrypted is opened again and compared before it is handed out.

Limit: nesting is followed `DEPTH` deep.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rotator.crypto.keyring import Key, Keyring
from rotator.crypto.text_layout import Encoding
from rotator.errors import FormatError
from rotator.format import BUILTIN, Format
from rotator.reader import Found, Reason, reader_of

DEPTH = 4  # layers


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


class Codec:
    """
    Opens and writes the values of one cache.

    *formats* are tried in this order. *write* is the format of rewritten values, None for the one
    that each value has; it is also read, after the others when it is not among them.

    Raises:
        FormatError: There is no format at all.
    """

    __slots__ = (
        *("_by_first", "_letters", "_readers", "_sure"),
        *("digest", "formats", "keyring", "likely", "nonce_size", "write"),
    )

    def __init__(
        self, keyring: Keyring, formats: Sequence[Format], write: Format | None = None
    ) -> None:
        if write is not None and write not in formats:
            formats = (*formats, write)
        if not formats:
            raise FormatError("no value format is given", hint=f"name some: {', '.join(BUILTIN)}")
        self.keyring = keyring
        self.formats = tuple(formats)
        self._readers = {form: reader_of(form, keyring) for form in formats}
        # By the first byte of a value, which rules out most formats.
        firsts = [(form.first_bytes, reader) for form, reader in self._readers.items()]
        self._by_first = [
            tuple([reader for allowed, reader in firsts if first in allowed])
            for first in range(256)
        ]
        self.likely = {
            bytes([first]): readers[0].read
            for first, readers in enumerate(self._by_first)
            if readers
        }
        texts = [
            allowed for allowed, reader in firsts if reader.format.encoding is not Encoding.RAW
        ]
        self._letters = frozenset[int]().union(*texts)
        self._sure = max(form.surely_random for form in formats)
        self.write = write
        self.nonce_size = max(form.nonce_size for form in formats)
        # Positions of a stopped run are good only for what they were taken with.
        described = "\n".join((keyring.digest, *map(str, formats), f"write {write or 'same'}"))
        self.digest = hashlib.sha256(described.encode()).hexdigest()

    def open(self, name: bytes, value: bytes) -> Opened | Refused:
        """Decrypt *value*, stored as *name*, with whatever format and key open it."""
        found = self.read(name, value)
        if isinstance(found, Reason):
            return Refused(found)
        plaintext, key, reader = found
        form = reader.format.spelling(value)
        return Opened(plaintext, key, form, self.inside(name, plaintext))

    def read(self, name: bytes, value: bytes) -> Found:
        """What the first format that opens *value* makes of it, else why none does."""
        worst = Reason.NOT_A_FORMAT
        for reader in self._by_first[value[0]] if value else ():
            found = reader.read(name, value)
            if isinstance(found, tuple):
                return found
            if worst is not Reason.UNKNOWN_KEY_ID and found is not Reason.NOT_A_FORMAT:
                worst = found
        return worst

    def plain(self, plaintext: bytes) -> bool:
        """Whether it is seen at a glance that *plaintext* is no value itself."""
        return (
            len(plaintext) >= self._sure
            and plaintext.isascii()
            and plaintext[0] not in self._letters
        )

    def inside(self, name: bytes, plaintext: bytes) -> tuple[Key, ...]:
        """The keys of the values that *plaintext* consists of, outermost first."""
        keys: tuple[Key, ...] = ()
        found = self.read(name, plaintext)
        while isinstance(found, tuple) and len(keys) < DEPTH:
            plaintext, key, _ = found
            keys = (*keys, key)
            found = self.read(name, plaintext)
        return keys

    def needs_rewrite(self, opened: Opened) -> bool:
        """Whether the value is under an old key, or in another format than the one to write."""
        if opened.key is not self.keyring.current:
            return True
        return self.write is not None and self.write.name != opened.format.name

    def seal(self, name: bytes, plaintext: bytes, form: Format | None = None) -> bytes:
        """
        A value that holds *plaintext* under the current key, to be stored as *name*.

        Without *form* it has the format to write, else the first one.

        Raises:
            SelfCheckError: What was made does not open to *plaintext*.
        """
        form = form or self.write or self.formats[0]
        writer = self._readers.get(form) or reader_of(form, self.keyring)
        return writer.seal(name, plaintext, form.new_nonce())

    def rewrite(self, name: bytes, opened: Opened) -> bytes:
        """
        The same plaintext under the current key, in the value's own format or the one to write.

        Raises:
            SelfCheckError: What was made does not open to the same plaintext.
            ValueError: *opened* is nested.
        """
        if opened.inner:
            raise ValueError("a nested value is not to be rewritten")
        write = self.write
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
        for form, reader in self._readers.items():
            if form.binds_name and any(
                isinstance(reader.read(other, value), tuple) for other in others
            ):
                return Reason.WRONG_NAME
        return reason
