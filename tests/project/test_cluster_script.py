"""The command that runs a private cluster until it is told to end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rotator.config.load import load
from rotator.demo.local_server import wait_until

SCRIPTS = Path(__file__).parents[2] / "scripts"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SCRIPTS)}


def started(tmp_path, *arguments):
    """The script, with its output and everything it creates in a folder of the test."""
    (tmp_path / "out").write_text("")
    with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err:
        return subprocess.Popen(
            [sys.executable, "-m", "cluster", *arguments],
            stdout=out,
            stderr=err,
            env={**ENVIRONMENT, "TMPDIR": str(tmp_path)},
        )


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
def test_runs_until_a_signal_and_leaves_nothing(tmp_path, number, code):
    """It prints an entry that is a configuration, and ends with all its servers."""
    process = started(tmp_path, "--primaries", "1", "--replicas", "1", "--", "--maxmemory", "64mb")
    printed = tmp_path / "out"
    wait_until(lambda: None if "addresses" in printed.read_text() else "nothing is printed")
    (tmp_path / "maverics.yaml").write_text(printed.read_text())
    cache = load([tmp_path / "maverics.yaml"]).caches[0]
    assert len(cache.addresses) == 2
    process.send_signal(number)
    assert process.wait(20) == code
    assert sorted(path.name for path in tmp_path.iterdir()) == ["err", "maverics.yaml", "out"]


def test_a_signal_while_it_starts(tmp_path):
    """Also when it is told to end before the cluster is there, nothing is left."""
    process = started(tmp_path)
    wait_until(lambda: None if any(tmp_path.glob("rotator-server-*")) else "no server is started")
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert not any(tmp_path.glob("rotator-server-*"))


def test_reports_a_server_that_does_not_start(tmp_path):
    """An error is one line, and nothing is left."""
    process = started(tmp_path, "--", "--maxmemory-policy", "bogus")
    assert process.wait(20) == 1
    assert (tmp_path / "err").read_text().startswith("cluster: error: ")
    assert not any(tmp_path.glob("rotator-server-*"))


def test_refuses_a_cluster_of_nothing(tmp_path):
    """Without a primary there is no cluster."""
    process = started(tmp_path, "--primaries", "0")
    assert process.wait(20) == 2
    assert "at least one primary" in (tmp_path / "err").read_text()
