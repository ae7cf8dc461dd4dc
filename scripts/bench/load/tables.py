"""The load tables in Markdown: one row a situation, before and while rotator runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bench.load.situations import FSYNC_MS
from bench.tables import filled, markdown

_FELT: Final = ("", "p50 ms", "p99 ms", "max ms", "commands/s")
_RAN: Final = ("", "values", "moved", "seconds", "waited s", "bad", "errors", "load")

LEGEND: Final = """\
What the application noticed, before the run and beside it:

{felt}

What the run did:

{ran}

- Pairs: the {seconds:g} seconds before rotator ran, and the run from its plan to its end, with \
both sweeps.
- p50, p99, max: latency of all commands of the application, {rate:,.0f} a second over 16 \
connections, each from when it was due. Its own delay in sending is included ({late:.2f} ms at the \
99th percentile in the worst row).
- moved: values that rotator wrote under the current key. The application wrote others itself.
- seconds: a run is stopped after 90, that of 2,000,000 names after five minutes.
- waited s: how long rotator waited on purpose, by reason.
- bad: names that do not hold what was written last, under one of the keys and with the right \
expiry, or that are under the old key after a run that ended well; reads that gave anything else; \
commands without an answer. errors: error replies.
- load: the machine's load average in the last minute of a row. Far above 2, latencies say more \
about other processes than about rotator.

Servers have core {server_core}, everything else has core {client_core}, where the application has \
priority. The slow disk is strace: each fdatasync takes {fsync} ms longer. The replica that lags \
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
    felt = markdown([[*_FELT], *(line for row in rows for line in _felt(row))])
    ran = markdown([[*_RAN], *map(_ran, rows)])
    tables = {"felt": felt, "ran": ran}
    # Tables are put in last, as no line of theirs may be wrapped.
    text = filled(LEGEND.format(**method, **{name: f"{{{name}}}" for name in tables}))
    return f"{head}\n\n{text.format(**tables)}"


def _felt(row: Mapping[str, Any]) -> list[list[str]]:
    """The line of a row, and that of its large values, if there are any."""
    first, *others = row["felt"]
    return [
        [row["name"], *_pairs(first)],
        *(["the large ones themselves", *_pairs(other)] for other in others),
    ]


def _ran(row: Mapping[str, Any]) -> list[str]:
    """The line of a run."""
    waits = ", ".join(f"{reason} {seconds:.1f}" for reason, seconds in row["waited"].items())
    stopped = ", stopped" if row["stopped"] else ""
    run = [f"{row['moved']:,}", f"{row['seconds']:.0f}{stopped}", waits or "0"]
    wrong = [f"{sum(row['bad'].values()):,}", f"{row['errors']:,}", f"{row['load']:.1f}"]
    return [row["name"], f"{row['names']:,}", *run, *wrong]


def _pairs(windows: list[Mapping[str, float]]) -> list[str]:
    """Latencies and rate, of before and of meanwhile."""
    shown = {"p50_ms": "{:.2f}", "p99_ms": "{:.1f}", "max_ms": "{:.0f}", "per_second": "{:,.0f}"}
    return [
        " / ".join(form.format(window[column]) if column in window else "-" for window in windows)
        for column, form in shown.items()
    ]
