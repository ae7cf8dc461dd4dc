"""
Opening, sealing and re-encrypting values: formats and a keyring put to work.

- Formats are tried in the order given, each by a `Reader` that knows which keys to try.
- A plaintext that opens as a value itself, under any key and format and the same name, is nested:
  the keys met inside are reported, and such a value is not rewritten.
- What was encrypted is opened again and compared before it is handed out.

Limit: nesting is followed `DEPTH` deep.

One format put to work with a keyring: values opened and values made.

Which key a value is under is proven by authenticated decryption. Where a format names its key only
that key is tried, else all keys are, the one that opened the last value first.

Most formats are *straight*: header, nonce, ciphertext and tag follow each other. Those are cut with
three slices, because a sweep does it millions of times; any other layout goes through
`Format.split` and `Format.join`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from rotator.crypto.keyring import TAG_SIZE, Key, Keyring
from rotator.crypto.layout import BUILTIN, Format
from rotator.crypto.text_layout import Encoding, decode, encode
from rotator.errors import FormatError, SelfCheckError


class Reason(StrEnum):
    """Why a value does not open."""

    UNKNOWN_KEY_ID = "unknown_key_id"
    WRONG_NAME = "wrong_name"
    BAD_TAG = "bad_tag"
    NOT_A_FORMAT = "not_a_format"


class FormatCodec:
    """Reads and writes values of one format, whatever its layout is."""

    __slots__ = ("_current", "_keyring", "_keys", "_raw", "format", "nonce_size", "telling_size")

    def __init__(self, form: Format, keyring: Keyring) -> None:
        self.format = form
        self._keyring = keyring
        self._keys = keyring.all
        self._current = keyring.current
        self._raw = form.encoding is Encoding.RAW
        self.nonce_size, self.telling_size = form.nonce_size, form.telling_size

    def read(self, name: bytes, value: bytes) -> Found:
        """The plaintext of *value*, stored as *name*, and the key that opened it."""
        parts = self.format.split(value)
        if parts is None:
            return Reason.NOT_A_FORMAT
        key_id, nonce, body, header = parts
        aad = self.format.associated(header, name)
        if key_id is None:
            return self._try_keys(nonce, body, aad)
        named = self._keyring.by_id(key_id)
        if named is None:
            return Reason.UNKNOWN_KEY_ID
        plaintext = named.decrypt(nonce, body, aad)
        return Reason.BAD_TAG if plaintext is None else (plaintext, named, self)

    def spells(self, value: bytes) -> bool:
        """Whether *value*, which fits the format, is written as this reader would write it."""
        return self._raw or self.format.spelling(value) is self.format

    def write(self, name: bytes, plaintext: bytes, nonce: bytes) -> bytes:
        """*plaintext* under the current key, to be stored as *name*; *nonce* must be new."""
        form, key_id = self.format, self._current.id_bytes
        body = self._current.encrypt(nonce, plaintext, form.associated(form.header(key_id), name))
        return form.join(key_id, nonce, body[:-TAG_SIZE], body[-TAG_SIZE:])

    def reopen(self, name: bytes, value: bytes) -> bytes | None:
        """What somebody who knows only the current key makes of *value*."""
        parts = self.format.split(value)
        if parts is None or parts.key_id not in (None, self._current.id_bytes):
            return None
        aad = self.format.associated(parts.header, name)
        return self._current.decrypt(parts.nonce, parts.body, aad)

    def seal(self, name: bytes, plaintext: bytes, nonce: bytes) -> bytes:
        """
        As `write`, but what was made is opened again and compared first.

        Raises:
            SelfCheckError: It does not open to *plaintext*.
        """
        value = self.write(name, plaintext, nonce)
        if self.reopen(name, value) != plaintext:
            raise self._broken(plaintext)
        return value

    def _broken(self, plaintext: bytes) -> SelfCheckError:
        made = f"{len(plaintext)} bytes does not open after encrypting as {self.format.name}"
        return SelfCheckError(
            f"a value of {made}",
            hint="nothing was written; check the memory of this machine and report the format",
        )

    def _try_keys(self, nonce: bytes, body: bytes, aad: bytes | None) -> Found:
        keys = self._keys
        for key in keys:
            plaintext = key.decrypt(nonce, body, aad)
            if plaintext is not None:
                if key is not keys[0]:
                    # A new tuple: another thread may be going through the old one.
                    self._keys = (key, *(other for other in keys if other is not key))
                return plaintext, key, self
        return Reason.BAD_TAG


class _StraightReader(FormatCodec):
    """
    Reads and writes values that are header, nonce, ciphertext and tag, in this order.

    A sweep comes here millions of times, so what each step takes is written out in it.
    """

    __slots__ = ("_aad", "_begin", "_end", "_header", "_smallest", "_with_header", "_with_name")

    def __init__(self, form: Format, keyring: Keyring, begin: int, end: int) -> None:
        super().__init__(form, keyring)
        self._begin, self._end = begin, end  # of the nonce
        self._smallest = end + TAG_SIZE
        self._header = form.header(self._current.id_bytes)
        self._with_header, self._with_name = form.binds_header, form.binds_name
        self._aad = form.associated(b"", b"")

    def seal(self, name: bytes, plaintext: bytes, nonce: bytes) -> bytes:
        """As `Reader.seal`."""
        begin, end, header = self._begin, self._end, self._header
        aad = header + name if self._with_header else name if self._with_name else self._aad
        laid = header + nonce + self._current.encrypt(nonce, plaintext, aad)
        form, value = self.format, laid
        if not self._raw:
            value = encode(form.encoding, laid, other_spelling=form.other_spelling)
            laid = decode(form.encoding, value) or b""
        if self._with_header:
            aad = laid[:begin] + name
        opened = self._current.decrypt(laid[begin:end], laid[end:], aad)
        if opened != plaintext or laid[:begin] != header:
            raise self._broken(plaintext)
        return value


class _NamedReader(_StraightReader):
    """Where the header names the key: literals and key id are looked up as one."""

    __slots__ = ("_headers",)

    def __init__(self, form: Format, keyring: Keyring, begin: int, end: int) -> None:
        super().__init__(form, keyring, begin, end)
        self._headers = {form.header(key.id_bytes): key for key in keyring.all}

    def read(self, name: bytes, value: bytes) -> Found:
        """As `Reader.read`."""
        laid = value if self._raw else decode(self.format.encoding, value)
        if laid is None or len(laid) < self._smallest:
            return Reason.NOT_A_FORMAT
        begin, end = self._begin, self._end
        header = laid[:begin]
        key = self._headers.get(header)
        if key is not None:
            aad = header + name if self._with_header else name if self._with_name else self._aad
            plaintext = key.decrypt(laid[begin:end], laid[end:], aad)
            if plaintext is not None:
                return plaintext, key, self
        return super().read(name, value)  # it knows why not


class _BareReader(_StraightReader):
    """Where every key has to be tried."""

    __slots__ = ()

    def read(self, name: bytes, value: bytes) -> Found:
        """As `Reader.read`."""
        laid = value if self._raw else decode(self.format.encoding, value)
        if laid is None or not self.format.fits(laid):
            return Reason.NOT_A_FORMAT
        begin, end = self._begin, self._end
        aad = laid[:begin] + name if self._with_header else name if self._with_name else self._aad
        return self._try_keys(laid[begin:end], laid[end:], aad)


Found = tuple[bytes, Key, FormatCodec] | Reason
"""The plaintext of a value, the key that opened it and the reader that did, or why none can."""


def reader_of(form: Format, keyring: Keyring) -> FormatCodec:
    """The reader for a format: the quickest that its layout allows."""
    straight = form.straight if type(form) is Format else None  # another class joins in its own way
    if straight is None:
        return FormatCodec(form, keyring)
    return (_NamedReader if form.names_key else _BareReader)(form, keyring, *straight)


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
        *("digest", "formats", "keyring", "fast_path", "nonce_size", "write"),
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
        self.fast_path = {
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
        return Opened(plaintext, key, form, self.nested_keys(name, plaintext))

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

    def is_plain_text(self, plaintext: bytes) -> bool:
        """Whether it is seen at a glance that *plaintext* is no value itself."""
        return (
            len(plaintext) >= self._sure
            and plaintext.isascii()
            and plaintext[0] not in self._letters
        )

    def nested_keys(self, name: bytes, plaintext: bytes) -> tuple[Key, ...]:
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
