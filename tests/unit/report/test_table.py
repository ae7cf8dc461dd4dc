"""Tests of the report as people see it."""

import io
import os
import re
from pathlib import Path

import pytest
from rich.cells import cell_len

from rotator.console import print_result
from rotator.report.model import (
    KINDS,
    OUTCOMES,
    STATUSES,
    VERDICTS,
    Cache,
    Coverage,
    Key,
    Node,
    Outside,
    Past,
    Report,
    Verification,
)
from rotator.report.table import PROBLEMS, render
from rotator.report.words import (
    KIND_NAMES,
    MEANINGS,
    STATUS_MEANINGS,
    VERDICT_MEANINGS,
    forecast,
    outcome_rows,
)
from rotator.tally.tally import Outcome
from support.sample_reports import (
    HELD,
    HOUR,
    QUIET,
    START,
    UNKNOWN,
    example,
    old_key,
    place,
    placed_key,
    places,
    problem,
    proven_key,
    report_on,
)
from support.terminals import all_of, set_width

EXAMPLE = """\
rotator 1.0.0, run of 2026-11-23 10:00:00 UTC

shared-redis: complete
  812,204 visits in 3 min 12 s (4,221 a second)

        1  current  already under the current key
  812,203  rotated  were under an old key, now under the current one

  key        role     found   rotated   remaining     size   verdict
  9f2c41d0   old    812,203   812,203           0   287 MB   verifying

  9f2c41d0 verifying: keep it for now; none left, but that is not yet confirmed
    - last met 1 minute ago; 1h of quiet is asked for
    - ready 2026-11-23 11:02:01 UTC
    next:  run again after 11:02 UTC
    field: caches[0].encryption.keys.old[0]

  verified: a second sweep, 812,100 visits: none under an old key

  covered: standalone, database 0
    redis-0.internal:6379  redis 7.0.15  812,204 visits  complete

  waited:
    - 1.5 s: memory
"""


def drawn(report, **settings):
    """What a pipe gets to see."""
    stream = io.StringIO()
    print_result(render(report, **settings), stream)
    return stream.getvalue()


class TestTable:
    """How a report looks."""

    def test_whole_example(self):
        """The design's example, word for word."""
        assert drawn(example()) == EXAMPLE

    def test_dry_run(self):
        """A dry run says at once that nothing was written."""
        shown = drawn(report_on(Cache(name="a", complete=True), mode="dry-run"))

        assert shown.startswith("rotator 1.0.0, dry run (nothing was written) of 2026-11-23")

    @pytest.mark.parametrize(
        ("cache", "headline"),
        [
            (Cache(name="a", complete=True), "a: complete\n  0 visits\n"),
            (Cache(name="a", error="refused"), "a: failed: refused\n"),
            (Cache(name="a"), "a: not complete\n"),
            (
                Cache(name="a", stopped="interrupted", visits=1, sweep_seconds=2),
                "a: interrupted, position saved\n  1 visit in 2.0 s (0 a second)\n",
            ),
            (Cache(name="a", stopped="max-duration"), "a: stopped by --max-duration, position"),
            (
                Cache(name="a", complete=True, outcomes={"denied": 1}),
                "a: complete, but 1 value not moved\n",
            ),
            (
                Cache(name="a", complete=True, outcomes={"nested": 1200, "gone": 3}),
                "a: complete, but 1,200 values not moved\n",
            ),
            (
                Cache(name="a", complete=True, outcomes={"contended": 1}),
                "a: complete, but 1 value not moved\n",
            ),
            (
                Cache(
                    name="a",
                    complete=True,
                    outcomes={"undecryptable": 3},
                    accepted={"undecryptable": 3},
                ),
                "a: complete\n",
            ),
            (
                Cache(
                    name="a",
                    complete=True,
                    outcomes={"undecryptable": 4, "current": 1},
                    accepted={"undecryptable": 3},
                ),
                "a: complete, but 4 values not moved\n",
            ),
            (
                Cache(name="a", complete=True, outcomes={"undecryptable": 4}),
                "a: complete, but none of 4 values opens: the keys may be right and the format",
            ),
            (
                Cache(
                    name="a",
                    complete=True,
                    verification=Verification(visits=9, found_under_old_keys=2, complete=True),
                ),
                "a: complete, but 2 values still under old keys\n",
            ),
        ],
    )
    def test_headline(self, cache, headline):
        """The first line says whether all is done, or why not."""
        assert headline in drawn(report_on(cache))

    def test_accepted_is_not_alarming(self):
        """An outcome that was accepted looks like a good one, one that is more does not."""
        cache = Cache(name="a", outcomes={"undecryptable": 3}, accepted={"undecryptable": 3})
        more = Cache(name="a", outcomes={"undecryptable": 4}, accepted={"undecryptable": 3})

        looks = [{row.outcome: row.look for row in outcome_rows(one)} for one in (cache, more)]

        assert [one["undecryptable"] for one in looks] == ["good", "bad"]

    def test_failed_run(self):
        """A run that failed as a whole says why."""
        assert "failed: no configuration" in drawn(report_on(error="no configuration"))

    def test_no_cache(self):
        """A report on nothing says so."""
        assert "no cache was looked at" in drawn(report_on())

    def test_outcomes(self):
        """Only outcomes that occurred are shown, each with its meaning and what is accepted."""
        cache = Cache(
            name="a",
            complete=True,
            visits=3,
            outcomes={"gone": 1, "undecryptable": 2},
            accepted={"undecryptable": 12},
        )

        shown = drawn(report_on(cache))

        assert "  1  gone           expired or deleted before" in shown
        assert "no configured format and key opens them; up to 12 are accepted" in shown
        assert "too_large" not in shown

    def test_every_reason_and_the_next_step(self):
        """An old key has every reason, the next step and its field; a current key has none."""
        keys = (
            Key(id="b" * 16, role="current", field="caches[0].encryption.keys.current", found=5),
            old_key(verdict="in-use", reasons=("one", "two", "three"), next_step="look there"),
        )

        shown = drawn(report_on(Cache(name="a", complete=True, keys=keys)))

        assert "- one\n    - two\n    - three\n" in shown
        assert "next:  look there\n    field: caches[0].encryption.keys.old[0]\n" in shown
        assert "names begin with: /app/oidc 812,203" in shown
        assert "keys.current" not in shown

    def test_drain(self):
        """A draining key says what waiting would do, and how many remain until then."""
        curve = tuple((START + number * HOUR, 1_300 - 100 * number) for number in range(14))
        key = old_key(verdict="draining", remaining=1300, drains_at=START + 13 * HOUR, drain=curve)

        shown = drawn(report_on(Cache(name="a", complete=True, keys=(key,))))

        words = " ".join(shown.split())
        assert "if you only wait: all 1,300 values expire by 2026-11-23 23:00:00 UTC, and" in words
        assert "remaining: 1,300 at 11-23 10:00; " in shown
        assert "; 0 at 11-23 23:00" in words

    @pytest.mark.parametrize(
        ("remaining", "never", "sentence"),
        [
            (1, 0, "the only value expires by 2026-11-23 23:00:00 UTC, and none would be left"),
            (9, 0, "all 9 values expire by 2026-11-23 23:00:00 UTC, and none would be left"),
            (9, 1, "8 of 9 values expire by 2026-11-23 22:00:00 UTC; 1 has no TTL"),
            (9, 8, "1 of 9 values expires by 2026-11-23 22:00:00 UTC; 8 have no TTL"),
            (1, 1, "1 value would stay for good: it has no TTL"),
            (9, 9, "9 values would stay for good: none of them has a TTL"),
        ],
    )
    def test_only_wait(self, remaining, never, sentence):
        """One sentence answers what happens if nothing is moved."""
        key = old_key(
            verdict="in-use" if never else "draining",
            remaining=remaining,
            remaining_without_ttl=never,
            drains_at=None if never else START + 13 * HOUR,
            drain=((START, remaining), (START + 12 * HOUR, never)),
        )

        assert forecast(key) == sentence
        shown = drawn(report_on(Cache(name="a", complete=True, keys=(key,)), mode="dry-run"))
        assert f"if you only wait: {sentence}" in " ".join(shown.split())

    def test_nothing_to_wait_for(self):
        """Where nothing remains there is nothing to foresee."""
        assert forecast(old_key(remaining=0)) is None
        assert "if you only wait" not in drawn(example())

    def test_history(self):
        """A report of the past says how old it is, and what was known of each key before."""
        past = Past(
            first_seen_at=START - 48 * HOUR,
            last_seen_at=START - 24 * HOUR,
            clean_since=START - 23 * HOUR,
            clean_sweeps=3,
            returned_at=START - 30 * HOUR,
            verdicts=((START - 48 * HOUR, "in-use"), (START - 23 * HOUR, "held")),
        )
        cache = Cache(name="a", keys=(old_key(past=past),), swept_at=START)

        shown = drawn(report_on(cache), now=START + 2 * HOUR)

        assert "last complete sweep 2 hours ago: 2026-11-23 10:00:00 UTC" in shown
        assert "first met 2026-11-21 10:00:00 UTC, last 2026-11-22 10:00:00 UTC" in shown
        assert "clean since 2026-11-22 11:00:00 UTC: 3 complete sweeps did not meet it" in shown
        assert "met again 2026-11-22 04:00:00 UTC, after it had been clean" in shown
        assert "verdicts: in-use from 2026-11-21 10:00, held from 2026-11-22 11:00 UTC" in shown
        assert "clean since" not in drawn(report_on(cache))

    def test_history_of_nothing(self):
        """A key that no sweep ever met, and a cache that none came through, say so."""
        keys = (old_key(past=Past(swept_at=START)),)

        assert "never met by any sweep" in drawn(report_on(Cache(name="a", keys=keys)), now=START)
        assert "no complete sweep yet" in drawn(report_on(Cache(name="a")), now=START)

    def test_coverage(self):
        """What was not covered is said for each node and as a whole."""
        coverage = Coverage(
            mode="cluster",
            slots_covered=16384,
            databases=(0,),
            orphans=1,
            nodes=(
                Node(node="r0:6379", version="redis 7.0.15", visits=1, complete=True, restarts=1),
                Node(node="r1:6379", reasons=("connection refused",)),
            ),
            not_looked_at=("r1:6379 was not swept to the end",),
        )

        shown = drawn(report_on(Cache(name="a", coverage=coverage)))

        assert "covered: cluster, 16,384 of 16,384 slots, database 0, 1 name on a node" in shown
        assert re.search(
            r"r0:6379  redis 7\.0\.15 +1 visit +complete; scan restarted 1 time\n", shown
        )
        assert re.search(r"r1:6379 +0 visits +not complete; connection refused\n", shown)
        assert "not looked at:\n    - r1:6379 was not swept to the end\n" in shown

    def test_problems(self):
        """Of many problems the first few of each kind are shown, and how many more there are."""
        problems = tuple(problem(name=f"name-{number}") for number in range(100))
        failed = problem(name="last", outcome="failed", reason="", detail="ERR no")
        cache = Cache(name="a", problems=(*problems, failed), problems_total=1204)

        shown = drawn(report_on(cache))

        assert shown.count("- name-") == PROBLEMS - 1
        assert "failed, ERR no, on redis-0.internal:6379:\n      - last\n" in shown
        assert "and 1,194 more" in shown

    def test_nothing_is_obeyed(self):
        """Names and messages are neither markup nor orders to a terminal."""
        name = "[bold]\x1b[2J:smile:[/]"
        cache = Cache(name=name, error=name, problems=(problem(name=name),), problems_total=1)

        shown = drawn(report_on(cache))

        assert shown.count("[bold]\\x1b[2J:smile:[/]") == 3
        assert "\x1b" not in shown

    def test_width(self):
        """Whatever the names and however many keys, no line is wider than 100 columns."""
        long = "имя:" + "名" * 150 + " and-a-word" * 40
        keys = tuple(
            old_key(
                id=f"{number:016x}",
                field=f"caches[{number}].{long}",
                found=10**12,
                rotated=10**12,
                remaining=10**12,
                bytes=10**15,
                verdict=VERDICTS[number % 6],
                reasons=(long, long),
                next_step=long,
                drains_at=START,
                held_until=START,
                prefixes={f"{long}{one}": 10**9 for one in range(20)},
                samples=(long,) * 10,
            )
            for number in range(50)
        )
        node = Node(node=long, version=long, visits=10**12, reasons=(long,), restarts=3)
        cache = Cache(
            name=long,
            visits=10**12,
            outcomes=dict.fromkeys(OUTCOMES, 10**11),
            verification=Verification(visits=1, found_under_old_keys=1, complete=False),
            coverage=Coverage(mode="cluster", nodes=(node,) * 9, not_looked_at=(long,) * 3),
            keys=keys,
            problems=(problem(name=long, node=long, detail=long),) * 20,
            problems_total=20,
            waited_seconds={long: 100.0},
            warnings=(long,),
            sweep_seconds=1e6,
        )

        lines = drawn(report_on(cache, Cache(name=long, error=long), error=long)).splitlines()

        assert max(map(cell_len, lines)) <= 100
        assert sum("999" in line or "1,000,000,000,000" in line for line in lines) >= 50

    def test_waits_of_several_nodes(self):
        """Waits are those of all nodes, so they may be longer than the run, and that is said."""
        node = Node(node="a:1", version="7", visits=1, waited_seconds={"rate": 29.0})
        seen = Coverage(mode="cluster", nodes=(node, node, node, Node(node="b:1")))
        text = drawn(report_on(Cache(name="box", coverage=seen, waited_seconds={"rate": 87.0})))
        assert "waited, the sum of 3 nodes:\n    - 1 min 27 s: rate" in text

    @pytest.mark.parametrize("columns", [40, 60, 80])
    def test_narrow(self, columns):
        """On a narrow terminal nothing of a verdict is lost."""
        leader, follower = os.openpty()
        set_width(follower, columns)
        with os.fdopen(follower, "w", encoding="utf-8") as stream:
            print_result(render(example()), stream)
        text = re.sub(r"\x1b\[[0-9;]*m", "", all_of(leader).decode())

        assert max(map(cell_len, text.splitlines())) <= columns
        words = " ".join(text.split())
        assert "last met 1 minute ago; 1h of quiet is asked for" in words
        assert "run again after 11:02 UTC" in words


SHOWN = """\
  9f2c41d0 unknown: keep it; not everything was looked at
    - unknown: replica 10.0.0.8:6379 was not reached; list it
    - held: the append-only file of 10.0.0.7:6379 has not been rewritten since 10:02; BGREWRITEAOF
      there
    - held: backups are kept for 30d
    - 6 places clean
    - assuming that no application of shared-redis has written with it since 2026-11-23 10:00 UTC
    next:  list it
    field: caches[0].encryption.keys.old[0]
"""


def on_terminal(report, columns, monkeypatch):
    """What a terminal of this width gets to see, without its colours."""
    monkeypatch.setenv("NO_COLOR", "1")
    leader, follower = os.openpty()
    set_width(follower, columns, rows=60)
    with os.fdopen(follower, "w", encoding="ascii", errors="backslashreplace") as stream:
        print_result(render(report), stream)
    return re.sub(r"\x1b\[[0-9;]*m", "", all_of(leader).decode("ascii"))


class TestPlaces:
    """The places where values under a key may be."""

    def test_worst_first(self):
        """Places that are not clean are told with what ends them, the others are only counted."""
        assert SHOWN in drawn(report_on(Cache(name="a", keys=(placed_key(),))))

    def test_nothing_twice(self):
        """No evidence and no reason is told twice of a key."""
        shown = " ".join(drawn(report_on(Cache(name="a", keys=(placed_key(),)))).split())

        assert [shown.count(said) for said in (HELD, UNKNOWN, QUIET)] == [1, 1, 1]

    def test_files_of_several_servers(self):
        """What is said of the files of several servers is one line; what differs has its own."""
        saved = "has not been saved again since 10:02"
        held = [
            place(
                "rdb", f"10.0.0.{number}:6379", "holding", verdict="held",
                evidence=f"the RDB file of 10.0.0.{number}:6379 {said}",
                remedy=f"BGSAVE on 10.0.0.{number}:6379, then run again",
            )
            for number, said in ((7, saved), (8, saved), (9, saved), (1, "is older"))
        ]  # fmt: skip
        key = placed_key(places=tuple(held), reasons=())
        printed = " ".join(drawn(report_on(Cache(name="a", keys=(key,)))).split())
        assert (
            "held: the RDB file of each of 10.0.0.7:6379, 10.0.0.8:6379 and 10.0.0.9:6379"
            f" {saved}; BGSAVE on each of them, then run again"
        ) in printed
        assert "held: the RDB file of 10.0.0.1:6379 is older; BGSAVE on 10.0.0.1:6379" in printed
        assert printed.count("RDB file of") == 2

    @pytest.mark.parametrize("where", ["", "10.0.0.7:6379"])
    def test_places_without_their_server(self, where):
        """Places that do not name their server are told as they are, each thing once."""
        for kind, others in (("rdb", "10.0.0.8:6379"), ("names", where)):
            alike = [place(kind, at, "holding", evidence="so it is") for at in (where, others)]
            key = placed_key(places=tuple(alike), reasons=())
            printed = drawn(report_on(Cache(name="a", keys=(key,))))
            assert printed.count("so it is") == 1

    def test_reason_without_a_place(self):
        """A reason that is that of no place is not lost."""
        key = placed_key(reasons=(f"{UNKNOWN}; list it", "one that was stopped had not met it"))

        shown = drawn(report_on(Cache(name="a", keys=(key,))))

        assert "- one that was stopped had not met it\n" in shown

    def test_retirable(self):
        """On what evidence a key can go is told, though all of its places are clean."""
        shown = drawn(report_on(Cache(name="a", keys=(proven_key(),))))

        assert "- the names of 10.0.0.7:6379 was looked at\n    - 8 places clean\n" in shown
        assert "assuming" not in shown

    def test_for_every_key(self):
        """What is so for every old key of a cache is told once, before them."""
        own = place("names", "", "holding", evidence="9 remain", verdict="in-use")
        keys = (
            placed_key(),
            placed_key(id="a" * 16, places=(own, *places()), verdict="in-use", reasons=()),
        )

        shown = drawn(report_on(Cache(name="a", keys=keys)))

        assert "  for every old key:\n    - unknown: replica 10.0.0.8:6379 was not" in shown
        assert shown.count("replica 10.0.0.8:6379") == 1
        assert "- in-use: 9 remain\n    - and what is listed above for every old key\n" in shown

    def test_not_for_every_key(self):
        """A place that one key has for another reason is told at each key."""
        other = place("replica", status="unknown", evidence=UNKNOWN, remedy="x", verdict="unknown")
        keys = (placed_key(), placed_key(id="a" * 16, places=(other,)))

        shown = drawn(report_on(Cache(name="a", keys=keys)))

        assert "for every old key" not in shown
        assert shown.count("unknown: replica 10.0.0.8:6379") == 2

    @pytest.mark.parametrize("columns", [80, 100, 200])
    def test_widths(self, columns, monkeypatch):
        """At any width nothing of a place is lost, without colours and in plain ASCII."""
        report = report_on(Cache(name="a", keys=(placed_key(),)))

        shown = on_terminal(report, columns, monkeypatch)

        assert max(map(cell_len, shown.splitlines())) <= columns
        assert " ".join(SHOWN.split()) in " ".join(shown.split())

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("status", ["holding", "unknown", "assumed"])
    def test_every_kind(self, kind, status):
        """A place of any kind that is not clean has a line of its own."""
        verdict = {"holding": "held", "unknown": "unknown", "assumed": "retirable"}[status]
        only = place(kind, "", status, evidence="so it is", remedy="do it", verdict=verdict)
        key = placed_key(places=(only,), reasons=(), assumptions=(), verdict=verdict)

        word = "assumed" if status == "assumed" else verdict
        assert f"- {word}: so it is; do it\n" in drawn(report_on(Cache(name="a", keys=(key,))))

    def test_outside(self):
        """What the patterns and databases leave out is told in a line."""
        read = Outside(visits=12, under_old_keys={"a": 2, "b": 1}, not_opened=4, denied=5)
        shown = [
            drawn(report_on(Cache(name="a", outside=outside)))
            for outside in (read, Outside(visits=None, names=1200))
        ]

        assert "fields: 12 visits, 3 under old keys, 4 not opened, 5 denied\n" in shown[0]
        assert "fields: 1,200 names, not read, as declared\n" in shown[1]

    def test_unproven(self):
        """A node whose sweep proves nothing says why."""
        node = Node(node="r:1", complete=True, unproven=("it rewrote values",))
        cache = Cache(name="a", coverage=Coverage(mode="standalone", nodes=(node,)))

        assert "complete; proves nothing: it rewrote values\n" in drawn(report_on(cache))

    def test_several_servers(self):
        """Servers of one name are told apart by their addresses; one that is gone says so."""
        first = Cache(name="box", addresses=("10.0.0.7:6379",), superseded=True)
        second = Cache(name="box", addresses=("10.0.0.9:6379",))

        shown = drawn(report_on(first, second, Cache(name="a", addresses=("10.0.0.1:1",))))

        assert "box (10.0.0.7:6379): " in shown
        assert "box (10.0.0.9:6379): " in shown
        assert "\na: " in shown
        assert shown.count("another server answers at these addresses now") == 1

    @pytest.mark.parametrize("name", ["again", "run", "dry-run", "stopped"])
    def test_earlier_version(self, name):
        """A report of 1.0.0 is shown as it was, with one line that says how old its rules are."""
        folder = Path(__file__).parents[2] / "written-by-1.0.0" / "reports"
        report = Report.model_validate_json((folder / f"{name}.json").read_text())

        shown = drawn(report)

        line = "judged by an earlier version of rotator, which checked less; the next run judges"
        assert shown.count(line) == 1
        reasons = [reason for key in report.caches[0].keys for reason in key.reasons]
        assert reasons
        assert all(f"- {reason}" in " ".join(shown.split()) for reason in reasons)
        assert "places" not in shown


class TestWords:
    """The meanings of words."""

    def test_everything_has_a_meaning(self):
        """Every outcome, verdict, kind of place and status is explained."""
        assert list(MEANINGS) == list(Outcome)
        assert list(VERDICT_MEANINGS) == list(VERDICTS)
        assert list(KIND_NAMES) == list(KINDS)
        assert list(STATUS_MEANINGS) == list(STATUSES)
