"""Whole jobs: many values, dry runs, stops, several caches."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from rotator.crypto.codec import Opened
from rotator.crypto.keyring import generate
from rotator.demo.local_server import LocalServer
from rotator.errors import BusyError, ConfigError, Exit, RightsError
from rotator.run.cache_run import CacheRun
from rotator.run.preflight import run_lock
from rotator.state.state import State
from rotator.sweep.control import Stop, StopSignal
from rotator.sweep.node import worker
from rotator.sweep.node.scan import PageReader
from rotator.sweep.scope import Limits
from rotator.tally.tally import Mode, Outcome
from support.caches import (
    FORMATS,
    NO_FILES,
    READING,
    WRITING,
    Cache,
    Place,
    StopAfter,
    contents,
    counted,
    fill,
    keys_of,
    old_key,
    user,
)
from support.respfront import RespFront, hurry, silent_once
from support.server_versions import since

NOTHING_QUIET = timedelta()
COUNT = 600
PAGE = 20
# What a server counts of a dry run: nothing that could change data, or leave a script or a name.
HARMLESS = {
    *("ping", "hello", "select", "scan", "get", "mget", "info", "pttl", "pexpiretime", "time"),
    *("auth", "command", "config|get", "client|setinfo", "client|setname", "client|no-touch"),
    *("client|tracking", "client|id", "debug", "config|resetstat", "acl|log", "cluster|myid"),
}


class TestManyValues:
    """Twenty thousand values in three formats, under two old keys, with foreign data among them."""

    FOREIGN = 30
    LISTS = 5

    @pytest.fixture
    def filled(self, place, redis):
        """What was stored: name to (plaintext, key number, format, expiry)."""
        entries = fill(redis, place.cache, 20_000)
        for number in range(self.FOREIGN):
            redis.set(f"foreign:{number}", b"some text of %d" % number)
        for number in range(self.LISTS):
            redis.rpush(f"list:{number}", number)
        return entries

    def test_all_of_it(self, place, redis, filled):
        """Each keeps plaintext, format and expiry, and is under the new key; foreign data stays."""
        foreign = {n: v for n, v in contents(redis).items() if n not in filled}
        report = place.run()
        after = contents(redis)
        assert counted(report) == {
            "rotated": len(filled),
            "undecryptable": self.FOREIGN,
            "not_string": self.LISTS,
        }
        assert {n: v for n, v in after.items() if n not in filled} == foreign
        for name, (plaintext, _, form, at_ms) in filled.items():
            value, now_at_ms = after[name]
            opened = place.cache.open(name, value, form=form)
            assert isinstance(opened, Opened)
            assert (opened.plaintext, now_at_ms) == (plaintext, at_ms)
            assert opened.key.id == place.cache.ids[0]
        assert report.exit_code == Exit.NOT_MOVED
        verification = report.caches[0].verification
        assert (verification.complete, verification.found_under_old_keys) == (True, 0)
        # Found under each key is what was stored under it.
        stored = Counter(key for _, key, _, _ in filled.values())
        for number in (1, 2):
            key = old_key(report, place.cache.ids[number])
            assert key.found == key.rotated == stored[number]
            assert (key.remaining, key.verdict) == (0, "unknown")
            assert "30 values open under no known key" in key.reasons[0]

        second = place.run()
        assert counted(second) == {
            "current": len(filled),
            "undecryptable": self.FOREIGN,
            "not_string": self.LISTS,
        }
        assert contents(redis) == after
        assert old_key(second, place.cache.ids[1]).verdict == "unknown"

        accept = {Outcome.UNDECRYPTABLE: self.FOREIGN, Outcome.NOT_STRING: self.LISTS}
        hasty = place.run(accept=accept)
        assert old_key(hasty, place.cache.ids[1]).verdict == "verifying"
        third = place.run(accept=accept, quiet=NOTHING_QUIET)
        assert third.exit_code == Exit.OK
        assert third.caches[0].accepted == {
            "undecryptable": self.FOREIGN,
            "not_string": self.LISTS,
        }
        for number in (1, 2):
            key = old_key(third, place.cache.ids[number])
            assert key.verdict == "retirable"
            assert key.field == f"caches[0].encryption.keys.old[{number - 1}]"
            assert key.next_step == f"remove {key.field}"

    def test_only_key(self, place, redis, filled):
        """`--only-key` moves that key's values and leaves the others byte for byte."""
        before = contents(redis)
        report = place.run(only_key=place.cache.ids[1])
        after = contents(redis)
        stored = Counter(key for _, key, _, _ in filled.values())
        assert counted(report)["rotated"] == stored[1]
        assert counted(report)["would_rotate"] == stored[2]
        for name, (_, key, _, _) in filled.items():
            assert (after[name] == before[name]) is (key == 2)
        assert old_key(report, place.cache.ids[2]).remaining == stored[2]

    def test_sealed(self, server, redis, tmp_path):
        """With `write: sealed` all three formats become one, and expiries stay."""
        place = Place(tmp_path, Cache(server.address, settings={"write": "sealed"}))
        entries = fill(redis, place.cache, 3000)
        report = place.run()
        assert counted(report) == {"rotated": len(entries)}
        for name, (value, at_ms) in contents(redis).items():
            opened = place.cache.open(name, value, form="sealed")
            assert (opened.plaintext, at_ms) == (entries[name][0], entries[name][3])
        assert counted(place.run()) == {"current": len(entries)}


class TestDryRun:
    """A dry run reads and judges, and leaves no trace."""

    def used(self, redis):
        """The commands that the server has carried out since its counters were reset."""
        return {
            name.removeprefix("cmdstat_")
            for name, numbers in redis.info("commandstats").items()
            if numbers["calls"] > numbers.get("failed_calls", 0)
        }

    def harmless(self, redis):
        """The same of those that may be; before 7.0 the server counts whole commands."""
        apart = since(redis, 7, 0)
        return HARMLESS if apart else {command.partition("|")[0] for command in HARMLESS}

    def test_nothing_changes(self, place, redis):
        """The data is the same before and after, and no writing command was carried out."""
        fill(redis, place.cache, COUNT)
        redis.script_flush()
        before = redis.execute_command("DEBUG", "DIGEST")
        redis.config_resetstat()
        report = place.run(dry_run=True)
        assert self.used(redis) <= self.harmless(redis)
        assert redis.execute_command("DEBUG", "DIGEST") == before
        assert redis.info("memory")["number_of_cached_scripts"] == 0
        assert counted(report) == {"would_rotate": COUNT}
        assert report.mode == "dry-run"
        assert report.caches[0].verification is None

    def test_without_the_right_to_write(self, server, redis, tmp_path):
        """It needs no right but to read, and finds the same."""
        place = Place(tmp_path, Cache(server.address))
        entries = fill(redis, place.cache, COUNT)
        before = redis.execute_command("DEBUG", "DIGEST")
        rules = [
            "%R~*" if since(redis, 7, 0) else "~*",
            "-@all",
            *(f"+{command}" for command in READING),
        ]
        with user(redis, *rules) as (name, password):
            place.cache.redis |= {"username": name, "password": password}
            place.configure(place.cache)
            redis.config_resetstat()
            report = place.run(dry_run=True)
            assert self.used(redis) <= self.harmless(redis)
        assert redis.execute_command("DEBUG", "DIGEST") == before
        assert report.exit_code == Exit.OK
        assert counted(report) == {"would_rotate": COUNT}
        for number in (1, 2):
            key = old_key(report, place.cache.ids[number])
            mine = [at_ms for _, k, _, at_ms in entries.values() if k == number]
            assert (key.found, key.remaining) == (len(mine), len(mine))
            assert key.remaining_without_ttl == mine.count(-1)

    def test_draining(self, place, redis):
        """What all has a TTL drains, and the report says when the last of it expires."""
        last = datetime(2100, 1, 1, 12, 30, tzinfo=UTC)
        for number in range(10):
            at = last - timedelta(hours=number)
            place.cache.put(redis, f"app:{number}", at_ms=int(at.timestamp() * 1000))
        key = old_key(place.run(dry_run=True), place.cache.ids[1])
        assert (key.verdict, key.remaining, key.remaining_without_ttl) == ("draining", 10, 0)
        assert last <= key.drains_at <= last + timedelta(hours=1)

    def test_beside_a_run(self, place, redis):
        """It is no run, so it may look while one is in progress."""
        fill(redis, place.cache, COUNT)
        looks = []

        def look(phase, page):
            if (phase, page) == ("rotating", 3):
                looks.append(place.run(dry_run=True, allow_empty=True))

        place.run(page=PAGE, on_page=look)
        [report] = looks
        assert counted(report)["current"] + counted(report)["would_rotate"] == COUNT


class TestStopping:
    """Runs that end before their last page, and the next ones."""

    @pytest.fixture(autouse=True)
    def _filled(self, place, redis):
        """Some values to rotate."""
        fill(redis, place.cache, COUNT)

    def position(self, place, mode=Mode.RUN):
        """The saved position of the only node, or None."""
        with State(place.state) as state:
            address = place.access().cache.addresses[0]
            return state.load_position(place.cache.name, mode, str(address))

    @pytest.mark.parametrize(
        ("why", "code"),
        [
            (Stop.INTERRUPTED, Exit.INTERRUPTED),
            (Stop.TERMINATED, Exit.TERMINATED),
            (Stop.TIME_UP, Exit.TIME_UP),
        ],
    )
    def test_goes_on(self, place, redis, why, code):
        """The exit code says why it stopped; the next run does the rest, and the visits add up."""
        first = place.run(page=PAGE, stopper=StopAfter(5, why))
        assert first.exit_code == code
        assert first.caches[0].stopped == str(why)
        assert not first.caches[0].complete
        done = keys_of(redis, place.cache)[0]
        assert 0 < done == first.caches[0].visits < COUNT
        assert old_key(first, place.cache.ids[1]).verdict == "unknown"
        second = place.run(page=PAGE)
        assert second.exit_code == Exit.OK
        assert counted(second) == {"rotated": COUNT}
        assert (second.caches[0].visits, second.caches[0].visits_now) == (COUNT, COUNT - done)
        assert keys_of(redis, place.cache) == {0: COUNT}

    def test_a_reply_that_does_not_come_is_not_waited_for(self, place, server, monkeypatch):
        """A run that is to end gives a slow reply up before it would be late."""
        hurry(monkeypatch)
        stopper = StopSignal()
        with silent_once(server.port, b"SCAN", partial(stopper.ask, Stop.INTERRUPTED)) as front:
            place.cache.redis["addresses"] = [front.address]
            place.configure(place.cache)
            [cache] = place.run(stopper=stopper).caches
        assert (cache.exit_code, cache.visits) == (Exit.INTERRUPTED, 0)

    def test_position_dropped(self, place):
        """A position is kept while there is something left to do, and no longer."""
        place.run(page=PAGE, stopper=StopAfter(5))
        assert self.position(place) is not None
        place.run(page=PAGE)
        assert self.position(place) is None

    def test_fresh(self, place):
        """With `--fresh` the sweep begins anew, and meets what is rotated already."""
        first = place.run(page=PAGE, stopper=StopAfter(5))
        done = first.caches[0].visits
        second = place.run(page=PAGE, fresh=True)
        assert counted(second) == {"current": done, "rotated": COUNT - done}

    def test_other_formats(self, place):
        """A position is not used with other formats: what did not open then may open now."""
        first = place.run(page=PAGE, stopper=StopAfter(5))
        done = first.caches[0].visits
        place.cache.settings["formats"] = list(reversed(FORMATS))
        place.configure(place.cache)
        second = place.run(page=PAGE)
        assert counted(second) == {"current": done, "rotated": COUNT - done}

    def test_other_keyring(self, place, redis):
        """A position is not used with another keyring, and everything gets to the newest key."""
        place.run(page=PAGE, stopper=StopAfter(5))
        place.configure(place.cache.rotated())
        assert counted(place.run(page=PAGE)) == {"rotated": COUNT}
        assert keys_of(redis, place.cache) == {0: COUNT}

    def test_dry_run_in_between(self, place):
        """A dry run has a position of its own, and does not disturb that of a run."""
        first = place.run(page=PAGE, stopper=StopAfter(5))
        look = place.run(page=PAGE, dry_run=True, stopper=StopAfter(3))
        assert look.exit_code == Exit.INTERRUPTED
        assert self.position(place, Mode.DRY_RUN) is not None
        rest = place.run(page=PAGE)
        assert counted(rest) == {"rotated": COUNT}
        assert first.caches[0].visits < COUNT

    def test_while_verifying(self, place, redis):
        """A run that is stopped while it verifies has rotated all, and says that it is not done."""
        pages = []
        same = {"page": PAGE, "limits": Limits(latency=None)}
        place.run(**same, on_page=lambda phase, _: pages.append(phase), dry_run=True)
        report = place.run(**same, stopper=StopAfter(len(pages) + 4))
        assert report.exit_code == Exit.INTERRUPTED
        assert counted(report) == {"rotated": COUNT}
        assert not report.caches[0].complete
        assert not report.caches[0].verification.complete
        assert keys_of(redis, place.cache) == {0: COUNT}
        assert old_key(report, place.cache.ids[1]).verdict == "verifying"
        assert counted(place.run(page=PAGE)) == {"current": COUNT}

    def test_stopped_before_it_began(self, place):
        """A stop before the first cache leaves everything alone, and says so."""
        report = place.run(stopper=StopAfter(-1))
        assert report.exit_code == Exit.INTERRUPTED
        assert (report.caches[0].stopped, report.caches[0].visits) == ("interrupted", 0)

    def test_state_lost(self, place, redis):
        """Losing the state costs time and nothing else: the values say what is done."""
        first = place.run(page=PAGE, stopper=StopAfter(5))
        place.state.unlink()
        second = place.run(page=PAGE)
        done = first.caches[0].visits
        assert counted(second) == {"current": done, "rotated": COUNT - done}
        assert keys_of(redis, place.cache) == {0: COUNT}


class TestVerification:
    """The second, reading sweep."""

    def test_left_out(self, place, redis):
        """With `--no-verify` there is none, and no key gets better than verifying."""
        place.cache.put(redis, "app:1")
        for _ in range(3):
            report = place.run(verify=False, quiet=NOTHING_QUIET)
            assert report.caches[0].verification is None
            assert old_key(report, place.cache.ids[1]).verdict == "verifying"

    def test_not_needed(self, place, redis):
        """When nothing was rewritten there is nothing to verify."""
        place.cache.put(redis, "app:1", key=0)
        assert place.run().caches[0].verification is None

    def test_a_writer_with_the_old_key(self, place, redis):
        """If it meets an old key again, something still encrypts with it: in use, exit code 3."""
        place.cache.put(redis, "app:1")

        def write(phase, _page):
            if phase == "verifying":
                place.cache.put(redis, "app:2", key=1)

        report = place.run(on_page=write)
        key = old_key(report, place.cache.ids[1])
        assert report.caches[0].verification.found_under_old_keys == 1
        assert report.exit_code == Exit.NOT_MOVED
        assert key.verdict == "in-use"
        assert key.remaining == 1
        assert key.samples == ("app:2",)

    def test_a_new_sweep_confirms(self, place, redis):
        """A key that was met is retirable after a later sweep did not meet it and all was quiet."""
        place.cache.put(redis, "app:1")
        assert old_key(place.run(), place.cache.ids[1]).verdict == "verifying"
        assert old_key(place.run(), place.cache.ids[1]).verdict == "verifying"
        report = place.run(quiet=NOTHING_QUIET)
        assert old_key(report, place.cache.ids[1]).verdict == "retirable"

    def test_comes_back(self, place, redis):
        """A key that was clean and is met again is in use."""
        place.cache.put(redis, "app:1")
        place.run(quiet=NOTHING_QUIET)
        assert old_key(place.run(quiet=NOTHING_QUIET), place.cache.ids[1]).verdict == "retirable"
        place.cache.put(redis, "app:2")
        assert old_key(place.run(), place.cache.ids[1]).verdict == "in-use"


class TestPreflight:
    """Nothing is written before everything is known to work."""

    def test_rights(self, server, redis, tmp_path):
        """All rights that are missing are named at once, and the hint grants them."""
        place = Place(tmp_path, Cache(server.address))
        place.cache.put(redis, "app:1")
        before = redis.execute_command("DEBUG", "DIGEST")
        with user(redis, "~*", "+@all", "-scan", "-set", "-watch", "-evalsha") as (name, password):
            place.cache.redis |= {"username": name, "password": password}
            place.configure(place.cache)
            with pytest.raises(RightsError) as caught:
                place.run()
        assert "lacks rights: +scan +set +watch" in str(caught.value)
        assert f"ACL SETUSER {name} +scan +set +watch" in caught.value.hint
        assert redis.execute_command("DEBUG", "DIGEST") == before

    def test_rights_of_a_dry_run(self, server, redis, tmp_path):
        """A dry run asks for no right to write."""
        place = Place(tmp_path, Cache(server.address))
        with user(redis, "~*", "+@all", "-scan", "-set", "-watch", "-evalsha") as (name, password):
            place.cache.redis |= {"username": name, "password": password}
            place.configure(place.cache)
            with pytest.raises(RightsError, match=r"lacks rights: \+scan$"):
                place.run(dry_run=True)

    def test_enough_rights(self, server, redis, tmp_path):
        """The rights that it asks for are enough, within the names that match."""
        settings = {"match": ["app:*"]}
        place = Place(tmp_path, Cache(server.address, settings=settings))
        fill(redis, place.cache, 100)
        rules = ["~app:*", "-@all", *(f"+{command}" for command in (*READING, *WRITING))]
        with user(redis, *rules) as (name, password):
            place.cache.redis |= {"username": name, "password": password}
            place.configure(place.cache)
            report = place.run()
        assert report.exit_code == Exit.OK
        assert counted(report) == {"rotated": 100}
        assert "app:*" in report.caches[0].warnings[0]

    @pytest.mark.parametrize("match", ["app:1", "app:?", "app:[12]"])
    def test_pattern_that_is_a_name(self, server, redis, tmp_path, match):
        """Asking for rights leaves an entry alone whose name is the pattern itself."""
        place = Place(tmp_path, Cache(server.address, settings={"match": [match]}))
        place.cache.put(redis, match, b"precious", form="gcm")
        report = place.run()
        opened = place.cache.open(match, redis.get(match))
        assert opened.plaintext == b"precious"
        assert counted(report).get("rotated", 0) <= 1

    def test_one_of_two_caches(self, server, redis, tmp_path, closed_port):
        """If one cache cannot be reached, the other one is done, and the run fails."""
        place = Place(
            tmp_path,
            Cache(server.address, name="good"),
            Cache(f"127.0.0.1:{closed_port}", name="bad"),
        )
        place.caches[0].put(redis, "app:1")
        report = place.run()
        good, bad = report.caches
        assert report.exit_code == Exit.FAILED
        assert (good.complete, good.outcomes["rotated"]) == (True, 1)
        assert "cannot connect" in bad.error

    @pytest.mark.parametrize("asked", [b"INFO", b"TIME", b"CONFIG"])
    def test_a_cache_whose_server_is_not_understood(self, server, redis, tmp_path, asked):
        """An answer that cannot be read ends the work on its cache only, and is named."""

        def answer(words, _ask):
            return b"*1\r\n:7\r\n" if words[0] == asked else None

        with RespFront(server.port, answer) as front:
            caches = Cache(front.address, name="odd"), Cache(server.address, name="good")
            place = Place(tmp_path, *caches)
            place.caches[1].put(redis, "app:1")
            report = place.run()
        odd, good = report.caches
        assert report.exit_code == Exit.FAILED
        assert (good.complete, good.outcomes["rotated"]) == (True, 1)
        said = f"{odd.error} {odd.coverage}"
        assert f"{front.address} gave an answer to {asked.decode()}" in said

    @pytest.mark.parametrize("step", ["prepare", "run", "look_again", "_discover"])
    def test_what_nobody_expected_in_one_cache(self, server, redis, tmp_path, monkeypatch, step):
        """A fault of ours in one cache is named by its type only, and leaves the other alone."""
        names = ("bad", "good")
        place = Place(tmp_path, *(Cache(server.address, name=name) for name in names))
        place.caches[1].put(redis, "app:1")
        work = getattr(CacheRun, step)

        def fail(run, *given):
            if run.access.cache.name == "bad":
                raise LookupError("a secret")
            return work(run, *given)

        monkeypatch.setattr(CacheRun, step, fail)
        report = place.run()
        bad, good = report.caches
        assert (report.exit_code, bad.error) == (Exit.FAILED, "internal error: LookupError")
        assert good.outcomes["rotated"] == 1

    def test_what_nobody_expected_in_mid_sweep(self, place, redis, monkeypatch):
        """What was done until then counts and is gone on with, and nothing false is said of it."""
        fill(redis, place.cache, 100)
        pages, take = iter(range(3)), PageReader.take

        def fail(reader):
            if next(pages, None) is None:
                raise LookupError("a secret")
            return take(reader)

        with monkeypatch.context() as fault:
            fault.setattr(PageReader, "take", fail)
            (cache,) = place.run(page=10, workers=1).caches
        assert cache.exit_code == Exit.FAILED
        assert 0 < cache.outcomes["rotated"] == cache.visits < 100
        assert "internal error: LookupError" in cache.coverage.not_looked_at[0]
        said = str(cache.model_dump())
        false = ["a secret", "right server", *(["NO-TOUCH"] if since(redis, 7, 2) else [])]
        assert not [one for one in false if one in said]
        (after,) = place.run().caches
        assert (after.exit_code, after.outcomes["rotated"]) == (Exit.OK, 100)
        assert after.visits_now == 100 - cache.visits

    def test_one_cache_is_busy(self, server, redis, tmp_path):
        """Another run on one cache does not keep the others waiting; the exit code tells of it."""
        names = ("busy", "free")
        place = Place(tmp_path, *(Cache(server.address, name=name) for name in names))
        place.caches[1].put(redis, "app:1")
        with run_lock(place.state, "busy"):
            report = place.run()
        busy, free = report.caches
        assert (report.exit_code, free.outcomes["rotated"]) == (Exit.BUSY, 1)
        assert "another run on busy is in progress" in busy.error

    def test_unknown_key(self, place):
        """`--only-key` must be one of the old keys; the current one is none."""
        for key in (place.cache.ids[0], "0" * 16):
            with pytest.raises(ConfigError, match="is not an old key of the cache") as caught:
                place.run(only_key=key)
            assert "rotator keys" in caught.value.hint

    def test_not_encrypted(self, place, redis):
        """A cache without encryption has nothing to rotate."""
        section = {**place.cache.section, "encryption": {"disabled": True}}
        place.file.write_text(json.dumps({"caches": [section]}))
        with pytest.raises(ConfigError, match="is not encrypted"):
            place.run(place.cache.name)
        assert redis.dbsize() == 0


class TestOneAtATime:
    """Two runs on one cache do not overlap."""

    def attempt(self, place, redis, state):
        """What a second run says that begins while the first one works."""
        fill(redis, place.cache, COUNT)
        said = []

        def begin(phase, page):
            if (phase, page) == ("rotating", 3):
                other = Place(place.folder, *place.caches)
                other.state = state
                with pytest.raises(BusyError) as caught:
                    other.run()
                said.append(caught.value)

        assert place.run(page=PAGE, on_page=begin).exit_code == Exit.OK
        [error] = said
        assert error.exit_code == Exit.BUSY
        return error

    def test_same_state(self, place, redis):
        """A second run with the same state is refused, and told which process to wait for."""
        error = self.attempt(place, redis, place.state)
        assert "another run on shared-redis is in progress" in str(error)
        assert "process" in error.hint

    def test_other_state(self, place, redis):
        """A second run with another state, as on another machine, is refused by the server."""
        error = self.attempt(place, redis, place.folder / "other.sqlite")
        assert "another run on the cache shared-redis is in progress" in str(error)

    def test_afterwards(self, place, redis):
        """When a run has ended, by an error too, the next one may begin."""
        place.cache.put(redis, "app:1")

        def fail(_phase, _page):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            place.run(on_page=fail)
        assert place.run().exit_code == Exit.OK

    def test_other_cache(self, server, redis, tmp_path):
        """A run on another cache may go on at the same time."""
        one = Cache(server.address, name="one", settings={"match": ["one:*"]})
        two = Cache(server.address, name="two", settings={"match": ["two:*"]})
        place = Place(tmp_path, one, two)
        fill(redis, one, COUNT, prefix="one")
        fill(redis, two, COUNT, prefix="two")
        reports = []

        def begin(phase, page):
            if (phase, page) == ("rotating", 3):
                reports.append(place.run("two"))

        first = place.run("one", page=PAGE, on_page=begin)
        assert counted(first) == counted(reports[0]) == {"rotated": COUNT}


class TestSeveralCaches:
    """A key that several caches use, and runs over some of them."""

    @pytest.fixture
    def shared(self, server, redis, tmp_path):  # noqa: ARG002 - redis empties the server
        """Two caches in two databases of one server, with an old key in common."""
        common = generate()
        one = Cache(
            server.address,
            name="one",
            keys=[generate(), common],
            settings={**NO_FILES, "databases": [0]},
        )
        two = Cache(
            server.address,
            name="two",
            keys=[generate(), common],
            settings={**NO_FILES, "databases": [1]},
        )
        return Place(tmp_path, one, two)

    def test_judged_together(self, server, redis, shared):
        """A shared key is as bad as it is in the worst of its caches, in the report of each."""
        one, two = shared.caches
        one.put(redis, "app:1", key=0)
        with server.client(db=1) as other:
            inside = two.seal("app:1", b"hello", key=0)
            two.put(other, "app:1", inside, key=1)  # nested: it stays
        report = shared.run(quiet=NOTHING_QUIET)
        for name in ("one", "two"):
            key = old_key(report, one.ids[1], name)
            assert key.verdict == "in-use"
            assert (name == "two") is not any("two: " in reason for reason in key.reasons)
        assert report.exit_code == Exit.NOT_MOVED

    def test_not_in_this_run(self, server, redis, shared):
        """A cache that is not in the run counts with its last complete sweep, or as never swept."""
        one, two = shared.caches
        one.put(redis, "app:1")
        with server.client(db=1) as other:
            two.put(other, "app:1")
        shared.run("one", quiet=NOTHING_QUIET)
        key = old_key(shared.run("one", quiet=NOTHING_QUIET), one.ids[1])
        assert key.verdict == "in-use"  # there is one value in the other database
        assert any("two: never swept" in reason for reason in key.reasons)
        shared.run("two", quiet=NOTHING_QUIET)
        shared.run("two", quiet=NOTHING_QUIET)
        shared.run("one", quiet=NOTHING_QUIET)  # its names outside are clean since now
        key = old_key(shared.run("one", quiet=NOTHING_QUIET), one.ids[1])
        assert key.verdict == "retirable"

    def test_current_elsewhere(self, server, redis, tmp_path):
        """A key that is old here and current there is in use."""
        common = generate()
        one = Cache(server.address, name="one", keys=[generate(), common])
        two = Cache(server.address, name="two", keys=[common], settings={"databases": [1]})
        one.settings = {"databases": [0]}
        place = Place(tmp_path, one, two)
        one.put(redis, "app:1", key=0)
        place.run(quiet=NOTHING_QUIET, allow_empty=True)
        key = old_key(place.run(quiet=NOTHING_QUIET, allow_empty=True), one.ids[1], "one")
        assert key.verdict == "in-use"
        assert "caches[1].encryption.keys.current" in " ".join(key.reasons)

    def test_one_fails(self, server, redis, tmp_path, monkeypatch):
        """A cache whose server goes away in mid-run fails, and the others are done."""
        monkeypatch.setattr(worker, "_RECONNECT_SECONDS", (0.01, 0.02))
        with LocalServer() as broken, broken.client() as client:
            bad = Cache(broken.address, name="bad")
            good = Cache(server.address, name="good")
            place = Place(tmp_path, bad, good)
            fill(client, bad, COUNT)
            good.put(redis, "app:1")

            def stop(_phase, _page):
                if broken.running:
                    broken.stop()

            report = place.run(page=PAGE, on_page=stop, patience=0.1)
        assert report.exit_code == Exit.FAILED
        assert counted(report, "good") == {"rotated": 1}
        assert not report.caches[0].complete
        assert "cannot" in report.caches[0].coverage.not_looked_at[0]

    def test_one_stopped(self, shared, server, redis):
        """When a run is stopped in its first cache, the second is not begun."""
        one, two = shared.caches
        fill(redis, one, COUNT)
        with server.client(db=1) as other:
            two.put(other, "app:1")
        report = shared.run(page=PAGE, stopper=StopAfter(3))
        assert report.exit_code == Exit.INTERRUPTED
        assert [cache.stopped for cache in report.caches] == ["interrupted", "interrupted"]
        assert report.caches[1].visits == 0
