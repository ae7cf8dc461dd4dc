"""Sweeping nodes in several processes: what travels, who dies, and what is lost: nothing."""

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from rotator.config.types import Address
from rotator.errors import Exit
from rotator.state.state import State
from rotator.sweep import engine
from rotator.sweep.channel import WorkerChannel
from rotator.sweep.control import Stop
from rotator.sweep.engine import NodeTask, start_processes
from rotator.sweep.scope import Fingerprint, Limits, Scope
from rotator.tally.tally import Mode, Outcome
from support.caches import Cache, Place, StopAfter, counted, wait_for
from support.clusters import FAST, at_page, calls, check, fill, remaining

pytestmark = pytest.mark.faults

NAMES = 3000


@pytest.fixture
def filled(cluster, tmp_path):
    """A place with values on three primaries; the values, as `check` expects them."""
    place = Place(tmp_path, Cache(*cluster.addresses))
    return place, fill(cluster, place.cache, NAMES)


@pytest.fixture
def executors(monkeypatch):
    """Runs get their executor from what is put into the list, the last one again and again."""
    starts = []

    def start(workers, line):
        return starts[-1](workers, line)

    monkeypatch.setattr(engine, "start_processes", start)
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    return starts


def workers():
    """The process ids of the workers that are at work now."""
    return [child.pid for child in multiprocessing.active_children()]


class TestPool:
    """A pool of processes."""

    def test_rotates_all(self, cluster, filled):
        """Every value of every node is rotated, and each node has its numbers."""
        place, expected = filled
        bar = Counter()

        def on_page(phase, _page):
            bar[phase] += 1

        with capture_logs() as lines:
            report = place.run(on_page=on_page, workers=3, **FAST)
        assert counted(report) == {"rotated": NAMES}
        assert report.exit_code == Exit.OK
        check(cluster, place.cache, expected)
        nodes = report.caches[0].coverage.nodes
        assert len(nodes) == 3
        assert sum(node.visits for node in nodes) == NAMES
        swept = [line for line in lines if line["event"] == "node swept"]
        assert {line["node"] for line in swept} == {node.node for node in nodes}
        assert sum(line["rotated"] for line in swept) == NAMES
        assert bar["rotating"] >= 6  # pages of all nodes reach the one bar

    def test_one_worker_is_this_process(self, cluster, filled, executors):
        """With one worker no other process is started."""

        def refuse(_workers, _line):
            raise AssertionError("an executor was started")

        executors.append(refuse)
        place, expected = filled
        assert place.run(workers=1, **FAST).exit_code == Exit.OK
        check(cluster, place.cache, expected)

    def test_no_more_workers_than_nodes(self, filled, executors):
        """The pool is as small as the smaller of nodes and cores."""
        asked = []

        def start(workers, line):
            asked.append(workers)
            return start_processes(workers, line)

        executors.append(start)
        place, _ = filled
        place.run(dry_run=True, workers=16, **FAST)
        place.run(dry_run=True, workers=2, **FAST)
        assert asked == [3, 2]

    def test_log_of_workers_comes_out_in_the_parent(self, cluster, filled):
        """What a worker logs is logged by the parent, with the node's name."""
        place, _ = filled
        victim = cluster.primaries[0]

        def cut():
            with victim.client() as client:
                client.client_kill_filter(_type="normal", skipme=True)

        with at_page(2, cut) as on_page, capture_logs() as lines:
            place.run(on_page=on_page, workers=2, page=50, **FAST)
        lost = [line for line in lines if line["event"] == "connection lost"]
        assert {line["node"] for line in lost} <= {victim.address}


class TestWhatTravels:
    """Between processes."""

    def test_no_secret_in_a_task(self, filled):
        """A pickled task holds no key and no password, in no encoding that could be read."""
        place, _ = filled
        task = NodeTask(
            files=(place.file,),
            fingerprint=Fingerprint.of(place.access()),
            address=Address("127.0.0.1", 1),
            scope=Scope(Mode.RUN),
            saved=None,
            state=place.state,
        )
        pickled = pickle.dumps(task)
        for key in place.cache.keys:
            assert key.encode() not in pickled
            assert bytes.fromhex(key) not in pickled
        assert pickle.loads(pickled) == task  # noqa: S301 - our own

    def test_all_that_is_sent(self, filled, executors):
        """Nothing that goes to a worker or comes back from one holds a key."""
        place, _ = filled
        seen = []
        executors.append(lambda _workers, line: Recording(line, seen))
        place.run(workers=2, **FAST)
        assert len(seen) == 12  # three tasks and three results in each of two sweeps
        for key in place.cache.keys:
            assert not any(bytes.fromhex(key) in one or key.encode() in one for one in seen)

    def test_long_messages_are_cut(self):
        """A log line from a worker fits into the pipe in one piece, whatever is in it."""
        sent = []
        line = WorkerChannel(PipeLike(sent), None)
        line.send_log("info", {"event": "e", "reasons": ["x" * 9000], "n": 3})
        [(method, (level, event))] = sent
        assert (method, level, event["n"]) == ("log", "info", 3)
        assert len(pickle.dumps(sent[0])) < 4096


class PipeLike:
    """Takes what is put."""

    def __init__(self, sent):
        self._sent = sent

    def put(self, message):
        """One more message."""
        self._sent.append(message)


class Recording(Executor):
    """Carries out each task at once, in this thread, and keeps a copy of what would travel."""

    def __init__(self, line, seen):
        engine.init_worker(line)
        self._seen = seen

    def submit(self, fn, /, *args, **kwargs):
        """Do it, as if it had gone to another process."""
        self._seen.append(pickle.dumps((fn, args, kwargs)))
        fn, args, kwargs = pickle.loads(self._seen[-1])  # noqa: S301 - our own
        future = Future()
        future.set_result(fn(*args, **kwargs))
        self._seen.append(pickle.dumps(future.result()))
        return future


class TestOtherExecutors:
    """Anything with the interface of `concurrent.futures.Executor` will do."""

    def test_threads(self, cluster, filled, executors):
        """Threads sweep the nodes as processes do."""
        started = []

        def start(workers, line):
            started.append(workers)
            return ThreadPoolExecutor(workers, initializer=engine.init_worker, initargs=(line,))

        executors.append(start)
        place, expected = filled
        report = place.run(workers=3, **FAST)
        assert started == [3, 3]
        assert counted(report) == {"rotated": NAMES}
        check(cluster, place.cache, expected)


class TestRefusal:
    """Worker processes that find another configuration than the run began with."""

    @pytest.mark.parametrize(
        ("changed", "said"),
        [
            ({"keys": ["ab" * 32]}, "keys or formats of the cache shared-redis are not those"),
            ({"settings": {"match": ["x*"]}}, "configuration of the cache shared-redis is not"),
        ],
        ids=["keys", "settings"],
    )
    def test_changed_meanwhile(self, cluster, filled, executors, changed, said):
        """A key or a setting that changes after the preflight stops every worker; none writes."""
        place, _ = filled
        known = {"keys": place.cache.keys}
        other = Cache(*cluster.addresses, **(known | changed))

        def start(workers, line):
            Place(place.folder, other)
            return start_processes(workers, line)

        executors.append(start)
        report = place.run(workers=3, **FAST)
        assert report.exit_code == Exit.FAILED
        missing = report.caches[0].coverage.not_looked_at
        assert len(missing) == 3
        assert all(f"its worker's {said}" in one for one in missing)
        assert remaining(cluster, place.cache) == NAMES


class TestDeath:
    """Workers and parents that are killed."""

    def test_killed_worker(self, cluster, filled):
        """A worker killed in mid-sweep loses nothing: its node goes on where it was."""
        place, expected = filled

        def kill():
            os.kill(workers()[0], signal.SIGKILL)

        with at_page(6, kill) as on_page, capture_logs() as lines:
            report = place.run(on_page=on_page, workers=3, page=50, **FAST)
        assert any(line["event"] == "a worker process died" for line in lines)
        assert report.exit_code == Exit.OK
        assert report.caches[0].complete
        check(cluster, place.cache, expected)

    def test_killed_again_and_again(self, filled, monkeypatch):
        """Workers that die whatever is tried leave a sweep that is incomplete and says why."""
        monkeypatch.setattr(engine, "_POOLS", 1)
        place, _ = filled

        def kill(_phase, _page):
            for pid in workers():
                os.kill(pid, signal.SIGKILL)

        report = place.run(on_page=kill, workers=3, page=10, **FAST)
        assert report.exit_code == Exit.FAILED
        missing = report.caches[0].coverage.not_looked_at
        assert any("its worker process died again and again" in one for one in missing)
        verdicts = {key.verdict for key in report.caches[0].keys if key.role == "old"}
        assert verdicts == {"unknown"}

    def test_killed_parent(self, filled):
        """Workers whose parent is killed end as well."""
        place, _ = filled
        script = "import sys; from rotator.__main__ import main; main()"
        arguments = ["run", "--config", str(place.file), "--state", str(place.state)]
        parent = subprocess.Popen(
            [sys.executable, "-c", script, *arguments, "--workers", "3", "--page", "1"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(lambda: len(children(parent.pid)) >= 3)
            pids = children(parent.pid)
        finally:
            parent.kill()
            parent.wait()
        wait_for(lambda: not any(alive(pid) for pid in pids))

    def test_interrupted_for_good(self, filled):
        """An error in the parent does not wait for workers that have long to go."""
        place, _ = filled

        def fail(_phase, _page):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            place.run(on_page=fail, workers=3, page=1, **FAST)
        assert workers() == []


def children(pid):
    """The process ids of a process's children."""
    listing = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in listing.split()]


def alive(pid):
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class TestStop:
    """A wish to stop."""

    def test_reaches_all_workers(self, cluster, filled):
        """Every worker stops after its page, and the next run goes on from there."""
        place, expected = filled
        stopper = StopAfter(10**9)
        seen = threading.Event()

        def stop(_phase, _page):
            if not seen.is_set() and all(calls(node, "mget") for node in cluster.primaries):
                stopper._pages = 0
                seen.set()

        # So slowly that no node is done before the last one is begun.
        limits = Limits(rate=60)
        report = place.run(stopper=stopper, on_page=stop, workers=3, page=20, limits=limits, **FAST)
        assert seen.is_set()
        assert report.exit_code == Exit.INTERRUPTED
        assert report.caches[0].stopped == Stop.INTERRUPTED
        visits = report.caches[0].visits
        assert 0 < visits < NAMES
        with State(place.state) as state:
            kept = [
                state.load_position(place.cache.name, "run", node.address)
                for node in cluster.primaries
            ]
        assert all(kept)
        assert sum(sum(one["tally"]["outcomes"].values()) for one in kept) == visits

        report = place.run(workers=3, **FAST)
        assert report.exit_code == Exit.OK
        # The second run counts what the first one did, and does none of it again.
        assert report.caches[0].outcomes[Outcome.ROTATED] == NAMES
        assert report.caches[0].visits == NAMES
        check(cluster, place.cache, expected)
