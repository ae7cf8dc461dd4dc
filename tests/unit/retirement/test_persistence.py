"""Persistence: one row for each event that was measured, and whether it makes a file clean."""

from dataclasses import replace

import pytest

from rotator.retirement.persistence import (
    aof_place,
    backup_command_place,
    file_places,
    never_saved,
    rdb_place,
    rewritten_at,
    saved_at,
)
from rotator.retirement.places import Declarations, Kind, Place, Status, Verdict
from rotator.retirement.replicas import Server
from support.looks import NONE, PRIMARY, REPLICA, at, away, primary, replica

NOTHING = Declarations()
QUIET = primary(0)

# B1: what a server shows after an event, and whether that is a save that counts.
SAVES = {
    "nothing": ({}, False),
    "BGSAVE, SAVE, automatic": ({"rdb_last_save_time": 60, "rdb_saves": 1}, True),
    "a clock set back, and a save": ({"rdb_last_save_time": 40, "rdb_saves": 1}, True),
    "a clock set back, and none": ({}, False),
    "in the second of the last one": ({"rdb_last_save_time": 50, "rdb_saves": 1}, False),
    "FLUSHALL with save points": ({"rdb_last_save_time": 60}, True),
    "FLUSHALL without": ({"calls": {"flushall": 1}}, False),
    "child killed": ({"rdb_last_bgsave_status": "err", "rdb_saves": 1}, False),
    "child ended by SIGUSR1": ({"rdb_saves": 1}, False),
    "a good one, then a failed one": (
        {"rdb_last_save_time": 60, "rdb_last_bgsave_status": "err", "rdb_saves": 2},
        False,
    ),
    "FLUSHALL during BGSAVE": ({"rdb_saves": 1}, False),
    "disk full sync": ({"rdb_last_save_time": 60, "rdb_saves": 1}, True),
    "diskless full sync": ({}, False),
    "still under way": ({"rdb_bgsave_in_progress": 1, "rdb_saves": 1}, False),
    "the next one under way": ({"rdb_last_save_time": 60, "rdb_bgsave_in_progress": 1}, True),
    "CONFIG SET dbfilename, BGSAVE, and back": (
        {"rdb_last_save_time": 60, "rdb_saves": 1, "calls": {"config|set": 2}},
        False,
    ),
    "no status": ({"rdb_last_save_time": 60, "rdb_last_bgsave_status": None}, False),
    "no time": ({"rdb_last_save_time": None}, False),
    "no commandstats": ({"rdb_last_save_time": 60, "calls": False}, False),
}


class TestSaves:
    """Which saves count."""

    @pytest.mark.parametrize("event", SAVES)
    def test_seen_from_both_sides(self, event):
        """A save counts if none was under way before, and another one is shown after."""
        more, counts = SAVES[event]
        after = primary(5, **more)
        assert saved_at([QUIET, after]) == (after.at if counts else None)

    @pytest.mark.parametrize("state", [1, None])
    def test_begun_earlier(self, state):
        """A save that was under way at the first look may have begun before it."""
        looks = [primary(0, rdb_bgsave_in_progress=state), primary(5, rdb_last_save_time=60)]
        assert saved_at(looks) is None

    def test_seen_under_way(self):
        """A save that was seen under way counts from a quiet look before it."""
        begun = primary(1, rdb_bgsave_in_progress=1, rdb_saves=1)
        ended = primary(2, rdb_last_save_time=60, rdb_saves=1)
        assert saved_at([QUIET, begun, ended]) == at(2)

    def test_the_second_counts(self):
        """After a save that does not count the next one does."""
        looks = [
            primary(0, rdb_bgsave_in_progress=1),
            primary(5, rdb_last_save_time=60),
            primary(9, rdb_last_save_time=70),
        ]
        assert saved_at(looks) == at(9)

    def test_before_7(self):
        """Before 7.0 all CONFIG calls but our own may have moved the file."""
        before = primary(0, version="6.2.14", own_config=3)
        ours = {"version": "6.2.14", "rdb_last_save_time": 60, "calls": {"config": 3}}
        assert saved_at([before, primary(5, **ours)]) == at(5)
        assert saved_at([before, primary(5, **{**ours, "calls": {"config": 5}})]) is None

    def test_own_save_of_a_replica(self):
        """A full sync moves nothing on a replica, its own save does."""
        looks = [replica(0), replica(5), replica(9, rdb_last_save_time=99)]
        assert saved_at(looks[:2]) is None
        assert saved_at(looks) == at(9)


# B3: what a process shows, and whether it provably never had an RDB file.
NEVER = {
    "fresh": ({}, True),
    "after a diskless full sync or redis-cli --rdb": ({"calls": {"psync": 1}}, True),
    "after a disk full sync, raw SYNC": ({"rdb_saves": 1}, False),
    "restarted with values": ({"rdb_last_load_keys_loaded": 7}, False),
    "restarted with only expired ones": ({"rdb_last_load_keys_expired": 7}, False),
    "promoted": ({"master_replid2": "id-0"}, False),
    "promoted, the backlog freed": ({"total_net_repl_input_bytes": 900}, False),
    "appendonly yes": ({"aof_enabled": 1}, False),
    "CONFIG SET": ({"calls": {"config|set": 1}}, False),
    "automatic save": ({"rdb_saves": 1}, False),
    "RESETSTAT after it": ({"calls": {"config|resetstat": 1}}, False),
    "DEBUG RELOAD": ({"calls": {"debug": 1}}, False),
    "BGSAVE": ({"calls": {"bgsave": 1}}, False),
    "SAVE": ({"calls": {"save": 1}}, False),
    "REPLICAOF": ({"calls": {"replicaof": 1}}, False),
    "SLAVEOF": ({"calls": {"slaveof": 1}}, False),
    "CLUSTER REPLICATE": ({"calls": {"cluster|replicate": 1}}, False),
    "SAVE refused in a script": ({"calls": {"save": 0}}, True),
    "a replica": ({"role": "slave"}, False),
    "no role": ({"role": None}, False),
    "no commandstats": ({"calls": False}, False),
    "before 7.0": ({"version": "6.2.14"}, False),
    "no version": ({"redis_version": None}, False),
    "no rdb_saves": ({"rdb_saves": None}, False),
    "no keys loaded": ({"rdb_last_load_keys_loaded": None}, False),
    "no keys expired": ({"rdb_last_load_keys_expired": None}, False),
    "no bytes from a primary": ({"total_net_repl_input_bytes": None}, False),
    "no AOF told": ({"aof_enabled": None}, False),
    "no second history": ({"master_replid2": None}, False),
}


class TestNeverSaved:
    """What never had an RDB file."""

    @pytest.mark.parametrize("situation", NEVER)
    def test_last_look(self, situation):
        """Only a process that shows no trace of a file at all never had one."""
        more, never = NEVER[situation]
        assert never_saved([primary(5, **more)]) is never

    @pytest.mark.parametrize(
        "earlier",
        [
            primary(0, run_id="old", rdb_saves=1),
            primary(0, run_id="old", rdb_last_load_keys_loaded=3),
            primary(0, run_id="old", rdb_last_load_keys_expired=3),
            primary(0, run_id="old", aof_enabled=1),
            primary(0, run_id="old", version="6.2.14"),
            replica(0, PRIMARY, run_id="old"),
            primary(0, rdb_saves=1),
            primary(0, role=None),
        ],
    )
    def test_an_earlier_look(self, earlier):
        """An earlier look at the address that showed a file, or could not tell, says otherwise."""
        assert not never_saved([earlier, primary(5)])

    def test_an_earlier_process_without_one(self):
        """A process that never had one does not speak against the next."""
        assert never_saved([primary(0, run_id="old"), away(1), primary(5)])


def _rdb(*looks, good=None, declared=NOTHING, **more):
    """The place that the RDB file is; all looks are good unless it is said."""
    server = Server(looks, looks if good is None else tuple(good), **more)
    return rdb_place(server, declared, looks[0].at)


class TestRdb:
    """The place that an RDB file is."""

    SAVED = primary(5, rdb_last_save_time=60, rdb_saves=1)

    def test_saved(self):
        """It is clean when a save was seen that counts."""
        place = _rdb(QUIET, self.SAVED)
        assert (place.status, place.since) == (Status.CLEAN, at(5))

    def test_saved_too_early(self):
        """A save before the key was gone, or seen by a look that is not good, is none."""
        assert _rdb(QUIET, self.SAVED, good=[self.SAVED]).status is Status.HOLDING
        assert _rdb(QUIET, self.SAVED, good=[]).status is Status.HOLDING

    def test_not_clean_now(self):
        """A save counts only while the last look is good."""
        last = primary(9, rdb_last_save_time=60, rdb_saves=1)
        assert _rdb(QUIET, self.SAVED, last, good=[QUIET, self.SAVED]).status is Status.HOLDING

    def test_never(self):
        """It is clean where there never was one."""
        assert _rdb(QUIET).status is Status.CLEAN

    def test_held(self):
        """Where a save is likely to be there, BGSAVE ends it."""
        place = _rdb(primary(0, rdb_saves=1))
        assert (place.verdict, place.remedy) == (
            Verdict.HELD,
            f"BGSAVE on {PRIMARY}, then run again",
        )

    @pytest.mark.parametrize(
        "more",
        [
            {"rdb_saves": 1},
            {"settings": {"save": "900 1"}},
            {"aof_enabled": 1},
            {"role": "slave"},
            {"total_net_repl_input_bytes": 1},
            {"rdb_last_load_keys_loaded": 1},
            {"rdb_last_load_keys_expired": 1},
            {"calls": {"bgsave": 1}},
            {"calls": {"save": 1}},
        ],
    )
    def test_likely(self, more):
        """Where one is likely the place is held, not unknown."""
        more.setdefault("calls", {"debug": 1})
        assert _rdb(primary(0, **more), good=[]).verdict is Verdict.HELD

    def test_times_of_processes(self):
        """That each process began at another time, or did not say when, is no save."""
        old = {"version": "6.2.14"}
        looks = [
            primary(0, run_id="old", rdb_last_save_time=40, **old),
            away(1, PRIMARY),
            primary(2, rdb_last_save_time=None, **old),
            primary(5, rdb_last_save_time=60, **old),
        ]
        assert _rdb(*looks, good=[]).status is Status.UNKNOWN
        none = Declarations(rdb="no disk attached")
        assert _rdb(*looks, good=[], declared=none).status is Status.ASSUMED

    def test_where_it_always_was(self):
        """A file that was at one place at all looks is proven by a save."""
        here = {"settings": {"dir": "/data", "dbfilename": "dump.rdb"}}
        looks = [primary(0, **here), primary(5, **here, rdb_last_save_time=60)]
        assert _rdb(*looks).status is Status.CLEAN

    @pytest.mark.parametrize(("changes", "passes"), [(5, True), (0, False)])
    def test_ends_by_itself(self, changes, passes):
        """Only a server with save points and something to save will save by itself."""
        more = {"rdb_saves": 1, "rdb_changes_since_last_save": changes}
        assert _rdb(primary(0, settings={"save": "900 1"}, **more)).passes is passes
        assert _rdb(primary(0, **more)).passes is False

    def test_unknown(self):
        """Where BGSAVE would only plant one, a declaration is asked for."""
        place = _rdb(primary(0, version="6.2.14"))
        assert (place.status, place.verdict) == (Status.UNKNOWN, Verdict.UNKNOWN)
        assert place.remedy.startswith("declare assume.rdb")

    @pytest.mark.parametrize("name", ["rdb_last_save_time", "rdb_bgsave_in_progress"])
    def test_says_nothing(self, name):
        """A server that says nothing of persistence is unknown."""
        place = _rdb(primary(0, **{name: None}))
        assert place.evidence == f"{PRIMARY} says nothing about persistence"

    @pytest.mark.parametrize("name", ["dir", "dbfilename"])
    def test_elsewhere(self, name):
        """A file of another name at an earlier look is not proven by a save of this one."""
        here = {"dir": "/data", "dbfilename": "dump.rdb"}
        looks = [
            primary(0, settings={**here, name: "other"}),
            primary(3, settings=here),
            primary(5, settings=here, rdb_last_save_time=60),
        ]
        assert _rdb(*looks).status is Status.UNKNOWN
        gone = Declarations(rdb="removed by hand")
        place = _rdb(*looks, declared=gone)
        assert (place.status, place.verdict) == (Status.ASSUMED, Verdict.RETIRABLE)
        assert place.evidence.endswith("there is none where it was saved earlier: removed by hand")
        unsaved = replace(looks[1], facts={**looks[1].facts, "rdb_saves": "1"})
        place = _rdb(looks[0], unsaved, declared=gone)
        assert place.verdict is Verdict.HELD, "the file that is there now is judged as ever"

    @pytest.mark.parametrize("name", ["dir", "dbfilename"])
    def test_saved_elsewhere(self, name):
        """A save of the file that was removed says nothing of the one that is there now."""
        here = {"dir": "/data", "dbfilename": "dump.rdb"}
        there = {**here, name: "other"}
        looks = [
            primary(0, settings=there),
            primary(5, settings=there, rdb_last_save_time=60),
            primary(9, settings=here, rdb_last_save_time=60, calls={"config|set": 1}),
        ]
        place = _rdb(*looks, declared=Declarations(rdb="removed by hand"))
        assert place.verdict is Verdict.HELD

    def test_declared(self):
        """That there is none is assumed, until a save is seen."""
        none = Declarations(rdb="no disk attached")
        place = _rdb(primary(0, version="6.2.14"), declared=none)
        assert place.status is Status.ASSUMED
        assert place.evidence.endswith("no disk attached")
        saved = _rdb(primary(0, rdb_saves=1), declared=none)
        assert saved.verdict is Verdict.HELD
        assert "assume.rdb says that there is none, but a save was seen" in saved.evidence
        begun = _rdb(primary(0, version="6.2.14", rdb_bgsave_in_progress=1), declared=none)
        assert begun.status is not Status.ASSUMED
        moved = [
            primary(minutes, version="6.2.14", rdb_last_save_time=minutes) for minutes in (0, 5)
        ]
        assert _rdb(*moved, good=[], declared=none).status is Status.HOLDING


RESTARTED = {"run_id": "run-q", "master_replid2": "id-1", "rdb_last_load_keys_loaded": 5}


class TestRestartedFromAFile:
    """The file that a process was started from."""

    def _place(self, *, began_clean=True, **more):
        last = primary(9, **{**RESTARTED, **more})
        return _rdb(QUIET, last, good=[last], began_clean=began_clean)

    def test_saved_after(self):
        """A file that was saved after the key was gone, and was loaded, is clean."""
        evidence = f"{PRIMARY} was started from an RDB file that was saved after the key was gone"
        assert self._place() == Place(Kind.RDB, PRIMARY, Status.CLEAN, evidence, since=at(9))
        assert self._place(rdb_last_load_keys_loaded=1).status is Status.CLEAN

    def test_saves_later(self):
        """A file that was clean from the start is no later clean because it is saved again."""
        first = primary(9, **RESTARTED)
        saved = primary(20, **RESTARTED, rdb_last_save_time=60, rdb_saves=1)
        for looks in ([first], [first, saved]):
            place = _rdb(QUIET, *looks, good=looks, began_clean=True)
            assert (place.status, place.since) == (Status.CLEAN, at(9))

    def test_loaded_before(self):
        """A file that was loaded before the key was gone is not."""
        assert self._place(began_clean=False).status is Status.HOLDING

    @pytest.mark.parametrize(
        "more",
        [
            {"rdb_last_load_keys_loaded": 0},
            {"total_net_repl_input_bytes": 900},
            {"aof_enabled": 1},
            {"role": "slave"},
            {"calls": {"debug": 1}},
            {"calls": {"replicaof": 1}},
        ],
    )
    def test_not_the_file(self, more):
        """What may have come from elsewhere says nothing of the file."""
        assert self._place(**more).status is not Status.CLEAN


AOF = {"aof_enabled": 1, "aof_base_size": 500, "aof_current_size": 900, "aof_rewrites": 1}
KEPT = primary(0, **AOF)

# B2: what a server shows after a rewrite, and whether it counts.
REWRITES = {
    "nothing": ({}, False),
    "a rewrite": ({"aof_base_size": 300, "aof_current_size": 300, "aof_rewrites": 2}, True),
    "and writes since": ({"aof_base_size": 300, "aof_current_size": 950, "aof_rewrites": 2}, True),
    "of one size": ({"aof_current_size": 500, "aof_rewrites": 2}, True),
    "unchanged data": ({"aof_rewrites": 2}, False),
    "SIGUSR1 to the child": ({"aof_rewrites": 2, "aof_current_size": 950}, False),
    "child killed": ({"aof_rewrites": 2, "aof_last_bgrewrite_status": "err"}, False),
    "another base, and none counted": ({"aof_base_size": 300}, False),
    "a good one, then a failed one": (
        {"aof_base_size": 300, "aof_rewrites": 3, "aof_last_bgrewrite_status": "err"},
        False,
    ),
    "writes only": ({"aof_current_size": 999}, False),
    "RESETSTAT": ({"aof_rewrites": 0}, False),
    "under way": ({"aof_base_size": 300, "aof_rewrites": 2, "aof_rewrite_in_progress": 1}, False),
    "scheduled": ({"aof_base_size": 300, "aof_rewrites": 2, "aof_rewrite_scheduled": 1}, False),
    "scheduled is not told": (
        {"aof_base_size": 300, "aof_rewrites": 2, "aof_rewrite_scheduled": None},
        False,
    ),
    "no base": ({"aof_base_size": None, "aof_current_size": 3, "aof_rewrites": 2}, False),
    "no size": ({"aof_base_size": 3, "aof_current_size": None, "aof_rewrites": 2}, False),
    "no status": (
        {"aof_base_size": 300, "aof_rewrites": 2, "aof_last_bgrewrite_status": None},
        False,
    ),
    "no count": ({"aof_base_size": 300, "aof_rewrites": None}, False),
    "CONFIG SET dir, a rewrite, and back": (
        {"aof_base_size": 300, "aof_rewrites": 2, "calls": {"config|set": 2}},
        False,
    ),
}


class TestRewrites:
    """Which rewrites count."""

    @pytest.mark.parametrize("event", REWRITES)
    def test_seen_from_both_sides(self, event):
        """A rewrite counts if the file is another one, whatever the counter says."""
        more, counts = REWRITES[event]
        after = primary(5, **{**AOF, **more})
        assert rewritten_at([KEPT, after]) == (after.at if counts else None)

    @pytest.mark.parametrize("name", ["aof_rewrite_in_progress", "aof_rewrite_scheduled"])
    def test_begun_earlier(self, name):
        """One that was under way or scheduled at the first look may have begun before it."""
        after = primary(5, **{**AOF, "aof_base_size": 300, "aof_rewrites": 2})
        assert rewritten_at([primary(0, **{**AOF, name: 1}), after]) is None

    def test_before_7(self):
        """Before 7.0 the sizes alone tell; nothing counts rewrites."""
        sizes = {"version": "6.2.14", "aof_enabled": 1, "aof_base_size": 5, "aof_current_size": 9}
        looks = [primary(0, **sizes), primary(5, **{**sizes, "aof_base_size": 4})]
        assert rewritten_at(looks) == at(5)

    def test_writes_before_7(self):
        """A file that only grows, from look to look, was not rewritten."""
        sizes = {"version": "6.2.14", "aof_enabled": 1, "aof_base_size": 5}
        looks = [primary(at_, **sizes, aof_current_size=9 + at_) for at_ in range(4)]
        assert rewritten_at(looks) is None

    def test_the_second_counts(self):
        """After a rewrite that may have begun earlier the next one counts, and no later look."""
        under_way = primary(0, **AOF, aof_rewrite_in_progress=1)
        second, third = (
            primary(5 + number, **{**AOF, "aof_base_size": 300 + number, "aof_rewrites": number})
            for number in (2, 3)
        )
        assert rewritten_at([under_way, second, third, primary(9, **AOF)]) == at(8)
        assert rewritten_at([second, third, primary(9, **AOF)]) == at(8)

    @pytest.mark.parametrize(
        ("make", "server", "counts"),
        [
            (replica, "9.1.2", True),
            (primary, "9.1.2", False),
            (replica, "8.1.8", False),
        ],
    )
    def test_full_sync(self, make, server, counts):
        """A replica of Valkey 9.1 does not count the rewrite of a full sync; all others do."""
        known = {"valkey_version": server, **AOF, "aof_rewrites": 0}
        looks = [make(0, **known), make(5, **{**known, "aof_base_size": 300})]
        assert rewritten_at(looks) == (at(5) if counts else None)


def _aof(*looks, good=None, declared=NOTHING):
    """The place that the append-only file is; all looks are good unless it is said."""
    return aof_place(Server(looks, looks if good is None else tuple(good)), declared, looks[0].at)


class TestAof:
    """The place that an append-only file is."""

    DONE = primary(5, **{**AOF, "aof_base_size": 300, "aof_rewrites": 2})

    def test_rewritten(self):
        """It is clean when a rewrite was seen that counts."""
        place = _aof(KEPT, self.DONE)
        assert (place.status, place.since) == (Status.CLEAN, at(5))

    @pytest.mark.parametrize("good", [[], [DONE], [KEPT]])
    def test_held(self, good):
        """A rewrite counts only between good looks, and while the last one is good."""
        place = _aof(KEPT, self.DONE, good=good)
        assert (place.verdict, place.remedy) == (
            Verdict.HELD,
            f"BGREWRITEAOF on {PRIMARY}, then run again",
        )

    def test_not_clean_now(self):
        """What was seen while looks were good is nothing once they are not."""
        last = primary(9, **{**AOF, "aof_base_size": 300, "aof_rewrites": 2})
        assert _aof(KEPT, self.DONE, last, good=[KEPT, self.DONE]).status is Status.HOLDING

    def test_none(self):
        """A server that keeps none, and was never told to, has none."""
        assert _aof(primary(0), primary(5)).status is Status.CLEAN

    @pytest.mark.parametrize(
        "looks",
        [
            (KEPT, primary(5)),
            (primary(0, run_id="old", **AOF), primary(5)),
            (primary(5, calls={"bgrewriteaof": 1}),),
            (primary(5, calls={"config|set": 1}),),
            (primary(0, run_id="old", calls={"config|set": 1}), primary(5)),
            (primary(5, calls={"config|resetstat": 1}),),
            (primary(5, calls=False),),
            (primary(5, aof_enabled=None),),
            (primary(5, version="6.2.14", calls={"bgrewriteaof": 1}),),
            (primary(5, version="6.2.14", aof_last_rewrite_time_sec=0),),
        ],
    )
    def test_may_be_there(self, looks):
        """Where one was kept, or may have been asked for, that it is off now says nothing."""
        place = _aof(*looks)
        assert (place.status, place.verdict) == (Status.UNKNOWN, Verdict.UNKNOWN)
        assert "assume.aof" in place.remedy
        assert _aof(*looks, declared=Declarations(aof="never")).status is Status.ASSUMED

    def test_before_7(self):
        """Before 7.0 CONFIG SET is not told from our own CONFIG GET, and is an assumption."""
        look = primary(5, version="6.2.14", calls={"config": 3}, aof_last_rewrite_time_sec=-1)
        assert _aof(look).status is Status.CLEAN

    def test_against_a_declaration(self):
        """One that is kept wins over the declaration that there is none."""
        place = _aof(KEPT, declared=Declarations(aof="never"))
        assert place.status is Status.HOLDING
        assert "assume.aof says that there is none, but one is kept" in place.evidence


class TestBackupCommand:
    """Backups that a node keeps by the command BACKUP."""

    def test_none(self):
        """Where there is none it is clean, and the other files are judged as ever."""
        places = list(file_places(Server((primary(0, backups=0),)), NOTHING, at(0)))
        evidence = f"{PRIMARY} holds no sealed backup"
        assert places[2] == Place(Kind.BACKUP_COMMAND, PRIMARY, Status.CLEAN, evidence, since=at(0))
        assert [(one.kind, one.since) for one in places[:2]] == [
            (Kind.RDB, at(0)),
            (Kind.AOF, at(0)),
        ]

    @pytest.mark.parametrize("backups", [1, -1])
    def test_some(self, backups):
        """One, or a number that is not told, is unknown, with what ends it."""
        assert backup_command_place(Server((primary(0, backups=backups),)), at(0)) == Place(
            *(Kind.BACKUP_COMMAND, PRIMARY, Status.UNKNOWN),
            f"{PRIMARY} holds sealed backups, or does not say; it is not known when they began",
            *(Verdict.UNKNOWN, None),
            f"BACKUP CLEANUP on {PRIMARY}, then run again",
        )

    def test_no_such_command(self):
        """Where there is no such command there is no such place."""
        assert backup_command_place(Server((primary(0),)), at(0)) is None
        kinds = [one.kind for one in file_places(Server((primary(0),)), NOTHING, at(0))]
        assert kinds == [Kind.RDB, Kind.AOF]


def test_names():
    """Places are named by the server that was looked at last."""
    assert _rdb(replica(0), replica(5)).where == REPLICA
    assert len(NONE) == 40
