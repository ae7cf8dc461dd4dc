"""`rotator check`: one line per step, and what to do about what failed."""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from typing import Annotated

import typer

from rotator.cli import options
from rotator.commands.common import print_json, start_logging
from rotator.console import COLUMNS, print_result
from rotator.diagnose.check import Finding, check, exit_code
from rotator.text import escape

_EXAMPLES = """\b
Examples:
  rotator check --config maverics.yaml
  rotator check --cache shared-redis --format json
  rotator check --stage
      the same, and how far the rotation is: what to do next

Exit codes: 0 nothing failed; 1 a server is at fault; 2 usage or configuration.
"""
_STEP = 17  # columns, the longest name and a gap
_RESULT = 11


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check", epilog=_EXAMPLES)(_check)


def _check(
    *,
    config: options.Config = None,
    secret_provider: options.SecretProvider = None,
    cache: options.Caches = None,
    stage: Annotated[
        bool,
        options.option("--stage", "Say what stage of a rotation a cache is in, and what is next."),
    ] = False,
    state: options.StatePath = None,
    output: options.Format = options.ReportFormat.TABLE,
) -> None:
    """Try the connection, TLS, login, rights, keys and formats; say what to do about failures."""
    start_logging()
    findings: list[Finding] = []
    for finding in check(config or (), cache or (), secret_provider, with_stage=stage, state=state):
        if output is options.ReportFormat.TABLE:
            _print(finding, findings[-1] if findings else None)
        findings.append(finding)
    code = exit_code(findings)
    if output is options.ReportFormat.JSON:
        steps = [asdict(finding) for finding in findings]
        print_json({"exit_code": int(code), "steps": steps})
    if code:
        raise typer.Exit(code)


def _print(finding: Finding, previous: Finding | None) -> None:
    """One step, below a heading when it is of another cache or node than the one before."""
    place = (finding.cache, finding.node)
    before = (None, None) if previous is None else (previous.cache, previous.node)
    if finding.cache is not None and place != before:
        whole = " as a whole" if finding.cache == before[0] else ""
        at = f" at {finding.node}" if finding.node else whole
        print_result("\n" + _wrapped("", f"{finding.cache}{at}"))
    start = f"  {finding.result:<{_RESULT}}{finding.step:<{_STEP}}"
    print_result(_wrapped(start, finding.detail))
    if finding.remedy is not None:
        print_result(_wrapped(" " * (_RESULT + 2) + "-> ", finding.remedy))


def _wrapped(start: str, text: str) -> str:
    """*start* and *text*, in lines that fit."""
    return textwrap.fill(
        escape(text),
        COLUMNS,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_on_hyphens=False,
    )
