"""The load table in Markdown: one row a situation, before and while rotator runs."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill
from typing import Any, Final

from bench.load.situations import FSYNC_MS
from bench.tables import WIDTH, markdown

_HEAD: Final = (
    *("", "values", "p50 ms", "p99 ms", "max ms", "commands/s", "moved", "seconds", "waited s"),
    *("bad", "errors", "load"),
)

LEGEND: Final = """\
Pairs are of the {seconds:g} seconds before rotator ran, and of the run from its plan to its end,
with both sweeps. Latencies are of all commands of the foreground, {rate:,.0f} a second over 16
connections, each from when it was due; its own delay in sending is among them ({late:.2f} ms at
the 99th percentile in the worst row). Servers have core {server_core}, everything else core
{client_core}, where the foreground takes precedence. "load" is the machine's load average in the
last minute of a row: where it is far above 2, latencies say more of other processes than of
rotator. "moved" are values that rotator wrote under the current key; the foreground wrote
others itself. A run is stopped after a minute and a half, that of 2,000,000 names after five.
"waited" is rotator's own waiting, by reason. "bad" counts names that do not hold what was written
last under one of the keys, until the time that was told, or are under the old key after a run that
ended well, reads that gave anything else, and commands without an answer; "errors" are error
replies. A slow disk is strace, which has each fdatasync take {fsync} ms longer. A replica that lags
stands still (SIGSTOP) for every other second, and rotator has `--max-lag 1000000`."""


def rendered(document: Mapping[str, Any]) -> str:
    """All of it, to be pasted into a document."""
    machine, rows = document["machine"], document["results"]
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    method = document["method"] | {
        "late": max(row["late_p99_ms"] for row in rows),
        "fsync": FSYNC_MS,
    }
    where = f"{machine['cores']} cores of {machine['cpu']}"
    head = f"{document['date']}, {rows[0]['server']}, {versions}; {where}."
    lines = [[*_HEAD]]
    for row in rows:
        lines += _lines(row)
    return "\n\n".join([head, fill(LEGEND.format(**method), WIDTH), markdown(lines)])


def _lines(row: Mapping[str, Any]) -> list[list[str]]:
    """The line of a row, and that of its large values, if there are any."""
    first, *others = row["felt"]
    waits = ", ".join(f"{reason} {seconds:.1f}" for reason, seconds in row["waited"].items())
    stopped = ", stopped" if row["stopped"] else ""
    run = [f"{row['moved']:,}", f"{row['seconds']:.0f}{stopped}", waits or "0"]
    wrong = [f"{sum(row['bad'].values()):,}", f"{row['errors']:,}", f"{row['load']:.1f}"]
    lines = [[row["name"], f"{row['names']:,}", *_pairs(first), *run, *wrong]]
    empty = [""] * (len(run) + len(wrong))
    lines += [["the large ones themselves", "", *_pairs(other), *empty] for other in others]
    return lines


def _pairs(windows: list[Mapping[str, float]]) -> list[str]:
    """Latencies and rate, of before and of meanwhile."""
    shown = {"p50_ms": "{:.2f}", "p99_ms": "{:.1f}", "max_ms": "{:.0f}", "per_second": "{:,.0f}"}
    return [
        " / ".join(form.format(window[column]) if column in window else "-" for window in windows)
        for column, form in shown.items()
    ]
