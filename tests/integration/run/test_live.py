"""What shows a run to others, and hears them: beside the work, and never in its way."""

import json
import os
import signal
import sqlite3
from contextlib import closing, contextmanager
from unittest.mock import patch

import pytest
from structlog.testing import capture_logs

from rotator.progress import Progress, ProgressFormat
from rotator.run.live import LiveRun, _Phase, _shown, _Turn
from rotator.state.live import LiveRuns, Order
from rotator.state.state import State
from rotator.sweep.control import Orders, Stop, StopSignal
from rotator.sweep.scope import Limits
from rotator.text import utc_now
from support.caches import Cache, Place, wait_for
from support.clusters import FAST, fill
from support.textfile import parsed

VISITS = ("rotator_run_visits", ("cache", "box"), ("phase", "rotating"))


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
        bar.begin_nodes({"a:1": 60, "b:1": 40, "c:1": 7})
        bar.resume(20, 19, 1, node="b:1")
        bar.advance(visits=30, rotated=30, node="a:1")
        bar.end_node("a:1")
        bar.wait("rate")
        wait_for(lambda: runs.all()[0].reason == "rate")
        (now,) = runs.all()
        assert (now.visits, now.visits_before, now.rotated, now.left) == (50, 20, 49, 1)
        states = [(node.node, node.state, node.visits) for node in now.nodes]
        assert states == [("a:1", "done", 30), ("b:1", "under way", 20), ("c:1", "waiting", 0)]
        assert now.rate > 0
        assert now.seconds_left > 0
    with LiveRuns(path) as runs:
        assert runs.all() == []


def test_nodes_of_a_cluster(cluster, tmp_path):
    """Of a real cluster it is told which nodes are done, under way and waiting, and how far."""
    place = Place(tmp_path, Cache(*cluster.addresses))
    fill(cluster, place.cache, 300)
    seen = []
    with State(place.state) as state, live(place.state) as run:
        note = lambda *_: seen.append(run._now())  # noqa: E731 - a name for it
        job = place.job(state, workers=1, on_page=note, verify=False, **FAST)
        job.progress = run.watching(job.progress)
        job.run()
        done = run._now().nodes
    first = [node.state for node in seen[0].nodes]
    assert sorted(first) == ["under way", "waiting", "waiting"]
    assert sorted(node.state for node in seen[-1].nodes) == ["done", "done", "under way"]
    assert {node.node for node in done} == {node.address for node in cluster.primaries}
    assert {node.state for node in done} == {"done"}
    assert [node.visits for node in done] == [node.expected for node in done]
    assert sum(node.visits for node in done) == 300


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


class Turns:
    """The thread of a run, that does what is due when the test says which time it is."""

    def __init__(self, run, clock):
        self._run, self._clock = run, clock

    def at(self, seconds):
        """Do what is due so many seconds after the beginning."""
        self._clock.monotonic.return_value = seconds
        for more in (None, False):
            self._run._asked.put(more)
        self._run._work()


@contextmanager
def turns(path, **more):
    """A run that is shown, and its turns; its clock stands still between them."""
    with patch("rotator.run.live.time") as clock:
        clock.monotonic.return_value = clock.thread_time.return_value = 0.0
        run = live(path, **more)
        with patch.object(LiveRun, "_work"):
            run.__enter__()
        try:
            yield run, Turns(run, clock)
        finally:
            run.__exit__()


@pytest.mark.parametrize("form", [*ProgressFormat, None])
def test_a_line_a_minute(path, form, capsys):
    """Where no bar is wanted there is a line a minute, in the log or as JSON, with all figures."""
    with capture_logs() as lines, turns(path, lines=form) as (run, thread):
        bar = run.watching(lambda *_: Progress())("box", "rotating", 1000)
        bar.resume(100, 90, 1)
        thread.at(0)
        bar.advance(visits=300, rotated=290, left=2)
        for seconds in (30, 50):
            thread.at(seconds)
        bar.advance(visits=300, rotated=290)
        said = []
        for seconds in (59.9, 60, 60.5, 119.9, 120, 121):
            thread.at(seconds)
            found = [json.loads(one) for one in capsys.readouterr().err.splitlines()] or lines
            said += [(seconds, one) for one in found]
            lines.clear()
    if form in {ProgressFormat.BAR, None}:
        assert said == []
        return
    assert [seconds for seconds, _ in said] == [60, 120]
    told = {name: one for name, one in said[0][1].items() if one is not None}
    assert {name: told[name] for name in ("event", "cache", "phase", "visits", "expected")} == {
        "event": "progress",
        "cache": "box",
        "phase": "rotating",
        "visits": 700,
        "expected": 1000,
    }
    assert (told["rotated"], told["rotated_before"], told["left"]) == (670, 90, 3)
    assert told["rate"] == 10.0  # 300 in the last 30 s
    assert told["to_go"] == (30.0 if form is ProgressFormat.JSON else "0:30")
    assert "reason" not in told


def test_a_new_reason_is_a_line(path, capsys):
    """A wait for what was not waited for before is a JSON line at once, and said once."""
    with turns(path, lines=ProgressFormat.JSON) as (run, thread):
        bar = run.watching(lambda *_: Progress())("box", "rotating", 100)
        thread.at(1)
        assert capsys.readouterr().err == ""
        for seconds, reason in ((2, "rate"), (3, None), (4, "rate"), (5, "memory"), (6, "memory")):
            bar.wait(reason)
            thread.at(seconds)
    said = [json.loads(one) for one in capsys.readouterr().err.splitlines()]
    assert [one["reason"] for one in said] == ["rate", "memory"]


def test_a_reason_is_no_line_of_the_log(path):
    """In the log who waits says so: the line a minute is not written for it."""
    with capture_logs() as lines, turns(path, lines=ProgressFormat.LOG) as (run, thread):
        run.watching(lambda *_: Progress())("box", "rotating", 100).wait("rate")
        thread.at(2)
        assert lines == []
        thread.at(60)
    assert [one["reason"] for one in lines] == ["rate"]


def test_metrics_are_renewed(path, tmp_path):
    """The metrics file has other numbers every 15 seconds, and none in between."""
    file = tmp_path / "rotator.prom"
    with turns(path, metrics=file) as (run, thread):
        bar = run.watching(lambda *_: Progress())("box", "rotating", 100)
        found = []
        for seconds in (0, 14.9, 15, 29.9, 30):
            thread.at(seconds)
            found.append(parsed(file.read_text())[VISITS])
            bar.advance(visits=10)
    assert found == [0, 0, 20, 20, 40]
    assert VISITS not in parsed(file.read_text())


@pytest.mark.parametrize(
    ("worked", "lasted", "due_after"),
    [(0.001, 0.001, 1.0), (0.02, 0.02, 2.0), (0.0, 0.3, 3.0), (0.02, 0.3, 3.0), (5.0, 5.0, 10.0)],
)
def test_a_turn_takes_a_hundredth(worked, lasted, due_after):
    """The next turn comes when a hundred times the CPU time of this one has passed, or later."""
    with patch("rotator.run.live.time") as clock:
        clock.monotonic.return_value, clock.thread_time.return_value = 100.0, 7.0
        turn = _Turn(1.0, 10.0)
        assert turn.due
        with turn.taking():
            clock.monotonic.return_value, clock.thread_time.return_value = 100 + lasted, 7 + worked
        clock.monotonic.return_value = 100 + due_after - 0.01
        assert not turn.due
        clock.monotonic.return_value = 100 + due_after + 0.01
        assert turn.due


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
