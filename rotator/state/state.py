"""
What one run leaves for the next: positions, sightings of keys, the last reports.

One small SQLite file. Nothing in it is secret: key ids, counts, times, and names only as samples or
prefixes. Losing it costs time, never correctness; but a file that is damaged is never replaced in
silence, because then nobody would know why every key is `verifying` again.

- A change is one transaction: it is in the file whole, or not at all.
- One run at a time on each cache: `lock` holds a file lock, which the kernel releases however the
  process ends.

What the state writes down of every run: encryptions, verdicts over time, the last reports.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import TypeAdapter

from rotator.retirement.forecast import RunRecord
from rotator.retirement.history import KeyHistory, SweepRecord, fold
from rotator.retirement.places import Evidence, Hold
from rotator.state.database import Database, default_path

VERDICTS = 100
"""How many changes of verdict are remembered for each key."""


WINDOWS = 60
"""How many runs are remembered of each cache."""


_WINDOW = TypeAdapter(RunRecord)


class Annals:
    """The part of the state that only grows, or holds what was last reported."""

    _database: Database

    # Encryptions

    def add_encryptions(self, key_id: str, number: int) -> None:
        """Count so many more encryptions under a key."""
        with self._database.change() as change:
            change(
                "INSERT INTO encryptions VALUES (?, ?) ON CONFLICT (key_id)"
                " DO UPDATE SET number = number + excluded.number",
                (key_id, number),
            )

    def encryptions(self, key_id: str) -> int:
        """How many encryptions under a key were counted, by all runs with this state."""
        rows = self._database.rows("SELECT number FROM encryptions WHERE key_id = ?", (key_id,))
        return sum(number for (number,) in rows)

    def note_seen(self, cache: str, key_id: str, number: int) -> None:
        """Remember that one sweep of a cache met so many values under a key, if it is the most."""
        with self._database.change() as change:
            change(
                "INSERT INTO seen VALUES (?, ?, ?) ON CONFLICT (cache, key_id)"
                " DO UPDATE SET number = max(number, excluded.number)",
                (cache, key_id, number),
            )

    def most_seen(self, key_id: str) -> int:
        """The most values that one sweep of each cache met under a key, summed over the caches."""
        rows = self._database.rows("SELECT number FROM seen WHERE key_id = ?", (key_id,))
        return sum(number for (number,) in rows)

    # Verdicts

    def note_verdict(self, key_id: str, verdict: str, at: datetime) -> None:
        """Write down the verdict on a key; only a change is a new line."""
        past = self.verdicts(key_id)
        if past and past[-1][1] == verdict:
            return
        with self._database.change() as change:
            change("INSERT INTO verdicts VALUES (NULL, ?, ?, ?)", (key_id, at.isoformat(), verdict))
            change(
                "DELETE FROM verdicts WHERE key_id = ? AND number NOT IN"
                " (SELECT number FROM verdicts WHERE key_id = ? ORDER BY number DESC LIMIT ?)",
                (key_id, key_id, VERDICTS),
            )

    def verdicts(self, key_id: str) -> list[tuple[datetime, str]]:
        """When the verdict on a key became what, in the order in which it was judged."""
        rows = self._database.rows(
            "SELECT at, verdict FROM verdicts WHERE key_id = ? ORDER BY number", (key_id,)
        )
        try:
            return [(datetime.fromisoformat(at), verdict) for at, verdict in rows]
        except ValueError as error:
            raise self._database.damaged() from error

    # Reports

    def save_report(self, cache: str, report: str, at: datetime) -> None:
        """Remember the last report on a cache, as JSON text."""
        with self._database.change() as change:
            change(
                "INSERT OR REPLACE INTO reports VALUES (?, ?, ?)", (cache, report, at.isoformat())
            )

    def last_reports(self) -> dict[str, tuple[datetime, str]]:
        """The last report on each cache: when, and its JSON text."""
        rows = self._database.rows("SELECT cache, at, report FROM reports ORDER BY cache")
        return {cache: (datetime.fromisoformat(at), report) for cache, at, report in rows}

    # Runs

    def note_window(self, cache: str, window: RunRecord) -> None:
        """Write down what one run did of a sweep of a cache."""
        record = json.dumps(_WINDOW.dump_python(window, mode="json"))
        with self._database.change() as change:
            change("INSERT INTO windows VALUES (NULL, ?, ?)", (cache, record))
            change(
                "DELETE FROM windows WHERE cache = ? AND number NOT IN"
                " (SELECT number FROM windows WHERE cache = ? ORDER BY number DESC LIMIT ?)",
                (cache, cache, WINDOWS),
            )

    def windows(self, cache: str) -> list[RunRecord]:
        """What the last runs did of sweeps of a cache, in their order."""
        rows = self._database.rows(
            "SELECT record FROM windows WHERE cache = ? ORDER BY number", (cache,)
        )
        try:
            return [_WINDOW.validate_json(record) for (record,) in rows]
        except ValueError as error:
            raise self._database.damaged() from error

    def note_ending(self, caches: str, exit_code: int) -> None:
        """Write down how a run over *caches*, as they were asked for, ended."""
        with self._database.change() as change:
            change("INSERT OR REPLACE INTO endings VALUES (?, ?)", (caches, exit_code))

    def last_ending(self, caches: str) -> int | None:
        """How the last run over *caches* ended, if there was one."""
        rows = self._database.rows("SELECT exit_code FROM endings WHERE caches = ?", (caches,))
        return rows[0][0] if rows else None


VERSION = 2
"""The version of the schema, kept as `PRAGMA user_version`."""


_APPLICATION = 0x524F5401  # "ROT", 1


_WINDOWS = (
    "CREATE TABLE windows (number INTEGER PRIMARY KEY, cache TEXT NOT NULL, record TEXT NOT NULL)",
    "CREATE INDEX windows_by_cache ON windows (cache, number)",
    "CREATE TABLE endings (caches TEXT PRIMARY KEY, exit_code INTEGER NOT NULL) WITHOUT ROWID",
)


_UPGRADES = {1: _WINDOWS}


_SCHEMA = f"""
CREATE TABLE positions (
    cache TEXT, phase TEXT, node TEXT, position TEXT NOT NULL,
    PRIMARY KEY (cache, phase, node)
) WITHOUT ROWID;
CREATE TABLE sweeps (cache TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE histories (
    cache TEXT, key_id TEXT, history TEXT NOT NULL,
    PRIMARY KEY (cache, key_id)
) WITHOUT ROWID;
CREATE TABLE holds (
    cache TEXT, key_id TEXT, holds TEXT NOT NULL,
    PRIMARY KEY (cache, key_id)
) WITHOUT ROWID;
CREATE TABLE marks (
    cache TEXT, key_id TEXT, clean_since TEXT NOT NULL, marks TEXT NOT NULL,
    PRIMARY KEY (cache, key_id)
) WITHOUT ROWID;
CREATE TABLE encryptions (key_id TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE seen (
    cache TEXT, key_id TEXT, number INTEGER NOT NULL,
    PRIMARY KEY (cache, key_id)
) WITHOUT ROWID;
CREATE TABLE verdicts (
    number INTEGER PRIMARY KEY, key_id TEXT NOT NULL, at TEXT NOT NULL, verdict TEXT NOT NULL
);
CREATE INDEX verdicts_by_key ON verdicts (key_id, number);
CREATE TABLE reports (cache TEXT PRIMARY KEY, report TEXT NOT NULL, at TEXT NOT NULL) WITHOUT ROWID;
{";".join(_WINDOWS)};
"""


_RECORD = TypeAdapter(SweepRecord)


_HISTORY = TypeAdapter(KeyHistory)


_HOLDS = TypeAdapter(tuple[Hold, ...])


_POSITION = TypeAdapter(dict[str, Any])


T = TypeVar("T")


class State(Annals):
    """
    The state file, opened.

    It is created (with mode 0600, in a folder of mode 0700) if there is none. Threads may
    share it.

    Raises:
        StateError: From every method: the file cannot be read, written or understood, is of a newer
            version, or stays locked by another process.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or default_path()
        self._database = Database(
            self.path,
            schema=_SCHEMA,
            application=_APPLICATION,
            version=VERSION,
            upgrades=_UPGRADES,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was saved is on disk already."""
        self._database.close()

    # Positions

    def load_position(self, cache: str, phase: str, node: str) -> dict[str, Any] | None:
        """How far the sweep of a node got, as it was saved; None if it is to begin anew."""
        return self._read(
            _POSITION,
            "SELECT position FROM positions WHERE (cache, phase, node) = (?, ?, ?)",
            (cache, phase, node),
        )

    def save_position(self, cache: str, phase: str, node: str, position: Mapping[str, Any]) -> None:
        """Remember how far the sweep of a node got; *position* holds plain JSON values."""
        with self._database.change() as change:
            change(
                "INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?)",
                (cache, phase, node, _text(_POSITION, dict(position))),
            )

    def drop_positions(self, cache: str, phase: str | None = None) -> None:
        """Forget the positions of a cache, in one phase or in all."""
        with self._database.change() as change:
            change(
                "DELETE FROM positions WHERE cache = ? AND phase = ifnull(?, phase)",
                (cache, phase),
            )

    # Sightings

    def record_sweep(self, record: SweepRecord) -> None:
        """Fold a sweep into the history of each of its keys; once for each, in their order."""
        with self._database.change() as change:
            if record.complete:
                change(
                    "INSERT OR REPLACE INTO sweeps VALUES (?, ?)",
                    (record.cache, _text(_RECORD, record)),
                )
            for key_id in {*record.keys, record.current}:
                history = fold(self.history(record.cache, key_id), record, key_id)
                change(
                    "INSERT OR REPLACE INTO histories VALUES (?, ?, ?)",
                    (record.cache, key_id, _text(_HISTORY, history)),
                )

    def history(self, cache: str, key_id: str) -> KeyHistory:
        """What all sweeps of a cache saw of a key; an empty one if there was none."""
        statement = "SELECT history FROM histories WHERE (cache, key_id) = (?, ?)"
        return self._read(_HISTORY, statement, (cache, key_id)) or KeyHistory()

    def last_sweep(self, cache: str) -> SweepRecord | None:
        """The last complete sweep of a cache, if there was one."""
        return self._read(_RECORD, "SELECT record FROM sweeps WHERE cache = ?", (cache,))

    def save_holds(self, cache: str, key_id: str, holds: Sequence[Hold]) -> None:
        """Remember what held a key when the cache was last swept."""
        with self._database.change() as change:
            change(
                "INSERT OR REPLACE INTO holds VALUES (?, ?, ?)",
                (cache, key_id, _text(_HOLDS, tuple(holds))),
            )

    def holds(self, cache: str, key_id: str) -> tuple[Hold, ...]:
        """What held a key when the cache was last swept."""
        statement = "SELECT holds FROM holds WHERE (cache, key_id) = (?, ?)"
        return self._read(_HOLDS, statement, (cache, key_id)) or ()

    def marks(
        self, cache: str, key_id: str, clean_since: datetime, now: Mapping[str, Any]
    ) -> dict[str, Any]:
        """
        The marks of the copies, by node, that were set when the key became clean.

        Where there is none for this *clean_since* yet, that of *now* is the one from here on; a
        later mark only makes for a later end.
        """
        statement = "SELECT marks FROM marks WHERE (cache, key_id, clean_since) = (?, ?, ?)"
        at = clean_since.isoformat()
        found = self._read(_POSITION, statement, (cache, key_id, at)) or {}
        fresh = {node: mark for node, mark in now.items() if found.get(node) is None}
        if fresh:
            found |= fresh
            with self._database.change() as change:
                change(
                    "INSERT OR REPLACE INTO marks VALUES (?, ?, ?, ?)",
                    (cache, key_id, at, _text(_POSITION, found)),
                )
        return found

    def evidence(self, cache: str, key_id: str, field: str) -> Evidence:
        """
        What earlier runs found out about a key that *cache* lists at *field*.

        For a cache that is not swept in this run. A sweep that did not know the key is none.
        """
        sweep = self.last_sweep(cache)
        return Evidence(
            key_id=key_id,
            cache=cache,
            field=field,
            sweep=sweep if sweep and key_id in sweep.keys else None,
            history=self.history(cache, key_id),
            holds=self.holds(cache, key_id),
        )

    def _read(self, kind: TypeAdapter[T], statement: str, values: Sequence[str]) -> T | None:
        """The one value that a statement finds, or None; what is not of its kind is damaged."""
        rows = self._database.rows(statement, values)
        try:
            return kind.validate_python(json.loads(rows[0][0])) if rows else None
        except ValueError as error:  # of JSON, or of what it should hold
            raise self._database.damaged() from error


def _text(kind: TypeAdapter[T], value: T) -> str:
    """A value as JSON, in ASCII: a server's message may hold bytes that are no text."""
    return json.dumps(kind.dump_python(value, mode="json"))
