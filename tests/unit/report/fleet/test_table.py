"""Tests of the table and the page of many hosts."""

import io
from datetime import UTC, datetime

import html5lib
import pytest

from rotator.console import print_result
from rotator.report.fleet.model import FINDINGS, GAPS, Finding, Fleet, FleetKey, Listing
from rotator.report.fleet.table import render
from rotator.report.html import render_fleet
from support.sample_reports import drawn_at

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOSTILE = "<script>alert('x')</script>\x1b[31m\u202e"


def listing(host="web-1", verdict="retirable", **fields):
    """What one cache makes of a key."""
    usual = {"cache": "sessions", "role": "old", "remaining": 0, "swept_at": NOW}
    reason = {"reason": f"it is {verdict}", "next_step": f"mend {verdict}"}
    return Listing(host=host, verdict=verdict, reported_at=NOW, **usual | reason | fields)


def fleet(*listings, findings=(), verdict="held", **fields):
    """A fleet with one key."""
    key = FleetKey(
        id="9f2c41d07be3a655",
        verdict=verdict,
        hosts=2,
        swept_at=NOW,
        caches=listings,
        **{"remaining": 1_234} | fields,
    )
    return Fleet(
        made_at=NOW,
        reports=200,
        hosts=50,
        replaced=3,
        oldest_at=NOW,
        oldest_host="web-7",
        keys=(key,),
        findings=findings,
    )


def shown(found):
    """The table, its white space made single."""
    stream = io.StringIO()
    print_result(render(found), stream)
    return " ".join(stream.getvalue().split())


def every_finding():
    """One finding of each kind."""
    return tuple(Finding(kind=kind, where=f"at {kind}", what=HOSTILE) for kind in FINDINGS)


class TestTable:
    """The table."""

    def test_reasons_once(self):
        """A reason that many caches have is told once, with some of them, and what to do."""
        held = [listing(f"web-{number}", "held") for number in range(5)]
        said = shown(fleet(*held, listing("web-8"), listing("web-9")))
        assert (
            "held: it is held (sessions of web-0, sessions of web-1, sessions of web-2 and 2 more)"
        ) in said
        assert "retirable: 2 caches next: mend held" in said
        assert "200 reports of 50 hosts" in said
        assert GAPS not in said

    def test_many_reasons(self):
        """Of many reasons the worst are told, and how many more there are."""
        held = [listing(f"web-{n}", "held", reason=f"reason {n}") for n in range(9)]
        said = shown(fleet(*held))
        assert "reason 4" in said
        assert "reason 5" not in said
        assert "and 4 more" in said

    @pytest.mark.parametrize(("remaining", "said"), [(0, "not known"), (7, "at least 7")])
    def test_interrupted(self, remaining, said):
        """What a sweep did not come to is not counted as none, in the table and on the page."""
        known = {"remaining": remaining, "at_least": True}
        found = fleet(listing(verdict="unknown", **known), **known)
        assert f" 1 {said} 2026" in shown(found)
        assert render_fleet(found).count(f">{said}<") == 2

    @pytest.mark.parametrize("columns", [80, 100])
    def test_no_word_is_cut_off(self, columns):
        """On a narrow terminal lines are broken, in ASCII, and nothing is left out."""
        reasons = [listing(f"web-{n}", "held", reason=f"a long reason {n} " * 9) for n in range(3)]
        found = fleet(*reasons, listing("web-8"), findings=every_finding())
        lines = drawn_at(columns, render(found))
        assert max(map(len, lines)) <= columns
        assert "".join(lines).isascii()
        said = " ".join(" ".join(lines).split())
        assert "9f2c41d0" in said
        assert all(f"a long reason {n} " * 9 in said for n in range(3))
        assert all(title in said for title in FINDINGS.values())

    def test_findings(self):
        """Each finding stands under its title, and without control characters."""
        said = shown(fleet(listing(), findings=every_finding()))
        assert all(title in said for title in FINDINGS.values())
        assert all(f"at {kind}: " in said for kind in FINDINGS)
        assert GAPS in said
        assert "\x1b" not in said
        assert "\u202e" not in said


class TestPage:
    """The page."""

    @pytest.mark.parametrize("findings", [(), every_finding()], ids=["none", "all"])
    def test_valid(self, findings):
        """It is valid and escaped; that something is missing stands in place of the summary."""
        page = render_fleet(fleet(listing(HOSTILE, "held"), listing(), findings=findings))
        html5lib.HTMLParser(strict=True).parse(page)
        assert "<script>alert" not in page
        assert "\x1b" not in page
        assert (GAPS[1:] in page) == bool(findings)
        assert ("None of 1 old key can be removed yet." in page) == (not findings)

    def test_nothing(self):
        """Without an old key it says so."""
        page = render_fleet(fleet().model_copy(update={"keys": ()}))
        assert "There is no verdict: no report has an old key." in page
