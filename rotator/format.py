"""
Value formats: how nonce, ciphertext and tag are laid out in a value, as data.

- An *encoding* of the whole laid-out value: `raw`, `hex`, `base64`, `base64url`.
- A *layout*, an ordered list of `hex:<literal>`, `key-id:8`, `nonce:<n>` (12 unless said),
  `ciphertext` and `tag:16`: exactly one nonce, ciphertext and tag, at most one key id.
- What is authenticated with the value (*aad*): `none`, `name` (the stored name), `header+name` (all
  laid-out bytes before the nonce, then the stored name), `hex:<literal>`.

Text is read strictly: a value that would not come back byte for byte when encoded again does not
fit. Two spellings are known for each text encoding, and a rewritten value keeps the one it had: hex
in lower or in upper case (not mixed), base64 and base64url with padding or without (RFC 4648,
sections 3.2, 4, 5 and 8).

Limits:

- Text that happens to have neither `+` nor `/` nor `-` nor `_` is base64 and base64url at once, so
  configure only the one that applications read.
- Laid-out bytes that are all ASCII do not fit, once ciphertext and tag are 64 bytes or more: they
  are as good as random, and 64 random bytes look like that once in 2^64. Plain text is told from
  values by this, without a try of every key.
"""

from __future__ import annotations

import binascii
import itertools
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache
from operator import itemgetter
from typing import Final, NamedTuple

from rotator.errors import FormatError
from rotator.keyring import KEY_ID_SIZE, NONCE_SIZES, TAG_SIZE

SURELY_RANDOM: Final = 64  # bytes

_FIXED = {"key-id:8": KEY_ID_SIZE, "ciphertext": 0, "tag:16": TAG_SIZE}
_PARTS = "hex:<literal>, key-id:8, nonce:<n> (8 to 128), ciphertext and tag:16"
_AADS = "none, name, header+name or hex:<literal>"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LITERAL = re.compile(r"(?:[0-9a-fA-F]{2})+")
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
# What is foreign to base64url becomes foreign to base64.
_FROM_URL = bytes.maketrans(b"-_+/", b"+/!!")
_TO_URL = bytes.maketrans(b"+/", b"-_")


class Encoding(StrEnum):
    """How the laid-out bytes are written."""

    RAW = "raw"
    HEX = "hex"
    BASE64 = "base64"
    BASE64URL = "base64url"


class Parts(NamedTuple):
    """
    What a value consists of.

    *body* is the ciphertext with the tag behind it, whatever the layout's order; *header* is all
    laid-out bytes before the nonce; *key_id* is None where the layout has none.
    """

    key_id: bytes | None
    nonce: bytes
    body: bytes
    header: bytes


@dataclass(frozen=True, slots=True)
class Format:
    """
    One value format.

    *layout* and *aad* are as in the configuration; *other_spelling* is the second one of a text
    encoding: upper-case hex, base64 without padding.

    Raises:
        FormatError: The description is wrong; the message begins with the field.
    """

    name: str
    encoding: Encoding
    layout: tuple[str, ...]
    aad: str
    other_spelling: bool = False
    _plan: _Plan = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        plan = _plan(f"rotator.formats.{self.name}", self.layout, self.aad)
        object.__setattr__(self, "_plan", plan)

    @classmethod
    def parse(cls, name: str, encoding: str, layout: Sequence[str], aad: str = "none") -> Format:
        """
        The format that the configuration describes as *name*.

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
    def binds_name(self) -> bool:
        """Whether a value opens only under the name it was written for."""
        return self._plan.with_name

    def new_nonce(self) -> bytes:
        """A random nonce from the operating system, of this format's size."""
        return os.urandom(self._plan.nonce_size)

    def spelling(self, value: bytes) -> Format:
        """This format in the spelling of *value*, a value that fits it."""
        if self.encoding is Encoding.RAW:
            return self
        other = value.isupper() if self.encoding is Encoding.HEX else len(value) % 4 != 0
        return self if other == self.other_spelling else _respelled(self)

    def split(self, value: bytes) -> Parts | None:
        """The parts of *value*, or None where it does not fit; nothing is authenticated here."""
        plan = self._plan
        if self.encoding is not Encoding.RAW:
            decoded = _decode(self.encoding, value)
            if decoded is None:
                return None
            value = decoded
        if len(value) < plan.smallest or not value.startswith(plan.start):
            return None
        if value.isascii() and len(value) >= plan.surely_random:
            return None
        for place, literal in plan.literals:
            if value[place] != literal:
                return None
        return Parts(
            None if plan.key_id is None else value[plan.key_id],
            value[plan.nonce],
            value[plan.body] if plan.tag is None else value[plan.body] + value[plan.tag],
            value[plan.header],
        )

    def header(self, key_id: bytes) -> bytes:
        """All laid-out bytes before the nonce of a value under the key *key_id*."""
        return key_id.join(self._plan.lead)

    def associated(self, header: bytes, stored_name: bytes) -> bytes | None:
        """What is authenticated with a value that has *header* and is stored as *stored_name*."""
        plan = self._plan
        if not plan.with_name:
            return plan.fixed_aad
        return header + stored_name if plan.with_header else stored_name

    def join(self, key_id: bytes, nonce: bytes, ciphertext: bytes, tag: bytes) -> bytes:
        """The value of these parts; the counterpart of `split`."""
        plan = self._plan
        value = b"".join(plan.order((key_id, nonce, ciphertext, tag, *plan.texts)))
        if self.encoding is Encoding.RAW:
            return value
        return _encode(self.encoding, value, other_spelling=self.other_spelling)

    def __str__(self) -> str:
        layout = " ".join(self.layout)
        return f"{self.name} (encoding {self.encoding}, layout {layout}, aad {self.aad})"


@cache
def _respelled(form: Format) -> Format:
    """*form* in its other spelling."""
    # Kept, because working out a plan takes longer than opening a value.
    return replace(form, other_spelling=not form.other_spelling)


@dataclass(frozen=True, slots=True)
class _Plan:
    """Where everything is: what `Format` needs for each value, worked out once."""

    smallest: int  # size of a value with an empty plaintext
    surely_random: int  # size of a value with SURELY_RANDOM bytes of ciphertext and tag
    start: bytes  # the literal it begins with
    literals: tuple[tuple[slice, bytes], ...]  # the other literals
    key_id: slice | None
    nonce: slice
    nonce_size: int
    body: slice  # the ciphertext, and the tag when it comes next
    tag: slice | None  # the tag when it is elsewhere
    header: slice
    lead: tuple[bytes, ...]  # the header, cut where the key id belongs
    order: Callable[[tuple[bytes, ...]], tuple[bytes, ...]]
    texts: tuple[bytes, ...]  # all literals
    fixed_aad: bytes | None
    with_name: bool
    with_header: bool


class _Part(NamedTuple):
    """One part of a layout: *size* in bytes, 0 for the ciphertext; *text* of a literal."""

    kind: str
    size: int
    text: bytes = b""


def _plan(path: str, layout: Sequence[str], aad: str) -> _Plan:
    """The plan of a format whose fields are under *path* in the configuration."""
    parts = [_part(f"{path}.layout[{index}]", text) for index, text in enumerate(layout)]
    kinds = [part.kind for part in parts]
    _check_counts(f"{path}.layout", kinds)
    places = _places(parts)
    nonce, body, tag = (kinds.index(kind) for kind in ("nonce", "ciphertext", "tag"))
    lead = parts[:nonce] if nonce < min(body, tag) else []
    if aad == "header+name" and nonce > min(body, tag):
        hint = "put the nonce before ciphertext and tag, or authenticate the name alone"
        raise FormatError(f"{path}.aad: no header stands before the nonce", hint=hint)
    literals = tuple((place, part.text) for place, part in zip(places, parts, strict=True))
    smallest = sum(part.size for part in parts)
    return _Plan(
        smallest=smallest,
        surely_random=smallest - TAG_SIZE + SURELY_RANDOM,
        start=parts[0].text,
        literals=tuple(literal for literal in literals[1:] if literal[1]),
        key_id=places[kinds.index("key-id")] if "key-id" in kinds else None,
        nonce=places[nonce],
        nonce_size=parts[nonce].size,
        body=slice(places[body].start, places[tag if tag == body + 1 else body].stop),
        tag=None if tag == body + 1 else places[tag],
        header=slice(0, sum(part.size for part in lead)),
        lead=_lead(lead),
        order=itemgetter(*_order(kinds)),
        texts=tuple(part.text for part in parts if part.text),
        fixed_aad=_fixed_aad(f"{path}.aad", aad),
        with_name=aad in {"name", "header+name"},
        with_header=aad == "header+name",
    )


def _part(path: str, text: str) -> _Part:
    """What the layout's entry *text* means."""
    kind, _, size = text.partition(":")
    if kind == "hex" and _LITERAL.fullmatch(size):
        return _Part(kind, len(size) // 2, bytes.fromhex(size))
    if kind == "nonce" and re.fullmatch(r"[1-9][0-9]{0,2}", size) and int(size) in NONCE_SIZES:
        return _Part(kind, int(size))
    if text in _FIXED:
        return _Part(kind, _FIXED[text])
    raise FormatError(f"{path}: {text!r} is not a part", hint=f"the parts are {_PARTS}")


def _check_counts(path: str, kinds: list[str]) -> None:
    """Refuse a layout that lacks a part or has one too many."""
    for kind in ("nonce", "ciphertext", "tag"):
        if kinds.count(kind) != 1:
            hint = "a layout has exactly one nonce, one ciphertext and one tag"
            raise FormatError(f"{path}: {kinds.count(kind)} times {kind}, not once", hint=hint)
    if kinds.count("key-id") > 1:
        hint = "remove all but one"
        raise FormatError(f"{path}: more than one key-id", hint=hint)


def _places(parts: list[_Part]) -> list[slice]:
    """Where each part is; what follows the ciphertext is counted from the end."""
    places, at, passed = [], 0, False
    total = sum(part.size for part in parts)
    for part in parts:
        start = at - total if passed else at
        at += part.size
        passed = passed or part.kind == "ciphertext"
        # From the end, "up to 0" is written None.
        places.append(slice(start, (at - total or None) if passed else at))
    return places


def _lead(parts: list[_Part]) -> tuple[bytes, ...]:
    """The bytes before and behind the key id, or all of them where there is none."""
    pieces = [b""]
    for part in parts:
        if part.kind == "key-id":
            pieces.append(b"")
        pieces[-1] += part.text
    return tuple(pieces)


def _order(kinds: list[str]) -> list[int]:
    """Which of (key id, nonce, ciphertext, tag, literals...) comes when."""
    literals = itertools.count(4)
    given = ("key-id", "nonce", "ciphertext", "tag")
    return [next(literals) if kind == "hex" else given.index(kind) for kind in kinds]


def _fixed_aad(path: str, aad: str) -> bytes | None:
    """What *aad* authenticates whatever the value is; None where that is nothing."""
    kind, _, literal = aad.partition(":")
    if kind == "hex" and _LITERAL.fullmatch(literal):
        return bytes.fromhex(literal)
    if aad in {"none", "name", "header+name"}:
        return None
    raise FormatError(f"{path}: {aad!r} is not known", hint=f"it is {_AADS}")


def _decode(encoding: Encoding, text: bytes) -> bytes | None:
    """The bytes that *text* stands for, or None where it is not the one way to write them."""
    try:
        if encoding is Encoding.HEX:
            mixed = text not in (text.lower(), text.upper())
            return None if mixed else binascii.unhexlify(text)
        return _decode_base64(text.translate(_FROM_URL) if encoding is Encoding.BASE64URL else text)
    except binascii.Error:
        return None


def _decode_base64(text: bytes) -> bytes | None:
    """The same for base64, with all of its padding or none."""
    # Most text that is something else is told by its beginning.
    if text[:16].translate(None, _BASE64):
        return None
    if len(text) % 4:
        if text.endswith(b"="):
            return None
        text += b"=" * (-len(text) % 4)
    decoded = binascii.a2b_base64(text)
    return decoded if binascii.b2a_base64(decoded, newline=False) == text else None


def _encode(encoding: Encoding, value: bytes, *, other_spelling: bool) -> bytes:
    """*value* as text; the counterpart of `_decode`."""
    if encoding is Encoding.HEX:
        text = binascii.hexlify(value)
        return text.upper() if other_spelling else text
    text = binascii.b2a_base64(value, newline=False)
    if other_spelling:
        text = text.rstrip(b"=")
    return text.translate(_TO_URL) if encoding is Encoding.BASE64URL else text


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
