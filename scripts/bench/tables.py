"""The figures as tables in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from textwrap import fill
from typing import Any, Final

from bench.measure import Figures

Rows = Mapping[str, Figures]
WIDTH: Final = 100

TITLES: Final = {
    "idle": "nothing running",
    "pipelines": "pipelines: GET, SET, no compare-and-set",
    "plain": "MGET, then SETs, no compare-and-set",
    "reading": "plain SCAN and MGET",
    "script": "rotator by script, one process",
    "rotator": "rotator, one process",
    "several": "rotator, 2 processes",
    "current": "rotator, nothing to rewrite",
    "default": "rotator, default latency goal, 4 processes",
    "quarter-1": "a quarter of a core: 1 process",
    "quarter-2": "a quarter of a core each: 2 processes",
    "quarter-4": "a quarter of a core each: 4 processes",
}

_COLUMNS: Final[dict[str, Callable[[Figures], str]]] = {
    "values/s": lambda row: _shown(row, "values_per_second", "{:,.0f}"),
    "with start": lambda row: _shown(row, "whole_per_second", "{:,.0f}"),
    "server us": lambda row: _shown(row, "server_us", "{:.1f}"),
    "client us": lambda row: _shown(row, "client_us", "{:.1f}"),
    "server busy": lambda row: _shown(row, "server_busy", "{:.0%}"),
    "GET p50 ms": lambda row: _shown(row, "p50_ms", "{:.2f}"),
    "GET p99 ms": lambda row: _shown(row, "p99_ms", "{:.2f}"),
    "MB": lambda row: _shown(row, "rss_mb", "{:.0f}"),
}

LEGEND: Final = """\
Each figure is the median of {repeat}. Every way begins with the same entries, read in again by
the server; names have 75 bytes, every entry a TTL of a day. Servers have core {server_core},
everything else core {client_core}; up to {other_load:.0%} of the two went to other things while a
row was measured, the GETs among them. "values/s" is of the sweep alone (`sweep_seconds` of the
report), and so are the CPU times per value and "server busy"; "with start" is of the whole process,
from its start to its end. Processes that are held to a quarter of a core run in turn; their
values/s are those of the middle half of the work. GETs come from one more client, {rate:.0f} a
second, {busy_rate:.0f} where nothing runs and beside 4 processes; each is timed from when it is
sent. MB is the peak, of all processes of a run together."""


def rendered(document: Mapping[str, Any]) -> str:
    """All of it, to be pasted into a document: the goals first."""
    machine = document["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    head = [
        f"{document['date']}, {versions}; {machine['cores']} cores of {machine['cpu']}.",
        "",
        fill(LEGEND.format(**document["method"], other_load=_other_load(document)), WIDTH),
    ]
    parts = [f"**Goals**\n\n{_goals(document['goals'])}", "\n".join(head)]
    for measured in document["results"]:
        title = f"**{measured['server']}, {measured['name']}, {measured['values']:,} values**"
        parts.append(f"{title}\n\n{_table(measured['rows'])}")
    if document["memory"]:
        parts.append(f"**Memory**\n\n{_memory(document['memory'])}")
    return "\n\n".join(parts)


def _other_load(document: Mapping[str, Any]) -> float:
    """The worst of all rows."""
    every: list[Figures] = [
        row for result in document["results"] for row in result["rows"].values()
    ]
    return max(row.get("other_load", 0.0) for row in every)


def _table(rows: Rows) -> str:
    lines = [["", *_COLUMNS]]
    for way, title in TITLES.items():
        if way in rows:
            lines.append([title, *(column(rows[way]) for column in _COLUMNS.values())])
    return markdown(lines)


def _goals(goals: Sequence[Mapping[str, str]]) -> str:
    columns = ("what", "goal", "measured", "")
    lines = [list(columns)]
    lines += [[one["what"], one["wanted"], one["measured"], one["judged"]] for one in goals]
    return markdown(lines)


def _memory(memory: Sequence[Mapping[str, Any]]) -> str:
    lines = [["names", "peak RSS MB"]]
    lines += [[f"{one['names']:,}", f"{one['rss_mb']:.1f}"] for one in memory]
    return markdown(lines)


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """A table; the first line is its head, the first column its stub."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]

    def drawn() -> Iterator[str]:
        for number, line in enumerate(lines):
            stub, *cells = zip(line, widths, strict=True)
            texts = [stub[0].ljust(stub[1]), *(cell.rjust(width) for cell, width in cells)]
            yield f"| {' | '.join(texts)} |"
            if number == 0:
                rules = ["-" * widths[0], *(f"{'-' * (width - 1)}:" for width in widths[1:])]
                yield f"| {' | '.join(rules)} |"

    return "\n".join(drawn())


def _shown(row: Figures, column: str, form: str) -> str:
    return form.format(row[column]) if column in row else ""
