"""The figures as tables in Markdown, with what they are to be held against."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any, Final

from bench.measure import Figures

Rows = Mapping[str, Figures]
WIDTH: Final = 100

TITLES: Final = {
    "idle": "nothing running",
    "loop": "loop: scan_iter, GET, PTTL, SET",
    "pipelines": "pipelines: GET, SET, no compare-and-set",
    "rotator": "rotator, no latency goal",
    "limit": "the server's limit with these commands",
    "reading": "plain SCAN and MGET",
    "current": "rotator, nothing to rewrite",
    "default": "rotator, default settings",
    "gentle": "rotator --max-latency 1",
}

_COLUMNS: Final[dict[str, Callable[[Figures, Rows], str]]] = {
    "values/s": lambda row, _: _shown(row, "values_per_second", "{:,.0f}"),
    "x pipelines": lambda row, rows: _ratio(row, rows.get("pipelines")),
    "server us": lambda row, _: _shown(row, "server_us", "{:.1f}"),
    "client us": lambda row, _: _shown(row, "client_us", "{:.1f}"),
    "with start": lambda row, _: _shown(row, "process_us", "{:.1f}"),
    "server busy": lambda row, _: _shown(row, "server_busy", "{:.0%}"),
    "GET p50 ms": lambda row, _: _shown(row, "p50_ms", "{:.2f}"),
    "GET p99 ms": lambda row, _: _shown(row, "p99_ms", "{:.2f}"),
    "RSS MB": lambda row, _: _shown(row, "rss_mb", "{:.0f}"),
}

LEGEND: Final = """\
Each figure is the median of {repeat}. Every way begins with the same entries, read in again by
the server; names have 75 bytes, every entry a TTL of a day, values are `sealed`. Servers have
core {server_core}, everything else core {client_core}; up to {other_load:.0%} of the two went to
other things while a row was measured, the GETs among them. "values/s" is of the sweep alone
(`sweep_seconds` of the report), and so are the CPU times per value and "server busy"; "with
start" is the CPU time of the whole process, a verifying sweep included where the defaults have
one: to start and to end takes {start:.2f} s by itself. The loop stops early. GETs come from one
more client, {rate} a second, each timed from when it is sent; what they cost is not subtracted.
RSS is the peak, of all processes of a run together. "x pipelines" compares what rewrites."""


@dataclass(frozen=True, slots=True)
class Goal:
    """Something to reach: *figure* gives it from the rows, in the unit of *shown*."""

    what: str
    wanted: str
    shown: str
    figure: Callable[[Rows], float]
    reached: Callable[[float], bool]


GOALS: Final = (
    Goal(
        "rewriting, no latency goal, against pipelines",
        "at least 1.8 times",
        "{:.2f} times",
        lambda rows: _speed(rows, "rotator") / _speed(rows, "pipelines"),
        lambda times: times >= 1.8,
    ),
    Goal(
        "rewriting, no latency goal, against the loop",
        "at least 50 times",
        "{:.0f} times",
        lambda rows: _speed(rows, "rotator") / _speed(rows, "loop"),
        lambda times: times >= 50,
    ),
    Goal(
        "server busy while rewriting, no latency goal",
        "at least 95 %",
        "{:.0%}",
        lambda rows: rows["rotator"]["server_busy"],
        lambda share: share >= 0.95,
    ),
    Goal(
        "nothing to rewrite, against plain SCAN and MGET",
        "at least 85 %",
        "{:.0%}",
        lambda rows: _speed(rows, "current") / _speed(rows, "reading"),
        lambda share: share >= 0.85,
    ),
    Goal(
        "client CPU per rewritten value",
        "at most 4 us",
        "{:.1f} us",
        lambda rows: rows["rotator"]["client_us"],
        lambda us: us <= 4,
    ),
    Goal(
        "default settings: added p99 of a foreground GET",
        "below 2 ms",
        "{:.2f} ms",
        lambda rows: rows["default"]["p99_ms"] - rows["idle"]["p99_ms"],
        lambda ms: ms < 2,
    ),
    Goal(
        "default settings, against no latency goal",
        "at least 50 %",
        "{:.0%}",
        lambda rows: _speed(rows, "default") / _speed(rows, "rotator"),
        lambda share: share >= 0.5,
    ),
)


def rendered(document: Mapping[str, Any]) -> str:
    """All of it, to be pasted into a README."""
    machine = document["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    head = [
        f"{document['date']}, {versions}; {machine['cores']} cores of {machine['cpu']}.",
        "",
        fill(LEGEND.format(**document["method"], other_load=_other_load(document)), WIDTH),
    ]
    parts = ["\n".join(head)]
    for measured in document["results"]:
        title = (
            f"**{measured['server']}, {_size(measured['size'])}, {measured['values']:,} values**"
        )
        parts.append(f"{title}\n\n{_table(measured['rows'])}")
    singles = [one for one in document["results"] if not one["cluster"]]
    if singles:
        parts.append(f"**Against the goals**\n\n{_goals(singles)}")
    if document["memory"]:
        parts.append(f"**Memory**\n\n{_memory(document['memory'])}")
    return "\n\n".join(parts)


def reached(rows: Rows) -> dict[str, dict[str, Any]]:
    """Each goal that the rows have figures for: what came out, and whether that is enough."""
    found = {}
    for goal in GOALS:
        try:
            figure = goal.figure(rows)
        except KeyError:  # not every way was measured
            continue
        found[goal.what] = {"figure": figure, "reached": goal.reached(figure)}
    return found


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
            cells = [column(rows[way], rows) for column in _COLUMNS.values()]
            lines.append([title, *cells])
    return _markdown(lines)


def _goals(results: Sequence[Mapping[str, Any]]) -> str:
    heads = [f"{one['server']}, {_size(one['size'])}" for one in results]
    lines = [["", "goal", *heads]]
    for goal in GOALS:
        cells = [_judged(goal, one["goals"].get(goal.what)) for one in results]
        lines.append([goal.what, goal.wanted, *cells])
    return _markdown(lines)


def _judged(goal: Goal, found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    return f"{goal.shown.format(found['figure'])}{'' if found['reached'] else ' (missed)'}"


def _memory(memory: Sequence[Mapping[str, Any]]) -> str:
    lines = [["names", "peak RSS MB"]]
    lines += [[f"{one['names']:,}", f"{one['rss_mb']:.1f}"] for one in memory]
    return _markdown(lines)


def _markdown(lines: Sequence[Sequence[str]]) -> str:
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


def _ratio(row: Figures, pipelines: Figures | None) -> str:
    if pipelines is None or not row.get("rewrites"):
        return ""
    return f"{row['values_per_second'] / pipelines['values_per_second']:.2f}"


def _speed(rows: Rows, way: str) -> float:
    return rows[way]["values_per_second"]


def _size(size: int) -> str:
    return f"{size // 1000} kB" if size >= 1000 and size % 1000 == 0 else f"{size} B"
