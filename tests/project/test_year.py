"""The year: a few nights pass, the bound is as the rules have it, and what is broken is noticed."""

import base64
import sys
from collections import Counter
from datetime import timedelta
from random import Random
from types import SimpleNamespace

import pytest

from rotator.retirement.judge import sentence
from rotator.retirement.lineage import gone_from
from rotator.retirement.names import names_places
from servers.sources import FetchError
from soak.disks import save
from soak.writer import MARK
from support.looks import at, evidence, primary, proof
from year import __main__ as year_script
from year import clock, play
from year.bound import Night, Timetable
from year.events import Day, Event, Events
from year.play import STATE_BYTES, Year

KEY, OTHER = "one", "other"
SEED = 9  # with it nobody lags behind the new key, so the fence is set that very night
NIGHTS = {
    29: Event.NOTHING,
    30: Event.UPGRADE,
    31: Event.LAGGARD,
    32: Event.FULL,
    33: Event.OLD_FILES,
}
"""The nights that are played: the 30th brings a new key, and then a fence."""


@pytest.fixture(scope="module")
def year():
    """A year after these nights."""
    with Year(SEED, values=20) as played:
        for number, event in NIGHTS.items():
            played.night(number, event)
            if event is Event.LAGGARD:
                assert played.timetable.voided
        yield played


def due(timetable, number, *, old=(KEY,), **what):
    """Which keys have to be retirable by the run of a night in which all went well but *what*."""
    return timetable.due(Night(number, **{"proves": True, "writes": True, **what}), old)


def first_due(timetable, begin, **options):
    """The night from which on a key has to be retirable, if nothing more happens."""
    return next(one for one in range(begin, begin + 99) if due(timetable, one, **options))


@pytest.fixture
def timetable():
    """One with two nights of quiet and seven of retention, after a night that proved a key gone."""
    made = Timetable(2, 7)
    assert due(made, 0) == []
    return made


class TestTimetable:
    """By which night a key has to be retired."""

    def test_in_peace(self, timetable):
        """It is the quiet time and the retention after the first proof."""
        assert first_due(timetable, 1) == 9

    @pytest.mark.parametrize(
        ("what", "night"),
        [
            ({"met": [KEY]}, 3 + 9),
            ({"met": [KEY], "left": [KEY]}, 4 + 9),
            ({"lost": True}, 3 + 9),
            ({"files_lost": True}, 3 + 7),
            ({"lost": True, "proves": False}, 4 + 9),
            ({"proves": False}, 9),
            ({"met": [OTHER]}, 9),
        ],
    )
    def test_after_something_in_the_third_night(self, timetable, what, night):
        """What takes evidence away lets it begin again, at the proof or at the files."""
        assert due(timetable, 1) == due(timetable, 2) == due(timetable, 3, **what) == []
        assert first_due(timetable, 4) == night

    def test_files_wait_for_a_run_that_writes_them(self, timetable):
        """A dry run confirms, and the next run has the files written."""
        due(timetable, 1)
        due(timetable, 2, writes=False)
        assert first_due(timetable, 3) == 10

    def test_files_wait_for_other_keys(self, timetable):
        """They are written when no key is held by anything else."""
        due(timetable, 1, old=(KEY, OTHER))
        due(timetable, 2, old=(KEY, OTHER))
        assert first_due(timetable, 3, old=(KEY, OTHER)) == 10

    def test_a_clock_that_was_ahead(self, timetable):
        """Nothing counts before the times that were written down have come."""
        timetable.ahead = 8
        assert first_due(timetable, 1) == 15

    def test_a_fence(self, timetable):
        """One proof after it is enough, and none before it."""
        timetable.fence([KEY])
        assert first_due(timetable, 3) == 10

    def test_a_key_that_returned(self, timetable):
        """A fence that is set after it was met again ends its quiet time, too."""
        due(timetable, 3, met=[KEY])
        timetable.fence([KEY])
        assert first_due(timetable, 4) == 11

    @pytest.mark.parametrize(
        ("what", "voided"), [({}, True), ({"lost": True}, False), ({"proves": False}, False)]
    )
    def test_a_value_after_a_fence(self, timetable, what, voided):
        """It makes the fence void, unless it may be old data that came back, or nobody knows."""
        timetable.fence([KEY])
        due(timetable, 3)
        due(timetable, 4, met=[KEY], **what)
        assert timetable.voided is voided
        timetable.fence([KEY])
        assert not timetable.voided


@pytest.mark.parametrize(
    ("met", "event"), [(7, Event.LAST_WEEK), (8, Event.LOST)], ids=["before", "after"]
)
def test_an_older_state_is_put_back_only_where_it_is_right(met, event):
    """What was met since the copy was made is nowhere else: then there is no state rather."""
    machine = SimpleNamespace(clock=SimpleNamespace(off=1), lose_state=lambda restore: restore)
    application = SimpleNamespace(ring=SimpleNamespace(ids=["current", KEY]))
    timetable = Timetable(2, 7, met_at={KEY: met, "retired": 9})
    events = Events(None, application, machine, timetable, Random(1), _copied_at=7)
    day = Day(10, Event.LAST_WEEK)
    events.happen(day)
    assert (day.event, day.lost, machine.clock.off) == (event, True, 0)
    assert events.happened == {event: 1}


class TestNights:
    """Nights on real servers, with events that are forced."""

    def test_all_holds(self, year):
        """Nothing is broken by files that are days old, a full disk, 1.0.0, or a laggard."""
        assert year.broken == []
        assert year.codes == {0: 4, 1: 1}
        assert year.happened["values checked"] > 100
        assert year.happened["tallies compared"] > 0
        assert year.happened["fences"] == 1
        assert all(year.happened[event] == 1 for event in NIGHTS.values() if event != "nothing")

    def test_a_verdict_that_is_too_early(self, year):
        """A value under the key is found in memory, in files of servers, and in backups."""
        old, broken = year.application.ring.ids[1], year.broken
        report = year.machine.reported()
        (key,) = [one for one in report["caches"][0]["keys"] if one["id"] == old]
        key["verdict"] = "retirable"
        lags = year.application.lag(year.clock.now())
        with year.world.nodes[0].client() as client:
            client.mset({one.name: one.value for one in lags})
        save(year.world.nodes[0])
        year.events.back_up(40)  # the others are too old by then
        assert year.oracle.haste(old, 6)
        assert not year.oracle.haste(old, 7)
        assert broken == []
        year._judge(Day(40, Event.AHEAD), report, ["another"])
        found, broken[:] = list(broken), []
        late = "another is not retirable, and had to be: the report says nothing"
        assert late in found
        assert f"{old} is retirable by a wrong clock" in found
        held = [one.partition(" values in ")[2] for one in found if " values in " in one]
        assert {one.split(" of ")[0] for one in held} == {"the memory", "dump.rdb"}
        assert sum("of day 40" in one for one in held) == 1
        assert any(one.startswith(f"requirement of {old}: 6") for one in found)

    def test_values(self, year):
        """One that is lost, another one, a later expiry and one too many are each noticed."""
        app, now = year.application, year.clock.now()
        held = {
            name: (app.ring.seal(name, plaintext, 0, "gcm"), at_ms)
            for name, (plaintext, at_ms) in app.expected.items()
        }
        assert app.differences(held, now) == []
        lost, changed, later = sorted(held)[:3]
        held[changed] = (app.ring.seal(changed, b"else", 0, "gcm"), held[changed][1])
        held[later] = (held[later][0], held[later][1] + 1)
        held[b"more"] = held.pop(lost)
        assert set(app.differences(held, now)) == {
            *(f"{changed!r} is not what was written", f"{later!r} is not what was written"),
            *(f"{lost!r} is lost", "b'more' is there and should not be"),
        }

    def test_secrets(self, year):
        """A key or a plaintext is noticed in each form, also in the middle of base64."""
        (key, *_) = year.application.ring.keys
        raw = bytes.fromhex(key)
        for form in (key.encode(), raw, base64.b64encode(b"xy" + raw), base64.b64encode(raw)):
            assert year.machine.leaks(form, [key]) == ["a key is in what rotator leaves behind"]
        for form in (MARK, base64.urlsafe_b64encode(b"x" + MARK + b"y"), MARK.hex().encode()):
            assert len(year.machine.leaks(form, [key])) == 1
        assert year.machine.leaks(base64.b64encode(b"nothing"), [key]) == []

    def test_sums(self, year):
        """A report that counts another number than there is does not add up."""
        report = year._last
        (cache,) = report["caches"]
        there = {key["id"]: key["found"] for key in cache["keys"]}
        left = {key["id"]: key["remaining"] for key in cache["keys"]}
        check = year.oracle.sums
        assert check(report, counted(there), counted(left), resumed=False) == []
        current = cache["keys"][0]
        for change in ({"found": current["found"] + 1}, {"rotated": 1}):
            keys = [{**current, **change}, *cache["keys"][1:]]
            changed = {"caches": [{**cache, "keys": keys}]}
            assert check(changed, counted(there), counted(left), resumed=False)
        outcomes = {**cache["outcomes"], "current": cache["outcomes"]["current"] + 1}
        changed = {"caches": [{**cache, "outcomes": outcomes}]}
        assert check(changed, counted(there), counted(left), resumed=False)
        more = {**left, cache["keys"][1]["id"]: 7}
        assert check(report, counted(there), counted(more), resumed=False)


def counted(numbers):
    """Values by key id."""
    return Counter({key_id: number for key_id, number in numbers.items() if number})


def test_what_an_operator_is_told_of_a_clock():
    """The words by which the state is moved away are those of a report that a clock was ahead."""
    known = evidence(proofs=[proof(primary(5), primary(6))], looks=[primary(5), primary(6)])
    quiet = timedelta(hours=1)
    [place] = names_places(known, gone_from(known, quiet), at(2), quiet)
    assert "later than now" in place.evidence
    assert play._MOVE_AWAY in sentence(place)


def test_a_state_that_grows():
    """What the state takes in the second half of the year has a bound."""
    grown = Year(1)
    grown.sizes = [STATE_BYTES * 2, STATE_BYTES]
    grown.finish()
    assert grown.broken == []
    grown.sizes = [1, STATE_BYTES + 1]
    grown.finish()
    assert grown.broken == [f"the state takes {STATE_BYTES + 1} bytes"]


def test_a_year_that_breaks_a_rule_fails(monkeypatch, capsys):
    """The exit code is 1, and the rule is printed with its night."""

    class Broken(Year):
        """A year in which each night goes wrong."""

        def __enter__(self):
            self.events = SimpleNamespace(happened={})
            return self

        def __exit__(self, *_):
            """Nothing was begun."""

        def night(self, _number):
            """Lose something."""
            self.broken.append("something is lost")
            self.days.append("0 restart")

    monkeypatch.setattr(year_script, "Year", Broken)
    monkeypatch.setattr(sys, "argv", ["year", "--seed", "7", "--nights", "1"])
    assert year_script.main() == 1
    said = capsys.readouterr().out.splitlines()
    assert said[:3] == [
        *("seed: 7", "broken in night 0: something is lost", "the month before: 0 restart"),
    ]
    assert said[-1] == "broken rules: 1"


def test_no_library(monkeypatch, tmp_path):
    """Where apt is not there, the error says what is missing and who has it."""
    monkeypatch.setattr(clock, "CACHE", tmp_path / "cache")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FetchError, match="libfaketime, which apt has: there is no apt-get"):
        clock.library()
