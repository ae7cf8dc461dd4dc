"""
What became of each visit, and what was met under each key.

- Every visit ends in exactly one `Outcome`; `visits` is their sum. SCAN may give a name twice, so
  visits are not distinct names.
- Memory is bounded whatever the sweep meets: problems, samples, prefixes and expiries are.
- Tallies of several nodes, or of a sweep before and after an interruption, can be merged in any
  order.

What became of the names of a walk, counted in bounded memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Self

from rotator.tally.key_tally import KeyTally


class Mode(StrEnum):
    """The three kinds of sweep; only `RUN` writes."""

    RUN = "run"
    DRY_RUN = "dry-run"
    VERIFY = "verify"


SAMPLES = 100
"""How many problems are kept for each outcome."""


class Outcome(StrEnum):
    """What became of one visit (design, section 5)."""

    CURRENT = "current"
    ROTATED = "rotated"
    WOULD_ROTATE = "would_rotate"
    GONE = "gone"
    CONTENDED = "contended"
    UNDECRYPTABLE = "undecryptable"
    NESTED = "nested"
    NOT_STRING = "not_string"
    TOO_LARGE = "too_large"
    DENIED = "denied"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Consequences:
    """
    Consequences: say what follows from an outcome.

    *moved*: the value is under the current key, or need not be; else the run ends with exit code 3.
    *stays*: a value is left under a key that is not the current one. *blocks*: the entry was not
    looked at, or not to the end, so no key is `retirable`; unless it is *acceptable*, which an
    operator says by number with `--accept`.
    """

    moved: bool = False
    stays: bool = False
    blocks: bool = False
    acceptable: bool = False


OUTCOMES: Final[Mapping[Outcome, Consequences]] = {
    Outcome.CURRENT: Consequences(moved=True),
    Outcome.ROTATED: Consequences(moved=True),
    Outcome.WOULD_ROTATE: Consequences(moved=True, stays=True),  # nothing is to be moved
    Outcome.GONE: Consequences(moved=True),
    Outcome.CONTENDED: Consequences(stays=True),
    Outcome.UNDECRYPTABLE: Consequences(blocks=True, acceptable=True),  # nobody knows its key
    Outcome.NESTED: Consequences(stays=True),
    Outcome.NOT_STRING: Consequences(moved=True, blocks=True, acceptable=True),
    Outcome.TOO_LARGE: Consequences(stays=True, blocks=True, acceptable=True),
    Outcome.DENIED: Consequences(stays=True, blocks=True),
    Outcome.FAILED: Consequences(stays=True, blocks=True),
}
"""The one table of outcomes: every group of them is a column of it."""


NOT_MOVED: Final = tuple(outcome for outcome, then in OUTCOMES.items() if not then.moved)
STAYING: Final = tuple(outcome for outcome, then in OUTCOMES.items() if then.stays)
BLOCKING: Final = tuple(outcome for outcome, then in OUTCOMES.items() if then.blocks)
ACCEPTABLE: Final = tuple(outcome for outcome, then in OUTCOMES.items() if then.acceptable)
GOOD: Final = tuple(one for one, then in OUTCOMES.items() if then.moved and not then.blocks)
PROBLEMATIC: Final = tuple(one for one in OUTCOMES if one not in GOOD)


def not_moved(
    outcomes: Mapping[Outcome, int] | Mapping[str, int],
    accepted: Mapping[Outcome, int] | Mapping[str, int],
) -> int:
    """
    Return how many visits left a value where it was although it should have been moved.

    An outcome counts in full if it occurred more often than is accepted, else not at all.
    """
    return sum(n for one in NOT_MOVED if (n := outcomes[one]) > accepted.get(one, 0))


@dataclass(frozen=True, slots=True)
class Problem:
    """One visit that did not end well; *name* as stored, *reason* a word, *detail* free text."""

    name: bytes
    node: str
    outcome: Outcome
    reason: str = ""
    detail: str = ""

    def to_dict(self) -> dict[str, str]:
        """Plain JSON values; the name as hex."""
        return {
            "name": self.name.hex(),
            "node": self.node,
            "outcome": str(self.outcome),
            "reason": self.reason,
            "detail": self.detail,
        }

    @classmethod
    def from_dict(cls, saved: dict[str, str]) -> Self:
        """The problem that `to_dict` wrote down."""
        rest = {key: saved[key] for key in ("node", "reason", "detail")}
        return cls(name=bytes.fromhex(saved["name"]), outcome=Outcome(saved["outcome"]), **rest)


class Tally:
    """
    The sums of a sweep, or of a part of one.

    *outcomes* holds every outcome, *keys* every key that was met, by its id; *problems* at most
    `SAMPLES` for each outcome; *reasons* counts the sub-reasons of all undecryptable values.
    *encryptions* counts the values that were encrypted under the current key, stored or not.
    """

    __slots__ = ("encryptions", "keys", "outcomes", "problems", "reasons")

    def __init__(self) -> None:
        self.outcomes: dict[Outcome, int] = dict.fromkeys(Outcome, 0)
        self.keys: dict[str, KeyTally] = {}
        self.problems: dict[Outcome, list[Problem]] = {}
        self.reasons: dict[str, int] = {}
        self.encryptions = 0

    @property
    def visits(self) -> int:
        """How many names were visited; a name that SCAN gave twice counts twice."""
        return sum(self.outcomes.values())

    @property
    def remaining(self) -> int:
        """How many visits left a value that is not under the current key."""
        return sum(self.outcomes[outcome] for outcome in STAYING)

    def add(self, outcome: Outcome, reason: str = "", count: int = 1) -> None:
        """Count *count* visits that ended so; *reason* is a sub-reason, counted as well."""
        self.outcomes[outcome] += count
        if reason:
            self.reasons[str(reason)] = self.reasons.get(str(reason), 0) + count

    def count_moved(
        self,
        key_id: str,
        size: int,
        at: datetime,
        *,
        rotated: bool = False,
        name: bytes | None = None,
    ) -> None:
        """
        Note that a visit met a value of *size* bytes under a key, and left none; `add` counts it.

        With *rotated* the value is now under the current key, and the prefix of *name* is counted.
        Without, it was met and that is all: the key is the current one, or the value was gone a
        moment later.
        """
        self.count_many_moved(key_id, 1, size, at, rotated=rotated, names=[name] if name else ())

    def count_many_moved(
        self,
        key_id: str,
        count: int,
        size: int,
        at: datetime,
        *,
        rotated: bool = False,
        names: Sequence[bytes] = (),
    ) -> None:
        """The same of so many visits at once; *size* is that of all values together."""
        key = self._key(key_id)
        key.meet(size, at, count)
        if rotated:
            key.rotated += count
            key.count_prefixes(names)

    def count_remaining(
        self,
        key_id: str,
        size: int,
        at: datetime,
        name: bytes,
        expires_at_ms: int | None,
        *,
        too_large: bool = False,
    ) -> None:
        """
        Note that a visit left a value of *size* bytes under a key; `add` counts the visit.

        *expires_at_ms* is in unix ms, `drain.NEVER`, or None when it is not known, which counts as
        never. *too_large* says that the server's limit is why it stays. A nested value stays under
        each of its keys, so it is noted once for each.
        """
        self._key(key_id).stay(size, at, name, expires_at_ms, too_large=too_large)

    def _key(self, key_id: str) -> KeyTally:
        """The counts of a key, begun when it is met for the first time."""
        key = self.keys.get(key_id)
        if key is None:
            key = self.keys[key_id] = KeyTally()
        return key

    def wants_sample(self, outcome: Outcome) -> bool:
        """Whether one more problem of this outcome would be kept."""
        return len(self.problems.get(outcome, ())) < SAMPLES

    def problem(self, problem: Problem) -> None:
        """Keep a sample of a visit that did not end well, if there is room; counts nothing."""
        if self.wants_sample(problem.outcome):
            self.problems.setdefault(problem.outcome, []).append(problem)

    def merge(self, other: Tally) -> None:
        """Take in what *other* counted; *other* stays as it is."""
        for outcome, count in other.outcomes.items():
            self.outcomes[outcome] += count
        self.encryptions += other.encryptions
        for reason, count in other.reasons.items():
            self.reasons[reason] = self.reasons.get(reason, 0) + count
        for key_id, key in other.keys.items():
            self.keys.setdefault(key_id, KeyTally()).merge(key)
        for problem in other.samples():
            self.problem(problem)

    def only_rotated(self) -> Tally:
        """
        What stays true when the same names are visited once more: what was encrypted and rotated.

        Everything else will be met again, and would count twice.
        """
        kept = Tally()
        kept.encryptions = self.encryptions
        kept.outcomes[Outcome.ROTATED] = self.outcomes[Outcome.ROTATED]
        kept.keys = {key_id: key.settled() for key_id, key in self.keys.items() if key.rotated}
        return kept

    def samples(self) -> Iterator[Problem]:
        """Every problem that was kept, outcome by outcome."""
        for outcome in Outcome:
            yield from self.problems.get(outcome, ())

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "outcomes": {str(outcome): count for outcome, count in self.outcomes.items()},
            "reasons": dict(self.reasons),
            "keys": {key_id: key.to_dict() for key_id, key in self.keys.items()},
            "problems": [problem.to_dict() for problem in self.samples()],
            "encryptions": self.encryptions,
        }

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Self:
        """The tally that `to_dict` wrote down."""
        tally = cls()
        for outcome, count in saved["outcomes"].items():
            tally.outcomes[Outcome(outcome)] = count
        tally.reasons = dict(saved["reasons"])
        tally.encryptions = saved["encryptions"]
        tally.keys = {key_id: KeyTally.from_dict(key) for key_id, key in saved["keys"].items()}
        for problem in saved["problems"]:
            tally.problem(Problem.from_dict(problem))
        return tally


NAME_SAMPLES: Final = 10
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
class Decision:
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
        if len(self.samples) < NAME_SAMPLES and name not in self.samples:
            self.samples.append(name)

    def end(self, judged: Decision, trouble: Trouble | None = None) -> None:
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
        self.samples = list(dict.fromkeys(self.samples + other.samples))[:NAME_SAMPLES]
        self.troubles = [*self.troubles, *other.troubles][:PROBLEMS]

    def only_rotated(self) -> Count:
        """Only what was done: it cannot be met a second time, everything else is."""
        return Count(Counter({DONE: self.ends[DONE]}) if self.ends[DONE] else Counter())
