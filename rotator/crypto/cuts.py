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
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import islice, pairwise, permutations, product
from operator import itemgetter
from typing import Final, NamedTuple

from rotator.crypto.encoding import Encoding, decode
from rotator.crypto.keyring import TAG_SIZE
from rotator.crypto.samples import DEPTH, RUNS, TEXTUAL, Samples

NONCES: Final = (12, 16)
"""The sizes of nonces that are tried, in bytes."""

_ALONE = (*NONCES, 24, 32, 8)
"""Those that are tried of nonces that stand alone."""

Parts = tuple[tuple[str, int], ...]
"""The parts of a piece, with their sizes in bytes, 0 for the ciphertext."""

_CIPHERTEXT, _TAG = ("ciphertext", 0), ("tag", TAG_SIZE)
_ORDERS = [parts for size in NONCES for parts in permutations((("nonce", size), _CIPHERTEXT, _TAG))]
_SMALLEST = NONCES[0] + TAG_SIZE
_EXTRA = 4  # bytes or characters of a literal or label that no other value shares
_FARTHEST = 8  # bytes before the nonce that no other value shares
_LONGEST = 40  # characters of a literal in a run of its own alphabet, if nothing says how many
_INNER_MARKS = (b"-", b"_")
_GAP = re.compile(rb"([^A-Za-z0-9])(?=\1)|[^A-Za-z0-9]\Z|\A(?=[^A-Za-z0-9])", re.DOTALL)
_MOST = 150  # cuts of a text, or places of a header and a tail
_RUNS = 12  # the runs of a text that are looked at, the longest
_MARKS = {Encoding.BASE64: (b"+", b"/"), Encoding.BASE64URL: (b"-", b"_")}


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
        """The texts before, between and behind the pieces."""
        ends = (0, *(span.end for span in self.spans))
        starts = (*(span.start for span in self.spans), len(self.text))
        return tuple(self.text[end:start] for end, start in zip(ends, starts, strict=True))

    @property
    def head(self) -> bytes:
        """The text before the first piece."""
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


_Way = tuple[tuple[_Slice, ...], tuple[Parts, ...], bytes, bytes]
"""Slices, the parts in each, the nonce, and the ciphertext with the tag behind it."""


def _in_one(raw: bytes) -> Iterator[tuple[Parts, bytes, bytes]]:
    """Yield the ways in which *raw* may be nonce, ciphertext and tag in a row."""
    for parts in _ORDERS:
        if (taken := _take(raw, parts)) is not None:
            yield parts, *taken


def _take(raw: bytes, parts: Parts) -> tuple[bytes, bytes] | None:
    """Return nonce and body of *raw* if it consists of *parts*; None: it is too short."""
    (first, size), (second, then), (_, last) = parts
    rest = len(raw) - size - then - last
    if rest < 0:
        return None
    begin = size or (rest if first == "ciphertext" else 0)
    end = begin + (then or (rest if second == "ciphertext" else 0))
    got = dict(
        zip((kind for kind, _ in parts), (raw[:begin], raw[begin:end], raw[end:]), strict=True)
    )
    return got["nonce"], got["ciphertext"] + got["tag"]


def bytes_cuts(laid: bytes, samples: Samples) -> Iterator[Cut]:
    """Yield the ways to take apart *laid*, one of *samples*, as bytes; the likely ones first."""
    yield from _around(laid, samples.constants)
    shared, same = samples.prefix(laid), min(samples.suffix(laid), DEPTH)
    readable = re.match(rb"[ -~]*", laid)
    letters = len(readable[0]) if readable and not shared else 0
    near = (shared, 0, *range(1, _EXTRA + 1), *range(shared + 1, shared + _FARTHEST + 1))
    heads = list(dict.fromkeys((*near, *range(shared, 0, -1), *range(letters + 2))))
    tails = list(dict.fromkeys((same, 0, *range(same, 0, -1))))
    ranked = sorted(product(range(len(heads)), range(len(tails))), key=sum)
    for head, tail in islice(ranked, _MOST):
        start, end = heads[head], len(laid) - tails[tail]
        if end - start >= _SMALLEST:
            for parts, nonce, body in _in_one(laid[start:end]):
                yield Cut(Encoding.RAW, laid, (Span(start, end, parts),), nonce, body)


def _around(laid: bytes, constants: Sequence[range]) -> Iterator[Cut]:
    """
    Yield the ways to take *laid* apart if bytes that all have stand between parts.

    The first ones may be in the header instead; the last may be the beginning of what differs, such
    as a length.
    """
    ordered = sorted(slice(one.start, one.stop).indices(len(laid))[:2] for one in constants)
    for first, more in product(range(len(ordered)), range(_EXTRA + 1)):
        *places, (start, end) = ordered[first:]
        places.append((start, end + more))
        without, at, marks = b"", 0, dict[int, int]()  # where parts end there, what follows
        for start, end in places:
            without, at = without + laid[at:start], end
            marks[len(without)] = end - start
        without += laid[at:]
        header = ordered[first - 1][1] if first else 0
        for head in range(header, min(places[0][0], header + _FARTHEST + 1)):
            for parts in _ORDERS:
                spans = _spans(parts, head, len(without), marks)
                taken = _take(without[head:], parts) if spans else None
                if spans and taken:
                    yield Cut(Encoding.RAW, laid, spans, *taken)


def _spans(parts: Parts, head: int, size: int, marks: Mapping[int, int]) -> tuple[Span, ...] | None:
    """Return where *parts* stand if what follows them is as long as *marks* say; None: nowhere."""
    rest = size - head - sum([length for _, length in parts])
    ahead = [*marks, size]
    spans, begin, start, at, shift = list[Span](), 0, head, head, 0
    for number, (_, length) in enumerate(parts, 1):
        at += length or rest
        if at > ahead[0]:
            return None
        if at == ahead[0]:
            spans.append(Span(start + shift, at + shift, parts[begin:number]))
            shift += marks.get(ahead.pop(0), 0)
            begin, start = number, at
        if not ahead:
            break
    return tuple(spans) if not ahead and begin == len(parts) else None


def text_cuts(text: bytes, samples: Samples) -> Iterator[Cut]:
    """Yield the ways to take apart *text*, one of *samples*; those first that leave least over."""
    ways: list[tuple[int, Encoding, _Way]] = []
    seen = set[tuple[tuple[int, int], ...]]()
    others = [encoding for encoding, marks in _MARKS.items() if all(m in text for m in marks)]
    for encoding in TEXTUAL:
        if len(others) == 1 and encoding in _MARKS and encoding not in others:
            continue  # the marks of the other one are all over it
        runs = tuple([run.span() for run in RUNS[encoding].finditer(text)])
        if encoding not in _MARKS or runs not in seen or re.search(rb"[+/_-]", text):
            seen.add(runs)
            for way in _ways(text, _slices(encoding, text, runs, samples)):
                covered = sum([one.end - one.start for one in way[0]])
                ways.append((-covered, encoding, way))
    ways.sort(key=itemgetter(0))
    return islice(_cuts(text, ways), _MOST)


def _cuts(text: bytes, ways: Sequence[tuple[int, Encoding, _Way]]) -> Iterator[Cut]:
    """Yield the cuts that *ways* describe, as far as their pieces do not overlap."""
    for _, encoding, (chosen, parts, nonce, body) in ways:
        spans = [Span(one.start, one.end, of) for one, of in zip(chosen, parts, strict=True)]
        spans.sort()
        if all(before.end <= span.start for before, span in pairwise(spans)):
            yield Cut(encoding, text, tuple(spans), nonce, body)


def _slices(
    encoding: Encoding, text: bytes, runs: Sequence[tuple[int, int]], samples: Samples
) -> list[_Slice]:
    """Return what may be a piece: runs, and runs without a literal at their beginning or end."""
    longest = sorted(range(len(runs)), key=lambda at: runs[at][0] - runs[at][1])[:_RUNS]
    found: list[tuple[int, int]] = []
    for index in sorted(longest):
        start, end = runs[index]
        size = end - start
        shared = samples.run_prefix(encoding, index, text[start:end])
        if shared == size:
            continue  # what others have, too, is not random
        found.append((start, end))
        extra = shared + _EXTRA if shared else _LONGEST
        for exact in _lengths(encoding):
            if 0 < size - exact <= extra:
                found += [(end - exact, end), (start, start + exact)]
            if text[start + exact : start + exact + 1] in _INNER_MARKS:
                found += [(start, start + exact), (start + exact + 1, end)]
        ahead = {*range(1, _EXTRA), *range(shared - 1, shared + _EXTRA)}
        for more in sorted(ahead) if shared else ():
            if 0 < more < size:
                found.append((start + more, end))
    made = ((start, end, decode(encoding, text[start:end])) for start, end in dict.fromkeys(found))
    return [_Slice(start, end, raw) for start, end, raw in made if raw]


@cache
def _lengths(encoding: Encoding) -> list[int]:
    """Return how long nonces and tags are as text, and both together."""
    sizes = (*NONCES, *(nonce + TAG_SIZE for nonce in NONCES))
    if encoding is Encoding.HEX:
        return [2 * size for size in sizes]
    return sorted({length for size in sizes for length in (-(-size * 4 // 3), -(-size // 3) * 4)})


def _ways(text: bytes, slices: Sequence[_Slice]) -> Iterator[_Way]:
    """Yield the ways in which pieces may be among *slices* of a text."""
    nonces = [one for one in slices if len(one.raw) in _ALONE]
    tags = [one for one in slices if len(one.raw) == TAG_SIZE]
    yield from _one_piece(slices)
    yield from _two_pieces(slices, nonces, tags)
    yield from _three_pieces([*slices, *_gaps(text)], nonces, tags)


def _gaps(text: bytes) -> Iterator[_Slice]:
    """Yield where an empty ciphertext may stand: between two marks of a kind, or at an end."""
    for found in _GAP.finditer(text):
        yield _Slice(found.end(), found.end(), b"")


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
