"""`rotator purge`: what goes, what stays, who is asked, and what can be in the way."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from functools import partial
from random import Random

import pytest

from cluster.local_cluster import Move
from rotator.crypto.keyring import Key, generate
from rotator.errors import BusyError, Exit, ServerError
from rotator.run.bulk import BulkOptions, BulkRun
from rotator.run.picking import PurgeKey
from rotator.run.preflight import announce_run, run_lock
from rotator.server.acl import DELETING, READING
from rotator.server.store import Store
from rotator.state.state import State
from rotator.sweep.control import Stop, StopSignal
from rotator.sweep.division import NodePlan
from rotator.sweep.engine import InlineEngine
from rotator.sweep.scope import Limits, Scope
from rotator.tally.tally import BulkOutcome, Mode
from support.caches import Cache, PageControl, Pages, Place, contents, fill, user
from support.clusters import FAST, at_page, made, names_in, read, store, tagged
from support.clusters import fill as fill_cluster
from support.documents import section
from support.processes import Running, clean, run_here
from support.respfront import hurry, silent_once

WRITES = ("set", "unlink", "del", "evalsha", "script|load", "expire", "subscribe")


def purge(place, *more, yes=True):
    """The arguments of a purge over the configuration of *place*, with its state."""
    common = ["--config", place.file, "--state", place.state, *(["--yes"] if yes else [])]
    return ["purge", *common, *map(str, more)]


def purged(place, *more, code=0):
    """What a purge with these options says of the only cache, as JSON."""
    done = run_here(purge(place, *more, "--format", "json"))
    assert done.returncode == code, done.stderr
    result = json.loads(done.stdout)
    assert result["exit_code"] == code
    [cache] = result["caches"]
    return cache


def used(client):
    """The commands of interest that the server has carried out, with how often."""
    stats = client.info("commandstats")
    calls = {command: stats.get(f"cmdstat_{command}", {}).get("calls", 0) for command in WRITES}
    return {command: number for command, number in calls.items() if number}


@pytest.fixture
def filled(place, redis):
    """Values under the current key and two old ones, and what is no value of ours."""
    fill(redis, place.cache, 90)
    for number in range(10):
        place.cache.put(redis, f"now:{number}", key=0)
    redis.set("text", "not encrypted, and far too plain for any format: {}, is it not, after all?")
    redis.set("noise", b"\xff" * 60)
    redis.rpush("list", "a")
    redis.config_resetstat()
    return place


class TestKey:
    """`--key ID`."""

    def test_what_is_under_it_goes_and_the_rest_stays(self, filled, redis):
        """Exactly the values under the key are deleted; all others stay byte for byte."""
        before, keys = contents(redis), filled.cache.ids
        number = keys_of_all(before, filled)[1]
        cache = purged(filled, "--key", keys[1])
        assert (cache["to_delete"], cache["deleted"], cache["visits"]) == (number, number, 103)
        left = {
            name: entry
            for name, entry in before.items()
            if name in {b"text", b"noise"} or filled.cache.open(name, entry[0]).key.id != keys[1]
        }
        assert contents(redis) == left
        assert redis.lrange("list", 0, -1) == [b"a"]
        assert cache["others"] == {
            "current": 10,
            "not_string": 1,
            "other_key": 90 - number,
            "undecryptable": 2,
        }
        assert cache["prefixes"] == {"app": number}
        assert len(cache["samples"]) == 10
        assert cache["nodes"][0]["deleted"] == number
        assert (cache["complete"], cache["not_looked_at"]) == (True, [])

    def test_once_more_there_is_nothing(self, filled):
        """A second purge finds nothing, and ends with 0 without having asked."""
        purged(filled, "--key", filled.cache.ids[1])
        done = run_here(purge(filled, "--key", filled.cache.ids[1]))
        assert (done.returncode, "0 values to delete" in done.stdout) == (0, True)
        assert "to delete" not in done.stderr

    def test_the_beginning_of_an_id_will_do(self, filled):
        """The first eight characters, as tables show them, in any case."""
        assert purged(filled, "--key", filled.cache.ids[2][:8].upper())["deleted"]

    def test_it_never_calls_a_key_retirable(self, filled):
        """What comes next is a run, which looks and judges."""
        done = run_here(purge(filled, "--key", filled.cache.ids[1]))
        assert "next: rotator run" in done.stdout
        assert "retirable" not in done.stdout + done.stderr

    def test_then_a_run_and_another_find_it_gone(self, filled):
        """Purge what is left under a key, and run: the key is not met any more."""
        purged(filled, "--key", filled.cache.ids[1])
        report = filled.run(dry_run=True)
        [key] = [one for one in report.caches[0].keys if one.id == filled.cache.ids[1]]
        assert (key.found, key.remaining) == (0, 0)

    def test_a_value_inside_another(self, place, redis):
        """What is under the key on the outside goes, unless the current key is inside."""
        cache = place.cache
        redis.set("old-in-old", cache.seal("old-in-old", cache.seal("old-in-old", b"x", key=2)))
        redis.set("now-in-old", cache.seal("now-in-old", cache.seal("now-in-old", b"x", key=0)))
        redis.set("old-in-now", cache.seal("old-in-now", cache.seal("old-in-now", b"x"), key=0))
        result = purged(place, "--key", cache.ids[1], code=3)
        assert (result["deleted"], result["others"]) == (1, {"nested": 2})
        assert set(redis.keys()) == {b"now-in-old", b"old-in-now"}
        assert {problem["outcome"] for problem in result["problems"]} == {"nested"}

    def test_every_database(self, place, redis, server):
        """Values of other databases go too."""
        with server.client(db=5) as other:
            place.cache.put(redis, "a:1")
            place.cache.put(other, "a:2")
            assert purged(place, "--key", place.cache.ids[1])["deleted"] == 2
            assert redis.dbsize() == other.dbsize() == 0

    def test_only_what_matches(self, server, redis, tmp_path):
        """Names that the configuration leaves out are left alone."""
        place = Place(tmp_path, Cache(server.address, settings={"match": ["app:*"]}))
        place.cache.put(redis, "app:1")
        place.cache.put(redis, "other:1")
        assert purged(place, "--key", place.cache.ids[1])["deleted"] == 1
        assert redis.keys() == [b"other:1"]


def keys_of_all(entries, place):
    """How many entries are under each key, by its number."""
    ids = place.cache.ids
    found = dict.fromkeys(range(len(ids)), 0)
    for name, (value, _) in entries.items():
        if name not in {b"text", b"noise"}:
            found[ids.index(place.cache.open(name, value).key.id)] += 1
    return found


class TestRefusals:
    """What is not done at all: exit code 2, and no command reaches the server."""

    @pytest.fixture
    def refused(self, filled, redis):
        """A purge with these options is refused; the error."""

        def refuse(*options, yes=True):
            before = contents(redis)
            redis.config_resetstat()
            done = run_here(purge(filled, *options, yes=yes))
            assert (done.returncode, done.stdout) == (2, ""), done.stderr
            assert "rotator: hint:" in done.stderr
            assert used(redis) == {}
            assert contents(redis) == before
            return done.stderr

        return refuse

    def test_the_current_key(self, refused, filled):
        """The current key is never purged, whatever part of its id is given."""
        for length in (16, 8):
            error = refused("--key", filled.cache.ids[0][:length])
            assert "it is the current key of the cache shared-redis" in error

    def test_an_unknown_key(self, refused):
        """A key that no cache has."""
        assert "no key id begins like that" in refused("--key", "0000000000000000")

    def test_two_keys_that_begin_alike(self, server, redis, tmp_path):
        """A beginning that several keys share is not enough."""
        seen = {}
        while True:
            material = generate()
            start = Key.from_text(material, "test").id[:4]
            if start in seen:
                break
            seen[start] = material
        place = Place(tmp_path, Cache(server.address, keys=[generate(), material, seen[start]]))
        place.cache.put(redis, "a")
        done = run_here(purge(place, "--key", start))
        assert done.returncode == 2
        assert all(key_id in done.stderr for key_id in place.cache.ids[1:])
        assert redis.dbsize() == 1

    def test_the_key_itself(self, refused, filled):
        """Whoever gives the key in place of its id does not find it in the error."""
        assert filled.cache.keys[1][:16] not in refused("--key", filled.cache.keys[1])

    @pytest.mark.parametrize(
        "options",
        [
            (),
            ("--key", "0" * 16, "--undecryptable"),
            ("--key", "0" * 16, "--reason", "bad_tag"),
            ("--reason", "bad_tag"),
            ("--undecryptable", "--reason", "none"),
        ],
        ids=" ".join,
    )
    def test_what_does_not_go_together(self, refused, options):
        """What to delete has to be said, once."""
        refused(*options)

    def test_nobody_to_ask(self, refused, filled):
        """Without a terminal and without --yes."""
        error = refused("--key", filled.cache.ids[1], yes=False)
        assert "--dry-run" in error
        assert "--yes" in error

    def test_encryption_off(self, place, redis):
        """A cache that is not encrypted has nothing to purge."""
        document = json.loads(place.file.read_text())
        document["caches"][0]["encryption"] = {"disabled": True}
        place.file.write_text(json.dumps(document))
        redis.set("a", "b")
        for options in (["--key", "0" * 16], ["--undecryptable"]):
            assert run_here(purge(place, *options, "--cache", "shared-redis")).returncode == 2
        assert redis.dbsize() == 1


class TestSeveralCaches:
    """A key of several caches."""

    @pytest.fixture
    def two(self, server, redis, tmp_path):
        """Two caches; the old key of the first is the current one of the second."""
        one = Cache(server.address, name="one", keys=2, settings={"databases": [0]})
        keys = [one.keys[1], generate()]
        two = Cache(server.address, name="two", keys=keys, settings={"databases": [1]})
        one.put(redis, "a:1")
        with server.client(db=1) as other:
            two.put(other, "b:1", key=0)
        return Place(tmp_path, one, two)

    def test_what_is_current_elsewhere_needs_a_choice(self, two):
        """It is refused, unless only caches are named where the key is an old one."""
        done = run_here(purge(two, "--key", two.cache.ids[1]))
        assert done.returncode == 2
        assert "the cache two" in done.stderr
        assert purged(two, "--key", two.cache.ids[1], "--cache", "one")["deleted"] == 1

    def test_what_another_cache_reads(self, server, redis, tmp_path):
        """Of caches that share a server, what one cannot open and the other can is left."""
        one, two = Cache(server.address, name="one"), Cache(server.address, name="two")
        place = Place(tmp_path, one, two)
        one.put(redis, "one:1")
        two.put(redis, "two:1", key=0)
        redis.set("noise", b"\xff" * 60)
        result = purged(place, "--undecryptable", "--cache", "one")
        assert (result["deleted"], result["others"]) == (1, {"other_cache": 1, "other_key": 1})
        assert set(redis.keys()) == {b"one:1", b"two:1"}

    def test_a_named_cache_without_it(self, two):
        """A cache that is named and does not have the key is a mistake."""
        done = run_here(purge(two, "--key", two.caches[1].ids[1], "--cache", "one"))
        assert done.returncode == 2
        both = ["--cache", "one", "--cache", "two"]
        assert run_here(purge(two, "--key", two.caches[1].ids[1], *both)).returncode == 2


class TestUndecryptable:
    """`--undecryptable`."""

    @pytest.fixture
    def closed(self, place, redis):
        """Values that do not open, one for each reason, and one that does."""
        stranger = Cache(name="stranger", keys=1)
        place.cache.put(redis, "ours:1", key=1)
        redis.set("ours:unknown", stranger.seal("ours:unknown", b"x", key=0, form="sealed"))
        redis.set("ours:noise", b"\xff" * 60)
        redis.set("ours:text", "{} text" * 20)
        place.cache.put(redis, "ours:a", form="sealed")
        redis.set("ours:moved", redis.get("ours:a"))
        return place

    def test_what_does_not_look_encrypted_is_left(self, closed, redis):
        """Without --reason all goes that looks like a value; plain text is left."""
        cache = purged(closed, "--undecryptable")
        assert cache["deleted"] == 3
        assert cache["others"] == {"other_key": 2, "undecryptable": 1}
        assert set(redis.keys()) == {b"ours:1", b"ours:a", b"ours:text"}
        assert cache["reasons"]["undecryptable.not_a_format"] == 1

    @pytest.mark.parametrize(
        ("reason", "name"),
        [
            ("unknown_key_id", b"ours:unknown"),
            ("bad_tag", b"ours:noise"),
            ("not_a_format", b"ours:text"),
            ("wrong_name", b"ours:moved"),
        ],
    )
    def test_one_reason(self, closed, redis, reason, name):
        """Only what does not open for the reason that was named."""
        before = set(redis.keys())
        assert purged(closed, "--undecryptable", "--reason", reason)["deleted"] == 1
        assert before - set(redis.keys()) == {name}

    def test_nothing_opens(self, closed, redis, server):
        """Where not one value opens it is rather the keys that are wrong: 5, nothing is deleted."""
        closed.configure(Cache(server.address))
        before = contents(redis)
        done = run_here(purge(closed, "--undecryptable"))
        assert (done.returncode, done.stdout) == (5, "")
        assert "rotator detect" in done.stderr
        assert contents(redis) == before
        assert purged(closed, "--undecryptable", "--allow-empty")["deleted"] == 5

    @pytest.mark.parametrize(
        ("size", "options"), [(5, ()), (30, ("--reason", "not_a_format", "--reason", "bad_tag"))]
    )
    def test_a_format_that_nobody_configured(self, server, redis, tmp_path, size, options):
        """Values that open in a format of which the configuration does not know are kept."""
        place = Place(tmp_path, Cache(server.address, settings={"formats": ["sealed", "gcm"]}))
        place.cache.put(redis, "a:1", form="sealed")
        for index in range(3):
            place.cache.put(redis, f"a:base{index}", b"x" * size, form="gcm-base64")
        redis.set("a:noise", b"\xff" * 60)
        before = contents(redis)
        done = run_here(purge(place, "--undecryptable", *options))
        assert (done.returncode, done.stdout) == (2, "")
        assert "3 of 4 values of shared-redis that were tried open" in done.stderr
        assert contents(redis) == before
        looked = run_here(purge(place, "--undecryptable", *options, "--dry-run"))
        assert looked.returncode == 0
        assert "without --dry-run this is refused" in looked.stderr

    def test_a_dry_run_where_nothing_opens(self, closed, redis, server):
        """It shows what there is, and warns that it would be refused."""
        closed.configure(Cache(server.address))
        done = run_here(purge(closed, "--undecryptable", "--dry-run"))
        assert (done.returncode, "not one value" in done.stderr) == (0, True)
        assert f"{redis.dbsize() - 1} values to delete" in done.stdout


class TestLooking:
    """`--dry-run`, and what is shown before."""

    @pytest.mark.parametrize("options", [("--key",), ("--undecryptable",)], ids=" ".join)
    def test_nothing_is_written(self, filled, redis, options, server):
        """It needs no right to write, sends no such command, and leaves no lock and no state."""
        options = [*options, *([filled.cache.ids[1]] if options == ("--key",) else [])]
        before = contents(redis)
        with user(redis, "~*", *READING) as (name, password):
            login = {"username": name, "password": password}
            place = Place(filled.folder, Cache(server.address, keys=filled.cache.keys, redis=login))
            redis.config_resetstat()
            cache = purged(place, *options, "--dry-run")
        assert cache["to_delete"] > 0
        assert cache["deleted"] == 0
        assert used(redis) == {}
        assert contents(redis) == before
        assert not place.state.exists()

    def test_names_are_shown_as_in_reports(self, filled):
        """With hashing off a name is shown as its SHA-256, unless --show-names is given."""
        document = json.loads(filled.file.read_text())
        document["caches"][0]["hashing"] = {"keys": {"disabled": True}}
        filled.file.write_text(json.dumps(document))
        options = ("--key", filled.cache.ids[1], "--dry-run")
        hidden = purged(filled, *options)["samples"]
        assert all(name.startswith("sha256:") for name in hidden)
        assert all(
            name.startswith("app:") for name in purged(filled, *options, "--show-names")["samples"]
        )

    def test_it_fits(self, filled, redis):
        """What people see is at most 100 columns wide, whatever names there are."""
        filled.cache.put(redis, "a:long:name:" * 20)
        done = run_here(purge(filled, "--key", filled.cache.ids[1]))
        shown = [line for line in done.stderr.splitlines() if "[info" not in line]
        assert max(map(len, shown)) <= 100
        assert max(map(len, done.stdout.splitlines())) <= 100


class TestAsking:
    """On a terminal."""

    @pytest.mark.parametrize(
        ("answer", "code"),
        [("shared-redis", 0), ("{number}", 0), ("yes", 2)],
    )
    def test_the_name_or_the_number(self, filled, redis, answer, code):
        """Deleted is only after somebody typed the cache's name or how many there are."""
        before = redis.dbsize()
        number = keys_of_all(contents(redis), filled)[1]
        ours, theirs = os.openpty()
        args = purge(filled, "--key", filled.cache.ids[1], yes=False)
        with subprocess.Popen(
            [sys.executable, "-m", "rotator", *map(str, args)],
            env=clean(),
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            os.write(ours, f"{answer.format(number=number)}\n".encode())
            out, said = process.communicate(timeout=60)
        for end in (ours, theirs):
            os.close(end)
        assert process.returncode == code
        assert f"To delete {number} values of shared-redis, type shared-redis or {number}:" in said
        assert redis.dbsize() == before - (0 if code else number)
        assert ("deleted" in out) is not code

    def test_ctrl_c_is_a_no(self, filled, redis):
        """Ctrl-C at the question ends with 130, and nothing is deleted."""
        before = contents(redis)
        ours, theirs = os.openpty()
        args = purge(filled, "--key", filled.cache.ids[1], yes=False)
        with subprocess.Popen(
            [sys.executable, "-m", "rotator", *map(str, args)],
            env=clean(),
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            said = b""
            while b", type shared-redis or" not in said:
                said += os.read(process.stderr.fileno(), 65536)
            process.send_signal(signal.SIGINT)
            out, said = process.communicate(timeout=60)
        for end in (ours, theirs):
            os.close(end)
        assert (process.returncode, out) == (130, b"")
        assert b"rotator: error: interrupted" in said
        assert contents(redis) == before


class TestRights:
    """What the user may do."""

    def test_exactly_those(self, filled, redis, server):
        """What is documented is enough, with +del in place of +unlink, too."""
        rest = [rule for rule in DELETING if rule != "+unlink"]
        for number, more in enumerate(["+unlink", "+del"], start=1):
            with user(redis, "~*", *READING, *rest, more) as (name, password):
                login = {"username": name, "password": password}
                cache = Cache(server.address, keys=filled.cache.keys, redis=login)
                assert purged(Place(filled.folder, cache), "--key", cache.ids[number])["deleted"]

    def test_those_are_documented(self):
        """The page on the configuration names them."""
        text = section("configuration", "The Redis user")
        [line] = re.findall(r"`rotator purge` needs (.*?), and no", text, re.DOTALL)
        assert re.findall(r"`([^`]*)`", line) == ["+unlink", "+del", *DELETING[1:]]

    @pytest.mark.parametrize("missing", DELETING)
    def test_without_one_of_them(self, filled, redis, server, missing):
        """What is missing is named before anything is deleted."""
        rest = [rule for rule in (*READING, *DELETING) if rule != missing]
        before = contents(redis)
        with user(redis, "~*", *rest) as (name, password):
            login = {"username": name, "password": password}
            cache = Cache(server.address, keys=filled.cache.keys, redis=login)
            done = run_here(purge(Place(filled.folder, cache), "--key", cache.ids[1]))
        assert done.returncode == 1
        assert f"the user lacks rights: {missing}\n" in done.stderr
        assert contents(redis) == before

    def test_del_in_place_of_unlink(self, filled, redis, server):
        """A dry run warns nobody who may delete in the older way."""
        with user(redis, "~*", *READING, *DELETING[1:], "+del", "+multi") as (name, password):
            login = {"username": name, "password": password}
            cache = Cache(server.address, keys=filled.cache.keys, redis=login)
            place = Place(filled.folder, cache)
            done = run_here(purge(place, "--key", cache.ids[1], "--dry-run", yes=False))
        assert (done.returncode, "refused" in done.stderr) == (0, False)

    @pytest.mark.parametrize("missing", [*DELETING, None, "+multi"])
    def test_a_dry_run_without_one_of_them(self, filled, redis, server, missing):
        """A dry run warns of what deleting needs and the user lacks, and sends none of it."""
        rest = [rule for rule in (*READING, *DELETING, "+multi") if rule != missing]
        with user(redis, "~*", *rest) as (name, password):
            login = {"username": name, "password": password}
            cache = Cache(server.address, keys=filled.cache.keys, redis=login)
            place = Place(filled.folder, cache)
            done = run_here(purge(place, "--key", cache.ids[1], "--dry-run", yes=False))
        assert (done.returncode, used(redis)) == (0, {})
        if missing is None:
            assert not re.search("refused|cannot", done.stderr)
        elif missing == "+multi":
            assert "cannot be tried without +multi" in done.stderr
            assert all(rule in done.stderr for rule in DELETING)
        else:
            assert "without --dry-run this is refused" in done.stderr
            assert f"{server.address}: the user lacks rights: {missing}" in done.stderr

    def test_names_out_of_reach(self, filled, redis, server):
        """Names that the user may not read are counted as denied, and that is 3."""
        filled.cache.put(redis, "secret:1")
        with user(redis, "~app:*", "~now:*", *READING, *DELETING) as (name, password):
            login = {"username": name, "password": password}
            cache = Cache(server.address, keys=filled.cache.keys, redis=login)
            result = purged(Place(filled.folder, cache), "--key", cache.ids[1], code=3)
        assert result["denied"] == 4  # with the two that are none of ours, and the list
        assert result["deleted"] == result["to_delete"]
        assert redis.exists("secret:1")


class TestOthers:
    """Runs and applications at the same time."""

    def test_a_run_is_in_progress(self, filled, redis):
        """While a run holds the cache, nothing is begun: 7."""
        before = contents(redis)
        with State(filled.state) as state, run_lock(state.path, "shared-redis"):
            done = run_here(purge(filled, "--key", filled.cache.ids[1]))
        assert (done.returncode, done.stdout) == (7, "")
        access = filled.access()
        [address] = access.cache.addresses
        with announce_run("shared-redis", lambda: access.connect(address)):
            done = run_here(purge(filled, "--key", filled.cache.ids[1]))
        assert done.returncode == 7
        assert contents(redis) == before

    def test_a_purge_keeps_runs_away(self, filled):
        """While a purge has the cache, a run is refused."""
        access = filled.access()
        task = PurgeKey(access.codec, access.keyring.old[0])
        with State(filled.state) as state:
            errand = BulkRun(access, task, BulkOptions("x"), **held(state))
            errand.prepare()
            with pytest.raises(BusyError):
                filled.run()
            errand.close()
        assert filled.run(dry_run=True).caches[0].complete

    def test_a_reply_that_does_not_come_is_not_waited_for(self, filled, server, monkeypatch):
        """A purge that is to end gives a slow reply up before it would be late."""
        hurry(monkeypatch)
        stopper = StopSignal()
        with silent_once(server.port, b"SCAN", partial(stopper.ask, Stop.INTERRUPTED)) as front:
            filled.cache.redis["addresses"] = [front.address]
            filled.configure(filled.cache)
            access = filled.access()
            task = PurgeKey(access.codec, access.keyring.old[0])
            settings = {**held(None), "stopper": stopper}
            found = BulkRun(access, task, BulkOptions("x"), **settings).look()
        assert (found.exit_code(), found.tally.visits) == (Exit.INTERRUPTED, 0)

    def test_a_value_replaced_after_it_was_read(self, filled, redis, monkeypatch):
        """What an application writes between reading and deleting stays, and is counted."""
        wanted = next(
            name
            for name, (value, _) in contents(redis).items()
            if name not in {b"text", b"noise"}
            and filled.cache.open(name, value).key.id == filled.cache.ids[1]
        )
        gone = set()
        original = Store.compare_and_delete

        def late(self, entries):
            names = [name for name, _ in entries]
            if wanted in names:
                filled.cache.put(redis, wanted, b"fresh", key=0)
                other = next((one for one in names if one != wanted), None)
                gone.update({other} - {None})
                redis.delete(*gone)
            return original(self, entries)

        monkeypatch.setattr(Store, "compare_and_delete", late)
        cache = purged(filled, "--key", filled.cache.ids[1], "--page", 1000)
        assert filled.cache.open(wanted, redis.get(wanted)).plaintext == b"fresh"
        assert (cache["changed"], cache["gone"]) == (1, 1)
        assert cache["deleted"] == cache["to_delete"] - 2

    def test_a_value_replaced_by_another_under_the_key(self, filled, redis, monkeypatch):
        """One that is still under the key when it is read again goes, as often as it takes."""
        original, rewrites = Store.compare_and_delete, []

        def late(self, entries):
            if len(rewrites) < 3:
                rewrites.append(entries[0][0])
                filled.cache.put(redis, entries[0][0], b"again", key=1)
            return original(self, entries)

        monkeypatch.setattr(Store, "compare_and_delete", late)
        cache = purged(filled, "--key", filled.cache.ids[1], "--page", 1000)
        assert len(rewrites) == 3
        assert cache["deleted"] == cache["to_delete"]

    def test_a_value_replaced_again_and_again(self, filled, redis, monkeypatch):
        """One that changes at every try stays, and that is 3."""
        original, firsts = Store.compare_and_delete, []

        def late(self, entries):
            firsts.append(entries[0][0])
            if firsts[0] in dict(entries):
                filled.cache.put(redis, firsts[0], b"again", key=1)
            return original(self, entries)

        monkeypatch.setattr(Store, "compare_and_delete", late)
        cache = purged(filled, "--key", filled.cache.ids[1], "--page", 1000, code=3)
        assert cache["contended"] == 1
        assert cache["problems"][0]["detail"] == "changed at each of 5 tries"

    def test_a_writer_at_full_speed(self, filled, redis, server):
        """Beside an application that replaces values, none of its values is lost."""
        over, written, random = threading.Event(), {}, Random(1)
        names = [name for name in contents(redis) if name.startswith(b"app:")]

        def write():
            with server.client() as client:
                while not over.is_set():
                    name, text = random.choice(names), random.randbytes(20)
                    filled.cache.put(client, name, text, key=0)
                    written[name] = text

        writer = threading.Thread(target=write)
        writer.start()
        try:
            purged(filled, "--key", filled.cache.ids[1], "--page", 3)
        finally:
            over.set()
            writer.join()
        for name, text in written.items():
            assert filled.cache.open(name, redis.get(name)).plaintext == text
        assert keys_of_all(contents(redis), filled)[1] == 0


def held(state):
    """What an errand needs besides, where nobody watches."""
    return {
        "state": state,
        "stopper": StopSignal(),
        "progress": lambda _cache, phase, _total: Pages(phase, None),
    }


class TestStopping:
    """Ctrl-C."""

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_the_page_is_finished(self, place, redis, number, code):
        """The page in hand is finished and counted, the rest stays, and the next one goes on."""
        for index in range(100):
            place.cache.put(redis, f"app:{index}")
        # Slow enough for a signal to arrive before the end.
        slow = ("--page", 5, "--max-rate", 200)
        args = purge(place, "--key", place.cache.ids[1], *slow, "--format", "json")
        with Running(*args) as running:
            running.wait_until(lambda: redis.dbsize() < 95)
            running.signal(number)
            done = running.end()
        assert done.returncode == code, done.stderr
        assert "stopping after this page" in done.stderr
        [cache] = json.loads(done.stdout)["caches"]
        assert cache["stopped"] in {"interrupted", "terminated"}
        assert 0 < cache["deleted"] < 100
        rest = redis.dbsize()
        assert rest == 100 - cache["deleted"]
        assert purged(place, "--key", place.cache.ids[1])["deleted"] == rest

    def test_a_slow_one(self, place, redis):
        """--max-rate holds it back, and Ctrl-C is heard while it waits."""
        for index in range(50):
            place.cache.put(redis, f"app:{index}")
        slow = ("--max-rate", 1, "--page", 10, "--progress")
        with Running(*purge(place, "--key", place.cache.ids[1], *slow)) as running:
            running.wait_for_line("waiting: rate")
            running.signal(signal.SIGINT)
            assert running.end().returncode == 130
        assert redis.dbsize() == 50


class TestCluster:
    """Three primaries."""

    def run(self, place, acts, on_page=None):
        """A walk over the cluster."""
        access = place.access()
        task = PurgeKey(access.codec, access.keyring.old[0])
        with State(place.state) as state:
            errand = BulkRun(
                access,
                task,
                BulkOptions("deleting", page=20, **FAST),
                state=state,
                stopper=StopSignal(),
                progress=lambda _cache, phase, _total: Pages(
                    "rotating" if phase == "deleting" else phase, on_page
                ),
            )
            errand.prepare()
            try:
                return errand.act() if acts else errand.look()
            finally:
                errand.close()

    def test_every_slot(self, cluster, tmp_path):
        """Values on every node go, and those under other keys stay."""
        place = Place(tmp_path, Cache(*cluster.addresses))
        expected = fill_cluster(cluster, place.cache, 600)
        before = read(cluster, expected)
        cache = purged(place, "--key", place.cache.ids[1])
        wanted = {
            name
            for name, (value, _) in before.items()
            if place.cache.open(name, value).key.id == place.cache.ids[1]
        }
        assert cache["deleted"] == len(wanted) > 200
        assert [node["deleted"] > 0 for node in cache["nodes"]] == [True] * 3
        after = read(cluster, expected)
        assert {name for name, (value, _) in after.items() if value is None} == wanted

    def test_slots_that_move_meanwhile(self, cluster, tmp_path):
        """Slots that change their owner in the middle are walked again: nothing is left."""
        place = Place(tmp_path, Cache(*cluster.addresses, keys=2))
        source, target = cluster.primaries[:2]
        slots = range(cluster.member(source).slots[0][0], cluster.member(source).slots[0][0] + 3)
        names = [name for slot in slots for name in tagged(slot, 30)]
        names += names_in(range(16384), 200)
        store(cluster, made(place.cache, names))
        with at_page(2, lambda: cluster.move_slots(source, target, slots)) as on_page:
            found = self.run(place, acts=True, on_page=on_page)
        try:
            assert found.sweep.topology_changed
            assert (found.sweep.complete, found.exit_code()) == (True, 0)
            assert sum(node.client().dbsize() for node in cluster.primaries) == 0
        finally:
            cluster.move_slots(target, source, slots)

    def test_an_open_move(self, cluster, tmp_path):
        """While slots are being moved nothing is deleted: not everything can be looked at."""
        place = Place(tmp_path, Cache(*cluster.addresses, keys=2))
        source, target = cluster.primaries[:2]
        slot = cluster.member(source).slots[0][0]
        names = tagged(slot, 20)
        store(cluster, made(place.cache, names))
        cluster.move_slots(source, target, [slot], Move.HALF)
        try:
            result = purged(place, "--key", place.cache.ids[1], code=1)
            assert (result["to_delete"], result["deleted"]) == (20, 0)
            assert "slots are being moved" in result["not_looked_at"][0]
            done = run_here(purge(place, "--key", place.cache.ids[1]))
            assert "nothing was changed, because not all values could be looked at" in done.stderr
        finally:
            cluster.move_slots(source, target, [slot])

    def test_names_on_the_move_are_reached(self, cluster, tmp_path):
        """A walk that has begun deletes on both sides of a move that is under way."""
        place = Place(tmp_path, Cache(*cluster.addresses, keys=2))
        source, target = cluster.primaries[:2]
        slot = cluster.member(source).slots[0][0]
        store(cluster, made(place.cache, tagged(slot, 20)))
        cluster.move_slots(source, target, [slot], Move.HALF)
        try:
            found = self.run(place, acts=True)
            assert found.done == 20
            assert (found.sweep.complete, found.exit_code()) == (False, 1)
        finally:
            cluster.move_slots(source, target, [slot])


def test_a_server_that_goes_away(filled, monkeypatch):
    """Where a cache cannot be gone on with, the result says so, and with what words: 1."""
    act = BulkRun.act

    def fail(errand):
        act(errand)
        raise ServerError("the server is gone")

    monkeypatch.setattr(BulkRun, "act", fail)
    cache = purged(filled, "--key", filled.cache.ids[1], code=1)
    assert (cache["complete"], cache["error"]) == (False, "the server is gone")
    assert cache["to_delete"] > 0
    done = run_here(purge(filled, "--key", filled.cache.ids[2]))
    assert "shared-redis: failed: the server is gone" in done.stdout


def test_a_connection_that_breaks(filled, redis):
    """The node is walked again, over a new connection; the rest goes, and counts once."""
    access = filled.access()
    task = PurgeKey(access.codec, access.keyring.old[0])
    number = keys_of_all(contents(redis), filled)[1]

    def cut(phase, page):
        if (phase, page) == ("deleting", 2):
            redis.client_kill_filter(_type="normal", skipme=True)

    with State(filled.state) as state:
        errand = BulkRun(
            access,
            task,
            BulkOptions("deleting", page=10),
            state=state,
            stopper=StopSignal(),
            progress=lambda _cache, phase, _total: Pages(phase, cut),
        )
        found = errand.act()
    assert found.done == number
    assert (found.sweep.complete, found.exit_code()) == (True, 0)
    assert keys_of_all(contents(redis), filled)[1] == 0


def test_a_node_that_is_walked_again(filled, redis):
    """What moves data in the middle has the node visited again; what was deleted counts once."""
    access = filled.access()
    [address] = access.cache.addresses
    before = redis.dbsize()
    control = PageControl(on_page=lambda page: page == 1 and redis.swapdb(14, 15))
    task = PurgeKey(access.codec, access.keyring.old[0])
    task.writes = True
    scope = Scope(Mode.RUN, page=1000, limits=Limits(latency=None))
    [(_, result)] = InlineEngine(access, task).sweep({address: NodePlan()}, scope, control)
    assert (result.complete, result.restarts) == (True, 1)
    assert result.reasons == ("SWAPDB was called 1 time",)
    assert result.tally.outcomes[BulkOutcome.DONE] == before - redis.dbsize() > 0
    assert result.tally.visits == before
    assert result.tally.only_rotated().visits == result.tally.done
    assert control.saved == {}
