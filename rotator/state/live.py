"""
Live: keeps what runs now, and the orders that are given to it.

One row a run, renewed at most once a second, and none when it has ended. A run that was killed
leaves its row: host, process id and the time at which that process started tell that it is dead. A
file that is locked for a moment is no fault: what could not be written now is written later.
"""

import json
import os
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from functools import cache
from getpass import getuser
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter

from rotator.state.database import OPENING, Database, drop, put

_END_SECONDS = 60.0

SILENCE = timedelta(seconds=60)
"""How long nothing may be heard of a run on another host until it counts as dead."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Owner: identifies a process: its *host*, *user* and *pid*, and when it *started*, as text."""

    host: str
    user: str
    pid: int
    started: str

    @classmethod
    def here(cls) -> Self:
        """Return this process."""
        return cls(socket.gethostname(), user_name(), os.getpid(), start_of(os.getpid()))

    def is_dead(self) -> bool | None:
        """Return whether it has ended; None: it is on another host, so nobody can tell here."""
        if self.host != socket.gethostname():
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # it is somebody else's
            pass
        return start_of(self.pid) != self.started


def user_name() -> str:
    """Return the name of the system user, or its number where it has none."""
    try:
        return getuser()
    except (KeyError, OSError):  # KeyError until Python 3.12
        return str(os.getuid())


def start_of(pid: int) -> str:
    """
    Return when a process started, as the boot and the clock ticks since then; empty: not known.

    Of one that has ended, and that nobody has waited for, nothing is known either. See
    proc_pid_stat(5), fields 3 and 22; the second may hold any character, and ends with the last ).
    """
    with suppress(OSError, IndexError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return "" if fields[0] in {b"Z", b"X"} else f"{boot} {int(fields[19])}"
    return ""


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """Node status: says how far one node is: "waiting", "under way" or "done"."""

    node: str
    state: str
    visits: int = 0
    expected: int | None = None


@dataclass(frozen=True, slots=True)
class RunStatus:
    """
    Run status: says what one run does now.

    *command* is what was asked for, for *caches*. It works at one *cache*, in a *phase* "rotating",
    "verifying", ... *since* then. *visits*, *rotated* and *left* are of the sweep, of which an
    earlier run did *visits_before* and *rotated_before*; *expected* is how many visits there will
    be. *rate* is in visits a second, *seconds_left* None where nobody can tell. It waits for
    *reason*. *limits* are those in force. *heard* is the number of the last order that it heard.
    """

    run: str
    owner: Owner
    command: str
    caches: tuple[str, ...]
    began_at: datetime
    at: datetime
    cache: str = ""
    phase: str = "preparing"
    since: datetime | None = None
    visits: int = 0
    visits_before: int = 0
    expected: int | None = None
    rate: float = 0.0
    seconds_left: float | None = None
    rotated: int = 0
    left: int = 0
    rotated_before: int = 0
    reason: str | None = None
    nodes: tuple[NodeStatus, ...] = ()
    limits: dict[str, float | None] = field(default_factory=dict)
    paused: bool = False
    stopping: str | None = None
    heard: int = 0

    def is_dead(self, now: datetime) -> bool:
        """Return whether it was killed, as far as this host can tell, or is not heard of."""
        dead = self.owner.is_dead()
        return now - self.at > SILENCE if dead is None else dead


@dataclass(frozen=True, slots=True)
class Order:
    """
    Order: says what a *user* on a *host* wants a run to change.

    Of *rate*, *latency* and *lag* None is no change, and 0 no limit; so is None for *pause*.
    """

    at: datetime
    user: str
    host: str
    rate: float | None = None
    latency: float | None = None
    lag: float | None = None
    pause: bool | None = None
    stop: bool = False


# Made when one is needed: that takes some milliseconds.
_adapter = cache(TypeAdapter)


class LiveRuns:
    """
    Live runs: an open state file, for what runs now. A lock is waited for *wait* seconds at most.

    Raises:
        StateError: From every method: the file cannot be used, or stays locked.
    """

    def __init__(self, path: Path, *, wait: float = OPENING) -> None:
        self._database = Database(path, wait=wait)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def put(self, status: RunStatus) -> None:
        """Write what a run does now, in place of what it did before."""
        with self._database.change() as change:
            put(change, "runs", status.run, json.dumps(_plain(status)))

    def begin(self, status: RunStatus, now: datetime) -> None:
        """Write a new run; those on the same caches that are dead are gone with it."""
        with self._database.change() as change:
            for other in self.all():
                if set(other.caches) <= set(status.caches) and other.is_dead(now):
                    self._forget(other.run)
            put(change, "runs", status.run, json.dumps(_plain(status)))

    def end(self, run: str, heard: int) -> None:
        """Forget a run that has ended, or it would look killed, and the orders that it *heard*."""
        with self._database.waiting_at_most(_END_SECONDS), self._database.change() as change:
            drop(change, "runs", run=run)
            change("DELETE FROM orders WHERE run = ? AND number <= ?", (run, heard))

    def all(self) -> list[RunStatus]:
        """Return all runs, also those that are dead, in the order in which they began."""
        rows = self._database.rows("SELECT record FROM runs")
        return sorted((self._read(RunStatus, text) for (text,) in rows), key=lambda r: r.began_at)

    def give(self, run: str, order: Order) -> int:
        """Leave an order for a run; return its number."""
        with self._database.change() as change:
            put(change, "orders", None, run, json.dumps(_plain(order)))
            ((number,),) = self._database.rows("SELECT last_insert_rowid()")
        return int(number)

    def withdraw(self, run: str, number: int) -> bool:
        """Take an order back from a run that has ended; return False if the run had heard it."""
        with self._database.change() as change:
            left = self._database.rows("SELECT 1 FROM orders WHERE number = ?", (number,))
            drop(change, "orders", run=run)
        return bool(left)

    def orders(self, run: str, after: int) -> list[tuple[int, Order]]:
        """Return the orders for a run with a number above *after*, in the order of numbers."""
        rows = self._database.rows(
            "SELECT number, record FROM orders WHERE run = ? AND number > ? ORDER BY number",
            (run, after),
        )
        return [(number, self._read(Order, text)) for number, text in rows]

    def _forget(self, run: str) -> None:
        with self._database.change() as change:
            drop(change, "runs", run=run)
            drop(change, "orders", run=run)

    def _read(self, kind: Any, text: str) -> Any:
        """Return the record of *kind* that is stored as *text*."""
        try:
            return _adapter(kind).validate_python(json.loads(text))
        except ValueError as error:  # of JSON, or of what it should hold
            raise self._database.damaged() from error


def _plain(record: RunStatus | Order) -> dict[str, Any]:
    """Return a record as plain JSON values: without pydantic, as it is done each second."""
    found = asdict(record)
    for name, value in found.items():
        if isinstance(value, datetime):
            found[name] = value.isoformat()
    return found
