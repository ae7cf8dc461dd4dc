"""
Layout: `Format` describes a value format as data; it cuts and joins values laid out in bytes.

- An *encoding* of the whole laid-out value: `raw`, `hex`, `base64`, `base64url` (`text_layout`).
- A *layout*, an ordered list of `hex:<literal>`, `key-id:8`, `nonce:<n>` (12 unless said),
  `ciphertext` and `tag:16`: exactly one nonce, ciphertext and tag, at most one key id.
- What is authenticated with the value (*aad*): `none`, `name` (the stored name), `header+name` (all
  laid-out bytes before the nonce, then the stored name), `hex:<literal>`.

Limits:

- Text that happens to have neither `+` nor `/` nor `-` nor `_` is base64 and base64url at once, so
  configure only the one that applications read.
- Laid-out bytes that are all ASCII do not fit, once ciphertext and tag are 64 bytes or more: they
  are as good as random, and 64 random bytes look like that once in 2^64. Plain text is told from
  values by this, without a try of every key.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Final, NamedTuple, Self

from rotator.crypto.keyring import KEY_ID_SIZE, NONCE_SIZES, TAG_SIZE
from rotator.crypto.text_layout import ALPHABETS, Encoding, decode, encode
from rotator.errors import FormatError

RANDOM_SIZE: Final = 64  # bytes of ciphertext and tag that are never all ASCII
_FIXED_SIZES = {"key-id:8": KEY_ID_SIZE, "ciphertext": 0, "tag:16": TAG_SIZE}
_PARTS = "hex:<literal>, key-id:8, nonce:<n> (8 to 128), ciphertext and tag:16"
_AADS = "none, name, header+name or hex:<literal>"
_LITERAL = re.compile(r"(?:[0-9a-fA-F]{2})+")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class FieldName(bytes):
    """
    Field name: names a field of a hash; as bytes it is the name of the hash.

    Two are equal if hash and field are.
    """

    field: bytes

    def __new__(cls, name: bytes, field: bytes) -> Self:
        """Return the name of *field* in the hash *name*."""
        made = super().__new__(cls, name)
        made.field = field
        return made

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, FieldName) and self.field == other.field
        return same and super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((bytes(self), self.field))

    def __reduce__(self) -> tuple[type[Self], tuple[bytes, bytes]]:
        return type(self), (bytes(self), self.field)


class Parts(NamedTuple):
    """
    Parts: hold what a value consists of.

    *body* is the ciphertext with the tag behind it, whatever the layout's order; *header* is all
    laid-out bytes before the nonce; *key_id* is None where the layout has none.
    """

    key_id: bytes | None
    nonce: bytes
    body: bytes
    header: bytes


class _Entry(NamedTuple):
    """Entry: one part of a layout; *size* in bytes, 0 for the ciphertext."""

    kind: str
    size: int
    literal: bytes = b""


class _Derived:
    """Derived: declares what follows from the description of a format."""

    names_key: bool  # whether a value says by which key it was encrypted
    binds_name: bool  # whether it opens only under the name it was written for
    binds_header: bool  # whether what stands before the nonce is authenticated too
    nonce_size: int  # bytes
    min_random_size: int  # from which on laid-out bytes that are all ASCII do not fit
    # Begin of nonce and ciphertext, where a header, nonce, ciphertext and tag are all there is.
    sequential: tuple[int, int] | None
    _smallest: int  # size of a value with an empty plaintext
    _start: bytes  # the literal it begins with
    _placed: tuple[tuple[slice, bytes], ...]  # the other literals
    _key_id: slice | None
    _nonce: slice
    _body: slice  # the ciphertext, and the tag when it comes next
    _tag: slice | None  # the tag when it is elsewhere
    _header: slice
    _template: bytes  # formats the parts, by their kinds, into a laid-out value
    _header_template: bytes  # the same for the header
    _fixed_aad: bytes | None
    __slots__ = tuple(__annotations__)  # quicker than a dictionary, millions of times


@dataclass(frozen=True, slots=True)
class Format(_Derived):
    """
    Format: describes one value format, and cuts and joins its values.

    *layout* and *aad* are as in the configuration; *variant* is the second way to write a text
    encoding: upper-case hex, base64 without padding. Everything else follows from these.

    Raises:
        FormatError: The description is wrong; the message begins with the field.
    """

    name: str
    encoding: Encoding
    layout: tuple[str, ...]
    aad: str
    variant: bool = False

    def __post_init__(self) -> None:
        """Check the description, and work out once what every value needs."""
        path = f"rotator.formats.{self.name}"
        entries = [
            _entry(f"{path}.layout[{index}]", text) for index, text in enumerate(self.layout)
        ]
        kinds = [entry.kind for entry in entries]
        _check_counts(f"{path}.layout", kinds)
        nonce, body, tag = (kinds.index(kind) for kind in ("nonce", "ciphertext", "tag"))
        if self.aad == "header+name" and nonce > min(body, tag):
            hint = "put the nonce before ciphertext and tag, or authenticate the name alone"
            raise FormatError(f"{path}.aad: no header stands before the nonce", hint=hint)
        places = _places(entries)
        placed = zip(places[1:], entries[1:], strict=True)
        header = entries[:nonce] if nonce < min(body, tag) else []
        smallest, size = sum(entry.size for entry in entries), entries[nonce].size
        start, stop, tag_is_next = places[nonce].start, places[body].start, tag == body + 1
        derived = {
            "names_key": "key-id" in kinds,
            "binds_name": self.aad in {"name", "header+name"},
            "binds_header": self.aad == "header+name",
            "nonce_size": size,
            "min_random_size": smallest - TAG_SIZE + RANDOM_SIZE,
            "sequential": (start, stop) if kinds[-3:] == ["nonce", "ciphertext", "tag"] else None,
            "_smallest": smallest,
            "_start": entries[0].literal,
            "_placed": tuple((place, entry.literal) for place, entry in placed if entry.literal),
            "_key_id": places[kinds.index("key-id")] if "key-id" in kinds else None,
            "_nonce": places[nonce],
            "_body": slice(stop, places[tag if tag_is_next else body].stop),
            "_tag": None if tag_is_next else places[tag],
            "_header": slice(0, sum(entry.size for entry in header)),
            "_template": _template(entries),
            "_header_template": _template(header),
            "_fixed_aad": _fixed_aad(f"{path}.aad", self.aad),
        }
        for name, fact in derived.items():
            object.__setattr__(self, name, fact)

    @classmethod
    def parse(cls, name: str, encoding: str, layout: Sequence[str], aad: str = "none") -> Format:
        """
        Return the format that the configuration describes as *name*.

        Raises:
            FormatError: The description is wrong, or *name* is taken.
        """
        path = f"rotator.formats.{name}"
        if not _NAME.fullmatch(name):
            hint = "letters, digits, dots, dashes and underscores"
            raise FormatError(f"{path}: not a name for a format", hint=hint)
        if name in BUILTIN or name == "same":
            raise FormatError(f"{path}: the name is taken", hint="choose another name")
        if encoding not in set(Encoding):
            hint = f"it is {', '.join(Encoding)}"
            raise FormatError(f"{path}.encoding: {encoding!r} is not known", hint=hint)
        spelled = ("nonce:12" if part == "nonce" else part.lower() for part in layout)
        return cls(name, Encoding(encoding), tuple(spelled), aad.lower())

    @property
    def first_bytes(self) -> frozenset[int]:
        """The bytes with which a value of this format can begin."""
        if self.encoding is Encoding.RAW:
            return frozenset(self._start[:1] or range(256))
        return frozenset(ALPHABETS[self.encoding])

    def variant_of(self, value: bytes) -> Format:
        """Return this format in the variant that *value*, a value that fits it, is written in."""
        if self.encoding is Encoding.RAW:
            return self
        other = value.isupper() if self.encoding is Encoding.HEX else len(value) % 4 != 0
        return self if other == self.variant else _other_variant(self)

    def new_nonce(self) -> bytes:
        """Return a random nonce from the operating system, of this format's size."""
        return os.urandom(self.nonce_size)

    def split(self, value: bytes) -> Parts | None:
        """Return the parts of *value*, or None if it does not fit; nothing is authenticated."""
        if self.encoding is not Encoding.RAW:
            decoded = decode(self.encoding, value)
            if decoded is None:
                return None
            value = decoded
        if not self.fits(value):
            return None
        return Parts(
            None if self._key_id is None else value[self._key_id],
            value[self._nonce],
            value[self._body] if self._tag is None else value[self._body] + value[self._tag],
            value[self._header],
        )

    def fits(self, laid: bytes) -> bool:
        """Return whether laid-out bytes have the size and the literals."""
        size = len(laid)
        if size < self._smallest or not laid.startswith(self._start):
            return False
        if size >= self.min_random_size and laid.isascii():
            return False
        if not self._placed:  # as nearly always
            return True
        return all(laid[place] == literal for place, literal in self._placed)

    def header(self, key_id: bytes) -> bytes:
        """Return all laid-out bytes before the nonce of a value under the key *key_id*."""
        return self._header_template % {b"key-id": key_id}

    def associated(self, header: bytes, stored_name: bytes) -> bytes | None:
        """Return what is authenticated with a value that has *header*, stored as *stored_name*."""
        if not self.binds_name:
            return self._fixed_aad
        return header + stored_name if self.binds_header else stored_name

    def join(self, key_id: bytes, nonce: bytes, ciphertext: bytes, tag: bytes) -> bytes:
        """Return the value of these parts; the counterpart of `split`."""
        parts = {b"key-id": key_id, b"nonce": nonce, b"ciphertext": ciphertext, b"tag": tag}
        laid = self._template % parts
        if self.encoding is Encoding.RAW:
            return laid
        return encode(self.encoding, laid, variant=self.variant)

    def __str__(self) -> str:
        layout = " ".join(self.layout)
        return f"{self.name} (encoding {self.encoding}, layout {layout}, aad {self.aad})"

    def __reduce__(self) -> tuple[type[Format], tuple[object, ...]]:
        return type(self), (self.name, self.encoding, self.layout, self.aad, self.variant)


@cache
def _other_variant(form: Format) -> Format:
    """Return *form* in its other variant."""
    # Kept, because working out a layout takes longer than opening a value.
    return replace(form, variant=not form.variant)


def _entry(path: str, text: str) -> _Entry:
    """Return the part that the layout's entry *text* describes."""
    kind, _, size = text.partition(":")
    if kind == "hex" and _LITERAL.fullmatch(size):
        return _Entry(kind, len(size) // 2, bytes.fromhex(size))
    if kind == "nonce" and re.fullmatch(r"[1-9][0-9]{0,2}", size) and int(size) in NONCE_SIZES:
        return _Entry(kind, int(size))
    if text in _FIXED_SIZES:
        return _Entry(kind, _FIXED_SIZES[text])
    raise FormatError(f"{path}: {text!r} is not a part", hint=f"the parts are {_PARTS}")


def _check_counts(path: str, kinds: list[str]) -> None:
    """Refuse a layout that lacks a part or has one too many."""
    for kind in ("nonce", "ciphertext", "tag"):
        if kinds.count(kind) != 1:
            hint = "a layout has exactly one nonce, one ciphertext and one tag"
            raise FormatError(f"{path}: {kinds.count(kind)} times {kind}, not once", hint=hint)
    if kinds.count("key-id") > 1:
        raise FormatError(f"{path}: more than one key-id", hint="remove all but one")


def _places(entries: list[_Entry]) -> list[slice]:
    """Return the place of each part; what follows the ciphertext is counted from the end."""
    places, at, passed = [], 0, False
    total = sum(entry.size for entry in entries)
    for entry in entries:
        start = at - total if passed else at
        at += entry.size
        passed = passed or entry.kind == "ciphertext"
        # From the end, "up to 0" is written None.
        places.append(slice(start, (at - total or None) if passed else at))
    return places


def _template(entries: list[_Entry]) -> bytes:
    """Return what `%` makes the laid-out bytes of, given the parts by their kinds."""
    # One step in C, whatever the layout is.
    named = (f"%({entry.kind})s".encode() for entry in entries)
    literals = (entry.literal.replace(b"%", b"%%") for entry in entries)
    return b"".join(literal or name for literal, name in zip(literals, named, strict=True))


def _fixed_aad(path: str, aad: str) -> bytes | None:
    """Return what *aad* authenticates whatever the value is; None where that is nothing."""
    kind, _, literal = aad.partition(":")
    if kind == "hex" and _LITERAL.fullmatch(literal):
        return bytes.fromhex(literal)
    if aad in {"none", "name", "header+name"}:
        return None
    raise FormatError(f"{path}: {aad!r} is not known", hint=f"it is {_AADS}")


_GCM = ("nonce:12", "ciphertext", "tag:16")
_SEALED = ("hex:524f5401", "key-id:8", *_GCM)

BUILTIN: Final = {
    built_in.name: built_in
    for built_in in (
        Format("sealed", Encoding.RAW, _SEALED, "header+name"),
        Format("gcm", Encoding.RAW, _GCM, "none"),
        Format("gcm-base64", Encoding.BASE64, _GCM, "none"),
    )
}
