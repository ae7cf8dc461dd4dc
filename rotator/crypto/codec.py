"""
Codec: opens, seals and re-encrypts the values of a cache, whichever of its formats they have.

A plaintext that opens as a value itself, under the same name, is nested: the keys met inside are
reported, to the innermost, and such a value is not rewritten.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rotator.crypto.bytes_layout import BytesLayout, Parts
from rotator.crypto.encoding import Encoding
from rotator.crypto.format_codec import Found, Reason, format_codec
from rotator.crypto.keyring import Key, Keyring
from rotator.crypto.layout import BUILTIN, Format
from rotator.errors import FormatError, WrongKeyError

__all__ = ("Codec", "Found", "Opened", "Reason")

_EXPLAINED, _OTHER_NAMES = 20, 500  # values that are tried under other names, and how many of these


@dataclass(slots=True)
class Opened:
    """
    Opened: holds the plaintext of a value, the key and the format that it opened with.

    *inner* holds the keys met inside a nested *value*, outermost first; empty is not nested.
    """

    plaintext: bytes = field(repr=False)
    key: Key
    format: Format
    inner: tuple[Key, ...] = ()
    value: bytes = field(default=b"", repr=False, compare=False)

    @property
    def keys(self) -> tuple[Key, ...]:
        """The keys that it is under, each once, outermost first."""
        return tuple(dict.fromkeys((self.key, *self.inner)))


class Codec:
    """
    Codec: opens and seals the values of one cache.

    *formats* are tried in this order. *write* is the format of rewritten values, None for the one
    that each value has; it is also read, after the others when it is not among them. *labels* are,
    by key id, what values call the keys.
    *fast_path* is, by the first byte of a value, how the first format to try opens it. A plaintext
    of *min_random_size* bytes or more, all of them ASCII, is no value if none begins with *letters*
    as its first byte does. *watched* are those whose literals might name a key, unless somebody
    knows better; nothing is sealed in formats called as one of *forbidden*.

    Raises:
        FormatError: There is no format at all.
    """

    def __init__(
        self,
        keyring: Keyring,
        formats: Sequence[Format],
        write: Format | None = None,
        labels: Mapping[str, bytes] | None = None,
    ) -> None:
        if write is not None and write not in formats:
            formats = (*formats, write)
        if not formats:
            raise FormatError(
                "no value format is given", hint=f"name at least one: {', '.join(BUILTIN)}"
            )
        self.keyring = keyring
        self.formats, self.labels = tuple(formats), dict(labels or {})
        self._codecs = {form: format_codec(form, keyring, self.labels) for form in formats}
        # By the first byte of a value, which rules out most formats.
        firsts = [(form.cutter.first_bytes, codec) for form, codec in self._codecs.items()]
        self._by_first = [
            tuple([codec for allowed, codec in firsts if first in allowed]) for first in range(256)
        ]
        self.fast_path = {
            bytes([first]): codecs[0].read for first, codecs in enumerate(self._by_first) if codecs
        }
        texts = [form.cutter.first_bytes for form in formats if not _is_random(form)]
        self.letters = frozenset[int]().union(*texts)
        self.min_random_size = max(form.min_random_size for form in formats)
        self.write = write
        self.watched = frozenset(one for form, one in self._codecs.items() if form.has_literals)
        self.forbidden = frozenset[str]()
        self.nonce_size = max(form.cutter.nonce_size for form in formats)
        # Positions of a stopped run are good only for what they were taken with.
        described = (keyring.digest, *self.described, f"write {write or 'same'}")
        self.digest = hashlib.sha256("\n".join(described).encode()).hexdigest()

    @property
    def described(self) -> list[str]:
        """Formats, and labels if there are any: all but keys that values are read with."""
        labels = [f"label {key_id} {text.hex()}" for key_id, text in sorted(self.labels.items())]
        return [*map(str, self.formats), *labels]

    @property
    def labelled(self) -> bool:
        """Say whether values in one of the formats may call their key by a label."""
        return any(form.cutter.labelled for form in self.formats)

    def forbid(self, names: Collection[str]) -> None:
        """
        Have nothing sealed in the formats with these *names*, and in all others as ever.

        Whoever tries raises UnmetFormatError. All formats are read as ever.
        """
        self.forbidden = frozenset(names)
        for form, codec in self._codecs.items():
            codec.allow(sealing=form.name not in names)

    def learn(self, form: Format, values: Sequence[bytes]) -> None:
        """Have new values in a format written as *values* of it are: with padding, for example."""
        if values:
            self._codecs[form].spelling = form.cutter.spelling(values)

    def fault(self, form: Format, *, new: bool = False) -> str | None:
        """Return why no value can be sealed as *form*, *new* or like an old one; None: it can."""
        return self._codecs[form].fault(new=new)

    def named_key(self, value: bytes) -> str | None:
        """Return what *value* calls its key, as text; None: it names none that is not known."""
        for parts in self._cuts(value):
            if parts.key_id and not self.keyring.by_id(parts.key_id):
                return parts.key_id.hex()
            if parts.label and parts.label not in self.labels.values():
                return label_text(parts.label)
        return None

    def has_current_label(self, value: bytes) -> bool:
        """Return whether *value* calls its key as the current key, and no other one, is called."""
        label = self.labels.get(self.keyring.current.id)
        if not label or [*self.labels.values()].count(label) > 1:
            return False
        return any(parts.label == label for parts in self._cuts(value))

    def _cuts(self, value: bytes) -> Iterator[Parts]:
        """Yield the parts of *value*, by each format that it may be in."""
        for codec in self._by_first[value[0]] if value else ():
            if (parts := codec.format.cutter.cut(value)) is not None:
                yield parts

    def open(self, name: bytes, value: bytes) -> Opened | Reason:
        """Open *value*, stored as *name*, with whatever format and key open it, or say why not."""
        found = self.read(name, value)
        if isinstance(found, Reason):
            return found
        plaintext, key, codec = found
        inner = self.nested_keys(name, plaintext)
        return Opened(plaintext, key, codec.format, inner, value)

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

    def seal(
        self,
        name: bytes,
        plaintext: bytes,
        form: Format | None = None,
        like: bytes | None = None,
    ) -> bytes:
        """
        Return a value that holds *plaintext* under the current key, to be stored as *name*.

        Without *form* it has the format to write, else the first one. *like* is an old value of
        that format, if there is one.

        Raises:
            SelfCheckError: What was made does not open to *plaintext*.
            FormatError: No value can be sealed so: see `fault`.
        """
        form = form or self.write or self.formats[0]
        codec = self._codecs.get(form) or format_codec(form, self.keyring, self.labels)
        return codec.seal(name, plaintext, form.new_nonce(), like)

    def rewrite(self, name: bytes, opened: Opened) -> bytes:
        """
        Return the same plaintext under the current key, in its own format or the one to write.

        Raises:
            SelfCheckError: What was made does not open to the same plaintext.
            ValueError: *opened* is nested.
        """
        if opened.inner:
            raise ValueError("a nested value is not to be rewritten")
        if self.write is None or self.write.name == opened.format.name:
            return self.seal(name, opened.plaintext, opened.format, opened.value)
        return self.seal(name, opened.plaintext, self.write)

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


@dataclass(slots=True)
class LabelWatch:
    """
    Label watch: finds out from a sample whether the current key is the one that its label means.

    Only a label says so. A key id is made from the key, so no wrong key has it: what has it and
    does not open was renamed, or is damaged.
    """

    codec: Codec
    _names: list[bytes] = field(default_factory=list)
    _closed: list[tuple[bytes, bytes]] = field(default_factory=list)
    _number: int = 0
    _opens: bool = False

    def see(self, name: bytes, value: bytes, found: Opened | Reason) -> None:
        """Take a value of the sample, and what came of opening it."""
        if len(self._names) < _OTHER_NAMES:
            self._names.append(name)
        if not self.codec.has_current_label(value):
            return
        if isinstance(found, Opened):
            self._opens = self._opens or found.key is self.codec.keyring.current
            return
        self._number += 1
        if len(self._closed) < _EXPLAINED:
            self._closed.append((name, value))

    def wrong_key(self, field: str) -> WrongKeyError | None:
        """Return that the key at *field* opens nothing that has its label, but for renamed ones."""
        number = self._in_vain()
        if not number:
            return None
        key_id = self.codec.keyring.current.id
        return WrongKeyError(field, key_id, label_text(self.codec.labels[key_id]), number)

    def _in_vain(self) -> int:
        """Return how many have the label, if it opens none; renamed ones do not count."""
        if self._opens:
            return 0
        explain, names = self.codec.explain, self._names
        reasons = [explain(*one, Reason.BAD_TAG, names) for one in self._closed]
        renamed = reasons.count(Reason.WRONG_NAME)
        return self._number - renamed if renamed < len(reasons) else 0


def label_text(label: bytes) -> str:
    """Return a label as the configuration has it: as text, or as `hex:` and its bytes."""
    text = label.decode("utf-8", "replace")
    plain = text.isprintable() and text.encode() == label and not text.startswith("hex:")
    return text if plain else f"hex:{label.hex()}"


def _is_random(form: Format) -> bool:
    """Return whether a long value of a format is never all ASCII."""
    return isinstance(form.cutter, BytesLayout) and form.encoding is Encoding.RAW
