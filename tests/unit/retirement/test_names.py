"""Names: since when a key is gone from the live data, and what is known of those who write."""

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.retirement.history import KeySeen
from rotator.retirement.lineage import gone_from, gone_since
from rotator.retirement.looks import UNSEEN_RESET, Outside
from rotator.retirement.names import (
    NOTHING_OPENS,
    names_places,
    not_opened_places,
    outside_place,
    writers_place,
)
from rotator.retirement.places import Declarations, Fence, Kind, Status, Verdict
from rotator.tally.tally import BLOCKING, Outcome
from support.looks import KEY, PRIMARY, at, away, evidence, primary, proof, replica, sweep

QUIET = timedelta(minutes=60)


def proofs(*begun, **more):
    """Proofs of one minute each that begin at these minutes, and their looks."""
    found = [proof(primary(minutes), primary(minutes + 1), **more) for minutes in begun]
    return {"proofs": found, "looks": [look for one in found for look in (one.before, one.after)]}


def gone(**known):
    """What is known of the one primary."""
    return gone_from(evidence(**known), QUIET)[PRIMARY]


def fence(minutes, voided=None, current="0" * 16, old=(KEY,)):
    """A fence at that minute."""
    return Fence(at(minutes), current, old, at(minutes), voided_at=voided and at(voided))


class TestGone:
    """Which proofs count."""

    def test_one(self):
        """One proof says since when, and does not confirm itself."""
        one = gone(**proofs(0))
        assert (one.first.ended_at, one.again, one.offset) == (at(1), None, 100)

    @pytest.mark.parametrize(("second", "confirms"), [(60, False), (61, True), (200, True)])
    def test_quiet(self, second, confirms):
        """A second proof confirms if it begins when the quiet time since the first is over."""
        assert (gone(**proofs(0, second)).again is not None) is confirms

    def test_long_sweep(self):
        """One that is longer than the quiet time does not confirm itself, nor one that overlaps."""
        long = proof(primary(0), primary(90))
        short = proof(primary(95), primary(96))
        looks = [long.before, long.after, short.before, short.after]
        assert gone(proofs=[long, short], looks=looks).again is None

    @pytest.mark.parametrize(
        "more", [{"doubt": "a clock was set"}, {"met": 1}, {"outside": Outside(3, {KEY: 1})}]
    )
    def test_no_proof(self, more):
        """A proof in doubt, or one that met the key, in scope or outside, shows nothing."""
        assert gone(**proofs(0, **more)).first is None

    def test_another_basis(self):
        """A proof that was made with another key, scope or formats shows nothing."""
        assert gone(**proofs(0), basis="another").first is None

    def test_another_key(self):
        """A proof that did not know the key shows nothing of it."""
        assert gone(**proofs(0), key_id="f" * 16).first is None

    @pytest.mark.parametrize(("seen", "first"), [(30, 60), (60, 120), (130, None)])
    def test_met_later(self, seen, first):
        """Only proofs that began after the key was last met count, whoever met it."""
        known = proofs(0, 60, 120)
        met = gone(**known, sweep=sweep(seen, seen, met=1))
        assert (met.first and met.first.begun_at) == (first and at(first))
        known["proofs"].insert(1, proof(primary(seen), primary(seen), met=1))
        assert (gone(**known).first and gone(**known).first.begun_at) == (first and at(first))

    @pytest.mark.parametrize(("lost", "first"), [(30, 60), (60, 120), (130, None)])
    def test_met_and_lost(self, lost, first):
        """What a run met that was killed, or a purge deleted, may have been under the key."""
        found = gone(**proofs(0, 60, 120), lost_at=at(lost)).first
        assert (found and found.begun_at) == (first and at(first))

    @pytest.mark.parametrize(("fenced", "first"), [(0, 0), (1, 60), (60, 60), (61, None)])
    def test_fence(self, fenced, first):
        """With a fence only proofs that began at or after it count."""
        one = gone(**proofs(0, 60), fence=fence(fenced))
        assert (one.first and one.first.begun_at) == (None if first is None else at(first))

    @pytest.mark.parametrize("one", [fence(90, old=("f" * 16,)), fence(90, voided=95)])
    def test_fence_of_others(self, one):
        """A fence for other keys, or one that is void, is none."""
        assert gone(**proofs(0, 60), fence=one).first.begun_at == at(0)

    @pytest.mark.parametrize(
        ("last", "accepted", "first"),
        [(3, 0, 0), (4, 0, 60), (4, 4, 60), (2, 0, 60), (2, 2, 60), (2, 3, 0), (0, 0, 60)],
    )
    def test_open_items(self, last, accepted, first):
        """Of a proof with open items the last one shows as many, or fewer of as many accepted."""
        outcome = Outcome.UNDECRYPTABLE
        known = proofs(0, 60)
        known["proofs"] = [
            proof(one.before, one.after, open_items={outcome: number})
            for one, number in zip(known["proofs"], (3, last), strict=True)
        ]
        known["sweep"] = sweep(60, 61, accepted={outcome: accepted})
        assert gone(**known).first.begun_at == at(first)

    @pytest.mark.parametrize(
        ("then", "last", "accepted", "first"),
        [
            (Outside(9, not_opened=3), Outside(9), None, 60),
            (Outside(9, not_opened=1), Outside(9), None, 60),
            (Outside(9, not_opened=3), Outside(9, denied=3), None, 0),
            (Outside(9, not_opened=3), Outside(9), 3, 0),
            (Outside(9), Outside(9, denied=3), 3, 60),
            (Outside(None, names=9), Outside(9), None, 60),
            (Outside(None, names=9), Outside(None, names=9), None, 0),
            (Outside(9), Outside(None, names=9), None, 0),
        ],
    )
    def test_outside_not_read(self, then, last, accepted, first):
        """A proof that did not read what is outside stands for none that did."""
        known = proofs(0, 60)
        known["proofs"] = [
            proof(one.before, one.after, outside=outside)
            for one, outside in zip(known["proofs"], (then, last), strict=True)
        ]
        known["declared"] = Declarations(outside_accepted=accepted)
        assert gone(**known).first.begun_at == at(first)

    @pytest.mark.parametrize(("last", "first"), [(0, 60), (3, 0)])
    def test_hidden_names(self, last, first):
        """Names that were hidden from a proof and are gone may have been under the key."""
        known = proofs(0, 60)
        known["proofs"] = [
            proof(one.before, one.after, hidden=number)
            for one, number in zip(known["proofs"], (3, last), strict=True)
        ]
        assert gone(**known).first.begun_at == at(first)

    @pytest.mark.parametrize(("between", "accepted", "first"), [(0, 0, 0), (3, 0, 120), (3, 3, 0)])
    def test_open_items_between(self, between, accepted, first):
        """What was open in between, also while the key was not listed, may have been under it."""
        known, outcome = proofs(0, 60, 120), Outcome.UNDECRYPTABLE
        second = known["proofs"][1]
        known["proofs"][1] = replace(second, met={}, open_items={outcome: between})
        known["sweep"] = sweep(120, 121, accepted={outcome: accepted})
        assert gone(**known).first.begun_at == at(first)

    def test_one_open_item_that_went(self):
        """One entry that was not opened, and is not there any more, counts as open."""
        known = proofs(0, 60)
        known["proofs"][0] = replace(known["proofs"][0], open_items={Outcome.UNDECRYPTABLE: 1})
        assert gone(**known).first.begun_at == at(60)

    def test_identity_declared(self):
        """Where it is declared that it is one server, one that names no process is proven."""
        blind = {"run_id": None, "master_replid": None}
        looks = [primary(minutes, **blind) for minutes in (0, 1, 5)]
        known = {"proofs": [proof(*looks[:2])], "looks": looks}
        declared = Declarations(identity="pinned")
        assert gone(**known, declared=declared).first.ended_at == at(1)
        assert gone(**known).first is None

    def test_same_process(self):
        """Nobody is the same process who was not proven, or does not answer now."""
        one = gone(**proofs(0))
        assert one.same_process
        assert not replace(one, now=None).same_process
        assert not replace(one, last=None).same_process
        assert not replace(one, now=primary(9, run_id="run-q")).same_process

    def test_another_process(self):
        """A restart ends it, and what comes next begins it anew."""
        known = proofs(0)
        known["looks"].append(primary(50, run_id="run-q", master_replid="id-2"))
        one = gone(**known)
        assert (one.first, one.ancestry.why) == (
            None,
            "another process answers, and its data may be older",
        )

    @pytest.mark.parametrize("last", [away(5, PRIMARY), replica(5, PRIMARY, run_id="run-p")])
    def test_no_primary_now(self, last):
        """A primary that does not answer, or follows another now, is not judged by its past."""
        known = proofs(0)
        known["looks"].append(last)
        assert gone(**known).now is None

    def test_since(self):
        """It is gone since it was gone from the last of the primaries."""
        second = proof(primary(30, "b:1", run_id="b"), primary(31, "b:1", run_id="b"))
        known = proofs(0)
        looks = [*known["looks"], second.before, second.after]
        case = evidence(proofs=[*known["proofs"], second], looks=looks, primaries=(PRIMARY, "b:1"))
        assert gone_since(gone_from(case, QUIET)) == at(31)
        both = evidence(**known, primaries=(PRIMARY, "b:1"))
        assert gone_since(gone_from(both, QUIET)) is None
        away_first = evidence(
            proofs=[*known["proofs"], second],
            looks=[*looks, away(40, PRIMARY)],
            primaries=(PRIMARY, "b:1"),
        )
        assert [one.first and one.first.node for one in gone_from(away_first, QUIET).values()] == [
            None,
            "b:1",
        ]
        assert gone_since({}) is None


class TestEvidence:
    """What is known of a key in one cache."""

    @pytest.mark.parametrize(
        ("proven", "basis", "swept", "opens"),
        [(5, "basis", 0, True), (5, "another", 0, False), (0, "basis", 5, True),
         (5, "another", 5, True), (0, "basis", 0, False)],
    )  # fmt: skip
    def test_opens(self, proven, basis, swept, opens):
        """A value was opened as today by a proof of the same basis, or by one of the sweeps."""
        known = proofs(0)
        known["proofs"] = [replace(one, opened=proven) for one in known["proofs"]]
        assert evidence(**known, basis=basis, sweep=sweep(0, 1, opened=swept)).opens is opens

    @pytest.mark.parametrize(("outcome", "number"), [(Outcome.DENIED, 0), (Outcome.TOO_LARGE, 2)])
    def test_which_sweep_decides(self, outcome, number):
        """The last sweep tells what is open, but for what is too large to be written."""
        swept = sweep(0, 1, open_items={outcome: 2})
        case = evidence(**proofs(0), sweep=swept, verification=sweep(2, 3))
        assert case.blocking(outcome) == number

    def test_never_swept(self):
        """Without any sweep nothing is counted."""
        case = evidence(**proofs(0), sweep=None)
        assert (case.remaining, case.remaining_without_ttl, case.drains_at) == (0, 0, None)
        assert [case.blocking(one) for one in BLOCKING] == [0] * len(BLOCKING)

    def test_a_verifying_sweep_alone(self):
        """What a verifying sweep met was encrypted anew, where no sweep before it tells more."""
        seen = KeySeen(found=3, remaining=3, remaining_without_ttl=3)
        assert evidence(**proofs(0), sweep=sweep(0, 1, keys={KEY: seen})).met_again == 3


class TestWriters:
    """Applications that may still encrypt with the key."""

    def _place(self, now=500, **known):
        case = evidence(**{**proofs(0, 100), **known})
        return writers_place(case, gone_from(case, QUIET), at(now))

    def test_assumed(self):
        """Without a fence it is an assumption, from the begin of the first proof on."""
        place = self._place()
        assert (place.status, place.kind) == (Status.ASSUMED, Kind.WRITERS)
        assert place.evidence == (
            "no application of shared-redis has written with it since 2026-11-23 02:00 UTC"
        )

    def test_earliest_of_two(self):
        """Of two primaries the earlier proof counts: nobody looked there since."""
        later = proof(primary(30, "b:1", run_id="b"), primary(31, "b:1", run_id="b"))
        known = proofs(0)
        looks = [*known["looks"], later.before, later.after]
        place = self._place(
            proofs=[*known["proofs"], later], looks=looks, primaries=(PRIMARY, "b:1")
        )
        assert place.evidence.endswith("since 2026-11-23 02:00 UTC")

    def test_fence(self):
        """A fence makes it certain, once it is in the past."""
        assert self._place(fence=fence(50)).status is Status.CLEAN
        place = self._place(now=10, fence=fence(50))
        assert (place.verdict, place.until) == (Verdict.VERIFYING, at(50))

    def test_void(self):
        """A fence that was void is an assumption again."""
        assert self._place(fence=fence(50, voided=60)).status is Status.ASSUMED


class TestOutside:
    """Names that `match` and `databases` leave out."""

    @pytest.mark.parametrize("primaries", [(), (PRIMARY, "b:1"), ("b:1",)])
    def test_not_all_were_looked_at(self, primaries):
        """While a primary was not swept, or none is known, nothing is known of what is outside."""
        case = evidence(**proofs(0), primaries=primaries)
        place = outside_place(case, gone_from(case, QUIET))
        assert (place.status, place.verdict) == (Status.UNKNOWN, Verdict.VERIFYING)

    def _place(self, outside, declared):
        case = evidence(**proofs(0, outside=outside), declared=Declarations(**declared))
        return outside_place(case, gone_from(case, QUIET))

    @pytest.mark.parametrize(
        ("outside", "declared", "status", "verdict"),
        [
            (Outside(5), {}, Status.CLEAN, Verdict.RETIRABLE),
            (Outside(5, {KEY: 1}), {}, Status.HOLDING, Verdict.IN_USE),
            (Outside(5, {KEY: 1}), {"outside_accepted": 9}, Status.HOLDING, Verdict.IN_USE),
            (Outside(5, {"f" * 16: 1}), {}, Status.CLEAN, Verdict.RETIRABLE),
            (Outside(5, not_opened=2), {}, Status.UNKNOWN, Verdict.UNKNOWN),
            (Outside(5, denied=2), {}, Status.UNKNOWN, Verdict.UNKNOWN),
            (Outside(5, not_opened=1, denied=1), {"outside_accepted": 2}, Status.ASSUMED, None),
            (Outside(5, not_opened=2, denied=1), {"outside_accepted": 2}, Status.UNKNOWN, None),
            (Outside(None, names=7), {"outside": "of billing"}, Status.ASSUMED, None),
            (Outside(None, names=7), {}, Status.UNKNOWN, Verdict.VERIFYING),
        ],
    )
    def test_place(self, outside, declared, status, verdict):
        """What is under the key is a fact; what was not opened is unknown, or accepted."""
        place = self._place(outside, declared)
        assert place.status is status
        assert verdict in {None, place.verdict}

    def test_not_looked_at(self):
        """Without a proof nobody has looked."""
        case = evidence(proofs=[], looks=[])
        place = outside_place(case, gone_from(case, QUIET))
        assert (place.status, place.verdict) == (Status.UNKNOWN, Verdict.VERIFYING)


class TestNotOpened:
    """Entries in scope that could not be opened."""

    def _places(self, declared=None, **more):
        known = sweep(0, 1, **more)
        case = evidence(**proofs(0), sweep=known, declared=declared or Declarations())
        return list(not_opened_places(case))

    def test_none(self):
        """Where every entry was opened the place is clean."""
        assert [one.status for one in self._places()] == [Status.CLEAN]

    @pytest.mark.parametrize("outcome", BLOCKING)
    def test_more_than_accepted(self, outcome):
        """One more than was accepted makes it unknown, with all of them."""
        (place,) = self._places(open_items={outcome: 6}, accepted={outcome: 5})
        assert (place.status, place.verdict) == (Status.UNKNOWN, Verdict.UNKNOWN)
        assert place.evidence.startswith("6 ")

    @pytest.mark.parametrize("outcome", BLOCKING)
    def test_accepted(self, outcome):
        """What was accepted by number is assumed; what the server refused cannot be accepted."""
        (place,) = self._places(open_items={outcome: 5}, accepted={outcome: 5})
        refused = outcome in {Outcome.DENIED, Outcome.FAILED}
        assert place.status is (Status.UNKNOWN if refused else Status.ASSUMED)

    @pytest.mark.parametrize("opened", [0, 1])
    def test_nothing_opens_now(self, opened):
        """Where the last sweep opened nothing, the format is looked at before any is accepted."""
        shut = {Outcome.UNDECRYPTABLE: 5}
        (place,) = self._places(open_items=shut, opened=opened, visits=6003)
        accept = "accept them with --accept undecryptable=5"
        assert place.remedy == (
            "see what they are with `rotator detect --samples 6003`, and `rotator inspect NAME`"
            f" for those under problems, or {accept}"
            if opened
            else f"no value opened, so {NOTHING_OPENS}: run `rotator detect`, correct the format or"
            f" add the missing key, then run again; only if you know what they are, {accept}"
        )

    @pytest.mark.parametrize("visits", [0, 100_001])
    def test_more_than_can_be_sampled(self, visits):
        """The step names no more samples than `rotator detect` takes."""
        (place,) = self._places(open_items={Outcome.UNDECRYPTABLE: 5}, visits=visits)
        assert "--samples 100000`" in place.remedy

    def test_never_opened_any(self):
        """While no key ever opened a value, none is accepted."""
        known = proofs(0)
        bare = [proof(one.before, one.after) for one in known["proofs"]]
        bare = [type(one)(one.node, one.before, one.after, "basis", {KEY: 0}) for one in bare]
        shut = sweep(0, 1, opened=0, open_items={Outcome.UNDECRYPTABLE: 5},
                     accepted={Outcome.UNDECRYPTABLE: 5})  # fmt: skip
        case = evidence(proofs=bare, looks=known["looks"], sweep=shut)
        (place,) = not_opened_places(case)
        assert place.status is Status.UNKNOWN
        assert "--accept" not in place.remedy


class TestNames:
    """The place that names in scope are."""

    def _places(self, now=500, quiet=QUIET, **known):
        case = evidence(**{**proofs(0, 100), **known})
        return names_places(case, gone_from(case, quiet), at(now), quiet)

    def _verdict(self, **known):
        return self._places(**known)[0].verdict

    def test_a_reset_that_could_not_be_seen(self):
        """Where running again alone cannot help, the right that is missing is named."""
        looks = [primary(minute, calls={"cluster|myid": 0, "config|resetstat": 1})
                 for minute in (0, 1, 100)]  # fmt: skip
        (place,) = self._places(proofs=(proof(*looks[:2]),), looks=looks)
        assert place.evidence.endswith(f"no longer counts: {UNSEEN_RESET}")
        assert place.remedy == f"grant +cluster|myid on {PRIMARY}, then run rotator twice"

    def test_clean(self):
        """Two proofs with the quiet time between them make it clean since the end of the first."""
        (place,) = self._places()
        assert (place.status, place.since) == (Status.CLEAN, at(1))

    def test_fence(self):
        """With a fence one proof is enough."""
        assert self._places(**proofs(0), fence=fence(0))[0].status is Status.CLEAN

    def test_not_confirmed(self):
        """After one proof the time is told from which another can confirm it."""
        (place,) = self._places(**proofs(0), now=10)
        assert (place.verdict, place.until) == (Verdict.VERIFYING, at(61))
        assert place.remedy == "run again after 03:01 UTC"

    @pytest.mark.parametrize(
        ("more", "verdict"),
        [
            ({"sweep": None}, Verdict.UNKNOWN),
            ({"sweep": sweep(0, 1, complete=False)}, Verdict.UNKNOWN),
            ({"sweep": sweep(0, 1, not_looked_at=("a node was down",))}, Verdict.UNKNOWN),
            ({"sweep": sweep(0, 1, verified=False)}, Verdict.VERIFYING),
            ({"sweep": sweep(0, 1, doubt="a clock was set")}, Verdict.VERIFYING),
            ({"now": 50}, Verdict.VERIFYING),
            ({"proofs": [], "looks": []}, Verdict.VERIFYING),
            ({"primaries": ()}, Verdict.VERIFYING),
            (proofs(0, 100, hidden=3), Verdict.UNKNOWN),
        ],
    )
    def test_not_certain(self, more, verdict):
        """What was not looked at is unknown, what is not certain yet is verified."""
        assert self._verdict(**more) is verdict

    def test_hidden(self):
        """Names in slots that are not the node's may come back, and how to end that is said."""
        (place,) = self._places(**proofs(0, 100, hidden=3))
        assert place.evidence == f"{PRIMARY} holds 3 names of slots that it does not own"
        assert "CLUSTER SETSLOT" in place.remedy

    def test_unproven(self):
        """Why a sweep proves nothing is said."""
        why = "the scan does not end"
        (place,) = self._places(proofs=[], looks=[], sweep=sweep(0, 1, unproven=(why,)))
        assert (place.evidence, place.verdict) == (why, Verdict.UNKNOWN)

    def test_another_process_answers(self):
        """While another process answers than the one that was proven it is verified again."""
        known = proofs(0, 100)
        later = primary(200, run_id="run-q", master_replid="id-2", master_replid2="id-1",
                        second_repl_offset=151, rdb_last_load_keys_loaded=5)  # fmt: skip
        known["looks"].append(later)
        (place,) = self._places(**known)
        assert place.evidence == f"{PRIMARY} failed over or restarted after the last sweep"

    def test_a_break(self):
        """What ended the lineage is told."""
        known = proofs(0, 100)
        known["looks"].append(primary(200, calls={"debug": 1}))
        (place,) = self._places(**known)
        assert place.evidence == (f"what was known of {PRIMARY} no longer counts: DEBUG was called")

    def test_no_break(self):
        """Where a proof met the key nothing has ended, and that is not said."""
        (place,) = self._places(**proofs(0, 100, met=1))
        assert place.evidence == "no sweep that only reads has shown yet that none is left"

    @pytest.mark.parametrize(("opened", "empty", "verdict"), [
        (5, False, Verdict.RETIRABLE), (0, False, Verdict.UNKNOWN), (0, True, Verdict.RETIRABLE),
    ])  # fmt: skip
    def test_ever_opened(self, opened, empty, verdict):
        """While nothing was ever opened nothing is proven, unless that is declared to be right."""
        known = proofs(0, 100)
        known["proofs"] = [
            type(one)(one.node, one.before, one.after, "basis", {KEY: 0}, opened=opened)
            for one in known["proofs"]
        ]
        seen = sweep(0, 1, opened=opened)
        assert self._verdict(**known, sweep=seen, declared=Declarations(empty=empty)) is verdict
