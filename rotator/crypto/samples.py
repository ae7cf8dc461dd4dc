"""
Samples: tell how much values have in common, before anything is known of them.

What is random is never the same in two values, so what they share is a literal or a label.
"""

import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Final

from rotator.crypto.encoding import ALPHABETS, Encoding

TEXTUAL: Final = (Encoding.HEX, Encoding.BASE64, Encoding.BASE64URL)
"""The encodings that write bytes as text."""

RUNS: Final = {
    encoding: re.compile(b"[%b]+=?=?" % re.escape(ALPHABETS[encoding].rstrip(b"=")))
    for encoding in TEXTUAL
}
"""What finds the runs of each alphabet in a text."""

DEPTH: Final = 64
"""Bytes at either end of a value that are looked at for what all values share."""

_ENOUGH = 4  # values of which a byte is hardly the same by chance
_BY_CHANCE = 2  # values that may have the same run, if that is short


class Samples:
    """Samples: tell of texts of one kind how much each shares with those most like it."""

    def __init__(self, texts: Sequence[bytes]) -> None:
        self._texts = texts
        self._prefixes = _shared(texts)
        self._suffixes = _shared([text[::-1] for text in texts])
        self._runs: dict[tuple[Encoding, int], dict[bytes, int]] = {}
        self._found: dict[Encoding, list[list[bytes]]] = {}

    def prefix(self, text: bytes) -> int:
        """Return how many bytes *text* has in common with another, at the beginning."""
        return self._prefixes.get(text, 0)

    def suffix(self, text: bytes) -> int:
        """Return how many bytes *text* has in common with another, at the end."""
        return self._suffixes.get(text[::-1], 0)

    def run_prefix(self, encoding: Encoding, index: int, run: bytes) -> int:
        """Return how many characters a *run* has in common with another text's of its *index*."""
        if (encoding, index) not in self._runs:
            if encoding not in self._found:
                self._found[encoding] = [RUNS[encoding].findall(text) for text in self._texts]
            found = self._found[encoding]
            runs = Counter(each[index] for each in found if len(each) > index)
            repeated = {run: len(run) for run, number in runs.items() if number > _BY_CHANCE}
            self._runs[encoding, index] = _shared(list(runs)) | repeated
        return self._runs[encoding, index].get(run, 0)

    @cached_property
    def constants(self) -> tuple[range, ...]:
        """The stretches of bytes that all have, within; counted from the end if below zero."""
        sizes = set(map(len, self._texts))
        if len(self._texts) < _ENOUGH:
            return ()
        depth = min(DEPTH, *sizes)
        # Where all are of one size, the places from the end are the same once more.
        places = range(-depth if len(sizes) > 1 else 0, depth)
        same = [at for at in places if len({text[at] for text in self._texts}) == 1]
        stretches: list[range] = []
        for at in same:
            if at and stretches and stretches[-1].stop == at:
                stretches[-1] = range(stretches[-1].start, at + 1)
            else:
                stretches.append(range(at, at + 1))
        return tuple(one for one in stretches if one.start and one.stop not in {0, *sizes})


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
