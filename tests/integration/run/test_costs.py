"""What a run costs, by what was met: results are made by hand, as stops cannot be timed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from rotator.config.types import Address
from rotator.retirement.estimate import Work
from rotator.retirement.looks import Look
from rotator.run.costs import _both, _whole
from rotator.sweep.scope import Scope
from rotator.tally.tally import Mode

NODES = [Address("10.0.0.1", 6379), Address("10.0.0.2", 6379)]
MET = Work(str(NODES[0]), values=50, size=5000, visits=100, name_size=20, seconds=2.0, way="script")


def stopped(match=("*",), *, complete=False):
    """A sweep of two nodes of 1,000 names each, that came to 100 names of the first."""
    tally = SimpleNamespace(visits=100)
    names = dict.fromkeys(NODES, 1000)
    topology = SimpleNamespace(names=2000, names_of=names)
    scope = Scope(Mode.DRY_RUN, match)
    return SimpleNamespace(tally=tally, topology=topology, scope=scope, complete=complete)


def test_what_was_not_met_is_taken_for_alike():
    """Each node is counted whole, as what was met is, also one that the sweep did not come to."""
    works, basis = _whole(stopped(), [MET])

    assert works == [
        replace(MET, values=500, size=50_000, visits=1000, seconds=20.0),
        replace(MET, node=str(NODES[1]), values=500, size=50_000, visits=1000, seconds=None),
    ]
    assert basis == "from 100 names met of about 2,000, assuming that the others are alike"


@pytest.mark.parametrize(
    ("sweep", "basis"),
    [
        (stopped(("a:*",)), "from 100 names met of about 2,000; the others are not counted"),
        (stopped(complete=True), "from 100 names met"),
    ],
)
def test_no_more_is_counted(sweep, basis):
    """A complete sweep met all there is; how many others match a pattern nobody knows."""
    assert _whole(sweep, [MET]) == ([MET], basis)


def test_a_server_that_was_first_seen_in_the_end_was_not_measured():
    """Of one that was promoted meanwhile nobody knows what was before: 0 would be made up."""
    begun = datetime(2026, 11, 27, 18, tzinfo=UTC)
    early, late = (Look("a:1", begun + timedelta(seconds=one)) for one in (-1, 9))
    before, after = {"a:1": early, "b:2": late}, {"a:1": late, "b:2": late, "c:3": late}
    assert _both(before, after, begun) == {"a:1": late}
