"""`rotator report`: the last verdicts, from the state alone."""

from __future__ import annotations

import typer

from rotator import options
from rotator.console import print_result
from rotator.errors import StateError
from rotator.report import json as report_json
from rotator.report import table
from rotator.report.model import Report
from rotator.state import State

EXAMPLES = """\b
Examples:
  rotator report                            the last verdicts as a table
  rotator report --format json              the same as JSON
"""


def register(app: typer.Typer) -> None:
    """Add the command to *app*."""
    app.command(epilog=EXAMPLES)(report)


def report(
    *,
    cache: options.Caches = None,
    state: options.StatePath = None,
    output: options.Format = options.ReportFormat.TABLE,
) -> None:
    """Show the last verdicts and reasons without touching Redis."""
    with State(state) as opened:
        saved = opened.last_reports()
    chosen = [name for name in saved if not cache or name in cache]
    if not chosen:
        raise StateError(
            "the state holds no report yet", hint="`rotator run --dry-run` looks without writing"
        )
    reports = [report_json.load(saved[name][1]) for name in chosen]
    latest = _together(reports)
    text = output is options.ReportFormat.JSON
    print_result(report_json.dump(latest) if text else table.render(latest))


def _together(reports: list[Report]) -> Report:
    """One report on all caches, each as it was last seen."""
    newest = max(reports, key=lambda one: one.finished_at)
    caches = tuple(cache for one in reports for cache in one.caches)
    return newest.model_copy(update={"caches": caches})
