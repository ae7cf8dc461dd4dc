"""Counters between two looks: what makes them not to be relied on."""

from datetime import UTC, datetime

from rotator.retirement.looks import Look
from rotator.sweep.node.proof import counters_doubts

_AT = datetime(2026, 11, 26, tzinfo=UTC)


def _look(uptime: int, **calls: int) -> Look:
    facts = {"redis_version": "7.0.15", "uptime_in_seconds": str(uptime)}
    facts |= {"master_repl_offset": "0", "total_commands_processed": "9"}
    return Look("a:1", _AT, facts=facts, calls=calls)


def test_counters_that_hold_our_calls() -> None:
    """Counters that grew by our own calls leave no doubt."""
    assert counters_doubts(_look(5, scan=3, get=9), _look(6, scan=7, get=9), 4) == []


def test_counters_without_our_calls() -> None:
    """Counters that grew by less than our own calls are in doubt."""
    (doubt,) = counters_doubts(_look(5, scan=3), _look(6, scan=6), 4)
    assert "own calls" in doubt


def test_counter_that_shrank() -> None:
    """A counter of any command that became less is a doubt, and is named."""
    (doubt,) = counters_doubts(_look(5, scan=3, get=9), _look(6, scan=7, get=8), 4)
    assert "counter of get" in doubt


def test_uptime_that_shrank() -> None:
    """An uptime that became less is a doubt."""
    (doubt,) = counters_doubts(_look(5, scan=3), _look(4, scan=7), 4)
    assert "uptime_in_seconds" in doubt


def test_what_is_missing() -> None:
    """A field that is missing is a doubt, unless the operator declares that it is one server."""
    before, after = _look(5, scan=3), Look("a:1", _AT, facts={}, calls={"scan": 7})
    assert len(counters_doubts(before, after, 4)) == 3
    assert counters_doubts(before, after, 4, strict=False) == []
