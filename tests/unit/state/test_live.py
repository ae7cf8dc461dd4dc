"""What runs now, in the state file: rows, orders, and processes that are no more."""

import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rotator.errors import StateError
from rotator.state.live import SILENCE, LiveRuns, NodeStatus, Order, Owner, RunStatus, start_of
from rotator.state.state import State
from support.caches import wait_for

NOW = datetime(2026, 11, 27, 2, 0, 11, tzinfo=UTC)
GONE = Owner(socket.gethostname(), "root", 1, "another boot 17")
ELSEWHERE = Owner("another-host", "root", 1, "another boot 17")


@pytest.fixture
def path(tmp_path):
    """The path of a state file."""
    with State(tmp_path / "state.db") as state:
        return state.path


@pytest.fixture
def runs(path):
    """What runs, by that file."""
    with LiveRuns(path, wait=0.05) as opened:
        yield opened


def status(run="a", owner=None, caches=("box",), **more):
    """A run of this process."""
    return RunStatus(run, owner or Owner.here(), "run", caches, NOW, NOW, **more)


def test_what_is_written_is_read(runs):
    """A run is read as it was written, and as it was written last."""
    runs.begin(status(), NOW)
    full = status(
        cache="box",
        phase="rotating",
        since=NOW,
        visits=7,
        nodes=(NodeStatus("a:1", "done", 5, 6), NodeStatus("b:1", "waiting")),
        limits={"max-rate": 500.0, "max-lag": None},
        paused=True,
    )
    runs.put(full)
    assert runs.all() == [full]
    runs.end("a", 0)
    assert runs.all() == []


def test_orders(runs):
    """Orders are heard in their turn, each once, and end with the run; no number comes back."""
    runs.begin(status(), NOW)
    first = runs.give("a", Order(NOW, "me", "here", rate=500))
    second = runs.give("a", Order(NOW, "me", "here", pause=True, stop=True))
    assert [order.rate for _, order in runs.orders("a", 0)] == [500, None]
    assert runs.orders("a", first) == [(second, Order(NOW, "me", "here", pause=True, stop=True))]
    assert runs.orders("b", 0) == []
    runs.end("a", first)
    assert [number for number, _ in runs.orders("a", 0)] == [second]
    assert not runs.withdraw("b", first)
    assert runs.withdraw("a", second)
    assert not runs.withdraw("a", second)
    assert runs.give("c", Order(NOW, "me", "here")) > second


class TestDead:
    """Runs that were killed."""

    def test_this_process_lives(self):
        """A run of a process that is there is not dead, however long it says nothing."""
        assert not status().is_dead(NOW + 9 * SILENCE)

    def test_ended_process(self):
        """A process that has ended is dead, and so is one whose number another one has now."""
        with subprocess.Popen([sys.executable, "-c", ""]) as process:
            started = start_of(process.pid)
        here = Owner.here()
        assert replace(here, pid=process.pid, started=started).is_dead()
        assert replace(here, started="another boot 17").is_dead()
        assert here.is_dead() is False

    def test_nobody_waited_for_it(self):
        """A process that has ended is dead also while its parent has not taken note of it."""
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
            owner = replace(Owner.here(), pid=process.pid, started=start_of(process.pid))
            assert owner.is_dead() is False
            process.stdin.close()
            wait_for(owner.is_dead)

    def test_another_host(self):
        """Of a run on another host only its silence tells."""
        assert ELSEWHERE.is_dead() is None
        assert not status(owner=ELSEWHERE).is_dead(NOW + SILENCE)
        assert status(owner=ELSEWHERE).is_dead(NOW + SILENCE + timedelta(seconds=1))

    def test_a_new_run_takes_the_place_of_a_dead_one(self, runs):
        """A new run on the same caches has dead ones forgotten, no others."""
        runs.put(status("dead", GONE))
        runs.put(status("other", GONE, caches=("another",)))
        runs.put(status("alive", caches=("box",)))
        runs.begin(status("new"), NOW)
        assert {run.run for run in runs.all()} == {"other", "alive", "new"}


def test_locked_file(runs, path):
    """A file that is locked is an error at once: nobody waits for it, and it works later."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        begun = time.monotonic()
        with pytest.raises(StateError, match="is locked"):
            runs.put(status())
        assert time.monotonic() - begun < 5
    runs.put(status())
    assert len(runs.all()) == 1


def test_not_understood(runs, path):
    """A row that makes no sense is an error, not a run."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("INSERT INTO runs VALUES ('a', '{\"run\": 1}')")
    with pytest.raises(StateError, match="is damaged"):
        runs.all()
