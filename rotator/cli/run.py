"""`rotator run`: rotate, verify, judge, report."""

import os
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import structlog
import typer

from rotator.cli import options
from rotator.cli.facts import facts_of, nothing_found, with_files
from rotator.cli.options import deadline, duration, option, past
from rotator.errors import ConfigError, Exit, RotatorError
from rotator.report.build import failed_report
from rotator.report.fields import Facts
from rotator.report.files import Targets
from rotator.report.model import Report
from rotator.run.declared import declared_of_all, other_listings, parse_accepted
from rotator.run.job import Job
from rotator.run.live import LiveRun
from rotator.run.notify import NotificationCommand, RunNotifier
from rotator.secrets.provider import PROVIDER_VARIABLE, provider_from_url
from rotator.server.context import all_keyrings, open_config, select
from rotator.state.state import State
from rotator.sweep.control import Stop, StopSignal
from rotator.sweep.engine import check_scheduler, open_remote_workers
from rotator.sweep.scope import Limits, RunOptions
from rotator.tally.tally import ACCEPTABLE
from rotator.text import utc_now

RUN_EXAMPLES = """\b
Examples:
  rotator run --dry-run
      look only: what would be rotated, and what would expire by itself
  rotator run
      rotate every cache that has encryption on
  rotator run --cache shared-redis --until 05:00
      one cache, every night from cron: the next run goes on from there
  rotator run --wait 4h
      from the new key to the verdict in one go: sleep until a key may be
      retirable, look again; end when all are, or when waiting cannot help
  rotator run --refresh-files --writers-switched-at 14:30
      if only files of the servers still hold a key, have them rewritten; no
      application has encrypted with an old key since 14:30
  rotator run --accept undecryptable=12 --accept outside=3
      these are known, and do not keep a key from being retirable
  rotator run --on-change '/etc/rotator/mail.sh ops@example.com'
      from cron: send a mail when a verdict changes, or a run fails
  rotator run --metrics-file /var/lib/node_exporter/rotator.prom
      from cron, watched by Prometheus
  rotator run --engine dask --scheduler tcp://sched:8786
      on several machines: the workers of a dask cluster

Exit codes: 0 done; 1 could not be done; 2 usage or configuration; 3 some values
could not be moved; 4 the time is over; 5 nothing encrypted was found; 6 with
--wait: all values are moved, but a key is not retirable, and waiting cannot help;
7 another run is in progress; 129, 130 and 143 interrupted. `rotator --help` says
more about each, and about environment variables. Durations: 90s, 15m, 2h, 30d.
"""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class RunSettings:
    """Run settings: say what is done, how gently, and by whom."""

    dry_run: options.DryRun = False
    no_verify: bool = option(
        "--no-verify", "Do not sweep again after rewriting; no verdict is then above verifying."
    )
    quiet: timedelta | None = duration(
        "--quiet", "A key is retirable only if it was not met for this long. Default: 1h."
    )
    accept: list[str] | None = option(
        "--accept",
        "Up to COUNT values with this outcome are known and do not block a verdict;"
        f" repeatable. Outcomes: {', '.join(ACCEPTABLE)}; outside: names that match and databases"
        " leave out, and that no key opens. empty, without a count: it is right that no value of"
        " this cache ever opened.",
        metavar="OUTCOME=COUNT",
    )
    wait: timedelta | None = duration(
        "--wait",
        "Wait up to this long for every old key to be retirable; look again when one may be.",
    )
    refresh_files: bool = option(
        "--refresh-files",
        "If only files of the servers still hold an old key, send BGSAVE or BGREWRITEAOF, to one"
        " server at a time. Each needs memory for a fork.",
    )
    writers_switched_at: datetime | None = past(
        "--writers-switched-at",
        "Since this time no application has encrypted with the keys that are old now: 14:30 (the"
        " last one), or a date and time such as 2026-11-24T14:30Z. Same as `rotator fence --at`.",
    )
    allow_empty: bool = option("--allow-empty", "Finding no encrypted value is not a failure.")
    only_key: str | None = options.old_key(
        "--only-key", "Move only the values under the old key with this id."
    )
    max_duration: timedelta | None = duration(
        "--max-duration",
        "Stop after this long, at the end of the current page; the next run goes on from there.",
    )
    until: datetime | None = deadline(
        "--until",
        "Stop in the same way at this time: 05:00 (the next one, by the clock of this machine), or"
        " a date and time such as 2026-11-24T05:00Z. With --max-duration, the earlier one counts.",
    )
    max_rate: options.MaxRate = None
    max_latency: float = option(
        "--max-latency",
        "Delay that other clients may see, in milliseconds: above it, pages shrink. 0: no goal.",
        metavar="MS",
        min=0,
        max=10**5,
        default=2.0,
    )
    max_lag: int | None = option(
        "--max-lag", "Wait while a replica lags more than this.", metavar="BYTES", min=0, max=10**15
    )
    max_memory: float | None = option(
        "--max-memory", "Wait above this share of maxmemory.", metavar="PERCENT", min=1, max=100
    )
    pause_file: Path | None = option("--pause-file", "Wait while this file exists.", metavar="PATH")
    page: options.PageSize = 500
    workers: int | None = option(
        "--workers",
        "Processes for all nodes together, at most 4 per node. Default: one per core, if there are"
        " enough names; with dask, every worker.",
        min=1,
    )
    engine: options.Engine = option(
        "--engine",
        "What sweeps: processes on this machine, or the workers of a dask cluster"
        " (needs redis-rotator[dask]).",
        default=options.Engine.LOCAL,
    )
    scheduler: str | None = option(
        "--scheduler",
        "The dask cluster's scheduler, tcp://host:8786 or tls://host:8786.",
        metavar="ADDRESS",
    )
    force_lock: options.ForceLock = False
    fresh: bool = option("--fresh", "Start from the beginning, not where an earlier run stopped.")

    def run_options(self) -> RunOptions:
        """
        Return the options of the run.

        Raises:
            ConfigError: What `--accept` says cannot be accepted, or what goes with `--dry-run`.
        """
        if self.refresh_files and self.dry_run:
            raise ConfigError(
                "--refresh-files and --dry-run do not go together: a dry run writes nothing",
                hint="leave one of them out",
            )
        return RunOptions(
            dry_run=self.dry_run,
            verify=not self.no_verify,
            only_key=self.only_key,
            page=self.page,
            limits=Limits(
                rate=self.max_rate,
                latency=self.max_latency,
                lag=self.max_lag,
                memory=self.max_memory,
                pause_file=None if self.pause_file is None else str(self.pause_file.absolute()),
            ),
            workers=self.workers,
            fresh=self.fresh,
            force_lock=self.force_lock,
            allow_empty=self.allow_empty,
            **parse_accepted(self.accept or ()),
        )


def run_command(
    context: typer.Context,
    *,
    which: options.CachesOptions,
    settings: RunSettings,
    on_change: str | None = option(
        "--on-change",
        "Run this command, without a shell, when a verdict changes or a run fails. It gets the"
        " facts as ROTATOR_EVENT, ROTATOR_SUMMARY and others (`rotator docs reports`).",
        metavar="COMMAND",
    ),
    state: options.StatePath = None,
    files: options.TargetOptions,
    display: options.DisplayOptions,
) -> int:
    """
    Re-encrypt what is under old keys, verify it, and say which keys can be removed.

    First it checks that the whole job can be done; before that it writes nothing. Then it visits
    every name in every database and rewrites the values under old keys, with their TTL. Then it
    sweeps again, reading only, and judges each old key.

    Ctrl-C, SIGTERM or SIGHUP stops it after the current page, and the next run goes on from there.
    A second Ctrl-C stops it at once. While it runs, `rotator status` shows how far it is,
    `rotator tune` changes its limits, and SIGUSR1 makes it log how far it is.
    """
    display.start_logging()
    check_scheduler(settings.engine, settings.scheduler)
    hook = None if on_change is None else NotificationCommand.parse(on_change)
    stopper = StopSignal(settings.max_duration, settings.until)
    began, told = utc_now(), facts_of(context)
    if stopper.ends_at:
        log.info("will stop then, finished or not", at=stopper.ends_at.replace(microsecond=0))
    targets = Targets(files.report, files.html, files.metrics_file)
    targets.check(which.config or (), state, which.secret_provider, settings.pause_file)
    plan, asked = settings.run_options(), (which.config or (), which.cache or ())
    with RunNotifier(
        hook, asked=asked, state=state, report=None if targets.printed else files.report
    ) as notifier:
        try:
            result = _run_job(
                *(which, settings, plan, display, told),
                state=state,
                stopper=stopper,
                notifier=notifier,
                metrics=files.metrics_file,
            )
        except RotatorError as error:
            _keep(failed_report(error, plan.mode, began, utc_now(), told), targets)
            raise
        notifier.ended(result)
        if hook is None and context.obj is not None:  # else Ctrl-C has a command to end
            context.obj.begin_result()
        try:
            targets.write(result)
        except RotatorError as error:
            result = result.model_copy(update={"exit_code": int(error.exit_code)})
            raise
        finally:  # a full disk must not take away what stdout can still carry
            _print(result, targets, as_json=display.as_json)
    if result.exit_code == Exit.EMPTY:
        raise nothing_found(result)
    return result.exit_code


def _say_stopping(stop: Stop) -> None:
    log.warning("stopping after this page", reason=str(stop))


def _print(result: Report, targets: Targets, *, as_json: bool) -> None:
    """Print the result; that a terminal which was closed does not take it is no failure."""
    try:
        targets.show(result, as_json=as_json)
    except OSError:
        if result.exit_code != Exit.HUNG_UP:
            raise
        # Python tries once more when it ends, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run_job(
    which: options.CachesOptions,
    settings: RunSettings,
    plan: RunOptions,
    display: options.DisplayOptions,
    told: Facts,
    *,
    state: Path | None,
    stopper: StopSignal,
    notifier: RunNotifier,
    metrics: Path | None,
) -> Report:
    """Open all that the job needs, and run it."""
    loaded = open_config(which.config)
    if which.secret_provider:  # where worker processes find it too
        os.environ[PROVIDER_VARIABLE] = which.secret_provider
    provider, told = provider_from_url(which.secret_provider), with_files(told, loaded)
    accesses = select(loaded, which.cache or (), provider)
    keyrings = all_keyrings(loaded, accesses, provider)
    with (
        State(state) as opened,
        stopper.handling_signals(_say_stopping),
        LiveRun(
            state=opened.path,
            command=f"run --{plan.mode}" if plan.dry_run else "run",
            caches=[access.cache.name for access in accesses],
            stopper=stopper,
            limits=plan.limits,
            lines=display.progress_lines,
            metrics=metrics,
        ) as live,
        open_remote_workers(settings.scheduler, stopper.reason) as machines,
    ):
        if opened.upgraded_from is not None:
            log.info("the state file is from an earlier version: all of it is proven again")
        notifier.watch((access.cache.name for access in accesses), keyrings, opened)
        return Job(
            *(loaded.files, accesses, plan),
            keyrings=keyrings,
            state=opened,
            stopper=stopper,
            quiet=timedelta(hours=1) if settings.quiet is None else settings.quiet,
            progress=live.watching(display.bar()),
            show_names=display.show_names,
            machines=machines,
            wait=settings.wait,
            refresh_files=settings.refresh_files,
            fence_at=settings.writers_switched_at,
            declared=declared_of_all(loaded, plan),
            listings=other_listings(loaded, provider),
            facts=told,
        ).run()


def _keep(failed: Report, targets: Targets) -> None:
    """Write the report on a failure; if that fails too, the first failure is the one to tell."""
    try:
        targets.write(failed)
    except RotatorError as error:
        log.warning("no report was written", error=str(error))
