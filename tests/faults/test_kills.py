"""
kill -9 of rotator, again and again, at random moments, while an application writes.

Then one run to the end: every value is what the application left, under the current key, until the
millisecond that it said; what it deleted, or what expired, is not there.
"""

import subprocess
import sys
import time
from random import Random

import pytest

from cluster.expiries import entries_of, put
from rotator.errors import Exit
from rotator.state.state import State
from support.caches import Cache, Place, wait_for
from support.clusters import Rival, Router, calls, check, fill, judge, made, plain
from support.processes import clean

NAMES = 3000
START_SECONDS = 1.5  # until a run of the command line is at work, more or less


@pytest.fixture
def on_server(server, redis, tmp_path):
    """One server with values, a way to write to it, and to look at the end."""
    place = Place(tmp_path, Cache(server.address))
    entries = made(place.cache, [b"app:%05d" % index for index in range(NAMES)])
    pipe = redis.pipeline(transaction=False)
    for name, (_, value, at_ms) in entries.items():
        put(pipe, name, value, at_ms)
    pipe.execute()
    expected = {name: (plaintext, at_ms) for name, (plaintext, _, at_ms) in entries.items()}

    def look(wanted):
        found = entries_of(redis, wanted)
        judge(place.cache, dict(zip(wanted, found, strict=True)), wanted)

    return place, expected, [server], lambda: plain(server), look


@pytest.fixture
def on_cluster(cluster, tmp_path):
    """The same in a cluster of three."""
    place = Place(tmp_path, Cache(*cluster.addresses))
    expected = fill(cluster, place.cache, NAMES)
    nodes = cluster.primaries

    def look(wanted):
        check(cluster, place.cache, wanted)

    return place, expected, nodes, lambda: Router(cluster), look


def start(place):
    """A run in a process of its own, with small pages so that it is seldom at an end."""
    arguments = ["run", "--config", place.file, "--state", place.state, "--page", "10"]
    return subprocess.Popen(
        [sys.executable, "-m", "rotator", *map(str, arguments)],
        env=clean(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def at_work(nodes):
    """How many values were written by scripts on all nodes."""
    return sum(calls(node, "evalsha") for node in nodes)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("where", "keys"),
    [("on_server", (0,)), ("on_server", (0, 1, 2)), ("on_cluster", (0, 1, 2))],
    ids=["server", "server, old keys in use", "cluster, old keys in use"],
)
def test_killed_at_random_moments(where, keys, kills, request):
    """However often it is killed, nothing is lost, changed or resurrected."""
    place, expected, nodes, connect, look = request.getfixturevalue(where)
    random = Random(kills)
    with Rival(connect, place.cache, expected, keys=keys) as rival:
        for number in range(kills):
            before = at_work(nodes)
            run = start(place)
            try:
                if number % 2:  # somewhere in its work
                    wait_for(lambda: at_work(nodes) > before + 20 or run.poll() is not None)  # noqa: B023
                    time.sleep(random.random() / 2)
                else:  # anywhere at all
                    time.sleep(random.random() * 2 * START_SECONDS)
            finally:
                run.kill()
                run.wait()
    assert rival.writes > 100 * kills
    assert rival.failures == 0
    with State(place.state):  # it was never left damaged
        pass
    # What was written under an old key behind a saved position is for the run after the next.
    report = place.run(fresh=len(keys) > 1)
    assert report.exit_code == Exit.OK
    look(rival.expected)
