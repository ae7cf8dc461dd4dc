"""
Format codec: opens and seals values of one format.

- Authenticated decryption proves which key a value is under: one that it names, else all are tried,
  the last one that fitted first. Two keys may have one label; then both are tried.
- Most formats are sequential: header, nonce, ciphertext and tag in a row. Their codec cuts with
  three slices; any other layout is cut and joined by `Format.cutter`.
- What was encrypted is opened again and compared before it is handed out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from rotator.crypto.bytes_layout import BytesLayout, Parts
from rotator.crypto.encoding import Encoding, decode, encode
from rotator.crypto.keyring import Key, Keyring
from rotator.crypto.layout import Format
from rotator.errors import FormatError, SelfCheckError, UnmetFormatError


class Reason(StrEnum):
    """Reason: says why a value does not open."""

    UNKNOWN_KEY_ID = "unknown_key_id"
    WRONG_NAME = "wrong_name"
    BAD_TAG = "bad_tag"
    NOT_A_FORMAT = "not_a_format"


class FormatCodec:
    """
    Format codec: opens and seals values of one format, whatever its layout is.

    *labels* are, by key id, what values call the keys. *spelling* is how new values are written, if
    that is known: see `TextLayout.spelling`. *read* opens a value, stored as a name, and
    *seal* makes one: `FormatCodec.read_any` and `FormatCodec.seal_any` say how.
    """

    def __init__(self, form: Format, keyring: Keyring, labels: Mapping[str, bytes]) -> None:
        self.format = form
        self.nonce_size = form.cutter.nonce_size
        self.read = self.read_any
        self.seal: Callable[..., bytes] = self.seal_any
        self._sealed: Callable[..., bytes] = self.seal_any
        self.label = labels.get(keyring.current.id, b"")
        self._current, self._keys = keyring.current, keyring.all
        self._named = _named(form, keyring, labels)
        self._read: tuple[bytes, Any] = b"", None  # the last value, and how it is written
        self.spelling: Any = None

    def read_any(self, name: bytes, value: bytes) -> Found:
        """Open *value* with a key that it names, or with whichever does."""
        parts = self.format.cutter.cut(value)
        if parts is None:
            return Reason.NOT_A_FORMAT
        self._read = value, parts.like
        aad = self.format.associated(name, parts)
        if self._named is None:
            return self._try_keys(parts.nonce, parts.body, aad)
        keys = self._named.get(parts.key_id or parts.label or b"")
        if not keys:
            return Reason.UNKNOWN_KEY_ID
        for key in keys:
            if (plaintext := key.decrypt(parts.nonce, parts.body, aad)) is not None:
                return plaintext, key, self
        return Reason.BAD_TAG

    def seal_any(
        self, name: bytes, plaintext: bytes, nonce: bytes, like: bytes | None = None
    ) -> bytes:
        """
        Return *plaintext* under the current key, to be stored as *name*; *nonce* must be new.

        What is kept, and how the value is written, is as in *like*, an old value of this format.

        Raises:
            SelfCheckError: It does not open for somebody who knows only the current key.
            FormatError: The current key has no label, or there is nothing to keep parts of.
        """
        if fault := self.fault(new=like is None):
            raise FormatError(fault, hint="see `rotator docs formats`")
        form, key, label = self.format, self._current, self.label
        cutter, key_id = form.cutter, key.id_bytes
        written = self.spelling if like is None else self._likeness(like)
        header = cutter.header(key_id, label, written)
        unsealed = Parts(key_id, label, nonce, b"", header, written)
        body = key.encrypt(nonce, plaintext, form.associated(name, unsealed))
        value = cutter.join(key_id, label, nonce, body, written)
        made = cutter.cut(value)
        named = made is not None and made.key_id in (None, key_id) and made.label in (None, label)
        if made is not None and named:
            again = key.decrypt(made.nonce, made.body, form.associated(name, made))
            if again == plaintext and made.nonce == nonce:
                return value
        raise self._broken(plaintext)

    def _likeness(self, value: bytes) -> Any:
        """Return what a value needs to be written like *value*, mostly the last that was read."""
        read, like = self._read
        return like if read is value else self.format.cutter.likeness(value)

    def fault(self, *, new: bool) -> str | None:
        """Return why no value can be sealed, *new* or like an old one; None: it can."""
        if self.format.cutter.labelled and not self.label:
            return f"the format {self.format.name} needs a label for the current key"
        if new and self.format.cutter.kept:
            return f"the format {self.format.name} keeps parts of an old value, and there is none"
        return None

    def allow(self, *, sealing: bool) -> None:
        """Have `seal` work, or refuse: a literal of the format may name another key."""
        self.seal = self._sealed if sealing else self._refuse

    def _refuse(self, *_: bytes | None) -> bytes:
        raise UnmetFormatError(self.format.name)

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

    *places* are where nonce and ciphertext begin, as *cutter* has them. A sweep comes here millions
    of times, so each step is written out.
    """

    def __init__(
        self,
        form: Format,
        keyring: Keyring,
        labels: Mapping[str, bytes],
        cutter: BytesLayout,
        places: tuple[int, int],
    ) -> None:
        super().__init__(form, keyring, labels)
        self.read = self.by_trial if self._named is None else self.by_id
        if not self.fault(new=True):
            self.seal = self._sealed = self.seal_in_a_row
        self._begin, self._end = places
        self._smallest, self._fits = cutter.smallest, cutter.fits
        self._encoding, self._raw = form.encoding, form.encoding is Encoding.RAW
        self._header = cutter.header(self._current.id_bytes, self.label)
        named = self._named or {}
        self._headers = {
            cutter.header(name, name): keys[0] for name, keys in named.items() if len(keys) == 1
        }
        self._with_header, self._with_name = form.aad == "header+name", form.aad == "name"
        nothing = Parts(None, None, b"", b"", b"", None)
        bound = self._with_header or self._with_name
        self._aad = None if bound else form.associated(b"", nothing)

    def by_id(self, name: bytes, value: bytes) -> Found:
        """Open *value* with the key that it names: literals and key id are looked up as one."""
        laid = value if self._raw else decode(self._encoding, value)
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
        return self.read_any(name, value)  # it knows why not

    def by_trial(self, name: bytes, value: bytes) -> Found:
        """Open *value* with whichever key does."""
        laid = value if self._raw else decode(self._encoding, value)
        if laid is None or not self._fits(laid):
            return Reason.NOT_A_FORMAT
        begin, end = self._begin, self._end
        aad = laid[:begin] + name if self._with_header else name if self._with_name else self._aad
        nonce, body, keys = laid[begin:end], laid[end:], self._keys
        plaintext = keys[0].decrypt(nonce, body, aad)
        return self._try_keys(nonce, body, aad) if plaintext is None else (plaintext, keys[0], self)

    def seal_in_a_row(
        self, name: bytes, plaintext: bytes, nonce: bytes, like: bytes | None = None
    ) -> bytes:
        """Seal as `FormatCodec.seal_any` does, without taking the value apart."""
        begin, end, header = self._begin, self._end, self._header
        aad = header + name if self._with_header else name if self._with_name else self._aad
        laid = header + nonce + self._current.encrypt(nonce, plaintext, aad)
        value = laid
        if not self._raw:
            value = encode(self._encoding, laid, like or (self.spelling and self.spelling[1]))
            laid = decode(self._encoding, value) or b""
        if self._with_header:
            aad = laid[:begin] + name
        opened = self._current.decrypt(laid[begin:end], laid[end:], aad)
        if opened != plaintext or laid[:begin] != header:
            raise self._broken(plaintext)
        return value


Found = tuple[bytes, Key, FormatCodec] | Reason
"""The plaintext of a value, the key that opened it and the codec that did, or why none can."""

_QUICK = ("none", "name", "header+name", "hex", "text")  # ways to authenticate


def format_codec(form: Format, keyring: Keyring, labels: Mapping[str, bytes]) -> FormatCodec:
    """Return the codec for a format: the quickest that its layout allows."""
    cutter = form.cutter
    quick = isinstance(cutter, BytesLayout) and form.aad.partition(":")[0] in _QUICK
    # Another class joins in its own way.
    if quick and type(cutter) is BytesLayout and cutter.sequential is not None:
        return SequentialCodec(form, keyring, labels, cutter, cutter.sequential)
    return FormatCodec(form, keyring, labels)


def _named(
    form: Format, keyring: Keyring, labels: Mapping[str, bytes]
) -> dict[bytes, list[Key]] | None:
    """Return the keys by what values of a format call them; None: they name none."""
    cutter = form.cutter
    if not cutter.labelled:
        return {key.id_bytes: [key] for key in keyring.all} if cutter.names_key else None
    named: dict[bytes, list[Key]] = {}
    for key in keyring.all:
        if label := labels.get(key.id):
            named.setdefault(label, []).append(key)
    return named
