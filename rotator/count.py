"""What became of the names of a walk, counted in bounded memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

SAMPLES: Final = 10
"""How many names are shown of those that a task picks."""
PROBLEMS: Final = 100
"""How many names are kept of those that could not be dealt with."""
PREFIXES: Final = 20
"""How many beginnings of names are told apart; the others are counted under ``""``."""
_PREFIX_LENGTH = 64

PICKED: Final = "picked"  # a value that the task would act on, had it leave to
DONE: Final = "done"
CHANGED: Final = "changed"  # picked at first, and something else when it was read again
GONE: Final = "gone"
DENIED: Final = "denied"
FAILED: Final = "failed"
CONTENDED: Final = "contended"
NOT_STRING: Final = "not_string"
STUCK: Final = (DENIED, FAILED, CONTENDED)
"""The ends after which a value may stay that should not."""


@dataclass(frozen=True, slots=True)
class Judged:
    """
    What a task makes of one value.

    *end* is what the value is counted as, `PICKED` if it is to be acted on; *detail* says more;
    *problem* is whether the name is to be listed.
    """

    end: str
    detail: str = ""
    problem: bool = False


@dataclass(frozen=True, slots=True)
class Trouble:
    """A value that could not be dealt with: its name, where it is, and why."""

    name: bytes
    node: str
    end: str
    detail: str


@dataclass(slots=True)
class Count:
    """
    What a walk met, in bounded memory.

    *ends* counts every visit once, by what became of it, and *details* by what was said of it;
    *size* (bytes), *prefixes* and *samples* are those of the values that were picked.
    """

    ends: Counter[str] = field(default_factory=Counter)
    details: Counter[tuple[str, str]] = field(default_factory=Counter)
    size: int = 0
    prefixes: Counter[str] = field(default_factory=Counter)
    samples: list[bytes] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)

    @property
    def visits(self) -> int:
        """How many names were visited; a name that SCAN gave twice counts twice."""
        return self.ends.total()

    def picked(self, name: bytes, size: int) -> None:
        """Note a value that was picked."""
        self.size += size
        # What is after the first colon may be a logical key in clear; without one all of it may be.
        head, colon, _ = name.partition(b":")
        prefix = head.decode("utf-8", "replace")[:_PREFIX_LENGTH] if colon else ""
        full = len(self.prefixes) >= PREFIXES - 1
        self.prefixes["" if full and prefix not in self.prefixes else prefix] += 1
        if len(self.samples) < SAMPLES and name not in self.samples:
            self.samples.append(name)

    def end(self, judged: Judged, trouble: Trouble | None = None) -> None:
        """Count the end of a visit."""
        self.ends[judged.end] += 1
        if judged.detail:
            self.details[judged.end, judged.detail] += 1
        if trouble is not None and len(self.troubles) < PROBLEMS:
            self.troubles.append(trouble)

    def merge(self, other: Count) -> None:
        """Take in what *other* counted; *other* stays as it is."""
        self.ends.update(other.ends)
        self.details.update(other.details)
        self.size += other.size
        for prefix, number in other.prefixes.most_common():
            full = len(self.prefixes) >= PREFIXES - 1
            self.prefixes["" if full and prefix not in self.prefixes else prefix] += number
        self.samples = list(dict.fromkeys(self.samples + other.samples))[:SAMPLES]
        self.troubles = [*self.troubles, *other.troubles][:PROBLEMS]

    def settled(self) -> Count:
        """Only what was done: it cannot be met a second time, everything else is."""
        return Count(Counter({DONE: self.ends[DONE]}) if self.ends[DONE] else Counter())
