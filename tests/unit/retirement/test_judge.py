"""Verdicts: which of the places decides, one test for each reason, and what they add up to."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rotator.retirement.history import KeyHistory, KeySeen, SweepRecord, fold
from rotator.retirement.judge import judge, not_clean
from rotator.retirement.looks import Outside
from rotator.retirement.places import Declarations, Fence, Kind, Place, Status, Verdict
from rotator.tally.tally import Mode, Outcome, Tally
from support.looks import (
    FIELD,
    KEY,
    PRIMARY,
    REPLICA,
    at,
    away,
    evidence,
    primary,
    proof,
    replica,
    sweep,
)

HOUR = timedelta(hours=1)
NOW = 200
SAVED = {"rdb_saves": 1, "settings": {"save": "3600 1"}}
RESEMBLES = "f" * 16


def proven(*begun, facts=None, others=(), **more):
    """Proofs of a minute each, and a look at each of the other servers after the last of them."""
    proofs = [
        proof(primary(one, **(facts or {})), primary(one + 1, **(facts or {})), **more)
        for one in begun
    ]
    looks = [look for one in proofs for look in (one.before, one.after)]
    return {"proofs": proofs, "looks": [*looks, *others]}


GONE = proven(0, 100)
"""Proven to be gone two hours ago, and again just now; nothing was ever saved."""


def case(**known):
    """The evidence of a key that is gone from one server; what is given is otherwise."""
    known = {**GONE, **known}
    sweeps = [known.get("sweep", sweep(100, 101)), known.get("verification")]
    history = folded(*(one for one in sweeps if one))
    return evidence(**{"sweep": sweeps[0], "history": history, **known})


def folded(*sweeps):
    """What these sweeps add up to for the key."""
    history = KeyHistory()
    for one in sweeps:
        history = fold(history, one, KEY)
    return history


def judged(*cases, now=NOW, quiet=HOUR, **more):
    """The judgement on the key in the first of the caches."""
    cases = cases or (case(),)
    return judge(cases, now=at(now), quiet=quiet, **more)[cases[0].cache]


def left(number=3, drains_at=None, prefixes=()):
    """What a sweep saw that left values under the key; without *drains_at* they have no TTL."""
    return KeySeen(
        found=number,
        remaining=number,
        remaining_without_ttl=0 if drains_at else number,
        drains_at=drains_at,
        first_seen_at=at(100),
        last_seen_at=at(101),
        prefixes=prefixes,
    )


def saw(seen, **more):
    """A sweep just now that saw this of the key."""
    return sweep(100, 101, keys={KEY: seen}, **{"mode": Mode.RUN, **more})


class TestRetirable:
    """When a key can go."""

    def test_gone(self):
        """A key that is proven to be gone everywhere can go; what is assumed is told."""
        judgement = judged()
        assert judgement.verdict is Verdict.RETIRABLE
        assert judgement.next_step == f"remove {FIELD}"
        assert judgement.reasons == ("never met; no sweep since 2026-11-23 02:00 UTC met it",)
        assert judgement.assumptions == (
            "no application of shared-redis has written with it since 2026-11-23 02:00 UTC",
            "no backup outside Redis holds it (backups.retention is not declared)",
        )

    def test_in_all_caches(self):
        """A key that is gone from two caches is removed from both."""
        field = "caches[1].encryption.keys.old[1]"
        judgement = judged(case(), case(cache="other-redis", field=field))
        assert judgement.verdict is Verdict.RETIRABLE
        assert judgement.next_step == f"remove {FIELD} and {field}"
        (other,) = [one for one in judgement.places if one.kind is Kind.CACHES]
        assert other.evidence.startswith("other-redis: no application of other-redis has written")
        assert other.evidence.endswith(", last looked at 2026-11-23 03:41 UTC")
        fenced = {"fence": Fence(at(0), "0" * 16, (KEY,), at(0))}
        declared = Declarations(retention=timedelta(0))
        clean = case(cache="other-redis", field=field, declared=declared, **fenced)
        [other] = [one for one in judged(case(), clean).places if one.kind is Kind.CACHES]
        assert (other.status, other.since, other.where) == (Status.CLEAN, at(1), "other-redis")
        assert other.evidence == "other-redis is clean, last looked at 2026-11-23 03:41 UTC"
        told = [one for one in judgement.assumptions if one.startswith("other-redis: ")]
        assert [one.partition("no ")[2][:11] for one in told] == ["application", "backup outs"]

    def test_nothing_assumed(self):
        """With a fence, and no backups, nothing is assumed."""
        fence = Fence(at(0), "0" * 16, (KEY,), at(0))
        declared = Declarations(retention=timedelta(0))
        judgement = judged(case(fence=fence, declared=declared))
        assert (judgement.verdict, judgement.assumptions) == (Verdict.RETIRABLE, ())
        assert {one.status for one in judgement.places} == {Status.CLEAN}

    def test_when_it_was_met(self):
        """A judgement is on one key, met first and last in whichever cache that was."""
        times = [(at(60), at(62)), (at(59), at(61))]
        cases = [
            case(cache=name, history=KeyHistory(first_seen_at=first, last_seen_at=last))
            for name, (first, last) in zip("ab", times, strict=True)
        ]
        for judgement in (judged(*cases), judged(*cases[::-1])):
            assert judgement.key_id == KEY
            assert (judgement.first_seen_at, judgement.last_seen_at) == (at(59), at(62))

    def test_all_places_are_shown(self):
        """Each judgement has every kind of place that there is."""
        looks = {**proven(0, 100, others=[replica(102), primary(103, backups=0)])}
        other = case(cache="other-redis")
        kinds = {one.kind for one in judged(case(**looks), other).places}
        assert kinds == set(Kind)


FACTS = {
    Verdict.IN_USE: {"sweep": saw(left())},
    Verdict.DRAINING: {"sweep": saw(left(drains_at=at(900)))},
}
UNKNOWN_COPY = proven(0, 100, others=[away(102)])
HELD_COPY = proven(0, 100, facts=SAVED)


class TestOrder:
    """Which place decides, the first that fits."""

    @pytest.mark.parametrize("fact", FACTS)
    @pytest.mark.parametrize(
        "unknown",
        [
            UNKNOWN_COPY,
            proven(0, 100, outside=Outside(3, not_opened=2)),
            {"proofs": [], "looks": []},
        ],
    )
    def test_facts_come_first(self, fact, unknown):
        """What was met is a fact, whatever else is unknown, and what is unknown is told, too."""
        judgement = judged(case(**unknown, **FACTS[fact]))
        assert judgement.verdict is fact
        assert len(judgement.reasons) > 1

    def test_outside_is_a_fact(self):
        """A value outside of the scope is in use, even where entries in it were not opened."""
        known = proven(0, 100, outside=Outside(5, {KEY: 1}))
        shut = sweep(100, 101, open_items={Outcome.UNDECRYPTABLE: 3})
        assert judged(case(**known, sweep=shut)).verdict is Verdict.IN_USE

    def test_in_use_before_draining(self):
        """A value that stays somewhere counts before one that will expire."""
        cases = [case(sweep=saw(left())), case(cache="b", sweep=saw(left(drains_at=at(900))))]
        assert judged(*cases).verdict is Verdict.IN_USE

    @pytest.mark.parametrize(
        ("known", "verdict"),
        [
            # not opened: before what is not yet certain
            (
                {**proven(100), "sweep": sweep(100, 101, open_items={Outcome.DENIED: 1})},
                Verdict.UNKNOWN,
            ),
            # not yet certain: before a copy that is unknown, or held
            (proven(100, others=[away(102)]), Verdict.VERIFYING),
            (proven(100, facts=SAVED), Verdict.VERIFYING),
            # a copy that is unknown: before one that is held
            (proven(0, 100, facts=SAVED, others=[away(102)]), Verdict.UNKNOWN),
            (HELD_COPY, Verdict.HELD),
            (GONE, Verdict.RETIRABLE),
        ],
    )
    def test_then(self, known, verdict):
        """Then what was not looked at, what is not certain, copies unknown, and copies held."""
        assert judged(case(**known)).verdict is verdict

    def test_later_ones_are_told(self):
        """What would come later is told behind it, so that nobody learns of it last."""
        judgement = judged(case(**proven(100, facts=SAVED)))
        assert judgement.reasons[0].startswith("no value left under it at 03:41 UTC")
        assert judgement.reasons[1].endswith(f"BGSAVE on {PRIMARY}, then run again")
        assert judgement.next_step == "run again"

    @pytest.mark.parametrize(
        ("other", "verdict", "ready_at", "held_until"),
        [
            ({}, Verdict.VERIFYING, at(161), at(1441)),
            ({"sweep": saw(left())}, Verdict.IN_USE, None, None),
            ({"sweep": saw(left(drains_at=at(900)))}, Verdict.DRAINING, None, None),
            ({"sweep": None}, Verdict.UNKNOWN, None, None),
        ],
    )
    def test_only_what_comes_next_is_promised(self, other, verdict, ready_at, held_until):
        """When it is ready, or no longer held, is told only where nothing worse is in the way."""
        kept = {"declared": Declarations(retention=timedelta(days=1))}
        cases = [case(cache="a", **kept), case(**proven(100)), case(cache="c", **other)]
        judgement = judged(*cases, now=110)
        assert judgement.verdict is verdict
        assert (judgement.ready_at, judgement.held_until) == (ready_at, held_until)

    def test_backups_come_last(self):
        """Backups wait for all other places, those of other caches too."""
        known = {**HELD_COPY, "declared": Declarations(retention=timedelta(days=1))}
        kinds = [one.kind for one in not_clean(judged(case(**known), case(cache="b", **known)))]
        assert kinds == [Kind.RDB, Kind.CACHES, Kind.BACKUPS]

    def test_all_steps(self):
        """Of places that are as bad as each other it is said what ends each of them."""
        late = replica(102, slave_repl_offset=60, rdb_last_save_time=90)
        judgement = judged(case(**proven(0, 100, facts=SAVED, others=[late])))
        assert judgement.next_step == (
            f"BGSAVE on {PRIMARY}; run again when {REPLICA} has caught up;"
            f" BGSAVE on {REPLICA}; then run again"
        )

    @pytest.mark.parametrize(
        ("steps", "step"),
        [
            (["run again"], "run again"),
            (["fix that, then run again"], "fix that, then run again"),
            (["run again", "fix that, then run again"], "fix that, then run again"),
            (["grant it, then run rotator twice", "run again"], "grant it, then run rotator twice"),
            (["run again without --no-verify", "run again"], "run again without --no-verify"),
            (["run again", "declare it"], "declare it; run again"),
            (["a, then run again", "declare it"], "a, then run again; declare it"),
            (["a, then run again", "b", "c, then run again"], "a; b; c; then run again"),
        ],
    )
    def test_to_run_again_is_said_once(self, steps, step):
        """Of several steps it is said once that rotator is to be run again, and nothing is lost."""
        others = [
            Place(Kind.CACHES, str(number), Status.HOLDING, "it is met", Verdict.IN_USE, None, one)
            for number, one in enumerate(steps)
        ]
        assert judged(case(), elsewhere=others).next_step == step

    def test_step_at_the_last_moment(self):
        """What is not ready before a fence is looked at once, when that is over."""
        fence = Fence(at(400), "0" * 16, (KEY,), at(0))
        judgement = judged(case(**proven(100), fence=fence), now=110)
        assert judgement.next_step == "run again after 08:40 UTC"

    def test_worst_place_first(self):
        """Places come with the worst first, the clean ones last."""
        places = judged(case(**proven(0, 100, facts=SAVED, others=[away(102)]))).places
        statuses = [one.status for one in places]
        assert statuses[:2] == [Status.UNKNOWN, Status.HOLDING]
        assert statuses[-1] is Status.CLEAN
        assert statuses.index(Status.ASSUMED) > statuses.index(Status.HOLDING)


class TestInUse:
    """Something stays under the key, or something writes with it."""

    def test_without_ttl(self):
        """Values without a TTL remain under it, with when and where they were met."""
        seen = left(prefixes=("/app/oidc", "/app/saml"))
        judgement = judged(case(sweep=saw(seen, mode=Mode.DRY_RUN)))
        assert judgement.reasons[0].startswith(
            "3 values without a TTL remain under it, first seen 2026-11-23 03:40 UTC"
            " (names begin with /app/oidc, /app/saml)"
        )
        assert judgement.next_step == "run without --dry-run to move what remains"

    def test_many_are_grouped(self):
        """A large number is written as in the rest of the report, but in an option as it is."""
        judgement = judged(case(sweep=saw(left(16_631))))
        assert judgement.reasons[0].startswith("16,631 values without a TTL remain")
        blocked = judged(case(sweep=sweep(100, 101, open_items={Outcome.TOO_LARGE: 1_204})))
        assert blocked.reasons[0].startswith("1,204 values would be too large")
        assert blocked.next_step.endswith("--accept too_large=1204")

    def test_one_without_ttl(self):
        """One value is enough, and is spoken of as one."""
        judgement = judged(case(sweep=saw(left(1))))
        assert judgement.reasons[0].startswith("1 value without a TTL remains under it")
        assert judgement.next_step == "run again to move what remains"

    @pytest.mark.parametrize(
        ("mode", "remain", "items", "step"),
        [
            (Mode.RUN, 3, {Outcome.NESTED: 3}, "have values that are encrypted twice rewritten"),
            (Mode.RUN, 3, {Outcome.DENIED: 4}, "give the user the rights that `rotator check`"),
            (Mode.RUN, 4, {Outcome.NESTED: 3}, "run again to move what remains"),
            (
                *(Mode.RUN, 4, {Outcome.NESTED: 3, Outcome.DENIED: 1}),
                "have values that are encrypted twice rewritten or deleted; run again; give the",
            ),
            (Mode.DRY_RUN, 3, {Outcome.NESTED: 3}, "run without --dry-run to move what remains"),
            (Mode.RUN, 3, {Outcome.TOO_LARGE: 3}, "have them rewritten or deleted"),
            (Mode.DRY_RUN, 3, {Outcome.TOO_LARGE: 3}, "have them rewritten or deleted"),
        ],
    )
    def test_what_a_run_cannot_move(self, mode, remain, items, step):
        """Nobody is told to run again where that moves nothing."""
        swept = saw(left(remain), mode=mode, open_items=items)
        assert judged(case(sweep=swept)).next_step.startswith(step)

    def test_accepted_and_under_it(self):
        """That values are too large may be accepted; the key whose values they are is needed."""
        large = replace(left(2), too_large=2, too_large_without_ttl=2)
        accepted = {"open_items": {Outcome.TOO_LARGE: 2}, "accepted": {Outcome.TOO_LARGE: 2}}
        assert judged(case(sweep=saw(large, **accepted))).verdict is Verdict.IN_USE

    def test_too_large_is_not_clean(self):
        """A sweep that met only what is too large to move did not find the key gone."""
        large = KeySeen(found=2, remaining=2, too_large=2)
        first, clean = saw(large), sweep(90, 91)
        assert folded(first).clean_sweeps == 0
        assert (folded(clean, first).clean_since, folded(clean, first).returned) == (None, 2)

    def test_stopped(self):
        """A sweep that was stopped tells the least that there is."""
        judgement = judged(case(sweep=saw(left(), complete=False)))
        assert judgement.verdict is Verdict.IN_USE
        assert judgement.reasons[0].startswith("at least 3 values without a TTL remain under it")
        draining = judged(case(sweep=saw(left(drains_at=at(900)), complete=False)))
        assert draining.reasons[0].startswith("at least 3 values with a TTL remain under it")

    @pytest.mark.parametrize("complete", [True, False])
    def test_verifying_sweep_met_it(self, complete):
        """The verifying sweep still met values: something still encrypts with it."""
        seen = KeySeen(found=3, last_seen_at=at(101), prefixes=("/app/oidc",))
        check = saw(seen, mode=Mode.VERIFY, complete=complete)
        judgement = judged(case(sweep=sweep(90, 91, mode=Mode.RUN), verification=check))
        assert judgement.verdict is Verdict.IN_USE
        assert judgement.reasons[0].startswith(
            "the verifying sweep still met 3 values under it: "
            "something still encrypts with it (names begin with /app/oidc)"
        )
        assert judgement.next_step == (
            "find what still encrypts with it and give it the current key, then run again"
        )

    def test_verifying_sweep_met_what_was_left(self):
        """What the sweep before had to leave and has a TTL drains: nothing was encrypted anew."""
        seen = left(drains_at=at(900))
        before = sweep(90, 91, keys={KEY: seen}, mode=Mode.RUN)
        known = case(sweep=before, verification=saw(seen, mode=Mode.VERIFY))
        assert judged(known).verdict is Verdict.DRAINING

    def test_too_large_hides_nothing(self):
        """A value that was left because it is too large does not explain another one."""
        accepted = {"open_items": {Outcome.TOO_LARGE: 1}, "accepted": {Outcome.TOO_LARGE: 1}}
        large = KeySeen(found=1, remaining=1, too_large=1)
        again = replace(large, found=2, remaining=2, last_seen_at=at(101), drains_at=at(900))
        known = case(
            sweep=sweep(90, 91, keys={KEY: large}, mode=Mode.RUN, **accepted),
            verification=saw(again, mode=Mode.VERIFY, **accepted),
        )
        assert judged(known).reasons[0].startswith("the verifying sweep still met 1 value")

    def test_resumed_accuses_nobody(self):
        """A sweep that went on where another was stopped says nothing of who has written since."""
        seen = KeySeen(found=3, last_seen_at=at(101))
        before = sweep(90, 91, mode=Mode.RUN, resumed=True, proven=False)
        known = case(sweep=before, verification=saw(seen, mode=Mode.VERIFY))
        assert not any("still" in one for one in judged(known).reasons)

    def test_returned(self):
        """Values were encrypted with it after it had been clean: something still writes with it."""
        seen = KeySeen(found=3, first_seen_at=at(100), last_seen_at=at(101))
        history = folded(sweep(0, 1), saw(seen))
        judgement = judged(case(sweep=saw(seen), history=history), now=102)
        assert judgement.verdict is Verdict.IN_USE
        assert judgement.reasons[0].startswith(
            "3 values were encrypted with it after it had been clean since 2026-11-23 02:01 UTC:"
            " something still writes with it"
        )

    def test_returned_long_ago(self):
        """A key that came back, and was proven to be gone again, can go in the end."""
        seen = KeySeen(found=3, first_seen_at=at(50), last_seen_at=at(51))
        again = sweep(50, 51, keys={KEY: seen})
        history = folded(sweep(0, 1), again, sweep(60, 61), sweep(130, 131))
        assert history.returned_at == at(50)
        known = proven(0, 60, 130)
        known = case(**known, sweep=sweep(130, 131), history=history)
        assert judged(known).verdict is Verdict.RETIRABLE
        assert judged(replace(known, **_tupled(proven(0, 60)))).verdict is Verdict.VERIFYING

    def test_returned_before_a_fence(self):
        """A fence that came after a key was met again stands in for the quiet time there, too."""
        seen = KeySeen(found=3, first_seen_at=at(90), last_seen_at=at(91))
        history = folded(sweep(0, 1), sweep(90, 91, keys={KEY: seen}), sweep(110, 111))
        known = case(**proven(0, 110), sweep=sweep(110, 111), history=history)
        said = [
            judged(replace(known, fence=Fence(at(minutes), "0" * 16, (KEY,), at(minutes))), now=112)
            for minutes in (91, 90)
        ]
        assert [one.verdict for one in said] == [Verdict.RETIRABLE, Verdict.IN_USE]

    def test_current_elsewhere(self):
        """A key that is current in another cache is in use."""
        field = "caches[1].encryption.keys.current"
        judgement = judged(current_in=[field])
        assert judgement.verdict is Verdict.IN_USE
        assert judgement.next_step == f"give {field} another key"
        text = f"it is the current key at {field}"
        in_use = (Kind.CACHES, field, Status.HOLDING, text, Verdict.IN_USE)
        assert not_clean(judgement) == [Place(*in_use, remedy=judgement.next_step)]


def _tupled(known):
    """Lists as evidence holds them."""
    return {name: tuple(values) for name, values in known.items()}


class TestDraining:
    """All that remains has a TTL."""

    def test_draining(self):
        """Values with a TTL remain, and when the last one expires is known."""
        judgement = judged(case(sweep=saw(left(drains_at=at(900)))))
        assert (judgement.verdict, judgement.drains_at) == (Verdict.DRAINING, at(900))
        assert judgement.reasons[0].startswith(
            "3 values with a TTL remain under it; the last expires at 2026-11-23 17:00 UTC"
        )
        assert judgement.next_step == (
            "run again to move what remains, or wait until it has expired and run again"
        )

    def test_dry_run(self):
        """After a dry run the next step is to run."""
        known = case(sweep=saw(left(1, at(900)), mode=Mode.DRY_RUN))
        judgement = judged(known)
        assert "1 value with a TTL remains under it; it expires at" in judgement.reasons[0]
        assert judgement.next_step.startswith("run without --dry-run to move what remains, or ")

    def test_latest_of_two_caches(self):
        """It drains when it has drained in the last of the caches."""
        cases = [
            case(cache=name, sweep=saw(left(drains_at=at(end))))
            for name, end in (("a", 900), ("b", 950))
        ]
        assert judged(*cases).drains_at == at(950)

    def test_not_if_one_stays(self):
        """It does not drain if in one of the caches a value has no TTL."""
        cases = [
            case(cache="a", sweep=saw(left(drains_at=at(900)))),
            case(cache="b", sweep=saw(left())),
        ]
        judgement = judged(*cases)
        assert (judgement.verdict, judgement.drains_at) == (Verdict.IN_USE, None)


class TestUnknown:
    """What was not looked at."""

    @pytest.mark.parametrize(
        ("known", "reason", "step"),
        [
            (
                {"sweep": None},
                "never swept to the end; run rotator for shared-redis",
                "run rotator for shared-redis",
            ),
            (
                {"sweep": sweep(0, 1, complete=False, not_looked_at=("a node was down",))},
                "a node was down; fix that, then run again",
                "fix that, then run again",
            ),
        ],
    )
    def test_not_swept(self, known, reason, step):
        """What was not looked at is said as the sweep said it, with what to do."""
        judgement = judged(case(**known))
        assert judgement.verdict is Verdict.UNKNOWN
        assert judgement.reasons[0] == reason
        assert step in judgement.next_step

    def test_primary_before_the_first_sweep(self):
        """A primary that no sweep came to is to be swept: never made a replica or given up."""
        unswept = case(cache="b", sweep=None, proofs=(), looks=(primary(),), primaries=())
        assert judged(case(), unswept).next_step == "run rotator for b"

    @pytest.mark.parametrize(
        ("outcome", "number", "reason"),
        [
            (Outcome.UNDECRYPTABLE, 5, "5 values open under no known key and format"),
            (Outcome.UNDECRYPTABLE, 1, "1 value opens under no known key and format"),
            (Outcome.NOT_STRING, 2, "2 entries are of another Redis type"),
            (Outcome.TOO_LARGE, 1, "1 value would be too large for the server"),
            (Outcome.DENIED, 7, "7 entries could not be read or written: the ACL forbids it"),
            (Outcome.FAILED, 1, "1 entry could not be read or written: the server answered"),
        ],
    )
    def test_open_items(self, outcome, number, reason):
        """Each kind of open item gives its number, and says what to do."""
        judgement = judged(case(sweep=sweep(100, 101, open_items={outcome: number})))
        assert judgement.verdict is Verdict.UNKNOWN
        assert judgement.reasons[0].startswith(reason)
        accepts = f"--accept {outcome}={number}" in judgement.next_step
        assert accepts is (outcome not in {Outcome.DENIED, Outcome.FAILED})

    def test_too_large_shows_when_writing(self):
        """A value that proved too large blocks although the verifying sweep could read it."""
        work = sweep(90, 91, mode=Mode.RUN, open_items={Outcome.TOO_LARGE: 1})
        assert judged(case(sweep=work, verification=sweep(100, 101))).verdict is Verdict.UNKNOWN

    def test_one_cache_of_two(self):
        """A key is not better than in the cache that knows least, and that one is named."""
        other = case(cache="other-redis", sweep=None, proofs=[], looks=[])
        judgements = judge((case(), other), now=at(NOW), quiet=HOUR)
        assert {one.verdict for one in judgements.values()} == {Verdict.UNKNOWN}
        assert judgements["shared-redis"].reasons[0] == (
            "other-redis: never swept to the end; run rotator for other-redis"
        )
        places = judgements["shared-redis"].places
        assert [one.where for one in places if one.kind is Kind.CACHES] == ["other-redis"]
        assert judgements["other-redis"].reasons[0].startswith("never swept")

    def test_cache_that_cannot_be_swept(self):
        """A cache that lists the key and cannot be swept is a place, too."""
        text = "old-cluster lists it, and cannot be swept"
        place = Place(Kind.CACHES, "old-cluster", Status.UNKNOWN, text, Verdict.UNKNOWN)
        judgement = judged(elsewhere=[place])
        assert (judgement.verdict, judgement.reasons) == (Verdict.UNKNOWN, (text,))

    def test_no_cache(self):
        """Where no cache lists it there is no judgement."""
        assert judge([], now=at(0), quiet=HOUR) == {}


class TestVerifying:
    """None left, but that is not certain yet."""

    def test_ready_at(self):
        """Found gone a while ago; ready when the quiet time is over."""
        judgement = judged(case(**proven(100)), now=110)
        assert (judgement.verdict, judgement.ready_at) == (Verdict.VERIFYING, at(161))
        assert judgement.reasons[0].startswith(
            "no value left under it at 03:41 UTC; a sweep 1h later must confirm it"
        )
        assert judgement.next_step == "run again after 04:41 UTC"

    def test_ready_within_a_minute(self):
        """A run at the time that is named is late enough, so seconds count as a minute."""
        judgement = judged(case(**proven(100)), quiet=HOUR + timedelta(seconds=30), now=110)
        assert judgement.next_step == "run again after 04:42 UTC"

    def test_files_are_held_too(self):
        """Where a file holds it as well, one run later is enough if it has files written again."""
        judgement = judged(case(**proven(100, facts=SAVED)), now=110)
        assert judgement.verdict is Verdict.VERIFYING
        step = "run again after 04:41 UTC, with --refresh-files for the files that hold it"
        assert judgement.next_step == step

    def test_another_day(self):
        """A time that is not today is given with its date."""
        judgement = judged(case(**proven(100)), quiet=timedelta(days=1))
        assert judgement.next_step == "run again after 2026-11-24 03:41 UTC"

    def test_not_confirmed(self):
        """When the quiet time is over another run confirms it."""
        judgement = judged(case(**proven(100)), now=500)
        assert (judgement.next_step, judgement.ready_at) == ("run again", at(500))

    def test_not_verified(self):
        """The sweep was not verified, and then no key gets better, however quiet it was."""
        judgement = judged(case(sweep=sweep(100, 101, verified=False)))
        assert judgement.verdict is Verdict.VERIFYING
        assert judgement.next_step == "run again without --no-verify"
        assert judgement.ready_at == at(NOW)  # nothing is waited for

    def test_clock_went_back(self):
        """A sighting in the future says that a clock is wrong, and is believed."""
        judgement = judged(now=50)
        assert judgement.verdict is Verdict.VERIFYING
        assert "which is later than now: a clock is wrong" in judgement.reasons[0]
        assert judgement.next_step.startswith("set the clock right, then run again")

    @pytest.mark.parametrize("more", [{"doubt": "a clock was set"}, {}])
    def test_clock_in_doubt(self, more):
        """A clock that is in doubt, now or in a sweep, makes nothing certain."""
        known = case() if more else case(sweep=sweep(100, 101, doubt="a clock was set"))
        judgement = judged(known, **more)
        assert judgement.verdict is Verdict.VERIFYING
        assert judgement.reasons[0].startswith("a clock was set")
        assert (judgement.places[0].kind, judgement.places[0].where) == (Kind.NAMES, "")
        assert judgement.next_step == "set the clocks right (NTP), then run again"

    def test_stopped_later(self):
        """A stopped sweep that met nothing takes nothing away, and is told."""
        judgement = judged(case(cut_short_at=at(150)))
        assert judgement.verdict is Verdict.RETIRABLE
        assert judgement.reasons[-1] == (
            "this is from the complete sweep that ended 2026-11-23 03:41 UTC; the one that was"
            " stopped 2026-11-23 04:30 UTC had not met it until then"
        )


class TestCopies:
    """Servers and files from which old values could come back."""

    def test_snapshot(self):
        """An RDB file from before the key was gone would bring it back; BGSAVE ends that."""
        judgement = judged(case(**HELD_COPY))
        assert judgement.reasons == (
            (
                f"the RDB file of {PRIMARY} has not been saved again since 2026-11-23 02:01 UTC,"
                f" when the key was gone; BGSAVE on {PRIMARY}, then run again"
            ),
        )
        assert judgement.next_step == f"BGSAVE on {PRIMARY}, then run again"
        assert judgement.held_until is None

    def test_several_files(self):
        """Where only files hold a key, one option has all of them written anew."""
        facts = {**SAVED, "aof_enabled": 1, "aof_base_size": 9, "aof_current_size": 99}
        judgement = judged(case(**proven(0, 100, facts=facts)))
        assert [place.kind for place in judgement.places[:2]] == ["rdb", "aof"]
        assert judgement.next_step.startswith("run again with --refresh-files")

    def test_several_files_and_backups(self):
        """Backups, which are waited for after all else, do not hide the option for files."""
        facts = {**SAVED, "aof_enabled": 1, "aof_base_size": 9, "aof_current_size": 99}
        declared = Declarations(retention=timedelta(days=30))
        judgement = judged(case(**proven(0, 100, facts=facts), declared=declared))
        assert [place.kind for place in judgement.places[:3]] == ["rdb", "aof", "backups"]
        assert judgement.next_step == (
            "run again with --refresh-files, or do all of the above by hand; wait 30d from then on"
        )

    def test_one_file_and_backups(self):
        """One file is saved by hand, and the backups are waited for after that."""
        declared = Declarations(retention=timedelta(days=30))
        judgement = judged(case(**HELD_COPY, declared=declared))
        assert judgement.next_step == f"BGSAVE on {PRIMARY}, then run again; wait 30d from then on"

    def test_saved(self):
        """A save after the key was gone ends it."""
        known = proven(0, facts=SAVED)
        later = proven(100, facts={**SAVED, "rdb_last_save_time": 90, "rdb_saves": 2})
        known = {name: [*known[name], *later[name]] for name in known}
        assert judged(case(**known)).verdict is Verdict.RETIRABLE

    def test_saved_before_the_restart(self):
        """A process that loaded its file before the key was gone does not make that clean."""
        loaded = {"master_replid2": "id-0", "rdb_last_load_keys_loaded": 5, **SAVED}
        assert judged(case(**proven(0, 100, facts=loaded))).verdict is Verdict.HELD

    def test_replica(self):
        """A replica that has not caught up could be promoted with old values."""
        late = replica(102, slave_repl_offset=60, rdb_last_save_time=90)
        judgement = judged(case(**proven(0, 100, others=[late])))
        assert judgement.verdict is Verdict.HELD
        assert judgement.reasons[0].startswith(f"replica {REPLICA} is 40 bytes behind")
        assert judgement.next_step.startswith(f"run again when {REPLICA} has caught up")

    def test_replica_and_its_file(self):
        """One that has caught up, and has saved since, is clean, with its file."""
        looks = [replica(2), replica(102, rdb_last_save_time=90)]
        known = proven(0, 100, others=looks[1:])
        known["looks"].insert(2, looks[0])
        assert judged(case(**known)).verdict is Verdict.RETIRABLE
        known["looks"][2] = replica(2, slave_repl_offset=60)
        assert judged(case(**known)).verdict is Verdict.HELD

    def test_replica_not_looked_at_since(self):
        """A replica that was not looked at after the last proof is not known to be clean."""
        known = proven(0, 100)
        known["looks"][2:2] = [replica(2), replica(50, rdb_last_save_time=90)]
        judgement = judged(case(**known))
        assert judgement.verdict is Verdict.HELD
        assert "has not been looked at since" in judgement.reasons[0]

    def test_append_only(self):
        """An append-only file that was not rewritten since still holds old values."""
        kept = {"aof_enabled": 1, "aof_base_size": 5, "aof_current_size": 9}
        judgement = judged(case(**proven(0, 100, facts=kept)))
        assert judgement.verdict is Verdict.HELD
        assert any(f"BGREWRITEAOF on {PRIMARY}" in reason for reason in judgement.reasons)

    def test_another_server_at_an_address(self):
        """Of two replicas that have exchanged their addresses both are judged."""
        known = proven(0, 100, others=[
            replica(102, "b:1", run_id="c", node_id="one", rdb_last_save_time=90),
            replica(103, "a:1", run_id="d", node_id="two", slave_repl_offset=5),
        ])  # fmt: skip
        known["looks"][:0] = [
            replica(-9, "a:1", run_id="a", node_id="one"),
            replica(-9, "b:1", run_id="b", node_id="two"),
        ]
        places = judged(case(**known)).places
        assert {one.where for one in places if one.kind is Kind.REPLICA} == {"a:1", "b:1"}


class TestBackups:
    """Copies outside Redis."""

    def _judged(self, now=NOW, **known):
        declared = Declarations(retention=timedelta(days=30))
        return judged(case(declared=declared, **known), now=now)

    def test_held(self):
        """Backups hold for as long as they are kept, counted from when all was clean."""
        judgement = self._judged()
        until = at(1) + timedelta(days=30)
        assert (judgement.verdict, judgement.held_until) == (Verdict.HELD, until)
        assert judgement.next_step == "wait until 2026-12-23 02:01 UTC, then run again"

    def test_over(self):
        """A retention that is over holds nothing."""
        assert self._judged(now=60 * 24 * 31).verdict is Verdict.RETIRABLE

    def test_counted_from_the_last(self):
        """They are counted from when the last of the copies became clean."""
        known = proven(0, facts=SAVED)
        later = proven(100, facts={**SAVED, "rdb_last_save_time": 90, "rdb_saves": 2})
        known = {name: [*known[name], *later[name]] for name in known}
        assert self._judged(**known).held_until == at(100) + timedelta(days=30)

    def test_not_before_all_else(self):
        """While a copy is not clean backups are taken of it, and no end is known."""
        judgement = self._judged(**HELD_COPY)
        assert (judgement.verdict, judgement.held_until) == (Verdict.HELD, None)
        assert "counted from when everything else is clean" in judgement.reasons[-1]

    @pytest.mark.parametrize(
        ("retention", "now", "known", "place"),
        [
            (None, NOW, {}, (Status.ASSUMED, ("no backup outside Redis holds it"
             " (backups.retention is not declared)"))),
            (0, NOW, {}, (Status.CLEAN, ("there are no backups outside Redis"
             " (backups.retention: 0s)"))),
            (1, NOW, HELD_COPY, (Status.HOLDING, ("backups are kept for 1d, counted from when"
             " everything else is clean"), Verdict.HELD, None, "wait 1d from then on", None, True)),
            (1, 1500, {}, (Status.CLEAN, ("backups are kept for 1d, and those from before"
             " 2026-11-23 02:01 UTC are gone"), Verdict.RETIRABLE, at(1441))),
            (1, NOW, {}, (Status.HOLDING, ("backups are kept for 1d and may hold it until"
             " 2026-11-24 02:01 UTC"), Verdict.HELD, at(1),
             "wait until 2026-11-24 02:01 UTC, then run again", at(1441))),
        ],
    )  # fmt: skip
    def test_what_it_says(self, retention, now, known, place):
        """It is said how long backups are kept, from when on, and until when that is."""
        days = None if retention is None else timedelta(days=retention)
        found = judged(case(declared=Declarations(retention=days), **known), now=now).places
        assert [one for one in found if one.kind is Kind.BACKUPS] == [
            Place(Kind.BACKUPS, "", *place)
        ]

    def test_without_end(self):
        """A retention longer than the calendar ends with it."""
        declared = Declarations(retention=timedelta.max)
        until = judged(case(declared=declared)).held_until
        assert until == datetime.max.replace(tzinfo=UTC) or until.year == 9999


class TestMoreEvidence:
    """What holds whatever the evidence is."""

    @pytest.mark.parametrize(
        "lost",
        [{"proofs": ()}, {"looks": ()}, {"sweep": None}, {"primaries": ()}, {"basis": "another"}],
    )
    def test_losing_evidence_never_helps(self, lost):
        """Without any part of its evidence a key cannot go."""
        known = replace(case(), **lost)
        assert judged(known).verdict is not Verdict.RETIRABLE

    @pytest.mark.parametrize("number", range(4))
    def test_one_look_less(self, number):
        """Without any of the looks at its proofs a key that needs both cannot go."""
        known = case()
        looks = (*known.looks[:number], *known.looks[number + 1 :])
        verdict = judged(replace(known, looks=looks)).verdict
        assert (verdict is Verdict.RETIRABLE) is (number in {0, 2})

    def test_says_something(self):
        """Every judgement gives a reason and a next step."""
        for known in (case(), case(**HELD_COPY), case(**UNKNOWN_COPY), case(sweep=None)):
            judgement = judged(known)
            assert judgement.reasons
            assert judgement.next_step


class TestHistory:
    """What sweeps add up to."""

    def test_clean_since(self):
        """A key is clean since the end of the first complete proof that did not meet it."""
        assert folded(sweep(0, 1, met=1), sweep(2, 3), sweep(5, 6)).clean_since == at(3)

    @pytest.mark.parametrize(
        "more",
        [
            {"complete": False},
            {"proven": False},
            {"doubt": "a clock was set"},
            {"not_looked_at": ("x",)},
            {"open_items": {Outcome.DENIED: 1}},
        ],
    )
    def test_not_clean(self, more):
        """A sweep that did not look everywhere makes nothing clean."""
        assert folded(sweep(0, 1, **more)).clean_since is None

    def test_old_data(self):
        """Values that are met after the data was exchanged do not accuse anybody."""
        history = folded(sweep(0, 1), sweep(5, 6, met=1, goes_on=False))
        assert (history.returned_at, history.last_seen_at) == (None, at(6))

    def test_another_scope(self):
        """A key that another scope shows had not been clean: it was not looked at."""
        history = folded(sweep(0, 1), sweep(5, 6, met=1, scope="wider"))
        assert (history.returned_at, history.last_seen_at, history.first_looked_at) == (
            None,
            at(6),
            at(5),
        )

    def test_clock_set_back(self):
        """A sighting by a clock that was set back does not make the last one older."""
        assert folded(sweep(8, 9, met=1), sweep(0, 1, met=1)).last_seen_at == at(9)

    def test_current_again(self):
        """A key that was current in between begins anew, seen until the end of that sweep."""
        history = folded(sweep(0, 1), sweep(5, 6, current=KEY, keys={}))
        assert (history.clean_since, history.last_seen_at) == (None, at(6))

    def test_not_listed(self):
        """A sweep that did not know the key says nothing about it."""
        assert folded(sweep(0, 1), sweep(5, 6, keys={})) == folded(sweep(0, 1))

    def test_record_of_a_tally(self):
        """A record holds every old key, what was met of it, and the open items."""
        tally = Tally()
        for outcome in (Outcome.WOULD_ROTATE, Outcome.DENIED):
            tally.add(outcome)
        now = at(0).replace(microsecond=5)
        for name in (b"/b:1", b"/a:1", b"/b:2", b"none"):
            tally.count_remaining(KEY, 10, now, name, int(now.timestamp() * 1000))
        record = SweepRecord.of(
            tally,
            cache="shared-redis",
            mode=Mode.RUN,
            started_at=now,
            finished_at=now,
            complete=True,
            current="0" * 16,
            old=[KEY, RESEMBLES],
        )
        assert (record.visits, record.open_items[Outcome.DENIED]) == (2, 1)
        assert record.keys[RESEMBLES] == KeySeen()
        assert (record.keys[KEY].remaining, record.keys[KEY].prefixes) == (4, ("/b", "/a"))
        assert record.keys[KEY].drains_at == at(0)


class TestOnly:
    """`replicas.only` is a declaration like others."""

    @pytest.mark.parametrize(
        ("only", "says"),
        [((PRIMARY,), "there are no replicas"), ((PRIMARY, REPLICA), f"no replicas but {REPLICA}")],
    )
    def test_assumed(self, only, says):
        """That there are no other replicas is said as an assumption."""
        one = proof(primary(0), primary(1))
        case = evidence(
            proofs=[one], looks=[one.before, one.after], declared=Declarations(only=only)
        )
        found = judge([case], now=at(1), quiet=timedelta())[case.cache]
        assert any(says in one and "replicas.only" in one for one in found.assumptions)
