"""The benchmark: every row, column and goal is there. How fast anything was is not judged here."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import groupby
from pathlib import Path

import pytest

from bench import __main__ as bench_script
from bench.__main__ import plans
from bench.goals import GOALS, judged
from bench.load.rows import BAD, Foreground
from bench.load.rows import judged as judged_load
from bench.rows import WAYS
from bench.system import TimeSlots
from rotator.crypto.keyring import generate
from rotator.demo.local_server import LocalServer
from support.programs import program

pytestmark = pytest.mark.timeout(300)  # a dozen processes, perhaps on a busy machine

SCRIPTS = Path(__file__).parents[2] / "scripts"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
COSTS = {"values_per_second", "whole_per_second", "server_us", "server_busy", "client_us", "rss_mb"}
FELT = {"p50_ms", "p99_ms"}
FEW = ["gcm, 10 kB", "cluster of 3, gcm, 300 B"]


def bench(*arguments):
    """What the script does with these arguments."""
    return subprocess.run(
        [sys.executable, "-m", "bench", *map(str, arguments)],
        env=ENVIRONMENT,
        cwd=SCRIPTS.parent,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def document():
    """A small measurement of one server and a cluster, as JSON."""
    done = bench("--quick", "--json", "--memory", 100, 200, "--only", *FEW)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def figures(number):
    """A table of every plan, in which each figure is a number."""
    columns = dict.fromkeys([*COSTS, *FELT], number)
    return {plan.name: dict.fromkeys(["idle", *plan.ways], columns) for plan in plans(1)}


def test_rows(document):
    """Each table has the rows of its plan."""
    ways = {plan.name: {"idle", *plan.ways} for plan in plans(1)}
    assert [one["name"] for one in document["results"]] == FEW
    for one in document["results"]:
        assert one["rows"].keys() == ways[one["name"]]


def test_columns(document):
    """Every row has its columns, and every figure is a number; a short one may have met no GET."""
    for result in document["results"]:
        for name, row in result["rows"].items():
            assert row.keys() >= (FELT if name == "idle" else COSTS), name
            assert all(math.isfinite(figure) and figure >= 0 for figure in row.values()), name


def test_what_it_was_measured_on(document):
    """Date, versions and machine go with the figures."""
    parts = {"date", "versions", "machine", "method", "goals", "results", "memory"}
    assert document.keys() == parts
    assert document["versions"].keys() == {"rotator", "Python", "redis-py"}
    assert document["machine"]["cpu"]
    assert [one["names"] for one in document["memory"]] == [100, 200]


def test_goals_of_what_was_measured(document):
    """A goal is judged where both sides of it were measured, and when commands start always is."""
    judged_ones = {one["what"] for one in document["goals"]}
    assert "CPU of a run on an empty server" in judged_ones
    assert "nothing to rewrite, 10 kB, against SCAN and MGET" in judged_ones
    assert not any("300 B" in one for one in judged_ones)


def test_every_goal_has_its_figures():
    """The plans measure all that the goals are about, and every way is one that there is."""
    start = dict.fromkeys(("run", "--help", "--version", "keygen", "found", "not found"), 1.0)
    assert len(list(judged(figures(1.0), start))) == len(GOALS)
    assert {way for plan in plans(1) for way in plan.ways} == set(WAYS)


@pytest.mark.parametrize(("number", "met"), [(0.9, True), (1.1, False)])
def test_at_most(number, met):
    """A goal that is a bound from above is missed above it."""
    [goal] = [one for one in GOALS if one.what == "CPU of a run on an empty server"]
    [found] = [one for one in judged({}, {"run": goal.wanted * number}) if one["what"] == goal.what]
    assert (found["reached"], found["judged"]) == (met, "met" if met else "missed")


def test_table():
    """Without --json it prints Markdown, the goals first; what was left out has no row."""
    done = bench("--quick", "--only", "hex, 300 B")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "**Goals**"
    drawn = [list(rows) for is_row, rows in groupby(lines, lambda one: one[:1] == "|") if is_row]
    stubs = [row.split("|")[1].strip() for row in drawn[-1]]
    assert [stub for stub in stubs if not stub.startswith("-")] == [
        "",
        "nothing running",
        "GET, SET",
        "rotator",
    ]
    assert all(len({len(row) for row in table}) == 1 for table in drawn)


def test_a_quarter_of_a_core():
    """A process that is held to a quarter of a core gets less than half of it, and then all."""
    work = "import time\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", work]) as process:
        slots = TimeSlots(process.pid, 1)
        before = time.monotonic()
        while time.monotonic() - before < 1:
            time.sleep(0.05)
        used = time.clock_gettime(~process.pid << 3 | 2)
        slots.leave()
        state = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii")
        process.kill()
    assert used < 0.5 * (time.monotonic() - before)
    assert state.rpartition(")")[2].split()[0] != "T"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("--repeat", 0), "rounds are 1 or more"), (("--only", "none"), "no such table: none")],
)
def test_bad_arguments(arguments, said):
    """What cannot be measured is refused."""
    done = bench(*arguments)
    assert done.returncode == 2
    assert said in done.stderr


MIX = {"GET": 40, "SET": 20, "SETEX": 10, "HGET": 10, "HSET": 10, "EXPIRE": 5, "DEL": 5}


@pytest.fixture
def foreground(tmp_path):
    """A small application in a process of its own, and the server that it has filled."""
    keys = {"current": generate(), "old": generate()}
    with LocalServer(binary=program("field-ttls")) as server:  # whose PEXPIRETIME is older
        small = {"port": server.port, "names": 200, "hashes": 50, "filled": 0.9, "expiring": 0.5}
        spec = small | keys | {"rate": 2000, "connections": 4, "mix": tuple(MIX.items())}
        with Foreground(tmp_path, spec) as application:
            application.begin()
            yield application, server


def test_what_others_wait_for(foreground):
    """Who waits for a server that stands still is counted from when a command was due."""
    application, server = foreground
    begin = time.monotonic()
    server.signal(signal.SIGSTOP)
    time.sleep(0.4)
    server.signal(signal.SIGCONT)
    felt = application.end([(begin, time.monotonic())])
    assert felt["windows"][0]["p50_ms"] > 100
    assert felt["windows"][0]["commands"] > 600
    assert not set(application.check()) - {"checked", "current", "old", "gone"}


def test_planted_losses(foreground):
    """What was deleted, changed, brought back or given another time is noticed, each by itself."""
    application, server = foreground
    time.sleep(0.3)
    application.end([])
    before = application.check()
    with server.client() as client:
        names = sorted(client.keys("load:*"))
        strings = [name for name in names if client.type(name) == b"string"]
        client.delete(names[0])
        client.set(strings[5], b"another value, of no key at all", keepttl=True)
        client.hset(names[-1], "data", b"another value, of no key at all")
        for name in strings[6:9]:
            client.pexpire(name, 10_000)
        [absent, *_] = {b"load:%08d" % number for number in range(150)} - {*names}
        client.set(absent, client.get(strings[9]))
    found = application.check()
    found.subtract(before)
    assert {what: found[what] for what in BAD if found[what]} == {
        "lost": 1,
        "wrong": 2,
        "ttl": 3,
        "back": 1,
    }


def test_losses_while_it_runs(foreground):
    """Reads of what was lost are noticed at once."""
    application, server = foreground
    with server.client() as client:
        client.flushall()
    time.sleep(0.2)
    assert application.end([])["counts"]["read lost"] > 0


@pytest.mark.parametrize(("code", "left"), [(0, 7), (4, 0)])
def test_values_that_are_left(code, left):
    """Values under the old key are bad if the run ended well, not if it was stopped."""
    bad = judged_load(Counter(old=7, lost=2), code)
    assert {what: count for what, count in bad.items() if count} == {
        what: count for what, count in {"left": left, "lost": 2}.items() if count
    }


@pytest.mark.parametrize(
    ("told", "code"),
    [
        ({}, 0),
        ({"moved": 0}, 1),
        ({"errors": 1}, 1),
        ({"bad": {"lost": 3, "unheard": -3}}, 1),
    ],
)
def test_exit_code_of_load(told, code, monkeypatch):
    """It is 1 for a row with a loss or an error reply, or in which rotator has moved nothing."""
    row = {"moved": 5, "errors": 0, "bad": {}}
    document = {"results": [row, {**row, **told}]}
    monkeypatch.setattr(bench_script, "measure", lambda _: document)
    monkeypatch.setattr(sys, "argv", ["bench", "load", "--json"])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert bench_script.main() == code


def test_load():
    """A row of the load table has its figures, and nothing is lost."""
    done = bench("load", "--quick", "--rate", 1000, "--only", "plain", "--json")
    assert done.returncode == 0, done.stderr
    [row] = json.loads(done.stdout)["results"]
    [[before, during]] = row["felt"]
    assert before.keys() == during.keys()
    assert before.keys() >= {"p50_ms", "p99_ms", "max_ms", "per_second"}
    assert row["moved"] > 0
    assert not any(row["bad"].values())
    assert row["bad"].keys() == BAD.keys()
