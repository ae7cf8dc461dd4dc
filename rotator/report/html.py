r"""
HTML page: renders a report for auditors, on paper or on a phone.

- Self-contained: no script, no font, no picture from elsewhere; a policy in the page forbids them.
- All text from elsewhere is escaped, and control characters are shown as `\x1b`.
- Verdicts come first. A key that several caches list is told once.
- At its end a word is explained if the page uses it.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from markupsafe import escape as markup

from rotator.report import chart, fields, words
from rotator.report.agreement import Assumed, assumptions_of, taking
from rotator.report.fleet.model import FINDINGS, GAPS, Fleet
from rotator.report.model import STATUSES, Cache, Key, KeyPlace, Report
from rotator.report.names import problem_lines
from rotator.report.receipt.model import LIMITS
from rotator.retirement.places import Kind, Status
from rotator.text import ago, count, escape, listing, percent, short_id, size, stamp

_WIDE = {"width": 720, "height": 230}
_NARROW = {"width": 360, "height": 220}
_PROBLEMS = 20  # shown at once; the others open with a click
_HEADED = 3  # caches, or keys, that are named at the head of each printed page

_ABSENT = {
    Kind.REPLICA: "none was connected or listed when rotator looked",
    Kind.BACKUP_COMMAND: "no server has the command BACKUP, of Redis 8.10 or later",
    Kind.CACHES: "no other cache of the configuration lists the key",
}
"""Why there is no place of a kind, if the servers were looked at."""

GLOSSARY = {
    "sweep": (r"sweeps?|swept", "One pass over all names of a cache."),
    "visit": (r"visit(?:s|ed)?", "One look at one name. A server may return a name twice."),
    "met": (r"met", "Said of a key: a sweep read a value that is encrypted with it."),
    "opened": (r"open(?:s|ed)?", "Said of a value: a configured key decrypts it."),
    "under a key": (r"under", "Encrypted with that key."),
    "place": (r"places?", "Where a value under a key may be, now or later, such as a file."),
    "proof": (
        r"proofs?|prove[ns]?",
        "A sweep that only read, in one go, and so can show what is gone.",
    ),
    "quiet time": (
        r"quiet",
        "How long after one proof a second must confirm it; a fence ends this.",
    ),
    "fence": (r"fence", "Since when, as the operator says, no application uses an old key."),
    "TTL": (r"TTLs?", "Time to live: after that time the server deletes the value."),
    "RDB file": (r"rdb|RDB", "A snapshot of all values that a server saves on its disk."),
    "AOF, append-only file": (
        r"aof|AOF|append-only",
        "A file in which a server keeps every write, to read it again when it starts.",
    ),
}
"""Words of the page, each with how it is found there, and what it means."""


def render(report: Report, now: datetime | None = None) -> str:
    """
    Return the page.

    With *now* it is one of the past, and says how old it is.

    Raises:
        ConfigError: The library for it is not installed.
    """
    return (
        _environment()
        .get_template("report.html")
        .render(
            version=report.rotator,
            report=report,
            now=now,
            keys=(keys := _old_keys(report)),
            head=_head(report, keys),
            legend=_legend(keys),
            limits=LIMITS,
            problems_shown=_PROBLEMS,
            words=words,
            fields=fields,
            problem_lines=problem_lines,
        )
    )


def render_fleet(fleet: Fleet) -> str:
    """Return the page of many hosts."""
    template = _environment().get_template("fleet.html")
    shared = {"titles": FINDINGS, "gaps": GAPS, "words": words}
    return template.render(version=fleet.rotator, fleet=fleet, **shared)


def _old_keys(report: Report) -> list[list[tuple[Cache, Key]]]:
    """Return the old keys of all caches, each with every cache that lists it."""
    places: dict[str, list[tuple[Cache, Key]]] = {}
    for cache in report.caches:
        for key in cache.keys:
            if key.verdict:
                places.setdefault(key.id, []).append((cache, key))
    return list(places.values())


def _environment() -> Environment:
    """Return what the templates may use; all that they write is escaped."""
    made = Environment(
        loader=PackageLoader("rotator.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    made.filters |= {
        "ago": ago,
        "absent": _absent,
        "assumptions": _assumptions,
        "by_status": _by_status,
        "coded": _coded,
        "count": count,
        "css": _css,
        "curve": _curve,
        "fleet_summary": lambda keys: _summary([key.verdict for key in keys]),
        "ending": _ending,
        "explained": _explained,
        "grouped": "{:,}".format,
        "left_out": _left_out,
        "listing": listing,
        "percent": percent,
        "proof": _proof,
        "quiet": _quiet,
        "sentence": lambda said: said[:1].upper() + said[1:],
        "short_id": short_id,
        "size": size,
        "stamp": stamp,
        "summary": lambda keys: _summary(
            [places[0][1].verdict for places in keys],
            sum(len(_assumptions(one)) for one in keys if one[0][1].verdict == "retirable"),
        ),
        "taking": taking,
        "took": fields.took,
    }
    return made


def _printable(value: Any) -> Any:
    """Return text without what a browser, or a reader, could be misled by."""
    return escape(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _coded(said: Any) -> Markup:
    """Return a sentence with what stands in backticks as code."""
    # What is between the tags that are made here has been escaped.
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(markup(_printable(said)))))  # noqa: S704


def _css(said: str) -> Markup:
    """Return text as a string of CSS: nothing in it can end the string, or the style sheet."""
    safe = re.sub(r"[^A-Za-z0-9 .,:_-]", lambda one: f"\\{ord(one[0]):x} ", escape(said))
    return Markup(f'"{safe}"')  # noqa: S704 - what could be markup is escaped, as CSS has it


def _head(report: Report, keys: Sequence[Sequence[tuple[Cache, Key]]]) -> str:
    """Return what stands at the head of each printed page: the caches, and the old keys."""
    names = _some([one.name for one in report.caches], "cache")
    ids = _some([places[0][1].id for places in keys], "old key")
    return "; ".join(filter(None, (names, ids)))


def _some(names: Sequence[str], noun: str) -> str:
    """Return names after their noun, or their number if there are many; nothing if none is."""
    if len(names) > _HEADED:
        return count(len(names), noun)
    return f"{noun}{'s' * (len(names) > 1)} {listing(names)}" if names else ""


def _legend(keys: Iterable[Sequence[tuple[Cache, Key]]]) -> dict[Kind, str]:
    """Return the kinds of places that the page has, or tells of that there is none, in words."""
    listed = [key for places in keys for _, key in places]
    told = {place.kind for key in listed for place in key.places}
    told |= {kind for key in listed for kind, _ in _absent(key)}
    return {kind: meaning for kind, meaning in words.KIND_NAMES.items() if kind in told}


def _absent(key: Key) -> Iterator[tuple[Kind, str]]:
    """Yield the kinds that a key has no place of, and why, where that is known."""
    there = {place.kind for place in key.places}
    if {Kind.RDB, Kind.AOF} <= there:  # else no server was looked at
        yield from ((kind, why) for kind, why in _ABSENT.items() if kind not in there)


def _explained(body: str) -> list[tuple[str, str]]:
    """Return the words of the glossary that a part of the page has, and what they mean."""
    text = re.sub(r"<[^>]*>", " ", body)
    used = [
        (word, what, rf"(?<![\w-])(?:{how})(?![\w-])") for word, (how, what) in GLOSSARY.items()
    ]
    return [(word, what) for word, what, how in used if re.search(how, text, re.IGNORECASE)]


def _assumptions(places: Sequence[tuple[Cache, Key]]) -> list[Assumed]:
    """Return what is assumed of a key in all caches that list it."""
    return assumptions_of((cache.name, key.assumptions) for cache, key in places)


def _quiet(places: Sequence[tuple[Cache, Key]], report: Report) -> list[str]:
    """Return the quiet time of the runs that judged a key, where it was given as an option."""
    told = [fields.quiet_time(cache.facts or report.facts) for cache, _ in places]
    return list(dict.fromkeys(one for one in told if one))


def _left_out(cache: Cache) -> str | None:
    """Return what `match`, `databases` or `fields` leave out, and whether it was read."""
    outside = cache.outside
    if outside is None:
        return None
    if outside.visits is not None:
        where = "outside `match`, `databases` or `fields`"
        return f"Read, but never rewritten, because {where}: {words.left_out(outside)}"
    places = [place for key in cache.keys for place in key.places if place.kind == Kind.OUTSIDE]
    reasons = [one.evidence.partition(": ")[2] for one in places if one.status == Status.ASSUMED]
    why = f": {reasons[0]}" if any(reasons) else ""
    names = f"{count(outside.names, 'name')} outside `match` and `databases`"
    return f"Not read: {names}, declared to be somebody else's{why}"


def _by_status(key: Key) -> list[tuple[str, list[KeyPlace]]]:
    """Return the places of a key by their status, the worst first."""
    groups = [(one, [place for place in key.places if place.status == one]) for one in STATUSES]
    return [(status, places) for status, places in groups if places]


def _ending(place: KeyPlace) -> str:
    """Return what ends that a place is not clean, if anything does."""
    if place.remedy or place.until is None:
        return place.remedy
    return f"it ends by itself {stamp(place.until)}"


def _summary(verdicts: Sequence[str | None], assumptions: int = 0) -> str:
    """Return what can be removed, in one sentence; each old key has a verdict."""
    condition = taking(assumptions)
    keys, number = len(verdicts), sum(one == "retirable" for one in verdicts)
    if not keys:
        return "No old key is configured."
    if not number:
        return f"None of {count(keys, 'old key')} can be removed yet."
    if number == keys:
        return f"{'The old key' if number == 1 else 'All old keys'} can be removed{condition}."
    return f"{number:,} of {count(keys, 'old key')} can be removed{condition}."


def _proof(cache: Cache, mode: str) -> str:
    """Return how it was verified that nothing is left, in one sentence."""
    if again := cache.verification:
        return f"Verified by {words.verified(again)}: {words.findings(again)}."
    if cache.outcomes["rotated"]:
        return "Not verified: values were rewritten, and no second sweep looked at them."
    did = "A dry run: nothing was written" if mode == "dry-run" else "This run rewrote nothing"
    nodes = cache.coverage.nodes if cache.coverage else ()
    if cache.outdated or not nodes:
        return f"{did}."
    if not all(node.proven for node in nodes):
        return f"{did}, but its sweep proves nothing either: see the nodes below."
    left = sum(key.remaining for key in cache.keys if key.verdict)
    found = f"{left:,} under an old key" if left else "none under an old key"
    return f"{did}: its sweep only read, and so is itself the check: {found}."


class Drawing(NamedTuple):
    """Drawing: shows a curve on wide and on narrow pages, and holds the points of its table."""

    wide: Markup
    narrow: Markup
    points: Sequence[tuple[datetime, int]]


def _curve(key: Key, cache: Cache, ident: str) -> Drawing | None:
    """Return the drain curve of a key; None where nothing remains or nothing will change."""
    if not key.remaining > key.remaining_without_ttl or not key.drain:
        return None
    begin = min(cache.judged_at or key.drain[0][0], key.drain[0][0])
    points = [(begin, key.remaining), *key.drain]
    curve = chart.Curve(
        points,
        title=f"values that remain under key {short_id(key.id)}",
        description=f"If you only wait: {words.forecast(key)}.",
    )
    return Drawing(
        # What the drawing library makes of numbers and of our own words is markup.
        wide=Markup(chart.draw(curve, f"{ident}-wide", **_WIDE)),  # noqa: S704
        narrow=Markup(chart.draw(curve, f"{ident}-narrow", **_NARROW)),  # noqa: S704
        points=fields.changes(points),
    )
