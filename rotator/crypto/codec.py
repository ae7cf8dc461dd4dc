"""
Codec: opens, seals and re-encrypts values, with one format and with several.

- Authenticated decryption proves which key a value is under: the one that it names, else all are
  tried, the last one that fitted first.
- Most formats are sequential: header, nonce, ciphertext and tag in a row. Their codec cuts with
  three slices; any other layout goes through `Format.split` and `Format.join`.
- A plaintext that opens as a value itself, under the same name, is nested: the keys met inside are
  reported, to the innermost, and such a value is not rewritten.
- What was encrypted is opened again and compared before it is handed out.
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
    """Reason: says why a value does not open."""

    UNKNOWN_KEY_ID = "unknown_key_id"
    WRONG_NAME = "wrong_name"
    BAD_TAG = "bad_tag"
    NOT_A_FORMAT = "not_a_format"


class FormatCodec:
    """
    Format codec: opens and seals values of one format, whatever its layout is.

    *read* opens a value, stored as a name: `by_id` if the format names the key, else `by_trial`.
    """

    def __init__(self, form: Format, keyring: Keyring) -> None:
        self.format = form
        self.nonce_size = form.nonce_size
        self.read = self.by_id if form.names_key else self.by_trial
        self._keyring = keyring
        self._current, self._keys = keyring.current, keyring.all
        self.raw = form.encoding is Encoding.RAW

    def by_id(self, name: bytes, value: bytes) -> Found:
        """Open *value* with the key that it names."""
        parts = self.format.split(value)
        if parts is None:
            return Reason.NOT_A_FORMAT
        key = self._keyring.by_id(parts.key_id or b"")
        if key is None:
            return Reason.UNKNOWN_KEY_ID
        aad = self.format.associated(parts.header, name)
        plaintext = key.decrypt(parts.nonce, parts.body, aad)
        return Reason.BAD_TAG if plaintext is None else (plaintext, key, self)

    def by_trial(self, name: bytes, value: bytes) -> Found:
        """Open *value* with whichever key does."""
        parts = self.format.split(value)
        if parts is None:
            return Reason.NOT_A_FORMAT
        return self._try_keys(parts.nonce, parts.body, self.format.associated(parts.header, name))

    def is_canonical(self, value: bytes) -> bool:
        """Return whether *value*, which fits the format, is written as `seal` would write it."""
        return self.raw or self.format.variant_of(value) is self.format

    def seal(self, name: bytes, plaintext: bytes, nonce: bytes) -> bytes:
        """
        Return *plaintext* under the current key, to be stored as *name*; *nonce* must be new.

        Raises:
            SelfCheckError: It does not open for somebody who knows only the current key.
        """
        form, key, key_id = self.format, self._current, self._current.id_bytes
        body = key.encrypt(nonce, plaintext, form.associated(form.header(key_id), name))
        value = form.join(key_id, nonce, body[:-TAG_SIZE], body[-TAG_SIZE:])
        parts = form.split(value)
        if parts is not None and parts.key_id in (None, key_id):
            aad = form.associated(parts.header, name)
            if key.decrypt(parts.nonce, parts.body, aad) == plaintext:
                return value
        raise self._broken(plaintext)

    def _broken(self, plaintext: bytes) -> SelfCheckError:
        return SelfCheckError(
            f"a value of {len(plaintext)} bytes does not open after encrypting as"
            f" {self.format.name}",
            hint="nothing was written; check the memory of this machine and report the format",
        )

    def _try_keys(self, nonce: bytes, body: bytes, aad: bytes | None) -> Found:
        keys = self._keys
        for key in keys:
            if (plaintext := key.decrypt(nonce, body, aad)) is not None:
                if key is not keys[0]:
                    # A new tuple: another thread may be going through the old one.
                    self._keys = (key, *(other for other in keys if other is not key))
                return plaintext, key, self
        return Reason.BAD_TAG


class SequentialCodec(FormatCodec):
    """
    Sequential codec: opens and seals values that are header, nonce, ciphertext and tag in a row.

    *begin* and *end* are the nonce's. A sweep comes here millions of times, so
    each step is written out.
    """

    def __init__(self, form: Format, keyring: Keyring, begin: int, end: int) -> None:
        super().__init__(form, keyring)
        self._begin, self._end = begin, end
        self._smallest = end + TAG_SIZE
        self._header = form.header(self._current.id_bytes)
        self._headers = {form.header(key.id_bytes): key for key in keyring.all}
        self._with_header, self._with_name = form.binds_header, form.binds_name
        self._aad = form.associated(b"", b"")
        self._fits = form.fits

    def by_id(self, name: bytes, value: bytes) -> Found:
        """Open *value* with the key that it names: literals and key id are looked up as one."""
        laid = value if self.raw else decode(self.format.encoding, value)
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
        return super().by_id(name, value)  # it knows why not

    def by_trial(self, name: bytes, value: bytes) -> Found:
        """Open *value* with whichever key does."""
        laid = value if self.raw else decode(self.format.encoding, value)
        if laid is None or not self._fits(laid):
            return Reason.NOT_A_FORMAT
        begin, end = self._begin, self._end
        aad = laid[:begin] + name if self._with_header else name if self._with_name else self._aad
        nonce, body, keys = laid[begin:end], laid[end:], self._keys
        plaintext = keys[0].decrypt(nonce, body, aad)
        return self._try_keys(nonce, body, aad) if plaintext is None else (plaintext, keys[0], self)

    def seal(self, name: bytes, plaintext: bytes, nonce: bytes) -> bytes:
        """Seal as `FormatCodec.seal` does, without taking the value apart."""
        begin, end, header = self._begin, self._end, self._header
        aad = header + name if self._with_header else name if self._with_name else self._aad
        laid = header + nonce + self._current.encrypt(nonce, plaintext, aad)
        form, value = self.format, laid
        if not self.raw:
            value = encode(form.encoding, laid, variant=form.variant)
            laid = decode(form.encoding, value) or b""
        if self._with_header:
            aad = laid[:begin] + name
        opened = self._current.decrypt(laid[begin:end], laid[end:], aad)
        if opened != plaintext or laid[:begin] != header:
            raise self._broken(plaintext)
        return value


Found = tuple[bytes, Key, FormatCodec] | Reason
"""The plaintext of a value, the key that opened it and the codec that did, or why none can."""


def format_codec(form: Format, keyring: Keyring) -> FormatCodec:
    """Return the codec for a format: the quickest that its layout allows."""
    # Another class joins in its own way.
    if type(form) is Format and form.sequential is not None:
        return SequentialCodec(form, keyring, *form.sequential)
    return FormatCodec(form, keyring)


@dataclass(slots=True)
class Opened:
    """
    Opened: holds the plaintext of a value, the key and the format that it opened with.

    *inner* holds the keys met inside a nested value, outermost first; empty is not nested.
    """

    plaintext: bytes = field(repr=False)
    key: Key
    format: Format
    inner: tuple[Key, ...] = ()

    @property
    def keys(self) -> tuple[Key, ...]:
        """The keys that it is under, each once, outermost first."""
        return tuple(dict.fromkeys((self.key, *self.inner)))


class Codec:
    """
    Codec: opens and seals the values of one cache.

    *formats* are tried in this order. *write* is the format of rewritten values, None for the one
    that each value has; it is also read, after the others when it is not among them.
    *fast_path* is, by the first byte of a value, how the first format to try opens it. A plaintext
    of *min_random_size* bytes or more, all of them ASCII, is no value if none begins with *letters*
    as its first byte does.

    Raises:
        FormatError: There is no format at all.
    """

    def __init__(
        self, keyring: Keyring, formats: Sequence[Format], write: Format | None = None
    ) -> None:
        if write is not None and write not in formats:
            formats = (*formats, write)
        if not formats:
            raise FormatError("no value format is given", hint=f"name some: {', '.join(BUILTIN)}")
        self.keyring = keyring
        self.formats = tuple(formats)
        self._codecs = {form: format_codec(form, keyring) for form in formats}
        # By the first byte of a value, which rules out most formats.
        firsts = [(form.first_bytes, codec) for form, codec in self._codecs.items()]
        self._by_first = [
            tuple([codec for allowed, codec in firsts if first in allowed]) for first in range(256)
        ]
        self.fast_path = {
            bytes([first]): codecs[0].read for first, codecs in enumerate(self._by_first) if codecs
        }
        texts = [form.first_bytes for form in formats if form.encoding is not Encoding.RAW]
        self.letters = frozenset[int]().union(*texts)
        self.min_random_size = max(form.min_random_size for form in formats)
        self.write = write
        self.nonce_size = max(form.nonce_size for form in formats)
        # Positions of a stopped run are good only for what they were taken with.
        described = "\n".join((keyring.digest, *map(str, formats), f"write {write or 'same'}"))
        self.digest = hashlib.sha256(described.encode()).hexdigest()

    def open(self, name: bytes, value: bytes) -> Opened | Reason:
        """Open *value*, stored as *name*, with whatever format and key open it, or say why not."""
        found = self.read(name, value)
        if isinstance(found, Reason):
            return found
        plaintext, key, codec = found
        inner = self.nested_keys(name, plaintext)
        return Opened(plaintext, key, codec.format.variant_of(value), inner)

    def read(self, name: bytes, value: bytes) -> Found:
        """Return what the first format that opens *value* makes of it, else why none does."""
        worst = Reason.NOT_A_FORMAT
        for codec in self._by_first[value[0]] if value else ():
            found = codec.read(name, value)
            if isinstance(found, tuple):
                return found
            if worst is not Reason.UNKNOWN_KEY_ID and found is not Reason.NOT_A_FORMAT:
                worst = found
        return worst

    def nested_keys(self, name: bytes, plaintext: bytes) -> tuple[Key, ...]:
        """
        Return the keys of the values that *plaintext* consists of, outermost first.

        It comes to an end by itself: each layer is shorter by a nonce and a tag at least.
        """
        keys: list[Key] = []
        while isinstance(found := self.read(name, plaintext), tuple):
            plaintext, key, _ = found
            keys.append(key)
        return tuple(keys)

    def needs_rewrite(self, opened: Opened) -> bool:
        """Return whether the value is under an old key, or not in the format to write."""
        is_other_format = self.write is not None and self.write.name != opened.format.name
        return is_other_format or opened.key is not self.keyring.current

    def seal(self, name: bytes, plaintext: bytes, form: Format | None = None) -> bytes:
        """
        Return a value that holds *plaintext* under the current key, to be stored as *name*.

        Without *form* it has the format to write, else the first one.

        Raises:
            SelfCheckError: What was made does not open to *plaintext*.
        """
        form = form or self.write or self.formats[0]
        codec = self._codecs.get(form) or format_codec(form, self.keyring)
        return codec.seal(name, plaintext, form.new_nonce())

    def rewrite(self, name: bytes, opened: Opened) -> bytes:
        """
        Return the same plaintext under the current key, in its own format or the one to write.

        Raises:
            SelfCheckError: What was made does not open to the same plaintext.
            ValueError: *opened* is nested.
        """
        if opened.inner:
            raise ValueError("a nested value is not to be rewritten")
        keeps_format = self.write is None or self.write.name == opened.format.name
        return self.seal(name, opened.plaintext, opened.format if keeps_format else self.write)

    def explain(
        self, name: bytes, value: bytes, reason: Reason, other_names: Iterable[bytes] = ()
    ) -> Reason:
        """
        Return a closer reason for a value that does not open under *name*.

        `bad_tag` becomes `wrong_name` when the value opens under one of *other_names*, or under the
        empty name: it was written for that one and moved. Each name costs a decryption or more.
        """
        if reason is not Reason.BAD_TAG:
            return reason
        others = [other for other in (b"", *other_names) if other != name]
        for codec in self._codecs.values():
            opened = (isinstance(codec.read(other, value), tuple) for other in others)
            if codec.format.binds_name and any(opened):
                return Reason.WRONG_NAME
        return reason
