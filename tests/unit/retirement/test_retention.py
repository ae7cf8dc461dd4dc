"""Retention: which looks and proofs are kept, and that no verdict changes without the others."""

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.retirement.history import KeyHistory
from rotator.retirement.judge import judge
from rotator.retirement.looks import Listed, Outside
from rotator.retirement.persistence import MAY_KEEP_AOF, NOTHING_THERE
from rotator.retirement.places import Fence
from rotator.retirement.retention import moments, thinned
from rotator.tally.tally import Outcome
from support.looks import KEY, PRIMARY, REPLICA, at, away, evidence, primary, proof, replica

DAY = 24 * 60
ALWAYS = (at(0),)
"""Everything counts."""


def night(number, **more):
    """The proof of a night: a server that has saved since the one before."""
    looks = [primary(number * DAY + n, rdb_last_save_time=number, **more) for n in (0, 1)]
    return proof(*looks)


def looks_of(*proofs):
    """The looks that proofs are between."""
    return [look for one in proofs for look in (one.before, one.after)]


class TestMoments:
    """From when on records count."""

    def test_after_it_was_met(self):
        """For a key nothing counts that began before it was met, by a proof or by a sweep."""
        proofs = [night(0), replace(night(1), met={KEY: 1}), night(2)]
        tick = timedelta.resolution
        assert moments(proofs, {KEY: None}, None) == [proofs[1].ended_at + tick]
        assert moments(proofs, {KEY: at(9 * DAY)}, None) == [at(9 * DAY) + tick]

    def test_outside(self):
        """A value outside of what is visited is one, too."""
        proofs = [replace(night(0), outside=Outside(under_old_keys={KEY: 1})), night(1)]
        assert moments(proofs, {KEY: None}, None) == [proofs[0].ended_at + timedelta.resolution]

    def test_lost(self):
        """What a run that was killed met is not known: nothing counts that began before it was."""
        tick = timedelta.resolution
        for seen, last in ((None, 9), (at(8 * DAY), 9), (at(10 * DAY), 10)):
            assert moments([night(0)], {KEY: seen}, None, at(9 * DAY)) == [at(last * DAY) + tick]

    def test_never_met(self):
        """For a key that nothing met all proofs count in which it was known."""
        proofs = [replace(night(0), met={}), night(1), night(2)]
        since = [proofs[1].begun_at]
        assert moments(proofs, {KEY: None}, None) == since
        assert moments(proofs, {"another": at(5), KEY: None}, None) == [
            at(5) + timedelta.resolution,
            *since,
        ]

    def test_fence(self):
        """A fence is watched from its moment on, until it is void."""
        fence = Fence(at(5), "current", (KEY,), at(6))
        assert moments([], {}, fence) == [at(5)]
        assert moments([], {}, replace(fence, voided_at=at(7))) == []


class TestAlike:
    """Records that say what others say."""

    def _kept(self, *looks):
        return [one.at for one in thinned([], looks, ())[1]]

    def test_the_last_ones(self):
        """Of looks that say the same the first and the last twenty are kept."""
        looks = [primary(minutes) for minutes in range(30)]
        proofs = [proof(looks[0], looks[1])]
        kept = thinned(proofs, looks, ALWAYS)[1]
        assert [one.at for one in kept] == [at(0), at(1), *map(at, range(10, 30))]

    def test_one_a_day(self):
        """Older ones are kept once a day."""
        minutes = (*range(20), DAY + 1, DAY + 2, 2 * DAY + 1, *range(9 * DAY, 9 * DAY + 20))
        looks = [primary(one) for one in minutes]
        kept = thinned([proof(looks[0], looks[1])], looks, ALWAYS)[1]
        assert [one.at for one in kept][2:4] == [at(DAY + 1), at(2 * DAY + 1)]
        assert len(kept) == 2 + 2 + 20

    @pytest.mark.parametrize(
        ("more", "new"),
        [
            ({"run_id": "another"}, True),
            ({"calls": {"debug": 1}}, True),
            ({"calls": {"scan": 9}}, False),
            ({"settings": {"save": "1 1"}}, True),
            ({"node_id": "n"}, True),
            ({"slots": "0-5"}, True),
            ({"epoch": 3}, True),
            ({"listed": (Listed(REPLICA),)}, True),
            ({"canary_found": 3}, True),
            *(
                ({name: "12345"}, False)
                for name in (
                    *("uptime_in_seconds", "total_commands_processed", "master_repl_offset"),
                    *("slave_repl_offset", "expired_keys", "evicted_keys"),
                    *("rdb_changes_since_last_save", "aof_current_size"),
                )
            ),
        ],
    )
    def test_what_is_new(self, more, new):
        """A look that says something else is kept, with those beside it; but counters pass."""
        looks = [primary(0), *(primary(1 + n) for n in range(9)), primary(20, **more)]
        looks += [primary(30 + n) for n in range(40)]
        kept = thinned([proof(looks[0], looks[1])], looks, ALWAYS)[1]
        assert (at(20) in {one.at for one in kept}) is new
        assert ({at(9), at(30)} <= {one.at for one in kept}) is new

    def test_missing(self):
        """That a server did not answer is kept, and so is that it answered again."""
        looks = [primary(0), primary(1), away(2, PRIMARY), *(primary(3 + n) for n in range(40))]
        kept = thinned([proof(looks[0], looks[1])], looks, ALWAYS)[1]
        assert [one.at for one in kept][:4] == [at(0), at(1), at(2), at(3)]

    def test_each_server_by_itself(self):
        """The looks at another server take nobody's place."""
        looks = [primary(minutes, name) for minutes in range(20) for name in ("a:1", "b:1")]
        assert thinned([], looks, ())[1] == looks

    @pytest.mark.parametrize(
        ("more", "new"),
        [
            ({}, False),
            ({"basis": "another"}, True),
            ({"met": {KEY: 1}}, True),
            ({"open_items": {Outcome.DENIED: 1}}, True),
            ({"outside": Outside(visits=None)}, True),
            ({"hidden": 1}, True),
            ({"doubt": "a clock was set"}, True),
            ({"opened": 9}, False),
        ],
    )
    def test_proofs(self, more, new):
        """A proof that says something else is kept, and so are the looks that it is between."""
        proofs = [proof(primary(2 * n), primary(2 * n + 1)) for n in range(60)]
        proofs[9] = replace(proofs[9], **more)
        kept, seen = thinned(proofs, looks_of(*proofs), ALWAYS)
        assert [one for one in kept if one not in proofs[-20:]] == (
            [proofs[0], *proofs[8:11]] if new else [proofs[0]]
        )
        assert set(map(id, looks_of(*kept))) <= set(map(id, seen))

    def test_first_after_a_break(self):
        """The first proof of data that may have been exchanged is kept, though it says the same."""
        looks = [primary(n, calls={"debug": int(n > 20)}) for n in range(120)]
        proofs = [proof(*looks[n : n + 2]) for n in range(0, 120, 2)]
        assert proofs[11] in thinned(proofs, [away(0), *looks], ALWAYS)[0]

    def test_first_after_each_moment(self):
        """The first proof that counts for a key is kept, though the one before it says the same."""
        proofs = [proof(primary(2 * n), primary(2 * n + 1)) for n in range(60)]
        followers = [replica(2 * n) for n in range(60)]
        kept, looks = thinned(proofs, [*looks_of(*proofs), *followers], (*ALWAYS, at(31)))
        assert proofs[16] in kept
        assert followers[17] in looks, "the first look at the replica since then"


class TestOld:
    """What counts for no key any more."""

    NIGHTS = 60

    def _case(self, *old):
        """A key that was met until the last night but one; before that, these looks."""
        nights = [night(10 + n) for n in range(self.NIGHTS)]
        begin = nights[-1].begun_at - timedelta(minutes=1)
        return evidence(
            proofs=nights,
            looks=[*old, *looks_of(*nights)],
            history=KeyHistory(last_seen_at=begin),
        )

    def _thin(self, case):
        seen = {KEY: case.history.last_seen_at}
        proofs, looks = thinned(case.proofs, case.looks, moments(case.proofs, seen, case.fence))
        return replace(case, proofs=tuple(proofs), looks=tuple(looks))

    @staticmethod
    def _places(case):
        said = judge([case], now=at(99 * DAY), quiet=timedelta(0))[case.cache]
        return [(one.kind, one.where, one.status, one.evidence) for one in said.places]

    def test_only_the_last(self):
        """Of records that count for nothing the last twenty are kept."""
        case = self._thin(self._case())
        assert len(case.proofs) == 20
        assert len(case.looks) <= 2 * 20 + 4

    def test_what_counts(self):
        """What counts is kept, one a day, however long it is ago."""
        case = self._case()
        case = self._thin(replace(case, history=KeyHistory(last_seen_at=at(20 * DAY + 5))))
        assert len(case.proofs) == self.NIGHTS - 11

    def test_a_clock_that_was_ahead(self):
        """A time that lies ahead makes nothing old that came later."""
        ahead, nights = night(500), [night(n) for n in range(40)]
        proofs = [ahead, *nights]
        assert thinned(proofs, looks_of(*proofs), (at(39 * DAY),))[0] == proofs

    def test_opened(self):
        """That a key ever opened a value is not forgotten."""
        proofs = [night(0), night(1), *(replace(night(2 + n), opened=0) for n in range(40))]
        kept, _ = thinned(proofs, looks_of(*proofs), (at(41 * DAY),))
        assert kept == [proofs[1], *proofs[-20:]]

    @pytest.mark.parametrize(
        "meeting",
        [
            pytest.param({"outside": Outside(visits=1, under_old_keys={KEY: 1})}, id="outside"),
            pytest.param({"met": {KEY: 1}}, id="too large"),
        ],
    )
    def test_met(self, meeting):
        """An older proof that is kept does not count for a key that was met after it."""
        proofs = [night(n) for n in range(60)]
        proofs[1:] = [replace(one, opened=0) for one in proofs[1:]]  # the first one is kept
        proofs[1] = replace(proofs[1], **meeting)  # of this no history tells
        whole = evidence(proofs=proofs, looks=looks_of(*proofs))
        few = self._thin(self._thin(whole))
        assert proofs[1] in few.proofs
        assert self._places(few) == self._places(whole)

    def test_met_where_another_was_proven(self):
        """Nor do the last proofs of a server that was the primary before."""
        known = {"run_id": "run-r", "master_replid": "id-2", "master_replid2": "id-1"}
        before = [night(n) for n in range(20)]
        after = [
            proof(*(primary(n * DAY + m, REPLICA, second_repl_offset=101, **known) for m in (0, 1)))
            for n in range(20, 60)
        ]
        after[1] = replace(after[1], outside=Outside(visits=1, under_old_keys={KEY: 1}))
        looks = [replica(0), *looks_of(*before), replica(20 * DAY - 1), *looks_of(*after)]
        whole = evidence(proofs=[*before, *after], looks=looks, primaries=(REPLICA,))
        few = self._thin(self._thin(whole))
        assert after[1] in few.proofs
        assert self._places(few) == self._places(whole)

    def test_no_meeting_is_kept_for_nothing(self):
        """Where no older proof is kept, that a key was met is of no use to anybody."""
        proofs = [night(n) for n in range(60)]
        proofs[1] = replace(proofs[1], outside=Outside(visits=1, under_old_keys={KEY: 1}))
        few = self._thin(evidence(proofs=proofs, looks=looks_of(*proofs)))
        assert list(few.proofs) == proofs[2:]

    @pytest.mark.parametrize(
        "old",
        [
            pytest.param([primary(n, settings={"dir": f"/{n}", "dbfilename": "f"}) for n in (0, 1)],
                         id="file elsewhere"),
            pytest.param([primary(0, rdb_saves=1, run_id="run-0")], id="saved"),
            pytest.param([primary(0, rdb_last_load_keys_loaded=9, run_id="run-0")], id="loaded"),
            pytest.param([primary(0, rdb_last_load_keys_expired=9, run_id="run-0")], id="expired"),
            pytest.param([primary(0, total_net_repl_input_bytes=9, run_id="run-0")], id="read"),
            pytest.param([primary(0, aof_enabled=1)], id="append-only file"),
            pytest.param([primary(0, aof_last_rewrite_time_sec=3)], id="rewritten"),
            *(pytest.param([primary(0, calls={name: 1})], id=name)
              for name in ("bgrewriteaof", "config|set", "config|resetstat")),
            pytest.param([replica(0, PRIMARY, run_id="run-0")], id="was a replica"),
            pytest.param([replica(0)], id="another server"),
            pytest.param([replica(0), away(1)], id="another server, gone"),
            pytest.param([replica(0, "old:1", run_id="run-p"), away(1, "old:1")], id="moved"),
            pytest.param([primary(0, "old:1", run_id="run-2", node_id="n"),
                          primary(1, "new:1", run_id="run-3", node_id="n"),
                          primary(2, "new:1", run_id="run-4", node_id="m")], id="by node"),
        ],
    )  # fmt: skip
    def test_traces(self, old):
        """What only an old look tells of files, roles and names is not forgotten."""
        whole = self._case(*old, *(replace(one, at=one.at + timedelta(hours=1)) for one in old))
        few = self._thin(whole)
        assert len(few.looks) < len(whole.looks) / 2
        assert self._places(few) == self._places(whole)
        assert self._places(whole) != self._places(self._case())

    @pytest.mark.parametrize(
        "more",
        [
            {"node_id": "n"},
            {"master_replid": "id-0"},
            {"master_replid2": "id-0"},
            {"slave_read_only": 0},
            {"settings": {"dir": "/old"}},
            {"settings": {"dbfilename": "old.rdb"}},
            *({name: 9} for name in NOTHING_THERE),
            *({name: None} for name in NOTHING_THERE),
            *({"calls": {name: 1}} for name in MAY_KEEP_AOF),
            {"aof_last_rewrite_time_sec": 3},
            {"missing": "it could not be reached"},
        ],
        ids=str,
    )
    def test_the_last_trace(self, more):
        """Of looks that tell of files or names what no later one does, the last one is kept."""
        assert self._kept_of(more) == [0, 2]

    @pytest.mark.parametrize("more", [{"run_id": "run-0"}, {"role": "slave"}], ids=str)
    def test_the_first_of_a_process(self, more):
        """So is the first look of a process in each of its roles."""
        assert self._kept_of(more) == [0, 1, 2]

    @pytest.mark.parametrize("more", [{"second_repl_offset": 9}, {"slots": "0-5"}, {"epoch": 3}])
    def test_no_trace(self, more):
        """What only says how a server was, and is no longer, is forgotten."""
        assert self._kept_of(more) == [0]

    @staticmethod
    def _kept_of(more):
        """The minutes of old looks that are kept, where those of two minutes say more."""
        looks = [primary(0), primary(1, **more), primary(2, **more)]
        looks += [primary(3 + n) for n in range(40)]
        minutes = [(one.at - at(0)) // timedelta(minutes=1) for one in thinned([], looks, ())[1]]
        assert minutes[-20:] == list(range(23, 43))
        return minutes[:-20]

    def test_followed_only(self):
        """What a replica was told before anything counted shows still when it is promoted."""
        case = self._case(replica(0), replica(1, calls={"debug": 1}))
        calls = {"debug": 1, "replicaof": 1}
        known = {"run_id": "run-r", "master_replid": "id-2", "master_replid2": "id-1"}
        now = primary(99 * DAY - 1, REPLICA, second_repl_offset=101, calls=calls, **known)
        whole = replace(case, looks=(*case.looks, now), primaries=(REPLICA,))
        few = self._thin(case)
        assert self._places(replace(few, looks=(*few.looks, now), primaries=(REPLICA,))) == (
            self._places(whole)
        )

    def test_written_to_behind_one_address(self):
        """That a replica could be written to shows still, though another one was later, there."""
        old = [
            replica(3 * server + n, "any:1", run_id=f"run-{server}", slave_read_only=int(n != 1))
            for server in (1, 2)
            for n in range(3)
        ]
        old += [replica(DAY + n, "any:1", run_id="run-1") for n in range(20)]
        case = self._case(*old)
        known = {"run_id": "run-1", "master_replid": "id-2", "master_replid2": "id-1"}
        now = primary(99 * DAY - 1, "any:1", second_repl_offset=101, **known)
        few = self._thin(case)
        assert self._places(replace(few, looks=(*few.looks, now), primaries=("any:1",))) == (
            self._places(replace(case, looks=(*case.looks, now), primaries=("any:1",)))
        )
