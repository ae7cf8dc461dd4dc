"""Tests of the facts of a run in words: who, how it felt, and what it costs."""

import io

import pytest

from rotator.console import print_result
from rotator.report.fields import (
    Facts,
    File,
    NodeLatency,
    Pages,
    bore,
    cost_lines,
    cost_rows,
    latency_of,
    pages_of,
    who,
)
from rotator.report.model import Cache, Coverage, Node, ProblemSum
from rotator.report.table import render
from rotator.retirement.estimate import Estimate, Item, Plan
from rotator.retirement.forecast import Progress
from rotator.tally.load import Latency, NodeLoad
from support.sample_reports import HOUR, START, drawn_at, old_key, report_on

FACTS = Facts(
    host="jump-1",
    user="ops",
    options=("--quiet 3s", "--accept undecryptable=3"),
    files=(File(path="/etc/maverics/maverics.yaml", sha256="3f" * 32),),
)
LATENCY = NodeLatency(
    before=Latency(50, 0.1, 0.604, 0.61),
    during=Latency(1200, 0.2, 3.38, 7.5),
    goal_ms=2.0,
    seconds_above_goal=0.3,
)
COST = Estimate(
    "from 812,203 names met",
    (
        Item("values to rewrite", "values", 812_203, "from 812,203 names met"),
        Item("time", "seconds", None, "the pace was not measured", measured=192.0),
        Item("traffic to each replica", "bytes", 1e6, "1 replica", node="a:1"),
        Item("traffic to each replica", "bytes", 3e8, "2 replicas", node="b:1", note="too much"),
        Item("share of the server's core", "share", 0.256, "7 us a value", node="a:1"),
    ),
    Plan(2, 4, 4, 2, "20,000 visits a second and process"),
)


def drawn(report):
    """What a pipe gets to see."""
    stream = io.StringIO()
    print_result(render(report), stream)
    return stream.getvalue()


def test_who():
    """Who made a run, its options and its files are told in a line each."""
    assert list(who(FACTS)) == [
        "by ops on jump-1",
        "options: --quiet 3s --accept undecryptable=3",
        "configuration /etc/maverics/maverics.yaml, SHA-256 3f3f3f3f3f3f",
    ]
    assert list(who(Facts())) == ["options: the defaults"]


def test_bore():
    """What a node bore is told with all that was measured, and what was not is said."""
    pages = Pages(count=1200, smallest=10, median=100, largest=500)
    assert list(bore(LATENCY, pages, {"script": 1200}, {"latency": 0.5}, 0)) == [
        "before p50 0.10, p99 0.60, max 0.61 ms (50 PINGs)",
        "during p50 0.20, p99 3.38, max 7.50 ms (1,200 PINGs)",
        "0.3 s above the goal of 2 ms plus network",
        "1,200 pages of 10 to 500 names, median 100",
        "1,200 replaced by script",
        "waited 0.5 s for latency",
        "0 evicted",
    ]
    assert list(bore(NodeLatency(), None, {}, {}, None)) == [
        "before not measured",
        "during not measured",
        "evictions not known",
    ]


def test_cost_rows():
    """What a run costs is told of the node that has most to bear, and what is not known is said."""
    rows = {row.what: row for row in cost_rows(COST)}

    assert rows["values to rewrite"].expected == "812,203"
    assert (rows["time"].expected, rows["time"].measured) == ("not known", "3 min 12 s")
    traffic, share = rows["traffic to each replica"], rows["share of the server's core"]
    assert (traffic.where, traffic.expected) == ("b:1, the most of 2 nodes", "300 MB")
    assert (share.where, share.expected) == ("a:1, the most of 2 nodes", "26%")


def test_cost_lines():
    """Each line has what was expected and measured, the basis, and what follows; last the plan."""
    lines = list(cost_lines(COST))

    assert lines[1] == "time: not known, measured 3 min 12 s (the pace was not measured)"
    assert lines[2].endswith("300 MB (b:1, the most of 2 nodes; 2 replicas); too much")
    assert lines[-1] == (
        "the fastest way: 4 processes a node, on 2 machines of 4 cores"
        " (20,000 visits a second and process)"
    )


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_costs_at_any_width(columns):
    """What a run costs is told whole at any width, in ASCII."""
    found = report_on(Cache(name="a", complete=True, estimate=COST), facts=FACTS)
    lines = drawn_at(columns, render(found))
    assert max(map(len, lines)) <= columns
    assert "".join(lines).isascii()
    said = " ".join(" ".join(lines).split())
    for line in (*cost_lines(COST), "by ops on jump-1"):
        assert line in said


def test_not_measured():
    """Where nothing was measured there is no latency and there are no pages, rather than zeros."""
    assert latency_of(NodeLoad(), 2.0) is None
    assert pages_of(NodeLoad()) is None


class TestTable:
    """What the table says of all that."""

    def test_facts(self):
        """How a run ended, who made it and how stands under the first line."""
        shown = drawn(report_on(facts=FACTS, exit_code=3))

        assert "  ended 2026-11-23 10:00:00 UTC, exit code 3: complete, but some values" in shown
        assert "  by ops on jump-1\n  options: --quiet 3s --accept undecryptable=3\n" in shown

    @pytest.mark.parametrize(
        ("fields", "headline"),
        [
            ({"exit_code": 5}, "a: complete, but not one value opened\n"),
            ({"exit_code": 0}, "a: complete\n"),
            ({"exit_code": 0, "outcomes": {"not_string": 2}}, "a: complete\n"),
            ({"exit_code": 3, "outcomes": {"contended": 2}}, "a: complete, but 2 values not moved"),
            (
                {"exit_code": 3, "outside": {"visits": 2, "under_old_keys": {"x": 2}}},
                "a: complete, but 2 values under old keys among those left out\n",
            ),
        ],
    )
    def test_headline_agrees_with_exit_code(self, fields, headline):
        """A cache whose exit code is not 0 is never called complete without a but."""
        shown = drawn(report_on(Cache.model_validate({"name": "a", "complete": True} | fields)))

        assert headline in shown

    @pytest.mark.parametrize(("remaining", "said"), [(0, "not known"), (7, "at least 7")])
    def test_stopped(self, remaining, said):
        """What remains under a key is a lower bound where a sweep was stopped."""
        key = old_key(remaining=remaining, remaining_without_ttl=0, verdict="unknown")
        shown = drawn(report_on(Cache(name="a", stopped="interrupted", visits=9, keys=(key,))))

        assert f"812,203   {said} " in shown
        assert "there may be more than was counted" in shown
        assert "if you only wait" not in shown

    def test_not_verified(self):
        """A sweep whose verification was stopped is called complete, and not verified."""
        stopped = Cache(
            name="a",
            stopped="interrupted",
            swept_at=START,
            progress=Progress(phase="verification", visited=9),
        )
        stream = io.StringIO()
        print_result(render(report_on(stopped), START + HOUR), stream)

        assert "  last complete sweep 1 hour ago, not verified: 2026-" in stream.getvalue()

    def test_problems_are_summed_first(self):
        """The sums of problems stand before the samples, those that are left in one line."""
        sums = tuple(
            ProblemSum(outcome="undecryptable", reason="bad_tag", prefix=f"p{n}", count=1200 - n)
            for n in range(12)
        )
        shown = drawn(report_on(Cache(name="a", problem_sums=sums, problems_total=14_334)))

        assert "problems: 14,334\n" in shown
        assert "- 1,200 undecryptable, bad_tag: names begin with p0\n" in shown
        assert "- 2,379 others\n" in shown

    def test_this_run_and_those_before(self):
        """The time and the speed of a run that went on are of its own visits, which are told."""
        known = {"visits": 26_189, "sweep_seconds": 2.0}
        went_on = drawn(report_on(Cache(name="a", visits_now=4_000, **known)))
        alone = drawn(report_on(Cache(name="a", visits_now=26_189, **known)))

        assert "26,189 visits, 4,000 of them by this run, in 2.0 s (2,000 a second)\n" in went_on
        assert "26,189 visits in 2.0 s (13,094 a second)\n" in alone

    def test_load_and_cost(self):
        """The nodes whose clients waited longest are told of, the others counted."""
        nodes = tuple(
            Node(
                node=f"n{number}:1",
                latency=NodeLatency(during=Latency(9, 1.0, float(number), 9.0)),
                pages=Pages(count=1, smallest=1, median=1, largest=1),
            )
            for number in range(6)
        )
        coverage = Coverage(mode="cluster", nodes=nodes)
        shown = drawn(report_on(Cache(name="a", coverage=coverage, estimate=COST)))

        assert "cost, from 812,203 names met:\n" in shown
        assert shown.index("- n5:1: ") < shown.index("- n4:1: ")
        assert "- n1:1: " not in shown
        assert "- and 2 nodes; the JSON report has them\n" in shown
        assert max(map(len, shown.splitlines())) <= 100
