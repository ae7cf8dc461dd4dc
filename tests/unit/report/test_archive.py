"""Tests of what the state adds to a report: histories, budgets, age, and what `--require` asks."""

from datetime import UTC, datetime, timedelta

import pytest

from rotator.crypto import keyring
from rotator.errors import StateError
from rotator.report.archive import load_reports, unmet_conditions
from rotator.report.build import budget_warnings, known_of_key
from rotator.report.files import json_text
from rotator.report.model import Cache as CacheReport
from rotator.report.model import Key, Report
from rotator.retirement.history import SweepRecord
from rotator.state.state import VERDICTS, State
from rotator.tally.tally import Mode, Tally

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)


HOUR = timedelta(hours=1)


DAY = timedelta(days=1)


OLD = "9f2c41d07be3a655"


CURRENT = "c4a10e5b22d9f6a3"


RETIRABLE = {"verdict": "retirable", "reasons": ("never met",), "next_step": "remove it"}


@pytest.fixture
def state(tmp_path):
    """An empty state."""
    with State(tmp_path / "state.db") as opened:
        yield opened


def key(role="old", **fields):
    """One key of a report; an old one is retirable unless said otherwise."""
    usual = {"id": OLD if role == "old" else CURRENT, "role": role, "field": f"keys.{role}"}
    return Key(**usual | (RETIRABLE if role == "old" else {}) | fields)


def report_on(*caches, at=NOW):
    """A report on some caches."""
    return Report(
        rotator="1.0.0", mode="run", started_at=at, finished_at=at, exit_code=0, caches=caches
    )


def looked_at(name="a", *keys, swept_at=NOW - HOUR):
    """What a report says of a cache that was swept an hour ago."""
    return CacheReport(name=name, complete=True, keys=keys or (key(),), swept_at=swept_at)


def sweep(state, cache="a", at=NOW, **fields):
    """Let the state know of a complete sweep."""
    state.record_sweep(
        SweepRecord.of(
            Tally(),
            **{
                "cache": cache,
                "mode": Mode.RUN,
                "started_at": at - HOUR,
                "finished_at": at,
                "complete": True,
                "current": CURRENT,
                "old": [OLD],
            }
            | fields,
        )
    )


def save(state, report):
    """Keep a report on each of its caches, as a run does."""
    for cache in report.caches:
        alone = report.model_copy(update={"caches": (cache,)})
        state.save_report(cache.name, json_text(alone), report.finished_at)


def asked(report, *keys, max_age=DAY):
    """The reasons why keys are not retirable, without what to do about them."""
    return [
        reason for reason, _ in unmet_conditions(report, keys or [OLD], now=NOW, max_age=max_age)
    ]


class TestUnmet:
    """What `--require retirable` asks for."""

    def test_holds(self):
        """Nothing speaks against a key that is retirable in every cache, by a fresh sweep."""
        assert asked(report_on(looked_at("a"), looked_at("b"))) == []

    @pytest.mark.parametrize("verdict", ["unknown", "in-use", "draining", "verifying", "held"])
    def test_other_verdicts(self, verdict):
        """No verdict but retirable will do, and the first reason and the next step are told."""
        report = report_on(
            looked_at("a", key(verdict=verdict, reasons=("one", "two"), next_step="look there"))
        )

        found = unmet_conditions(report, [OLD], now=NOW, max_age=DAY)

        assert found == [(f"key {OLD} is {verdict}: one", "look there")]

    def test_worse_in_another_cache(self):
        """A key that several caches list must be retirable in all of them."""
        report = report_on(looked_at("a"), looked_at("b", key(verdict="in-use", reasons=("met",))))

        assert asked(report) == [f"key {OLD} is in-use: met"]

    def test_current_in_another_cache(self):
        """The current key of a cache is never retirable."""
        report = report_on(looked_at("a"), looked_at("b", key("current", id=OLD)))

        assert asked(report) == [f"key {OLD} is the current key of b"]

    @pytest.mark.parametrize(
        ("swept_at", "reason"),
        [
            (None, "there is no complete sweep of a"),
            (
                NOW - 2 * DAY,
                "the last complete sweep of a ended 2 days ago, and --max-age is 1d",
            ),
            (
                NOW + HOUR,
                (
                    "the last complete sweep of a ended 2026-11-23 11:00 UTC, which is later than"
                    " now: a clock is wrong"
                ),
            ),
        ],
    )
    def test_old_knowledge(self, swept_at, reason):
        """Without a fresh complete sweep a stored verdict does not count."""
        assert asked(report_on(looked_at(swept_at=swept_at))) == [reason]

    def test_just_fresh_enough(self):
        """A sweep that is exactly as old as allowed will do."""
        assert asked(report_on(looked_at(swept_at=NOW - DAY))) == []

    def test_old_knowledge_of_another_cache(self):
        """The age of caches that do not list the key does not matter."""
        other = looked_at("b", key(id="b" * 16), swept_at=NOW - 9 * DAY)

        assert asked(report_on(looked_at("a"), other)) == []

    def test_cache_without_keys(self):
        """A cache that could not be looked at may list the key, so it speaks against it."""
        report = report_on(looked_at("a"), CacheReport(name="b", error="refused"))

        assert asked(report) == ["the last run could not judge b: refused"]

    def test_no_key(self):
        """Nothing to retire is not the same as all being retirable."""
        found = unmet_conditions(
            report_on(looked_at("a", key("current"))), [], now=NOW, max_age=DAY
        )

        assert [reason for reason, _ in found] == ["no cache has an old key, so none is retirable"]


class TestLastReport:
    """The last reports, put together."""

    def test_none(self, state):
        """A state without a report says so, and how to get one."""
        with pytest.raises(StateError, match="no report yet") as caught:
            load_reports(state, NOW)

        assert "--dry-run" in caught.value.hint

    def test_damaged(self, state):
        """A report that is none is an error, never left out."""
        state.save_report("a", "{}", NOW)

        with pytest.raises(StateError, match="last report on a in the state is damaged"):
            load_reports(state, NOW)

    def test_several_caches(self, state):
        """Each cache is as it was last seen; the newest report tells of the run."""
        save(state, report_on(looked_at("b"), at=NOW - DAY))
        save(state, report_on(looked_at("a"), at=NOW))

        found = load_reports(state, NOW)

        assert ([cache.name for cache in found.caches], found.finished_at) == (["a", "b"], NOW)

    def test_swept_at_is_of_the_state(self, state):
        """How old the knowledge is comes from the last complete sweep, not from the report."""
        sweep(state, at=NOW - 3 * DAY)
        save(state, report_on(looked_at("a", swept_at=NOW)))

        assert load_reports(state, NOW).caches[0].swept_at == NOW - 3 * DAY

    def test_never_swept(self, state):
        """Without a complete sweep there is no age."""
        save(state, report_on(looked_at("a")))

        assert load_reports(state, NOW).caches[0].swept_at is None

    def test_worst_verdict_of_all_caches(self, state):
        """A key has the same verdict in every cache that lists it: the worst, with its reasons."""
        worse = key(verdict="draining", reasons=("one remains",), next_step="wait")
        save(state, report_on(looked_at("a"), at=NOW))
        save(state, report_on(looked_at("b", worse), at=NOW - DAY))

        found = [cache.keys[0] for cache in load_reports(state, NOW).caches]

        assert [(one.verdict, one.reasons, one.next_step) for one in found] == [
            ("draining", ("one remains",), "wait")
        ] * 2

    def test_worse_verdict_of_a_later_run(self, state):
        """A later run over other caches that judged the key worse is not passed over."""
        save(state, report_on(looked_at("a")))
        state.note_verdict(OLD, "in-use", NOW + HOUR)

        (found,) = load_reports(state, NOW).caches[0].keys

        assert found.verdict == "in-use"
        assert found.reasons[0] == (
            "judged in-use at 2026-11-23 11:00 UTC by a run over other caches"
        )
        assert found.next_step == "run again over all caches"

    def test_better_verdict_of_a_later_run(self, state):
        """A verdict does not get better by a run whose report is not there."""
        save(state, report_on(looked_at("a", key(verdict="held", reasons=("RDB",)))))
        state.note_verdict(OLD, "retirable", NOW + HOUR)

        assert load_reports(state, NOW).caches[0].keys[0].verdict == "held"


class TestVerdicts:
    """What the verdict on a key was, and when."""

    def test_only_changes(self, state):
        """A verdict that stays the same is written down once, with its first time."""
        for number, verdict in enumerate(["unknown", "held", "held", "retirable", "held"]):
            state.note_verdict(OLD, verdict, NOW + number * HOUR)

        assert state.verdicts(OLD) == [
            (NOW, "unknown"),
            (NOW + HOUR, "held"),
            (NOW + 3 * HOUR, "retirable"),
            (NOW + 4 * HOUR, "held"),
        ]

    def test_bounded(self, state):
        """Only the last changes are kept, and other keys keep theirs."""
        state.note_verdict(CURRENT, "held", NOW)
        for number in range(VERDICTS + 7):
            state.note_verdict(OLD, ("held", "retirable")[number % 2], NOW + number * HOUR)

        assert len(state.verdicts(OLD)) == VERDICTS
        assert state.verdicts(OLD)[0][0] == NOW + 7 * HOUR
        assert state.verdicts(CURRENT) == [(NOW, "held")]

    def test_clock_set_back(self, state):
        """They stand in the order in which they were judged, whatever the clock says."""
        state.note_verdict(OLD, "held", NOW)
        state.note_verdict(OLD, "retirable", NOW - DAY)

        assert [verdict for _, verdict in state.verdicts(OLD)] == ["held", "retirable"]

    def test_damaged(self, state):
        """A time that is none makes the file a damaged one."""
        with state._database.change() as change:
            change("INSERT INTO verdicts VALUES (NULL, ?, 'soon', 'held')", (OLD,))

        with pytest.raises(StateError, match="damaged"):
            state.verdicts(OLD)


class TestWithPast:
    """A report with what the state adds."""

    def test_history(self, state):
        """An old key carries what all sweeps saw of it; a current key does not."""
        sweep(state, at=NOW - HOUR)
        sweep(state, at=NOW)
        state.note_verdict(OLD, "retirable", NOW)

        save(state, report_on(looked_at("a", key(), key("current"))))

        (cache,) = load_reports(state, NOW).caches

        past = cache.keys[0].past
        assert (past.swept_at, past.clean_since, past.clean_sweeps) == (NOW, NOW - HOUR, 2)
        assert past.verdicts == ((NOW, "retirable"),)
        assert cache.keys[1].past is None
        assert cache.swept_at == NOW

    @pytest.mark.parametrize(
        ("encryptions", "seen", "warned"),
        [
            (0, 0, False),
            (2**32 // 10 - 1, 0, False),
            (429_496_730, 0, True),
            (0, 429_496_730, True),
        ],
    )
    def test_budget(self, state, encryptions, seen, warned):
        """At 10 % of 2^32 there is a warning, whether rotator or somebody else encrypted."""
        state.add_encryptions(CURRENT, encryptions)
        state.note_seen("a", CURRENT, seen)

        record = state.cache_record("a", [CURRENT])
        known = known_of_key(record, CURRENT, "current")

        assert known["encryptions"] == encryptions
        assert known["nonce_budget_used"] == (encryptions + seen) / 2**32
        assert bool(next(budget_warnings(record, {CURRENT: "current"}), None)) is warned

    def test_budget_warning(self):
        """The warning tells the key, how much, how that is known and what to do."""
        assert keyring.warning(CURRENT, "current", 2**31, 2**30) == (
            "the current key c4a10e5b has used 75% of the 2^32 encryptions that are safe with"
            " random nonces (2,147,483,648 by rotator, 1,073,741,824 values met under it):"
            " make a new key current before it is used up"
        )
        assert keyring.warning(OLD, "old", 2**31, 0).endswith("do not make it current again")

    def test_most_seen(self, state):
        """What one sweep of a cache met is not met again; what several caches hold adds up."""
        for cache, number in (("a", 5), ("a", 9), ("a", 2), ("b", 4)):
            state.note_seen(cache, OLD, number)

        assert state.most_seen(OLD) == 13
