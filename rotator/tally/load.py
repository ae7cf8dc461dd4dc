"""
Load: measures what a node had to bear while it was swept: latency, pages, ways to replace.

Latencies are counted in a histogram with eight buckets for each doubling, so that a quantile is
right to 9 %, memory is bounded, and histograms of lanes and processes can be merged in any order.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import ceil, log2

_STEPS = 8  # buckets for each doubling
_LEAST = 1e-6  # seconds: what is shorter counts as that
_P50, _P99 = 0.5, 0.99


@dataclass(frozen=True, slots=True)
class Latency:
    """Latency: says how long PINGs took. Reports hold it as it is."""

    count: int
    p50_ms: float
    p99_ms: float
    max_ms: float


@dataclass(slots=True)
class LatencyHistogram:
    """Latency histogram: counts durations; *buckets* by the logarithm, *longest* in seconds."""

    buckets: Counter[int] = field(default_factory=Counter)
    longest: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self.buckets[ceil(log2(max(seconds, _LEAST)) * _STEPS)] += 1
        self.longest = max(self.longest, seconds)

    def merge(self, other: LatencyHistogram) -> None:
        """Take in what *other* counted."""
        self.buckets.update(other.buckets)
        self.longest = max(self.longest, other.longest)

    def quantile(self, share: float) -> float:
        """Return how long, in seconds, this share of all durations took at most."""
        wanted, seen = share * self.buckets.total(), 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= wanted:
                return min(float(2.0 ** (bucket / _STEPS)), self.longest)
        return self.longest

    def summary(self) -> Latency | None:
        """Return what a report says of it; None if nothing was measured."""
        if not self.buckets:
            return None
        found = (self.quantile(_P50), self.quantile(_P99), self.longest)
        return Latency(self.buckets.total(), *(round(1000 * seconds, 3) for seconds in found))


@dataclass(slots=True)
class NodeLoad:
    """
    Node load: holds what one node had to bear in one run.

    *before* and *during* are PINGs before the first page and while pages were worked on. *above*
    are the seconds from one PING to the next that took longer than the goal. *pages* counts pages
    by how many names they had, *exchanged* the values that were replaced, by the way.
    """

    before: LatencyHistogram = field(default_factory=LatencyHistogram)
    during: LatencyHistogram = field(default_factory=LatencyHistogram)
    above: float = 0.0
    pages: Counter[int] = field(default_factory=Counter)
    exchanged: Counter[str] = field(default_factory=Counter)

    def add_page(self, names: int) -> None:
        """Count a page with so many names; SCAN may give none."""
        if names:
            self.pages[names] += 1

    def merge(self, other: NodeLoad, *, beside: bool = False) -> None:
        """
        Take in another part's load; of parts *beside* each other the longest time counts.

        Which of those began first is not known, so what the others measured before may be load.
        """
        if not (beside and self.before.buckets):
            self.before.merge(other.before)
        self.during.merge(other.during)
        self.above = max(self.above, other.above) if beside else self.above + other.above
        self.pages.update(other.pages)
        self.exchanged.update(other.exchanged)

    def page_sizes(self) -> tuple[int, int, int] | None:
        """Return the fewest names a page had, the median, and the most; None without pages."""
        sizes = sorted(self.pages)
        half, seen = self.pages.total() / 2, 0
        for size in sizes:
            seen += self.pages[size]
            if seen >= half:
                return sizes[0], size, sizes[-1]
        return None
