"""The parts of a scan: together they have every bucket, or every slot, of a table that changes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.config.types import Address
from rotator.server.store import START
from rotator.sweep.division import WHOLE, Part, parts


def reverse(number, bits):
    """A number with its bits in the reverse order."""
    return int(f"{number:0{bits}b}"[::-1], 2) if bits else 0


def after(cursor, bits):
    """
    The cursor that comes after one, in a table of 2**bits buckets.

    As dictScan counts: the bits above the table's are set, and the reversed number is raised by 1.
    """
    width = 64
    mask = (1 << bits) - 1
    raised = reverse(cursor | ~mask & (1 << width) - 1, width) + 1
    return reverse(raised % (1 << width), width)


def visited(part, sizes):
    """The buckets, of the smallest table, that a part meets; *sizes* are those of the tables."""
    smallest = min(sizes)
    cursor, met, step = part.begin, set(), 0
    while True:
        bits = sizes[step % len(sizes)]
        step += 1
        bucket = int(cursor) & ((1 << bits) - 1)
        met.add(bucket & ((1 << smallest) - 1))
        cursor = part.after(b"%d" % after(int(cursor), bits))
        if cursor == START:
            return met


@given(st.sampled_from([1, 2, 4]), st.lists(st.integers(4, 8), min_size=1, max_size=6))
def test_every_bucket(count, sizes):
    """Whatever size the table has at each call, every bucket is in a part."""
    met = [visited(part, sizes) for part in parts(count)]
    assert set().union(*met) == set(range(1 << min(sizes)))


@given(st.sampled_from([2, 4]), st.integers(4, 9))
def test_no_bucket_twice(count, bits):
    """In a table that stays as it is no bucket is in two parts."""
    met = [visited(part, [bits]) for part in parts(count)]
    assert sum(map(len, met)) == 1 << bits


def test_three_are_two():
    """Buckets are divided by a power of two."""
    assert len(parts(3)) == 2


@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.integers(0, 16_383), st.integers(0, 400)), min_size=1, max_size=5),
)
def test_slots(count, ranges):
    """Each slot of the node is in one part, and the parts end where the next one begins."""
    owned = sorted(
        {slot for first, more in ranges for slot in range(first, min(first + more, 16_383) + 1)}
    )
    made = parts(count, [(slot, slot) for slot in owned])
    if len(made) == 1:
        assert made == (WHOLE,)
        return
    ends = [part.slots for part in made]
    assert ends[0][0] == 0
    assert ends[-1][1] == 16_383
    assert all(one[1] + 1 == two[0] for one, two in pairwise(ends))
    shares = [sum(first <= slot <= last for slot in owned) for first, last in ends]
    assert max(shares) - min(shares) <= 1


def test_a_part_of_slots_ends():
    """A part is over when the slot of the cursor is behind its last one."""
    first, second = parts(2, [(0, 16_383)])
    assert first.begin == START
    assert first.after(b"%d" % (7 << 14 | first.slots[1])) != START
    assert first.after(b"%d" % second.slots[0]) == START
    assert second.begin == b"%d" % second.slots[0]
    assert second.after(START) == START


def test_whole():
    """A scan that is not divided hands any cursor through, also one that is no number."""
    assert WHOLE.after(b"token-7") == b"token-7"


@pytest.mark.parametrize("part", [Part(1, 2), Part(1, 2, (8192, 16_383))])
def test_a_cursor_that_is_no_number(part):
    """A divided scan does not go on with a cursor that it cannot read, and does not show it."""
    with pytest.raises(ValueError, match="is no number") as caught:
        part.after(b"token-7")
    assert "token-7" not in str(caught.value)


def test_places():
    """The positions of parts are kept apart, and those of a whole node where they always were."""
    address = Address("redis", 6379)
    assert WHOLE.place(address) == "redis:6379"
    assert [part.place(address) for part in parts(2)] == ["redis:6379 1/2", "redis:6379 2/2"]
