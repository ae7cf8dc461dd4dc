"""The benchmark: every row and column is there. How fast anything was is not judged here."""

import json
import math
import os
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest

from rotator.demo.local_server import find_binary

pytestmark = pytest.mark.timeout(300)  # a dozen processes, perhaps on a busy machine

SCRIPTS = Path(__file__).parents[2] / "scripts"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
COSTS = {"values_per_second", "server_us", "server_busy"}
FELT = {"p50_ms", "p99_ms"}
WHOLE = {*COSTS, "client_us", "process_us", "rss_mb"}
ROTATOR = {"rotator", "current", "default", "gentle"}
PLAIN = {"loop", "pipelines", "reading"}


def bench(*arguments):
    """What the script does with these arguments."""
    return subprocess.run(
        [sys.executable, "-m", "bench", *map(str, arguments)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )


def is_row(line):
    """Whether a line of the output belongs to a table."""
    return line.startswith("|")


@pytest.fixture(scope="module")
def document():
    """A small measurement of one server and a cluster, as JSON."""
    done = bench(
        *("--sizes", 100, "--values", 400, "--repeat", 1),
        *("--server", find_binary(), "--cluster", "--json"),
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_rows(document):
    """A server has every row; a cluster those that know of slots."""
    server, cluster = document["results"][0], document["results"][-1]
    assert server["rows"].keys() == {"idle", "limit", *PLAIN, *ROTATOR}
    assert cluster["rows"].keys() == {"idle", "limit", *ROTATOR}
    assert (server["cluster"], cluster["cluster"]) == (False, True)


def test_columns(document):
    """Every row has its columns, and every figure is a number; a short one may have met no GET."""
    for result in document["results"]:
        for name, row in result["rows"].items():
            expected = {"idle": FELT, "limit": COSTS, "loop": {*WHOLE, *FELT}}.get(name, WHOLE)
            assert row.keys() >= expected, name
            assert all(math.isfinite(figure) and figure >= 0 for figure in row.values()), name


def test_what_it_was_measured_on(document):
    """Date, versions and machine go with the figures."""
    assert document.keys() == {"date", "versions", "machine", "method", "results", "memory"}
    assert document["versions"].keys() == {"rotator", "Python", "redis-py"}
    assert document["machine"]["cpu"]


def test_goals(document):
    """Each goal is judged where both sides of it were measured."""
    server, cluster = document["results"][0], document["results"][-1]
    felt = server["rows"]["default"].keys() >= FELT
    assert len(server["goals"]) == (7 if felt else 6)
    assert 0 < len(cluster["goals"]) < 7


def test_table():
    """Without --json it prints Markdown; what was left out has no row."""
    done = bench(
        *("--quick", "--sizes", 1000, "--values", 200, "--only", "pipelines", "reading"),
        *("--server", find_binary(), "--no-cluster", "--memory", 100, 200),
    )
    assert done.returncode == 0, done.stderr
    tables = [list(group) for drawn, group in groupby(done.stdout.splitlines(), is_row) if drawn]
    stubs = [[row.split("|")[1].strip() for row in table] for table in tables]
    assert [stub for stub in stubs[0] if not stub.startswith("-")] == [
        "",
        "nothing running",
        "pipelines: GET, SET, no compare-and-set",
        "plain SCAN and MGET",
    ]
    assert stubs[2][-2:] == ["100", "200"]
    assert all(len({len(row) for row in table}) == 1 for table in tables)


def test_bad_arguments():
    """A number of values that cannot be measured is refused."""
    done = bench("--values", 0)
    assert done.returncode == 2
    assert "values and rounds 1 or more" in done.stderr
