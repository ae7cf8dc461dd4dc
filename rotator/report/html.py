r"""
HTML page: renders a report for auditors, on paper or on a phone.

- Self-contained: no script, no font, no picture from elsewhere; a policy in the page forbids them.
- All text from elsewhere is escaped, and control characters are shown as `\x1b`.
- Verdicts come first. A key that several caches list is told once.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rotator.report import chart, fields, words
from rotator.report.fleet.model import FINDINGS, GAPS, Fleet
from rotator.report.model import STATUSES, Cache, Key, KeyPlace, Report
from rotator.report.names import problem_lines
from rotator.text import ago, count, elapsed, escape, listing, percent, short_id, size, stamp

_WIDE = {"width": 720, "height": 230}
_NARROW = {"width": 360, "height": 220}
_PROBLEMS = 20  # shown at once; the others open with a click


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
            keys=_old_keys(report),
            placed=any(key.places for cache in report.caches for key in cache.keys),
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
        "by_status": _by_status,
        "count": count,
        "curve": _curve,
        "elapsed": elapsed,
        "fleet_summary": lambda keys: _summary([key.verdict for key in keys]),
        "ending": _ending,
        "grouped": "{:,}".format,
        "listing": listing,
        "percent": percent,
        "proof": _proof,
        "sentence": lambda said: said[:1].upper() + said[1:],
        "short_id": short_id,
        "size": size,
        "stamp": stamp,
        "summary": lambda keys: _summary([places[0][1].verdict for places in keys]),
    }
    return made


def _printable(value: Any) -> Any:
    """Return text without what a browser, or a reader, could be misled by."""
    return escape(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _by_status(key: Key) -> list[tuple[str, list[KeyPlace]]]:
    """Return the places of a key by their status, the worst first."""
    groups = [(one, [place for place in key.places if place.status == one]) for one in STATUSES]
    return [(status, places) for status, places in groups if places]


def _ending(place: KeyPlace) -> str:
    """Return what ends that a place is not clean, if anything does."""
    if place.remedy or place.until is None:
        return place.remedy
    return f"it ends by itself {stamp(place.until)}"


def _summary(verdicts: Sequence[str | None]) -> str:
    """Return what can be removed, in one sentence; each old key has a verdict."""
    keys, number = len(verdicts), sum(one == "retirable" for one in verdicts)
    if not keys:
        return "No old key is configured."
    if not number:
        return f"None of {count(keys, 'old key')} can be removed yet."
    if number == keys:
        return "The old key can be removed." if number == 1 else "All old keys can be removed."
    return f"{number:,} of {count(keys, 'old key')} can be removed."


def _proof(cache: Cache, mode: str) -> str:
    """Return how it was verified that nothing is left, in one sentence."""
    if found := cache.verification:
        return f"Verified by {words.verified(found)}: {words.findings(found)}."
    if mode == "dry-run":
        return "A dry run: nothing was written, so there was nothing to verify."
    if cache.outcomes["rotated"]:
        return "Not verified: values were rewritten, and no second sweep looked at them."
    return "Nothing was rewritten, so there was nothing to verify."


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
