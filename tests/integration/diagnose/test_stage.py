"""`rotator check --stage`: a rotation gone through step by step, on a real server."""

import json
import re
from collections import Counter

import pytest
import yaml

from rotator.crypto.codec import Codec, Reason
from rotator.crypto.keyring import Key, Keyring
from rotator.crypto.layout import BUILTIN
from rotator.diagnose.detect import Detection
from rotator.diagnose.stage import Stage, judge
from support.commandline import KEY_A, KEY_B, KEY_C, cache, config_file
from support.documents import section
from support.processes import run_here

A, B, C = (Key.from_text(material, "test").id for material in (KEY_A, KEY_B, KEY_C))


def sealed(name, material, form="gcm"):
    """A value as an application writes it."""
    return Codec(Keyring(Key.from_text(material, "test")), [BUILTIN[form]]).seal(name, b"value")


class Story:
    """A cache of an application, whose configuration its owner changes."""

    def __init__(self, folder, server, redis):
        self.folder = folder
        self.server = server
        self.redis = redis
        self.file = folder / "maverics.yaml"
        self.state = folder / "state.db"
        self.written = 0

    def configure(self, current, *old):
        """The keys, as the owner lists them."""
        config_file(self.file, cache(self.server.address, current=current, old=old))

    def write(self, material, values=10, form="gcm"):
        """An application writes under the key that it has."""
        for _ in range(values):
            name = f"app:{self.written}".encode()
            self.redis.set(name, sealed(name, material, form))
            self.written += 1

    def run(self, *more):
        """`rotator run`, with this story's state."""
        done = run_here(["run", "--config", self.file, "--state", self.state, *more])
        assert done.returncode == 0, done.stderr

    def stage(self, result="ok", more=()):
        """The step as `rotator check --stage --format json` has it: detail and remedy."""
        args = ["--config", self.file, "--state", self.state, "--stage", "--format", "json", *more]
        steps = json.loads(run_here(["check", *args]).stdout)["steps"]
        [found] = [one for one in steps if one["step"] == "stage"]
        assert found["result"] == result, found
        return found["detail"], found["remedy"]


@pytest.fixture
def story(tmp_path, server, redis):
    """The beginning: an empty cache and one key."""
    made = Story(tmp_path, server, redis)
    made.configure(KEY_A)
    return made


class TestStory:
    """What a user sees who does one step after the other."""

    def test_from_one_key_to_the_next(self, story):
        """Each stage is told from the last, and each says what to do to get to the next."""
        story.write(KEY_A)
        detail, remedy = story.stage()
        assert detail == "one key: all 10 sampled values under the only key"
        assert "rotator keygen" in remedy
        assert "list the new key under old at every application" in remedy

        story.configure(KEY_A, KEY_B)
        detail, remedy = story.stage()
        assert detail.startswith("distribute: all 10 sampled values under the current key")
        assert B in detail
        assert "when every application lists it under old, make it current everywhere" in remedy

        story.configure(KEY_B, KEY_A)
        detail, remedy = story.stage()
        assert detail.startswith("switch: 10 of 10 sampled values under old keys: 10 under ")
        assert f"none under the current key {B}" in detail
        assert "make it current at each of them" in remedy

        story.write(KEY_B, 5)
        detail, remedy = story.stage()
        assert detail == f"rotate: 10 of 15 sampled values under old keys: 10 under {A}"
        assert "`rotator run`" in remedy

        story.run()
        detail, remedy = story.stage()
        assert detail == f"retire: all 15 sampled values under the current key; {_met(A)}"
        assert "remove caches[0].encryption.keys.old[0] at every application" in remedy

        story.configure(KEY_B)
        assert story.stage()[0].startswith("one key:")

    def test_what_cannot_be_known_is_said(self, story):
        """Where the other applications matter, the one configuration is said to be no proof."""
        story.write(KEY_A)
        for keys in (KEY_A, KEY_B), (KEY_B, KEY_A):
            story.configure(*keys)
            assert "this shows one configuration" in story.stage()[1]

    def test_a_writer_that_went_ahead(self, story):
        """A key that is old here and in use elsewhere may be the new one: asked before a run."""
        story.configure(KEY_A, KEY_B)
        story.write(KEY_A)
        story.write(KEY_B, 3)
        assert f"is {B} the new key? Then make it current here first" in story.stage()[1]
        story.run("--dry-run")
        assert "the new key?" not in story.stage()[1]

    def test_a_reader_that_was_left_out(self, story):
        """Values under a key that this configuration lacks end the story until it has it."""
        story.write(KEY_A, 4)
        story.write(KEY_C, 2, form="sealed")
        detail, remedy = story.stage("advice")
        assert detail.startswith("unclear: 2 of 6 sampled values open under no configured key")
        assert f"2 of them under {C}" in detail
        assert "add the key under old, here and wherever it is missing" in remedy

    def test_two_old_keys(self, story):
        """A former key and the next one are told apart by what sweeps have met."""
        story.configure(KEY_B, KEY_A)
        story.write(KEY_A)
        story.run()
        story.configure(KEY_B, KEY_C, KEY_A)
        detail, _ = story.stage()
        assert detail.startswith("distribute:")
        assert detail.endswith(f"no sweep has met {C}")

    def test_an_empty_cache(self, story):
        """Without a value there is nothing to tell from."""
        assert story.stage("advice")[0].startswith("unclear: no encrypted value")

    def test_without_encryption(self, story, redis):
        """Where nothing is encrypted there are no stages."""
        off = {"encryption": {"disabled": True}}
        config_file(story.file, cache(story.server.address) | off)
        redis.set("plain", "text")
        named = ["--cache", cache("")["name"]]
        assert story.stage(more=named) == ("encryption is off", None)

    def test_no_state_is_made(self, story):
        """Looking makes no state file, and needs none."""
        story.write(KEY_A)
        story.stage()
        assert not story.state.exists()

    def test_it_is_asked_for(self, story):
        """Without the option nothing is said of stages; with it the table says what is next."""
        story.write(KEY_A)
        config = ["--config", story.file, "--state", story.state]
        assert "one key" not in run_here(["check", *config]).stdout
        said = run_here(["check", *config, "--stage"]).stdout
        assert re.search(r"ok +stage +one key: .*\n +-> to replace it", said)

    def test_no_secret_is_said(self, story):
        """No stage shows key material or values."""
        story.configure(KEY_B, KEY_A)
        story.write(KEY_A)
        said = " ".join(story.stage())
        assert not {KEY_A, KEY_B, "value "} & set(said.split())


def _met(key_id):
    return f"earlier sweeps met {key_id}"


def seen(opened=0, bad_tag=0, not_a_format=0):
    """What a sample came to."""
    refused = Counter({Reason.BAD_TAG: bad_tag, Reason.NOT_A_FORMAT: not_a_format})
    strings = opened + bad_tag + not_a_format
    none = Counter()
    return Detection(strings, 0, (0,), none, none, refused, none, none)


@pytest.mark.parametrize(
    ("found", "stage"),
    [(seen(), Stage.UNCLEAR), (seen(bad_tag=1), Stage.UNCLEAR), (seen(not_a_format=3), "unclear")],
)
def test_nothing_that_opens(found, stage):
    """Where nothing opens nothing is claimed."""
    keyring = Keyring(Key.from_text(KEY_B, "b"), [Key.from_text(KEY_A, "a")])
    assert judge(keyring, found, lambda _: True).detail.partition(":")[0] == stage


class TestSafeOrder:
    """The safe order as the page on rotation tells it."""

    def stages(self):
        """The configurations of its stages, in their order."""
        text = section("rotation", "The safe order")
        return [
            yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
        ]

    def test_each_stage_is_what_check_says(self, story, monkeypatch):
        """Each configuration there, on a cache that went through those before, is in its stage."""
        monkeypatch.setenv("cache_key_2026_05", KEY_A)
        monkeypatch.setenv("cache_key_2026_11", KEY_B)
        args = ["--config", story.file, "--state", story.state, "--secret-provider", "env://"]

        def told(document=None):
            if document is not None:
                document["caches"][0]["redis"]["addresses"] = [story.server.address]
                story.file.write_text(yaml.safe_dump(document))
            done = run_here(["check", *args, "--stage", "--format", "json"])
            return json.loads(done.stdout)["steps"][-1]["detail"].partition(":")[0]

        distribute, switch, retire = self.stages()
        story.write(KEY_A)
        assert told(distribute) == "distribute"
        assert told(switch) == "switch"
        story.write(KEY_B)
        assert told() == "rotate"
        assert run_here(["run", *args]).returncode == 0
        assert told() == "retire"
        assert told(retire) == "one key"
