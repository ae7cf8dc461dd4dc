"""
History: folds sweeps into the history of each key.

A `SweepRecord` is what one finished or broken-off sweep of one cache leaves behind; `fold` takes it
into the `KeyHistory` of each key. Nothing in either is secret: key ids, counts, times and prefixes
of names. Both are stored under the names of their fields.

- What it says is for facts: when a key was met, and that it came back. Whether it is gone is proven
  by looks and proofs (`lineage`, `names`).
- What a sweep under another scope (names, databases, formats) saw is not comparable: the history
  then starts anew, but for when the key was last seen.
- Records are taken in the order in which they happened. Their times are believed only on the
  careful side, because clocks can be set: a meeting never becomes older, and a sweep with a clock
  in doubt makes no key clean.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Self

from rotator.tally.key_tally import KeyTally
from rotator.tally.tally import ACCEPTABLE, BLOCKING, Mode, Outcome, Tally


@dataclass(frozen=True, slots=True)
class KeySeen:
    """
    Key sighting: counts the visits of one sweep that met one key; times are UTC.

    *drains_at* is the latest expiry of what remains, as far as that has a TTL. *prefixes* are those
    of the names, the most frequent first. *last_seen_at* leaves out values too large to move.
    """

    found: int = 0
    remaining: int = 0
    remaining_without_ttl: int = 0
    too_large: int = 0
    too_large_without_ttl: int = 0
    drains_at: datetime | None = None
    first_seen_at: datetime | None = None
    last_seen_at: datetime | None = None
    prefixes: tuple[str, ...] = ()

    @classmethod
    def of(cls, key: KeyTally) -> Self:
        """Return what a tally says of one key."""
        frequent = sorted(key.prefixes, key=lambda prefix: (-key.prefixes[prefix], prefix))
        return cls(
            found=key.found,
            remaining=key.remaining,
            remaining_without_ttl=key.remaining_without_ttl,
            too_large=key.too_large,
            too_large_without_ttl=key.too_large_without_ttl,
            drains_at=key.drain.latest,
            first_seen_at=key.first_seen_at,
            last_seen_at=key.last_seen_at,
            prefixes=tuple(prefix for prefix in frequent if prefix),
        )

    @property
    def met(self) -> int:
        """The visits that met it, without values that are known to be too large to move."""
        return self.found - self.too_large


_NOTHING = KeySeen()


@dataclass(frozen=True, slots=True)
class SweepRecord:
    """
    Sweep record: holds what one sweep of one cache leaves behind.

    *scope* is a digest of what was to be visited and in which formats (without the keyring).
    *not_looked_at* are sentences, one for everything that was left out. *open_items* and *accepted*
    count visits by outcome. *keys* holds every old key that the sweep knew, also those it did not
    meet; *current* is the id of the current key. *verified* False means `--no-verify`. *doubt* says
    why its times are not to be relied on; *finished_at* is then the latest that it may have been.
    It is *proven* that it met all there was on each of *primaries*, else *unproven* says why not; a
    *resumed* one went on from where another was stopped. *goes_on*: the data is that of the sweep
    before it, or later data. *opened* counts visits that met a key. *refused*: a dry run, after
    which a run would be refused.
    """

    cache: str
    mode: Mode
    started_at: datetime
    finished_at: datetime
    complete: bool
    current: str
    keys: Mapping[str, KeySeen]
    scope: str = ""
    visits: int = 0
    verified: bool = True
    not_looked_at: tuple[str, ...] = ()
    open_items: Mapping[Outcome, int] = field(default_factory=dict)
    accepted: Mapping[Outcome, int] = field(default_factory=dict)
    doubt: str | None = None
    proven: bool = False
    unproven: tuple[str, ...] = ()
    resumed: bool = False
    goes_on: bool = True
    opened: int = 0
    primaries: tuple[str, ...] = ()
    refused: bool = False

    @classmethod
    def of(cls, tally: Tally, *, old: Iterable[str], **known: Any) -> Self:
        """Return the record of a sweep: its tally, the ids of old keys, and the other fields."""
        met = {key_id: KeySeen.of(key) for key_id, key in tally.keys.items()}
        return cls(
            keys={key_id: met.get(key_id, _NOTHING) for key_id in old},
            visits=tally.visits,
            open_items={one: tally.outcomes[one] for one in (*BLOCKING, Outcome.NESTED)},
            opened=sum(key.found for key in tally.keys.values()),
            **known,
        )

    def seen(self, key_id: str) -> KeySeen:
        """Return what it saw of a key."""
        return self.keys.get(key_id, _NOTHING)

    def blocking(self, outcome: Outcome) -> int:
        """Return the number of open items if more than were accepted, else 0."""
        number = self.open_items.get(outcome, 0)
        accepted = self.accepted.get(outcome, 0) if outcome in ACCEPTABLE else 0
        return number if number > accepted else 0

    def hides_or_holds(self, key_id: str) -> bool:
        """Return whether it met the key, or an entry that may hide it."""
        return bool(self.seen(key_id).found) or any(self.blocking(outcome) for outcome in BLOCKING)

    @property
    def looked_everywhere(self) -> bool:
        """True if nothing was left out but what was accepted."""
        return (
            self.complete
            and not self.not_looked_at
            and not any(self.blocking(outcome) for outcome in BLOCKING)
        )


@dataclass(frozen=True, slots=True)
class KeyHistory:
    """
    Key history: holds what all sweeps of one cache saw of one key; times are UTC, None is "never".

    *first_looked_at* is the start of the first complete sweep for it, *swept_at* the end of the
    last one. *clean_since* is the end of the first complete sweep that no longer met it,
    *clean_sweeps* how many have not met it since. *returned_at* is when it was met again although
    it had been clean (since *clean_before*): *returned* values then, with names of *prefixes*.
    """

    scope: str = ""
    first_looked_at: datetime | None = None
    first_seen_at: datetime | None = None
    last_seen_at: datetime | None = None
    swept_at: datetime | None = None
    clean_since: datetime | None = None
    clean_sweeps: int = 0
    clean_before: datetime | None = None
    returned_at: datetime | None = None
    returned: int = 0
    prefixes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """
    Key record: holds all that the state knows of one key in one cache, but for its holds.

    *encryptions* are by rotator, in all runs over all caches; *most_seen* is the most values that
    one sweep met, summed over the caches. *verdicts* are its changes, in their order.
    """

    history: KeyHistory
    encryptions: int = 0
    most_seen: int = 0
    verdicts: tuple[tuple[datetime, str], ...] = ()


def fold(history: KeyHistory, record: SweepRecord, key_id: str) -> KeyHistory:
    """Return the history of a key after one more sweep."""
    if key_id == record.current:
        return KeyHistory(
            scope=record.scope,
            first_seen_at=history.first_seen_at,
            last_seen_at=_latest(history.last_seen_at, record.finished_at),
        )
    if key_id not in record.keys:
        return history
    if history.scope != record.scope:
        history = KeyHistory(
            scope=record.scope,
            first_seen_at=history.first_seen_at,
            last_seen_at=history.last_seen_at,
        )
    if not record.goes_on:  # what is met may be old data that came back
        history = replace(history, clean_since=None, clean_sweeps=0)
    seen = record.seen(key_id)
    if seen.met or (seen.found and history.clean_since is not None):
        history = _met(history, seen, record)
    elif not seen.found and record.looked_everywhere and record.proven and not record.doubt:
        history = replace(
            history,
            clean_since=history.clean_since or record.finished_at,
            clean_sweeps=history.clean_sweeps + 1,
        )
    if record.complete:
        history = replace(
            history,
            first_looked_at=history.first_looked_at or record.started_at,
            swept_at=_latest(history.swept_at, record.finished_at),
        )
    return history


def _met(history: KeyHistory, seen: KeySeen, record: SweepRecord) -> KeyHistory:
    """Return the history of a key that was met once more."""
    at = record.finished_at if record.doubt else seen.last_seen_at or record.finished_at
    if history.clean_since is not None:
        history = replace(
            history,
            clean_before=history.clean_since,
            returned_at=seen.first_seen_at or at,
            returned=seen.found,  # those that are too large, too: none was there before
            prefixes=seen.prefixes,
        )
    elif history.returned_at is not None:
        history = replace(
            history,
            returned=max(history.returned, seen.met),
            prefixes=history.prefixes or seen.prefixes,
        )
    return replace(
        history,
        first_seen_at=history.first_seen_at or seen.first_seen_at or at,
        last_seen_at=_latest(history.last_seen_at, at),
        clean_since=None,
        clean_sweeps=0,
    )


def _latest(earlier: datetime | None, at: datetime) -> datetime:
    """Return the later time: a clock that was set back must not make a sighting older."""
    return at if earlier is None else max(earlier, at)
