"""Tests of what the state adds to a report: histories, budgets, age, and what `--require` asks."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rotator.crypto import keyring
from rotator.errors import StateError
from rotator.report.archive import load_reports, save_reports, unmet_conditions
from rotator.report.build import budget_warnings, known_of_key
from rotator.report.fields import Facts
from rotator.report.files import json_text
from rotator.report.model import KINDS, STATUSES, Coverage, Key, Node, Report
from rotator.report.model import Cache as CacheReport
from rotator.retirement.history import SweepRecord
from rotator.state.state import VERDICTS, State
from rotator.tally.tally import Mode, Tally
from support.sample_reports import QUIET, place, placed_key, proven_key

WRITTEN = Path(__file__).parents[2] / "written-by-1.0.0" / "reports"


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


def swept(name, address="10.0.0.7:1", *keys):
    """What a run says of a cache that it has swept."""
    coverage = Coverage(mode="standalone", nodes=(Node(node=address, complete=True),))
    known = {"coverage": coverage, "addresses": (address,)}
    return looked_at(name, *keys).model_copy(update=known)


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
                "proven": True,
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

    def test_order(self, state):
        """What was met counts more than what is not known, and that more than a hold."""
        verdicts = ["retirable", "held", "verifying", "unknown", "draining", "in-use"]
        for number, verdict in enumerate(verdicts):
            save(state, report_on(looked_at(f"c{number}", key(verdict=verdict))))

            assert {one.keys[0].verdict for one in load_reports(state, NOW).caches} == {verdict}

    def test_place_of_a_worse_verdict(self, state):
        """A key that another cache makes worse has that cache as a place, once."""
        worse = key(verdict="in-use", reasons=("9 remain",), next_step="find the writer")
        before = place("caches", "b", evidence="b: clean")
        good = key(places=(before, place("names")))
        save(state, report_on(looked_at("a", good), looked_at("b", worse)))

        (found, clean), other = (one.keys[0].places for one in load_reports(state, NOW).caches)

        assert (found.kind, found.where, found.status) == ("caches", "b", "holding")
        assert (found.evidence, found.remedy) == ("b: 9 remain", "find the writer")
        assert (found.verdict, clean.kind, other) == ("in-use", "names", ())


class TestProven:
    """What `--require proven` asks for beyond `--require retirable`."""

    def asked(self, key, **fields):
        """The reasons why the only key of a cache is not proven."""
        report = report_on(looked_at("a", key).model_copy(update=fields))
        found = unmet_conditions(report, [key.id], now=NOW, max_age=DAY, proven=True)
        return [reason for reason, _ in found]

    def test_holds(self):
        """Nothing speaks against a key of which every place is clean."""
        assert self.asked(proven_key()) == []

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("status", [one for one in STATUSES if one != "clean"])
    def test_not_clean(self, kind, status):
        """A place of any kind that is not clean speaks against it, also one that is assumed."""
        others = [one for one in proven_key().places if one.kind != kind]
        odd = place(kind, "", status, evidence="so it is")

        found = self.asked(proven_key(places=(odd, *others)))

        only = "it is only assumed that " if status == "assumed" else ""
        assert found == [f"key 9f2c41d07be3a655 is retirable, but not proven: {only}so it is"]

    @pytest.mark.parametrize(
        ("kind", "what"),
        [("writers", "the applications that write"), ("backups", "the copies outside Redis")],
    )
    def test_nothing_known(self, kind, what):
        """Where writers or backups are no place at all, nothing is proven."""
        places = tuple(one for one in proven_key().places if one.kind != kind)

        assert self.asked(proven_key(places=places)) == [
            f"key 9f2c41d07be3a655: nothing is known about {what}"
        ]

    def test_assumption(self):
        """An assumption speaks against it, even if no place is assumed."""
        assert self.asked(proven_key(assumptions=("the sky is blue",))) == [
            "key 9f2c41d07be3a655 is retirable, assuming that the sky is blue"
        ]

    FENCE = "`rotator fence --at TIME` for the applications"
    RETENTION = "declare backups.retention"
    LOOK = "remove what you declare in assume and replicas, and --accept"

    @pytest.mark.parametrize(
        ("kinds", "steps"),
        [
            (["writers"], [FENCE]),
            (["backups"], [RETENTION]),
            (["backups", "writers"], [FENCE, RETENTION]),
            (["rdb"], [LOOK]),
        ],
        ids=str,
    )
    def test_what_proves_it(self, kinds, steps):
        """The step with each reason names all that proves what is assumed."""
        assumed = [place(kind, "", "assumed", evidence=f"{kind} are fine") for kind in kinds]
        others = [one for one in proven_key().places if one.kind not in kinds]
        key = proven_key(places=(*assumed, *others))
        found = unmet_conditions(
            report_on(looked_at("a", key)), [key.id], now=NOW, max_age=DAY, proven=True
        )
        assert [told for _, told in found] == ["; ".join([*steps, "then run again"])] * len(kinds)

    def test_retirable_with_assumptions(self):
        """`--require retirable` passes with the same assumptions."""
        assumed = place("writers", "", "assumed", evidence=QUIET)
        key = proven_key(places=(assumed,), assumptions=(QUIET,))

        assert (
            unmet_conditions(report_on(looked_at("a", key)), [key.id], now=NOW, max_age=DAY) == []
        )

    def test_verdict_comes_first(self):
        """A key that is not retirable is not proven either, and only its verdict is told."""
        assert self.asked(placed_key(reasons=("it hides",))) == [
            "key 9f2c41d07be3a655 is unknown: it hides"
        ]


class TestEarlierVersion:
    """Reports of 1.0.0, which looked less far."""

    def test_does_not_count(self):
        """A key that 1.0.0 called retirable is to be judged again."""
        cache = looked_at("a").model_copy(update={"outdated": True})

        for proven in (False, True):
            found = unmet_conditions(report_on(cache), [OLD], now=NOW, max_age=DAY, proven=proven)
            assert found == [
                (f"key {OLD} was judged by an earlier version of rotator", "run again")
            ]

    @pytest.mark.parametrize("name", ["again", "run", "dry-run", "stopped"])
    def test_files(self, state, name):
        """Each report of 1.0.0 is read from the state, without places, and never will do."""
        text = (WRITTEN / f"{name}.json").read_text()
        state.save_report("shared-redis", text, NOW)

        report = load_reports(state, NOW)

        (cache,) = report.caches
        old = [one.id for one in cache.keys if one.role == "old"]
        assert (report.schema_, cache.outdated, cache.history) == (2, True, "shared-redis")
        assert [one.places for one in cache.keys] == [()] * len(cache.keys)
        assert unmet_conditions(report, old, now=NOW, max_age=3650 * DAY)

    def test_stays_marked(self, state):
        """A run that could not look leaves the report of 1.0.0, which is of 1.0.0 still."""
        state.save_report("shared-redis", (WRITTEN / "again.json").read_text(), NOW)

        save_reports(report_on(CacheReport(name="shared-redis", error="refused")), state)

        (cache,) = load_reports(state, NOW).caches
        assert (cache.outdated, cache.attempt.error) == (True, "refused")
        assert cache.keys[1].verdict == "retirable"

    def test_next_run(self, state):
        """The report of the next run takes its place."""
        state.save_report("a", (WRITTEN / "again.json").read_text(), NOW)

        save_reports(report_on(swept("a")), state)

        assert [cache.outdated for cache in load_reports(state, NOW).caches] == [False]


class TestSeveralServers:
    """Servers that answered to one name, each with a history of its own."""

    @pytest.fixture
    def moved(self, state):
        """A state with a server of the name box, and another one at another address later."""
        save_reports(report_on(swept("box", "10.0.0.7:1", key(verdict="held"))), state)

        def later(address="10.0.0.9:1", *keys, gone=()):
            sweep(state, "box#2")
            report = report_on(swept("box", address, *keys), at=NOW + HOUR)
            save_reports(report, state, {"box": "box#2"}, {"box": gone})
            return load_reports(state, NOW)

        sweep(state, "box")
        return later

    def test_all_are_required(self, moved):
        """At other addresses both are required, and told apart by their addresses."""
        report = moved()

        assert [one.history for one in report.caches] == ["box", "box#2"]
        assert [one.superseded for one in report.caches] == [False, False]
        found = unmet_conditions(report, [OLD], now=NOW, max_age=HOUR / 2)
        assert [reason for reason, _ in found] == [f"key {OLD} is held: never met"]

    def test_age_of_each(self, moved):
        """How old each of them is counts."""
        report = moved()
        caches = [one.model_copy(update={"swept_at": NOW - 2 * DAY}) for one in report.caches]

        found = asked(report.model_copy(update={"caches": tuple(caches)}))

        assert found[0].startswith("the last complete sweep of box (10.0.0.7:1) ended 2 days ago")
        assert "box (10.0.0.9:1)" in found[2]

    def test_same_address(self, moved):
        """A server at the same address supersedes the other, which is shown and not required."""
        report = moved("10.0.0.7:1")

        assert [one.superseded for one in report.caches] == [True, False]
        assert [one.keys[0].verdict for one in report.caches] == ["held", "retirable"]
        assert asked(report) == []

    def test_decommissioned(self, moved):
        """So does one at another address, once the first one's is declared gone."""
        report = moved(gone=("10.0.0.7:1",))

        assert [one.superseded for one in report.caches] == [True, False]
        assert asked(report) == []

    def test_comes_back(self, state, moved):
        """A server that was superseded and answers again is required again."""
        moved(gone=("10.0.0.7:1",))

        save_reports(report_on(swept("box", "10.0.0.7:1", key(verdict="held"))), state)

        caches = load_reports(state, NOW).caches
        assert [one.superseded for one in caches] == [False, False]

    def test_only_superseded(self, moved):
        """A key that only a superseded server has is not retirable by that."""
        report = moved("10.0.0.7:1", key(id="d" * 16))

        assert asked(report) == [f"no server that still exists was searched for key {OLD}"]

    def test_failed_run(self, state, moved):
        """A run that reached no server is told at the history that was worked on last."""
        for number, history in enumerate(["box", "box#2"]):
            at = (NOW + number * HOUR).isoformat()
            state.set_lineage(history, "box", {"addresses": [], "at": at})
        moved()

        save_reports(report_on(CacheReport(name="box", error="refused")), state)

        told = [one.attempt for one in load_reports(state, NOW).caches]
        assert (told[0], told[1].error) == (None, "refused")


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


class TestFacts:
    """Facts of the runs that reports are of."""

    def test_of_another_run(self, state):
        """A cache that an earlier run looked at tells of that run, where it was another one."""
        first, second = Facts(host="a", options=("--quiet 3s",)), Facts(host="b")
        looked = CacheReport(name="one", complete=True, swept_at=NOW)
        save_reports(report_on(looked).model_copy(update={"facts": first}), state)
        later = report_on(looked.model_copy(update={"name": "two"}))
        update = {"facts": second, "finished_at": later.finished_at + timedelta(hours=1)}
        save_reports(later.model_copy(update=update), state)

        found = load_reports(state, NOW)

        assert found.facts == second
        assert {cache.name: cache.facts for cache in found.caches} == {"one": first, "two": None}
