"""`rotator run` and `rotator report` as users meet them: options, streams, files, the terminal."""

import io
import json
import os
import re
import signal
import sqlite3
import stat
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime

import pytest

from rotator.cli.options import DisplayOptions
from rotator.errors import StateError
from rotator.progress import Progress, ProgressFormat
from rotator.report import files
from rotator.state.state import State
from support import legacy
from support.caches import NO_FILES, Cache, Place, contents, fill, keys_of
from support.commandline import run
from support.processes import Running, clean, job, run_here, waiting, writes_held
from support.terminals import set_width

# Design, section 9: what stands where; fields that came later stand behind these.
TOP = ["schema", "rotator", "mode", "started_at", "finished_at", "exit_code", "caches"]
PARTS = {
    "cache": "name complete stopped visits outcomes verification coverage keys problems",
    "verification": "visits found_under_old_keys complete",
    "coverage": "mode slots_covered topology_changed restarts orphans databases nodes",
    "node": "node run_id version visits complete",
    "key": "id role field found rotated remaining remaining_without_ttl bytes drains_at drain"
    " last_seen_at verdict ready_at held_until reasons next_step",
    "problem": "name node outcome reason detail",
}
LOG_LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \[(info|warning) +\] \w.*")


def report_of(done):
    """The report that a command printed as JSON."""
    return json.loads(done.stdout)


def outcomes(report, cache=0):
    """The outcomes of one of a report's caches that are not zero."""
    return {name: number for name, number in report["caches"][cache]["outcomes"].items() if number}


def verdicts(report):
    """The verdict on each old key of the first cache, by its field."""
    keys = report["caches"][0]["keys"]
    return {key["field"]: key["verdict"] for key in keys if key["role"] == "old"}


@pytest.fixture
def place(server, redis, tmp_path):  # noqa: ARG001 - redis empties the server first
    """A configuration of one cache on the session's empty server, which has no file."""
    return Place(tmp_path, Cache(server.address, settings=NO_FILES))


class TestStreams:
    """stdout carries the result and nothing else; stderr everything else."""

    def test_stdout_is_json_whatever_else_is_said(self, place, redis):
        """With every log line and the bar on stderr, stdout is one JSON document."""
        fill(redis, place.cache, 100)
        more = ["--format", "json", "--log-level", "debug", "--progress", "--page", 10]
        done = run(job(place, *more))
        report = report_of(done)
        assert outcomes(report) == {"rotated": 100}
        assert b"rotating" in done.stderr
        assert b"plan" in done.stderr

    def test_the_json_is_that_of_the_design(self, place, redis):
        """Every field of the design is there, in its order, with what the server holds."""
        fill(redis, place.cache, 60)
        redis.set("foreign", "not a value of ours")
        report = report_of(run_here(job(place, "--format", "json")))
        assert list(report)[: len(TOP)] == TOP
        assert (report["schema"], report["mode"], report["exit_code"]) == (2, "run", 3)
        (cache,) = report["caches"]
        found = {
            "cache": cache,
            "verification": cache["verification"],
            "coverage": cache["coverage"],
            "node": cache["coverage"]["nodes"][0],
            "key": cache["keys"][1],
            "problem": cache["problems"][0],
        }
        for part, fields in PARTS.items():
            expected = fields.split()
            assert list(found[part])[: len(expected)] == expected
        assert cache["visits"] == sum(cache["outcomes"].values()) == 61
        assert cache["problems_total"] == 1
        assert cache["coverage"]["not_looked_at"] == []
        assert [key["id"] for key in cache["keys"]] == place.cache.ids
        assert sum(key["found"] for key in cache["keys"]) == 60

    def test_the_table_fits(self, place, redis):
        """What people see is at most 100 columns wide, and `report` adds how old it is."""
        fill(redis, place.cache, 60)
        redis.set("a:long:name:" * 20, "not a value of ours")
        shown = run_here(job(place)).stdout
        assert max(map(len, shown.splitlines())) <= 100
        assert "60  rotated" in shown
        again = run_here(["report", "--state", place.state])
        assert (again.returncode, again.stderr) == (0, "")
        assert max(map(len, again.stdout.splitlines())) <= 100
        more = set(again.stdout.splitlines()) - set(shown.splitlines())
        assert not set(shown.splitlines()) - set(again.stdout.splitlines())
        assert any("last complete sweep less than a minute ago" in line for line in more)

    def test_report_needs_no_server(self, place, redis):
        """`report` gives the last report as JSON too, and never asks Redis."""
        fill(redis, place.cache, 60)
        report = report_of(run_here(job(place, "--format", "json")))
        asked = redis.info("stats")["total_connections_received"]
        again = report_of(run_here(["report", "--state", place.state, "--format", "json"]))
        (cache,) = report["caches"]
        assert again == {**report, "caches": [{**cache, "history": cache["name"]}]}
        assert redis.info("stats")["total_connections_received"] == asked

    def test_the_log_can_be_json(self, place, redis):
        """With --log-format json every line on stderr is an object with time and level."""
        fill(redis, place.cache, 10)
        done = run(job(place, "--log-format", "json"))
        lines = [json.loads(line) for line in done.stderr.splitlines()]
        assert {"plan", "sweep ended"} <= {line["event"] for line in lines}
        assert all(list(line)[:3] == ["timestamp", "level", "event"] for line in lines)

    def test_the_log_can_be_quiet(self, place, redis):
        """With --log-level error a run that goes well says nothing on stderr."""
        fill(redis, place.cache, 10)
        assert run_here(job(place, "--log-level", "error")).stderr == ""

    def test_the_log_can_be_asked_for_in_short(self, place, redis):
        """-q shows warnings only, -v all there is; both win over a level from the environment."""
        fill(redis, place.cache, 10)
        levels = {}
        for letter in ("-q", "-v"):
            done = run_here(job(place, letter), env={"ROTATOR_LOG_LEVEL": "error"})
            levels[letter] = set(re.findall(r"Z \[(\w+)", done.stderr))
        assert levels["-q"] <= {"warning"}
        assert levels["-v"] >= {"info"}

    def test_without_a_terminal_there_is_no_bar(self, place, redis):
        """Into a file or a pipe no bar is drawn, only log lines."""
        fill(redis, place.cache, 100)
        done = run(job(place, "--page", 1))
        assert b"\r" not in done.stderr
        assert all(LOG_LINE.fullmatch(line) for line in done.stderr.decode().splitlines())

    def test_a_bar_is_drawn_where_it_is_chosen(self, place, redis):
        """With --progress-format bar one is drawn into a pipe, too."""
        fill(redis, place.cache, 10)
        assert b"\rshared-redis: rotating" in run(job(place, "--progress-format", "bar")).stderr

    @pytest.mark.parametrize(
        ("terminal", "progress", "form", "expected"),
        [
            (True, None, None, "bar"),
            (False, None, None, "log"),
            (False, True, None, "bar"),
            (True, False, None, None),
            (True, False, "json", None),
            (True, None, "log", "log"),
            (True, True, "log", "log"),
            (True, None, "json", "json"),
            (False, None, "json", "json"),
            (False, None, "bar", "bar"),
        ],
    )
    def test_the_form_of_progress(self, monkeypatch, terminal, progress, form, expected):
        """It is a bar on a terminal, else log lines; what is chosen wins, --no-progress is none."""
        stream = io.StringIO()
        stream.isatty = lambda: terminal
        monkeypatch.setattr(sys, "stderr", stream)
        display = DisplayOptions(progress=progress, progress_format=form and ProgressFormat(form))
        assert display.progress_lines == expected
        with display.bar()("box", "rotating", 10) as drawn:
            assert (type(drawn) is not Progress) == (expected == "bar")


class TestTerminal:
    """The bar, on a real pseudo-terminal."""

    @pytest.mark.parametrize("form", ["console", "json"])
    def test_the_bar_appears_and_no_line_is_torn(self, place, redis, form):
        """On a terminal a bar is drawn, and log lines that come meanwhile stay whole."""
        fill(redis, place.cache, 500)
        with Terminal(*job(place, "--page", 1, "--log-format", form)) as terminal:
            with writes_held(redis):
                terminal.wait_until(lambda: waiting(redis))
            terminal.wait_until(lambda: "shared-redis: rotating" in terminal.text)
            terminal.process.send_signal(signal.SIGINT)
            assert terminal.process.wait(timeout=60) == 130
        text = terminal.end()
        assert "of 500 visits" in text
        # What stays on the screen of a line is what follows the last carriage return.
        lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
        assert lines.pop() == "", "the bar is gone at the end"
        assert any("stopping after this page" in line for line in lines)
        for line in lines:
            assert json.loads(line) if form == "json" else LOG_LINE.fullmatch(line), line

    def test_no_bar_if_none_is_wanted(self, place, redis):
        """With --no-progress a terminal gets log lines only."""
        fill(redis, place.cache, 100)
        with Terminal(*job(place, "--page", 1, "--no-progress")) as terminal:
            assert terminal.process.wait(timeout=60) == 0
        assert "visits" not in re.sub(r"visits(_now)?=\d+", "", terminal.end())


class Terminal:
    """`rotator *args*` with its stderr on a terminal of 100 columns; `text` is what came there."""

    def __init__(self, *args):
        self._leader, follower = os.openpty()
        set_width(follower, 100)
        os.set_blocking(self._leader, False)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rotator", *map(str, args)],
            env=clean({"NO_COLOR": "1"}),
            stdout=subprocess.DEVNULL,
            stderr=follower,
        )
        os.close(follower)
        self._shown = b""

    @property
    def text(self):
        """What the terminal got so far."""
        try:
            while chunk := os.read(self._leader, 65536):
                self._shown += chunk
        except OSError:  # nothing more for now, or at all
            pass
        return self._shown.decode(errors="replace").replace("\r\n", "\n")

    def wait_until(self, condition):
        """Wait for *condition*, but not longer than the process lives."""
        while not condition():
            assert self.process.poll() is None, self.text

    def end(self):
        """All that the terminal got."""
        text = self.text
        os.close(self._leader)
        return text

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


EACH = (
    "import json, sys; from rotator.cli import app; print(*map(app.run, json.loads(sys.argv[1])))"
)
"""A program that carries out several commands, and prints their exit codes: it starts once."""


def test_the_locale_of_c(server, redis, tmp_path):
    """Without a locale all that is shown is ASCII, the bar too, and names are spelt out."""
    place = Place(tmp_path, Cache(server.address, name="кэш", settings=NO_FILES))
    fill(redis, place.cache, 10)
    kept = ("--state", place.state)
    commands = (
        job(place, "--progress-format", "bar"),
        ["status", *kept],
        ["report", *kept, "--receipt", tmp_path / "receipt.json", "--key", place.cache.ids[1]],
        ["report", "--from", tmp_path],
        ["tune", *kept, "--pause"],
    )
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "TERM": "xterm"}
    done = subprocess.run(
        [sys.executable, "-c", EACH, json.dumps([[*map(str, one)] for one in commands])],
        env=clean(plain),
        capture_output=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == b"0 0 0 1 1"
    for shown in (done.stdout, done.stderr):
        assert shown.isascii()
        assert rb"\u043a\u044d\u0448: " in shown
        assert b"\x1b" not in shown


class TestReportFile:
    """`--report`."""

    def test_it_is_what_stdout_says(self, place, redis, tmp_path):
        """The file holds the report as JSON, readable by all, and nothing is left beside it."""
        fill(redis, place.cache, 10)
        folder = tmp_path / "reports"
        folder.mkdir()
        path = folder / "report.json"
        done = run_here(job(place, "--report", path, "--format", "json"))
        assert path.read_text() == done.stdout
        assert list(folder.iterdir()) == [path]
        assert stat.S_IMODE(path.stat().st_mode) & 0o111 == 0

    def test_a_failure_is_reported_too(self, tmp_path, closed_port):
        """A run that could not be done replaces the report of the one before by its own."""
        place = Place(tmp_path, Cache(f"127.0.0.1:{closed_port}"))
        path = tmp_path / "report.json"
        path.write_text("that of yesterday")
        assert run_here(job(place, "--report", path)).returncode == 1
        report = json.loads(path.read_text())
        assert (report["exit_code"], report["caches"]) == (1, [])
        assert "cannot connect" in report["error"]

    def test_a_configuration_that_is_wrong_is_reported_too(self, tmp_path):
        """So does a run whose configuration is not there."""
        path = tmp_path / "report.json"
        done = run_here(["run", "--config", tmp_path / "none.yaml", "--report", path])
        assert done.returncode == json.loads(path.read_text())["exit_code"] == 2

    def test_on_stdout(self, place, redis, monkeypatch, tmp_path):
        """`--report -` puts the report on stdout, and the table with the rest on stderr."""
        monkeypatch.chdir(tmp_path)
        fill(redis, place.cache, 10)
        done = run_here(job(place, "--report", "-"))
        assert outcomes(report_of(done)) == {"rotated": 10}
        assert "shared-redis: complete" in done.stderr
        once = run_here(job(place, "--report", "-", "--format", "json"))
        assert outcomes(report_of(once)) == {"current": 10}
        assert "shared-redis: complete" not in once.stderr
        assert not (tmp_path / "-").exists()

    def test_a_failure_on_stdout(self, tmp_path, closed_port):
        """A run that could not be done has its report there too."""
        place = Place(tmp_path, Cache(f"127.0.0.1:{closed_port}"))
        done = run_here(job(place, "--report", "-"))
        assert (done.returncode, report_of(done)["exit_code"]) == (1, 1)

    def test_a_report_that_cannot_be_written_does_not_take_away_the_result(
        self, place, redis, tmp_path, monkeypatch
    ):
        """If the file fails at the end, stdout still has the report, and the code says 1."""

        def write(_path, _text):
            raise StateError("no space left on device", hint="make room")

        fill(redis, place.cache, 10)
        monkeypatch.setattr(files, "write_whole", write)
        done = run_here(job(place, "--report", tmp_path / "report.json", "--format", "json"))
        assert done.returncode == 1
        assert outcomes(report_of(done)) == {"rotated": 10}
        assert "no space left" in done.stderr

    def test_a_damaged_report_in_the_state_is_an_error(self, place, redis):
        """What `report` cannot understand in the state it does not show."""
        fill(redis, place.cache, 10)
        run_here(job(place))
        with report_state(place) as state:
            state.execute("UPDATE reports SET report = 'torn'")
        done = run_here(["report", "--state", place.state])
        assert (done.returncode, done.stdout) == (1, "")
        assert "rotator: error: the last report on shared-redis" in done.stderr

    def test_without_a_run_there_is_no_report(self, tmp_path):
        """Without a state it says how to get one, and makes none by asking."""
        done = run_here(["report", "--state", tmp_path / "state"])
        assert (done.returncode, done.stdout) == (1, "")
        assert "rotator run --dry-run" in done.stderr
        assert not (tmp_path / "state").exists()


def report_state(place):
    """The state file as plain SQLite."""
    return sqlite3.connect(place.state)


class TestOptions:
    """What the options of `run` change."""

    @pytest.mark.parametrize("option", ["--dry-run", "-n"])
    def test_a_dry_run_writes_nothing(self, place, redis, option):
        """A dry run counts what it would rotate, and leaves every entry as it is."""
        fill(redis, place.cache, 100)
        before = contents(redis)
        report = report_of(run_here(job(place, option, "--format", "json")))
        assert outcomes(report) == {"would_rotate": 100}
        assert report["mode"] == "dry-run"
        assert contents(redis) == before

    def test_only_key_leaves_the_other_keys_alone(self, place, redis):
        """With --only-key what is under the other old key stays."""
        fill(redis, place.cache, 100)
        before = keys_of(redis, place.cache)
        only = place.cache.ids[1]
        report = report_of(run_here(job(place, "--only-key", only, "--format", "json")))
        assert outcomes(report) == {"rotated": before[1], "would_rotate": before[2]}
        assert keys_of(redis, place.cache) == Counter({0: before[1], 2: before[2]})

    def test_no_verify_sweeps_once(self, place, redis):
        """With --no-verify nothing is looked at again, and no key is better than verifying."""
        fill(redis, place.cache, 100)
        report = report_of(run_here(job(place, "--no-verify", "--format", "json")))
        assert report["caches"][0]["verification"] is None
        assert set(verdicts(report).values()) == {"verifying"}

    def test_quiet_is_how_long_a_key_must_not_be_met(self, place, redis):
        """An old key is verifying for an hour, and retirable at once if no quiet is asked for."""
        fill(redis, place.cache, 100)
        run_here(job(place))
        report = report_of(run_here(job(place, "--format", "json")))
        assert set(verdicts(report).values()) == {"verifying"}
        report = report_of(run_here(job(place, "--quiet", "0s", "--format", "json")))
        assert verdicts(report) == {
            "caches[0].encryption.keys.old[0]": "retirable",
            "caches[0].encryption.keys.old[1]": "retirable",
        }

    def test_accepted_values_no_longer_block(self, place, redis):
        """A key is unknown while a value does not open, unless that is accepted."""
        fill(redis, place.cache, 100)
        redis.set("foreign", "not a value of ours")
        run_here(job(place))
        more = ["--quiet", "0s", "--format", "json"]
        report = report_of(run_here(job(place, *more)))
        assert set(verdicts(report).values()) == {"unknown"}
        report = report_of(run_here(job(place, *more, "--accept", "undecryptable=1")))
        assert set(verdicts(report).values()) == {"retirable"}
        assert report["caches"][0]["accepted"] == {"undecryptable": 1}

    def test_page_is_how_many_names_are_asked_for(self, place, redis):
        """A small page asks the server more often."""
        fill(redis, place.cache, 300)
        run_here(job(place, "--dry-run", "--page", 10))
        scans = redis.info("commandstats")["cmdstat_scan"]["calls"]
        assert 10 <= scans <= 40

    def test_cache_chooses_and_the_others_are_told(self, server, redis, tmp_path):
        """Only the named cache is worked on; without a name every one with encryption on."""
        first = Cache(server.address, name="first", settings={"match": ["first:*"]})
        second = Cache(server.address, name="second", settings={"match": ["second:*"]})
        place = Place(tmp_path, first, second)
        fill(redis, first, 10, prefix="first")
        fill(redis, second, 10, prefix="second")
        report = report_of(run_here(job(place, "--cache", "second", "--format", "json")))
        assert [cache["name"] for cache in report["caches"]] == ["second"]
        report = report_of(run_here(job(place, "--format", "json")))
        assert [cache["name"] for cache in report["caches"]] == ["first", "second"]
        assert outcomes(report, 0) == {"rotated": 10}
        assert outcomes(report, 1) == {"current": 10}
        alone = run_here(["report", "--state", place.state, "--cache", "first", "--format", "json"])
        assert [cache["name"] for cache in report_of(alone)["caches"]] == ["first"]

    def test_a_key_of_a_cache_that_is_not_in_the_run_blocks_too(self, server, redis, tmp_path):
        """A key that another cache lists is not retirable before that one was swept."""
        first = Cache(server.address, name="first", settings={"match": ["first:*"]})
        second = Cache(
            server.address, name="second", keys=first.keys, settings={"match": ["second:*"]}
        )
        place = Place(tmp_path, first, second)
        fill(redis, first, 10, prefix="first")
        run_here(job(place, "--cache", "first"))
        more = ["--cache", "first", "--quiet", "0s", "--format", "json"]
        assert set(verdicts(report_of(run_here(job(place, *more)))).values()) == {"unknown"}

    def test_a_cache_without_encryption_is_left_out_and_said_so(self, server, redis, tmp_path):
        """Where encryption is off there is nothing to rotate, and the log says so."""
        place = Place(tmp_path, Cache(server.address))
        document = json.loads(place.file.read_text())
        redis_section = {"addresses": [server.address]}
        plain = {"name": "plain", "type": "redis", "encryption": {"disabled": True}}
        document["caches"].append({**plain, "redis": redis_section})
        place.file.write_text(json.dumps(document))
        fill(redis, place.cache, 10)
        done = run_here(job(place, "--format", "json"))
        assert [cache["name"] for cache in report_of(done)["caches"]] == ["shared-redis"]
        assert "cache is not encrypted, nothing to rotate" in done.stderr
        assert "cache=plain" in done.stderr

    def test_names_are_shown_only_if_asked_for(self, place, redis):
        """Where hashing is off, names are shown as their SHA-256; with --show-names as stored."""
        document = json.loads(place.file.read_text())
        document["caches"][0]["hashing"] = {"keys": {"disabled": True}}
        place.file.write_text(json.dumps(document))
        place.cache.put(redis, "session:of-somebody")
        redis.set("token:of-somebody", "not a value of ours")
        done = run_here(job(place, "--dry-run", "--format", "json"))
        assert "of-somebody" not in done.stdout + done.stderr
        assert "sha256:" in done.stdout
        done = run_here(job(place, "--dry-run", "--format", "json", "--show-names"))
        assert report_of(done)["caches"][0]["problems"][0]["name"] == "token:of-somebody"

    def test_the_secret_provider_is_asked(self, server, redis, tmp_path):
        """Keys that are references come from the provider of --secret-provider."""
        cache = Cache(server.address)
        fill(redis, cache, 10)
        secrets = {f"KEY_{number}": key for number, key in enumerate(cache.keys)}
        place = Place(tmp_path, Cache(server.address, keys=[f"<{name}>" for name in secrets]))
        more = ["--secret-provider", "env://", "--format", "json"]
        done = run_here(job(place, *more), env=secrets)
        assert outcomes(report_of(done)) == {"rotated": 10}
        assert keys_of(redis, cache) == {0: 10}

    def test_an_interrupted_run_prints_its_report_as_a_table(self, place, redis):
        """Someone who presses Ctrl-C sees how far it got, and that it was interrupted."""
        fill(redis, place.cache, 3000)
        with Running(*job(place, "--page", 1)) as running:
            running.wait_for_line(" plan ")
            running.signal(signal.SIGINT)
            done = running.end()
        assert done.returncode == 130
        assert "interrupted" in done.stdout
        assert "shared-redis" in done.stdout


class TestState:
    """What a run says of the state file that it finds."""

    @pytest.mark.parametrize("name", ["weeks", "killed"])
    def test_an_earlier_version(self, server, redis, tmp_path, name):
        """The first run on a state file of 1.0.0 says that all is proven anew, and no later one."""
        place = Place(tmp_path, Cache(server.address))
        fill(redis, place.cache, 10)
        legacy.load(name, place.state)
        said = "the state file is from an earlier version: all of it is proven again"
        first, second = run_here(job(place)), run_here(job(place))
        assert (first.returncode, second.returncode) == (0, 0)
        assert (first.stderr.count(said), second.stderr.count(said)) == (1, 0)

    def test_a_new_one(self, place, redis):
        """A run that makes its state file says nothing of the kind."""
        fill(redis, place.cache, 10)
        assert "earlier version" not in run_here(job(place)).stderr


class TestFence:
    """Who has said since when no application writes with an old key."""

    def test_by_command_and_by_run(self, place, redis):
        """A fence is the same by `rotator fence` and by a run, and the report knows of it."""
        fill(redis, place.cache, 10)
        fence = ["fence", "--config", place.file, "--state", place.state]
        run_here(job(place))
        assert "no application of shared-redis has written" in self.assumed(place)
        assert run_here([*fence, "--at", "2026-11-24T14:30Z"]).returncode == 0
        assert self.fence(place).at == datetime(2026, 11, 24, 14, 30, tzinfo=UTC)
        run_here(job(place, "--quiet", "0s"))
        assert "no application of shared-redis has written" not in self.assumed(place)
        run_here(job(place, "--writers-switched-at", "2026-11-25T14:30Z"))
        assert self.fence(place).at == datetime(2026, 11, 25, 14, 30, tzinfo=UTC)
        assert self.fence(place).old == tuple(place.cache.ids[1:])

    @staticmethod
    def fence(place):
        """What the state holds."""
        with State(place.state) as state:
            return state.fence("shared-redis")

    @staticmethod
    def assumed(place):
        """What the last report assumes of the first old key, on one line."""
        found = report_of(run_here(["report", "--state", place.state, "--format", "json"]))
        return " ".join(found["caches"][0]["keys"][1]["assumptions"])
