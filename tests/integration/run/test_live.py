"""What shows a run to others, and hears them: beside the work, and never in its way."""

import json
import os
import signal
import sqlite3
from contextlib import closing
from unittest.mock import patch

import pytest
from structlog.testing import capture_logs

from rotator.progress import Progress, ProgressFormat
from rotator.run.live import LiveRun, _Phase, _shown
from rotator.state.live import LiveRuns, Order
from rotator.state.state import State
from rotator.sweep.control import Orders, Stop, StopSignal
from rotator.sweep.scope import Limits
from rotator.text import utc_now
from support.caches import wait_for


@pytest.fixture
def path(tmp_path):
    """The path of a state file."""
    with State(tmp_path / "state.db") as state:
        return state.path


def live(path, **more):
    """A run of nothing, that is shown."""
    given = {"command": "run", "caches": ["box"], "stopper": StopSignal(), "limits": Limits()}
    return LiveRun(state=path, **(given | more))


def order(**what):
    """An order of somebody."""
    return Order(utc_now(), "me", "there", **what)


def test_shown_while_it_goes_on(path):
    """A run is shown from its beginning to its end, with what an earlier one did told apart."""
    with live(path) as run, LiveRuns(path) as runs:
        (before,) = runs.all()
        assert (before.phase, before.cache) == ("preparing", "box"[:0])
        bar = run.watching(lambda *_: Progress())("box", "rotating", 100)
        bar.begin_nodes({"a:1": 60, "b:1": 40})
        bar.resume(20, 19, 1, node="b:1")
        bar.advance(visits=30, rotated=30, node="a:1")
        bar.end_node("a:1")
        bar.wait("rate")
        wait_for(lambda: runs.all()[0].reason == "rate")
        (now,) = runs.all()
        assert (now.visits, now.visits_before, now.rotated, now.left) == (50, 20, 49, 1)
        states = [(node.node, node.state, node.visits) for node in now.nodes]
        assert states == [("a:1", "done", 30), ("b:1", "under way", 20)]
        assert now.rate > 0
        assert now.seconds_left > 0
    with LiveRuns(path) as runs:
        assert runs.all() == []


def test_the_rate_is_that_of_work():
    """What passed before the first visit, and in a pause, does not make a run look slow."""
    with patch("rotator.run.live.time") as clock:
        phase = _Phase(Progress(), "box", "rotating", 1000)
        for now, visits, paused in [(0, 0, False), (50, 0, False), (51, 100, False)]:
            clock.monotonic.return_value = now
            phase.advance(visits=visits)
            phase.measure(paused=paused)
        assert (phase.figures()["rate"], phase.figures()["seconds_left"]) == (100.0, 9.0)
        for now, visits, paused in [(60, 0, True), (61, 0, False), (62, 100, False)]:
            clock.monotonic.return_value = now
            phase.advance(visits=visits)
            phase.measure(paused=paused)
        assert (phase.figures()["rate"], phase.figures()["seconds_left"]) == (50.0, 16.0)


@pytest.mark.parametrize(
    ("limit", "said"), [(None, "no limit"), (0, "no limit"), (0.5, "0.5"), (1e15, "1" + 15 * "0")]
)
def test_a_limit_is_told_in_full(limit, said):
    """However large a limit is, the report has all of its digits."""
    assert _shown(limit) == said


def test_orders_are_carried_out(path):
    """Orders come to the sweep, and who changed what is kept; what changes nothing is no change."""
    stopper = StopSignal()
    with capture_logs() as lines, live(path, stopper=stopper) as _, LiveRuns(path) as runs:
        (run,) = runs.all()
        runs.give(run.run, order(rate=500, latency=0))
        runs.give(run.run, order(rate=500))
        number = runs.give(run.run, order(pause=True, stop=True))
        wait_for(lambda: runs.all()[0].heard == number)
    assert stopper.orders == Orders(rate=500, latency=0, paused=True)
    assert stopper.reason() is Stop.ORDERED
    changes = [(one.what, one.before, one.after) for one in stopper.changes]
    assert changes == [
        ("max-rate", "no limit", "500"),
        ("max-latency", "2", "no limit"),
        ("pause", "going on", "paused"),
        ("stop", "going on", "stopping after this page"),
    ]
    assert {(one.user, one.host) for one in stopper.changes} == {("me", "there")}
    assert [line["what"] for line in lines if line["event"] == "changed by tune"] == [
        what for what, *_ in changes
    ]


def test_a_locked_state_fails_no_run(path):
    """While somebody locks the state nothing is written or heard, and afterwards it is."""
    with live(path) as run, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        bar = run.watching(lambda *_: Progress())("box", "looking", 0)
        bar.advance(visits=1)
        run._asked.put(None)
        run._asked.put(None)
        wait_for(run._asked.empty)
        other.execute("ROLLBACK")
        with LiveRuns(path) as runs:
            wait_for(lambda: runs.all()[0].visits == 1)


def test_a_line_when_it_is_asked_for(path):
    """SIGUSR1 has it log how far it is, and go on, whatever else is shown."""
    before = signal.getsignal(signal.SIGUSR1)
    with capture_logs() as lines, live(path, lines=ProgressFormat.BAR) as run:
        run.watching(lambda *_: Progress())("box", "rotating", 100).advance(visits=42)
        os.kill(os.getpid(), signal.SIGUSR1)
        wait_for(lambda: any(line["event"] == "progress" for line in lines))
    (line,) = (line for line in lines if line["event"] == "progress")
    assert (line["cache"], line["phase"], line["visits"]) == ("box", "rotating", 42)
    assert signal.getsignal(signal.SIGUSR1) is before


@pytest.mark.parametrize("form", [ProgressFormat.LOG, ProgressFormat.JSON])
def test_a_line_a_minute(path, form, capsys):
    """Without a bar there is a line when it is time, in the log or as JSON on stderr."""
    with capture_logs() as lines, live(path, lines=form) as run:
        run.watching(lambda *_: Progress())("box", "rotating", 100).advance(visits=42)
        run._saying._next = 0.0
        said = []
        wait_for(lambda: said.append(capsys.readouterr().err) or "".join(said) or len(lines))
    told = [json.loads(one) for one in "".join(said).splitlines()] or lines
    assert [(line["event"], line["visits"]) for line in told] == [("progress", 42)]


def test_metrics_of_the_last_run_stay(path, tmp_path):
    """While a run goes on the file has what the last one left, and says that one goes on."""
    file = tmp_path / "rotator.prom"
    old = "# TYPE rotator_last_run_success gauge\nrotator_last_run_success 1.0\n"
    file.write_text(f"{old}rotator_run_in_progress 0.0\nother 1.0\n")
    with live(path, metrics=file):
        wait_for(lambda: "rotator_run_in_progress 1.0" in file.read_text())
        text = file.read_text()
    assert text.startswith(old)
    assert "rotator_run_heartbeat_timestamp_seconds" in text
    assert text.count("rotator_run_in_progress ") == 3  # HELP, TYPE and the number
    assert "other" not in text
    after = file.read_text()
    assert after.startswith(old)
    assert after.endswith("rotator_run_in_progress 0.0\n")
    assert "heartbeat" not in after
