"""Fleet table: renders the verdicts over many hosts for a terminal."""

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table

from rotator.report import words
from rotator.report.fields import left
from rotator.report.fleet.model import FINDINGS, GAPS, Fleet, FleetKey
from rotator.report.layout import bullets, heading, indented, listed, text, verdict_text
from rotator.retirement.places import Verdict
from rotator.text import ago, count, short_id, stamp

SHOWN, FEW = 5, 3
"""How many reasons the table has of a key, and how many caches for each; the JSON has all."""


def render(fleet: Fleet) -> RenderableType:
    """Return the verdicts, how old they are, and what else is to be known."""
    first = f"{count(fleet.reports, 'report')} of {count(fleet.hosts, 'host')}"
    old = f"{ago(fleet.oldest_at, fleet.made_at)}, of {fleet.oldest_host}: {stamp(fleet.oldest_at)}"
    parts: list[RenderableType] = [
        text(first, "bold"),
        indented(text(f"the oldest that counts: {old}")),
    ]
    if fleet.gaps:
        parts.append(indented(text(GAPS, "bold red")))
    if fleet.keys:
        parts += [text(""), _table(fleet.keys)]
    for key in fleet.keys:
        parts += [text(""), _verdict(key)]
    for kind, title in FINDINGS.items():
        if said := [f"{one.where}: {one.what}" for one in fleet.findings if one.kind == kind]:
            parts += [text(""), listed(title, said, "yellow")]
    return Group(*parts)


def _table(keys: Iterable[FleetKey]) -> Table:
    """Return every key in a line."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for title in ("key", "verdict"):
        table.add_column(title, no_wrap=True)
    for title in ("hosts", "caches", "remaining"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("oldest complete sweep")
    for key in keys:
        swept = stamp(key.swept_at) if key.swept_at else "a cache was never swept"
        remain = left(key.remaining, at_least=key.at_least)
        counts = (f"{key.hosts:,}", f"{len(key.caches):,}", remain, swept)
        table.add_row(text(short_id(key.id)), verdict_text(key.verdict), *map(text, counts))
    return table


def _verdict(key: FleetKey) -> RenderableType:
    """Return the verdict on a key, and the caches that have it, the worst first."""
    title = text(f"{short_id(key.id)} ", "bold").append_text(verdict_text(key.verdict))
    title.append_text(text(f": {words.VERDICT_MEANINGS[key.verdict]}"))
    groups: dict[tuple[str, str], list[str]] = {}
    for one in key.caches:
        if one.verdict != Verdict.RETIRABLE:
            said = (one.verdict or "current", one.reason or "no reason is known")
            groups.setdefault(said, []).append(f"{one.cache} of {one.host}")
    lines = [f"{verdict}: {why} ({_few(names)})" for (verdict, why), names in groups.items()]
    lines = [*lines[:SHOWN], *([f"and {len(lines) - SHOWN:,} more"] if lines[SHOWN:] else [])]
    fine = len(key.caches) - sum(map(len, groups.values()))
    lines += [f"retirable: {count(fine, 'cache')}"] if fine else []
    step = next((one.next_step for one in key.caches if one.next_step), None)
    ends = [indented(heading("next", step))] if step and groups else []
    return Group(title, bullets(lines), *ends)


def _few(names: Sequence[str]) -> str:
    """Return some names, and how many more there are."""
    more = f" and {len(names) - FEW:,} more" if len(names) > FEW else ""
    return ", ".join(names[:FEW]) + more
