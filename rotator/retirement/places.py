"""
Places: list everywhere a value may live, with what is known of each; hold the evidence for it.

The list is closed: a key can be removed only if every place on it is known to be clean, or is
declared by the operator (verdict 1). What was not asked, not answered or not understood is unknown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, TypeVar

from rotator.retirement.forecast import RunRecord
from rotator.retirement.history import KeyHistory, KeyRecord, KeySeen, SweepRecord
from rotator.retirement.looks import Look, Proof
from rotator.tally.tally import Mode, Outcome
from rotator.text import add_clamped, duration, moment, rounded_up

_NO_HISTORY = KeyHistory()
T = TypeVar("T")


class Kind(StrEnum):
    """Kind: the closed list of places where a value under a key may be, now or later."""

    NAMES = "names"
    OUTSIDE = "outside"
    NOT_OPENED = "not-opened"
    WRITERS = "writers"
    REPLICA = "replica"
    RDB = "rdb"
    AOF = "aof"
    BACKUP_COMMAND = "backup-command"
    CACHES = "caches"
    BACKUPS = "backups"


FILES: Final = (Kind.RDB, Kind.AOF)
"""The places that a server writes anew when it is asked to."""
COPIES: Final = (Kind.REPLICA, *FILES, Kind.BACKUP_COMMAND, Kind.BACKUPS)
"""The places that no sweep makes better: they are looked at."""
MOST_SAMPLES: Final = 100_000
"""How many values `rotator detect` looks at, at most."""


class Status(StrEnum):
    """Status: says what is known of a place, the worst first."""

    HOLDING = "holding"
    UNKNOWN = "unknown"
    ASSUMED = "assumed"
    CLEAN = "clean"


class Verdict(StrEnum):
    """Verdict: says how far an old key is from being removed, worst first (design, section 7)."""

    UNKNOWN = "unknown"
    IN_USE = "in-use"
    DRAINING = "draining"
    VERIFYING = "verifying"
    HELD = "held"
    RETIRABLE = "retirable"


SEVERITY: Final = (
    *(Verdict.IN_USE, Verdict.DRAINING, Verdict.UNKNOWN),
    *(Verdict.VERIFYING, Verdict.HELD, Verdict.RETIRABLE),
)
"""The verdicts, worst first where several are put together: facts go before what is not known."""


@dataclass(frozen=True, slots=True)
class Place:
    """
    Place: says of one place what is known of it, since when, on what evidence, and what ends it.

    *where* is a server, a cache, or empty. *evidence* is a sentence without an end, *remedy* what
    to do, empty where it is clean. *verdict* is what it makes of the key. It ends by itself at
    *until*, or, if it *passes*, nobody knows when.
    """

    kind: Kind
    where: str
    status: Status
    evidence: str
    verdict: Verdict = Verdict.RETIRABLE
    since: datetime | None = None
    remedy: str = ""
    until: datetime | None = None
    passes: bool = False


def is_shut(place: Place) -> bool:
    """Return whether a place keeps a key from being retirable."""
    return place.status in {Status.HOLDING, Status.UNKNOWN}


@dataclass(frozen=True, slots=True)
class Fence:
    """
    Fence: the moment after which no application encrypts with the keys that were old then.

    *current* is the id of the current key, and *old* those of the old ones; with another current
    key there is no fence. *voided_at* is when a value was read that says otherwise.
    """

    at: datetime
    current: str
    old: tuple[str, ...]
    declared_at: datetime
    voided_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Declarations:
    """
    Declarations: hold what the operator of a cache knows; a text is the reason that was given.

    *rdb*, *aof*: there are none. *outside*: what is left out is another's. *replicas*: they are as
    the primary says. *only*: there are no replicas but these. *decommissioned*: servers at these
    addresses are gone, and caches of these names (*caches*) never used the keys. *identity*: it is
    one server, never another. *accepted* counts visits by outcome, *outside_accepted* those left
    out; *empty*: that nothing was ever opened is right. *retention* is that of backups. *scope* is
    a digest of what is visited and in which formats, *addresses* are where.
    """

    retention: timedelta | None = None
    rdb: str | None = None
    aof: str | None = None
    outside: str | None = None
    replicas: str | None = None
    listed: tuple[str, ...] = ()
    announced: bool = False
    only: tuple[str, ...] | None = None
    decommissioned: Mapping[str, str] = field(default_factory=dict)
    caches: Mapping[str, str] = field(default_factory=dict)
    identity: str | None = None
    accepted: Mapping[Outcome, int] = field(default_factory=dict)
    outside_accepted: int | None = None
    empty: bool = False
    scope: str = ""
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """
    Evidence: holds all that is known of one old key in one cache, which lists it at *field*.

    *sweep* is the sweep of this run, or the last complete one; None if there never was one.
    *verification* is the reading sweep after it, if there was one. *history* has both folded in.
    *proofs* and *looks* are all that the state keeps, in their order, and *primaries* the addresses
    of those that own data now. *basis* is what a proof must have been made with, empty if none was.
    A later sweep was stopped at *cut_short_at*, and had not met the key up to there. What killed
    runs met, and purges, is lost up to *lost_at*; one of *working_since* has not ended.
    """

    key_id: str
    cache: str
    field: str
    sweep: SweepRecord | None
    verification: SweepRecord | None = None
    history: KeyHistory = _NO_HISTORY
    proofs: tuple[Proof, ...] = ()
    looks: tuple[Look, ...] = ()
    primaries: tuple[str, ...] = ()
    basis: str = ""
    declared: Declarations = Declarations()
    fence: Fence | None = None
    cut_short_at: datetime | None = None
    lost_at: datetime | None = None
    working_since: datetime | None = None

    @property
    def sweeps(self) -> tuple[SweepRecord, ...]:
        """The sweeps there are, the older first."""
        return tuple(sweep for sweep in (self.sweep, self.verification) if sweep)

    @property
    def latest(self) -> SweepRecord | None:
        """The last sweep that is complete, else the last one."""
        complete = [sweep for sweep in self.sweeps if sweep.complete] or self.sweeps
        return complete[-1] if complete else None

    @property
    def ever_opened(self) -> bool:
        """True if a key of the ring ever opened a value here (verdict 2.6)."""
        return any(one.opened for one in self.proofs) or any(one.opened for one in self.sweeps)

    @property
    def opens(self) -> bool:
        """True if a key of the ring opened a value by today's formats: only then one may accept."""
        proven = any(one.opened for one in self.proofs if one.basis == self.basis)
        return proven or any(one.opened for one in self.sweeps)

    @property
    def in_force(self) -> Fence | None:
        """The fence, if it covers the key and nothing was read that says otherwise."""
        fence = self.fence
        covers = fence and self.key_id in fence.old and fence.voided_at is None
        return fence if covers else None

    def blocking(self, outcome: Outcome) -> int:
        """Return the number of open items of this kind if more than were accepted, else 0."""
        # The last sweep decides; but that a value is too large may show only when it is written.
        sweeps = self.sweeps if outcome is Outcome.TOO_LARGE else (self.latest,)
        return max((sweep.blocking(outcome) for sweep in sweeps if sweep), default=0)

    @property
    def remaining(self) -> int:
        """The number of values still under it, too large ones too, whether accepted or not."""
        return max((seen.remaining for seen in self._last_seen()), default=0)

    @property
    def at_least(self) -> str:
        """The words before a count, if the sweep that counted was stopped."""
        return "" if self.latest and self.latest.complete else "at least "

    @property
    def remaining_without_ttl(self) -> int:
        """Those of the remaining that will not expire."""
        return max((seen.remaining_without_ttl for seen in self._last_seen()), default=0)

    @property
    def drains_at(self) -> datetime | None:
        """The time at which the last of the remaining expires, if all of them do."""
        if self.remaining_without_ttl:
            return None
        return max((seen.drains_at for seen in self._last_seen() if seen.drains_at), default=None)

    @property
    def met_again(self) -> int:
        """
        The number of values the verifying sweep met beyond those that the one before left.

        One that was resumed accuses nobody: what it had visited may have been written since.
        """
        last = self.sweeps[-1] if self.sweeps else None
        if last is None or last.mode is not Mode.VERIFY or self.sweeps[0].resumed:
            return 0
        met = last.seen(self.key_id).met
        before = self.sweeps[0].seen(self.key_id) if len(self.sweeps) > 1 else KeySeen()
        return max(0, met - (before.remaining - before.too_large))

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The prefixes of the names of the values that were met, the most frequent first."""
        seen = [sweep.seen(self.key_id).prefixes for sweep in reversed(self.sweeps)]
        return next((prefixes for prefixes in seen if prefixes), ())

    @property
    def first_seen_at(self) -> datetime | None:
        """The time at which the key was met first."""
        seen = [sweep.seen(self.key_id).first_seen_at for sweep in self.sweeps]
        return min((at for at in (self.history.first_seen_at, *seen) if at), default=None)

    @property
    def last_seen_at(self) -> datetime | None:
        """The time at which the key was met last, by any sweep."""
        seen = [sweep.seen(self.key_id).last_seen_at for sweep in self.sweeps]
        return max((at for at in (self.history.last_seen_at, *seen) if at), default=None)

    def _last_seen(self) -> list[KeySeen]:
        """Return what the last complete sweep saw, and what came after it."""
        latest = self.latest
        if latest is None:
            return []
        return [sweep.seen(self.key_id) for sweep in self.sweeps[self.sweeps.index(latest) :]]


@dataclass(frozen=True, slots=True)
class CacheRecord:
    """
    Cache record: holds all that the state knows of one cache, and of its *keys* by id.

    *sweep* is the last complete one, *addresses* are where it was. For the rest see `Evidence`.
    """

    cache: str
    sweep: SweepRecord | None = None
    runs: tuple[RunRecord, ...] = ()
    keys: dict[str, KeyRecord] = field(default_factory=dict)
    proofs: tuple[Proof, ...] = ()
    looks: tuple[Look, ...] = ()
    fence: Fence | None = None
    addresses: tuple[str, ...] = ()
    lost_at: datetime | None = None
    working_since: datetime | None = None


def backups_place(case: Evidence, found: Sequence[Place], now: datetime) -> Place:
    """Return the place that copies outside Redis are: they were taken of whatever was not clean."""
    length, kinds = case.declared.retention, {Kind.NAMES, Kind.OUTSIDE, Kind.REPLICA, Kind.RDB}
    kinds |= {Kind.AOF, Kind.BACKUP_COMMAND}
    if length is None:
        text = "no backup outside Redis holds it (backups.retention is not declared)"
        return Place(Kind.BACKUPS, "", Status.ASSUMED, text)
    if not length:
        text = "there are no backups outside Redis (backups.retention: 0s)"
        return Place(Kind.BACKUPS, "", Status.CLEAN, text)
    waiting = any(one.kind in kinds and is_shut(one) for one in found)
    ends = [one.since for one in found if one.kind in kinds and one.since]
    text = f"backups are kept for {duration(length)}"
    if waiting or not ends:
        text = f"{text}, counted from when everything else is clean"
        remedy = f"wait {duration(length)} from then on"
        return Place(
            Kind.BACKUPS, "", Status.HOLDING, text, Verdict.HELD, None, remedy, passes=True
        )
    until = add_clamped(max(ends), length)
    if until <= now:
        text = f"{text}, and those from before {moment(max(ends))} are gone"
        return Place(Kind.BACKUPS, "", Status.CLEAN, text, since=until)
    text = f"{text} and may hold it until {moment(rounded_up(until))}"
    remedy = f"wait until {moment(rounded_up(until))}, then run again"
    return Place(Kind.BACKUPS, "", Status.HOLDING, text, Verdict.HELD, max(ends), remedy, until)
