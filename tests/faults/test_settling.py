"""A wish to stop while a cluster is given time to settle: it was stopped, and nothing failed."""

import signal

import pytest
import structlog

from cluster.local_cluster import LocalCluster
from rotator.errors import Exit
from rotator.state.live import LiveRuns
from rotator.sweep.control import Stop, StopSignal
from support.caches import Cache, Place, wait_for
from support.clusters import FAST, fill, grown, once
from support.processes import Running, job

SHORT = ["--cluster-node-timeout", "1000"]


@pytest.fixture(scope="module")
def cluster():
    """Three primaries, each the only one that has its slots."""
    with LocalCluster(3, 0, SHORT) as running:
        yield running


@pytest.fixture
def place(cluster, tmp_path):
    """A configuration of the cluster, with values; nodes that were killed are back."""
    for node in cluster.nodes:
        if not node.running:
            node.start()
    cluster.settle()
    place = Place(tmp_path, Cache(*(node.address for node in cluster.primaries)))
    fill(cluster, place.cache, 300)
    return place


class StopWhenWaiting(StopSignal):
    """A SIGTERM that comes as soon as the log says that something is waited for."""

    def __init__(self, lines):
        super().__init__()
        self._lines = lines

    def reason(self):
        """Terminated, once something was waited for."""
        waits = any(line["event"].startswith("waiting for the") for line in self._lines)
        return Stop.TERMINATED if waits else None


def test_during_the_sweep(cluster, place):
    """A node dies in mid-sweep; while it is waited for, the run is stopped, and says so."""
    first, _, last = cluster.primaries
    act = once(grown(first), lambda: cluster.kill(last))
    with structlog.testing.capture_logs() as lines, act as on_page:
        stopper = StopWhenWaiting(lines)
        report = place.run(workers=1, page=40, on_page=on_page, stopper=stopper, **FAST)
    (cache,) = report.caches
    assert report.exit_code == Exit.TERMINATED
    assert (cache.complete, cache.stopped) == (False, "terminated")
    assert {key.verdict for key in cache.keys if key.role == "old"} == {"unknown"}
    assert cache.progress.visited > 0
    (swept_in_part, *_) = (line for line in lines if line["event"] == "node swept in part")
    assert swept_in_part["why"]


def test_before_the_sweep(cluster, place):
    """
    A cluster that is not whole is waited for, and `status` says so.

    A SIGTERM ends that with 143, and no change.
    """
    cluster.kill(cluster.primaries[-1])
    with Running(*job(place)) as running:
        running.wait_for_line("waiting for the cluster to settle")
        with LiveRuns(place.state) as runs:
            wait_for(lambda: [run.reason for run in runs.all()] == ["for the cluster to settle"])
            assert [(run.phase, run.visits) for run in runs.all()] == [("preparing", 0)]
        running.signal(signal.SIGTERM)
        done = running.end()
    assert done.returncode == Exit.TERMINATED
    assert "terminated, position saved" in done.stdout
    assert "stopped before the server was ready" in done.stderr
