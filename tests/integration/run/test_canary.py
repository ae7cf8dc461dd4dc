"""The canary: nothing is written in a format whose text may name a key that nobody told of."""

import itertools
import json
import re

import pytest

from cluster.expiries import put
from rotator.crypto.codec import Codec
from rotator.crypto.keyring import Key, Keyring, generate
from rotator.crypto.layout import Format
from rotator.errors import Exit, UnmetFormatError
from rotator.run.planner import _SAMPLE
from rotator.state.state import State
from support import commandline
from support.caches import FAR_MS, Cache, Place, contents
from support.processes import job, run_here

MARKED = {"encoding": "raw", "layout": ["hex:01", "nonce:12", "ciphertext", "tag:16"]}
TEXT = {"encoding": "base64", "layout": "v1:{nonce}{ciphertext}{tag}"}
NUMBER = itertools.count()


@pytest.fixture
def place(server, redis, tmp_path):  # noqa: ARG001 - redis empties the server first
    """A cache whose applications write in a format with text in it."""
    settings = {"formats": ["theirs"]}
    return Place(
        tmp_path, Cache(server.address, keys=2, settings=settings), formats={"theirs": MARKED}
    )


def write(place, redis, key, count=1, described=MARKED):
    """An application writes so many values under one of the keys, as it does."""
    form = Format.parse("theirs", **described)
    codec = Codec(Keyring(Key.from_text(place.cache.keys[key], "test")), [form])
    for _ in range(count):
        name = b"app:%d" % next(NUMBER)
        put(redis, name, codec.seal(name, b"text"), FAR_MS)


def run(place, *more):
    """How a run over *place* ended, what it printed, and its report of the cache."""
    ended = run_here(job(place, "--format", "json", *more))
    return ended, json.loads(ended.stdout)["caches"][0]


def set_value(place):
    """How `rotator set` ended, for one value that it was to write in *place*."""
    options = ("--config", place.file, "--state", place.state, "--namespace", "a")
    return commandline.run(["set", *options, "key"], input=b"value")


def interrupt(_phase, _page):
    """End the run after a page, as nothing that it could hear of would."""
    raise KeyboardInterrupt


def declare_constant(place, described=MARKED):
    """The operator declares that the text names no key."""
    place.formats = {"theirs": described | {"constant": True}}
    place.configure(*place.caches)


class TestSample:
    """What a look at some values shows before anything is written."""

    @pytest.mark.parametrize("described", [MARKED, TEXT], ids=["bytes", "text"])
    def test_none_under_the_current_key(self, place, redis, described):
        """The cache is refused, with both ways to go on, and nothing is touched."""
        place.formats = {"theirs": described}
        place.configure(*place.caches)
        write(place, redis, 1, 5, described)
        before = contents(redis)

        ended, cache = run(place)

        assert ended.returncode == Exit.USAGE
        assert contents(redis) == before
        for word in ("theirs", "constant: true", "rotator run --dry-run", "check --stage"):
            assert word in ended.stderr
        assert "constant: true" in cache["error"]
        assert not cache["complete"]

    def test_one_under_the_current_key(self, place, redis):
        """One value that an application wrote with the current key is enough."""
        write(place, redis, 1, 5)
        write(place, redis, 0)

        ended, cache = run(place)

        assert (ended.returncode, cache["outcomes"]["rotated"]) == (Exit.OK, 5)

    def test_declared_constant(self, place, redis):
        """What is declared to name no key needs nobody to write first."""
        write(place, redis, 1, 5)
        declare_constant(place)

        ended, cache = run(place)

        assert (ended.returncode, cache["outcomes"]["rotated"]) == (Exit.OK, 5)

    @pytest.mark.parametrize(("key", "code"), [(0, Exit.OK), (None, Exit.EMPTY)])
    def test_nothing_to_rewrite(self, place, redis, key, code):
        """Where nothing would be written, nothing is refused."""
        if key is not None:
            write(place, redis, key, 3)

        assert run(place)[0].returncode == code

    def test_other_caches_go_on(self, place, redis, server):
        """A cache that is refused keeps no other from being done, and the worst code is told."""
        place.configure(*place.caches, Cache(server.address, name="second", keys=2))
        write(place, redis, 1)
        second = place.caches[1]
        second.put(redis, "second:1")

        ended = run_here(job(place, "--format", "json"))

        first, other = json.loads(ended.stdout)["caches"]
        assert ended.returncode == Exit.USAGE
        assert first["error"]
        assert (other["outcomes"]["rotated"], other["error"]) == (1, None)

    def test_format_to_write(self, place, redis):
        """What counts is the format that values would be written in."""
        write(place, redis, 1, 3)
        place.caches = (Cache(*place.cache.redis["addresses"], keys=place.cache.keys),)
        for write_in, code in (("theirs", Exit.USAGE), ("gcm", Exit.OK)):
            place.cache.settings = {"formats": ["theirs", "gcm"], "write": write_in}
            place.configure(*place.caches)
            assert run(place)[0].returncode == code


class TestSweep:
    """What the sample does not show."""

    @pytest.fixture
    def hidden(self, place, redis):
        """A cache with many values in a format that may be written, and few in the other."""
        place.cache.settings = {"formats": ["theirs", "gcm"], "databases": [0, 1]}
        place.configure(*place.caches)
        for number in range(2 * _SAMPLE):
            place.cache.put(redis, f"gcm:{number}", key=0)
        return place

    def lone(self, place, redis, key):
        """Store a value in the format that is hard to find, where no sample of names has it."""
        store = place.access().connect(place.access().cache.addresses[0])
        _, first = store.page(b"0", None, 3 * _SAMPLE)
        name = first[-1]  # the order of a scan is that of names' hashes, so it stays
        form = Format.parse("theirs", **MARKED)
        codec = Codec(Keyring(Key.from_text(place.cache.keys[key], "test")), [form])
        redis.set(name, codec.seal(name, b"text"))
        return name

    def test_met_by_the_sweep(self, hidden, redis):
        """A sweep that comes to such a value stops there: nothing of it is written."""
        name = self.lone(hidden, redis, 1)
        value = redis.get(name)

        ended, cache = run(hidden)

        assert (ended.returncode, cache["complete"]) == (Exit.USAGE, False)
        assert redis.get(name) == value
        assert "constant: true" in " ".join(cache["coverage"]["not_looked_at"])

    def test_dry_run_looks_at_all(self, hidden, redis):
        """A dry run that met one under the current key opens the way, whatever a sample shows."""
        name = self.lone(hidden, redis, 0)
        assert run(hidden, "--dry-run")[0].returncode == Exit.OK
        redis.delete(name)
        write(hidden, redis, 1)

        ended, cache = run(hidden)

        assert (ended.returncode, cache["outcomes"]["rotated"]) == (Exit.OK, 1)

    def test_dry_run_says_what_a_run_would_do(self, place, redis):
        """A dry run that met none says that a run would be refused."""
        write(place, redis, 1)

        ended, cache = run(place, "--dry-run")

        assert ended.returncode == Exit.OK
        assert "a run would be refused" in ended.stderr
        assert cache["warnings"][0].startswith("a run would be refused: rotator does not write in")
        assert "run without --dry-run" not in json.dumps(cache)

    def test_workers_refuse_too(self, hidden, redis):
        """What is forbidden is forbidden in every process."""
        name = self.lone(hidden, redis, 1)
        value = redis.get(name)

        assert run(hidden, "--workers", "2")[0].returncode == Exit.USAGE
        assert redis.get(name) == value


class TestOwnValues:
    """What rotator wrote proves nothing about applications."""

    def test_written_by_a_run(self, place, redis):
        """Values that a run wrote, while the text was declared constant, do not count later."""
        write(place, redis, 1, 3)
        declare_constant(place)
        assert run(place)[0].returncode == Exit.OK
        place.formats = {"theirs": MARKED}
        place.configure(*place.caches)
        write(place, redis, 1)

        assert run(place)[0].returncode == Exit.USAGE
        assert run(place, "--dry-run")[0].returncode == Exit.OK
        assert run(place)[0].returncode == Exit.USAGE

    def test_met_before(self, place, redis):
        """What was met before rotator wrote anything stays met."""
        write(place, redis, 0)
        assert run(place)[0].returncode == Exit.OK
        redis.flushdb()
        write(place, redis, 1)

        assert run(place)[0].returncode == Exit.OK

    def test_without_a_state(self, place, redis):
        """Without a state, values under the current key count as the applications'."""
        write(place, redis, 1, 3)
        declare_constant(place)
        assert run(place)[0].returncode == Exit.OK
        place.formats = {"theirs": MARKED}
        place.configure(*place.caches)
        place.state.unlink()
        write(place, redis, 1)

        assert run(place)[0].returncode == Exit.OK

    def test_another_current_key(self, place, redis):
        """With another current key it is to be met anew."""
        write(place, redis, 0)
        assert run(place)[0].returncode == Exit.OK
        place.configure(place.cache.rotated())
        assert run(place)[0].returncode == Exit.USAGE

        write(place, redis, 0)
        assert run(place)[0].returncode == Exit.OK

    def test_written_by_a_run_that_was_killed(self, place, redis):
        """What a run may write is noted before it begins, so its end does not matter."""
        write(place, redis, 1, 100)
        declare_constant(place)
        with State(place.state) as state, pytest.raises(KeyboardInterrupt):
            place.job(state, on_page=interrupt, page=1).run()
        place.formats = {"theirs": MARKED}
        place.configure(*place.caches)
        write(place, redis, 0)

        ended, _ = run(place)

        assert ended.returncode == Exit.USAGE
        assert "rotator wrote in it" in ended.stderr

    def test_set_is_no_application(self, place, redis):
        """`set` writes nothing in such a format, and what it wrote when it might does not count."""
        write(place, redis, 1, 3)
        before = contents(redis)
        refused = set_value(place)
        assert (refused.returncode, contents(redis)) == (Exit.USAGE, before)
        assert b"constant: true" in refused.stderr

        State(place.state).close()  # from now on there is one
        declare_constant(place)
        assert set_value(place).returncode == Exit.OK
        place.formats = {"theirs": MARKED}
        place.configure(*place.caches)

        assert run(place)[0].returncode == Exit.USAGE

    def test_set_beside_applications(self, place, redis):
        """Where an application was seen to write with the current key, `set` does, too."""
        write(place, redis, 0)

        assert set_value(place).returncode == Exit.OK

    def test_text_that_is_authenticated(self, place, redis):
        """A text that is authenticated may name the key as well as one that is stored."""
        place.formats = {"theirs": MARKED | {"layout": MARKED["layout"][1:], "aad": "text:k1"}}
        place.configure(*place.caches)
        write(place, redis, 1, 3, place.formats["theirs"])

        assert run(place)[0].returncode == Exit.USAGE

    def test_written_before_formats_were_noted(self, place, redis):
        """What an earlier rotator encrypted may have been in any format, so it does not count."""
        write(place, redis, 0)
        write(place, redis, 1)
        with State(place.state) as state:
            state.note_format("*", place.cache.ids[0], "*", "written")

        assert run(place)[0].returncode == Exit.USAGE


LABELLED = {"encoding": "base64", "layout": "{label}:{nonce}{ciphertext}{tag}", "constant": True}


class TestWrongKey:
    """The label of the current key shows whether applications have that very key."""

    @pytest.fixture
    def labelled(self, place):
        """A cache whose values call the current key `nov`, and the former one `may`."""
        current, former = place.cache.ids
        place.cache.settings["labels"] = {current: "nov", former: "may"}
        return self.described(place)

    @staticmethod
    def described(place, **more):
        """The place, after its format has become another one."""
        place.formats = {"theirs": LABELLED | more}
        place.configure(*place.caches)
        return place

    @staticmethod
    def put(place, redis, label, key, names):
        """An application that calls the *key* so writes values."""
        made = Key.from_text(key, "test")
        form = Format.parse("theirs", **place.formats["theirs"])
        codec = Codec(Keyring(made), [form], None, {made.id: label})
        for name in names:
            value = codec.seal(name.encode(), b"text")
            put(redis, name.encode(), value, FAR_MS)

    def two_keys(self, place, redis):
        """Values under the former key, and three that call a key `nov` that nobody configured."""
        self.put(place, redis, b"may", place.cache.keys[1], ["old:1", "old:2"])
        self.put(place, redis, b"nov", generate(), ["new:1", "new:2", "new:3"])
        return contents(redis)

    def test_run_refused(self, labelled, redis):
        """A run writes nothing while no value with the current key's label opens with that key."""
        before = self.two_keys(labelled, redis)

        ended, cache = run(labelled)

        assert (ended.returncode, contents(redis)) == (Exit.USAGE, before)
        current = labelled.cache.ids[0]
        said = f"3 sampled values name the current key {current} (label `nov`), and none of them"
        assert said in cache["error"]
        assert "caches[0].encryption.keys.current" in cache["error"]
        assert "derived from a passphrase" in ended.stderr

    @pytest.mark.parametrize(
        "more", [{}, {"within": "base64"}, {"layout": "v1{label}.{nonce}{ciphertext}{tag}"}]
    )
    def test_any_labelled_format(self, labelled, redis, more):
        """The refusal holds in every layout with a label, literals or not."""
        self.described(labelled, **more)
        before = self.two_keys(labelled, redis)
        assert (run(labelled)[0].returncode, contents(redis)) == (Exit.USAGE, before)

    def test_one_value_opens(self, labelled, redis):
        """One value with the label that opens with the current key shows that it is right."""
        self.two_keys(labelled, redis)
        self.put(labelled, redis, b"nov", labelled.cache.keys[0], ["right"])

        ended, cache = run(labelled)

        assert (ended.returncode, cache["outcomes"]["rotated"]) == (Exit.NOT_MOVED, 2)

    def test_renamed_values(self, labelled, redis):
        """A value that was moved to another name opens with the right key, so it is no evidence."""
        self.described(labelled, aad="name")
        self.put(labelled, redis, b"nov", labelled.cache.keys[0], ["first"])
        redis.rename("first", "moved")
        self.put(labelled, redis, b"may", labelled.cache.keys[1], ["first"])

        ended, cache = run(labelled)

        assert (ended.returncode, cache["outcomes"]["rotated"]) == (Exit.NOT_MOVED, 1)

    def test_renamed_sealed_values(self, place, redis):
        """A key id is made from its key: what has the current one's was renamed, or is damaged."""
        place.cache.settings = {}
        place.configure(*place.caches)
        place.cache.put(redis, "old", key=1, form="sealed")
        put(redis, b"moved", place.cache.seal("elsewhere", b"text", key=0, form="sealed"), FAR_MS)

        ended, cache = run(place)

        assert (ended.returncode, cache["outcomes"]["rotated"]) == (Exit.NOT_MOVED, 1)

    def test_shared_label(self, labelled, redis):
        """A label that several keys have says of none of them that it is wrong."""
        current, former = labelled.cache.ids
        labelled.cache.settings["labels"] = {current: "nov", former: "nov"}
        labelled.configure(*labelled.caches)
        self.put(labelled, redis, b"nov", labelled.cache.keys[1], ["old"])
        self.put(labelled, redis, b"nov", generate(), ["strange"])

        ended, cache = run(labelled)

        assert (ended.returncode, cache["outcomes"]["rotated"]) == (Exit.NOT_MOVED, 1)

    def test_dry_run_says_so_first(self, labelled, redis):
        """The report of a dry run warns first of the refusal, and never says to run for real."""
        self.two_keys(labelled, redis)

        ended, cache = run(labelled, "--dry-run")

        assert ended.returncode == Exit.NOT_MOVED
        assert cache["warnings"][0].startswith("a run would be refused: caches[0]")
        [old] = [key for key in cache["keys"] if key["role"] == "old"]
        assert "run without --dry-run" not in json.dumps(cache)
        assert "a run would be refused" in old["next_step"]

    def test_set_and_adopt_refuse(self, labelled, redis):
        """`set` and `adopt` put nothing beside values that the current key should open."""
        self.two_keys(labelled, redis)
        put(redis, b"plain:1", b"plaintext", FAR_MS)
        before = contents(redis)
        adopt = ["adopt", "--config", labelled.file, "--state", labelled.state, "--yes"]

        for ended in (set_value(labelled), commandline.run([*adopt, "--match", "plain:*"])):
            assert (ended.returncode, contents(redis)) == (Exit.USAGE, before)
            assert b"none of them opens with it" in ended.stderr

    def test_check_and_detect_say_so(self, labelled, redis):
        """`check` fails at the formats, and `detect` says it before anything else."""
        self.two_keys(labelled, redis)

        checked = commandline.run(["check", "--config", labelled.file])
        detected = commandline.run(["detect", "--config", labelled.file])

        assert checked.returncode == Exit.USAGE
        step = re.search(r"failed +formats(.*?)\n  \S", checked.stdout.decode(), re.DOTALL)
        assert "none of them opens with it" in " ".join(step[1].split())
        second = detected.stdout.decode().split("\n", 1)[1]
        assert second.startswith("caches[0].encryption.keys.current: 3 sampled values")


def test_error_may_travel():
    """The refusal is the same in another process."""
    error = UnmetFormatError("theirs")
    function, arguments = error.__reduce__()

    assert str(function(*arguments)) == str(error)
