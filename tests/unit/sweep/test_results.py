"""Results of a run that sweeps more than once, because it waits for the verdict."""

from datetime import UTC, datetime
from typing import Any

from rotator.config.types import Address
from rotator.server.node import Identity
from rotator.server.topology import Topology
from rotator.sweep.results import CacheResult, NodeResult, SweepResult
from rotator.sweep.scope import RunOptions, Scope
from rotator.tally.tally import Mode, Outcome, Tally

_AT = datetime(2026, 11, 26, tzinfo=UTC)
_KEY = "bf69ba7e00112233"
_ACCESS: Any = None  # the configuration of the cache plays no part in this


def _result(*ports: int, moved: int = 0, current: int = 0) -> CacheResult:
    """Return the result of one sweep that moved so many values at the first of some nodes."""
    identity = Identity("id", "master", "replid", "7.0.15", {})
    owners = {Address("a", port): identity for port in ports}
    nodes = [NodeResult(str(address), _AT, Tally(), complete=True) for address in owners]
    tally = nodes[0].tally
    tally.add(Outcome.CURRENT, count=current)
    if moved:
        tally.add(Outcome.ROTATED, count=moved)
        tally.count_many_moved(_KEY, moved, 100, _AT, rotated=True)
        tally.encryptions += moved
    topology = Topology("standalone", owners)
    sweep = SweepResult(Scope(Mode.RUN), _AT, _AT, _AT, topology, nodes)
    return CacheResult(_ACCESS, RunOptions(), sweep)


def _counts(result: CacheResult) -> tuple[int, int, int]:
    """Return the values that were current, and moved, and those moved under the old key."""
    assert result.sweep is not None
    tally = result.sweep.tally
    return (
        tally.outcomes[Outcome.CURRENT],
        tally.outcomes[Outcome.ROTATED],
        tally.keys[_KEY].rotated,
    )


def test_nothing_moved_since() -> None:
    """A later sweep that moved nothing is shown as the verification of the one that did."""
    work, proof = _result(1, 2, moved=7), _result(2, 1, current=7)
    both = proof.after(work)
    assert _counts(both) == (0, 7, 7)
    assert both.verification is proof.sweep


def test_more_moved_since() -> None:
    """What a later sweep moved is added to what an earlier one did."""
    both = _result(1, moved=2, current=5).after(_result(1, moved=7))
    assert _counts(both) == (5, 9, 9)


def test_other_nodes() -> None:
    """What was moved at a node that is away by now is not lost."""
    both = _result(2, current=7).after(_result(1, moved=7))
    assert _counts(both) == (7, 7, 7)


def test_each_after_the_other() -> None:
    """What the first of three sweeps moved is still told after the third, and once."""
    first, second, third = _result(1, moved=7), _result(1, current=7), _result(1, current=7)
    assert _counts(third.after(second.after(first))) == (0, 7, 7)


def test_what_was_not_begun() -> None:
    """A sweep that was not begun says so, whatever an earlier one did."""
    failed = CacheResult(_ACCESS, RunOptions(), error="no answer")
    assert failed.after(_result(1, moved=7)) is failed
