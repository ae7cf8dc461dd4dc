"""Tests of the HTML page: whole, escaped, self-contained, and clean in a real browser."""

import importlib
import re
import subprocess
import sys
from itertools import pairwise
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import html5lib
import pytest
import typer

from rotator.cli.app import app
from rotator.errors import ConfigError, ServerError
from rotator.report import chart, fields, html, table
from rotator.report.build import failed_report
from rotator.report.fields import Facts
from rotator.report.live import status
from rotator.report.model import VERDICTS, Cache, Coverage, Key, Outside
from rotator.report.receipt.model import LIMITS
from rotator.state.live import NodeStatus, Owner, RunStatus
from rotator.sweep.control import Change
from rotator.tally.tally import Mode
from rotator.text import stamp
from support import browser
from support.html_pages import END, HOSTILE, HOUR, START, report
from support.sample_reports import HELD, QUIET, UNKNOWN, drawn_at, place, placed_key

SHOWN = HOSTILE.replace("\x1b", r"\x1b").replace("\u202e", r"\u202e").replace("\x00", r"\x00")
OLD = "9f2c41d07be3a655"
OUTSIDE = "2 names outside `match` and `databases` hold no value under it: the mail team's"


def parsed(page):
    """The page as a strict parser sees it: any mistake in it is an error."""
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(page)


def words(element):
    """All text of an element, without the style sheet, its white space made single."""
    parts = [one.text or "" if one.tag != "style" else "" for one in [element]]
    for child in element:
        parts += [words(child), child.tail or ""]
    return " ".join(" ".join(parts).split())


def page_of(*caches, **fields):
    """The page on some caches, parsed."""
    return parsed(html.render(report(caches=caches, **fields)))


def old_key(**fields):
    """One old key."""
    usual = {"id": OLD, "role": "old", "field": "caches[0].encryption.keys.old[0]"}
    return Key(**usual | {"verdict": "retirable"} | fields)


@pytest.fixture(scope="module")
def page():
    """The page on a report that has something of everything."""
    return html.render(report())


PLAIN_NUMBER = re.compile(r"(?<![\w.,:/-])(?!202[67]\b)\d{4,}(?![\w:-])|\d %")


def test_numbers_are_written_one_way(page):
    """On the page, in the table and in `status` thousands are marked, and a % has no space."""
    run = RunStatus(
        *("3f2cab", Owner.here(), "run", ("box",), START, START),
        cache="box",
        phase="rotating",
        visits=341_200,
        visits_before=58_302,
        expected=812_204,
        rate=4230.4,
        rotated=339_120,
        left=16_631,
        nodes=(NodeStatus("a:1", "done", 3_000, 3_000), NodeStatus("b:1", "under way", 7_000)),
        limits={"max-rate": 5000.0, "max-lag": 1_048_577.0},
    )
    shown = [
        words(parsed(page)),
        *drawn_at(1000, table.render(report(), END)),
        *drawn_at(1000, status.render(status.Overview([run], report(), START))),
    ]
    process = f"{run.owner.pid} of "
    assert PLAIN_NUMBER.findall("\n".join(shown).replace(process, "")) == []


class TestPage:
    """What is on the page."""

    def test_valid(self, page):
        """A strict parser finds nothing wrong with it."""
        assert parsed(page).tag == "html"

    def test_verdicts_on_top(self, page):
        """The first thing after the heading are the verdicts, each with all that belongs to it."""
        main = parsed(page).find(".//main")
        first = words(main[0])
        assert main[0].get("id") == "verdicts"
        assert [words(one) for one in main[0].findall(".//h3")] == [
            "retirable 9f2c41d07be3a655",
            "draining 1d77e0a94c5b2f38",
            "in-use 77b3c2d1e0f4a596",
            "held aa00bb11cc22dd33",
        ]
        assert "200 values without a TTL remain under it 7 are encrypted with it again" in first
        assert "Next step BGSAVE on redis-0, then run again" in first
        assert "Held until 2026-12-23 10:03:12 UTC" in first
        assert "shared-redis, at caches[0].encryption.keys.old[0]" in first
        assert f"{SHOWN}, at caches[1].encryption.keys.old[0]" in first

    def test_summary(self, page):
        """One sentence says how many keys can be removed, and how the run ended."""
        header = words(parsed(page).find(".//header"))
        assert "1 of 4 old keys can be removed." in header
        assert "complete, but some values could not be moved (exit code 3)" in header
        assert "Took 3 min 12 s" in header

    @pytest.mark.parametrize(
        ("verdicts", "sentence"),
        [
            ([], "No old key is configured."),
            (["retirable"], "The old key can be removed."),
            (["held"], "None of 1 old key can be removed yet."),
            (["retirable", "retirable"], "All old keys can be removed."),
            (["retirable", "in-use"], "1 of 2 old keys can be removed."),
        ],
    )
    def test_sentence(self, verdicts, sentence):
        """It is right for any number of keys."""
        keys = tuple(
            old_key(id=f"{number:016x}", verdict=verdict) for number, verdict in enumerate(verdicts)
        )
        assert sentence in words(page_of(Cache(name="a", keys=keys)).find(".//header"))

    def test_parts(self, page):
        """Outcomes, coverage, problems, warnings, accepted items, waits and versions are there."""
        text = words(parsed(page).find(".//body"))
        for part in (
            "undecryptable 30 no configured format and key opens them; up to 40 are accepted",
            "visits 812,346",
            "Verified by a second sweep, 812,346 visits, and every name written meanwhile: none",
            "redis 7.0.15 2f0e2f0e2f0e 270,782 complete; scan restarted 1 time",
            "Slots 16,384 of 16,384",
            "Waited for replicas behind 4.2 s",
            "only names that match /app/* were visited",
            "up to 40 undecryptable ; 30 met",
            "31 visits had a problem; 31 samples:",
            "Not everything was looked at: redis-9:6379 was not swept to the end",
            "not complete; the connection was lost",
            "Failed: redis-7:6379: connection refused",
            "Made by rotator 1.0.0, report schema 2.",
            "clean since 2026-11-23 08:00:00 UTC: 3 complete sweeps did not meet it",
            "if you only wait: all 48,210 values expire by 2026-11-24 17:03:12 UTC",
            "on jump-1 Options --quiet 3s",
            "File /etc/maverics/maverics.yaml, SHA-256 3f3f3f3f3f3f3f3f",
            "Result complete, but some values could not be moved (exit code 3)",
            "time 5 min 00 s 3 min 12 s two sweeps",
            "share of the server's core not known not known it is not known how long it takes",
            "The fastest way: 4 processes a node, on 3 machines of 4 cores",
            "redis-1.internal:6379: before p50 0.10, p99 0.60, max 0.61 ms (50 PINGs); during p50",
            "30 undecryptable, bad_tag: names begin with /app/oidc",
            "Found by another run: by",
            "The sweep was not finished: there may be more than was counted.",
        ):
            assert part in text

    def test_what_was_changed_meanwhile(self):
        """What `rotator tune` changed while the run went on is said with its options."""
        made = Change(at=END, what="max-rate", before="9", after="5", user=HOSTILE, host="there")
        head = words(parsed(html.render(report(changes=(made,)))).find(".//header"))
        assert f"Changed {stamp(END)}: max-rate 9 -> 5, " in head
        assert " on there" in head

    def test_all_problems(self, page):
        """Every sample is on the page; those beyond the first twenty open with a click."""
        found = parsed(page)
        rows = found.findall(".//table[@class='stack problems']/tbody/tr")
        assert len(rows) == 31
        assert words(found.findall(".//details/summary")[-1]) == "11 more samples"

    def test_same_numbers_as_the_report(self):
        """A row of the keys' table is what the report has."""
        found = page_of(report().caches[0])
        rows = found.find(".//section[@class='cache']/table[@class='stack']/tbody")
        assert words(rows[3]) == ("77b3c2d1e0f4a596 old 812,203 0 1,300 200 287 MB 0%")

    @pytest.mark.parametrize("verdict", VERDICTS)
    def test_every_verdict(self, verdict):
        """Every verdict has its mark, its meaning and its colour."""
        found = page_of(Cache(name="a", keys=(old_key(verdict=verdict),)))
        article = found.find(".//article")
        assert article.get("class") == f"verdict {verdict}"
        assert f".{verdict}" in html.render(report())

    def test_failed_run(self):
        """A run that failed as a whole has a page that says so, and no verdict."""
        error = ServerError(f"refused {HOSTILE}")
        found = parsed(html.render(failed_report(error, Mode.RUN, START, END)))
        assert f"refused {SHOWN}" in words(found.find(".//header"))
        assert "nothing was judged" in words(found.find(".//header"))
        assert "the run failed before any key was looked at" in words(found.find(".//main"))

    def test_how_it_was_verified(self):
        """A run that was not verified never looks as if it was; one that only read is the check."""
        coverage = report().caches[0].coverage
        proven = tuple(node.model_copy(update={"proven": True}) for node in coverage.nodes)
        rotated = Cache(name="a", coverage=coverage, outcomes={"rotated": 2})
        idle = Cache(name="a", coverage=coverage, outcomes={"current": 2})
        read = idle.model_copy(update={"coverage": coverage.model_copy(update={"nodes": proven})})
        left = read.model_copy(update={"keys": (old_key(remaining=3, verdict="in-use"),)})
        its = "its sweep only read, and so is itself the check"
        assert "Not verified: values were rewritten" in words(page_of(rotated))
        assert "This run rewrote nothing, but its sweep proves nothing" in words(page_of(idle))
        assert f"This run rewrote nothing: {its}: none under an old key." in words(page_of(read))
        assert f"{its}: 3 under an old key." in words(page_of(left))
        dry = words(page_of(read, mode="dry-run"))
        assert f"A dry run: nothing was written: {its}: none" in dry

    def test_past(self):
        """A page on the past says how old it is."""
        found = parsed(html.render(report(), now=END + 2 * HOUR))
        assert "Last complete sweep 2 hours ago: 2026-11-23 10:03:12 UTC." in words(found)


class TestPlaces:
    """The places of a key on the page."""

    def groups(self, *keys):
        """The groups of places of the first verdict: what stands over each, and its rows."""
        caches = [Cache(name=f"c{number}", keys=(key,)) for number, key in enumerate(keys)]
        found = page_of(*caches).findall(".//article/details")
        return {
            words(one.find("summary")): [words(row) for row in one.findall(".//tbody/tr")]
            for one in found
        }

    def test_all_of_them(self):
        """Every place is there, by its status, the worst first, with what is known of it."""
        groups = self.groups(placed_key())

        assert [title.partition(":")[0] for title in groups] == [
            "2 places holding",
            "1 place unknown",
            "1 place assumed",
            "6 places clean",
        ]
        holding, unknown, assumed, clean = groups.values()
        assert holding[0] == f"aof 10.0.0.7:6379 {HELD} BGREWRITEAOF there"
        assert holding[1] == (
            "backups backups are kept for 30d it ends by itself 2026-12-23 10:00:00 UTC"
        )
        assert unknown == [f"replica 10.0.0.7:6379 {UNKNOWN} list it"]
        assert assumed == [f"writers {QUIET}"]
        assert "the rdb of 10.0.0.7:6379 was looked at 2026-11-23 11:00:00 UTC" in clean[3]

    def test_clean_ones_are_closed(self):
        """What is not clean is open to see; the rest opens with a click."""
        found = page_of(Cache(name="a", keys=(placed_key(),))).findall(".//article/details")

        assert [one.get("open") is not None for one in found] == [True, True, True, False]

    def test_assumptions(self):
        """What the verdict takes for granted is listed in its box, and what each rests on."""
        assumptions = (f"assuming that {QUIET}", OUTSIDE)
        [box] = page_of(
            Cache(name="a", keys=(placed_key(assumptions=assumptions),)),
        ).findall(".//article/div[@class='assumptions']")

        assert [words(one) for one in box.findall("ol/li")] == [
            f"N{QUIET[1:]}. Not declared: nothing shows it.",
            (
                "2 names outside match and databases hold no value under it. Declared in the"
                " configuration: the mail team's."
            ),
        ]
        assert [one.text for one in box.findall(".//code")] == ["match", "databases"]

    @pytest.mark.parametrize(
        ("assumptions", "condition"),
        [
            ((), "."),
            ((QUIET,), ", if the assumption below holds."),
            ((QUIET, OUTSIDE), ", if the 2 assumptions below hold."),
        ],
    )
    def test_condition(self, assumptions, condition):
        """A key that can be removed can be so only if what is assumed is true."""
        found = page_of(Cache(name="a", keys=(old_key(assumptions=assumptions),)))

        assert (
            words(found.find(".//article/p[@class='meaning']")) == f"It can be removed{condition}"
        )
        summary = found.find(".//header/p[@class='summary']")
        assert words(summary) == f"The old key can be removed{condition}"

    def test_no_condition(self):
        """A key that has to be kept has its assumptions, and its headline no condition."""
        found = page_of(Cache(name="a", keys=(placed_key(),)))

        assert "if the" not in words(found.find(".//article/p[@class='meaning']"))

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ((), []),
            (("--quiet 5s", "--fresh"), ["Quiet time: 5s (the default is 1h)."]),
            (("--quiet 1h",), ["Quiet time: 1h (the default)."]),
        ],
    )
    def test_quiet_time(self, options, said):
        """A quiet time that was given stands beside the verdict."""
        cache = Cache(name="a", keys=(placed_key(),), facts=Facts(options=options))
        assert [
            words(one) for one in page_of(cache).findall(".//article/p[@class='quiet']")
        ] == said

    def test_the_default_quiet_time(self):
        """It is what the help says."""
        command = typer.main.get_command(app).get_command(None, "run")
        [option] = [one for one in command.params if one.name == "quiet"]
        assert option.help.endswith(f"Default: {fields.QUIET}.")

    def test_title_of_what_is_assumed(self):
        """What is only assumed is not called known."""
        titles = page_of(Cache(name="a", keys=(placed_key(),))).findall(".//article//thead/tr")
        assert [words(one[1]) for one in titles] == [
            "What is known",
            "What is known",
            "What is known or assumed",
            "What is known",
        ]

    def test_kinds_without_a_place(self):
        """Of a kind without a place it is said why, and what is not told of has no legend."""
        few = tuple(one for one in placed_key().places if one.kind not in {"replica", "caches"})
        notes = words(page_of(Cache(name="a", keys=(placed_key(places=few),))))
        assert (
            "There is no place of these kinds: replica (none was connected or listed when rotator"
            " looked), caches (no other cache of the configuration lists the key)."
        ) in notes
        assert " replica the replicas," in notes
        blind = tuple(one for one in few if one.kind not in {"rdb", "backup-command"})
        notes = words(page_of(Cache(name="a", keys=(placed_key(places=blind),))))
        assert "There is no place of these kinds" not in notes
        assert "the replicas" not in notes

    def test_what_no_server_can_say(self):
        """What every verdict takes for granted is the list of a receipt; the page is not signed."""
        section = page_of(report().caches[0]).find(".//section[@id='limits']")
        granted, shows = section.findall("ul")
        assert [words(one) for one in granted] == list(LIMITS)
        assert "does not show that a key was destroyed" in words(shows)
        assert "This page is not signed" in words(shows)
        assert page_of(Cache(name="a")).find(".//section[@id='limits']") is None

    def test_nothing_twice(self):
        """No reason stands above the places that say the same."""
        article = words(page_of(Cache(name="a", keys=(placed_key(),))).find(".//article"))

        assert [article.count(said) for said in (HELD, UNKNOWN)] == [1, 1]

    def test_of_each_cache(self):
        """A key that several caches list has the places of each, with its name."""
        titles = list(self.groups(placed_key(), placed_key()))

        assert [title.partition(" places")[0] for title in titles if "s clean" in title] == [
            "c0: 6",
            "c1: 6",
        ]

    def test_earlier_version(self):
        """What an earlier version judged has its reasons, and says so."""
        cache = Cache(name="a", keys=(old_key(reasons=("never met",)),), outdated=True)
        article = page_of(cache).find(".//article")

        assert "never met" in words(article)
        assert "Judged by an earlier version of rotator" in words(article)
        assert article.find("details") is None


class TestLeftOut:
    """What the page says of names that were not read."""

    def coverage(self, **fields):
        """What stands under the heading of the coverage."""
        usual = {"name": "a", "complete": True, "coverage": Coverage(mode="standalone")}
        section = page_of(Cache(**usual | fields)).find(".//section[@class='cache']")
        said = words(section).partition("Coverage ")[2].partition(" Server ")[0]
        return said.replace(" ,", ",").replace(" :", ":")

    def test_nothing(self):
        """That nothing was left out is said only if that is so."""
        gap = Coverage(mode="standalone", not_looked_at=("redis-9",))
        assert self.coverage() == "Nothing was left out."
        for fields_ in ({"complete": False}, {"outdated": True}, {"coverage": gap}):
            assert "Nothing was left out" not in self.coverage(**fields_)

    def test_not_read(self):
        """What was declared to be another's was not read, for the reason that was given."""
        places = (place("outside", "", "assumed", evidence=OUTSIDE),)
        left = {"outside": Outside(visits=None, names=2)}
        said = "Not read: 2 names outside match and databases, declared to be somebody else's"
        assert self.coverage(**left) == f"{said}."
        assert self.coverage(**left, keys=(old_key(places=places),)) == f"{said}: the mail team's."

    def test_read(self):
        """What was read and is never rewritten is counted."""
        outside = Outside(visits=7, names=7, under_old_keys={OLD: 2}, not_opened=1)
        assert self.coverage(outside=outside) == (
            "Read, but never rewritten, because outside match, databases or fields: 7 visits, 2"
            " under old keys, 1 not opened."
        )


class TestGlossary:
    """The words that are explained at the end of the page."""

    def explained(self, *caches):
        """The words, and what stands for each."""
        found = page_of(*caches).findall(".//footer/dl[@class='words']")[-1]
        return {words(one[0]): words(one[1]) for one in found}

    def test_only_words_that_are_used(self, page):
        """Each of them is on the page, and what is not there is not explained."""
        few = self.explained(Cache(name="a"))
        assert {"fence", "RDB file", "quiet time"}.isdisjoint(few)
        fenced = old_key(reasons=("since the fence",))
        assert "fence" in self.explained(Cache(name="a", keys=(fenced,)))
        assert "sweep" in words(parsed(page).find(".//footer"))

    def test_every_word_is_plain(self):
        """Each has one line, and is found where it is used."""
        for word, (how, meaning) in html.GLOSSARY.items():
            assert re.search(how, word, re.IGNORECASE)
            assert len(meaning) <= 90
            assert meaning.endswith(".")


class TestPrint:
    """What is printed at the head of each page."""

    def test_names(self):
        """A few caches and keys are named, and many are counted."""
        one, many = Cache(name="a", keys=(old_key(),)), [Cache(name=f"c{n}") for n in range(4)]
        head = rf'@top-right {{ content: "cache a\3b  old key {OLD}"; }}'
        assert head in html.render(report(caches=(one,)))
        assert '@top-right { content: "4 caches"; }' in html.render(report(caches=many))

    def test_no_text_ends_the_style_sheet(self):
        """Whatever a name holds, it stays within its string."""
        page = html.render(report(caches=(Cache(name=f'a"; }} </style>{HOSTILE}\\'),)))
        sheet = page.partition("<style>")[2].partition("</style>")[0]
        [line] = [one for one in sheet.splitlines() if "@top-right" in one]
        inside = line.partition('"')[2].rpartition('"')[0]
        assert re.fullmatch(r"[A-Za-z0-9 .,:_-]|(?:[A-Za-z0-9 .,:_-]|\\[0-9a-f]+ )*", inside)


class TestSafety:
    """What the page must not do, whatever names and messages hold."""

    def test_hostile_text(self, page):
        """Text from elsewhere makes no element, and control characters are shown, not sent."""
        found = parsed(page)
        assert found.findall(".//script") == []
        assert words(found).count(SHOWN) >= 6
        assert not set(page) & {"\x1b", "\u202e", "\x00"}

    def test_nothing_from_elsewhere(self, page):
        """No element loads anything, and a policy forbids it."""
        found = parsed(page)
        for element in found.iter():
            for name, value in element.attrib.items():
                plain = str(name).rpartition("}")[2]
                assert not plain.startswith("on")
                assert plain not in {"src", "srcset", "action", "data"}
                assert plain != "href" or value == "data:,"
        policy = found.find(".//meta[@http-equiv='Content-Security-Policy']").get("content")
        assert policy.startswith("default-src 'none'; style-src 'unsafe-inline';")
        assert not re.search(r"@import|url\(", page)

    def test_ids(self, page):
        """No id is there twice, and every reference to one leads somewhere."""
        found = parsed(page)
        ids = [element.get("id") for element in found.iter() if element.get("id")]
        referred = {
            one
            for element in found.iter()
            for one in (element.get("aria-labelledby") or "").split()
        }
        assert len(ids) == len(set(ids))
        assert referred <= set(ids)


class TestChart:
    """The drain curve."""

    def draw(self, *points, **fields):
        """A picture as a tree."""
        title = {"title": "a <title>", "description": "a & b"}
        curve = chart.Curve(points, **title | fields)
        return ET.fromstring(chart.draw(curve, "c", width=720, height=230))  # noqa: S314 - our own

    def labels(self, hours, width=720):
        """The labels of the time axis for a curve of so many hours from 10:03."""
        curve = chart.Curve([(END, 9), (END + hours * HOUR, 0)], "", "")
        tree = ET.fromstring(chart.draw(curve, "c", width=width, height=200))  # noqa: S314 - our own
        return [one.text for one in tree.findall(".//g[@class='axis x']//text")]

    def test_accessible(self):
        """Who cannot see it is told what it shows."""
        tree = self.draw((START, 9), (END, 0))
        assert (tree.get("role"), tree.get("aria-labelledby")) == ("img", "c-title c-description")
        assert tree.find("title[@id='c-title']").text == "a <title>"
        assert tree.find("desc[@id='c-description']").text == "a & b"

    def test_nothing_but_a_picture(self):
        """Neither script nor style nor colour is in it, so that the page's style sheet decides."""
        tree = self.draw((START, 9), (END, 0))
        assert {one.tag for one in tree.iter()} == {"svg", "title", "desc", "g", "path", "text"}
        assert not any(one.get("style") or one.get("fill") for one in tree.iter())

    def test_stairs(self):
        """A number holds until the next point: the line never says fewer than there are."""
        tree = self.draw((START, 10), (START + HOUR, 10), (START + 2 * HOUR, 0))
        line = tree.find(".//g[@class='series serie-1 color-1']/path").get("d")
        places = re.findall(r"([\d.]+) ([\d.]+)", line)
        heights = [y for _, y in places]
        assert heights == [heights[0]] * (len(heights) - 1) + [heights[-1]]

    @pytest.mark.parametrize(
        ("hours", "labels"),
        [
            (4, ["11:00", "12:00", "13:00", "14:00"]),
            (31, ["12:00", "18:00", "24 Nov", "06:00", "12:00"]),
            (24 * 365 * 7, ["2028", "2030", "2032"]),
            (24 * 7, ["25 Nov", "27 Nov", "29 Nov"]),
            (24 * 200, ["Jan 2027", "Mar 2027", "May 2027"]),
        ],
    )
    def test_times(self, hours, labels):
        """The times under it are round, and as exact as the span asks for."""
        assert self.labels(hours) == labels

    @pytest.mark.parametrize("hours", [0, 1, 5, 48, 720, 9_600, 640_000, 69_800_000])
    @pytest.mark.parametrize("width", [360, 720])
    def test_never_crowded(self, hours, width):
        """From an hour to the end of the calendar there are some times, and never too many."""
        assert 1 <= len(self.labels(hours, width)) <= width // 110 + 1

    @pytest.mark.parametrize("most", [0, 1, 2, 3, 7, 10, 999, 1_000_001, 5_000_000_000])
    def test_numbers(self, most):
        """The numbers beside it are round, few, start with 0 and do not pass the most."""
        tree = self.draw((START, most), (START + HOUR, 0))
        texts = [one.text for one in tree.findall(".//g[@class='axis y always_show']//text")]
        numbers = [int(one.replace(",", "")) for one in texts]
        assert numbers[0] == 0
        assert numbers[-1] <= most
        assert len(numbers) <= 5
        steps = {str(one - before).rstrip("0") for before, one in pairwise(numbers)}
        assert steps <= {"1", "2", "5"}

    def test_only_where_something_changes(self):
        """A key whose values stay, or that has none, has no curve; every other has its points."""
        found = page_of(report().caches[0])
        assert len(found.findall(".//figure")) == 2
        rows = found.find(".//table[@class='points']/tbody")
        assert words(rows[0]) == "2026-11-23 10:03:12 UTC 48,210"
        assert words(rows[-1]).endswith(" 0")


@pytest.mark.parametrize(
    ("outcomes", "accepted", "state", "look"),
    [
        ({"contended": 1}, {}, "Complete, but 1 value not moved", "state bad"),
        ({"undecryptable": 3}, {"undecryptable": 3}, "Complete", "state good"),
        ({"denied": 4}, {}, "Complete, but 4 values not moved", "state bad"),
    ],
)
def test_headline(outcomes, accepted, state, look):
    """The state of a cache is good if a run over it ends with 0, and not if it ends with 3."""
    found = page_of(Cache(name="a", complete=True, outcomes=outcomes, accepted=accepted))
    line = found.find(".//section[@class='cache']/p")
    assert (words(line), line.get("class")) == (state, look)


class TestOtherLibraries:
    """The drawing library beside other ones."""

    def test_lxml(self, monkeypatch):
        """A curve is drawn also where pygal would make its elements with lxml."""
        made = importlib.import_module("pygal.etree").etree
        monkeypatch.setattr(made, "_etree", SimpleNamespace())  # what makes no element of ours
        monkeypatch.setattr(made, "lxml", True)
        points = ((START, 5), (START + HOUR, 0))
        drawn = chart.draw(chart.Curve(points, "title", "description"), "c", width=720, height=230)
        assert drawn.startswith("<svg ")
        assert "<path" in drawn


class TestMissingExtra:
    """Without the drawing library."""

    def test_hint(self, monkeypatch):
        """The error says how to install it, before anything is done."""
        monkeypatch.setitem(sys.modules, "pygal", None)
        monkeypatch.setitem(sys.modules, "pygal.style", None)
        with pytest.raises(ConfigError, match="needs pygal") as caught:
            chart.require_library()
        assert caught.value.hint == "pip install 'redis-rotator[html]'"

    def test_everything_else_works(self):
        """Only the page needs it: the command line starts without."""
        script = "import sys; sys.modules['pygal'] = None; import rotator.cli"
        subprocess.run([sys.executable, "-c", script], check=True)


class TestBrowser:
    """The page in a real browser."""

    @pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
    @pytest.mark.parametrize("width", [500, 1000])
    def test_opens_without_a_complaint(self, page, tmp_path, width, dark):
        """A real browser builds the same page from it, and its console stays empty."""
        found = browser.find()
        if found is None:
            pytest.skip(browser.MISSING)
        path = tmp_path / "page.html"
        path.write_text(page)
        opened = browser.open_page(found, path, tmp_path / "profile", width=width, dark=dark)
        assert opened.console == []
        built = html5lib.parse(opened.document, namespaceHTMLElements=False)
        assert words(built.find(".//main")) == words(parsed(page).find(".//main"))
        assert (
            len(built.findall(".//svg")) + len(built.findall(".//{http://www.w3.org/2000/svg}svg"))
            == 4
        )

    def test_the_browser_would_complain(self, page, tmp_path):
        """Scripts and pictures from elsewhere are stopped by the page's policy, and that shows."""
        found = browser.find()
        if found is None:
            pytest.skip(browser.MISSING)
        path = tmp_path / "page.html"
        path.write_text(page.replace("<main>", "<main><script>document.title='x'</script>"))
        opened = browser.open_page(found, path, tmp_path / "profile")
        assert any("Content Security Policy" in line for line in opened.console)
        assert "<title>x</title>" not in opened.document
