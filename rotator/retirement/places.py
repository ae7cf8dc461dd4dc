"""
Places: list everywhere a value may live, with proof; a hold says what keeps a key `held`.

Old copies of values could come back although the live data is clean: from a replica, a file or a
backup. Copies, baselines and times in, holds out. Everything is counted from *clean_since*, the end
of the first complete sweep that no longer met the key: a copy made after that moment is clean.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Self

from rotator.retirement.forecast import RunRecord
from rotator.retirement.history import KeyHistory, KeyRecord, KeySeen, SweepRecord
from rotator.tally.tally import Mode, Outcome
from rotator.text import add_clamped, duration, moment

_NO_HISTORY = KeyHistory()


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


@dataclass(frozen=True, slots=True)
class Place:
    """
    Place: says of one place what is known of it, since when, on what evidence, and what ends it.

    *where* is a server, a cache, or empty. *evidence* is a sentence without an end, *remedy* what to
    do, empty where it is clean. *verdict* is what it makes of the key. It ends by itself at
    *until*; None: not, or nobody knows when.
    """

    kind: Kind
    where: str
    status: Status
    evidence: str
    verdict: Verdict = Verdict.RETIRABLE
    since: datetime | None = None
    remedy: str = ""
    until: datetime | None = None


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
    out; *empty*: that nothing was ever opened is right. *retention* is that of backups.
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


@dataclass(frozen=True, slots=True)
class Copies:
    """
    Copies: hold what is known of the other copies of one node's data, at one moment.

    *lagging* maps a replica to what is wrong with it, in words. *snapshot*: there is an RDB file,
    begun at *snapshot_begun_at* by this machine's clock, None if that is not known. *append_only*:
    an append-only file is kept, and *rewrites* counts those in the life of the process *run_id*.
    Before Redis 7.0, which does not count them, that is 1 if the last attempt was one, else 0, and
    *sizes*, of the file after the last rewrite and now, in bytes, tell one that came later; they
    are None where rewrites are counted.
    """

    node: str
    run_id: str
    lagging: Mapping[str, str]
    snapshot: bool
    snapshot_begun_at: datetime | None
    append_only: bool
    rewrites: int
    rewriting: bool
    sizes: tuple[int, int] | None = None

    @property
    def aof_baseline(self) -> dict[str, Any] | None:
        """The process and its append-only file, for later runs to compare with."""
        if self.sizes is None:
            # A rewrite that is going on began too early to count as one that came after.
            return {"run_id": self.run_id, "rewrites": self.rewrites + self.rewriting}
        if self.rewriting:
            return None
        return {"run_id": self.run_id, "rewrites": None, "sizes": list(self.sizes)}

    def rewritten_since(self, baseline: Mapping[str, Any] | None) -> bool:
        """
        Return whether the append-only file was rewritten since *baseline*.

        INFO does not say when it was rewritten, only how often. In a process that is younger than
        the baseline every rewrite came after it. Without a baseline nothing is known.
        """
        if baseline is None:
            return False
        if baseline["run_id"] != self.run_id:
            return self.rewrites > 0
        if self.sizes is None or baseline["rewrites"] is not None:
            return baseline["rewrites"] is not None and self.rewrites > baseline["rewrites"]
        # Between rewrites the first size stays, and the second grows.
        (base, size), now = baseline["sizes"], self.sizes
        return bool(now[0] != base or now[1] < size)


@dataclass(frozen=True, slots=True)
class Hold:
    """
    Hold: says why old copies could come back although the live data is clean.

    It ends by itself at *until*; None means that something has to be done: *ends_by*.
    """

    reason: str
    until: datetime | None
    ends_by: str

    def open(self, now: datetime) -> bool:
        """Return whether it still holds."""
        return self.until is None or self.until > now

    @classmethod
    def replica(cls, node: str, why: str) -> Self:
        """Make the hold of a replica with old values; *why* as in "is 4096 bytes behind"."""
        return cls(f"replica {node} {why}", None, f"run again when replica {node} has caught up")

    @classmethod
    def failover(cls, node: str) -> Self:
        """Make the hold of a node where another process answers than the one found clean."""
        return cls(
            f"{node} failed over or restarted after it was found clean", None, "run again now"
        )

    @classmethod
    def snapshot(cls, node: str, begun_at: datetime | None, clean_since: datetime) -> Self | None:
        """
        Make the hold of an RDB file from before the key was gone; None if it is from after.

        The last good BGSAVE began at *begun_at*, by the clock of *clean_since*, if that is known
        (rdb_last_save_time less rdb_last_bgsave_time_sec, redis-rules 3).
        """
        if begun_at is not None and begun_at > clean_since:
            return None
        age = "of unknown age" if begun_at is None else f"from {moment(begun_at)}"
        return cls(
            f"the RDB file of {node} is {age}, when the key was not yet known to be gone",
            None,
            f"BGSAVE on {node}, then run again",
        )

    @classmethod
    def append_only(cls, node: str) -> Self:
        """Make the hold of an append-only file with what was written before the key was gone."""
        return cls(
            f"the append-only file of {node} was not rewritten since the key is gone",
            None,
            f"BGREWRITEAOF on {node}, then run again",
        )

    @classmethod
    def backups(cls, clean_since: datetime, retention: timedelta) -> Self:
        """Make the hold of copies outside Redis that are kept for *retention*."""
        until = add_clamped(clean_since, retention)
        return cls(
            f"backups are kept for {duration(retention)} and may hold it until {moment(until)}",
            until,
            f"wait until {moment(until)}, then run again",
        )


@dataclass(frozen=True, slots=True)
class Evidence:
    """
    Evidence: holds all that is known of one old key in one cache, which lists it at *field*.

    *sweep* is the sweep of this run, or the last complete one; None if there never was one.
    *verification* is the reading sweep after it, if there was one. *history* has both folded in.
    A later sweep was stopped at *cut_short_at*, and had not met the key up to there.
    """

    key_id: str
    cache: str
    field: str
    sweep: SweepRecord | None
    verification: SweepRecord | None = None
    history: KeyHistory = _NO_HISTORY
    holds: tuple[Hold, ...] = ()
    cut_short_at: datetime | None = None

    @property
    def sweeps(self) -> tuple[SweepRecord, ...]:
        """The sweeps there are, the older first."""
        return tuple(sweep for sweep in (self.sweep, self.verification) if sweep)

    @property
    def complete(self) -> bool:
        """True if there is a complete sweep."""
        return self.sweep is not None and self.sweep.complete

    @property
    def latest(self) -> SweepRecord | None:
        """The last sweep that is complete, else the last one."""
        complete = [sweep for sweep in self.sweeps if sweep.complete] or self.sweeps
        return complete[-1] if complete else None

    def blocking(self, outcome: Outcome) -> int:
        """
        Return the number of open items of this kind if more than were accepted, else 0.

        The last sweep decides; but that a value is too large may show only when it is written.
        """
        sweeps = self.sweeps if outcome is Outcome.TOO_LARGE else (self.latest,)
        return max((sweep.blocking(outcome) for sweep in sweeps if sweep), default=0)

    @property
    def remaining(self) -> int:
        """The number of values still under it, without too large ones that were accepted."""
        return max((self._left(seen)[0] for seen in self._last_seen()), default=0)

    @property
    def remaining_without_ttl(self) -> int:
        """Those of the remaining that will not expire."""
        return max((self._left(seen)[1] for seen in self._last_seen()), default=0)

    @property
    def drains_at(self) -> datetime | None:
        """The time at which the last of the remaining expires, if all of them do."""
        if self.remaining_without_ttl:
            return None
        return max((seen.drains_at for seen in self._last_seen() if seen.drains_at), default=None)

    @property
    def met_again(self) -> int:
        """The number of values the verifying sweep met beyond those that the one before left."""
        last = self.sweeps[-1] if self.sweeps else None
        if last is None or last.mode is not Mode.VERIFY:
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

    @property
    def quiet_since(self) -> datetime | None:
        """The time since which it has been quiet: last met, or else first looked for."""
        begun = self.sweep.started_at if self.sweep else None
        return self.last_seen_at or self.history.first_looked_at or begun

    @property
    def confirmed(self) -> bool:
        """
        True if a complete sweep after the last meeting did not meet it.

        If it was never met, the first sweep is only a first look, and a second one confirms.
        """
        clean, seen = self.history.clean_since, self.last_seen_at
        if clean is None or self.latest is None or self.latest.seen(self.key_id).met:
            return False
        return clean >= seen if seen else self.history.clean_sweeps > 1

    def _last_seen(self) -> list[KeySeen]:
        """Return what the last complete sweep saw, and what came after it."""
        latest = self.latest
        if latest is None:
            return []
        return [sweep.seen(self.key_id) for sweep in self.sweeps[self.sweeps.index(latest) :]]

    def _left(self, seen: KeySeen) -> tuple[int, int]:
        """Return the remaining values, and those without a TTL, without accepted too large ones."""
        if self.blocking(Outcome.TOO_LARGE):
            return seen.remaining, seen.remaining_without_ttl
        return (
            seen.remaining - seen.too_large,
            seen.remaining_without_ttl - seen.too_large_without_ttl,
        )


@dataclass(frozen=True, slots=True)
class CacheRecord:
    """
    Cache record: holds all that the state knows of one cache, and of its *keys* by id.

    *sweep* is the last complete one, *runs* are the last ones in their order. *holds* are those on
    each key when the cache was last swept.
    """

    cache: str
    sweep: SweepRecord | None = None
    runs: tuple[RunRecord, ...] = ()
    keys: dict[str, KeyRecord] = field(default_factory=dict)
    holds: Mapping[str, tuple[Hold, ...]] = field(default_factory=dict)

    def evidence(self, key_id: str, listed_at: str) -> Evidence:
        """Return what earlier runs found out; a sweep that did not know the key is none."""
        return Evidence(
            key_id=key_id,
            cache=self.cache,
            field=listed_at,
            sweep=self.sweep if self.sweep and key_id in self.sweep.keys else None,
            history=self.keys[key_id].history,
            holds=self.holds[key_id],
        )


def find_holds(
    copies: Sequence[Copies],
    *,
    clean_since: datetime,
    baselines: Mapping[str, Mapping[str, Any] | None],
    swept: Mapping[str, str],
    retention: timedelta | None,
) -> tuple[Hold, ...]:
    """
    Return the holds on one key.

    *baselines* are those of when the key became clean, by node; *swept* are the run ids of the
    processes that the last sweep found clean, by node.
    """
    holds: list[Hold | None] = []
    for copy in copies:
        holds += [Hold.replica(name, why) for name, why in copy.lagging.items()]
        if swept.get(copy.node, copy.run_id) != copy.run_id:
            holds.append(Hold.failover(copy.node))
        if copy.snapshot:
            holds.append(Hold.snapshot(copy.node, copy.snapshot_begun_at, clean_since))
        if copy.append_only and not copy.rewritten_since(baselines.get(copy.node)):
            holds.append(Hold.append_only(copy.node))
    if retention is not None:
        holds.append(Hold.backups(clean_since, retention))
    return tuple(hold for hold in holds if hold)
