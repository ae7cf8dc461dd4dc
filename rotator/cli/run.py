"""`rotator run`: rotate, verify, judge, report."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog
import typer

from rotator.__main__ import finish
from rotator.cli import options
from rotator.config.types import Provider
from rotator.console import configure_logging, print_result
from rotator.errors import RotatorError
from rotator.progress import Progress, start_progress
from rotator.report import table
from rotator.report.build import failed_report
from rotator.report.files import Targets, json_text
from rotator.report.model import Report
from rotator.run.job import Job
from rotator.run.notify import NotificationCommand, RunNotifier
from rotator.secrets.provider import PROVIDER_VARIABLE, provider_from_url
from rotator.server.context import all_keyrings, open_config, select
from rotator.state.state import State
from rotator.sweep.control import Stop, StopSignal
from rotator.sweep.engine import check_scheduler, open_remote_workers
from rotator.sweep.scope import Limits, RunOptions

EXAMPLES = """\b
Examples:
  rotator run --dry-run
      look only: what would be rotated, and what would drain by itself
  rotator run
      rotate every cache with encryption on
  rotator run --cache shared-redis --max-duration 2h
      one cache, in a maintenance window; the next run goes on from there
  rotator run --until 05:00
      the same, every night from cron: it tells when all of it will be done
  rotator run --accept undecryptable=12
      these twelve are known, and shall not keep a key from being retired
  rotator run --on-change '/etc/rotator/mail.sh ops@example.com'
      from cron: be told when a verdict changes, or a run fails
  rotator run --metrics-file /var/lib/node_exporter/rotator.prom
      from cron, watched by Prometheus
  rotator run --html keys.html
      with a page for whoever asks when the old keys may go
  rotator run --engine dask --scheduler tcp://sched:8786
      on several machines: the workers of a dask cluster

Exit codes: 0 done; 1 could not be done; 2 usage or configuration; 3 some values
could not be moved; 4 the time is over; 5 nothing encrypted was found; 7 another
run is at work; 130 and 143 interrupted. `rotator --help` says more of each, and
how to give options by environment variables. Durations: 90s, 15m, 2h, 30d.
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
    dry_run: options.DryRun = False,
    no_verify: options.NoVerify = False,
    quiet: options.Quiet = None,
    accept: options.Accept = None,
    allow_empty: options.AllowEmpty = False,
    only_key: options.OnlyKey = None,
    max_duration: options.MaxDuration = None,
    until: options.Until = None,
    max_rate: options.MaxRate = None,
    max_latency: options.MaxLatency = 2.0,
    max_lag: options.MaxLag = None,
    max_memory: options.MaxMemory = None,
    pause_file: options.PauseFile = None,
    page: options.Page = 500,
    workers: options.Workers = None,
    engine: options.EngineOption = options.Engine.LOCAL,
    scheduler: options.Scheduler = None,
    fresh: options.Fresh = False,
    on_change: options.OnChange = None,
    state: options.StatePath = None,
    report: options.ReportFile = None,
    html: options.HtmlFile = None,
    metrics_file: options.MetricsFile = None,
    output: options.Format = options.ReportFormat.TABLE,
    show_names: options.ShowNames = False,
    log_format: options.LogFormatOption = options.LogFormat.CONSOLE,
    log_level: options.LogLevelOption = options.LogLevel.INFO,
    progress: options.Progress = None,
) -> None:
    """
    Re-encrypt what is under old keys, verify it, and say which keys can be removed.

    First it checks that all of the job can be done; nothing is written before. Then it visits every
    name of every database, rewrites the values under old keys with their TTL kept, and sweeps
    again, reading only. Last it judges each old key.

    Ctrl-C or SIGTERM ends it after the page in hand, and the next run goes on from there. A second
    Ctrl-C ends it at once.
    """
    configure_logging(log_format, log_level)
    check_scheduler(engine, scheduler)
    hook = None if on_change is None else NotificationCommand.parse(on_change)
    stopper = StopSignal(max_duration, until)
    began = datetime.now(UTC)
    if stopper.ends_at:
        log.info("will stop, done or not", at=stopper.ends_at.replace(microsecond=0))
    targets = Targets(report, html, metrics_file)
    targets.check()
    plan = RunOptions(
        dry_run=dry_run,
        verify=not no_verify,
        only_key=only_key,
        page=page,
        limits=Limits(
            rate=max_rate,
            latency=max_latency,
            lag=max_lag,
            memory=max_memory,
            pause_file=None if pause_file is None else str(pause_file.absolute()),
        ),
        workers=workers,
        fresh=fresh,
        allow_empty=allow_empty,
        accept=options.parse_accept(accept),
    )
    asked = (config or (), cache or ())
    with RunNotifier(hook, asked=asked, state=state, report=report) as alarm:
        try:
            loaded = open_config(config)
            provider = _open_provider(secret_provider)
            accesses = select(loaded, cache or (), provider)
            keyrings = all_keyrings(loaded, accesses, provider)
            with (
                State(state) as opened,
                stopper.handling_signals(_say_stopping),
                open_remote_workers(scheduler, stopper.reason) as machines,
            ):
                alarm.watch((access.cache.name for access in accesses), keyrings, opened)
                result = Job(
                    loaded.files,
                    accesses,
                    plan,
                    keyrings=keyrings,
                    state=opened,
                    stopper=stopper,
                    quiet=timedelta(hours=1) if quiet is None else quiet,
                    progress=partial(_bar, progress),
                    show_names=show_names,
                    machines=machines,
                ).run()
        except RotatorError as error:
            _keep(failed_report(error, plan.mode, began, datetime.now(UTC)), targets)
            raise
        alarm.ended(result)
        if hook is None:  # else Ctrl-C has a command to end
            finish()
        _present(result, targets, output)
    if result.exit_code:
        raise typer.Exit(result.exit_code)


def _open_provider(url: str | None) -> Provider | None:
    """The secret provider, and its URL where worker processes find it too."""
    if url:
        os.environ[PROVIDER_VARIABLE] = url
    return provider_from_url(url)


def _bar(wanted: bool | None, cache: str, phase: str, total: int) -> Progress:
    return start_progress(cache, phase, total=total, progress=wanted)


def _say_stopping(stop: Stop) -> None:
    log.warning("stopping after this page", reason=str(stop))


def _keep(failed: Report, targets: Targets) -> None:
    """Write the report on a failure; if that fails too, the first failure is the one to tell."""
    try:
        targets.write(failed)
    except RotatorError as error:
        log.warning("no report was written", error=str(error))


def _present(result: Report, targets: Targets, output: options.ReportFormat) -> None:
    try:
        targets.write(result)
    finally:  # a full disk must not take away what stdout can still carry
        as_json = output is options.ReportFormat.JSON
        print_result(json_text(result) if as_json else table.render(result))
