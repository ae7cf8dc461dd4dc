"""Lineage: one row for each event that was measured, and whether data goes on from it."""

import pytest

from rotator.retirement.lineage import ancestry, broken_between, covers, goes_on_from, same_lineage
from rotator.retirement.looks import calls, number, version
from support.looks import NONE, PRIMARY, REPLICA, at, away, primary, replica

NOTED = primary(0)
SIX = primary(0, version="6.2.14")
GOES_ON = {
    "nothing": (NOTED, primary(9)),
    "writes go on": (NOTED, primary(9, master_repl_offset=900)),
    "writes without a backlog": (NOTED, primary(9, total_commands_processed=9000)),
    "the first replica attaches": (NOTED, primary(9, master_replid="id-2")),
    "the first replica attaches, 9.1": (
        primary(0, version="9.1.2"),
        primary(9, version="9.1.2", master_replid="id-2", master_repl_offset=114),
    ),
    "the backlog is freed, and the next replica comes": (
        primary(0, master_replid="id-2"),
        primary(9, master_replid="id-3"),
    ),
    "FLUSHALL": (NOTED, primary(9, calls={"flushall": 1})),
    "the first replica attaches, 6.2": (SIX, primary(9, version="6.2.14", master_replid="id-2")),
    "our own CONFIG GET, 6.2": (
        primary(0, version="6.2.14", own_config=3),
        primary(9, version="6.2.14", master_replid="id-2", calls={"config": 3}),
    ),
    "a slot moves away": (
        primary(0, slots="0-99", epoch=3, cluster_enabled=1),
        primary(9, slots="0-49", epoch=3, cluster_enabled=1),
    ),
}
ENDS = {
    "restart from RDB": (primary(9, run_id="run-q", master_replid="id-2"), "another process"),
    "no run_id": (primary(9, run_id=None), "it does not say who it is"),
    "no replication id": (primary(9, master_replid=None), "it does not say who it is"),
    "no role": (primary(9, role=None), "it was a replica"),
    "it is a replica": (primary(9, role="slave"), "it was a replica"),
    "DEBUG RELOAD NOSAVE": (primary(9, calls={"debug": 1}), "DEBUG was called"),
    "CONFIG RESETSTAT": (primary(9, calls={"config|resetstat": 1}), "its counters were reset"),
    "the canary is gone": (primary(9, calls={"cluster|myid": 19}), "its counters were reset"),
    "the number of commands fell": (
        primary(9, total_commands_processed=999),
        "its counters were reset",
    ),
    "no number of commands": (
        primary(9, total_commands_processed=None),
        "its counters were reset",
    ),
    "no commandstats": (primary(9, calls=False), "INFO shows no commandstats"),
    "REPLICAOF other, then NO ONE": (
        primary(9, master_replid="id-2", master_replid2="id-o"),
        "its replication history changed",
    ),
    "the same, and the backlog freed": (
        primary(9, master_replid="id-3", total_net_repl_input_bytes=5000),
        "its replication history changed",
    ),
    "REPLICAOF counted": (
        primary(9, master_replid="id-3", calls={"replicaof": 2}),
        "its replication history changed",
    ),
    "SLAVEOF counted": (
        primary(9, master_replid="id-3", calls={"slaveof": 2}),
        "its replication history changed",
    ),
    "FAILOVER there and back": (
        primary(9, master_replid="id-3", master_replid2="id-2", calls={"failover": 1}),
        "its replication history changed",
    ),
    "hung, demoted and promoted again": (
        primary(9, master_replid="id-3", master_replid2="id-2", master_repl_offset=90),
        "its replication history changed",
    ),
    "hung, and later the backlog freed": (
        primary(9, master_replid="id-4", total_net_repl_input_bytes=700),
        "its replication history changed",
    ),
    "no second replication id": (
        primary(9, master_replid="id-2", master_replid2=None),
        "its replication history changed",
    ),
    "bytes from a primary are not told": (
        primary(9, master_replid="id-2", total_net_repl_input_bytes=None),
        "its replication history changed",
    ),
    "CLUSTER RESET": (
        primary(9, master_replid="id-2", calls={"cluster|reset": 1}),
        "its replication history changed",
    ),
    "slots were imported, and that was broken off": (
        primary(9, total_net_repl_input_bytes=35749),
        "it may have read data from another server",
    ),
    "bytes from a primary are not told any more": (
        primary(9, total_net_repl_input_bytes=None),
        "it may have read data from another server",
    ),
    "slots come": (primary(9, slots="0-99"), "its slots or its epoch changed"),
    "the epoch rises": (primary(9, epoch=4), "its slots or its epoch changed"),
    "the node of a cluster does not say its epoch": (
        primary(9, cluster_enabled=1),
        "its slots or its epoch changed",
    ),
}
ENDS_6 = {
    "CONFIG RESETSTAT hidden in config": {"calls": {"config": 1}},
    "REPLICAOF": {"calls": {"replicaof": 1}},
    "SLAVEOF": {"calls": {"slaveof": 1}},
    "FAILOVER": {"calls": {"failover": 1}},
    "a node of a cluster": {"cluster_enabled": 1, "epoch": 1},
}


class TestOneProcess:
    """The rules 1 and 2: two looks at one process."""

    @pytest.mark.parametrize("event", GOES_ON)
    def test_goes_on(self, event):
        """What happens to every server every day breaks nothing."""
        assert broken_between(*GOES_ON[event]) is None

    @pytest.mark.parametrize("event", ENDS)
    def test_ends(self, event):
        """What may have brought other data, or cannot be told, ends it, with the reason."""
        after, why = ENDS[event]
        before = primary(0, cluster_enabled=1) if after.facts["cluster_enabled"] == "1" else NOTED
        assert broken_between(before, after).startswith(why)

    @pytest.mark.parametrize("event", ENDS_6)
    def test_ends_before_7(self, event):
        """Where subcommands are not counted apart, counts as a whole stand in for the rest."""
        more = {"master_replid": "id-2", "version": "6.2.14", **ENDS_6[event]}
        before = primary(0, version="6.2.14", epoch=more.get("epoch"))
        assert broken_between(before, primary(9, **more))

    @pytest.mark.parametrize("called", [0, 19])
    def test_reset_without_a_canary(self, called):
        """Without the canary an earlier reset may hide a second one."""
        look = primary(0, calls={"cluster|myid": called, "config|resetstat": 1})
        assert "could not be seen" in broken_between(look, primary(9, calls=look.calls))

    def test_reset_that_an_earlier_one_hides(self):
        """With the canary a second reset shows, although its own count stays one."""
        once = primary(0, calls={"config|resetstat": 1})
        again = primary(9, calls={"config|resetstat": 1, "cluster|myid": 0})
        assert broken_between(once, again) == "its counters were reset"


BLIND = {"run_id": None, "master_replid": None}


class TestOneServer:
    """A server that does not say who it is."""

    def test_not_declared(self):
        """A missing run_id is not the same run_id."""
        assert broken_between(primary(0, **BLIND), primary(9, **BLIND))

    @pytest.mark.parametrize("calls", [None, False])
    def test_declared(self, calls):
        """That it is one server stands in for a run_id, and for counters that are missing."""
        looks = [primary(minutes, calls=calls, **BLIND) for minutes in (0, 9)]
        assert broken_between(*looks, one_server=True) is None

    def test_all_looks(self):
        """Where it is declared all looks at the address go on; else nobody knows whose they are."""
        looks = tuple(primary(minutes, **BLIND) for minutes in (0, 5, 9))
        other = primary(3, "redis-9:6379", **BLIND)
        known = ancestry((looks[0], other, *looks[1:]), looks[-1], one_server=True)
        assert (known.process, known.why) == (
            looks,
            "another process answers, and its data may be older",
        )
        assert ancestry(looks, looks[-1]).looks == looks[-1:]

    @pytest.mark.parametrize(
        "more",
        [
            {"run_id": "run-q"},
            {**BLIND, "calls": {"debug": 1}},
            {**BLIND, "calls": {"config|resetstat": 1}},
            {**BLIND, "role": None},
        ],
    )
    def test_what_it_says_wins(self, more):
        """The declaration does not stand against what is said."""
        before = {} if more.get("run_id") else BLIND
        looks = [primary(0, **before), primary(9, **more)]
        assert broken_between(*looks, one_server=True)


# What the server at hand says: history, where it began; and what was noted of the one before.
HISTORY = {
    "restart from RDB, never a replica": (NONE, -1, False),
    "restart, backlog, noted before the save": ("id-1", 151, True),
    "restart, backlog, noted after the save": ("id-1", 51, False),
    "BGSAVE, noted at its fork": ("id-1", 101, True),
    "written during BGSAVE": ("id-1", 100, False),
    "SHUTDOWN SAVE": ("id-1", 101, True),
    "the backlog freed, then SAVE": (NONE, -1, False),
    "restarted again": ("id-between", 301, False),
    "restart from AOF": (NONE, -1, False),
    "promoted, lagging": ("id-1", 91, False),
    "no offset": ("id-1", None, False),
    "no history": (None, 151, False),
}


class TestAnotherProcess:
    """The rule 3: a process whose history goes on from a later point."""

    @pytest.mark.parametrize("event", HISTORY)
    def test_history(self, event):
        """Only a history that was noted, and began beyond what was noted, goes on from it."""
        history, begins, goes_on = HISTORY[event]
        now = primary(9, run_id="q", master_replid="id-2", master_replid2=history,
                      second_repl_offset=begins, rdb_last_load_keys_loaded=5)  # fmt: skip
        assert goes_on_from(NOTED, now) is goes_on
        assert ancestry((NOTED, now), now).has(NOTED) is goes_on

    def test_all_zero(self):
        """No history is not a history, also where both say that they have none."""
        now = primary(9, run_id="q", master_replid2=NONE, second_repl_offset=151)
        assert not goes_on_from(primary(0, master_replid=NONE), now)

    def test_without_an_offset(self):
        """Where the offset was not noted nothing goes on from it."""
        later = _restarted(9)
        assert not goes_on_from(primary(0, master_repl_offset=None), later)

    def test_before_7(self):
        """Before 7.0 no restart goes on from anything, whatever it says."""
        now = _restarted(9, version="6.2.14")
        assert not ancestry((SIX, now), now).has(SIX)

    @pytest.mark.parametrize(
        "more",
        [
            {"total_net_repl_input_bytes": 900},
            {"total_net_repl_input_bytes": None},
            {"calls": {"debug": 1}},
            {"calls": {"config|resetstat": 1}},
            {"calls": {"replicaof": 1}},
            {"calls": False},
        ],
    )
    def test_restart_that_was_more_than_one(self, more):
        """A process that may have followed another, or loaded a file again, is no mere restart."""
        now = _restarted(9, **more)
        assert not ancestry((NOTED, now), now).has(NOTED)

    def test_last_point_of_two(self):
        """After a second restart the last point that was noted counts, and by it the first."""
        second = _restarted(5)
        third = primary(9, run_id="run-s", master_replid="id-3", master_replid2="id-2",
                        second_repl_offset=200, rdb_last_load_keys_loaded=5)  # fmt: skip
        line = ancestry((NOTED, second, third), third)
        assert line.looks == (NOTED, second, third)
        assert line.process == (third,)

    def test_a_break_before(self):
        """What was noted before a break is not reached over it."""
        broken = primary(3, calls={"debug": 1})
        now = primary(9, run_id="q", master_replid="id-2", master_replid2="id-1",
                      second_repl_offset=151, rdb_last_load_keys_loaded=5)  # fmt: skip
        line = ancestry((NOTED, broken, now), now)
        assert (line.has(NOTED), line.has(broken), line.why) == (False, True, "DEBUG was called")


PROMOTED = {"run_id": "run-r", "master_replid": "id-2", "master_replid2": "id-1",
            "total_net_repl_input_bytes": 500}  # fmt: skip


class TestPromotion:
    """A replica becomes the primary."""

    def _looks(self, begins=101, seen=None, **more):
        """A primary, its replica, and that one promoted."""
        now = primary(9, REPLICA, **{**PROMOTED, "second_repl_offset": begins, **more})
        return NOTED, seen or replica(1), now

    @pytest.mark.parametrize("server", ["6.0.16", "6.2.14", "7.0.15", "9.1.2"])
    def test_caught_up(self, server):
        """One that had caught up has all that its primary had, in every version."""
        noted, seen = primary(0, version=server), replica(1, version=server)
        now = primary(9, REPLICA, server, **PROMOTED, second_repl_offset=101)
        assert ancestry((noted, seen, now), now).has(noted)

    def test_lagging(self):
        """One that lagged has older data."""
        looks = self._looks(begins=100)
        assert not ancestry(looks, looks[-1]).has(NOTED)

    def test_lagging_behind_a_later_look(self):
        """What was noted before the lag lives on, what was noted after it does not."""
        early, late = primary(-5, master_repl_offset=80), NOTED
        looks = (early, late, *self._looks(begins=91)[1:])
        line = ancestry(looks, looks[-1])
        assert (line.has(early), line.has(late)) == (True, False)

    def test_backlog_freed_later(self):
        """A promoted one that has forgotten its first history proves nothing: harmless."""
        looks = self._looks(master_replid2=NONE)
        assert not ancestry(looks, looks[-1]).has(NOTED)

    @pytest.mark.parametrize("read_only", [0, None])
    def test_it_was_writable(self, read_only):
        """A replica that could be written to may have data of its own."""
        looks = self._looks(seen=replica(1, slave_read_only=read_only))
        line = ancestry(looks, looks[-1])
        assert not line.has(NOTED)
        assert line.why == "a replica was promoted that may have had other data"

    def test_it_was_never_seen(self):
        """A replica that nobody looked at before it was promoted may have been writable."""
        now = self._looks()[-1]
        assert not ancestry((NOTED, now), now).has(NOTED)

    @pytest.mark.parametrize("calls", [{"debug": 1}, {"config|resetstat": 1}, False])
    def test_it_loaded_a_file(self, calls):
        """A replica that loaded its file again, or may have, has data of its own."""
        looks = self._looks(calls=calls)
        assert not ancestry(looks, looks[-1]).has(NOTED)

    def test_there_and_back(self):
        """Two failovers that were both looked at are followed through both."""
        looks = (
            NOTED,
            replica(1),
            replica(5, PRIMARY, run_id="run-p", master_replid="id-2", slave_repl_offset=150),
            primary(6, REPLICA, **PROMOTED, second_repl_offset=101, master_repl_offset=150),
            primary(9, master_replid="id-3", master_replid2="id-2", second_repl_offset=201,
                    total_net_repl_input_bytes=99),
        )  # fmt: skip
        assert ancestry(looks, looks[-1]).has(NOTED)

    def test_slots_of_another(self):
        """A promoted node that has more slots than the one before did not have their data."""
        noted = primary(0, slots="0-99", epoch=1)
        now = primary(9, REPLICA, **PROMOTED, second_repl_offset=101, slots="0-120", epoch=2)
        assert not ancestry((noted, replica(1), now), now).has(noted)


class TestCounts:
    """What a look says, and does not say."""

    def test_numbers(self):
        """A field that is missing, or no number, is None."""
        look = primary(0, a="-12", b="x", c="")
        assert [number(look, name) for name in "abcd"] == [-12, None, None, None]

    def test_calls(self):
        """A command without a line was not called; a subcommand is not told before 7.0."""
        assert calls(primary(calls={"debug": 2, "save": 1}), "debug", "save", "bgsave") == 3
        assert calls(SIX, "config|set") is None
        assert calls(away(), "debug") is None

    def test_versions(self):
        """Valkey's own version counts, and a server that says none is the least of all."""
        assert version(primary(valkey_version="8.1.8")) == (8, 1, 8)
        assert version(away()) == ()

    def test_slots(self):
        """Slots cover others if all of those are among them."""
        assert covers("0-5, 9", "1-3, 9")
        assert not covers("0-5", "6")
        assert not covers("0-5", "0-6")
        assert not covers("9", "9, 10")
        assert not covers("5-9", "0-4")
        assert not covers("0-5, 7", "6")
        assert covers("0-6", "0-5, 6")
        assert covers("", "")


class TestSameLineage:
    """Whether primaries hold the data of a lineage."""

    @pytest.mark.parametrize(
        ("now", "same"),
        [
            (primary(9), True),
            (primary(9, run_id="q", master_replid2="id-1"), True),
            (primary(9, run_id="q", master_replid="id-9"), False),
            (primary(9, run_id=None), False),
            (primary(9, run_id="q", master_replid2=NONE), False),
        ],
    )
    def test_single(self, now, same):
        """A server is known by its process, or by a history that was noted."""
        assert same_lineage([primary(0, run_id="run-p"), primary(1, run_id=None)], [now]) is same

    @pytest.mark.parametrize(
        ("known", "of", "same"),
        [
            *((3, 3, True), (2, 3, True), (1, 3, False), (0, 3, False)),
            *((1, 2, False), (2, 5, False), (3, 5, True)),
        ],
    )
    def test_cluster(self, known, of, same):
        """A cluster is known while most of its primaries are."""
        noted = [primary(0, node_id=f"node-{number}") for number in range(of)]
        now = [
            primary(9, run_id="new", node_id=f"node-{number + (0 if number < known else 9)}")
            for number in range(of)
        ]
        assert same_lineage(noted, now) is same


def _restarted(minutes, **more):
    """A process that was started from an RDB file that was saved later than what was noted."""
    facts = {"run_id": "run-q", "master_replid": "id-2", "master_replid2": "id-1",
             "second_repl_offset": 151, "master_repl_offset": 150,
             "rdb_last_load_keys_loaded": 5}  # fmt: skip
    return primary(minutes, **{**facts, **more})


def test_addresses():
    """A look is known by its address and its time."""
    now = primary(9)
    line = ancestry((primary(0, "redis-5:6379", run_id="other"), NOTED, now), now)
    assert line.looks == (NOTED, now)
    assert not line.has(primary(0, "redis-5:6379"))
    assert line.looks[0].at == at(0)
