"""
Tally: counts outcomes, keys and problems, in bounded memory; of purge and adopt too.

- Every visit ends in exactly one `Outcome`; `visits` is their sum. SCAN may give a name twice, so
  visits are not distinct names.
- Memory is bounded whatever the sweep meets: problems, samples, prefixes and expiries are.
- Tallies of several nodes, or of a sweep before and after an interruption, can be merged in any
  order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Self

from rotator.tally.key_tally import KeyTally, name_of, name_text
from rotator.tally.problem_sums import ProblemSums

MET, WRITTEN = "met", "written"

SAMPLES = 100
"""How many problems are kept for each outcome."""


class Mode(StrEnum):
    """Mode: tells the three kinds of sweep apart; only `RUN` writes."""

    RUN = "run"
    DRY_RUN = "dry-run"
    VERIFY = "verify"


class Outcome(StrEnum):
    """Outcome: says what became of one visit (design, section 5)."""

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
    outcomes: Mapping[StrEnum, int] | Mapping[str, int],
    accepted: Mapping[Outcome, int] | Mapping[str, int],
) -> int:
    """
    Return how many visits left a value where it was although it should have been moved.

    An outcome counts in full if it occurred more often than is accepted, else not at all.
    """
    return sum(n for one in NOT_MOVED if (n := outcomes[one]) > accepted.get(one, 0))


class BulkOutcome(StrEnum):
    """Bulk outcome: says, besides `Outcome`, what became of a visit by `purge` or `adopt`."""

    PICKED = "picked"  # it would be acted on
    DONE = "done"
    CHANGED = "changed"  # picked at first, and something else when it was read again
    OTHER_KEY = "other_key"  # under an old key that is not to be purged
    OTHER_CACHE = "other_cache"  # another cache of the configuration reads it
    ENCRYPTED = "encrypted_already"
    OUTSIDE = "outside"  # the patterns of the configuration leave it out


@dataclass(frozen=True, slots=True)
class Problem:
    """Problem: one visit that did not end well; *name* is as stored, *reason* a word."""

    name: bytes
    node: str
    outcome: StrEnum
    reason: str = ""
    detail: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return plain JSON values; the name as hex."""
        return {**asdict(self), "name": name_text(self.name), "outcome": str(self.outcome)}

    @classmethod
    def from_dict(cls, saved: dict[str, str]) -> Self:
        """Return the problem that `to_dict` wrote down."""
        name, outcome = name_of(saved["name"]), Outcome(saved["outcome"])
        return cls(name, saved["node"], outcome, saved["reason"], saved["detail"])


class Tally:
    """
    Tally: holds the sums of a sweep, or of a part of one.

    *outcomes* counts every visit once, with every `Outcome` and the `BulkOutcome` that were met;
    *keys* holds every key that was met, by its id; *problems* at most `SAMPLES` for each outcome;
    *reasons* counts the sub-reasons of all visits that have one, *sums* the problems. *selected* is
    of the values that purge or adopt are for. *encryptions* counts values that were encrypted under
    the current key, stored or not. *formats* says of formats with literals, by name, if a value
    under the current key was met in it, or one was written.
    """

    __slots__ = (
        *("encryptions", "formats", "keys", "outcomes", "problems", "reasons", "selected", "sums"),
    )

    def __init__(self) -> None:
        self.outcomes: Counter[StrEnum] = Counter(dict.fromkeys(Outcome, 0))
        self.keys: dict[str, KeyTally] = {}
        self.problems: dict[StrEnum, list[Problem]] = {}
        self.reasons: Counter[str] = Counter()
        self.sums = ProblemSums()
        self.selected = KeyTally()
        self.encryptions = 0
        self.formats: set[tuple[str, str]] = set()

    @property
    def visits(self) -> int:
        """The number of names that were visited; one that SCAN gave twice counts twice."""
        return self.outcomes.total()

    @property
    def done(self) -> int:
        """The number of values that were rotated, deleted or encrypted."""
        return self.outcomes[Outcome.ROTATED] + self.outcomes[BulkOutcome.DONE]

    @property
    def remaining(self) -> int:
        """The number of visits that left a value which is not under the current key."""
        return sum(self.outcomes[outcome] for outcome in STAYING)

    def add(self, outcome: StrEnum, reason: str = "", count: int = 1) -> None:
        """Count *count* visits that ended so; *reason* is a sub-reason, counted as well."""
        self.outcomes[outcome] += count
        if reason:
            self.reasons[str(reason)] += count

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
        """Note the same of so many visits at once; *size* is that of all values together."""
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

        *expires_at_ms* is in unix ms, `NEVER`, or None when it is not known, which counts as
        never. *too_large* says that the server's limit is why it stays. A nested value stays under
        each of its keys, so it is noted once for each.
        """
        self._key(key_id).stay(size, at, name, expires_at_ms, too_large=too_large)

    def _key(self, key_id: str) -> KeyTally:
        """Return the counts of a key, begun when it is met for the first time."""
        key = self.keys.get(key_id)
        if key is None:
            key = self.keys[key_id] = KeyTally()
        return key

    def wants_sample(self, outcome: StrEnum) -> bool:
        """Return whether one more problem of this outcome would be kept."""
        return len(self.problems.get(outcome, ())) < SAMPLES

    def problem(self, problem: Problem) -> None:
        """Sum up a visit that did not end well, and keep it as a sample if there is room."""
        self.sums.add(problem.outcome, problem.reason, problem.detail, problem.name)
        self._keep(problem)

    def _keep(self, problem: Problem) -> None:
        if self.wants_sample(problem.outcome):
            self.problems.setdefault(problem.outcome, []).append(problem)

    def merge(self, other: Tally) -> None:
        """Take in what *other* counted; *other* stays as it is."""
        self.outcomes.update(other.outcomes)
        self.reasons.update(other.reasons)
        self.encryptions += other.encryptions
        self.formats |= other.formats
        if other.selected.found:
            self.selected.merge(other.selected)
        for key_id, key in other.keys.items():
            self._key(key_id).merge(key)
        self.sums.merge(other.sums)
        for problem in other.samples():
            self._keep(problem)

    def only_rotated(self) -> Tally:
        """
        Return what stays true when the same names are visited once more: what was encrypted.

        Everything else will be met again, and would count twice. What purge or adopt has done is
        like what was rotated.
        """
        kept = Tally()
        kept.encryptions = self.encryptions
        kept.formats = {one for one in self.formats if one[0] == WRITTEN}
        for outcome in (Outcome.ROTATED, BulkOutcome.DONE):
            if count := self.outcomes[outcome]:
                kept.outcomes[outcome] = count
        kept.keys = {key_id: key.settled() for key_id, key in self.keys.items() if key.rotated}
        return kept

    def samples(self) -> Iterator[Problem]:
        """Yield every problem that was kept, outcome by outcome."""
        for outcome in Outcome:
            yield from self.problems.get(outcome, ())

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, of what a sweep counts."""
        return {
            "outcomes": {str(outcome): self.outcomes[outcome] for outcome in Outcome},
            "reasons": dict(self.reasons),
            "keys": {key_id: key.to_dict() for key_id, key in self.keys.items()},
            "problems": [problem.to_dict() for problem in self.samples()],
            "sums": list(self.sums),
            "encryptions": self.encryptions,
            "formats": sorted(self.formats),
        }

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Self:
        """Return the tally that `to_dict` wrote down."""
        tally = cls()
        for outcome, count in saved["outcomes"].items():
            tally.outcomes[Outcome(outcome)] = count
        tally.reasons.update(saved["reasons"])
        tally.encryptions = saved["encryptions"]
        tally.formats = {(fact, name) for fact, name in saved.get("formats", ())}
        tally.keys = {key_id: KeyTally.from_dict(key) for key_id, key in saved["keys"].items()}
        tally.sums.merge(saved.get("sums", ()))  # earlier versions did not
        for problem in saved["problems"]:
            tally._keep(Problem.from_dict(problem))
        return tally
