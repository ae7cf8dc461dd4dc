"""
Cut: takes a value apart in every way that a format might, by its text and what others share.

- Of text: runs of one alphabet. One of 12 or 16 bytes may be the nonce, one of 16 the tag, any one
  the ciphertext; several parts may lie side by side in one run. What is left over at either end of
  a run may be a literal of the same characters: as much of it as other values have too.
- Of bytes: nonce, ciphertext and tag in every order, behind a header, before a tail, and around
  bytes in their midst that all values have.

Nothing is decrypted here: a cut is a guess until its nonce and body open under a key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise, permutations
from typing import Final, NamedTuple

from rotator.crypto.encoding import ALPHABETS, Encoding, decode
from rotator.crypto.keyring import TAG_SIZE

NONCES: Final = (12, 16)
"""The sizes of nonces that are tried, in bytes."""

TEXTUAL: Final = (Encoding.HEX, Encoding.BASE64, Encoding.BASE64URL)
"""The encodings that write bytes as text."""

Parts = tuple[tuple[str, int], ...]
"""The parts of a piece, with their sizes in bytes, 0 for the ciphertext."""

_CIPHERTEXT, _TAG = ("ciphertext", 0), ("tag", TAG_SIZE)
_ORDERS = [parts for size in NONCES for parts in permutations((("nonce", size), _CIPHERTEXT, _TAG))]
_SMALLEST = NONCES[0] + TAG_SIZE
_EXTRA = 4  # bytes or characters of a literal or label that no other value shares
_FARTHEST = 8  # bytes before the nonce that no other value shares
_LONGEST = 40  # characters of a literal in a run of its own alphabet, if nothing says how many
_RUNS = 12  # the runs of a text that are looked at, the longest
_DEEP = 64  # bytes at either end that are looked at for what all values share
_PATTERNS = {
    encoding: re.compile(b"[%b]+=?=?" % re.escape(ALPHABETS[encoding].rstrip(b"=")))
    for encoding in TEXTUAL
}
_BOTH = {Encoding.BASE64, Encoding.BASE64URL}


class Span(NamedTuple):
    """Span: one piece of a value, from *start* up to *end*, and the parts in it."""

    start: int
    end: int
    parts: Parts


class Cut(NamedTuple):
    """
    Cut: one way to take *text* apart; *body* is the ciphertext with the tag behind it.

    *spans* are the pieces in their order, each written in *encoding*.
    """

    encoding: Encoding
    text: bytes
    spans: tuple[Span, ...]
    nonce: bytes
    body: bytes

    @property
    def glue(self) -> tuple[bytes, ...]:
        """What stands before, between and behind the pieces."""
        ends = (0, *(span.end for span in self.spans))
        starts = (*(span.start for span in self.spans), len(self.text))
        return tuple(self.text[end:start] for end, start in zip(ends, starts, strict=True))

    @property
    def head(self) -> bytes:
        """What stands before the first piece."""
        return self.text[: self.spans[0].start]

    @property
    def pieces(self) -> tuple[Parts, ...]:
        """The parts of each piece."""
        return tuple(span.parts for span in self.spans)


class _Slice(NamedTuple):
    """Slice: a part of a text that is some bytes in an encoding."""

    start: int
    end: int
    raw: bytes


class Samples:
    """Samples: tell of texts of one kind how much each shares with those most like it."""

    def __init__(self, texts: Sequence[bytes]) -> None:
        self._texts = texts
        self._prefixes = _shared(texts)
        self._suffixes = _shared([text[::-1] for text in texts])
        self._runs: dict[tuple[Encoding, int], dict[bytes, int]] = {}

    def prefix(self, text: bytes) -> int:
        """Return how many bytes *text* has in common with another, at the beginning."""
        return self._prefixes.get(text, 0)

    def suffix(self, text: bytes) -> int:
        """Return how many bytes *text* has in common with another, at the end."""
        return self._suffixes.get(text[::-1], 0)

    def run_prefix(self, encoding: Encoding, index: int, run: bytes) -> int:
        """Return how many characters a *run* has in common with another text's of its *index*."""
        if (encoding, index) not in self._runs:
            found = [_PATTERNS[encoding].findall(text) for text in self._texts]
            runs = [each[index] for each in found if len(each) > index]
            self._runs[encoding, index] = _shared(runs)
        return self._runs[encoding, index].get(run, 0)

    @cached_property
    def constants(self) -> tuple[range, ...]:
        """The stretches of bytes that all have, within; counted from the end if below zero."""
        if len(self._texts) < 3:  # two random bytes are the same too often
            return ()
        first, size = self._texts[0], min(map(len, self._texts))
        depth = min(_DEEP, size // 2)
        same = [at for at in range(-depth, depth) if len({text[at] for text in self._texts}) == 1]
        stretches: list[range] = []
        for at in same:
            if stretches and stretches[-1].stop == at and at:
                stretches[-1] = range(stretches[-1].start, at + 1)
            else:
                stretches.append(range(at, at + 1))
        inner = [one for one in stretches if one.start and one.stop and len(one) < len(first)]
        return tuple(inner)


def _shared(texts: Sequence[bytes]) -> dict[bytes, int]:
    """Return, by text, the longest beginning that it shares with another one."""
    found: dict[bytes, int] = {}
    # Those that are most alike are next to each other.
    ordered = sorted(set(texts))
    for text, then in pairwise(ordered):
        same = _common(text, then)
        found[text] = max(found.get(text, 0), same)
        found[then] = same
    return found


def _common(one: bytes, other: bytes) -> int:
    """Return the number of bytes that two texts have in common, at the beginning."""
    size = min(len(one), len(other))
    if one[:size] == other[:size]:
        return size
    return next(at for at in range(size) if one[at] != other[at])


def _in_one(raw: bytes) -> Iterator[tuple[Parts, bytes, bytes]]:
    """Yield the ways in which *raw* may be nonce, ciphertext and tag in a row."""
    for parts in _ORDERS:
        rest = len(raw) - sum(size for _, size in parts)
        if rest < 0:
            continue
        at, got = 0, {}
        for kind, size in parts:
            end = at + (size or rest)
            got[kind] = raw[at:end]
            at = end
        yield parts, got["nonce"], got["ciphertext"] + got["tag"]


def bytes_cuts(laid: bytes, samples: Samples) -> Iterator[Cut]:
    """Yield the ways to take apart *laid*, one of *samples*, as bytes; the likely ones first."""
    shared = samples.prefix(laid)
    readable = re.match(rb"[ -~]*", laid)
    letters = len(readable[0]) if readable and not shared else 0
    sure = [0, shared, *range(1, _EXTRA + 1), *range(shared + 1, shared + _EXTRA + 1)]
    rest = [*range(shared), *range(letters + 2), *range(shared, shared + _FARTHEST + 1)]
    heads = [head for head in dict.fromkeys((*sure, *rest)) if head <= len(laid) - _SMALLEST]
    for tail in range(min(samples.suffix(laid), _DEEP) + 1):
        end = len(laid) - tail
        for head in heads:
            for parts, nonce, body in _in_one(laid[head:end]):
                yield Cut(Encoding.RAW, laid, (Span(head, end, parts),), nonce, body)
    for stretch in samples.constants:
        yield from _around(laid, stretch)


def _around(laid: bytes, stretch: range) -> Iterator[Cut]:
    """Yield the ways to take *laid* apart if *stretch* of it stands between two parts."""
    place = slice(stretch.start, stretch.stop).indices(len(laid))
    without = laid[: place[0]] + laid[place[1] :]
    for head in range(place[0]):
        for parts, nonce, body in _in_one(without[head:]):
            rest, at = len(without) - head - sum(size for _, size in parts), head
            for number, (_, size) in enumerate(parts, 1):
                at += size or rest
                if at == place[0] and number < len(parts):
                    spans = (
                        Span(head, place[0], parts[:number]),
                        Span(place[1], len(laid), parts[number:]),
                    )
                    yield Cut(Encoding.RAW, laid, spans, nonce, body)


def text_cuts(text: bytes, samples: Samples) -> Iterator[Cut]:
    """Yield the ways to take apart *text*, one of *samples*, by runs of each alphabet."""
    seen: set[tuple[tuple[int, int], ...]] = set()
    for encoding in TEXTUAL:
        runs = [found.span() for found in _PATTERNS[encoding].finditer(text)]
        key = tuple(runs)
        if encoding in _BOTH and key in seen and not re.search(rb"[+/_-]", text):
            continue  # nothing tells the two apart
        seen.add(key)
        yield from _of_slices(encoding, text, _slices(encoding, text, runs, samples))


def _slices(
    encoding: Encoding, text: bytes, runs: Sequence[tuple[int, int]], samples: Samples
) -> list[_Slice]:
    """Return what may be a piece: runs, and runs without a literal at their beginning or end."""
    longest = sorted(range(len(runs)), key=lambda at: runs[at][0] - runs[at][1])[:_RUNS]
    found: dict[tuple[int, int], None] = {}
    for index in sorted(longest):
        start, end = runs[index]
        size = end - start
        shared = samples.run_prefix(encoding, index, text[start:end])
        found[start, end] = None
        extra = shared + _EXTRA if shared else _LONGEST
        for exact in _LENGTHS[encoding]:
            if 0 < size - exact <= extra:
                found[end - exact, end] = None
                found[start, start + exact] = None
        for more in range(1, min(shared + _EXTRA, size)):
            found[start + more, end] = None
    made = [_Slice(start, end, decode(encoding, text[start:end]) or b"") for start, end in found]
    return [one for one in made if one.raw]


def _lengths(encoding: Encoding) -> list[int]:
    """Return how long nonces and tags are as text, and both together."""
    sizes = (*NONCES, *(nonce + TAG_SIZE for nonce in NONCES))
    if encoding is Encoding.HEX:
        return [2 * size for size in sizes]
    return sorted({length for size in sizes for length in (-(-size * 4 // 3), -(-size // 3) * 4)})


_LENGTHS = {encoding: _lengths(encoding) for encoding in TEXTUAL}


def _of_slices(encoding: Encoding, text: bytes, slices: Sequence[_Slice]) -> Iterator[Cut]:
    """Yield cuts of which each piece is one of *slices*."""
    nonces = [one for one in slices if len(one.raw) in NONCES]
    tags = [one for one in slices if len(one.raw) == TAG_SIZE]
    for chosen, parts, nonce, body in (
        *_one_piece(slices),
        *_two_pieces(slices, nonces, tags),
        *_three_pieces([*slices, *_gaps(text)], nonces, tags),
    ):
        placed = sorted(zip(chosen, parts, strict=True))
        spans = tuple(Span(one.start, one.end, of) for one, of in placed)
        if all(before.end <= span.start for before, span in pairwise(spans)):
            yield Cut(encoding, text, spans, nonce, body)


def _gaps(text: bytes) -> Iterator[_Slice]:
    """Yield where an empty ciphertext may stand: between two marks, or at an end."""
    for found in re.finditer(rb"(?<![A-Za-z0-9])(?![A-Za-z0-9])", text[: _DEEP * 4]):
        yield _Slice(found.start(), found.start(), b"")


_Way = tuple[tuple[_Slice, ...], tuple[Parts, ...], bytes, bytes]


def _one_piece(slices: Sequence[_Slice]) -> Iterator[_Way]:
    """Yield the ways in which all parts lie side by side."""
    for one in slices:
        for parts, nonce, body in _in_one(one.raw):
            yield (one,), (parts,), nonce, body


def _two_pieces(
    slices: Sequence[_Slice], nonces: Sequence[_Slice], tags: Sequence[_Slice]
) -> Iterator[_Way]:
    """Yield the ways in which two of the parts lie side by side."""
    for one in slices:
        raw, size = one.raw, len(one.raw)
        for nonce in nonces if size >= TAG_SIZE else ():
            alone = (("nonce", len(nonce.raw)),)
            yield (nonce, one), (alone, (_CIPHERTEXT, _TAG)), nonce.raw, raw
            turned = raw[TAG_SIZE:] + raw[:TAG_SIZE]
            yield (nonce, one), (alone, (_TAG, _CIPHERTEXT)), nonce.raw, turned
        for tag in tags:
            for length in NONCES:
                part = ("nonce", length)
                if size >= length:
                    first, last = raw[:length], raw[size - length :]
                    body = raw[length:] + tag.raw
                    yield (one, tag), ((part, _CIPHERTEXT), (_TAG,)), first, body
                    body = raw[: size - length] + tag.raw
                    yield (one, tag), ((_CIPHERTEXT, part), (_TAG,)), last, body
        if size - TAG_SIZE in NONCES:
            part = ("nonce", size - TAG_SIZE)
            for other in slices:
                if other is not one:
                    nonce_first, tag_first = (part, _TAG), (_TAG, part)
                    body = other.raw + raw[-TAG_SIZE:]
                    yield (one, other), (nonce_first, (_CIPHERTEXT,)), raw[:-TAG_SIZE], body
                    body = other.raw + raw[:TAG_SIZE]
                    yield (one, other), (tag_first, (_CIPHERTEXT,)), raw[TAG_SIZE:], body


def _three_pieces(
    slices: Sequence[_Slice], nonces: Sequence[_Slice], tags: Sequence[_Slice]
) -> Iterator[_Way]:
    """Yield the ways in which each part is a piece of its own."""
    for nonce in nonces:
        for tag in tags:
            if tag is nonce:
                continue
            for one in slices:
                if one is not nonce and one is not tag:
                    parts = ((("nonce", len(nonce.raw)),), (_CIPHERTEXT,), (_TAG,))
                    yield (nonce, one, tag), parts, nonce.raw, one.raw + tag.raw
