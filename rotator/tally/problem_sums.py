"""Problem sums: count the visits that did not end well by outcome, reason and name prefix."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

MOST = 200
"""How many sums are told apart; rarer prefixes are counted under ``""`` then."""

_PREFIX_LENGTH = 64
_CODE_LENGTH = 20


class ProblemSum(NamedTuple):
    """Problem sum: says how many visits ended in one way for names that begin alike."""

    outcome: str
    reason: str
    prefix: str
    number: int


@dataclass(slots=True)
class ProblemSums:
    """Problem sums: hold a count for each outcome, reason and name prefix, in bounded memory."""

    _counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def add(self, outcome: str, reason: str, detail: str, name: bytes) -> None:
        """
        Count one visit; without a *reason* the error code that *detail* begins with is one.

        Of a name only what is before its first colon counts: what is after it may be in clear.
        """
        code = detail.partition(" ")[0]
        known = reason or (code if code.isalpha() and code.isupper() else "")[:_CODE_LENGTH]
        prefix = name[: max(name.find(b":"), 0)].decode("utf-8", "replace")[:_PREFIX_LENGTH]
        self._count((str(outcome), str(known), prefix), 1)

    def merge(self, others: Iterable[tuple[str, str, str, int]]) -> None:
        """Take in the sums of another part."""
        for outcome, reason, prefix, count in others:
            self._count((outcome, reason, prefix), count)

    def _count(self, what: tuple[str, str, str], count: int) -> None:
        if what not in self._counts and len(self._counts) >= MOST:
            what = (*what[:2], "")
        self._counts[what] += count

    def __iter__(self) -> Iterator[ProblemSum]:
        """Yield the sums, the largest first."""
        for what, count in self._counts.most_common():
            yield ProblemSum(*what, count)
