"""
Where nonce, ciphertext and tag are in a value, worked out once from a format's description.

A layout is an ordered list of `hex:<literal>`, `key-id:8`, `nonce:<n>`, `ciphertext` and `tag:16`:
exactly one nonce, ciphertext and tag, at most one key id.

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

import itertools
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from operator import itemgetter
from typing import Final, NamedTuple

from rotator.crypto.keyring import KEY_ID_SIZE, NONCE_SIZES, TAG_SIZE
from rotator.crypto.text_layout import ALPHABETS, Encoding, decode, encode, encoded_size
from rotator.errors import FormatError

SURELY_RANDOM: Final = 64  # bytes


_FIXED = {"key-id:8": KEY_ID_SIZE, "ciphertext": 0, "tag:16": TAG_SIZE}


_PARTS = "hex:<literal>, key-id:8, nonce:<n> (8 to 128), ciphertext and tag:16"


_AADS = "none, name, header+name or hex:<literal>"


_LITERAL = re.compile(r"(?:[0-9a-fA-F]{2})+")


@dataclass(frozen=True, slots=True)
class LayoutPlan:
    """Where everything is: what `Format` needs for each value."""

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
    telling: int | None  # the beginning that no other value shares; None: that takes all of it
    fixed_aad: bytes | None
    with_name: bool
    with_header: bool


class _Part(NamedTuple):
    """One part of a layout: *size* in bytes, 0 for the ciphertext; *text* of a literal."""

    kind: str
    size: int
    text: bytes = b""


def make_plan(path: str, layout: Sequence[str], aad: str) -> LayoutPlan:
    """
    The plan of a format whose fields are under *path* in the configuration.

    Raises:
        FormatError: The layout or what is authenticated with it is described wrongly.
    """
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
    return LayoutPlan(
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
        telling=_telling(places[nonce], places[body]),
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


def _telling(nonce: slice, body: slice) -> int | None:
    """The end of the nonce and of the first block behind it, where the nonce stands before it."""
    if nonce.stop is None or nonce.stop != body.start:
        return None
    return int(nonce.stop) + 16


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


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


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
    _plan: LayoutPlan = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        plan = make_plan(f"rotator.formats.{self.name}", self.layout, self.aad)
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

    @property
    def binds_header(self) -> bool:
        """Whether what stands before the nonce is authenticated as well."""
        return self._plan.with_header

    @property
    def names_key(self) -> bool:
        """Whether a value says by which key it was encrypted."""
        return self._plan.key_id is not None

    @property
    def nonce_size(self) -> int:
        """In bytes."""
        return self._plan.nonce_size

    @property
    def surely_random(self) -> int:
        """From which size on laid-out bytes that are all ASCII do not fit."""
        return self._plan.surely_random

    @property
    def straight(self) -> tuple[int, int] | None:
        """
        Where nonce and ciphertext begin in laid-out bytes; None if anything else comes after them.

        Straight are layouts of a header that may be empty, then nonce, ciphertext and tag.
        """
        nonce, body = self._plan.nonce, self._plan.body
        kinds = [part.partition(":")[0] for part in self.layout]
        if kinds[-3:] != ["nonce", "ciphertext", "tag"]:
            return None
        return nonce.start, body.start

    @property
    def first_bytes(self) -> frozenset[int]:
        """With which bytes a value of this format can begin."""
        if self.encoding is Encoding.RAW:
            start = self._plan.start[:1]
            return frozenset(start) if start else frozenset(range(256))
        return frozenset(ALPHABETS[self.encoding])

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
            decoded = decode(self.encoding, value)
            if decoded is None:
                return None
            value = decoded
        if not self.fits(value):
            return None
        return Parts(
            None if plan.key_id is None else value[plan.key_id],
            value[plan.nonce],
            value[plan.body] if plan.tag is None else value[plan.body] + value[plan.tag],
            value[plan.header],
        )

    def fits(self, laid: bytes) -> bool:
        """Whether laid-out bytes have the size and the literals; nothing is authenticated here."""
        plan = self._plan
        size = len(laid)
        if size < plan.smallest or not laid.startswith(plan.start):
            return False
        if size >= plan.surely_random and laid.isascii():
            return False
        return all(laid[place] == literal for place, literal in plan.literals)

    @property
    def telling_size(self) -> int | None:
        """
        How many bytes at the beginning of a value no other value shares; None for all of it.

        They reach up to the block behind the nonce. A nonce of 12 random bytes is never met twice,
        so whoever finds this beginning again finds the same value. That takes the whole value where
        the nonce does not stand before the ciphertext.
        """
        size = self._plan.telling
        if size is None or self._plan.nonce_size < 12:
            return None
        return encoded_size(self.encoding, size)

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
        return encode(self.encoding, value, other_spelling=self.other_spelling)

    def __str__(self) -> str:
        layout = " ".join(self.layout)
        return f"{self.name} (encoding {self.encoding}, layout {layout}, aad {self.aad})"


@cache
def _respelled(form: Format) -> Format:
    """*form* in its other spelling."""
    # Kept, because working out a plan takes longer than opening a value.
    return replace(form, other_spelling=not form.other_spelling)


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
