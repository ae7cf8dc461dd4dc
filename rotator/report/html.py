r"""
The report as one HTML page: for an auditor, on paper, on a phone.

- Self-contained: no script, no font, no picture from elsewhere; a policy in the page forbids them.
- All text from elsewhere is escaped, and control characters are shown as `\x1b`.
- Verdicts come first. A key that several caches list is told once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rotator.report import chart
from rotator.report.files import write_whole
from rotator.report.model import Cache, Key, Report
from rotator.report.words import (
    ENDINGS,
    GOOD,
    MEANINGS,
    STOPPED,
    STUCK,
    VERDICT_MEANINGS,
    age,
    facts,
    findings,
    forecast,
    history,
    missed,
    outlook,
    schedule,
    verified,
)
from rotator.text import escape, listing, many, size, span, when

_WIDE = {"width": 720, "height": 230}
_NARROW = {"width": 360, "height": 220}
_PROBLEMS = 20  # shown at once; the others open with a click


def require_library() -> None:
    """
    See before the work begins that a page can be made.

    Raises:
        ConfigError: The library for it is not installed.
    """
    chart.require_library()


def render(report: Report, now: datetime | None = None) -> str:
    """
    The page.

    With *now* it is one of the past, and says how old it is.

    Raises:
        ConfigError: The library for it is not installed.
    """
    return (
        _environment()
        .get_template("report.html")
        .render(
            report=report,
            now=now,
            keys=_old_keys(report),
            problems_shown=_PROBLEMS,
            verdict_meanings=VERDICT_MEANINGS,
            ending=ENDINGS.get(report.exit_code, ""),
        )
    )


def write(report: Report, path: Path, now: datetime | None = None) -> None:
    """
    Write the page to *path*, whole or not at all.

    Raises:
        ConfigError: The library for it is not installed, the folder is missing or closed to us, or
            *path* cannot be replaced.
        StateError: Writing failed; *path* is as it was.
    """
    write_whole(path, render(report, now))


@dataclass(frozen=True, slots=True)
class OldKey:
    """An old key with every cache that lists it."""

    key: Key
    places: tuple[tuple[Cache, Key], ...]


def _old_keys(report: Report) -> list[OldKey]:
    """The old keys of all caches, each once."""
    places: dict[str, list[tuple[Cache, Key]]] = {}
    for cache in report.caches:
        for key in cache.keys:
            if key.verdict:
                places.setdefault(key.id, []).append((cache, key))
    return [OldKey(found[0][1], tuple(found)) for found in places.values()]


def _environment() -> Environment:
    """What the templates may use, and how all that they write is escaped."""
    made = Environment(
        loader=PackageLoader("rotator.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    made.filters |= {
        "many": many,
        "size": size,
        "span": span,
        "when": when,
        "facts": lambda key: tuple(facts(key)),
        "history": lambda past: tuple(history(past)),
        "forecast": forecast,
        "headline": _headline,
        "proof": _proof,
        "scope": _scope,
        "outcomes": _outcomes,
        "curve": _curve,
        "listing": listing,
        "sentence": _sentence,
        "summary": _summary,
        "outlook": outlook,
        "missed": missed,
        "schedule": schedule,
        "age": age,
    }
    return made


def _printable(value: Any) -> Any:
    """Text without what a browser, or a reader, could be misled by."""
    return escape(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _sentence(words: str) -> str:
    """Words of ours, as a sentence begins."""
    return words[:1].upper() + words[1:]


def _summary(keys: Sequence[OldKey]) -> str:
    """What can be removed, in one sentence."""
    number = sum(one.key.verdict == "retirable" for one in keys)
    if not keys:
        return "No old key is configured."
    if not number:
        return f"None of {many(len(keys), 'old key')} can be removed yet."
    if number == len(keys):
        return "The old key can be removed." if number == 1 else "All old keys can be removed."
    return f"{number} of {many(len(keys), 'old key')} can be removed."


def _headline(cache: Cache) -> tuple[str, bool]:
    """Whether all of a cache is done, and whether that is good."""
    stuck = sum(cache.outcomes[outcome] for outcome in STUCK)
    if cache.error:
        return f"failed: {cache.error}", False
    if cache.stopped:
        return STOPPED.get(cache.stopped, cache.stopped), False
    if not cache.complete:
        return "not complete", False
    if stuck:
        return f"complete, but {many(stuck, 'value')} not moved", False
    return "complete", True


def _proof(cache: Cache, mode: str) -> str:
    """How it was verified that nothing is left, in one sentence."""
    if cache.verification:
        return f"Verified by {verified(cache.verification)}: {findings(cache.verification)}."
    if mode == "dry-run":
        return "A dry run: nothing was written, so there was nothing to verify."
    if cache.outcomes["rotated"]:
        return "Not verified: values were rewritten, and no second sweep looked at them."
    return "Nothing was rewritten, so there was nothing to verify."


def _scope(cache: Cache) -> Iterator[tuple[str, str]]:
    """What was covered, as terms and what is to be said of each."""
    coverage = cache.coverage
    if coverage is None:
        return
    yield "server", coverage.mode
    if coverage.slots_covered is not None:
        yield "slots", f"{coverage.slots_covered:,} of 16,384"
    yield "databases", ", ".join(map(str, coverage.databases)) or "none"
    yield "topology", "changed during the sweep" if coverage.topology_changed else "did not change"
    yield "scans begun again", f"{coverage.restarts:,}"
    if coverage.slots_covered is not None or coverage.orphans:
        yield "names in slots of another node", f"{coverage.orphans:,}"
    for reason, seconds in cache.waited_seconds.items():
        yield f"waited for {reason}", span(seconds)


def _outcomes(cache: Cache) -> Iterator[tuple[str, int, str, str]]:
    """Each outcome: its number, what it means, and how good that is."""
    for outcome, meaning in MEANINGS.items():
        number = cache.outcomes[outcome]
        known = cache.accepted.get(outcome)
        accepted = f"; up to {known:,} are accepted" if known is not None else ""
        look = "good" if outcome in GOOD or number <= (known or 0) else "bad"
        look = look if number else "none"
        yield outcome, number, f"{meaning}{accepted}", look


@dataclass(frozen=True, slots=True)
class Drawing:
    """A curve, drawn for wide and for narrow pages, and the points of its table."""

    wide: Markup
    narrow: Markup
    points: Sequence[tuple[datetime, int]]


def _curve(key: Key, cache: Cache, ident: str) -> Drawing | None:
    """The drain curve of a key; None where nothing remains or nothing will change."""
    if not key.remaining > key.remaining_without_ttl or not key.drain:
        return None
    begin = min(cache.judged_at or key.drain[0][0], key.drain[0][0])
    points = [(begin, key.remaining), *key.drain]
    curve = chart.Curve(
        points,
        title=f"values that remain under key {key.id[:8]}",
        description=f"If you only wait: {forecast(key)}.",
    )
    return Drawing(
        # What the drawing library makes of numbers and of our own words is markup.
        wide=Markup(chart.draw(curve, f"{ident}-wide", **_WIDE)),  # noqa: S704
        narrow=Markup(chart.draw(curve, f"{ident}-narrow", **_NARROW)),  # noqa: S704
        points=[
            point
            for before, point in zip((None, *points), points, strict=False)
            if before is None or before[1] != point[1]
        ],
    )
