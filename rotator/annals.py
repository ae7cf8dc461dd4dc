"""What the state writes down of every run: encryptions, verdicts over time, the last reports."""

from __future__ import annotations

import json
from datetime import datetime

from pydantic import TypeAdapter

from rotator.retirement.forecast import Window
from rotator.state.database import Database

VERDICTS = 100
"""How many changes of verdict are remembered for each key."""
WINDOWS = 60
"""How many runs are remembered of each cache."""

_WINDOW = TypeAdapter(Window)


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

    def note_window(self, cache: str, window: Window) -> None:
        """Write down what one run did of a sweep of a cache."""
        record = json.dumps(_WINDOW.dump_python(window, mode="json"))
        with self._database.change() as change:
            change("INSERT INTO windows VALUES (NULL, ?, ?)", (cache, record))
            change(
                "DELETE FROM windows WHERE cache = ? AND number NOT IN"
                " (SELECT number FROM windows WHERE cache = ? ORDER BY number DESC LIMIT ?)",
                (cache, cache, WINDOWS),
            )

    def windows(self, cache: str) -> list[Window]:
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
