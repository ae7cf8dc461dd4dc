"""
Where nonce, ciphertext and tag are in a value, worked out once from a format's description.

A layout is an ordered list of `hex:<literal>`, `key-id:8`, `nonce:<n>`, `ciphertext` and `tag:16`:
exactly one nonce, ciphertext and tag, at most one key id.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final, NamedTuple

from rotator.crypto.keyring import KEY_ID_SIZE, NONCE_SIZES, TAG_SIZE
from rotator.errors import FormatError

SURELY_RANDOM: Final = 64  # bytes

_FIXED = {"key-id:8": KEY_ID_SIZE, "ciphertext": 0, "tag:16": TAG_SIZE}
_PARTS = "hex:<literal>, key-id:8, nonce:<n> (8 to 128), ciphertext and tag:16"
_AADS = "none, name, header+name or hex:<literal>"
_LITERAL = re.compile(r"(?:[0-9a-fA-F]{2})+")


@dataclass(frozen=True, slots=True)
class Plan:
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


def make_plan(path: str, layout: Sequence[str], aad: str) -> Plan:
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
    return Plan(
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
