"""`rotator report`: the last verdicts, from the state alone."""

from __future__ import annotations

import typer

from rotator import options
from rotator.console import print_result
from rotator.errors import ConfigError, StateError
from rotator.report import json as report_json
from rotator.report import table
from rotator.report.model import Report
from rotator.state import State

EXAMPLES = """\b
Examples:
  rotator report
      the last verdicts, as a table
  rotator report --cache shared-redis --format json
      those of one cache, as JSON
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
    """Show the last verdicts and reasons, from the state file, without touching Redis."""
    with State(state) as opened:
        saved = {name: text for name, (_, text) in opened.last_reports().items()}
    for name in cache or ():
        if saved and name not in saved:
            raise ConfigError(
                f"--cache {name}: the state holds no report on it",
                hint=f"it holds reports on {', '.join(saved)}",
            )
    latest = _together([_read(name, saved[name]) for name in cache or saved if name in saved])
    as_json = output is options.ReportFormat.JSON
    print_result(report_json.dump(latest) if as_json else table.render(latest))


def _read(cache: str, text: str) -> Report:
    try:
        return report_json.load(text)
    except ValueError:
        raise StateError(
            f"the last report on {cache} in the state is damaged",
            hint="the next `rotator run` replaces it",
        ) from None


def _together(reports: list[Report]) -> Report:
    """One report on all caches, each as it was last seen."""
    if not reports:
        raise StateError(
            "the state holds no report yet", hint="`rotator run --dry-run` looks without writing"
        )
    newest = max(reports, key=lambda one: one.finished_at)
    caches = tuple(cache for one in reports for cache in one.caches)
    return newest.model_copy(update={"caches": caches})
