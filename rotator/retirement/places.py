"""
What is known of one old key in one cache, put together from sweeps, history and holds.

What still holds a key although the live data is clean: old copies that could come back.

Pure: copies, marks and times in, holds out. Everything is counted from *clean_since*, the end of
the first complete sweep that no longer met the key: a copy made after that moment is clean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from rotator.retirement.history import KeyHistory, KeySeen, SweepRecord
from rotator.tally.tally import Mode, Outcome
from rotator.text import add_clamped, duration, moment


@dataclass(frozen=True, slots=True)
class Copies:
    """
    The other copies of one node's data, at one moment.

    *lagging* maps a replica to what is wrong with it, in words. *snapshot* is whether there is an
    RDB file, *snapshot_begun_at* when it was begun, by this machine's clock, None if that is not
    known. *append_only* is whether an append-only file is kept, *rewrites* how often it was
    rewritten in the life of the process *run_id*. Before Redis 7.0, which does not count them, that
    is only whether the last attempt was one, and *sizes*, of the file after the last rewrite and
    now, tell one that came later; they are None where rewrites are counted.
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
        """What later runs compare with: the process, its file; None if that tells nothing now."""
        if self.sizes is None:
            # A rewrite that is going on began too early to count as one that came after.
            return {"run_id": self.run_id, "rewrites": self.rewrites + self.rewriting}
        if self.rewriting:
            return None
        return {"run_id": self.run_id, "rewrites": None, "sizes": list(self.sizes)}

    def rewritten_since(self, mark: Mapping[str, Any] | None) -> bool:
        """
        Whether the append-only file was rewritten since *mark* was set.

        INFO does not say when it was rewritten, only how often. In a process that is younger than
        the mark every rewrite came after it. Without a mark nothing is known.
        """
        if mark is None:
            return False
        if mark["run_id"] != self.run_id:
            return self.rewrites > 0
        if self.sizes is None or mark["rewrites"] is not None:
            return mark["rewrites"] is not None and self.rewrites > mark["rewrites"]
        # Between rewrites the first size stays, and the second grows.
        (base, size), now = mark["sizes"], self.sizes
        return bool(now[0] != base or now[1] < size)


_NO_HISTORY = KeyHistory()


@dataclass(frozen=True, slots=True)
class Hold:
    """
    Why old copies of values under a key could come back although the live data is clean.

    *until* is when that ends by itself; None means that something has to be done: *ends_by*.
    """

    reason: str
    until: datetime | None
    ends_by: str

    def open(self, now: datetime) -> bool:
        """Whether it still holds."""
        return self.until is None or self.until > now

    @classmethod
    def replica(cls, node: str, why: str) -> Self:
        """A replica that could be promoted with old values; *why* as in "is 4096 bytes behind"."""
        return cls(f"replica {node} {why}", None, f"run again when replica {node} has caught up")

    @classmethod
    def failover(cls, node: str) -> Self:
        """Another process answers for *node* than the one that was found clean."""
        return cls(
            f"{node} failed over or restarted after it was found clean", None, "run again now"
        )

    @classmethod
    def snapshot(cls, node: str, begun_at: datetime | None, clean_since: datetime) -> Self | None:
        """
        An RDB file from before the key was gone; None if it is from after.

        *begun_at* is when the last good BGSAVE began (rdb_last_save_time less
        rdb_last_bgsave_time_sec, redis-rules 3), by the clock that *clean_since* goes by.
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
    def append_only(
        cls, node: str, rewritten_at: datetime | None, clean_since: datetime
    ) -> Self | None:
        """
        An append-only file that still holds what was written before the key was gone.

        *rewritten_at* is when its last rewrite began; None when that is not known.
        """
        if rewritten_at is not None and rewritten_at > clean_since:
            return None
        return cls(
            f"the append-only file of {node} was not rewritten since the key is gone",
            None,
            f"BGREWRITEAOF on {node}, then run again",
        )

    @classmethod
    def backups(cls, clean_since: datetime, retention: timedelta) -> Self:
        """Copies outside Redis that are kept for *retention*."""
        until = add_clamped(clean_since, retention)
        return cls(
            f"backups are kept for {duration(retention)} and may hold it until {moment(until)}",
            until,
            f"wait until {moment(until)}, then run again",
        )


@dataclass(frozen=True, slots=True)
class Evidence:
    """
    One old key in one cache that lists it at *field*.

    *sweep* is the sweep of this run, or the last complete one; None if there never was one.
    *verification* is the reading sweep after it, if there was one. *history* has both folded in.
    *cut_short_at* is when a later sweep was stopped that had not met the key up to there.
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
        """Whether there is a complete sweep."""
        return self.sweep is not None and self.sweep.complete

    @property
    def latest(self) -> SweepRecord | None:
        """The last sweep that is complete, else the last one."""
        complete = [sweep for sweep in self.sweeps if sweep.complete] or self.sweeps
        return complete[-1] if complete else None

    @property
    def dry_run(self) -> bool:
        """Whether nothing was to be moved."""
        return self.sweep is not None and self.sweep.mode is Mode.DRY_RUN

    def blocking(self, outcome: Outcome) -> int:
        """
        How many open items of this kind there are, if they are more than were accepted; else 0.

        The last sweep decides; but that a value is too large may show only when it is written.
        """
        sweeps = self.sweeps if outcome is Outcome.TOO_LARGE else (self.latest,)
        return max((sweep.blocking(outcome) for sweep in sweeps if sweep), default=0)

    @property
    def remaining(self) -> int:
        """How many values are still under it, without too large ones that were accepted."""
        return max((self._left(seen)[0] for seen in self._last_seen()), default=0)

    @property
    def remaining_without_ttl(self) -> int:
        """Those of the remaining that will not expire."""
        return max((self._left(seen)[1] for seen in self._last_seen()), default=0)

    @property
    def drains_at(self) -> datetime | None:
        """When the last of the remaining expires, if all of them do."""
        if self.remaining_without_ttl:
            return None
        return max((seen.drains_at for seen in self._last_seen() if seen.drains_at), default=None)

    @property
    def met_again(self) -> int:
        """How many values the verifying sweep met beyond those that the one before it left."""
        last = self.sweeps[-1] if self.sweeps else None
        if last is None or last.mode is not Mode.VERIFY:
            return 0
        met = last.seen(self.key_id).met
        before = self.sweeps[0].seen(self.key_id) if len(self.sweeps) > 1 else KeySeen()
        return max(0, met - (before.remaining - before.too_large))

    @property
    def prefixes(self) -> tuple[str, ...]:
        """How the names of the values that were met begin, the most frequent first."""
        seen = [sweep.seen(self.key_id).prefixes for sweep in reversed(self.sweeps)]
        return next((prefixes for prefixes in seen if prefixes), ())

    @property
    def first_seen_at(self) -> datetime | None:
        """When the key was met for the first time."""
        seen = [sweep.seen(self.key_id).first_seen_at for sweep in self.sweeps]
        return min((at for at in (self.history.first_seen_at, *seen) if at), default=None)

    @property
    def last_seen_at(self) -> datetime | None:
        """When the key was met for the last time, by any sweep."""
        seen = [sweep.seen(self.key_id).last_seen_at for sweep in self.sweeps]
        return max((at for at in (self.history.last_seen_at, *seen) if at), default=None)

    @property
    def quiet_since(self) -> datetime | None:
        """From when on it has been quiet: last met, or else first looked for."""
        begun = self.sweep.started_at if self.sweep else None
        return self.last_seen_at or self.history.first_looked_at or begun

    @property
    def confirmed(self) -> bool:
        """
        Whether a complete sweep after the last meeting did not meet it.

        If it was never met, the first sweep is only a first look, and a second one confirms.
        """
        clean, seen = self.history.clean_since, self.last_seen_at
        if clean is None or self.latest is None or self.latest.seen(self.key_id).met:
            return False
        return clean >= seen if seen else self.history.clean_sweeps > 1

    def _last_seen(self) -> list[KeySeen]:
        """What counts as remaining: the last complete sweep and what came after it."""
        latest = self.latest
        if latest is None:
            return []
        return [sweep.seen(self.key_id) for sweep in self.sweeps[self.sweeps.index(latest) :]]

    def _left(self, seen: KeySeen) -> tuple[int, int]:
        """The remaining values and those without a TTL; accepted too large ones left out."""
        if self.blocking(Outcome.TOO_LARGE):
            return seen.remaining, seen.remaining_without_ttl
        return (
            seen.remaining - seen.too_large,
            seen.remaining_without_ttl - seen.too_large_without_ttl,
        )


def find_holds(
    copies: Sequence[Copies],
    *,
    clean_since: datetime,
    marks: Mapping[str, Mapping[str, Any] | None],
    swept: Mapping[str, str],
    retention: timedelta | None,
) -> tuple[Hold, ...]:
    """
    The holds on one key.

    *marks* are those that `Copies.mark` gave when the key became clean, by node; *swept* are the
    run ids of the processes that the last sweep found clean, by node.
    """
    holds: list[Hold] = []
    for copy in copies:
        holds += [Hold.replica(name, why) for name, why in copy.lagging.items()]
        if swept.get(copy.node, copy.run_id) != copy.run_id:
            holds.append(Hold.failover(copy.node))
        if copy.snapshot:
            snapshot = Hold.snapshot(copy.node, copy.snapshot_begun_at, clean_since)
            holds += [snapshot] if snapshot else []
        if copy.append_only and not copy.rewritten_since(marks.get(copy.node)):
            append_only = Hold.append_only(copy.node, None, clean_since)
            holds += [append_only] if append_only else []
    if retention is not None:
        holds.append(Hold.backups(clean_since, retention))
    return tuple(holds)
