"""History: what a key's sweeps add up to, one sweep after the other."""

from dataclasses import replace

import pytest

from rotator.retirement.history import KeyHistory, KeySeen, SweepRecord, fold
from rotator.tally.key_tally import KeyTally
from rotator.tally.tally import BLOCKING, Mode, Outcome, Tally
from support.looks import KEY, at, sweep

CLEAN = fold(KeyHistory(), sweep(0, 1), KEY)
RETURNED = fold(CLEAN, sweep(9, 10, met=4), KEY)


def seen(found=3, **more):
    """A sighting at minute 9, and last at minute 10."""
    return KeySeen(found=found, first_seen_at=at(9), last_seen_at=at(10), **more)


def saw(key, *minutes, **more):
    """A sweep that saw this of the key."""
    return sweep(*(minutes or (8, 11)), keys={KEY: key}, **more)


class TestFold:
    """One more sweep."""

    @pytest.mark.parametrize(
        ("before", "record", "after"),
        [
            # met for the first time
            (
                KeyHistory(),
                saw(seen()),
                KeyHistory(
                    first_looked_at=at(8), first_seen_at=at(9), last_seen_at=at(10), swept_at=at(11)
                ),
            ),
            # not met
            (KeyHistory(), sweep(0, 1), KeyHistory("", at(0), None, None, at(1), at(1), 1)),
            (CLEAN, sweep(4, 5), replace(CLEAN, swept_at=at(5), clean_sweeps=2)),
            # by a clock that was set back
            (CLEAN, sweep(-5, -4), replace(CLEAN, clean_sweeps=2)),
            # a sweep that was stopped is none that looked
            (CLEAN, sweep(4, 5, complete=False), CLEAN),
            (
                KeyHistory(),
                saw(seen(), complete=False),
                KeyHistory(first_seen_at=at(9), last_seen_at=at(10)),
            ),
            # met again although it had been clean
            (
                CLEAN,
                saw(seen(5, too_large=2, prefixes=("/a",))),
                KeyHistory("", at(0), at(9), at(10), at(11), None, 0, at(1), at(9), 5, ("/a",)),
            ),
            # and by more values, or fewer, later on: the most count, and the first names
            (
                replace(RETURNED, prefixes=()),
                saw(seen(9, too_large=1, prefixes=("/b",)), 19, 21),
                replace(RETURNED, swept_at=at(21), returned=8, prefixes=("/b",)),
            ),
            (
                replace(RETURNED, prefixes=("/a",)),
                saw(seen(2, prefixes=("/b",)), 19, 21),
                replace(RETURNED, swept_at=at(21), prefixes=("/a",)),
            ),
            # only values that are too large: they do not count as met, unless it had been clean
            (
                KeyHistory(),
                saw(seen(2, too_large=2)),
                KeyHistory(first_looked_at=at(8), swept_at=at(11)),
            ),
            # the time of a sighting that is not told, or in doubt, is the end of its sweep
            (
                KeyHistory(),
                saw(KeySeen(found=1), complete=False),
                KeyHistory(first_seen_at=at(11), last_seen_at=at(11)),
            ),
            (
                KeyHistory(),
                saw(seen(), complete=False, doubt="a clock was set"),
                KeyHistory(first_seen_at=at(9), last_seen_at=at(11)),
            ),
            # old data came back: nobody is accused
            (
                CLEAN,
                saw(seen(), goes_on=False),
                KeyHistory("", at(0), at(9), at(10), at(11)),
            ),
            (
                CLEAN,
                sweep(4, 5, goes_on=False),
                replace(CLEAN, swept_at=at(5), clean_since=at(5), clean_sweeps=1),
            ),
            (
                replace(CLEAN, clean_sweeps=5),
                sweep(4, 5, goes_on=False, complete=False),
                replace(CLEAN, clean_since=None, clean_sweeps=0),
            ),
            # another scope: it was not looked at there
            (
                RETURNED,
                sweep(19, 20, scope="wider"),
                KeyHistory("wider", at(19), at(10), at(10), at(20), at(20), 1),
            ),
            # it is the current key, or none that the sweep knew
            (
                RETURNED,
                sweep(19, 20, current=KEY, scope="wider"),
                KeyHistory("wider", None, at(10), at(20)),
            ),
            (
                RETURNED,
                sweep(-5, -4, current=KEY, scope="wider"),
                KeyHistory("wider", None, at(10), at(10)),
            ),
            (RETURNED, sweep(19, 20, keys={}, scope="wider"), RETURNED),
        ],
    )
    def test_table(self, before, record, after):
        """Each sweep leaves exactly this."""
        assert fold(before, record, KEY) == after


class TestRecord:
    """What a sweep leaves behind."""

    def test_of_a_key(self):
        """Everything that a tally says of a key is kept."""
        tally = KeyTally()
        tally.found, tally.remaining, tally.remaining_without_ttl = 9, 8, 7
        tally.too_large, tally.too_large_without_ttl = 6, 5
        tally.first_seen_at, tally.last_seen_at = at(1), at(2)
        tally.prefixes.update({"/b": 2, "/a": 2, "": 9, "/c": 3})
        found = KeySeen.of(tally)
        assert found == KeySeen(9, 8, 7, 6, 5, None, at(1), at(2), ("/c", "/a", "/b"))
        assert found.met == 3

    def test_of_a_tally(self):
        """Open items are counted one kind each, and keys that were not met are told as such."""
        tally = Tally()
        for outcome, number in {Outcome.NESTED: 2, Outcome.DENIED: 3, Outcome.CURRENT: 4}.items():
            tally.add(outcome, count=number)
        for key in (KEY, "b" * 16, "b" * 16):
            tally.count_moved(key, 10, at(1))
        told = {"cache": "c", "mode": Mode.RUN, "started_at": at(0), "finished_at": at(1)}
        record = SweepRecord.of(tally, old=[KEY, "0" * 16], complete=True, current="b" * 16, **told)
        assert (record.visits, record.opened, record.cache) == (9, 3, "c")
        assert set(record.open_items) == {*BLOCKING, Outcome.NESTED}
        assert (record.open_items[Outcome.NESTED], record.open_items[Outcome.DENIED]) == (2, 3)
        assert {key: one.found for key, one in record.keys.items()} == {KEY: 1, "0" * 16: 0}

    @pytest.mark.parametrize(
        ("outcome", "number", "accepted", "blocks"),
        [
            (Outcome.UNDECRYPTABLE, 3, 2, 3),
            (Outcome.UNDECRYPTABLE, 3, 3, 0),
            (Outcome.UNDECRYPTABLE, 3, 4, 0),
            (Outcome.DENIED, 3, 3, 3),  # nobody can accept that
            (Outcome.DENIED, 0, 0, 0),
        ],
    )
    def test_blocking(self, outcome, number, accepted, blocks):
        """All of the open items count, if there are more than were accepted."""
        record = sweep(0, 1, open_items={outcome: number}, accepted={outcome: accepted})
        assert record.blocking(outcome) == blocks
        assert record.blocking(Outcome.FAILED) == 0
        assert record.hides_or_holds(KEY) is (blocks > 0)
        assert record.looked_everywhere is (blocks == 0)

    def test_hides_or_holds(self):
        """A sweep that met the key holds it, and one that met another one does not."""
        assert sweep(0, 1, met=1).hides_or_holds(KEY)
        assert not sweep(0, 1, met=1).hides_or_holds("b" * 16)

    @pytest.mark.parametrize("more", [{"complete": False}, {"not_looked_at": ("a node",)}])
    def test_not_everywhere(self, more):
        """A sweep that was stopped, or left something out, did not look everywhere."""
        assert sweep(0, 1).looked_everywhere
        assert not sweep(0, 1, **more).looked_everywhere
