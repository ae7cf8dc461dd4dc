"""
Bytes layout: cuts and joins values laid out in bytes, such as nonce, ciphertext and tag in a row.

A layout is a list of `hex:<literal>`, `key-id:8`, `label:<n>`, `keep:<n>`, `nonce:<n>` (12 unless
said), `ciphertext` and `tag:16`: exactly one nonce, ciphertext and tag, at most one that names the
key. All but the ciphertext have a length, so there is one way to cut a value.

Limit: laid-out bytes that are all ASCII do not fit, once ciphertext and tag are 64 bytes or more.
They are as good as random, and 64 random bytes look like that once in 2^64. Plain text is told from
values by this, without a try of every key.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from rotator.crypto.encoding import ALPHABETS, Encoding, decode, encode
from rotator.crypto.keyring import KEY_ID_SIZE, NONCE_SIZES, TAG_SIZE
from rotator.errors import FormatError

RANDOM_SIZE: Final = 64
"""Bytes of ciphertext and tag that are never all ASCII: such a thing comes once in 2^64."""

ENCRYPTED: Final = ("nonce", "ciphertext", "tag")
"""The parts that every value has, once."""

LITERAL: Final = re.compile(r"(?:[0-9a-fA-F]{2})+")
"""A literal in hex."""

_FIXED_SIZES = {"key-id:8": KEY_ID_SIZE, "ciphertext": 0, "tag:16": TAG_SIZE}
_HINT = (
    "the parts are hex:<literal>, key-id:8, label:<n>, keep:<n>, nonce:<n> (8 to 128), ciphertext"
    " and tag:16"
)
_SIZE = re.compile(r"[1-9][0-9]{0,2}")


class Parts(NamedTuple):
    """
    Parts: hold what a value consists of.

    *body* is the ciphertext with the tag behind it, whatever the layout's order; *header* is all
    laid-out bytes before the nonce. *key_id* and *label* are None where the layout has none. *like*
    says how the value is written, for another to be joined like it: what the layout says of it.
    """

    key_id: bytes | None
    label: bytes | None
    nonce: bytes
    body: bytes
    header: bytes
    like: Any


class _Entry(NamedTuple):
    """Entry: one part of a layout; *size* in bytes, 0 for the ciphertext."""

    kind: str
    size: int
    literal: bytes = b""


class BytesLayout:
    """
    Bytes layout: cuts and joins values of the *layout* found at *path*, *encoding* as a whole.

    *nonce_size* is in bytes; *kept* is whether it has parts that are copied, *labelled* whether it
    has a label, *names_key* whether it has a key id. *literals* stand for themselves; a value
    begins with *start*, if that is not empty. *has_header*: the nonce stands before ciphertext and
    tag. *sequential* is where nonce and ciphertext begin, if a header that is not copied, nonce,
    ciphertext and tag are all there is. *smallest* is the size of an empty plaintext's laid-out
    bytes; from *min_random_size* on bytes that are all ASCII do not fit.

    Raises:
        FormatError: A part is missing, unknown or there twice; the message names it.
    """

    def __init__(self, path: str, layout: Sequence[str], encoding: Encoding) -> None:
        entries = [_entry(f"{path}[{index}]", text) for index, text in enumerate(layout)]
        kinds = [entry.kind for entry in entries]
        _check_counts(path, kinds)
        nonce, body, tag = (kinds.index(kind) for kind in ENCRYPTED)
        self.has_header = nonce < min(body, tag)
        self.kept, self.labelled = "keep" in kinds, "label" in kinds
        self.names_key = "key-id" in kinds
        self.literals = [entry.literal for entry in entries if entry.literal]
        self.start, self.nonce_size = entries[0].literal, entries[nonce].size
        self.smallest = sum(entry.size for entry in entries)
        self.min_random_size = self.smallest - TAG_SIZE + RANDOM_SIZE
        self.encoding, self._entries = encoding, entries
        places = _places(entries)
        start, stop = places[nonce].start, places[body].start
        in_a_row = kinds[-3:] == list(ENCRYPTED) and not self.kept
        self.sequential = (start, stop) if in_a_row else None
        placed = zip(places[1:], entries[1:], strict=True)
        self._placed = tuple((place, entry.literal) for place, entry in placed if entry.literal)
        at = dict(zip(kinds, places, strict=True))
        self._key_id, self._label, self._nonce = at.get("key-id"), at.get("label"), places[nonce]
        # The ciphertext, and the tag when it comes next; else where that is.
        tag_is_next = tag == body + 1
        self._body = slice(stop, places[tag if tag_is_next else body].stop)
        self._tag = None if tag_is_next else places[tag]
        header = entries[:nonce] if self.has_header else []
        self._header = slice(0, sum(entry.size for entry in header))
        self._keeps = [place for kind, place in zip(kinds, places, strict=True) if kind == "keep"]
        self._template, self._header_template = _template(entries), _template(header)

    @property
    def first_bytes(self) -> frozenset[int]:
        """The bytes with which a value can begin."""
        if self.encoding is Encoding.RAW:
            return frozenset(self.start[:1] or range(256))
        return frozenset(ALPHABETS[self.encoding])

    def label_fault(self, label: bytes) -> str | None:
        """Return why *label* cannot be one here; None: it can."""
        size = next((entry.size for entry in self._entries if entry.kind == "label"), len(label))
        return (
            None if size == len(label) else f"has {len(label)} bytes, and label:{size} has {size}"
        )

    def fits(self, laid: bytes) -> bool:
        """Return whether laid-out bytes have the size and the literals."""
        size = len(laid)
        if size < self.smallest or not laid.startswith(self.start):
            return False
        if size >= self.min_random_size and laid.isascii():
            return False
        if not self._placed:  # as nearly always
            return True
        return all(laid[place] == literal for place, literal in self._placed)

    def cut(self, value: bytes) -> Parts | None:
        """Return the parts of *value*; None if it does not fit."""
        laid = decode(self.encoding, value)
        if laid is None or not self.fits(laid):
            return None
        return Parts(
            None if self._key_id is None else laid[self._key_id],
            None if self._label is None else laid[self._label],
            laid[self._nonce],
            laid[self._body] if self._tag is None else laid[self._body] + laid[self._tag],
            laid[self._header],
            (laid, value),
        )

    def likeness(self, value: bytes) -> Any:
        """Return what another value needs to be written like *value*, which fits."""
        return decode(self.encoding, value) if self.kept else b"", value

    def header(self, key_id: bytes, label: bytes = b"", like: Any = None) -> bytes:
        """Return all laid-out bytes before the nonce; what is kept is as in *like*."""
        named = {b"key-id": key_id, b"label": label}
        return self._header_template % {**named, **self._copied(like)}

    def join(
        self, key_id: bytes, label: bytes, nonce: bytes, body: bytes, like: Any = None
    ) -> bytes:
        """Return the value of these parts; what is kept, and how it is written, is as in *like*."""
        parts = {
            b"key-id": key_id,
            b"label": label,
            b"nonce": nonce,
            b"ciphertext": body[:-TAG_SIZE],
            b"tag": body[-TAG_SIZE:],
        }
        laid = self._template % {**parts, **self._copied(like)}
        return encode(self.encoding, laid, like and like[1])

    def _copied(self, like: Any) -> dict[bytes, bytes]:
        """Return the parts that are kept, as the template names them."""
        return {b"keep%d" % index: like[0][place] for index, place in enumerate(self._keeps)}


def _entry(path: str, text: str) -> _Entry:
    """Return the part that the layout's entry *text* describes."""
    kind, _, size = text.partition(":")
    if kind == "hex" and LITERAL.fullmatch(size):
        return _Entry(kind, len(size) // 2, bytes.fromhex(size))
    if _SIZE.fullmatch(size) and size.isascii():
        if kind == "nonce" and int(size) in NONCE_SIZES:
            return _Entry(kind, int(size))
        if kind in {"label", "keep"}:
            return _Entry(kind, int(size))
    if text in _FIXED_SIZES:
        return _Entry(kind, _FIXED_SIZES[text])
    raise FormatError(f"{path}: {text!r} is not a part", hint=_HINT)


def _check_counts(path: str, kinds: list[str]) -> None:
    """Refuse a layout that lacks a part or has one too many."""
    for kind in ENCRYPTED:
        if kinds.count(kind) != 1:
            hint = "a layout has exactly one nonce, one ciphertext and one tag"
            raise FormatError(f"{path}: {kinds.count(kind)} times {kind}, not once", hint=hint)
    for kind in ("key-id", "label"):
        if kinds.count(kind) > 1:
            raise FormatError(f"{path}: more than one {kind}", hint="remove all but one")
    if {"key-id", "label"} <= set(kinds):
        hint = "a value names its key once: remove one of them"
        raise FormatError(f"{path}: both key-id and label", hint=hint)


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
    made, keeps = [], 0
    for kind, _, literal in entries:
        if literal:
            made.append(literal.replace(b"%", b"%%"))
        elif kind == "keep":
            made.append(b"%%(keep%d)s" % keeps)
            keeps += 1
        else:
            made.append(f"%({kind})s".encode())
    return b"".join(made)
