"""
Histories drawn at random: longer than those of the small worlds, and of all their events together.

300 of them in `make test`; 100,000 with
`make fuzz EXAMPLES=100000 TESTS=tests/model/test_histories.py`.
"""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from rotator.retirement import retention
from rotator.retirement.judge import judge
from rotator.retirement.places import Declarations, Verdict
from support.looks import KEY, PRIMARY, at
from support.moves import moves_of_everything
from support.world import QUIET, Saved, Server, World, alone, pair

ORDINARY = 100  # what hypothesis tries if nobody says how often
EXAMPLES = 300 if settings.default.max_examples == ORDINARY else settings.default.max_examples
EVERY_DAY = ("run", "another write", "values are written", "old value", "BGSAVE begins",
             "BGSAVE ends (", "BGREWRITEAOF ends (", "backlog freed")  # fmt: skip
OLD = Saved((True, True), 1, 5)


NO_FILES = Declarations(rdb="the test", aof="the test")


def begins(shape, version, files, most=40):
    """A world that has just been set up, with values under the key wherever they may be."""
    known = {"version": version}
    if files == "append-only":
        known |= {"aof": True, "log": True}
    saved = {"file": OLD, "saves": 1} if files in {"saved", "append-only"} else {"file": None}
    if shape == "alone":
        servers = (alone(**{"backlog": True, "saves": 0, **known, **saved}),)
    else:
        servers = pair(**known, **saved)
    if files == "declared":
        return World(servers, files=False, declared=NO_FILES, most=most, more=3)
    return World(servers, most=most, more=3)


def tidied(world):
    """The steps of a good operator: every replica catches up, and every file is written anew."""
    yield "run", World.run
    for one in world.servers:
        if one.role == "slave":
            yield f"{one.name} catches up", lambda w, name=one.name: w.replicate(name)
        if one.role != "dead":
            yield f"children of {one.name} end", lambda w, name=one.name: w.children_end(name)
    yield "run", World.run
    if world.declared.rdb is None:
        for one in world.servers:
            if one.role != "dead":
                yield f"{one.name} writes its files", lambda w, name=one.name: w.files_anew(name)
    yield "run", World.run


class Histories(RuleBasedStateMachine):
    """Histories: whatever happens, what is said to be retirable is nowhere."""

    @initialize(
        shape=st.sampled_from(["alone", "pair"]),
        version=st.sampled_from(["6.2.14", "7.0.15"]),
        files=st.sampled_from(["none", "saved", "append-only", "declared"]),
        most=st.integers(1, 8),
    )
    def begin(self, shape, version, files, most):
        """Set up servers of one kind, to which not too much may happen."""
        self.world = begins(shape, version, files, most)
        self.steps = []
        self.left_out = set()

    @rule(number=st.integers(0, 999))
    def step(self, number):
        """Let one of the things happen that may happen next."""
        moves = list(moves_of_everything(self.world))
        self.happens(*moves[number % len(moves)])

    @rule()
    def run(self):
        """Have the tool run, if it does not run just now."""
        if self.world.cursor < 0:
            self.happens("run", self.world.run())

    @rule()
    def tidy(self):
        """Have an operator do all that a report may ask for."""
        if self.world.cursor < 0:
            for label, step in tidied(self.world):
                self.happens(label, step(self.world))

    def happens(self, label, world):
        """Take a step, and see whether what is said then is true."""
        self.steps.append(label)
        self.world = world
        if world.judged:
            assert world.wrong() is None, f"{' > '.join(self.steps)}: {world.wrong()}"
            self.forget(world.evidence())

    def kept(self, whole):
        """What is left of all the evidence there ever was."""
        proofs = [one for one in whole.proofs if (one.node, one.begun_at) not in self.left_out]
        looks = [one for one in whole.looks if (one.address, one.at) not in self.left_out]
        return replace(whole, proofs=tuple(proofs), looks=tuple(looks))

    def forget(self, whole):
        """Leave out what need not be kept, as after every run."""
        case = self.kept(whole)
        since = retention.moments(case.proofs, {KEY: case.history.last_seen_at}, case.fence)
        proofs, looks = retention.thinned(case.proofs, case.looks, since)
        self.left_out |= {(one.node, one.begun_at) for one in case.proofs if one not in proofs}
        self.left_out |= {(one.address, one.at) for one in case.looks if one not in looks}

    def teardown(self):
        """See that the key is judged by what is kept as by all there ever was."""
        whole, now = self.world.evidence(), at(self.world.clock)
        said = [judge([one], now=now, quiet=QUIET)[one.cache] for one in (whole, self.kept(whole))]
        found = [sorted((p.kind, p.where, p.status, p.verdict) for p in one.places) for one in said]
        reasons = f"{said[0].reasons} but {said[1].reasons}"
        assert found[0] == found[1], f"{' > '.join(self.steps)}: {reasons}"


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Only the last record of each server is kept in any case, and no more than one a day."""
    monkeypatch.setattr(retention, "_LATEST", 1)


class TestHistories(Histories.TestCase):
    """Random histories of all events together."""

    settings = settings(max_examples=EXAMPLES, stateful_step_count=25)


@given(
    shape=st.sampled_from(["alone", "pair"]),
    version=st.sampled_from(["6.2.14", "7.0.15"]),
    files=st.sampled_from(["saved", "append-only", "declared"]),
    numbers=st.lists(st.integers(0, 99), max_size=6),
)
def test_an_ordinary_history_ends(shape, version, files, numbers):
    """Where nothing odd happens, and files are written anew, the key can be retired in the end."""
    world, steps = begins(shape, version, files), []
    for number in numbers:
        moves = [move for move in moves_of_everything(world) if move[0].startswith(EVERY_DAY)]
        label, world = moves[number % len(moves)]
        steps.append(label)
    for _, step in tidied(world):
        world = step(world)
    said = world.judgement()
    assert said.verdict is Verdict.RETIRABLE, f"{' > '.join(steps)}: {said.reasons}"
    assert not world.holding()


def test_the_oracle():
    """The oracle knows where a value is, and a declaration does not hide it."""
    world = World((Server(PRIMARY, file=OLD),), declared=Declarations(rdb="x", aof="x"), fence=0)
    after = world.run()
    assert after.judgement().verdict is Verdict.RETIRABLE
    assert after.wrong() == f"said to be retirable, and it is in RDB file of {PRIMARY}"
