"""
State: keeps checkpoints, histories, looks, proofs, fences, run records and reports.

One small SQLite file. Nothing in it is secret: key ids, counts, times, and names only as samples or
prefixes. Losing it costs time, never correctness; but a file that is damaged is never replaced in
silence, because then nobody would know why every key is `verifying` again.

A change is one transaction: it is in the file whole, or not at all. Records are stored as JSON
under the names of their fields, so those names stay as they are.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import TypeAdapter

from rotator.retirement.forecast import RunRecord
from rotator.retirement.history import KeyHistory, KeyRecord, SweepRecord, fold
from rotator.retirement.looks import Look, Proof
from rotator.retirement.places import CacheRecord, Fence, Verdict
from rotator.state.database import OPENING, Database, default_path, drop, put, understood

VERDICTS = 100
"""How many changes of verdict are kept for each key."""
RUNS = 60
"""How many runs are kept of each cache."""
_SAVE_SECONDS = 1.0

# Made when one is needed: that takes some milliseconds for each kind of record.
_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)
T = TypeVar("T")


class State:
    """
    State: an open state file, which threads may share.

    It is created (with mode 0600, in a folder of mode 0700) if there is none. For a lock *opening*
    waits so many seconds. *upgraded_from* is the schema it had if this has upgraded it, else None.

    Raises:
        StateError: From every method: the file cannot be read, written or understood, is of a newer
            version, or stays locked by another process.
    """

    def __init__(self, path: Path | None = None, *, opening: float = OPENING) -> None:
        self.path = path or default_path()
        self._database = Database(self.path, opening=opening)
        self.upgraded_from = self._database.upgraded_from

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was saved is on disk already."""
        self._database.close()

    def load_position(self, cache: str, phase: str, node: str) -> dict[str, Any] | None:
        """Return the saved checkpoint of a node; None if its sweep is to begin anew."""
        return self._get(dict[str, Any], "positions", cache=cache, phase=phase, node=node)

    def save_position(self, cache: str, phase: str, node: str, position: Mapping[str, Any]) -> None:
        """Save the checkpoint of a node, of plain JSON values; no lock keeps a sweep for long."""
        with self._database.waiting_at_most(_SAVE_SECONDS), self._database.change() as change:
            put(change, "positions", cache, phase, node, json.dumps(dict(position)))

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
                put(change, "sweeps", record.cache, _text(SweepRecord, record))
            for key_id in {*record.keys, record.current}:
                history = fold(self.history(record.cache, key_id), record, key_id)
                put(change, "histories", record.cache, key_id, _text(KeyHistory, history))

    def history(self, cache: str, key_id: str) -> KeyHistory:
        """Return what all sweeps of a cache saw of a key; an empty history if there was none."""
        return self._get(KeyHistory, "histories", cache=cache, key_id=key_id) or KeyHistory()

    def last_sweep(self, cache: str) -> SweepRecord | None:
        """Return the last complete sweep of a cache, if there was one."""
        return self._get(SweepRecord, "sweeps", cache=cache)

    @understood
    def cache_record(
        self, cache: str, key_ids: Iterable[str], history: str | None = None
    ) -> CacheRecord:
        """Return all that is known of a cache and of these keys, by its *history*."""
        history = cache if history is None else history
        lineage = self.lineages(cache).get(history, {})
        return CacheRecord(
            cache=cache,
            sweep=self.last_sweep(history),
            runs=tuple(self.run_records(history)),
            proofs=tuple(self.proofs(history)),
            looks=tuple(self.looks(history)),
            fence=self.fence(cache),
            addresses=tuple(lineage.get("addresses", ())),
            lost_at=_moment(lineage.get("lost_at")),
            working_since=_moment(lineage.get("working_since")),
            keys={
                key_id: KeyRecord(
                    self.history(history, key_id),
                    self.encryptions(key_id),
                    self.most_seen(key_id),
                    tuple(self.verdicts(key_id)),
                )
                for key_id in key_ids
            },
        )

    # Lineages, looks, proofs and fences

    def lineages(self, cache: str) -> dict[str, dict[str, Any]]:
        """Return what is recorded of each lineage of a cache's data, by the id of its history."""
        rows = self._database.rows("SELECT history, record FROM lineages WHERE cache = ?", (cache,))
        return {history: self._record(dict[str, Any], text) for history, text in sorted(rows)}

    def set_lineage(self, history: str, cache: str, record: Mapping[str, Any]) -> None:
        """Record a lineage; its history is called like the cache, the next ones `<cache>#2`, ..."""
        with self._database.change() as change:
            put(change, "lineages", history, cache, json.dumps(dict(record)))

    def begin_work(self, cache: str, history: str, at: datetime) -> None:
        """Note that values may be changed from now on; what work met that did not end is lost."""
        record = self.lineages(cache).get(history)
        if record is None:  # nothing is known of it that could be wrong
            return
        lost = {"lost_at": at.isoformat()} if "working_since" in record else {}
        self.set_lineage(history, cache, {**record, **lost, "working_since": at.isoformat()})

    def end_work(self, cache: str, history: str, *, lost_at: datetime | None = None) -> None:
        """Note that it has ended; what it met is lost with *lost_at*, else it was recorded."""
        record = self.lineages(cache).get(history)
        if record is None:
            return
        lost = {"lost_at": lost_at.isoformat()} if lost_at else {}
        left = {name: value for name, value in record.items() if name != "working_since"}
        self.set_lineage(history, cache, {**left, **lost})

    def drop_history(self, history: str) -> None:
        """Forget a lineage with all that was found out about its data."""
        with self._database.change() as change:
            for table in ("sweeps", "histories", "holds", "marks", "windows", "reports"):
                drop(change, table, cache=history)
            for table in ("looks", "proofs", "lineages", "formats"):
                drop(change, table, history=history)

    def add_looks(self, history: str, looks: Iterable[Look]) -> None:
        """Add looks at servers to a history, in their order."""
        with self._database.change() as change:
            for look in looks:
                put(change, "looks", None, history, look.address, _text(Look, look))

    def replace_looks(self, history: str, looks: Iterable[Look]) -> None:
        """Keep these looks of a history, and no others."""
        with self._database.change() as change:
            drop(change, "looks", history=history)
            self.add_looks(history, looks)

    def looks(self, history: str) -> list[Look]:
        """Return the looks of a history, in the order they were added."""
        return self._all(Look, "looks", history=history)

    def add_proofs(self, history: str, proofs: Iterable[Proof]) -> None:
        """Add proofs to a history, in their order."""
        with self._database.change() as change:
            for proof in proofs:
                put(change, "proofs", None, history, proof.node, _text(Proof, proof))

    def replace_proofs(self, history: str, proofs: Iterable[Proof]) -> None:
        """Keep these proofs of a history, and no others."""
        with self._database.change() as change:
            drop(change, "proofs", history=history)
            self.add_proofs(history, proofs)

    def proofs(self, history: str) -> list[Proof]:
        """Return the proofs of a history, in the order they were added."""
        return self._all(Proof, "proofs", history=history)

    def set_fence(self, cache: str, fence: Fence) -> None:
        """Save the fence of a cache, in place of an earlier one."""
        with self._database.change() as change:
            put(change, "fences", cache, _text(Fence, fence))

    def fence(self, cache: str) -> Fence | None:
        """Return the fence of a cache, if one was declared."""
        return self._get(Fence, "fences", cache=cache)

    def drop_fence(self, cache: str) -> None:
        """Forget the fence of a cache."""
        with self._database.change() as change:
            drop(change, "fences", cache=cache)

    def note_format(self, history: str, key_id: str, form: str, fact: str) -> None:
        """Keep a fact about values of a format under a key: the first one stays."""
        with self._database.change() as change:
            values = (history, key_id, form, fact)
            change("INSERT OR IGNORE INTO formats VALUES (?, ?, ?, ?)", values)

    def format_fact(self, history: str, key_id: str, form: str) -> str | None:
        """Return the first fact about values of a format under a key, in this history or in any."""
        anywhere = self._database.found("formats", history="*", key_id=key_id, format="*")
        here = self._database.found("formats", history=history, key_id=key_id, format=form)
        return next(iter([*here, *anywhere]), None)

    def add_encryptions(self, key_id: str, number: int) -> None:
        """Count so many more encryptions under a key."""
        with self._database.change() as change:
            change(
                "INSERT INTO encryptions VALUES (?, ?) ON CONFLICT (key_id)"
                " DO UPDATE SET number = number + excluded.number",
                (key_id, number),
            )

    @understood
    def encryptions(self, key_id: str) -> int:
        """Return how many encryptions under a key were counted, by all runs with this state."""
        return sum(self._database.found("encryptions", key_id=key_id))

    def note_seen(self, cache: str, key_id: str, number: int) -> None:
        """Remember that one sweep of a cache met so many values under a key, if it is the most."""
        with self._database.change() as change:
            change(
                "INSERT INTO seen VALUES (?, ?, ?) ON CONFLICT (cache, key_id)"
                " DO UPDATE SET number = max(number, excluded.number)",
                (cache, key_id, number),
            )

    @understood
    def most_seen(self, key_id: str) -> int:
        """Return the most values that a sweep met under a key, summed over the caches."""
        return sum(self._database.found("seen", key_id=key_id))

    def note_verdict(self, key_id: str, verdict: str, at: datetime) -> list[tuple[datetime, str]]:
        """Write down the verdict on a key, as a new line if it is another; return all of them."""
        past = self.verdicts(key_id)
        if not past or past[-1][1] != verdict:
            values = (key_id, at.isoformat(), verdict)
            self._database.append("verdicts", "key_id", *values, keep=VERDICTS)
            past.append((at, verdict))
        return past[-VERDICTS:]

    @understood
    def verdicts(self, key_id: str) -> list[tuple[datetime, str]]:
        """Return when the verdict on a key became what, in the order in which it was judged."""
        rows = self._database.rows(
            "SELECT at, verdict FROM verdicts WHERE key_id = ? ORDER BY number", (key_id,)
        )
        return [(datetime.fromisoformat(at), str(Verdict(verdict))) for at, verdict in rows]

    def save_report(self, cache: str, report: str, at: datetime) -> None:
        """Save the last report on a cache, as JSON text."""
        with self._database.change() as change:
            put(change, "reports", cache, report, at.isoformat())

    @understood
    def last_reports(self) -> dict[str, tuple[datetime, str]]:
        """Return the last report on each cache: its time and its JSON text."""
        rows = self._database.rows("SELECT cache, at, report FROM reports ORDER BY cache")
        return {cache: (datetime.fromisoformat(at), report) for cache, at, report in rows}

    def add_run_record(self, cache: str, record: RunRecord) -> None:
        """Write down what one run did of a sweep of a cache."""
        self._database.append("windows", "cache", cache, _text(RunRecord, record), keep=RUNS)

    def run_records(self, cache: str) -> list[RunRecord]:
        """Return what the last runs did of sweeps of a cache, in their order."""
        return self._all(RunRecord, "windows", cache=cache)

    def set_run_result(self, caches: str, exit_code: int) -> None:
        """Write down how a run over *caches*, as they were asked for, ended."""
        with self._database.change() as change:
            put(change, "endings", caches, exit_code)

    def run_result(self, caches: str) -> int | None:
        """Return the exit code of the last run over *caches*, if there was one."""
        return next(iter(self._database.found("endings", caches=caches)), None)

    # Rows

    def _get(self, kind: type[T], table: str, **key: str) -> T | None:
        """Return the record of *kind* in the row of a key; None: there is no such row."""
        return next(iter(self._all(kind, table, "", **key)), None)

    def _all(self, kind: type[T], table: str, order: str = "number", **key: str) -> list[T]:
        """Return the records of *kind*, a table's last column, in the rows of a key."""
        return [self._record(kind, text) for text in self._database.found(table, order, **key)]

    @understood
    def _record(self, kind: type[T], text: str) -> T:
        """Return the record of *kind* that is stored as *text*."""
        record: T = _adapter(kind).validate_python(json.loads(text))
        return record


def _moment(text: str | None) -> datetime | None:
    """Return a time that was written down."""
    return None if text is None else datetime.fromisoformat(text)


def _text(kind: Any, value: object) -> str:
    """Return a record as JSON, in ASCII: a server's message may hold bytes that are no text."""
    return json.dumps(_adapter(kind).dump_python(value, mode="json"))
