"""What a walk counts: every visit once, and in bounded memory."""

from hypothesis import given
from hypothesis import strategies as st

from rotator.tally.tally import DONE, FAILED, GONE, PREFIXES, PROBLEMS, Count, Decision, Trouble
from rotator.tally.tally import NAME_SAMPLES as SAMPLES

NAMES = st.lists(st.binary(max_size=8), max_size=60)
ENDS = st.lists(st.sampled_from([DONE, FAILED, GONE, "current"]), max_size=60)


def counted(names=(), ends=()):
    """What these picks and ends come to."""
    count = Count()
    for name in names:
        count.picked(name, len(name))
    for end in ends:
        count.end(Decision(end))
    return count


@given(NAMES, NAMES, ENDS, ENDS)
def test_merging_is_counting_on(names, more, ends, others):
    """Two counts that are merged come to what one would have; visits and sizes are exact."""
    both = counted(names, ends)
    both.merge(counted(more, others))
    whole = counted([*names, *more], [*ends, *others])
    assert both.ends == whole.ends
    assert both.visits == len(ends) + len(others)
    assert both.size == whole.size
    assert both.prefixes.total() == len(names) + len(more)


@given(st.lists(st.integers(0, 500), max_size=200))
def test_memory_is_bounded(numbers):
    """However many names and prefixes there are, some are kept and the others counted."""
    count = counted([b"p%d:x" % number for number in numbers])
    assert len(count.prefixes) <= PREFIXES
    assert count.prefixes.total() == len(numbers)
    assert len(count.samples) == min(SAMPLES, len(set(numbers)))
    count.merge(counted([b"q%d:x" % number for number in numbers]))
    assert len(count.prefixes) <= PREFIXES
    for _ in range(PROBLEMS + 5):
        count.end(Decision(FAILED), Trouble(b"name", "node", FAILED, "why"))
    assert len(count.troubles) == PROBLEMS
    assert count.ends[FAILED] == PROBLEMS + 5


def test_prefixes():
    """Only what stands before the first colon is kept: the rest may be a logical key in clear."""
    count = counted([b"/app/oidc:secret", b"secret", b"/app/oidc:a:b"])
    assert count.prefixes == {"/app/oidc": 2, "": 1}


def test_what_is_settled():
    """Of a node that is walked again only what was done stays: all else is met again."""
    settled = counted([b"a:b"], [DONE, DONE, GONE, FAILED]).only_rotated()
    assert settled.ends == {DONE: 2}
    assert (settled.size, settled.samples) == (0, [])
    assert counted().only_rotated().ends == {}
