"""Every row of the outcome table, on a real server, through a whole job."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.exceptions import ResponseError

from cluster.expiries import expiry_of
from rotator.demo.local_server import LocalServer
from rotator.errors import Exit
from rotator.report.words import headline
from rotator.server.context import CacheContext
from rotator.server.store import Store
from rotator.sweep.node import visitor
from rotator.tally.tally import Outcome
from support.caches import FAR_MS, OUTCOMES, Cache, Place, counted, meddled, old_key, user, wait_for
from support.server_versions import since

MIB = 1 << 20
KINDS = {
    "list": lambda client, name: client.rpush(name, "x"),
    "hash": lambda client, name: client.hset(name, "field", "x"),
    "set": lambda client, name: client.sadd(name, "x"),
    "sorted set": lambda client, name: client.zadd(name, {"x": 1}),
    "stream": lambda client, name: client.xadd(name, {"field": "x"}),
}


def problem(report, outcome):
    """The one sample of a visit that ended so."""
    [found] = [one for one in report.caches[0].problems if one.outcome == outcome]
    return found


class TestCurrentAndRotated:
    """Values that are where they should be, and values that get there."""

    def test_current(self, place, redis):
        """A value under the current key is counted as current and not touched."""
        value = place.cache.put(redis, "app:1", key=0)
        report = place.run()
        assert counted(report) == {"current": 1}
        assert redis.get("app:1") == value
        assert report.exit_code == Exit.OK

    @pytest.mark.parametrize("form", ["gcm", "gcm-base64", "sealed"])
    def test_rotated(self, place, redis, form):
        """A value under an old key is rotated: same plaintext, format and expiry, current key."""
        place.cache.put(redis, "app:1", b"secret", key=2, form=form, at_ms=FAR_MS)
        report = place.run()
        opened = place.cache.open("app:1", redis.get("app:1"))
        assert counted(report) == {"rotated": 1}
        assert (opened.plaintext, opened.format.name) == (b"secret", form)
        assert opened.key.id == place.cache.ids[0]
        assert expiry_of(redis, "app:1") == FAR_MS
        assert report.exit_code == Exit.OK

    def test_would_rotate(self, place, redis):
        """In a dry run a value under an old key would be rotated, and stays as it is."""
        value = place.cache.put(redis, "app:1")
        report = place.run(dry_run=True)
        assert counted(report) == {"would_rotate": 1}
        assert redis.get("app:1") == value
        assert report.exit_code == Exit.OK

    def test_write_another_format(self, server, redis, tmp_path):
        """With `write: sealed` every value ends up sealed, also those under the current key."""
        place = Place(tmp_path, Cache(server.address, settings={"write": "sealed"}))
        place.cache.put(redis, "app:1", key=0, form="gcm")
        place.cache.put(redis, "app:2", key=1, form="gcm-base64")
        place.cache.put(redis, "app:3", key=0, form="sealed")
        report = place.run()
        assert counted(report) == {"current": 1, "rotated": 2}
        for name in redis.scan_iter():
            opened = place.cache.open(name, redis.get(name), form="sealed")
            assert opened.key.id == place.cache.ids[0]
        assert counted(place.run()) == {"current": 3}

    def test_only_key(self, place, redis):
        """With `--only-key` only that key's values move; those of others only would."""
        first = place.cache.put(redis, "app:1", key=1)
        place.cache.put(redis, "app:2", key=2)
        report = place.run(only_key=place.cache.ids[2])
        assert counted(report) == {"rotated": 1, "would_rotate": 1}
        assert redis.get("app:1") == first
        assert old_key(report, place.cache.ids[1]).verdict == "in-use"
        assert old_key(report, place.cache.ids[2]).remaining == 0


class TestGone:
    """Entries that are not there any more."""

    def test_before_it_could_be_read(self, place, redis):
        """An entry that is deleted after SCAN named it is gone."""
        place.cache.put(redis, "app:1")
        reads = []

        def delete(names):
            reads.append(names)
            if len(reads) == 2:  # the first one was the sample
                redis.delete(*names)

        report = place.run(kind=meddled(before_read=delete))
        assert counted(report) == {"gone": 1}

    def test_before_it_could_be_rewritten(self, place, redis):
        """An entry that expires after it was read is gone, and does not come back."""
        place.cache.put(redis, "app:1", at_ms=FAR_MS)
        kind = meddled(before_write=lambda swaps: redis.pexpireat(swaps[0][0], 1))
        report = place.run(kind=kind, allow_empty=True)
        assert counted(report) == {"gone": 1}
        assert redis.dbsize() == 0
        assert report.exit_code == Exit.OK

    def test_after_a_reading_sweep_saw_it(self, place, redis):
        """In a dry run an entry that was met under an old key and then expired leaves nothing."""
        place.cache.put(redis, "app:1")

        class Fleeting(Store):
            def expiries(self, names):
                redis.delete(*names)
                return super().expiries(names)

        class FleetingAccess(CacheContext):
            def connect(self, address):
                return Fleeting(super().connect(address).connection)

        report = place.run(dry_run=True, kind=FleetingAccess)
        key = old_key(report, place.cache.ids[1])
        assert counted(report) == {"gone": 1}
        assert (key.found, key.remaining, key.remaining_without_ttl) == (1, 0, 0)


class TestContended:
    """Entries that somebody else writes at the same time."""

    def test_at_every_try(self, place, redis):
        """What changes at each of five tries is contended, and the last writer's value stays."""
        place.cache.put(redis, "app:1", at_ms=FAR_MS)
        written = []

        def write(swaps):
            written.append(place.cache.put(redis, swaps[0][0], b"%d" % len(written), key=1))

        report = place.run(kind=meddled(before_write=write))
        assert counted(report) == {"contended": 1}
        assert len(written) == 5
        assert redis.get("app:1") == written[-1]
        assert old_key(report, place.cache.ids[1]).remaining == 1
        assert report.exit_code == Exit.NOT_MOVED
        assert headline(report.caches[0]) == ("complete, but 1 value not moved", "doubtful")

    def test_once(self, place, redis):
        """What changed once is read again, and rotated with the value that it has then."""
        place.cache.put(redis, "app:1", b"before")
        rivals = iter([b"after"])

        def write(swaps):
            for plaintext in rivals:
                place.cache.put(redis, swaps[0][0], plaintext, key=2)

        report = place.run(kind=meddled(before_write=write))
        assert counted(report) == {"rotated": 1}
        assert place.cache.open("app:1", redis.get("app:1")).plaintext == b"after"

    def test_with_the_current_key(self, place, redis):
        """What the application wrote under the current key meanwhile is current, and its own."""
        place.cache.put(redis, "app:1", b"before")
        written = []

        def write(swaps):
            written.append(place.cache.put(redis, swaps[0][0], b"after", key=0))

        report = place.run(kind=meddled(before_write=write))
        assert counted(report) == {"current": 1}
        assert redis.get("app:1") == written[0]

    def test_a_list_took_its_place(self, place, redis):
        """What became a list after it was read is not a string, and the list is not touched."""
        place.cache.put(redis, "app:1")

        def write(swaps):
            redis.delete(swaps[0][0])
            redis.rpush(swaps[0][0], "x")

        report = place.run(kind=meddled(before_write=write))
        assert counted(report) == {"not_string": 1}
        assert redis.lrange("app:1", 0, -1) == [b"x"]


class TestUndecryptable:
    """Values that no configured key and format opens."""

    def run(self, place, redis, value, *, name="app:1"):
        """The report on one such value, which must stay as it is."""
        redis.set(name, value)
        report = place.run()
        assert counted(report)["undecryptable"] == 1
        assert redis.get(name) == value
        assert report.exit_code in {Exit.NOT_MOVED, Exit.EMPTY}
        assert old_key(report, place.cache.ids[1]).verdict == "unknown"
        return report

    def test_unknown_key_id(self, place, redis):
        """A sealed value that names a key which is not configured has an unknown key id."""
        stranger = Cache()
        report = self.run(place, redis, stranger.seal("app:1", b"x", key=0, form="sealed"))
        assert problem(report, "undecryptable").reason == "unknown_key_id"

    def test_wrong_name(self, place, redis):
        """A sealed value that was copied to another name has the wrong name."""
        value = place.cache.put(redis, "app:0", form="sealed")
        report = self.run(place, redis, value)
        assert problem(report, "undecryptable").reason == "wrong_name"
        assert counted(report) == {"rotated": 1, "undecryptable": 1}

    def test_bad_tag(self, place, redis):
        """A value with one flipped bit has a bad tag."""
        value = bytearray(place.cache.seal("app:1", b"hello", form="sealed"))
        value[-1] ^= 1
        report = self.run(place, redis, bytes(value))
        assert problem(report, "undecryptable").reason == "bad_tag"

    def test_not_a_format(self, place, redis):
        """A value too short for a nonce and a tag is in no format."""
        report = self.run(place, redis, b"plain")
        assert problem(report, "undecryptable").reason == "not_a_format"
        assert problem(report, "undecryptable").detail == "5 bytes"

    def test_nothing_but_that(self, place, redis):
        """If no value at all opens, the exit code asks whether the pattern or format is wrong."""
        report = self.run(place, redis, b"plain")
        assert report.exit_code == Exit.EMPTY
        assert place.run(allow_empty=True).exit_code == Exit.NOT_MOVED

    def test_accepted(self, place, redis):
        """Undecryptable values that were accepted block neither the exit code nor the verdict."""
        place.cache.put(redis, "app:0")
        redis.set("app:1", b"plain")
        redis.set("app:2", b"plain")
        assert place.run(accept={Outcome.UNDECRYPTABLE: 1}).exit_code == Exit.NOT_MOVED
        place.run(accept={Outcome.UNDECRYPTABLE: 2}, quiet=timedelta())
        report = place.run(accept={Outcome.UNDECRYPTABLE: 2}, quiet=timedelta())
        assert report.exit_code == Exit.OK
        assert headline(report.caches[0]) == ("complete", "good")
        assert old_key(report, place.cache.ids[1]).verdict == "retirable"

    def test_many(self, place, redis):
        """All undecryptable values are counted, and at most 100 are named."""
        redis.mset({f"app:{number}": b"plain" for number in range(150)})
        report = place.run(page=40)
        assert counted(report) == {"undecryptable": 150}
        assert len(report.caches[0].problems) == 100
        assert report.caches[0].problems_total == 150


class TestNested:
    """Values whose plaintext is a value."""

    @pytest.mark.parametrize(("outer", "inner"), [(1, 2), (1, 0), (0, 1)])
    def test_nested(self, place, redis, outer, inner):
        """A nested value is not wrapped again, and remains under its outer and its inner key."""
        inside = place.cache.seal("app:1", b"hello", key=inner, form="gcm")
        value = place.cache.put(redis, "app:1", inside, key=outer, form="gcm-base64")
        report = place.run()
        assert counted(report) == {"nested": 1}
        assert redis.get("app:1") == value
        assert report.exit_code == Exit.NOT_MOVED
        for number in {outer, inner} - {0}:
            key = old_key(report, place.cache.ids[number])
            assert (key.remaining, key.remaining_without_ttl) == (1, 1)
            assert key.verdict == "in-use"

    def test_nested_with_a_ttl(self, place, redis):
        """A nested value with a TTL lets both its keys drain with it."""
        inside = place.cache.seal("app:1", b"hello", key=2)
        place.cache.put(redis, "app:1", inside, key=1, at_ms=FAR_MS)
        report = place.run()
        for number in (1, 2):
            assert old_key(report, place.cache.ids[number]).verdict == "draining"


class TestNotString:
    """Other types of Redis."""

    @pytest.mark.parametrize("kind", KINDS)
    def test_not_string(self, place, redis, kind):
        """A list, hash, set, sorted set or stream is never touched, and blocks no exit code."""
        KINDS[kind](redis, "other:1")
        place.cache.put(redis, "app:1")
        dump = redis.dump("other:1")
        report = place.run()
        assert counted(report) == {"not_string": 1, "rotated": 1}
        assert redis.dump("other:1") == dump
        assert report.exit_code == Exit.OK
        assert old_key(report, place.cache.ids[1]).verdict == "unknown"


class TestTooLarge:
    """Values that would pass the server's limit, here the lowest that it can have."""

    @pytest.fixture
    def writing(self, server, tmp_path, configured):
        """A server with that limit, and a cache that writes every value in one format."""

        def make(form, **login):
            configured("proto-max-bulk-len", MIB)
            return Place(tmp_path, Cache(server.address, settings={"write": form}, redis=login))

        return make

    @pytest.mark.parametrize("form", ["gcm-base64", "sealed"])
    def test_too_large(self, writing, redis, form):
        """A value that would grow past the limit stays, and its neighbour is rotated."""
        place = writing(form)
        plaintext = bytes(MIB - 28)  # with nonce and tag exactly the limit
        value = place.cache.put(redis, "app:1", plaintext, at_ms=FAR_MS)
        place.cache.put(redis, "app:2", bytes(1000))
        assert len(value) == MIB
        report = place.run()
        assert counted(report) == {"too_large": 1, "rotated": 1}
        assert redis.get("app:1") == value
        assert report.exit_code == Exit.NOT_MOVED
        key = old_key(report, place.cache.ids[1])
        assert key.verdict == "draining"  # a fact, and what is not known stands behind it
        assert any("would be too large" in reason for reason in key.reasons)

    @pytest.mark.parametrize("settings", [{}, {"accept": {Outcome.TOO_LARGE: 1}}])
    def test_met_again(self, writing, redis, settings):
        """What was too large to be moved is met again, and accuses nobody; it may be accepted."""
        place = writing("sealed")
        place.cache.put(redis, "app:1", bytes(MIB - 28))
        place.cache.put(redis, "app:2")
        report = place.run(**settings)
        key = old_key(report, place.cache.ids[1])
        assert report.caches[0].verification.found_under_old_keys == 1
        assert report.exit_code == (Exit.OK if settings else Exit.NOT_MOVED)
        assert headline(report.caches[0])[0] == (
            "complete" if settings else "complete, but 1 value not moved"
        )
        assert (key.verdict, key.remaining) == ("in-use", 1)
        assert not any("still encrypts" in reason for reason in key.reasons)
        assert counted(place.run(dry_run=True, **settings)) == {"too_large": 1, "current": 1}

    def test_exactly_the_limit(self, place, redis, configured):
        """A value of exactly the limit is rotated if it does not grow."""
        configured("proto-max-bulk-len", MIB)
        place.cache.put(redis, "app:1", bytes(MIB - 28))
        assert counted(place.run()) == {"rotated": 1}
        assert len(redis.get("app:1")) == MIB

    def test_old_value_past_a_lowered_limit(self, writing, redis):
        """A value from before the limit was lowered cannot even be compared: it is too large."""
        place = writing("gcm")
        redis.config_set("proto-max-bulk-len", 2 * MIB)
        place.cache.put(redis, "app:1", bytes(MIB - 28), form="gcm-base64")
        redis.config_set("proto-max-bulk-len", MIB)
        assert counted(place.run()) == {"too_large": 1}

    def test_limit_unknown(self, writing, redis):
        """Where the limit may not be asked for, the page that breaks it ends the sweep, aloud."""
        with user(redis, "~*", "+@all", "-config") as (name, password):
            place = writing("sealed", username=name, password=password)
            value = place.cache.put(redis, "app:1", bytes(MIB - 28))
            report = place.run()
        assert redis.get("app:1") == value
        assert report.exit_code == Exit.FAILED
        assert "too large" in report.caches[0].coverage.not_looked_at[0]


class TestDenied:
    """Names that the ACL keeps from us."""

    def run(self, server, redis, tmp_path, *rules, **plan):
        """The report of a run as a user with all commands and the names of *rules*."""
        with user(redis, "+@all", *rules) as (name, password):
            login = {"username": name, "password": password}
            place = Place(tmp_path, Cache(server.address, redis=login))
            values = [place.cache.put(redis, name) for name in ("app:1", "other:1")]
            report = place.run(**plan)
        assert redis.get("other:1") == values[1]
        assert report.exit_code == Exit.NOT_MOVED
        return report, old_key(report, place.cache.ids[1])

    def test_reading(self, server, redis, tmp_path):
        """A name that may not be read is denied, and its neighbour is rotated all the same."""
        report, key = self.run(server, redis, tmp_path, "~app:*")
        assert counted(report) == {"denied": 1, "rotated": 1}
        assert problem(report, "denied").name == "other:1"
        assert key.verdict == "unknown"

    def test_reading_in_a_dry_run(self, server, redis, tmp_path):
        """A dry run finds what may not be read, too."""
        report, key = self.run(server, redis, tmp_path, "~app:*", dry_run=True)
        assert counted(report) == {"denied": 1, "would_rotate": 1}
        assert key.verdict == "in-use"
        assert any("the ACL forbids it" in reason for reason in key.reasons)

    def test_writing(self, server, redis, tmp_path):
        """A name that may only be read is denied, and remains under its key."""
        if not since(redis, 7, 0):  # the server has no such rule: what may be read may be written
            with pytest.raises(ResponseError, match="%R"), user(redis, "%R~other:*"):
                pass
            return
        report, key = self.run(server, redis, tmp_path, "~app:*", "%R~other:*")
        assert counted(report) == {"denied": 1, "rotated": 1}
        assert (key.rotated, key.remaining, key.remaining_without_ttl) == (1, 1, 1)
        assert key.verdict == "in-use"  # the verifying sweep could read it, so it is known


class TestFailed:
    """Anything else, in the server's own words."""

    def test_out_of_memory(self, place, redis, configured):
        """A server that is out of memory fails the visit, and the value stays."""
        value = place.cache.put(redis, "app:1")
        place.cache.put(redis, "app:2", key=0)
        configured("maxmemory-policy", "noeviction")
        configured("maxmemory", 1)
        report = place.run()
        assert counted(report) == {"failed": 1, "current": 1}
        assert problem(report, "failed").detail.startswith("OOM")
        assert redis.get("app:1") == value
        assert old_key(report, place.cache.ids[1]).remaining == 1
        assert report.exit_code == Exit.NOT_MOVED

    def test_no_replica_to_write_to(self, place, redis, configured, monkeypatch):
        """A server that wants more replicas than it has is waited for, then the sweep failed."""
        monkeypatch.setattr(visitor, "RETRY_SECONDS", (0.01, 0.02))
        value = place.cache.put(redis, "app:1")
        configured("min-replicas-to-write", 1)
        report = place.run()
        assert report.exit_code == Exit.FAILED
        assert "refuses to work: NOREPLICAS" in report.caches[0].coverage.not_looked_at[0]
        assert redis.get("app:1") == value

    def test_disk_full(self, tmp_path):
        """A server that cannot persist refuses writes, and the visit failed."""
        with LocalServer("--save", "1000", "1") as server, server.client() as client:
            place = Place(tmp_path, Cache(server.address))
            place.cache.put(client, "app:1")
            server.folder.joinpath("dump.rdb").mkdir()
            client.bgsave()
            wait_for(lambda: not client.info("persistence")["rdb_bgsave_in_progress"])
            report = place.run()
            assert counted(report) == {"failed": 1}
            assert problem(report, "failed").detail.startswith("MISCONF")


ENTRIES = {
    "current": lambda place, client, name: place.cache.put(client, name, key=0),
    "rotated": lambda place, client, name: place.cache.put(client, name, key=1, at_ms=FAR_MS),
    "undecryptable": lambda _place, client, name: client.set(name, b"foreign data, in clear text"),
    "not_string": lambda _place, client, name: client.rpush(name, "x"),
    "nested": lambda place, client, name: place.cache.put(
        client, name, place.cache.seal(name, b"", key=2), key=1, form="sealed"
    ),
}


class TestSum:
    """Outcomes sum to visits, whatever is stored."""

    @settings(
        max_examples=25,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(
        kinds=st.lists(st.sampled_from(sorted(ENTRIES)), max_size=40),
        page=st.integers(1, 50),
        dry_run=st.booleans(),
    )
    def test_sum(self, place, redis, kinds, page, dry_run):
        """Each entry has the outcome of its kind, and the outcomes sum to the visits."""
        redis.flushall()
        expected = dict.fromkeys(OUTCOMES, 0)
        for number, kind in enumerate(kinds):
            ENTRIES[kind](place, redis, b"app:%d" % number)
            expected["would_rotate" if dry_run and kind == "rotated" else kind] += 1
        report = place.run(dry_run=dry_run, page=page, verify=False)
        [cache] = report.caches
        assert sum(cache.outcomes.values()) == cache.visits
        # A name may be given twice when the table is resized in mid-scan, but not in this one.
        assert cache.outcomes == expected
