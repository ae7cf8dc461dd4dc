"""Runs that are interrupted, terminated and killed: nothing is lost, and the next one goes on."""

import json
import random
import signal
import threading

import pytest

from cluster.expiries import put
from rotator.state.state import State
from support.caches import FAR_MS, contents, fill, keys_of
from support.commandline import run
from support.processes import Running, job, waiting, writes_held

VALUES = 3000  # a second of work, or more, in pages of one
STOPS = [
    (signal.SIGINT, 130, "interrupted"),
    (signal.SIGTERM, 143, "terminated"),
    (signal.SIGHUP, 129, "hung up"),
]


def outcomes(stdout):
    """What a report printed as JSON says of the only cache."""
    return json.loads(stdout)["caches"][0]["outcomes"]


@pytest.fixture
def filled(place, redis):
    """A cache with values, none of them under the current key."""
    fill(redis, place.cache, VALUES)
    return place


class TestStopping:
    """SIGINT and SIGTERM, once."""

    @pytest.mark.parametrize(("number", "code", "word"), STOPS)
    def test_the_page_is_finished_and_the_next_run_goes_on(self, filled, redis, number, code, word):
        """
        A signal in the middle of a page lets it finish and the report come out; the next run
        visits only what is left, and its tally is that of both.
        """
        with Running(*job(filled, "--page", 3, "--format", "json")) as running:
            running.wait_until(lambda: scanned(redis) > 50)
            with writes_held(redis):
                running.wait_until(lambda: waiting(redis))
                before = keys_of(redis, filled.cache)[0]
                running.signal(number)
                running.wait_for_line("stopping after this page")
            done = running.end()

        assert done.returncode == code, done.stderr
        cache = json.loads(done.stdout)["caches"][0]
        assert (cache["complete"], cache["stopped"]) == (False, word)
        rotated = keys_of(redis, filled.cache)[0]
        assert before < rotated < VALUES, "the page that waited for the server was finished"
        assert cache["outcomes"]["rotated"] == cache["visits"] == rotated
        assert {key["verdict"] for key in cache["keys"] if key["role"] == "old"} == {"unknown"}
        assert "Traceback" not in done.stderr

        done = run(job(filled, "--format", "json"))

        assert done.returncode == 0, done.stderr.decode()
        cache = json.loads(done.stdout)["caches"][0]
        assert cache["visits"] == cache["outcomes"]["rotated"] == VALUES
        assert f"goes on at {rotated:,} of about {VALUES:,} names" in done.stderr.decode()
        assert keys_of(redis, filled.cache) == {0: VALUES}

    def test_a_dry_run_is_interrupted_and_goes_on_too(self, filled, redis):
        """A dry run that is stopped keeps its position, and writes nothing."""
        before = contents(redis)
        with Running(*job(filled, "--dry-run", "--page", 1)) as running:
            running.wait_until(lambda: scanned(redis) > 50)
            running.signal(signal.SIGINT)
            assert running.end().returncode == 130
        with State(filled.state) as state:
            (node,) = filled.cache.redis["addresses"]
            assert state.load_position("shared-redis", "dry-run", node)
        redis.config_resetstat()
        done = run(job(filled, "--dry-run", "--page", 1, "--format", "json"))
        assert outcomes(done.stdout)["would_rotate"] == VALUES
        assert redis.info("commandstats")["cmdstat_mget"]["calls"] < VALUES - 40
        assert contents(redis) == before

    def test_fresh_ignores_the_saved_position(self, filled, redis):
        """With --fresh what an interrupted run has moved is met again, as current."""
        with Running(*job(filled, "--page", 1)) as running:
            running.wait_until(lambda: keys_of(redis, filled.cache)[0] > 0)
            running.signal(signal.SIGINT)
            running.end()
        rotated = keys_of(redis, filled.cache)[0]
        done = run(job(filled, "--fresh", "--format", "json"))
        assert outcomes(done.stdout)["current"] == rotated
        assert outcomes(done.stdout)["rotated"] == VALUES - rotated


class TestAtOnce:
    """Ends that do not wait for the page."""

    def test_a_second_ctrl_c_ends_at_once(self, filled, redis):
        """Whoever presses Ctrl-C twice does not wait for the server."""
        with Running(*job(filled, "--page", 1)) as running, writes_held(redis):
            running.wait_until(lambda: waiting(redis))
            running.signal(signal.SIGINT)
            running.wait_for_line("stopping after this page")
            running.signal(signal.SIGINT)
            done = running.end()
        assert done.returncode == 130
        assert done.stdout == ""
        assert "rotator: error: interrupted" in done.stderr
        assert "Traceback" not in done.stderr
        assert run(job(filled)).returncode == 0

    def test_killed_again_and_again_beside_a_writer(self, place, redis):
        """
        After kills at random moments, with a writer beside them, one run to the end leaves every
        value right and every TTL as it was.
        """
        fill(redis, place.cache, 1000)
        chance = random.Random(7)
        writer = Writer(place.cache, redis, contents(redis))
        with writer:
            for _ in range(4):
                with Running(*job(place, "--page", 1)) as running:
                    scans = scanned(redis) + chance.randrange(20, 200)
                    running.wait_until(lambda least=scans: scanned(redis) > least)
                    running.signal(signal.SIGKILL)
                    assert running.end().returncode == -signal.SIGKILL
        done = run(job(place, "--format", "json"))

        # What the writer put under an old key behind the saved position is found by verifying.
        under = keys_of(redis, place.cache)
        left = under.total() - under[0]
        verification = json.loads(done.stdout)["caches"][0]["verification"]
        assert done.returncode == (3 if left else 0), done.stderr.decode()
        assert verification["found_under_old_keys"] == left
        assert run(job(place)).returncode == 0
        assert keys_of(redis, place.cache) == {0: len(writer.expected)}
        assert writer.written > 0
        assert writer.expected == {
            name: (place.cache.open(name, value).plaintext, at_ms)
            for name, (value, at_ms) in contents(redis).items()
        }


def scanned(client):
    """How many pages of names the server has given since its counters were reset."""
    return client.info("commandstats").get("cmdstat_scan", {"calls": 0})["calls"]


class Writer:
    """
    An application that sets and deletes values while runs come and go, some under an old key.

    `expected` is what it has left behind: name to (plaintext, expiry in Unix milliseconds or -1).
    """

    def __init__(self, cache, client, entries):
        self._cache = cache
        self._client = client
        self._names = sorted(entries)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.expected = {
            name: (cache.open(name, value).plaintext, at_ms)
            for name, (value, at_ms) in entries.items()
        }
        self.written = 0

    def _work(self):
        chance = random.Random(11)
        while not self._over.is_set():
            name = chance.choice(self._names)
            if chance.random() < 0.1:
                self._client.delete(name)
                self.expected.pop(name, None)
                continue
            plaintext = chance.randbytes(chance.randrange(100))
            at_ms = chance.choice([-1, FAR_MS + chance.randrange(10**9)])
            value = self._cache.seal(name, plaintext, key=chance.randrange(3), form="sealed")
            put(self._client, name, value, at_ms)
            self.expected[name] = (plaintext, at_ms)
            self.written += 1

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()
