"""Whether there is anything to tell about a run: each rule, and that nothing is told twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.errors import Exit
from rotator.run.notify import STOPPED, Change, Event, event_for, summary

RETIRABLE = Change("a", "9f2c41d07be3a655", "caches[0].encryption.keys.old[0]", "held", "retirable")
CODES = [code for code in Exit if code != Exit.REQUIRED]  # 6 is of `report`


@pytest.mark.parametrize("before", [None, *CODES])
@pytest.mark.parametrize("code", [Exit.FAILED, Exit.USAGE, Exit.EMPTY])
@pytest.mark.parametrize("changes", [[], [RETIRABLE]])
def test_failed(code, before, changes):
    """A run that failed is always told, whatever was before it and whatever changed."""
    assert event_for(code, before, changes) is Event.FAILED


@pytest.mark.parametrize("code", [Exit.OK, Exit.NOT_MOVED, *STOPPED])
def test_changed(code):
    """A verdict that is another is told, even if the run was stopped."""
    assert event_for(code, code, [RETIRABLE]) is Event.CHANGED


@pytest.mark.parametrize(
    ("code", "event"), [(Exit.NOT_MOVED, Event.CHANGED), (Exit.BUSY, Event.FAILED)]
)
def test_newly(code, event):
    """These are told when the run before did not end like that."""
    assert {event_for(code, before, []) for before in (None, *CODES) if before != code} == {event}
    assert event_for(code, code, []) is None


@pytest.mark.parametrize("before", [None, *CODES])
def test_recovered(before):
    """That all is well is told once, after something that was told."""
    told = before in {Exit.FAILED, Exit.USAGE, Exit.NOT_MOVED, Exit.EMPTY, Exit.BUSY}
    assert event_for(Exit.OK, before, []) is (Event.RECOVERED if told else None)


@pytest.mark.parametrize("code", STOPPED)
@pytest.mark.parametrize("before", [None, *CODES])
def test_stopped(code, before):
    """A run that was stopped is as it should be."""
    assert event_for(code, before, []) is None


@given(st.lists(st.sampled_from(CODES), min_size=1))
def test_the_same_state_is_told_once(codes):
    """However runs end, only failures are told again while nothing is new."""
    before, told = None, None
    for code in codes:
        event = event_for(code, before, [])
        if code in STOPPED:
            assert event is None
            continue
        if code == before and code not in {Exit.FAILED, Exit.USAGE, Exit.EMPTY}:
            assert event is None
        if event is Event.RECOVERED:
            assert told in {Event.FAILED, Event.CHANGED}
        if event is not None:
            told = event
        before = code


@pytest.mark.parametrize(
    ("code", "error", "changes", "said"),
    [
        (1, "no way to it", [], "rotator failed (exit code 1): no way to it"),
        (0, None, [RETIRABLE], "rotator: a: key 9f2c41d0 is retirable (was held)"),
        (
            4,
            None,
            [Change("b", "1d77e0a94c5b2f38", "old[0]", None, "in-use")],
            "rotator: b: key 1d77e0a9 is in-use; as it is (exit code 4)",
        ),
        (0, None, [], "rotator: as it is (exit code 0)"),
    ],
)
def test_summary(code, error, changes, said):
    """One line says what happened."""
    assert summary(code, error, "as it is", changes) == said


def test_a_long_summary_is_cut():
    """Of many changes some are told, and how many more there are."""
    said = summary(0, None, "complete", [RETIRABLE] * 30)
    assert said.count("9f2c41d0") == 5
    assert said.endswith("; and 25 more")
