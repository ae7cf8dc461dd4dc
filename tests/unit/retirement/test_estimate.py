"""Tests of what a run costs: tables of what servers say, and what follows."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import starmap

import pytest

from rotator.retirement.estimate import Done, Terms, Work, estimate, stream
from rotator.retirement.looks import Look

NODE = "10.0.0.7:6379"
START = datetime(2026, 11, 23, 10, tzinfo=UTC)
BUFFER = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"
REWRITES = {"auto-aof-rewrite-percentage": "100", "auto-aof-rewrite-min-size": "67108864"}
FACTS = {
    "run_id": "a",
    "connected_slaves": "1",
    "aof_enabled": "1",
    "aof_current_size": "100000000",
    "aof_base_size": "90000000",
    "master_repl_offset": "1000",
    "rdb_saves": "0",
}
MEASURES = {"repl_backlog_size": "1048576", "used_memory": "500000000", "maxmemory": "0"}
WORK = Work(NODE, values=1000, size=300_000, visits=2000, name_size=20, seconds=2.0, way="script")
TRAFFIC, FILE, FORK = (
    "traffic to each replica",
    "growth of the append-only file",
    "memory that a fork copies, at most",
)


def look(facts=None, settings=None, measures=None, **fields):
    """A look at the node, as it usually is but for what is said; None takes a field away."""
    parts = ((FACTS, facts), ({"client-output-buffer-limit": BUFFER, **REWRITES}, settings))
    usual = starmap(lambda base, more: base | (more or {}), (*parts, (MEASURES, measures)))
    kept = [{name: one for name, one in given.items() if one is not None} for given in usual]
    return Look(NODE, START, facts=kept[0], settings=kept[1], measures=kept[2], **fields)


def items(work=WORK, before=None, after=None, took=None, **terms):
    """What is estimated, by what it is."""
    given = Terms("from 2,000 names met", **terms)
    done = None if after is None else Done([work], {NODE: after}, took)
    found = estimate([work], {NODE: look() if before is None else before}, given, done)
    return {item.what: item for item in found.items}


class TestTime:
    """How long it takes."""

    @pytest.mark.parametrize(
        ("seconds", "rate", "verifying", "expected"),
        [
            (2.0, None, True, 4.0),
            (2.0, None, False, 2.0),
            (2.0, 100, True, 40.0),
            (2.0, 1e6, True, 4.0),
            (None, 100, True, 40.0),
            (None, None, True, None),
        ],
    )
    def test_table(self, seconds, rate, verifying, expected):
        """It is that of the sweeps at their pace, or at the limit, and else it is not known."""
        work = Work(NODE, values=1000, size=1, visits=2000, seconds=seconds)

        assert items(work, rate=rate, verifying=verifying)["time"].expected == expected

    def test_nothing_to_rewrite(self):
        """Where no value is to be rewritten there is one sweep."""
        assert items(Work(NODE, 0, 0, 2000, seconds=2.0))["time"].expected == 2.0


class TestReplicas:
    """What goes to replicas."""

    def test_stream(self):
        """A replica gets name and value, and 41 bytes around them."""
        assert stream(WORK) == 300_000 + 1000 * (41 + 20)
        assert items()[TRAFFIC].expected == stream(WORK)

    def test_stream_of_ifeq(self):
        """Where SET has IFEQ replicas get the old value, too, and 18 bytes more around it."""
        work = replace(WORK, with_old=True)
        assert stream(work) == 2 * 300_000 + 1000 * (41 + 18 + 20)
        found = items(work)
        assert found[TRAFFIC].expected == found[FILE].expected == stream(work)
        assert "59 bytes a value besides name, old value and value" in found[TRAFFIC].basis

    @pytest.mark.parametrize(
        ("given", "values", "note"),
        [
            ({}, 1_000, ""),
            ({}, 10_000, "more than the backlog of 1.0 MB: a replica that is away for "),
            (
                {"measures": {"repl_backlog_size": "100"}},
                10_000,
                "more than the backlog of 100 B: a replica that is away copies everything again",
            ),
            ({"measures": {"repl_backlog_size": None}}, 1, "the size of the backlog is not known"),
            (
                {"settings": {"client-output-buffer-limit": None}},
                1,
                "the output buffer limit is not known",
            ),
            (
                {},
                1_000_000,
                "; a replica that gets 67 MB behind is dropped: avoid that with --max",
            ),
            (
                {"settings": {"client-output-buffer-limit": "normal 0 0 0 replica 0 0 0"}},
                1_000,
                "",
            ),
        ],
    )
    def test_limits(self, given, values, note):
        """The traffic is held against the backlog and the output buffer limit, as far as known."""
        work = Work(NODE, values, 300 * values, 2 * values, 20, 2.0)

        found = items(work, look(**given))[TRAFFIC].note

        assert note in found
        assert bool(note) == bool(found)

    def test_no_replica(self):
        """Without a replica there is no traffic, and nothing to say of it."""
        found = items(before=look({"connected_slaves": "0"}))[TRAFFIC]

        assert (found.expected, found.note) == (0.0, "")

    def test_not_said(self):
        """Where INFO does not say whether there are replicas it is not known."""
        assert items(before=look({"connected_slaves": None}))[TRAFFIC].expected is None


FORKS = "the server rewrites it during the run, with a fork"
NEVER = "the server never rewrites it: auto-aof-rewrite-percentage is 0"
NOT_KNOWN = "it is not known when the server rewrites it"


class TestFile:
    """How much the append-only file grows."""

    @pytest.mark.parametrize(
        ("facts", "settings", "expected", "note"),
        [
            ({}, {}, 361_000, ""),
            ({"aof_enabled": "0"}, {}, 0, ""),
            ({"aof_enabled": None}, {}, None, ""),
            ({"aof_current_size": "179900000"}, {}, 361_000, FORKS),
            ({}, {"auto-aof-rewrite-percentage": "0"}, 361_000, NEVER),
            ({}, {"auto-aof-rewrite-percentage": None}, 361_000, NOT_KNOWN),
            ({}, {"auto-aof-rewrite-min-size": None}, 361_000, NOT_KNOWN),
            ({"aof_base_size": None}, {}, 361_000, NOT_KNOWN),
            ({"aof_current_size": None}, {}, 361_000, NOT_KNOWN),
        ],
    )
    def test_table(self, facts, settings, expected, note):
        """It grows by what replicas get, until a rewrite that is known or is said not to be."""
        found = items(before=look(facts, settings))[FILE]

        assert (found.expected, found.note) == (expected, note)
        if note in {NEVER, NOT_KNOWN}:
            size = "; it has 100 MB" if note == NEVER else ""
            assert found.basis == f"as much as replicas get{size}"


class TestServer:
    """Memory and processor of the server."""

    def test_fork(self):
        """Two pages of memory a value may be copied, and never more than is used."""
        assert items()[FORK].expected == 1000 * 2 * 4096 + 2 * 300_000
        assert items(before=look(measures={"used_memory": "1000"}))[FORK].expected == 1000
        assert items(before=look(measures={"used_memory": None}))[FORK].expected is None

    def test_not_looked_at(self):
        """Of a server that was not looked at nothing is known, and that is said."""
        found = items(before=look(missing="no answer"))["load of the server"]

        assert (found.expected, found.basis) == (None, "it was not looked at")

    def test_share(self):
        """The share of a core is that of reading twice and writing once, by the way to write."""
        micros = 2 * 2000 * 4.0 + 1000 * (11.5 - 4.0)

        assert items()["share of the server's core"].expected == pytest.approx(micros / 1e6 / 4.0)

    @pytest.mark.parametrize(
        ("values", "visits", "verifying", "micros"),
        [(0, 2000, True, 8000), (1, 2000, True, 16_007.5), (1, 2000, False, 8007.5),
         (1, 10**9, True, 8_000_000_000)],
    )  # fmt: skip
    def test_share_of_sweeps(self, values, visits, verifying, micros):
        """There is a second sweep if something was rewritten and is verified; a core is all."""
        work = Work(NODE, values, 300, visits, 20, 2.0, "script")
        found = items(work, verifying=verifying)
        seconds = found["time"].expected
        assert found["share of the server's core"].expected == pytest.approx(
            min(micros / 1e6 / seconds, 1.0)
        )


class TestMeasured:
    """What stands beside the estimate after a run."""

    def test_growth(self):
        """Streams and files are measured by how far they are before and after."""
        facts = {"master_repl_offset": "401000", "aof_current_size": "100400000"}
        found = items(after=look(facts), took=5.0)

        assert found["time"].measured == 5.0
        assert found["values to rewrite"].measured == 1000
        assert (found[TRAFFIC].measured, found[FILE].measured) == (400_000, 400_000)
        assert found[FORK].measured is None

    def test_cpu(self):
        """The share of the core is the time that the server took, of the run."""
        first = look(measures={"used_cpu_sys": "1.0", "used_cpu_user": "2.0"})
        last = look(measures={"used_cpu_sys": "1.5", "used_cpu_user": "3.0"})

        found = items(before=first, after=last, took=3.0)["share of the server's core"]

        assert found.measured == pytest.approx(0.5)

    @pytest.mark.parametrize("facts", [{"run_id": "b"}, {"aof_current_size": "5"}])
    def test_begun_anew(self, facts):
        """After a restart, or a rewrite of the file, nothing is said to be measured."""
        assert items(after=look(facts), took=5.0)[FILE].measured is None

    def test_away_in_the_end(self):
        """A server that was looked at only once is not said to have borne nothing."""
        once = look()
        found = items(before=once, after=once, took=5.0)
        assert (found[TRAFFIC].measured, found[FILE].measured) == (None, None)

    @pytest.mark.parametrize("name", ["rdb", "aof"])
    def test_fork(self, name):
        """What a save or a rewrite copied is told if there was one."""
        counter = {"rdb": "rdb_saves", "aof": "aof_rewrites"}[name]
        last = look({counter: "1"}, measures={f"{name}_last_cow_size": "4096"})

        assert items(after=last, took=1.0)[FORK].measured == 4096
        assert items(after=look({counter: "1"}), took=1.0)[FORK].measured == 0.0

    def test_looked_at_once(self):
        """A server that was looked at only before, or only after, was not measured."""
        done = Done([WORK], {}, 5.0)
        for found in (
            estimate([WORK], {NODE: look()}, Terms(""), done),
            estimate([WORK], {}, Terms(""), replace(done, looks={NODE: look()})),
        ):
            assert {one.measured for one in found.items if one.node} == {None}
        assert found.basis == ""

    @pytest.mark.parametrize("missing", ["used_cpu_sys", "used_cpu_user"])
    def test_half_of_the_cpu(self, missing):
        """What the server does not say in full is not added up."""
        cpu = {"used_cpu_sys": "1", "used_cpu_user": "2"}
        after = look(measures={**cpu, missing: None})
        found = items(before=look(measures=cpu), after=after, took=3.0)
        assert found["share of the server's core"].measured is None


class TestPlan:
    """Growth beyond one machine."""

    def test_machines(self):
        """So many processes a node as keep its server busy, and machines for all of them."""
        works = [Work(f"n{number}:1", 1, 1, 60_000, 0, 1.0, "script") for number in range(6)]

        plan = estimate(works, {}, Terms("", cores=4)).plan

        assert (plan.nodes, plan.processes_a_node, plan.machines) == (6, 2, 3)

    def test_not_known(self):
        """Without a pace there is no plan."""
        assert estimate([Work(NODE, 1, 1, 1)], {}, Terms("", cores=4)).plan is None


def whole(work=WORK, before=None, done=None, **terms):
    """All that is said, one line for each item: what is not known is a dash."""
    found = estimate([work], {NODE: before or look()}, Terms("2,000 names met", **terms), done)
    rows = [
        (one.what, one.unit, one.expected, one.measured, one.limit, one.node, one.basis, one.note)
        for one in found.items
    ]
    return [" | ".join("-" if cell is None else str(cell) for cell in row) for row in rows]


BENCH = "a rough figure, for values of 1 kB"


class TestWhole:
    """An estimate in full: operators read each word of it."""

    def test_known(self):
        """Everything is known, before and after."""
        cpu = {"used_cpu_sys": "1", "used_cpu_user": "2"}
        before = look(measures={**cpu, "rdb_last_cow_size": "5", "aof_last_cow_size": "7"})
        more = {"used_cpu_sys": "2", "used_cpu_user": "4.5"}
        after = look(
            {"master_repl_offset": "501000", "aof_current_size": "100400000", "rdb_saves": "1"},
            measures={**more, "rdb_last_cow_size": "8000", "aof_last_cow_size": "9000"},
        )
        done = Done([replace(WORK, values=900, size=270_000)], {NODE: after}, 5.0)
        pace = "about as fast as this one and at most 5,000 visits a second"
        assert whole(before=before, done=done, rate=5000.0) == [
            "values to rewrite | values | 1000 | 900 | - | - | 2,000 names met | ",
            "their size | bytes | 300000 | 270000 | - | - | 2,000 names met | ",
            f"time | seconds | 4.0 | 5.0 | - | - | two sweeps, the second verifies, {pace} | ",
            (
                f"traffic to each replica | bytes | 361000.0 | 500000.0 | 1048576.0 | {NODE} |"
                " 1 replica, 41 bytes a value besides name and value | "
            ),
            (
                "growth of the append-only file | bytes | 361000.0 | 400000.0 | 80000000.0 |"
                f" {NODE} | as much as replicas get; it has 100 MB | "
            ),
            (
                f"memory that a fork copies, at most | bytes | 8792000.0 | 9000.0 | - | {NODE} |"
                " two pages of memory a value, at most the 500 MB in use | "
            ),
            (
                f"share of the server's core | share | 0.005875 | 0.7 | - | {NODE} |"
                f" 11.5 us a value by script, {BENCH} | "
            ),
        ]

    def test_little_known(self):
        """What INFO does not say is not made up, and the reason stands where the basis would."""
        before = look(
            {"connected_slaves": None, "aof_enabled": None}, measures={"maxmemory": "600000000"}
        )
        work = replace(WORK, way=None, seconds=None)
        assert whole(work, before, rate=100)[2:] == [
            (
                "time | seconds | 40.0 | - | - | - | two sweeps, the second verifies,"
                " at most 100 visits a second | "
            ),
            f"traffic to each replica | bytes | - | - | - | {NODE} | INFO does not say | ",
            (
                f"growth of the append-only file | bytes | - | - | - | {NODE} |"
                " INFO does not say if there is one | "
            ),
            (
                f"memory that a fork copies, at most | bytes | 8792000.0 | - | - | {NODE} |"
                " two pages of memory a value, at most the 500 MB in use |"
                " maxmemory is 600 MB, and does not count this"
            ),
            (
                f"share of the server's core | share | 0.0005875 | - | - | {NODE} |"
                f" at most 11.5 us a value by script, {BENCH} | "
            ),
        ]

    def test_nothing_there(self):
        """What there is not costs nothing; without a pace no share is known."""
        before = look({"connected_slaves": "0", "aof_enabled": "0"}, measures={"used_memory": None})
        work = replace(WORK, seconds=None)
        assert whole(work, before, verifying=False)[2:] == [
            "time | seconds | - | - | - | - | the pace was not measured | ",
            f"traffic to each replica | bytes | 0.0 | - | - | {NODE} | it has no replica | ",
            f"growth of the append-only file | bytes | 0.0 | - | - | {NODE} | none | ",
            (
                f"memory that a fork copies, at most | bytes | - | - | - | {NODE} |"
                " INFO does not say how much is used | "
            ),
            (
                f"share of the server's core | share | - | - | - | {NODE} |"
                " it is not known how long it takes | "
            ),
        ]

    def test_one_sweep(self):
        """Without a verifying sweep the time is that of one."""
        assert whole(verifying=False)[2] == (
            "time | seconds | 2.0 | - | - | - | one sweep, about as fast as this one | "
        )

    def test_a_rewrite(self):
        """A file that has grown enough is rewritten during the run; it has no room left."""
        before = look({"aof_current_size": "200000000", "aof_base_size": "100000000"})
        assert whole(before=before)[4] == (
            f"growth of the append-only file | bytes | 361000.0 | - | 0.0 | {NODE} |"
            " as much as replicas get; it has 200 MB | the server rewrites it"
            " during the run, with a fork"
        )

    def test_too_far_behind(self):
        """A replica that may be dropped is kept below half of the least of the limits."""
        before = look(settings={"client-output-buffer-limit": "replica 400000 200001 60"})
        assert whole(before=before)[3].endswith(
            "a replica that gets 200 kB behind is dropped: avoid that with --max-lag 100000"
        )

    def test_machines(self):
        """So many processes as keep a server busy, at most four, on so many machines."""
        terms = Terms("counts", cores=2)
        plan = estimate([WORK], {}, terms).plan
        assert (plan.nodes, plan.processes_a_node, plan.cores_a_machine, plan.machines) == (
            *(1, 4, 2),
            2,
        )
        assert plan.basis == f"1,000 visits/s a process, a server takes 78,261: {BENCH}"
        faster = replace(WORK, visits=80_000, way=None)
        assert estimate([faster], {}, replace(terms, lanes=2)).plan.processes_a_node == 4
        assert estimate([faster], {}, terms).plan.processes_a_node == 2
