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
            # that two say nothing of an earlier history tells nothing
            ([away(address=THIRD), replica(**{**STRANGER, "master_replid2": None})], True),
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
        found = places(away(address=THIRD), away(), now=now, replicas="a managed service")
        known = [one for one in found if one.where == REPLICA]
        assert known[0] == assumed(
            f"replica {REPLICA} has what its primary says it has: a managed service"
        )
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
    assert place == Place(*unknown, remedy="run rotator for shared-redis")
    follows = next(one for one in found if one.where == THIRD)
    assert follows.evidence == f"replica {THIRD} has no known primary"


def test_a_primary_of_its_own():
    """One that answers as a primary beside those that were swept is no place to sweep."""
    [place] = [one for one in places(replica(2, role="master")) if one.where == REPLICA]
    assert (
        place.evidence
        == f"{REPLICA} was part of this cache earlier, and is now a primary on its own"
    )
    assert place.remedy == "make it a replica again, or declare it decommissioned"


def test_since_when():
    """A replica is clean since the first look at which it had what its primary had, no earlier."""
    found = places(replica(1), replica(3))
    [place] = [one for one in found if one.where == REPLICA and one.kind is Kind.REPLICA]
    assert (place.status, place.since) == (Status.CLEAN, at(1))


RESTARTED = {
    "run_id": "run-q",
    "master_replid": "id-2",
    "master_replid2": "id-1",
    "second_repl_offset": 101,
    "rdb_last_load_keys_loaded": 1,
    "rdb_last_save_time": 60,
}


class TestSince:
    """Files count from when the key was gone."""

    def test_save_before(self):
        """A save that was seen to end before the key was gone everywhere leaves the file old."""
        found = places(now=primary(1, rdb_last_save_time=60, rdb_saves=1))
        [file] = [one for one in found if one.kind is Kind.RDB]
        assert (file.status, file.verdict, file.since) == (Status.HOLDING, Verdict.HELD, at(1))

    @pytest.mark.parametrize(("offset", "status"), [(101, Status.CLEAN), (100, Status.HOLDING)])
    def test_restart(self, offset, status):
        """A start from a file that goes beyond what was proven shows that the file is clean."""
        restarted = primary(5, **{**RESTARTED, "second_repl_offset": offset})
        known = proof(primary(0), primary(1))
        case = evidence(proofs=[known], looks=[known.before, known.after, restarted])
        found = copy_places(case, gone_from(case, timedelta(hours=1)))
        assert (Kind.RDB, status) in kinds(found, PRIMARY)

    def test_replica_looked_at_when_the_sweep_ended(self):
        """A replica that had all at the very end of the proof is clean."""
        assert kinds(places(replica(1)), REPLICA)[0] == (Kind.REPLICA, Status.CLEAN)
        assert kinds(places(replica(0)), REPLICA)[0] == (Kind.REPLICA, Status.HOLDING)


class TestCluster:
    """Two primaries, and whose replica a server is."""

    @staticmethod
    def places(*looks, proofs=2):
        """The places that servers are, by so many proofs and these looks at others."""
        other = {"address": THIRD, "run_id": "run-2", "master_replid": "id-2", "rdb_saves": 1}
        known = [
            proof(primary(0, rdb_saves=1), primary(1, rdb_saves=1)),
            proof(primary(2, **other), primary(3, **other)),
        ]
        told = [look for one in known for look in (one.before, one.after)]
        two = (PRIMARY, THIRD)
        case = evidence(proofs=known[:proofs], looks=[*told, *looks], primaries=two)
        return copy_places(case, gone_from(case, timedelta(hours=1)))

    @pytest.mark.parametrize("history", ["id-1", "id-2"])
    def test_follows(self, history):
        """A replica is compared with the primary whose history it has."""
        found = self.places(replica(4, master_replid=history))
        assert kinds(found, REPLICA)[0] == (Kind.REPLICA, Status.CLEAN)

    @pytest.mark.parametrize("history", ["id-9", None])
    def test_follows_nobody(self, history):
        """A replica with another history, or none, has no known primary."""
        found = self.places(replica(4, master_replid=history))
        assert f"replica {REPLICA} has no known primary" in [one.evidence for one in found]

    @pytest.mark.parametrize(("proofs", "since"), [(1, None), (2, at(3))])
    def test_files_wait_for_all(self, proofs, since):
        """No file is clean, at any primary, before the key is gone from all of them."""
        files = [one for one in self.places(proofs=proofs) if one.kind is Kind.RDB]
        assert [(one.status, one.since) for one in files] == [(Status.HOLDING, since)] * 2


def test_follows_another():
    """Beside a single primary a replica with another history is told to follow that."""
    [place, *_] = [one for one in places(replica(2, master_replid="id-9")) if one.where == REPLICA]
    assert place.evidence == f"replica {REPLICA} follows another history than its primary"
