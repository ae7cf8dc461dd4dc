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
    "pipelines": "GET, SET",
    "plain": "MGET, SET",
    "reading": "SCAN, MGET",
    "script": "rotator, by script",
    "rotator": "rotator",
    "several": "rotator, 2 processes",
    "current": "rotator, no rewrite",
    "default": "rotator, defaults",
    "quarter-1": "1 x a quarter core",
    "quarter-2": "2 x a quarter core",
    "quarter-4": "4 x a quarter core",
}
"""How each way is called: short, so that a table fits into 80 columns. `LEGEND` says more."""

_COLUMNS: Final[dict[str, Callable[[Figures], str]]] = {
    "values/s": lambda row: _shown(row, "values_per_second", "{:,.0f}"),
    "whole": lambda row: _shown(row, "whole_per_second", "{:,.0f}"),
    "server": lambda row: _shown(row, "server_us", "{:.1f}"),
    "client": lambda row: _shown(row, "client_us", "{:.1f}"),
    "busy": lambda row: _shown(row, "server_busy", "{:.0%}"),
    "p50": lambda row: _shown(row, "p50_ms", "{:.2f}"),
    "p99": lambda row: _shown(row, "p99_ms", "{:.2f}"),
    "MB": lambda row: _shown(row, "rss_mb", "{:.0f}"),
}

LEGEND: Final = """\
- values/s: values a second during the sweep (`sweep_seconds` of the report). With a quarter of a \
core: during the middle half of the work.
- whole: values a second from the start of the process to its end.
- server, client: microseconds of CPU for each value, during the sweep.
- busy: how much of its core the server used, during the sweep.
- p50, p99: latency in milliseconds of GETs that one more client sends, {rate:.0f} a second; \
{busy_rate:.0f} if nothing runs, and beside "defaults". Each is timed from when it is sent.
- MB: peak memory of all processes of a run together.

- GET, SET: plain clients with pipelines. MGET, SET: the same with MGET. SCAN, MGET: only reads. \
None of them compares before it writes.
- rotator: one process, without a latency goal. "by script": values are replaced by a script. \
"no rewrite": every value is under the current key. "defaults": 4 processes with the default \
latency goal.
- "2 x a quarter core": 2 processes, each of which may use a quarter of a core. They run in turn.

Each figure is the median of {repeat}. Every row starts with the same entries, which the server \
has loaded again. Names have 75 bytes, every entry has a TTL of a day. Servers have core \
{server_core}, everything else has core {client_core}. Other things, the GETs among them, used up \
to {other_load:.0%} of the two while a row was measured."""


def rendered(document: Mapping[str, Any]) -> str:
    """All of it, to be pasted into a document: the goals first."""
    machine = document["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    head = [
        f"{document['date']}, {versions}; {machine['cores']} cores of {machine['cpu']}.",
        "",
        filled(LEGEND.format(**document["method"], other_load=_other_load(document))),
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
    lines = (
        f"- {one['what']}: {one['measured']}. Goal: {one['wanted']}; {one['judged']}."
        for one in goals
    )
    return filled("\n".join(lines))


def _memory(memory: Sequence[Mapping[str, Any]]) -> str:
    lines = [["names", "peak RSS MB"]]
    lines += [[f"{one['names']:,}", f"{one['rss_mb']:.1f}"] for one in memory]
    return markdown(lines)


def filled(text: str) -> str:
    """Each line of *text* wrapped, as a paragraph or an item of a list."""
    return "\n".join(
        fill(
            line,
            WIDTH,
            subsequent_indent="  " if line.startswith("- ") else "",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in text.split("\n")
    )


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
