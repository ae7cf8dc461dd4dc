"""Copies: which servers are still places of a cache, and what each of them makes of a key."""

from datetime import timedelta

import pytest

from rotator.retirement.copies import copy_places
from rotator.retirement.lineage import gone_from
from rotator.retirement.looks import Listed
from rotator.retirement.places import Declarations, Kind, Place, Status, Verdict
from support.looks import PRIMARY, REPLICA, at, away, evidence, primary, proof, replica

THIRD = "redis-2:6379"
TURNED_OFF = {REPLICA: "turned off"}
STRANGER = {"run_id": "run-s", "role": "master", "master_replid": "id-s"}


def places(*looks, now=None, primaries=(PRIMARY,), **declared):
    """The places that servers are, by a proof at the primary and these looks at others."""
    known = proof(primary(0), now or primary(1))
    case = evidence(
        proofs=[known],
        looks=[known.before, *looks, known.after],
        primaries=primaries,
        declared=Declarations(**declared),
    )
    return copy_places(case, gone_from(case, timedelta(hours=1)))


def kinds(found, where):
    """The kinds and the status of the places at one address."""
    return [(one.kind, one.status) for one in found if one.where == where]


def assumed(text, where=REPLICA, kind=Kind.REPLICA):
    """A place that is taken for clean because the operator says so."""
    return Place(kind, where, Status.ASSUMED, text)


NEVER_SAVED = [(Kind.RDB, Status.CLEAN), (Kind.AOF, Status.CLEAN)]
"""The files of a server that keeps none."""


class TestGone:
    """Servers that the operator declares gone."""

    def test_decommissioned(self):
        """One that does not answer is gone for the reason given; its files are, and no other is."""
        found = places(away(), away(address=THIRD), decommissioned=TURNED_OFF)
        assert [one for one in found if one.where == REPLICA] == [
            assumed(f"{REPLICA} is gone: turned off")
        ]
        assert kinds(found, THIRD) == [(Kind.REPLICA, Status.UNKNOWN)]
        assert kinds(found, PRIMARY) == NEVER_SAVED

    @pytest.mark.parametrize(("only", "there"), [((PRIMARY,), False), ((PRIMARY, REPLICA), True)])
    def test_not_one_of_those_that_there_are(self, only, there):
        """A server that `replicas.only` does not list is gone; one that it lists is not."""
        first, *found = places(away(), only=only)
        says = f"there are no replicas but {REPLICA}" if there else "there are no replicas"
        assert first == assumed(f"{says} (replicas.only)", where="")
        gone = assumed(f"{REPLICA} is gone: replicas.only does not list it")
        assert (gone in found) is not there
        assert kinds(found, PRIMARY) == NEVER_SAVED

    def test_never_a_primary(self):
        """A primary of the last sweep is not gone, whatever is declared."""
        found = places(only=(REPLICA,), decommissioned={PRIMARY: "turned off"})
        assert kinds(found, PRIMARY) == NEVER_SAVED

    def test_under_its_last_address(self):
        """Of a server that has moved each address has to be declared, and the last is named."""
        moved = [replica(run_id="run-m"), replica(address=THIRD, run_id="run-m"), away(2, THIRD)]
        assert kinds(places(*moved, decommissioned=TURNED_OFF), THIRD)[0][1] is Status.UNKNOWN
        both = {**TURNED_OFF, THIRD: "sold"}
        found = places(*moved, decommissioned=both)
        assert assumed(f"{THIRD} is gone: sold", THIRD) in found

    @pytest.mark.parametrize(
        ("looks", "gone"),
        [
            ([away()], True),
            ([replica(**STRANGER)], True),
            ([replica(**STRANGER), replica(1, **STRANGER)], True),
            # it follows, or has followed, a server of this cache
            ([replica()], False),
            ([replica(**{**STRANGER, "master_replid2": "id-1"})], False),
            # it is a process that did, or a node that did
            ([replica(), replica(1, **{**STRANGER, "run_id": "run-r"})], False),
            ([replica(node_id="n"), replica(1, node_id="n", **STRANGER)], False),
            ([replica(), replica(1, **STRANGER)], True),
            ([replica(node_id="n"), replica(1, node_id="m", **STRANGER)], True),
            # nobody knows who it is
            ([replica(**{**STRANGER, "run_id": None})], False),
            ([replica(**{**STRANGER, "master_replid": None})], False),
        ],
    )
    def test_who_answers_there(self, looks, gone):
        """At an address declared gone a stranger may answer, but nobody who was of this cache."""
        found = places(*looks, decommissioned=TURNED_OFF)
        assert (assumed(f"{REPLICA} is gone: turned off") in found) is gone

    def test_a_history_of_those_gone(self):
        """What servers declared gone share with each other makes them no part of the cache."""
        looks = [replica(**STRANGER), replica(address=THIRD, **{**STRANGER, "run_id": "run-t"})]
        found = places(*looks, decommissioned={**TURNED_OFF, THIRD: "sold"})
        assert [one.evidence for one in found if one.kind is Kind.REPLICA] == [
            f"{REPLICA} is gone: turned off",
            f"{THIRD} is gone: sold",
        ]


def lists(*state, **more):
    """A look at the primary, which lists the replica in this state."""
    listed = (Listed(REPLICA, state=state[0]),) if state else ()
    return primary(1, listed=listed, **more)


class TestDeclared:
    """Replicas that cannot be asked, and are declared to be as their primary says."""

    @pytest.mark.parametrize("aof", ["0", "1", None])
    def test_as_the_primary_says(self, aof):
        """Its memory is assumed; its files are not, and it may append if its primary does."""
        now = lists("online", aof_enabled=aof)
        found = places(away(), away(address=THIRD), now=now, replicas="a managed service")
        known = [one for one in found if one.where == REPLICA]
        assert known[0] == assumed(f"replica {REPLICA} is as its primary says: a managed service")
        assert [one.kind for one in known[1:]] == [Kind.RDB, Kind.AOF][: 1 if aof == "0" else 2]
        assert {one.status for one in known[1:]} == {Status.UNKNOWN}
        assert all(REPLICA in one.evidence for one in known[1:])
        assert kinds(found, THIRD) == [(Kind.REPLICA, Status.UNKNOWN)]
        assert kinds(found, PRIMARY) != []

    def test_files_declared(self):
        """What is declared of files is so of those of such a replica too."""
        now = lists("online", aof_enabled="1")
        told = {"replicas": "managed", "rdb": "no RDB", "aof": "no AOF"}
        found = places(away(), now=now, **told)
        assert [one.status for one in found if one.where == REPLICA] == [Status.ASSUMED] * 3

    @pytest.mark.parametrize(
        ("state", "declared"),
        [
            (["wait_bgsave"], {"replicas": "managed"}),
            ([], {"replicas": "managed"}),
            (["online"], {}),
        ],
    )
    def test_otherwise(self, state, declared):
        """It is unknown where its primary does not call it online, or nothing is declared."""
        found = places(away(), now=lists(*state), **declared)
        assert kinds(found, REPLICA) == [(Kind.REPLICA, Status.UNKNOWN)]


def test_a_primary_that_no_sweep_came_to():
    """Where no sweep has told the primaries, one that answers as such is to be swept first."""
    found = places(replica(2, address=THIRD), primaries=())
    [place] = [one for one in found if one.where == PRIMARY]
    evidence = f"{PRIMARY} answers as a primary, and no sweep of it is known"
    unknown = (Kind.REPLICA, PRIMARY, Status.UNKNOWN, evidence, Verdict.UNKNOWN)
    assert place == Place(*unknown, remedy="run for shared-redis")
    follows = next(one for one in found if one.where == THIRD)
    assert follows.evidence == f"replica {THIRD} has no known primary"


def test_a_primary_of_its_own():
    """One that answers as a primary beside those that were swept is no place to sweep."""
    [place] = [one for one in places(replica(2, role="master")) if one.where == REPLICA]
    assert (
        place.evidence == f"{REPLICA}, seen earlier in this cache, answers as a primary of its own"
    )
    assert place.remedy == "make it a replica again, or declare it decommissioned"


def test_since_when():
    """A replica is clean since the first look at which it had what its primary had, no earlier."""
    found = places(replica(1), replica(3))
    [place] = [one for one in found if one.where == REPLICA and one.kind is Kind.REPLICA]
    assert (place.status, place.since) == (Status.CLEAN, at(1))
