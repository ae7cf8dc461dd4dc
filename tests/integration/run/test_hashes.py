"""Commands on hashes: purge, adopt, detect, inspect and check look into fields that are named."""

import json

import pytest

from support.caches import FAR_MS, NO_FILES, Cache, Place
from support.hashes import PLAIN, check, expire, expiry_of, fill, has_ttls, put
from support.processes import run_here


@pytest.fixture
def make(server, redis, tmp_path):  # noqa: ARG001 - redis empties the server first
    """Makes a cache of the session's server whose fields of this name are visited."""

    def made(fields):
        settings = NO_FILES if fields is None else {**NO_FILES, "fields": fields}
        return Place(tmp_path, Cache(server.address, settings=settings))

    return made


def said(place, command, *more, code=0):
    """What a command with these options says of the only cache, as JSON."""
    state = ["--state", place.state, "--yes"] if command in {"purge", "adopt"} else []
    done = run_here([command, "--config", place.file, *state, "--format", "json", *map(str, more)])
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def named(make):
    """A cache with its values in the field `data`."""
    return make(["data"])


class TestPurge:
    """`rotator purge`."""

    @pytest.mark.parametrize("fields", [["data"], "*"])
    def test_under_a_key(self, make, redis, fields):
        """Fields under the key go, and nothing else; a hash that is empty then goes, too."""
        place = make(fields)
        put(redis, place.cache, "alone", key=1)
        put(redis, place.cache, "with", key=1)
        redis.hset("with", mapping=PLAIN)
        put(redis, place.cache, "other", key=2)
        put(redis, place.cache, "now", key=0)
        [found] = said(place, "purge", "--key", place.cache.ids[1])["caches"]
        assert (found["to_delete"], found["deleted"]) == (2, 2)
        assert sorted(found["samples"]) == ["alone, field data", "with, field data"] or all(
            "sha256:" in one for one in found["samples"]
        )
        assert set(redis.keys()) == {b"with", b"other", b"now"}
        assert redis.hgetall("with") == {k.encode(): v.encode() for k, v in PLAIN.items()}
        [again] = said(place, "purge", "--key", place.cache.ids[1])["caches"]
        assert again["to_delete"] == 0

    def test_undecryptable(self, named, redis):
        """Fields that nothing opens go, if they look like values; others are left."""
        fill(redis, named.cache, 5)
        lost = Cache(keys=1)
        put(redis, lost, "lost", key=0, form="sealed")
        redis.hset("plain", "data", "no value of ours, and never was one: {}" * 5)
        [found] = said(named, "purge", "--undecryptable")["caches"]
        assert (found["deleted"], redis.exists("lost"), redis.exists("plain")) == (1, 0, 1)

    def test_dry_run(self, named, redis):
        """With --dry-run nothing goes."""
        put(redis, named.cache, "a")
        place = named
        done = run_here(["purge", "--config", place.file, "--dry-run", "--key", place.cache.ids[1]])
        assert (done.returncode, redis.hexists("a", "data")) == (0, True)
        assert "1 value to delete" in done.stdout


class TestAdopt:
    """`rotator adopt`."""

    def test_named_fields(self, named, redis):
        """Plaintext in the field that is named is encrypted, its TTLs kept; other fields stay."""
        put(redis, named.cache, "there", key=0)  # which tells the format
        redis.hset("a", mapping={"data": "plain", **PLAIN})
        redis.pexpireat("a", FAR_MS)
        if has_ttls(redis):
            expire(redis, "a", "data", FAR_MS - 5)
        [found] = said(named, "adopt", "--match", "*")["caches"]
        assert found["encrypted"] == 1
        at_ms = FAR_MS - 5 if has_ttls(redis) else -1
        check(redis, named.cache, {("a", "data"): (b"plain", at_ms, FAR_MS)})
        assert expiry_of(redis, "a", "data") == at_ms

    def test_all_fields(self, make, redis):
        """Where all fields are visited none is encrypted: which of them are values nobody said."""
        place = make("*")
        put(redis, place.cache, "there", key=0)
        redis.hset("a", mapping={"data": "plain", **PLAIN})
        redis.set("string", "plain")
        [found] = said(place, "adopt", "--match", "*")["caches"]
        assert (found["encrypted"], found["others"]) == (1, {"not_string": 2})
        assert redis.hget("a", "data") == b"plain"


class TestNames:
    """What is shown of the names of fields."""

    @pytest.mark.parametrize(
        ("fields", "more", "shown"),
        [("*", (), False), ("*", ("--show-names",), True), (["token-of-a-user"], (), True)],
    )
    def test_of_fields(self, make, redis, fields, more, shown):
        """Fields that nobody has named may be secrets: they are shown only where that is asked."""
        place = make(fields)
        put(redis, place.cache, "a", "token-of-a-user", key=1)
        for command in (["run", "--dry-run"], ["purge", "--dry-run", "--key", place.cache.ids[1]]):
            for form in ("json", "table"):
                state = ["--state", place.state] if command[0] == "run" else []
                done = run_here([*command, "--config", place.file, *state, "--format", form, *more])
                assert done.returncode == 0
                assert ("token-of-a-user" in done.stdout) is shown


class TestLooking:
    """`rotator detect`, `inspect` and `check`."""

    def test_detect(self, named, redis):
        """Values in fields are sampled as strings are."""
        fill(redis, named.cache, 30)
        put(redis, named.cache, "a", form="sealed")
        redis.hset("none", mapping=PLAIN)
        found = said(named, "detect")
        assert (found["strings"], found["other"]) == (31, {"not_string": 1})
        assert sum(hit["count"] for hit in found["opened"]) == 31

    def test_inspect(self, named, redis):
        """A field is described by itself, with the earlier of the expiries; its hash is not."""
        value = put(redis, named.cache, "a")
        redis.pexpireat("a", FAR_MS)
        found = said(named, "inspect", "a", "--field", "data", "--reveal")
        assert found["hash_field"] == "data"
        assert (found["type"], found["size"], found["format"]) == ("hash", len(value), "gcm")
        assert (found["expires_at"], found["plaintext"]) == ("2100-01-01T00:00:00Z", "hello")
        whole = said(named, "inspect", "a")
        assert (whole["type"], whole["format"]) == ("hash", None)
        assert "hash_field" not in whole
        done = run_here(["inspect", "--config", named.file, "a", "--field", "nothing"])
        assert (done.returncode, "there is no such field" in done.stderr) == (1, True)

    @pytest.mark.parametrize(
        ("strings", "fields", "told"),
        [
            (0, None, "1,204 hashes: rotator looks into fields that `fields` names"),
            (600, None, "opened: gcm; 1,204 hashes: rotator looks into fields that `fields` names"),
            (0, ["data"], "50 sampled values opened: gcm"),
        ],
    )
    def test_check(self, make, redis, strings, fields, told):
        """Hashes are counted, and it is said what would have them looked into."""
        place = make(fields)
        with redis.pipeline(transaction=False) as pipe:
            for number in range(1_204):
                put(pipe, place.cache, f"app:{number}")
            for number in range(strings):
                place.cache.put(pipe, f"string:{number}")
            pipe.execute()
        steps = said(place, "check")["steps"]
        [step] = [one for one in steps if one["step"] == "formats"]
        assert told in step["detail"]
        assert "nothing to try" not in step["detail"]
        assert (step["remedy"] is not None) is (not strings and not fields)
