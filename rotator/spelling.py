"""Which known word a misspelled one was meant to be."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str | None:
    """
    The *known* word that *word* is most likely a misspelling of, or None.

    Case, `_` and `-` do not count. One slip is forgiven, two in a word of 8 letters or more: short
    words are too often one letter away from another real one (`tls` and `ttl`).
    """
    best: tuple[int, str] | None = None
    for candidate in known:
        slips = _slips(_plain(word), _plain(candidate))
        if slips <= (2 if len(candidate) >= 8 else 1) and (best is None or slips < best[0]):
            best = slips, candidate
    return None if best is None else best[1]


def _plain(word: str) -> str:
    """The letters that count."""
    return word.lower().replace("_", "").replace("-", "")


def _slips(a: str, b: str) -> int:
    """Letters added, left out, exchanged, or swapped with their neighbour (Damerau, 1964)."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        before, last, row = row, before, [i]
        for j, right in enumerate(b, 1):
            slips = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (left != right))
            if i > 1 and j > 1 and left == b[j - 2] and a[i - 2] == right:
                slips = min(slips, last[j - 2] + 1)
            row.append(slips)
    return row[-1]
