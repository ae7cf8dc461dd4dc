"""
State: keeps checkpoints, histories, places, run records and reports.

One small SQLite file. Nothing in it is secret: key ids, counts, times, and names only as samples or
prefixes. Losing it costs time, never correctness; but a file that is damaged is never replaced in
silence, because then nobody would know why every key is `verifying` again.

A change is one transaction: it is in the file whole, or not at all. Records are stored as JSON
under the names of their fields, so those names stay as they are.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import TypeAdapter

from rotator.retirement.forecast import RunRecord
from rotator.retirement.history import KeyHistory, KeyRecord, SweepRecord, fold
from rotator.retirement.places import CacheRecord, Hold
from rotator.state.database import Change, Database, default_path

VERDICTS = 100
"""How many changes of verdict are kept for each key."""
RUNS = 60
"""How many runs are kept of each cache."""

# Made when one is needed: that takes some milliseconds for each kind of record.
_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)
T = TypeVar("T")


class State:
    """
    State: an open state file, which threads may share.

    It is created (with mode 0600, in a folder of mode 0700) if there is none.

    Raises:
        StateError: From every method: the file cannot be read, written or understood, is of a newer
            version, or stays locked by another process.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or default_path()
        self._database = Database(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was saved is on disk already."""
        self._database.close()

    # Checkpoints

    def load_position(self, cache: str, phase: str, node: str) -> dict[str, Any] | None:
        """Return the saved checkpoint of a node; None if its sweep is to begin anew."""
        return self._get(dict[str, Any], "positions", cache=cache, phase=phase, node=node)

    def save_position(self, cache: str, phase: str, node: str, position: Mapping[str, Any]) -> None:
        """Save the checkpoint of a node; *position* holds plain JSON values."""
        with self._database.change() as change:
            _put(change, "positions", cache, phase, node, json.dumps(dict(position)))

    def drop_positions(self, cache: str, phase: str | None = None) -> None:
        """Forget the checkpoints of a cache, in one phase or in all."""
        with self._database.change() as change:
            change(
                "DELETE FROM positions WHERE cache = ? AND phase = ifnull(?, phase)", (cache, phase)
            )

    # Sweeps, keys and their places

    def record_sweep(self, record: SweepRecord) -> None:
        """Fold a sweep into the history of each of its keys; once for each, in their order."""
        with self._database.change() as change:
            if record.complete:
                _put(change, "sweeps", record.cache, _text(SweepRecord, record))
            for key_id in {*record.keys, record.current}:
                history = fold(self.history(record.cache, key_id), record, key_id)
                _put(change, "histories", record.cache, key_id, _text(KeyHistory, history))

    def history(self, cache: str, key_id: str) -> KeyHistory:
        """Return what all sweeps of a cache saw of a key; an empty history if there was none."""
        return self._get(KeyHistory, "histories", cache=cache, key_id=key_id) or KeyHistory()

    def last_sweep(self, cache: str) -> SweepRecord | None:
        """Return the last complete sweep of a cache, if there was one."""
        return self._get(SweepRecord, "sweeps", cache=cache)

    def save_holds(self, cache: str, key_id: str, holds: Sequence[Hold]) -> None:
        """Save what held a key when the cache was last swept."""
        with self._database.change() as change:
            _put(change, "holds", cache, key_id, _text(tuple[Hold, ...], tuple(holds)))

    def holds(self, cache: str, key_id: str) -> tuple[Hold, ...]:
        """Return what held a key when the cache was last swept."""
        return self._get(tuple[Hold, ...], "holds", cache=cache, key_id=key_id) or ()

    def aof_baselines(
        self, cache: str, key_id: str, clean_since: datetime
    ) -> dict[str, dict[str, Any] | None]:
        """Return the append-only files, by node, as they were when the key became clean."""
        at = clean_since.isoformat()
        kind = dict[str, dict[str, Any] | None]
        return self._get(kind, "marks", cache=cache, key_id=key_id, clean_since=at) or {}

    def set_aof_baselines(
        self, cache: str, key_id: str, clean_since: datetime, now: Mapping[str, Any]
    ) -> None:
        """
        Save the append-only files, by node, that later ones are compared with.

        One that is saved for this *clean_since* stays; where there is none yet, that of *now*
        counts from here on: a later one only makes for a later end.
        """
        kept = self.aof_baselines(cache, key_id, clean_since)
        new = {node: baseline for node, baseline in now.items() if kept.get(node) is None}
        if new:
            with self._database.change() as change:
                text = json.dumps(kept | new)
                _put(change, "marks", cache, key_id, clean_since.isoformat(), text)

    def cache_record(self, cache: str, key_ids: Iterable[str]) -> CacheRecord:
        """Return all that is known of a cache and of these keys."""
        ids = tuple(key_ids)
        return CacheRecord(
            cache=cache,
            sweep=self.last_sweep(cache),
            runs=tuple(self.run_records(cache)),
            keys={
                key_id: KeyRecord(
                    self.history(cache, key_id),
                    self.encryptions(key_id),
                    self.most_seen(key_id),
                    tuple(self.verdicts(key_id)),
                )
                for key_id in ids
            },
            holds={key_id: self.holds(cache, key_id) for key_id in ids},
        )

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
        """Return how many encryptions under a key were counted, by all runs with this state."""
        return self._sum("encryptions", key_id)

    def note_seen(self, cache: str, key_id: str, number: int) -> None:
        """Remember that one sweep of a cache met so many values under a key, if it is the most."""
        with self._database.change() as change:
            change(
                "INSERT INTO seen VALUES (?, ?, ?) ON CONFLICT (cache, key_id)"
                " DO UPDATE SET number = max(number, excluded.number)",
                (cache, key_id, number),
            )

    def most_seen(self, key_id: str) -> int:
        """Return the most values that a sweep met under a key, summed over the caches."""
        return self._sum("seen", key_id)

    # Verdicts

    def note_verdict(self, key_id: str, verdict: str, at: datetime) -> list[tuple[datetime, str]]:
        """Write down the verdict on a key, as a new line if it is another; return all of them."""
        past = self.verdicts(key_id)
        if not past or past[-1][1] != verdict:
            self._append("verdicts", "key_id", key_id, at.isoformat(), verdict, keep=VERDICTS)
            past.append((at, verdict))
        return past[-VERDICTS:]

    def verdicts(self, key_id: str) -> list[tuple[datetime, str]]:
        """Return when the verdict on a key became what, in the order in which it was judged."""
        rows = self._database.rows(
            "SELECT at, verdict FROM verdicts WHERE key_id = ? ORDER BY number", (key_id,)
        )
        try:
            return [(datetime.fromisoformat(at), verdict) for at, verdict in rows]
        except ValueError as error:
            raise self._database.damaged() from error

    # Reports

    def save_report(self, cache: str, report: str, at: datetime) -> None:
        """Save the last report on a cache, as JSON text."""
        with self._database.change() as change:
            _put(change, "reports", cache, report, at.isoformat())

    def last_reports(self) -> dict[str, tuple[datetime, str]]:
        """Return the last report on each cache: its time and its JSON text."""
        rows = self._database.rows("SELECT cache, at, report FROM reports ORDER BY cache")
        return {cache: (datetime.fromisoformat(at), report) for cache, at, report in rows}

    # Runs

    def add_run_record(self, cache: str, record: RunRecord) -> None:
        """Write down what one run did of a sweep of a cache."""
        self._append("windows", "cache", cache, _text(RunRecord, record), keep=RUNS)

    def run_records(self, cache: str) -> list[RunRecord]:
        """Return what the last runs did of sweeps of a cache, in their order."""
        rows = self._database.rows(
            "SELECT record FROM windows WHERE cache = ? ORDER BY number", (cache,)
        )
        return [self._record(RunRecord, text) for (text,) in rows]

    def set_run_result(self, caches: str, exit_code: int) -> None:
        """Write down how a run over *caches*, as they were asked for, ended."""
        with self._database.change() as change:
            _put(change, "endings", caches, exit_code)

    def run_result(self, caches: str) -> int | None:
        """Return the exit code of the last run over *caches*, if there was one."""
        rows = self._database.rows("SELECT exit_code FROM endings WHERE caches = ?", (caches,))
        return rows[0][0] if rows else None

    # Rows

    def _get(self, kind: type[T], table: str, **key: str) -> T | None:
        """Return the record of *kind*, a table's last column, in the row of a key; or None."""
        where = " AND ".join(f"{column} = ?" for column in key)
        rows = self._database.rows(f"SELECT * FROM {table} WHERE {where}", tuple(key.values()))  # noqa: S608 - our own names
        return self._record(kind, rows[0][-1]) if rows else None

    def _record(self, kind: type[T], text: str) -> T:
        """Return the record of *kind* that is stored as *text*."""
        try:
            record: T = _adapter(kind).validate_python(json.loads(text))
        except ValueError as error:  # of JSON, or of what it should hold
            raise self._database.damaged() from error
        return record

    def _append(self, table: str, owner: str, *values: str, keep: int) -> None:
        """Add a row, and drop all but the last *keep* of the same *owner*, the first column."""
        with self._database.change() as change:
            _put(change, table, None, *values)
            change(
                f"DELETE FROM {table} WHERE {owner} = ? AND number NOT IN"  # noqa: S608 - our own names
                f" (SELECT number FROM {table} WHERE {owner} = ? ORDER BY number DESC LIMIT ?)",
                (values[0], values[0], keep),
            )

    def _sum(self, table: str, key_id: str) -> int:
        """Return the sum of the numbers of a key."""
        rows = self._database.rows(f"SELECT number FROM {table} WHERE key_id = ?", (key_id,))  # noqa: S608 - our own names
        return sum(number for (number,) in rows)


def _put(change: Change, table: str, *values: object) -> None:
    """Set a row of a table; it replaces one with the same key."""
    marks = ", ".join("?" * len(values))
    change(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", values)  # noqa: S608 - our own names


def _text(kind: Any, value: object) -> str:
    """Return a record as JSON, in ASCII: a server's message may hold bytes that are no text."""
    return json.dumps(_adapter(kind).dump_python(value, mode="json"))
