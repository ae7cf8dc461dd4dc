"""The targets of `make fuzz`, with the few inputs that there is time for here."""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz import replies, targets
from fuzz.targets import TARGETS, BrokenRuleError, Bytes, seeds

SCRIPTS = Path(__file__).parents[2] / "scripts"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SCRIPTS)}


@pytest.mark.parametrize("target", TARGETS)
def test_no_rule_is_broken(target):
    """Each target takes the seeds, and whatever else comes."""
    for seed in seeds():
        TARGETS[target](seed)

    @given(st.binary(max_size=600))
    def any_bytes(data):
        TARGETS[target](data)

    any_bytes()


@pytest.mark.parametrize("target", ["round-trip", "changed", "config"])
def test_long_inputs_reach_further(target):
    """Random bytes in plenty make targets take all their turns."""
    source = random.Random(target)
    for _ in range(300):
        TARGETS[target](source.randbytes(source.randrange(20, 300)))


def test_a_value_that_opens_is_noticed():
    """The target for arbitrary bytes fails when a sealed value is among them."""
    value = targets._CODEC.seal(b"", b"hello")
    with pytest.raises(BrokenRuleError, match="nobody has sealed"):
        TARGETS["open"](b"\x00\x00" + value)


def test_a_value_that_is_shown_is_noticed(monkeypatch):
    """The target for configurations fails when a message holds what stands in the file."""
    monkeypatch.setattr(targets, "SECRET", "hint")
    monkeypatch.setattr(targets.RotatorError, "__str__", lambda error: f"hint {error.hint}")
    with pytest.raises(BrokenRuleError, match="shown"):
        TARGETS["document"](b"\x01[")


def test_a_strange_target_is_refused():
    """A target that there is none of is an error that names those there are."""
    done = subprocess.run(
        [sys.executable, "-m", "fuzz", "bogus"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "no such target: bogus" in done.stderr


def test_bytes_run_out():
    """Where no bytes are left, choices fall on the first."""
    source = Bytes(b"\x05ab")
    assert source.number(4) == 1
    assert source.text(0) == ""
    assert source.rest() == b"b"
    assert source.one_of("xyz") == "x"


def test_changed_replies_break_no_rule():
    """A few changed replies of a server, played through `run` and `check`, do no harm."""
    world = replies.play(80, seed=7)
    assert world.faults == []


def test_what_a_changed_reply_may_not_do_is_noticed(monkeypatch):
    """A secret in what is printed, or an error of ours, is a fault."""
    monkeypatch.setattr(replies.World, "_carry_out", lambda *_: (0, ""))
    monkeypatch.setattr(replies.World, "measure", lambda world: (world.folder / "state").touch())
    said = iter(["internal error", replies._PASSWORD, "Traceback"])

    def play(world):
        shutil.copy(world.folder / "state", world.folder / "state-of-truth")
        world.sent = {name: {"INFO": 1} for name in world.sent}
        monkeypatch.setattr(replies.World, "_carry_out", lambda *_: (1, next(said)))
        for _ in range(3):
            replies_play(world)
        world.front.changed = 1

    replies_play = replies.World.play
    monkeypatch.setattr(replies.World, "play", play)
    assert len(replies.play(1, seed=1).faults) == 3
