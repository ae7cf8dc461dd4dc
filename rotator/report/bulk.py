"""What `purge` and `adopt` would do and have done: for people, and as JSON values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from rotator.report.build import display_name
from rotator.report.table import bullets, grid, heading, indented, listed, text
from rotator.sweep.results import BulkResult
from rotator.tally.tally import DONE, PICKED, Count
from rotator.text import count, size

PROBLEMS = 10
"""How many troubles are shown; the JSON has more."""
_MEANINGS = {
    "changed": "changed meanwhile, and kept as what they are now",
    "gone": "expired or deleted before they could be looked at",
    "denied": "the ACL forbids it",
    "failed": "anything else; the server's error is under problems",
    "contended": "changed at every try; run it again",
    "not_string": "another Redis type, never touched",
}


@dataclass(frozen=True)
class BulkWording:
    """
    The words of one command.

    *command* is its name, *act* and *done* what it does (`delete`, `deleted`), *what* describes the
    values it picks, *meanings* the ends of others; *notes* are said before, *next_step* after.
    """

    command: str
    act: str
    done: str
    what: str
    meanings: Mapping[str, str]
    next_step: str
    notes: tuple[str, ...] = ()


ShowsNames = Callable[[BulkResult], bool]
"""Whether names of a cache may be shown as they are stored."""


def as_data(
    looked: Sequence[BulkResult],
    acted: Sequence[BulkResult],
    told: BulkWording,
    shows: ShowsNames,
    errors: Mapping[str, str],
) -> dict[str, Any]:
    """The result as JSON values; `to_delete` and the like are from the look that came first."""
    after = {found.access.cache.name: found for found in acted}
    caches: dict[str, dict[str, Any]] = {name: {"name": name} for name in errors}
    for found in looked:
        name = found.access.cache.name
        caches[name] = _cache_data(found, after.get(name), told, shows)
    for name, error in errors.items():
        caches[name] |= {"complete": False, "error": error}
    return {"command": told.command, "caches": list(caches.values()), "next_step": told.next_step}


def _cache_data(
    before: BulkResult, after: BulkResult | None, told: BulkWording, shows: ShowsNames
) -> dict[str, Any]:
    last = after or before
    shown = partial(display_name, plain=shows(before))
    ends = {end: number for end, number in last.count.ends.items() if end not in {PICKED, DONE}}
    return {
        "name": before.access.cache.name,
        "complete": last.sweep.complete,
        "stopped": None if last.sweep.stopped is None else str(last.sweep.stopped),
        "visits": last.count.visits,
        f"to_{told.act}": before.picked,
        told.done: last.done,
        **{end: ends.pop(end, 0) for end in ("changed", "gone", "denied", "failed", "contended")},
        "others": dict(sorted(ends.items())),
        "reasons": {
            f"{end}.{why}": number for (end, why), number in last.count.details.most_common()
        },
        "bytes": before.count.size,
        "prefixes": dict(before.count.prefixes.most_common()),
        "samples": [shown(name) for name in before.count.samples],
        "nodes": [
            {
                "node": node,
                "visits": (after.nodes.get(node, Count()) if after else count).visits,
                f"to_{told.act}": count.ends[PICKED],
                told.done: after.nodes.get(node, Count()).ends[DONE] if after else 0,
            }
            for node, count in before.nodes.items()
        ],
        "problems": [
            {
                "name": shown(trouble.name),
                "node": trouble.node,
                "outcome": trouble.end,
                "detail": trouble.detail,
            }
            for trouble in last.count.troubles
        ],
        "not_looked_at": list(last.sweep.not_looked_at),
    }


def render(
    looked: Sequence[BulkResult],
    acted: Sequence[BulkResult],
    told: BulkWording,
    shows: ShowsNames,
    errors: Mapping[str, str] | None = None,
) -> RenderableType:
    """What was found, or, once something was done, what became of it."""
    parts: list[RenderableType] = []
    for found in acted or looked:
        shown = partial(display_name, plain=shows(found))
        parts += [Text(), *_cache(found, told, shown, done=bool(acted))]
    for name, error in (errors or {}).items():
        parts += [Text(), text(f"{name}: failed: {error}", "bold red")]
    if acted:
        parts += [Text(), heading("next", told.next_step)]
    elif any(found.picked for found in looked):
        parts += [Text(), *(text(note, "yellow") for note in told.notes)]
    return Group(*parts[1:])


def _cache(
    found: BulkResult, told: BulkWording, shown: Callable[[bytes], str], *, done: bool
) -> Iterator[RenderableType]:
    """All there is to say about one cache."""
    number = found.done if done else found.picked
    word = told.done if done else f"to {told.act}"
    state, style = "", "bold"
    if found.sweep.stopped:
        state, style = f"; {found.sweep.stopped} before the end", "bold yellow"
    elif not found.sweep.complete:
        state, style = "; not complete", "bold red"
    name = found.access.cache.name
    yield text(f"{name}: ", "bold").append_text(
        text(f"{count(number, 'value')} {word}{state}", style)
    )
    yield indented(text(count(found.count.visits, "visit")))
    if found.count.visits:
        yield from _section(_ends(found.count, told))
    if not done and found.picked:
        yield from _section(_picked(found, shown))
    if found.count.troubles:
        yield from _section(_troubles(found.count, shown))
    if found.sweep.not_looked_at:
        yield from _section(listed("not looked at", found.sweep.not_looked_at, "yellow"))


def _section(body: RenderableType) -> Iterator[RenderableType]:
    """*body* under its cache, after an empty line."""
    yield Text()
    yield indented(body)


def _ends(count: Count, told: BulkWording) -> RenderableType:
    """What became of the visits; what did not occur is left out."""
    table = grid("right", "left", "left")
    words = {PICKED: (f"to {told.act}", told.what), DONE: (told.done, told.what)}
    order = [DONE, PICKED, *told.meanings, *_MEANINGS]
    for end in sorted(count.ends, key=lambda one: order.index(one) if one in order else 99):
        word, meaning = words.get(end, (end, told.meanings.get(end) or _MEANINGS.get(end, "")))
        whys = [f"{n:,} {why}" for (at, why), n in count.details.most_common() if at == end]
        if whys:
            meaning = f"{meaning}: {', '.join(whys)}"
        if count.ends[end]:
            table.add_row(text(f"{count.ends[end]:,}"), text(word), text(meaning))
    return table


def _picked(found: BulkResult, shown: Callable[[bytes], str]) -> RenderableType:
    """Where the values are that were picked, and what they are called."""
    picked = found.count
    begin = [f"{prefix or '(other)'} {n:,}" for prefix, n in picked.prefixes.most_common()]
    parts: list[RenderableType] = [
        heading("size", size(picked.size)),
        heading("names begin with", ", ".join(begin)),
        heading("for example"),
        bullets(shown(name) for name in picked.samples),
        heading("where"),
    ]
    nodes = grid("left", "right", "left")
    for node, here in found.nodes.items():
        nodes.add_row(
            text(node), text(f"{here.ends[PICKED]:,}"), text(f"of {count(here.visits, 'visit')}")
        )
    return Group(*parts, indented(nodes))


def _troubles(count: Count, shown: Callable[[bytes], str]) -> RenderableType:
    """Some of the values that could not be dealt with."""
    lines = [
        f"{shown(trouble.name)}: {trouble.end}, {trouble.detail}, on {trouble.node}"
        for trouble in count.troubles[:PROBLEMS]
    ]
    return listed("problems", lines, "yellow")
