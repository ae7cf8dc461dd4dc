"""Bulk report: says what purge and adopt found and did, for people and as JSON values."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from rotator.report import words
from rotator.report.layout import bullets, grid, heading, indented, listed, text
from rotator.report.names import Plain, display_entry, display_field, display_name
from rotator.sweep.control import Change
from rotator.sweep.results import BulkResult
from rotator.tally.tally import SAMPLES, BulkOutcome, Tally
from rotator.text import count, size

PROBLEMS = 10
"""How many problems are shown; the JSON has more."""
_MEANINGS = {
    "changed": "changed in the meantime, and kept as they are now",
    "gone": "expired or deleted before they could be looked at",
    "denied": "the ACL forbids it",
    "failed": "anything else; the server's error is under problems",
    "contended": "changed at every try; run it again",
    "not_string": "another Redis type, never touched",
}
_ALWAYS = ("changed", "gone", "denied", "failed", "contended")  # in the JSON, also when 0


@dataclass(frozen=True, kw_only=True)
class BulkWording:
    """
    Bulk wording: holds the words of one command.

    *command* is its name, *verb* and *done* what it does (`delete`, `deleted`), and *how*; *what*
    describes the values it picks, *meanings* other outcomes; *notes* are said before, *next_step*
    after.
    """

    command: str
    verb: str
    done: str
    what: str
    meanings: Mapping[str, str]
    next_step: str
    notes: tuple[str, ...] = ()
    how: str = ""


ShowName = Callable[[bytes], str]
ShowsNames = Callable[[BulkResult], Plain]
"""Whether names of a cache may be shown as they are stored."""


def as_data(
    looked: Sequence[BulkResult],
    acted: Sequence[BulkResult],
    wording: BulkWording,
    shows: ShowsNames,
    errors: Mapping[str, str],
) -> dict[str, Any]:
    """Return the result as JSON values; `to_delete` and the like are from the look before."""
    after = {found.access.cache.name: found for found in acted}
    caches: dict[str, dict[str, Any]] = {name: {"name": name} for name in errors}
    for found in looked:
        name = found.access.cache.name
        caches[name] = _cache_data(found, after.get(name), wording, plain=shows(found))
    for name, error in errors.items():
        caches[name] |= {"complete": False, "error": error}
    return {
        "command": wording.command,
        "caches": list(caches.values()),
        "next_step": wording.next_step,
    }


def _cache_data(
    before: BulkResult, after: BulkResult | None, wording: BulkWording, *, plain: Plain
) -> dict[str, Any]:
    last, selected = after or before, before.tally.selected
    own = (BulkOutcome.PICKED, BulkOutcome.DONE)
    outcomes = {str(one): n for one, n in last.tally.outcomes.items() if n and one not in own}
    return {
        "name": before.access.cache.name,
        "complete": last.sweep.complete,
        "stopped": None if last.sweep.stopped is None else str(last.sweep.stopped),
        "visits": last.tally.visits,
        f"to_{wording.verb}": before.picked,
        wording.done: last.done,
        **{outcome: outcomes.pop(outcome, 0) for outcome in _ALWAYS},
        "others": dict(sorted(outcomes.items())),
        "reasons": dict(last.tally.reasons.most_common()),
        "bytes": selected.size,
        "prefixes": _prefixes(before.tally),
        "samples": [display_entry(name, plain=plain) for name in selected.samples],
        "nodes": [
            {
                "node": node,
                "visits": last.nodes.get(node, Tally()).visits,
                f"to_{wording.verb}": tally.outcomes[BulkOutcome.PICKED],
                wording.done: last.nodes.get(node, Tally()).done,
            }
            for node, tally in before.nodes.items()
        ],
        "problems": [
            {
                "name": display_name(problem.name, plain=plain.names),
                "field": display_field(problem.name, plain=plain.fields),
                "node": problem.node,
                "outcome": str(problem.outcome),
                "detail": problem.detail,
            }
            for problem in list(last.tally.samples())[:SAMPLES]
        ],
        "not_looked_at": list(last.sweep.not_looked_at),
    }


def _prefixes(tally: Tally) -> dict[str, int]:
    """Return how many names begin with what, the most frequent first."""
    return dict(sorted(tally.selected.prefixes.items(), key=lambda one: one[1], reverse=True))


def render(
    looked: Sequence[BulkResult],
    acted: Sequence[BulkResult],
    wording: BulkWording,
    shows: ShowsNames,
    errors: Mapping[str, str] | None = None,
    *,
    changes: Sequence[Change] = (),
) -> RenderableType:
    """Return what was found, or, once something was done, what became of it."""
    parts: list[RenderableType] = []
    for found in acted or looked:
        shown = partial(display_entry, plain=shows(found))
        parts += [Text(), *_cache(found, wording, shown, done=bool(acted))]
    for name, error in (errors or {}).items():
        parts += [Text(), text(f"{name}: failed: {error}", "bold red")]
    if acted:
        parts += [Text(), heading("next", wording.next_step)]
    elif any(found.picked for found in looked):
        parts += [Text(), *(text(note, "yellow") for note in wording.notes)]
    if changes:
        parts += [Text(), listed("changed while it ran", map(words.change, changes))]
    return Group(*parts[1:])


def _cache(
    found: BulkResult, wording: BulkWording, shown: ShowName, *, done: bool
) -> Iterator[RenderableType]:
    """Yield all there is to say about one cache."""
    tally, sweep = found.tally, found.sweep
    number, word = (found.done, wording.done) if done else (found.picked, f"to {wording.verb}")
    state, style = "", "bold"
    if sweep.stopped:
        state, style = f"; {sweep.stopped} before the end", "bold yellow"
    elif not sweep.complete:
        state, style = "; not complete", "bold red"
    headline = text(f"{count(number, 'value')} {word}{state}", style)
    yield text(f"{found.access.cache.name}: ", "bold").append_text(headline)
    yield indented(text(count(tally.visits, "visit")))
    sections: list[RenderableType] = []
    if tally.visits:
        sections.append(_outcomes(tally, wording))
    if not done and found.picked:
        sections.append(_picked(found, shown))
    if tally.problems:
        lines = [
            f"{shown(one.name)}: {one.outcome}, {one.detail}, on {one.node}"
            for one in tally.samples()
        ]
        sections.append(listed("problems", lines[:PROBLEMS], "yellow"))
    if sweep.not_looked_at:
        sections.append(listed("not looked at", sweep.not_looked_at, "yellow"))
    for section in sections:
        yield from (Text(), indented(section))


def _outcomes(tally: Tally, wording: BulkWording) -> RenderableType:
    """Return a table of what became of the visits, without what did not occur."""
    table = grid("right", "left", "left")
    rows = {
        str(BulkOutcome.DONE): (wording.done, wording.what),
        str(BulkOutcome.PICKED): (f"to {wording.verb}", wording.what),
        **{
            outcome: (outcome, words)
            for outcome, words in {**wording.meanings, **_MEANINGS}.items()
        },
    }
    for outcome in rows | dict.fromkeys(map(str, tally.outcomes)):
        if number := tally.outcomes[outcome]:  # type: ignore[index]  # a string is as good
            word, meaning = rows.get(outcome) or (outcome, "")
            whys = [
                f"{times:,} {reason.partition('.')[2]}"
                for reason, times in tally.reasons.most_common()
                if reason.startswith(f"{outcome}.")
            ]
            if whys:
                meaning = f"{meaning}: {', '.join(whys)}"
            table.add_row(text(f"{number:,}"), text(word), text(meaning))
    return table


def _picked(found: BulkResult, shown: ShowName) -> RenderableType:
    """Return where the values are that were picked, and what they are called."""
    selected = found.tally.selected
    begin = [f"{prefix or '(other)'} {n:,}" for prefix, n in _prefixes(found.tally).items()]
    nodes = grid("left", "right", "left")
    for node, tally in found.nodes.items():
        number, visits = tally.outcomes[BulkOutcome.PICKED], count(tally.visits, "visit")
        nodes.add_row(text(node), text(f"{number:,}"), text(f"of {visits}"))
    return Group(
        heading("size", size(selected.size)),
        heading("names begin with", ", ".join(begin)),
        heading("for example"),
        bullets(shown(name) for name in selected.samples),
        heading("where"),
        indented(nodes),
    )
