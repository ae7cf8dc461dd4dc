"""
What sweeps saw of each key, and what that adds up to.

A `SweepRecord` is what one finished or broken-off sweep of one cache leaves behind; `fold` takes it
into the `KeyHistory` of each key. Nothing in either is secret: key ids, counts, times and prefixes
of names.

- A key is clean since the end of the first complete sweep that no longer met it, and only if that
  sweep looked everywhere: an entry that was not looked at may hide the key.
- What a sweep under another scope (names, databases, formats) saw is not comparable: the history
  then starts anew, but for when the key was last seen.
- Records are taken in the order in which they happened. Their times are believed only on the
  careful side, because clocks can be set: a meeting never becomes older, and a sweep with a clock
  in doubt makes no key clean.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Self

from rotator.tally.key_tally import KeyTally
from rotator.tally.tally import ACCEPTABLE, BLOCKING, Mode, Outcome, Tally


@dataclass(frozen=True, slots=True)
class KeySeen:
    """
    What one sweep saw of one key, in visits; times are UTC.

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
        """What a tally says of one key."""
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
    One sweep of one cache.

    *scope* is a digest of what was to be visited and in which formats (without the keyring).
    *not_looked_at* are sentences, one for everything that was left out. *open_items* and *accepted*
    count visits by outcome. *keys* holds every old key that the sweep knew, also those it did not
    meet; *current* is the id of the current key. *verified* False means `--no-verify`. *doubt* says
    why its times are not to be relied on; *finished_at* is then the latest that it may have been.
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

    @classmethod
    def of(
        cls,
        tally: Tally,
        *,
        cache: str,
        mode: Mode,
        started_at: datetime,
        finished_at: datetime,
        complete: bool,
        current: str,
        old: Iterable[str],
        scope: str = "",
        verified: bool = True,
        not_looked_at: Iterable[str] = (),
        accepted: Mapping[Outcome, int] | None = None,
        doubt: str | None = None,
    ) -> Self:
        """The record of a sweep with this tally; *old* are the ids of all its old keys."""
        met = {key_id: KeySeen.of(key) for key_id, key in tally.keys.items()}
        return cls(
            cache=cache,
            mode=mode,
            started_at=started_at,
            finished_at=finished_at,
            complete=complete,
            current=current,
            keys={key_id: met.get(key_id, _NOTHING) for key_id in old},
            scope=scope,
            visits=tally.visits,
            verified=verified,
            not_looked_at=tuple(not_looked_at),
            open_items={outcome: tally.outcomes[outcome] for outcome in BLOCKING},
            accepted=dict(accepted or {}),
            doubt=doubt,
        )

    def seen(self, key_id: str) -> KeySeen:
        """What it saw of a key."""
        return self.keys.get(key_id, _NOTHING)

    def blocking(self, outcome: Outcome) -> int:
        """How many open items there are, if they are more than were accepted; else 0."""
        number = self.open_items.get(outcome, 0)
        accepted = self.accepted.get(outcome, 0) if outcome in ACCEPTABLE else 0
        return number if number > accepted else 0

    def hides_or_holds(self, key_id: str) -> bool:
        """Whether it met the key, or an entry that may hide it."""
        return bool(self.seen(key_id).found) or any(self.blocking(outcome) for outcome in BLOCKING)

    @property
    def looked_everywhere(self) -> bool:
        """Whether nothing was left out but what was accepted."""
        return (
            self.complete
            and not self.not_looked_at
            and not any(self.blocking(outcome) for outcome in BLOCKING)
        )


@dataclass(frozen=True, slots=True)
class KeyHistory:
    """
    What all sweeps of one cache saw of one key; times are UTC, None is "never".

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


def fold(history: KeyHistory, record: SweepRecord, key_id: str) -> KeyHistory:
    """The history of a key after one more sweep."""
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
    seen = record.seen(key_id)
    if seen.met:
        history = _met(history, seen, record)
    elif record.looked_everywhere and not record.doubt:
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
    """The history of a key that was met once more."""
    at = record.finished_at if record.doubt else seen.last_seen_at or record.finished_at
    if history.clean_since is not None:
        history = replace(
            history,
            clean_before=history.clean_since,
            returned_at=seen.first_seen_at or at,
            returned=seen.met,
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
    """The later of the two: a clock that was set back must not make a sighting older."""
    return at if earlier is None else max(earlier, at)
