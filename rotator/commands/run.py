"""`rotator run`: rotate, verify, judge, report."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import structlog
import typer

from rotator import options
from rotator.access import Access, open_keyring
from rotator.commands.common import open_config
from rotator.config import Config
from rotator.console import print_result
from rotator.control import Stop, Stopper
from rotator.engine import PROVIDER_VARIABLE
from rotator.errors import ConfigError, RotatorError, SourceError
from rotator.job import Job
from rotator.keyring import Keyring
from rotator.logs import configure_logging
from rotator.progress import Progress, start_progress
from rotator.report import json as report_json
from rotator.report import table
from rotator.report.build import failed_report
from rotator.report.file import check_target
from rotator.report.model import Report
from rotator.rotation import Plan
from rotator.secrets import Provider, provider_from_url
from rotator.state import State

EXAMPLES = """\b
Examples:
  rotator run --dry-run                     look only: what would be rotated, what would drain
  rotator run                               rotate every cache with encryption on
  rotator run --cache shared-redis --max-duration 2h
  rotator run --report report.json --log-format json --no-progress       from cron
"""

log = structlog.get_logger(__name__)


def register(app: typer.Typer) -> None:
    """Add the command to *app*."""
    app.command(epilog=EXAMPLES)(run)


def run(
    *,
    config: options.Config = None,
    secret_provider: options.SecretProvider = None,
    cache: options.Caches = None,
    dry_run: Annotated[
        bool, options.option("--dry-run", "Only look: no command that writes is sent.")
    ] = False,
    verify: Annotated[
        bool, options.option("--verify/--no-verify", "Sweep again after rewriting, reading only.")
    ] = True,
    quiet: Annotated[
        timedelta | None,
        options.duration("--quiet", "How long a key must not have been met. Default: 1h."),
    ] = None,
    only_key: Annotated[
        str | None, options.option("--only-key", "Move only what is under this key id.")
    ] = None,
    max_duration: Annotated[
        timedelta | None,
        options.duration("--max-duration", "Stop after this long; the next run goes on."),
    ] = None,
    workers: Annotated[
        int | None,
        options.option(
            "--workers", "Processes, if there are several nodes. Default: one a core.", min=1
        ),
    ] = None,
    page: Annotated[
        int, options.option("--page", "Names asked for at a time, at most.", min=1, max=10_000)
    ] = 500,
    accept: Annotated[
        list[str] | None,
        options.option(
            "--accept", "Known values that need not be moved: undecryptable=N, not_string=N, ..."
        ),
    ] = None,
    allow_empty: Annotated[
        bool, options.option("--allow-empty", "Finding no encrypted value is no failure.")
    ] = False,
    fresh: Annotated[
        bool, options.option("--fresh", "Begin anew, whatever an earlier run has saved.")
    ] = False,
    state: options.StatePath = None,
    report: Annotated[
        Path | None, options.option("--report", "Write the report as JSON to this file.")
    ] = None,
    show_names: options.ShowNames = False,
    output: options.Format = options.ReportFormat.TABLE,
    log_format: options.LogFormatOption = options.LogFormat.CONSOLE,
    log_level: options.LogLevelOption = options.LogLevel.INFO,
    progress: options.Progress = None,
) -> None:
    """Re-encrypt what is under old keys, verify it, and say which keys can be removed."""
    configure_logging(log_format, log_level)
    plan = Plan(
        dry_run=dry_run,
        verify=verify,
        only_key=only_key,
        page=page,
        workers=workers,
        fresh=fresh,
        allow_empty=allow_empty,
        accept=options.parse_accept(accept),
    )
    stopper = Stopper(max_duration)
    began = datetime.now(UTC)
    if report is not None:
        check_target(report)
    try:
        loaded = open_config(config)
        provider = open_provider(secret_provider)
        accesses = _accesses(loaded, cache, provider)
        with State(state) as opened, stopper.listening(_say_stopping):
            result = Job(
                loaded.files,
                accesses,
                plan,
                keyrings=_keyrings(loaded, accesses, provider),
                state=opened,
                stopper=stopper,
                quiet=timedelta(hours=1) if quiet is None else quiet,
                progress=lambda name, phase, total: _bar(name, phase, total, progress),
                show_names=show_names,
            ).run()
    except RotatorError as error:
        if report is not None:
            report_json.write(failed_report(error, plan.mode, began, datetime.now(UTC)), report)
        raise
    _present(result, report, output)
    if result.exit_code:
        raise typer.Exit(result.exit_code)


def open_provider(url: str | None) -> Provider | None:
    """The secret provider, and its URL where worker processes find it too."""
    if url:
        os.environ[PROVIDER_VARIABLE] = url
    return provider_from_url(url)


def _accesses(config: Config, names: list[str] | None, provider: Provider | None) -> list[Access]:
    """The caches to work on: those named, else every one with encryption on."""
    if names:
        chosen = [config.cache(name) for name in dict.fromkeys(names)]
    else:
        chosen = [cache for cache in config.caches if not cache.encryption_disabled]
        for cache in config.caches:
            if cache.encryption_disabled:
                log.info("cache is not encrypted, nothing to rotate", cache=cache.name)
    if not chosen:
        raise ConfigError(
            "caches: every cache has encryption disabled, so there is nothing to rotate",
            hint="is this the right configuration?",
        )
    return [Access(config, cache, provider) for cache in chosen]


def _keyrings(
    config: Config, accesses: list[Access], provider: Provider | None
) -> dict[str, Keyring | None]:
    """The keys of every encrypted cache, because a key may be shared with one not in this run."""
    keyrings = {access.cache.name: access.keyring for access in accesses}
    for cache in config.caches:
        if cache.encryption_disabled or cache.name in keyrings:
            continue
        try:
            keyrings[cache.name] = open_keyring(cache, provider)
        except (ConfigError, SourceError) as error:
            log.warning("keys of a cache that is not in this run are not known", error=str(error))
            keyrings[cache.name] = None
    return keyrings


def _bar(name: str, phase: str, total: int, wanted: bool | None) -> Progress:
    return start_progress(name, phase, total=total, progress=wanted)


def _say_stopping(stop: Stop) -> None:
    log.warning("stopping after this page", reason=str(stop))


def _present(result: Report, path: Path | None, output: options.ReportFormat) -> None:
    if path is not None:
        report_json.write(result, path)
    if output is options.ReportFormat.JSON:
        print_result(report_json.dump(result))
    else:
        print_result(table.render(result))
