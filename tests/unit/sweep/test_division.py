"""The parts of a scan: together they have every bucket, or every slot, of a table that changes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.config.types import Address
from rotator.server.store import START
from rotator.sweep.division import CURSORS, WHOLE, Cursors, Part, parts


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


def visited(part, names, turns, sizes):
    """
    The buckets, of the largest table, whose names a part has met from its begin to its end.

    *sizes* are those of the tables, one for each page; a page is of as many cursors as *turns* say.
    A bucket of a smaller table has the names of all those of a larger one that end as it does. A
    name of the largest table's bucket was met if it was in a bucket that was read.
    """
    largest = max(sizes)
    cursors, met, step = Cursors.begin(part, names, spread=True), set(), 0
    while True:
        bits, asked = sizes[step % len(sizes)], cursors.left[: turns[step % len(turns)]]
        step += 1
        for cursor in asked:
            bucket = int(cursor) & ((1 << bits) - 1)
            met.update(range(bucket, 1 << largest, 1 << bits))
        cursors = cursors.after([b"%d" % after(int(cursor), bits) for cursor in asked])
        if cursors.saved == START:
            return met
        cursors = Cursors.read(part, cursors.saved)


def gone_on(part, cursor):
    """The cursor to go on with after SCAN gave *cursor* to a part with one cursor."""
    return Cursors.begin(part, 0, spread=False).after([cursor]).saved


NAMES = st.integers(0, 3_000_000)
TURNS = st.lists(st.integers(1, 70), min_size=1, max_size=5)


@given(st.sampled_from([1, 2, 4]), NAMES, TURNS, st.lists(st.integers(3, 9), min_size=1))
def test_every_bucket(count, names, turns, sizes):
    """Whatever size the table has at each page, every name is met, by however many cursors."""
    met = [visited(part, names, turns, sizes) for part in parts(count)]
    assert set().union(*met) == set(range(1 << max(sizes)))


@given(st.sampled_from([1, 2, 4]), NAMES, TURNS)
def test_no_bucket_twice(count, names, turns):
    """In a table that stays as it is no bucket is in two parts."""
    met = [visited(part, names, turns, [9]) for part in parts(count)]
    assert sum(map(len, met)) == 1 << 9


@pytest.mark.parametrize(
    ("names", "cursors"), [(0, 1), (39_999, 1), (40_000, 2), (300_000, 8), (10**9, CURSORS)]
)
def test_cursors(names, cursors):
    """The more names there are, the more cursors take turns, up to a limit."""
    (part,) = parts(1)
    assert len(Cursors.begin(part, names, spread=True).left) == cursors
    assert Cursors.begin(part, names, spread=False).left == (START,)
    assert Cursors.begin(WHOLE, names, spread=True).left == (START,)


def test_cursors_end_by_themselves():
    """What goes on after a page is each cursor that is not at its end, in turn."""
    (part,) = parts(1)
    cursors = Cursors.begin(part, 80_000, spread=True)
    assert cursors.left == (b"0", b"1", b"2", b"3")
    cursors = cursors.after([b"8", b"3"])  # the second one is where the fourth began
    assert cursors.left == (b"2", b"3", b"8")
    cursors = cursors.after([START, START, START])
    assert cursors.saved == START


@pytest.mark.parametrize("saved", [b"token-7", b"17", START, b"64:", b"1,2", b"-4:1"])
def test_one_cursor(saved):
    """A cursor that was saved by itself is gone on from as it is."""
    cursors = Cursors.read(WHOLE, saved)
    assert (cursors.left, cursors.saved) == ((saved,), saved)
    assert cursors.after([b"token-8"]).saved == b"token-8"


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
    assert gone_on(first, b"%d" % (7 << 14 | first.slots[1])) != START
    assert gone_on(first, b"%d" % second.slots[0]) == START
    assert second.begin == b"%d" % second.slots[0]
    assert gone_on(second, START) == START


def test_whole():
    """A scan that is not divided hands any cursor through, also one that is no number."""
    assert gone_on(WHOLE, b"token-7") == b"token-7"


@pytest.mark.parametrize("part", [Part(1, 2), Part(1, 2, (8192, 16_383))])
def test_a_cursor_that_is_no_number(part):
    """A divided scan does not go on with a cursor that it cannot read, and does not show it."""
    with pytest.raises(ValueError, match="is no number") as caught:
        gone_on(part, b"token-7")
    assert "token-7" not in str(caught.value)


def test_where_positions_are():
    """The positions of parts are kept apart, and those of a whole node where they always were."""
    address = Address("redis", 6379)
    assert WHOLE.place(address) == "redis:6379"
    assert [part.place(address) for part in parts(2)] == ["redis:6379 1/2", "redis:6379 2/2"]
