"""`rotator status` and `tune`, beside a run that goes on, and without one."""

import json
import re
import signal
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from unittest.mock import patch

import pytest

from rotator.cli.status import _watch
from rotator.report.live.status import Overview
from rotator.state.live import LiveRuns, NodeStatus, Order, Owner, RunStatus
from rotator.state.state import State
from rotator.text import utc_now
from support.caches import fill, wait_for
from support.processes import Running, job, run_here
from support.terminals import TerminalText

VALUES = 2000


@pytest.fixture
def filled(place, redis):
    """A cache with values under old keys."""
    fill(redis, place.cache, VALUES)
    return place


def status(place, *more):
    """What `rotator status` prints, as JSON."""
    return json.loads(
        run_here(["status", "--state", place.state, "--format", "json", *more]).stdout
    )


def tune(place, *more):
    """What `rotator tune` does."""
    return run_here(["tune", "--state", place.state, *more])


class TestRun:
    """A run that goes on, in one process and in several."""

    def test_from_beginning_to_end(self, filled, tmp_path):
        """A first run is a run; every lane hears what is changed, and the report lists it."""
        slow = ["--max-rate", 100, "--workers", 2, "--no-verify", "--format", "json"]
        metrics = tmp_path / "rotator.prom"
        more = ["--metrics-file", metrics, "--progress-format", "json"]
        with Running(*job(filled, *slow, *more)) as running:
            running.wait_until(lambda: filled.state.exists() and status(filled)["runs"])
            running.wait_until(lambda: status(filled)["runs"][0]["visits"])
            seen = status(filled)
            (run,) = seen["runs"]
            assert (seen["exit_code"], seen["last"]) == (4, [])
            assert (run["phase"], run["expected"], run["dead"]) == ("rotating", VALUES, False)
            assert run["limits"] == {"max-rate": 100, "max-latency": 2, "max-lag": None}
            assert [node["state"] for node in run["nodes"]] == ["under way"]
            assert "rotator_run_in_progress 1.0" in metrics.read_text()
            assert "rotator_last_run_success" not in metrics.read_text()
            plain = run_here(["status", "--state", filled.state])
            assert plain.returncode == 4
            assert "rotating shared-redis" in plain.stdout
            assert tune(filled, "--pause").returncode == 0
            running.wait_for_line("paused")
            assert "paused" in run_here(["status", "--state", filled.state]).stdout
            running.signal(signal.SIGUSR1)
            assert tune(filled, "--resume", "--max-rate", 0).returncode == 0
            done = running.end()
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        told = [(one["what"], one["before"], one["after"]) for one in report["changes"]]
        assert told[0] == ("pause", "going on", "paused")
        assert told[1:] == [("max-rate", "100", "no limit"), ("pause", "paused", "going on")]
        here = Owner.here()
        assert {(one["user"], one["host"]) for one in report["changes"]} == {(here.user, here.host)}
        assert done.stderr.count("changed by tune") == 3
        found = [json.loads(one) for one in done.stderr.splitlines() if one.startswith("{")]
        lines = [line for line in found if line["event"] == "progress"]
        assert "paused" in {line["reason"] for line in lines}
        assert {line["expected"] for line in lines} == {VALUES}
        assert "rotator_run_in_progress 0.0" in metrics.read_text()
        assert "rotator_last_run_success 1.0" in metrics.read_text()
        after = status(filled)
        assert (after["runs"], after["last"][0]["cache"]) == ([], "shared-redis")

    @pytest.mark.parametrize("form", ["table", "json"])
    def test_a_purge_that_is_tuned(self, filled, form):
        """What deletes values is shown and changed like a run, and tells what was changed."""
        chosen = ["--key", filled.cache.ids[1], "--yes", "--max-rate", 100, "--format", form]
        files = ["--config", filled.file, "--state", filled.state]
        with Running("purge", *files, *chosen) as running:
            running.wait_until(lambda: filled.state.exists() and status(filled)["runs"])
            running.wait_until(lambda: status(filled)["runs"][0]["visits"])
            assert tune(filled, "--max-rate", 0).returncode == 0
            done = running.end()
        assert done.returncode == 0, done.stderr
        if form == "json":
            [change] = json.loads(done.stdout)["changes"]
            assert (change["what"], change["before"], change["after"]) == (
                ("max-rate", "100", "no limit")
            )
        else:
            assert "changed while it ran" in done.stdout
            assert "max-rate" in done.stdout

    @pytest.mark.parametrize("workers", [1, 2])
    def test_a_state_that_somebody_locks(self, filled, workers):
        """A sweep goes on while another process keeps the state locked, and ends as it should."""
        with Running(*job(filled, "--max-rate", 100, "--workers", workers)) as running:
            running.wait_until(lambda: filled.state.exists() and status(filled)["runs"])
            running.wait_until(lambda: status(filled)["runs"][0]["visits"])
            with closing(sqlite3.connect(filled.state, isolation_level=None)) as other:
                other.execute("BEGIN EXCLUSIVE")
                running.wait_for_line("position not saved")
            assert tune(filled, "--max-rate", 0).returncode == 0
            done = running.end()
        assert done.returncode == 0, done.stderr
        assert "no longer waiting" in done.stderr
        assert status(filled)["runs"] == []

    def test_stop_and_kill(self, filled):
        """A stop ends with 4 and keeps the position; a run that was killed does not run."""
        with Running(*job(filled, "--max-rate", 100, "--no-verify")) as running:
            running.wait_until(lambda: filled.state.exists() and status(filled)["runs"])
            running.wait_until(lambda: status(filled)["runs"][0]["visits"] > 100)
            assert tune(filled, "--cache", "shared-redis", "--stop").returncode == 0
            done = running.end()
        assert done.returncode == 4, done.stderr
        assert "stopped by tune --stop, position saved" in done.stdout
        assert "changed while it ran" in done.stdout
        assert status(filled)["exit_code"] == 0
        with Running(*job(filled, "--max-rate", 100, "--no-verify")) as running:
            running.wait_for_line("goes on at")
            running.wait_until(lambda: status(filled)["runs"][0]["visits_before"] > 100)
            running.signal(signal.SIGKILL)
            running.end()
        seen = status(filled)
        assert (seen["exit_code"], seen["runs"][0]["dead"]) == (3, True)
        assert (
            "killed, or no longer reporting" in run_here(["status", "--state", filled.state]).stdout
        )
        assert tune(filled, "--pause").returncode == 1
        assert run_here(job(filled)).returncode == 0
        assert status(filled)["runs"] == []
        assert status(filled)["exit_code"] == 0


class TestWithout:
    """No run, several runs, and what cannot be meant."""

    @pytest.fixture
    def state(self, tmp_path):
        """A state file, and two runs in it."""
        with State(tmp_path / "state.db") as state, LiveRuns(state.path) as runs:
            for number, cache in enumerate(("one", "two")):
                run = RunStatus(f"{number}abc", Owner.here(), "run", (cache,), utc_now(), utc_now())
                runs.put(run)
        return state.path

    @pytest.mark.parametrize(
        ("arguments", "code", "said"),
        [
            ([], 2, "there is nothing to change"),
            (["--pause", "--resume"], 2, "are opposites"),
            (["--pause"], 2, "several runs are in progress: 0abc (one), 1abc (two)"),
            (["--pause", "--cache", "three"], 1, "no such run is in progress with this state file"),
            (["--pause", "--run", "2"], 1, "no such run is in progress with this state file"),
        ],
    )
    def test_tune_refuses(self, state, arguments, code, said):
        """What is not said, or not clear, changes nothing, and an error says what to do."""
        done = run_here(["tune", "--state", state, *arguments])
        assert done.returncode == code
        assert said in done.stderr
        assert "rotator: hint: " in done.stderr
        with LiveRuns(state) as runs:
            assert runs.orders("0abc", 0) == runs.orders("1abc", 0) == []

    @pytest.mark.parametrize(
        ("arguments", "order"),
        [
            (["--max-rate", 500], {"rate": 500.0}),
            (["--max-latency", 0.5], {"latency": 0.5}),
            (["--max-lag", 1_048_577], {"lag": 1_048_577}),
            (["--max-lag", 0, "--resume"], {"lag": 0, "pause": False}),
            (["--pause"], {"pause": True}),
            (["--stop"], {"stop": True}),
        ],
    )
    def test_what_a_run_hears(self, state, arguments, order, monkeypatch):
        """Each option is an order of its own, which the run gets as it was given, and is told."""
        monkeypatch.setattr("rotator.cli.status._POLL_SECONDS", 0.01)
        with LiveRuns(state) as runs, ThreadPoolExecutor() as pool:
            done = pool.submit(run_here, ["tune", "--state", state, "--cache", "one", *arguments])
            wait_for(lambda: runs.orders("0abc", 0))
            ((number, given),) = runs.orders("0abc", 0)
            runs.put(replace(runs.all()[0], heard=number))
        usual = Order(given.at, Owner.here().user, Owner.here().host)
        assert given == replace(usual, **order)
        said = ", ".join(re.findall(r"--\S+(?: [\d.]+)?", " ".join(map(str, arguments))))
        assert (done.result().returncode, done.result().stdout) == (0, f"run 0abc (one): {said}\n")

    @pytest.mark.parametrize(
        ("switch", "hears", "code"),
        [("--pause", False, 1), ("--pause", True, 0), ("--stop", False, 0)],
    )
    def test_tune_of_a_run_that_ends(self, state, switch, hears, code):
        """A run that ends at once has heard what was to be changed, or not, and that is told."""
        with LiveRuns(state) as runs, ThreadPoolExecutor() as pool:
            done = pool.submit(run_here, ["tune", "--state", state, "--cache", "one", switch])
            wait_for(lambda: runs.orders("0abc", 0))
            ((number, _),) = runs.orders("0abc", 0)
            runs.end("0abc", number if hears else 0)
            assert done.result().returncode == code
            assert runs.orders("0abc", 0) == []
        assert ("the run 0abc ended before it" in done.result().stderr) == bool(code)

    @pytest.mark.parametrize("command", ["status", "tune"])
    def test_no_state(self, tmp_path, command):
        """Looking makes no state file."""
        path = tmp_path / "none.db"
        done = run_here([command, "--state", path, *(["--pause"] if command == "tune" else [])])
        assert done.returncode == 1
        assert "there is no state file" in done.stderr
        assert not path.exists()

    @pytest.mark.parametrize("command", ["status", "tune", "report", "run"])
    def test_state_that_cannot_be_looked_for(self, place, tmp_path, command):
        """A path that the system refuses is an error that says so, and no fault of rotator."""
        given = {"tune": ["--pause"], "run": ["--config", place.file]}.get(command, [])
        done = run_here([command, "--state", tmp_path / ("n" * 300), *given])
        assert done.returncode == 1
        assert "cannot be opened (File name too long)" in done.stderr
        assert "internal error" not in done.stderr

    def test_nothing_known(self, tmp_path):
        """That there was no run yet is not well: somebody has to look."""
        with State(tmp_path / "state.db") as state:
            done = run_here(["status", "--state", state.path, "--watch"])
        assert done.returncode == 3
        assert done.stdout == "nothing runs\n\nno run has ended yet\n"

    def test_of_an_unknown_cache(self, state):
        """A misspelt name is told from a cache that does nothing."""
        done = run_here(["status", "--state", state, "--cache", "tow"])
        assert done.returncode == 2
        assert "--cache tow: the state file has no run on this cache" in done.stderr
        assert "it has runs on one, two" in done.stderr

    def test_of_one_cache(self, state):
        """With --cache only runs on this cache are shown."""
        done = run_here(["status", "--state", state, "--cache", "two", "--format", "json"])
        assert [run["run"] for run in json.loads(done.stdout)["runs"]] == ["1abc"]


SEQUENCE = re.compile(r"\x1b\[[\d?]*[a-zA-Z]")


class Watched:
    """Looks at one run that ends after so many seconds of a clock that only waiting moves."""

    def __init__(self, seconds, at_look=lambda _: None):
        self.now, self._seconds, self._at_look = 0.0, seconds, at_look

    def monotonic(self):
        """The time."""
        return self.now

    def sleep(self, seconds):
        """Wait."""
        self.now += seconds

    def look(self):
        """What runs now."""
        self._at_look(self.now)
        nodes = tuple(NodeStatus(f"node-{n}:6379", "under way", int(self.now)) for n in range(3))
        of = {"cache": "box", "phase": "rotating", "visits": int(self.now), "nodes": nodes}
        run = RunStatus("abc", Owner.here(), "run", ("box",), utc_now(), utc_now(), **of)
        return Overview([run] if self.now < self._seconds else [], None, utc_now())

    def watch(self, **more):
        """What `rotator status --watch` does until it ends."""
        with patch("rotator.cli.status.time", self):
            return _watch(self.look, **more)


class TestWatch:
    """`--watch`, while a run goes on and until it has ended."""

    @pytest.mark.parametrize("as_json", [False, True])
    def test_without_a_terminal(self, capsys, as_json):
        """Into a pipe it is printed each minute, and the end is seen within a second."""
        watched = Watched(130.5)
        seen = watched.watch(as_json=as_json)
        assert (watched.now, seen.runs) == (131.0, [])
        text = capsys.readouterr().out
        found = r'"visits": (\d+),\n +"visits_before"' if as_json else r"visited +(\d+) visits"
        assert re.findall(found, text) == ["0", "60", "120"]
        assert "\x1b" not in text

    @pytest.mark.parametrize(("term", "as_json"), [("dumb", False), ("xterm", True)])
    def test_a_terminal_that_is_not_drawn_on(self, monkeypatch, term, as_json):
        """With TERM=dumb, and as JSON, it is printed each minute, too, without any sequence."""
        monkeypatch.setenv("TERM", term)
        with closing(TerminalText(100)) as shown, patch.object(sys, "stdout", shown):
            Watched(61.5).watch(as_json=as_json)
            text = shown.getvalue()
        assert text.count("rotating") == 2
        assert "\x1b" not in text

    def test_on_a_terminal(self, monkeypatch):
        """There it is drawn anew each second, as wide as the terminal is then, and taken away."""
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.delenv("COLUMNS", raising=False)
        sizes = [100, 100, 50, 120]
        with closing(TerminalText(100)) as shown, patch.object(sys, "stdout", shown):
            watched = Watched(3.5, lambda now: shown.resize(sizes[min(int(now), 3)]))
            watched.watch(as_json=False)
            before, *drawn, last = shown.getvalue().split("run abc: rotating box")
        assert (watched.now, SEQUENCE.sub("", before)) == (4.0, "")
        assert [re.search(r"visited +(\d+)", one)[1] for one in drawn] == ["0", "1", "2", "3"]
        for columns, one in zip(sizes, drawn, strict=True):
            rows = SEQUENCE.sub("", one).rstrip("\r").splitlines()
            assert max(map(len, rows)) in range(columns - 30, min(columns, 100) + 1)
        # Each time all rows are taken away; of one that wraps now, and at the end, all there is.
        for one in (*drawn, last):
            assert one.count("\x1b[2K") >= SEQUENCE.sub("", one).count("\n")
        assert ["\x1b[2J\x1b[H" in one for one in drawn] == [False, True, False, False]

    @pytest.mark.usefixtures("capsys")
    def test_an_interrupt(self):
        """Ctrl-C ends the watching, and what was seen last is the result."""

        def interrupt(now):
            if now > 3:
                raise KeyboardInterrupt

        assert len(Watched(100, interrupt).watch(as_json=False).runs) == 1
