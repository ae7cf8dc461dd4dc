"""Every exit code of `rotator run` that one server allows, from the process itself."""

import json
import signal
import threading
from datetime import UTC, datetime, timedelta

import pytest

from rotator.errors import Exit, worst
from support.caches import Cache, Place, fill, wait_for_pages
from support.commandline import run_process
from support.processes import Running, job


@pytest.mark.parametrize("code", Exit)
def test_each_code_can_speak_for_several_caches(code):
    """Whatever code a cache ends with, it counts before that of one that is well."""
    assert worst([Exit.OK, code]) is code


def ended(place, *more):
    """The exit code of a run, and the one that its report tells."""
    done = run_process(job(place, "--format", "json", *more))
    report = json.loads(done.stdout) if done.stdout else {"exit_code": None}
    return done.returncode, report["exit_code"]


def writes(redis):
    """Whether values were written, by a script or without, since the counters began anew."""
    counters = redis.info("commandstats")
    # The first calls are those of the preflight.
    return any(
        counters.get(f"cmdstat_{one}", {"calls": 0})["calls"] > 9 for one in ("evalsha", "set")
    )


class TestRun:
    """What the code says of a run that nobody stops."""

    def test_0_when_everything_is_under_the_current_key(self, place, redis):
        """A run that has moved every value ends with 0, and so does the one after it."""
        fill(redis, place.cache, 30)
        assert ended(place) == (0, 0)
        assert ended(place) == (0, 0)

    def test_0_when_everything_could_be(self, place, redis):
        """A dry run that could move every value ends with 0."""
        fill(redis, place.cache, 30)
        assert ended(place, "--dry-run") == (0, 0)

    def test_1_when_the_server_cannot_be_reached(self, tmp_path, closed_port):
        """A server that is not there is 1."""
        place = Place(tmp_path, Cache(f"127.0.0.1:{closed_port}"))
        assert ended(place) == (1, None)

    def test_1_when_the_server_refuses_the_login(self, server, redis, tmp_path):
        """A wrong password is 1."""
        redis.execute_command("ACL", "SETUSER", "someone", "reset", "on", ">right", "+@all", "~*")
        try:
            login = {"username": "someone", "password": "wrong"}
            place = Place(tmp_path, Cache(server.address, redis=login))
            assert ended(place) == (1, None)
        finally:
            redis.execute_command("ACL", "DELUSER", "someone")

    def test_1_when_not_everything_was_looked_at(self, place, redis):
        """A sweep that something makes begin again every time is incomplete, and 1."""
        fill(redis, place.cache, 300)
        over = threading.Event()

        def swap():
            """Swap two empty databases as fast as the server lets us."""
            while not over.is_set():
                redis.swapdb(14, 15)

        thread = threading.Thread(target=swap)
        thread.start()
        try:
            done = run_process(job(place, "--format", "json", "--page", 10))
        finally:
            over.set()
            thread.join()
        report = json.loads(done.stdout)
        assert done.returncode == report["exit_code"] == 1
        assert report["caches"][0]["complete"] is False
        assert report["caches"][0]["coverage"]["not_looked_at"]
        assert report["caches"][0]["outcomes"]["rotated"] == 300

    def test_2_when_the_configuration_is_missing(self, tmp_path):
        """A configuration that is not there is 2."""
        assert run_process(["run", "--config", tmp_path / "none.yaml"]).returncode == 2

    def test_2_when_an_option_is_unknown(self):
        """A word that the command line does not know is 2."""
        assert run_process(["run", "--dry"]).returncode == 2

    @pytest.mark.parametrize("more", [(), ("--dry-run",)])
    def test_3_when_a_value_cannot_be_moved(self, place, redis, more):
        """One value that no key opens makes it 3, in a dry run too."""
        fill(redis, place.cache, 30)
        redis.set("foreign", b"not a value of ours")
        assert ended(place, *more) == (3, 3)

    def test_3_when_a_value_is_nested(self, place, redis):
        """A value that holds an encrypted one is not wrapped again, and makes it 3."""
        place.cache.put(redis, "nested", place.cache.seal("nested", b"inside"))
        assert ended(place) == (3, 3)

    def test_accepted_values_make_it_0(self, place, redis):
        """Values that are accepted do not make it 3, as long as there are no more of them."""
        fill(redis, place.cache, 30)
        redis.mset({"foreign": "one", "strange": "two"})
        assert ended(place, "--accept", "undecryptable=1") == (3, 3)
        assert ended(place, "--accept", "undecryptable=2") == (0, 0)

    def test_5_when_nothing_is_stored(self, place):
        """An empty cache may be the wrong one, and is 5."""
        assert ended(place) == (5, 5)

    def test_5_when_nothing_is_encrypted(self, place, redis):
        """A cache in which no value opens is 5."""
        redis.set("foreign", b"not a value of ours")
        assert ended(place) == (5, 5)

    def test_allow_empty_makes_it_0(self, place):
        """With --allow-empty an empty cache is as good as any."""
        assert ended(place, "--allow-empty") == (0, 0)

    def test_the_worst_of_several_caches_counts(self, server, redis, tmp_path):
        """Of two caches, one whole and one with a value that stays, the second gives the code."""
        first = Cache(server.address, name="first", settings={"match": ["first:*"]})
        second = Cache(server.address, name="second", settings={"match": ["second:*"]})
        place = Place(tmp_path, first, second)
        fill(redis, first, 10, prefix="first")
        fill(redis, second, 10, prefix="second")
        redis.set("second:foreign", b"not a value of ours")
        assert ended(place, "--cache", "first") == (0, 0)
        assert ended(place) == (3, 3)


class TestStopped:
    """What the code says of a run that ends early, or does not begin."""

    def test_4_when_the_time_is_over(self, place, redis):
        """A run that --max-duration stops ends with 4, and the next one goes on from there."""
        fill(redis, place.cache, 2000)
        args = job(place, "--format", "json", "--page", 1, "--max-duration", "2s")
        redis.config_resetstat()
        with Running(*args) as running:
            running.wait_until(lambda: writes(redis))
            # Held here for longer than it has, it finishes the page that it is at.
            redis.execute_command("CLIENT", "PAUSE", 2100, "WRITE")
            done = running.end()
        first = json.loads(done.stdout)
        assert (done.returncode, first["exit_code"]) == (4, 4)
        assert first["caches"][0]["stopped"] == "max-duration"
        assert 0 < first["caches"][0]["outcomes"]["rotated"] < 2000

        done = run_process(job(place, "--format", "json"))
        assert done.returncode == 0
        assert json.loads(done.stdout)["caches"][0]["outcomes"]["rotated"] == 2000

    def test_4_when_the_hour_has_come(self, place, redis):
        """A run that --until stops ends with 4 as well, and says so."""
        fill(redis, place.cache, 2000)
        redis.config_resetstat()
        at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=8)
        args = job(place, "--format", "json", "--page", 1, "--max-rate", 100)
        with Running(*args, env={"ROTATOR_UNTIL": f"{at:%Y-%m-%dT%H:%M:%SZ}"}) as running:
            running.wait_until(lambda: writes(redis))
            # Held here until it is over, it finishes the page that it is at.
            redis.execute_command("CLIENT", "PAUSE", 8100, "WRITE")
            done = running.end()
        first = json.loads(done.stdout)
        assert (done.returncode, first["exit_code"]) == (4, 4)
        assert first["caches"][0]["stopped"] == "until"
        assert 0 < first["caches"][0]["outcomes"]["rotated"] < 2000

        done = run_process(
            job(place, "--format", "json", "--until", f"{at + timedelta(hours=1):%H:%M}")
        )
        assert done.returncode == 0
        assert json.loads(done.stdout)["caches"][0]["outcomes"]["rotated"] == 2000

    def test_4_before_the_first_page(self, place, redis):
        """A run without any time moves nothing and ends with 4."""
        values = fill(redis, place.cache, 10)
        before = {name: redis.get(name) for name in values}
        assert ended(place, "--max-duration", "0s") == (4, 4)
        assert {name: redis.get(name) for name in values} == before

    def test_7_while_another_run_is_at_work(self, place, redis):
        """A second run on the same cache ends with 7 and names the first, which goes on."""
        fill(redis, place.cache, 3000)
        with Running(*job(place, "--page", 1)) as first:
            wait_for_pages(redis)
            first.signal(signal.SIGSTOP)
            done = run_process(job(place))
            first.signal(signal.SIGCONT)
            assert done.returncode == 7, done.stderr
            assert done.stdout == b""
            assert b"rotator: error: another run on shared-redis is in progress" in done.stderr
            assert str(first.process.pid).encode() in done.stderr
            assert first.end().returncode == 0
