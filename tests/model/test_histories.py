"""
Histories drawn at random: longer than those of the small worlds, and of all their events together.

300 of them in `make test`; 100,000 with
`make fuzz EXAMPLES=100000 TESTS=tests/model/test_histories.py`.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from rotator.retirement.places import Declarations, Verdict
from support.looks import PRIMARY
from support.moves import moves_of_everything
from support.world import Saved, Server, World, alone, pair

ORDINARY = 100  # what hypothesis tries if nobody says how often
EXAMPLES = 300 if settings.default.max_examples == ORDINARY else settings.default.max_examples
OLD = Saved((True, True), 1, 5)


def begins(shape, version, *, aof):
    """A world that has just been set up, with values under the key wherever they may be."""
    log = {"aof": True, "log": True} if aof else {}
    known = {"version": version, **log}
    if shape == "alone":
        servers = (alone(file=OLD, backlog=True, **known),)
    elif shape == "never saved":
        servers = (alone(file=None, saves=0, **known),)
    else:
        servers = pair(file=OLD, saves=1, **known)
    return World(servers, most=40, more=3)


class Histories(RuleBasedStateMachine):
    """Histories: whatever happens, what is said to be retirable is nowhere."""

    @initialize(
        shape=st.sampled_from(["alone", "never saved", "pair"]),
        version=st.sampled_from(["6.2.14", "7.0.15"]),
        aof=st.booleans(),
    )
    def begin(self, shape, version, aof):
        """Set up servers of one kind."""
        self.world = begins(shape, version, aof=aof)
        self.steps = []

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

    def happens(self, label, world):
        """Take a step, and see whether what is said then is true."""
        self.steps.append(label)
        self.world = world
        assert not world.judged or world.wrong() is None, (
            f"{' > '.join(self.steps)}: {world.wrong()}"
        )


class TestHistories(Histories.TestCase):
    """Random histories of all events together."""

    settings = settings(max_examples=EXAMPLES, stateful_step_count=25)


def test_the_oracle():
    """The oracle knows where a value is, and a declaration does not hide it."""
    world = World((Server(PRIMARY, file=OLD),), declared=Declarations(rdb="x", aof="x"), fence=0)
    after = world.run()
    assert after.judgement().verdict is Verdict.RETIRABLE
    assert after.wrong() == f"said to be retirable, and it is in RDB file of {PRIMARY}"
