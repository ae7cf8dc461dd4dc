"""Replicas: who is who among the looks, and when a replica's memory is clean."""

import pytest

from rotator.retirement.looks import Listed, as_primary
from rotator.retirement.places import Status, Verdict
from rotator.retirement.replicas import (
    NOT_LISTED,
    Server,
    caught_up,
    declared_place,
    replica_place,
    seen_writable,
    servers,
    why_not_follows,
)
from support.looks import PRIMARY, REPLICA, away, primary, replica

LEADS = primary(0)
NOT_FOLLOWING = {
    "its primary is gone": ({"master_link_status": "down"}, "has no link"),
    "no link is told": ({"master_link_status": None}, "has no link"),
    "syncing from another, old data served": (
        {"master_sync_in_progress": 1, "master_replid": "id-o"},
        "is synchronizing",
    ),
    "no sync is told": ({"master_sync_in_progress": None}, "is synchronizing"),
    "loading": ({"loading": 1}, "is loading"),
    "loading is not told": ({"loading": None}, "is loading"),
    "loading, swapdb": ({"async_loading": 1}, "is loading"),
    "promoted": ({"role": "master"}, "is no replica now"),
    "no role": ({"role": None}, "is no replica now"),
    "writable": ({"slave_read_only": 0}, "can be written to"),
    "writable is not told": ({"slave_read_only": None}, "can be written to"),
    "another history": ({"master_replid": "id-o"}, "follows another history"),
    "no history": ({"master_replid": None}, "follows another history"),
    "one byte behind": ({"slave_repl_offset": 99}, "is 1 bytes behind"),
    "no offset": ({"slave_repl_offset": None}, "does not say how far it has"),
    "DEBUG RELOAD": ({"calls": {"debug": 1}}, "may have loaded a file by DEBUG"),
    "RESETSTAT": ({"calls": {"config|resetstat": 1}}, "may have loaded a file by DEBUG"),
    "no commandstats": ({"calls": False}, "may have loaded a file by DEBUG"),
    "an offset that is none": ({"slave_repl_offset": "x"}, "does not say how far it has"),
}


class TestFollows:
    """What a replica says of itself."""

    @pytest.mark.parametrize("offset", [100, 101])
    def test_follows(self, offset):
        """One that is up, reads only and has as many bytes has all that its primary had."""
        assert why_not_follows(replica(slave_repl_offset=offset), LEADS, 100) is None

    def test_before_7(self):
        """Where `async_loading` does not exist it does not have to be there."""
        assert why_not_follows(replica(version="6.0.16"), primary(version="6.0.16"), 100) is None

    @pytest.mark.parametrize("state", NOT_FOLLOWING)
    def test_does_not(self, state):
        """Whatever is otherwise, or is not said, does not count as followed."""
        more, why = NOT_FOLLOWING[state]
        assert why_not_follows(replica(**more), LEADS, 100).startswith(why)

    @pytest.mark.parametrize("calls", [{"debug": 1}, {"config|resetstat": 1}, False])
    def test_primary_that_loaded_a_file(self, calls):
        """What a primary loaded by DEBUG is not in the stream, and its replicas do not have it."""
        leads = primary(calls=calls)
        assert why_not_follows(replica(), leads, 100) == (
            "has a primary that may have loaded a file by DEBUG (see its commandstats)"
        )

    def test_primary_without_offset(self):
        """How far the primary was has to be known."""
        assert why_not_follows(replica(), LEADS, None) == (
            "has what its primary has, and the key is not known to be gone there"
        )

    def test_primary_without_history(self):
        """Two histories that are both missing are not the same one."""
        nobody = primary(master_replid=None)
        assert why_not_follows(replica(master_replid=None), nobody, 100)


ENDS = {
    "another process": {"run_id": "run-s"},
    "REPLICAOF": {"calls": {"replicaof": 1}},
    "SLAVEOF": {"calls": {"slaveof": 1}},
    "CLUSTER REPLICATE": {"calls": {"cluster|replicate": 1}},
    "CLUSTER RESET": {"calls": {"cluster|reset": 1}},
}


class TestCaughtUp:
    """Since when a replica has had all, without a break."""

    def _good(self, *looks, primaries=(LEADS,)):
        return caught_up(looks, primaries, 100)

    def test_from_the_first(self):
        """The looks count from the first at which it had caught up."""
        late = replica(1, slave_repl_offset=50)
        looks = [replica(minutes) for minutes in (2, 3)]
        assert self._good(late, *looks) == looks

    @pytest.mark.parametrize("state", NOT_FOLLOWING)
    def test_a_break(self, state):
        """A look at which it did not follow takes all earlier ones away."""
        last = replica(5)
        assert self._good(replica(1), replica(3, **NOT_FOLLOWING[state][0]), last) == [last]

    @pytest.mark.parametrize("event", ENDS)
    def test_begins_anew(self, event):
        """What may have changed its data or its counters between two looks begins it anew."""
        last = replica(5, **ENDS[event])
        assert self._good(replica(1), last) == [last]

    def test_reset_before_7(self):
        """Before 7.0 a reset shows by the canary, or by calls of CONFIG that are not ours."""
        first = replica(1, version="6.2.14", own_config=3, calls={"config": 4})
        ours = replica(5, version="6.2.14", calls={"config": 7})
        assert self._good(first, ours, primaries=(primary(version="6.2.14"),)) == [first, ours]
        reset = replica(5, version="6.2.14", calls={"config": 1})
        assert self._good(first, reset, primaries=(primary(version="6.2.14"),)) == [reset]

    def test_before_7(self):
        """Where subcommands are not told those of the whole command stand in."""
        looks = [replica(minutes, version="6.2.14") for minutes in (1, 5)]
        leads = (primary(version="6.2.14"),)
        assert self._good(*looks, primaries=leads) == looks
        moved = replica(5, version="6.2.14", calls={"slaveof": 1})
        assert self._good(looks[0], moved, primaries=leads) == [moved]

    def test_primary_of_its_time(self):
        """Each look is compared with the primary as it was then."""
        primaries = (LEADS, primary(4, master_replid="id-2"))
        looks = [replica(2), replica(5, master_replid="id-2")]
        assert self._good(*looks, primaries=primaries) == looks
        assert self._good(looks[0], replica(5), primaries=primaries) == []
        third = (*primaries, primary(8, master_replid="id-3"))
        looks = [replica(at_, master_replid=f"id-{n}") for at_, n in ((4, 2), (7, 2), (8, 3))]
        assert self._good(*looks, primaries=third) == looks

    def test_no_primary(self):
        """Without a look at its primary nothing is known of it."""
        assert self._good(replica(1), primaries=()) == []


class TestServers:
    """Which looks are of one server."""

    def test_apart(self):
        """Two addresses are two servers, unless something says otherwise."""
        looks = [primary(0), replica(0), primary(5), replica(5)]
        assert servers(looks) == [(looks[0], looks[2]), (looks[1], looks[3])]

    def test_one_process_at_two_names(self):
        """A process that answers at two names is one server, at the later one."""
        looks = [replica(0, "10.0.0.8:6379"), replica(1)]
        assert servers(looks) == [tuple(looks)]

    def test_one_node_moves(self):
        """A node of a cluster is the same after a restart at another address."""
        looks = [replica(0, node_id="n"), replica(5, "10.0.0.9:6379", node_id="n", run_id="s")]
        assert servers(looks) == [tuple(looks)]

    def test_address_left_by_a_node(self):
        """An address at which nobody is any more is no server if its process is seen elsewhere."""
        looks = [replica(0), away(4), replica(5, "10.0.0.9:6379")]
        assert servers(looks) == [tuple(looks)]

    def test_one_of_two_names_not_asked(self):
        """A name that is not asked any more is no server if its process answers at another."""
        looks = [replica(0), replica(5, "10.0.0.9:6379"), away(6)]
        assert servers(looks) == [tuple(looks[:2])]

    def test_primary_at_two_names(self):
        """A primary that answers at an earlier name, too, is the one that it is now."""
        now = primary(5)
        looks = (primary(0, "old:6379"), now, primary(5, "old:6379"))
        assert as_primary(looks, {PRIMARY: now}) == (PRIMARY, looks[:2])
        assert as_primary((replica(5),), {PRIMARY: now}) == (None, (replica(5),))

    def test_restart(self):
        """Another process at an address inherits the files of the one before."""
        looks = [replica(0), replica(5, run_id="run-s")]
        assert servers(looks) == [tuple(looks)]

    def test_addresses_exchanged(self):
        """Of two nodes that have exchanged their addresses none is lost, nor any earlier look."""
        one, two = {"node_id": "one"}, {"node_id": "two"}
        looks = [
            replica(0, "a:1", run_id="a", **one),
            replica(0, "b:1", run_id="b", **two),
            replica(5, "a:1", run_id="c", **two),
            replica(6, "b:1", run_id="d", **one),
        ]
        assert servers(looks) == [tuple(looks[:3]), tuple(looks)]

    def test_nothing_known(self):
        """A server that never answered is one, by its address."""
        assert servers([away(0), away(5)]) == [(away(0), away(5))]


class TestPlace:
    """The place that a replica's memory is."""

    def _place(self, *looks, good=()):
        return replica_place(Server(looks, tuple(good)), LEADS, 100)

    def test_clean(self):
        """It is clean since the first look at which it had caught up."""
        looks = (replica(1), replica(5))
        place = self._place(*looks, good=looks)
        assert (place.status, place.since) == (Status.CLEAN, looks[0].at)

    def test_clean_once(self):
        """One that was clean, and is not at the last look, is not clean."""
        earlier = replica(1)
        place = self._place(earlier, replica(5, master_link_status="down"), good=[earlier])
        assert (place.status, place.verdict) == (Status.HOLDING, Verdict.HELD)
        assert place.evidence == f"replica {REPLICA} has no link to its primary"

    def test_behind(self):
        """One that is behind holds the key, and how far it is behind is told."""
        place = self._place(replica(1, slave_repl_offset=1))
        assert place.evidence == f"replica {REPLICA} is 99 bytes behind"
        assert place.remedy == f"run again when {REPLICA} has caught up"
        assert place.passes

    @pytest.mark.parametrize("state", ["writable", "another history", "DEBUG RELOAD"])
    def test_not_by_itself(self, state):
        """It is not waited for what only an operator can end."""
        assert not self._place(replica(1, **NOT_FOLLOWING[state][0])).passes

    def test_named_only(self):
        """One that was not asked because it is not listed can be listed."""
        place = self._place(away(5, why=f"{PRIMARY} {NOT_LISTED}"))
        assert "`replicas: announced`" in place.remedy

    def test_away(self):
        """One that was not reached is unknown, with when it was last seen."""
        place = self._place(replica(1), away(5))
        assert (place.status, place.verdict) == (Status.UNKNOWN, Verdict.UNKNOWN)
        assert "it could not be reached; it was last seen 2026-11-23 02:01" in place.evidence

    def test_primary_of_its_own(self):
        """A former member that answers as a primary has data that nobody looked at."""
        place = self._place(primary(1, REPLICA))
        assert (place.status, place.verdict) == (Status.UNKNOWN, Verdict.UNKNOWN)

    def test_no_primary(self):
        """A replica of nobody that is known holds."""
        place = replica_place(Server((replica(1),)), None, None)
        assert (place.status, place.where) == (Status.HOLDING, REPLICA)
        assert PRIMARY not in place.evidence


class TestSeenWritable:
    """What was written to a replica itself stays in its memory."""

    @pytest.mark.parametrize("read_only", [0, None])
    def test_earlier(self, read_only):
        """A process that could be written to at an earlier look is held, whatever it says now."""
        looks = (replica(0, slave_read_only=read_only), replica(5))
        assert seen_writable(looks)
        place = replica_place(Server(looks), primary(5), 100)
        assert (place.status, place.verdict) == (Status.HOLDING, Verdict.HELD)
        assert "could be written to earlier" in place.evidence

    def test_another_process(self):
        """A process that was started later, or was a primary, was not writable as a replica."""
        assert not seen_writable((replica(0, run_id="run-q", slave_read_only=0), replica(5)))
        assert not seen_writable((primary(0, run_id="run-r"), replica(5)))


class TestDeclared:
    """`assume.replicas`: replicas that cannot be asked are as their primary says."""

    def place(self, look, state="online", reason="provider hides replicas"):
        """The place of a server that was looked at like this, and that its primary names."""
        named = primary(2, listed=(Listed(REPLICA, state),))
        return declared_place(Server((look,)), [named], reason)

    def test_away(self):
        """A replica that does not answer, and is online for its primary, is assumed, with why."""
        place = self.place(away(2))
        assert (place.status, place.verdict) == (Status.ASSUMED, Verdict.RETIRABLE)
        assert (
            place.evidence
            == f"replica {REPLICA} has what its primary says it has: provider hides replicas"
        )

    def test_asked(self):
        """One that answers for itself is judged by that."""
        assert self.place(replica(2)) is None

    @pytest.mark.parametrize("state", ["wait_bgsave", "send_bulk", ""])
    def test_not_online(self, state):
        """One that its primary does not call online is not assumed to have anything."""
        assert self.place(away(2), state) is None

    def test_not_named(self):
        """One that no primary names now is not covered: it is as nobody says."""
        assert declared_place(Server((away(2),)), [primary(2)], "hidden") is None

    def test_not_declared(self):
        """Without the declaration nothing is assumed."""
        assert self.place(away(2), reason=None) is None
