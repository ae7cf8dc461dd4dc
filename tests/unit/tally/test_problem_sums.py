"""Tests of the sums of problems."""

import pytest

from rotator.tally.problem_sums import MOST, ProblemSums
from rotator.tally.tally import Outcome, Problem, Tally


@pytest.mark.parametrize(
    ("reason", "detail", "name", "expected"),
    [
        ("bad_tag", "100 bytes", b"a:b", ("failed", "bad_tag", "a")),
        ("", "MISCONF no disk", b"a:b", ("failed", "MISCONF", "a")),
        ("", "the connection broke", b"a", ("failed", "", "")),
        ("", "", b":b", ("failed", "", "")),
        ("", "", b"a:bob:mail", ("failed", "", "a")),
        ("", "", b"\xff:b", ("failed", "", "�")),
    ],
)
def test_add(reason, detail, name, expected):
    """A problem counts by outcome, reason or error code, and what its name begins with."""
    sums = ProblemSums()
    sums.add(Outcome.FAILED, reason, detail, name)

    assert [tuple(one) for one in sums] == [(*expected, 1)]


def test_bounded():
    """Whatever names there are, memory is bounded, and no problem is lost."""
    sums = ProblemSums()
    for number in range(10 * MOST):
        sums.add(Outcome.FAILED, "", "", b"%d:x" % number)

    assert len(list(sums)) == MOST + 1
    assert next(iter(sums)) == ("failed", "", "", 9 * MOST)
    assert sum(one.number for one in sums) == 10 * MOST


def test_of_a_tally():
    """Sums are merged, saved and read again, and count what is no sample any more."""
    first, second = Tally(), Tally()
    for tally in (first, second):
        for number in range(150):
            problem = Problem(b"a:%d" % number, "n:1", Outcome.UNDECRYPTABLE, "bad_tag")
            tally.problem(problem)
    first.merge(Tally.from_dict(second.to_dict()))

    assert [tuple(one) for one in first.sums] == [("undecryptable", "bad_tag", "a", 300)]
    assert len(list(first.samples())) == 100


def test_earlier_version():
    """A tally that an earlier version saved has no sums, and is read."""
    saved = Tally().to_dict()
    del saved["sums"]

    assert list(Tally.from_dict(saved).sums) == []
