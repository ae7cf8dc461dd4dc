"""
Job: takes several caches from preflight to report.

Preflight comes first for every cache, because nothing is to be written before all of it holds. The
judgement comes last, because a key that several caches share is judged by all of them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from rotator.crypto.keyring import Keyring
from rotator.errors import Exit, LoginError, RightsError, ServerError
from rotator.progress import Progress
from rotator.report.archive import save_reports
from rotator.report.build import build_report
from rotator.report.model import Report
from rotator.run.cache_run import CacheRun
from rotator.run.evidence import EvidenceRecorder
from rotator.server.context import CacheContext
from rotator.state.state import State
from rotator.sweep.control import Stop, StopSignal
from rotator.sweep.engine import RemoteWorkers
from rotator.sweep.results import CacheResult
from rotator.sweep.scope import RunOptions
from rotator.text import utc_now

log = structlog.get_logger(__name__)

# Which exit code speaks for several caches: the one that most wants a human.
_SEVERITY = (
    Exit.FAILED,
    Exit.INTERRUPTED,
    Exit.TERMINATED,
    Exit.TIME_UP,
    Exit.NOT_MOVED,
    Exit.EMPTY,
    Exit.OK,
)


@dataclass(slots=True)
class Job:
    """
    Job: the run of *plan* over the caches of *accesses*, configured in *files*.

    *keyrings* holds that of every cache in the configuration with encryption on, in this run or
    not, by name; None where its keys cannot be known now. *quiet* is how long a key must not have
    been met. *machines* sweep the nodes, if there are any. *clock* tells the time of day. *wait*
    is how long to wait for every old key to become retirable; *refresh_files*: servers are asked to
    write their files anew, where only those hold a key. *fence_at* is when the last application
    switched to the current key, None if that is not said in this run.
    """

    files: tuple[Path, ...]
    accesses: Sequence[CacheContext]
    plan: RunOptions
    _: KW_ONLY
    keyrings: Mapping[str, Keyring | None]
    state: State
    stopper: StopSignal
    quiet: timedelta
    progress: Callable[[str, str, int], Progress]
    show_names: bool = False
    machines: RemoteWorkers | None = None
    clock: Callable[[], datetime] = utc_now
    wait: timedelta | None = None
    refresh_files: bool = False
    fence_at: datetime | None = None
    _runs: list[CacheRun] = field(init=False)

    def __post_init__(self) -> None:
        self._runs = [
            CacheRun(
                access,
                self.plan,
                files=self.files,
                state=self.state,
                stopper=self.stopper,
                progress=self.progress,
                machines=self.machines,
            )
            for access in self.accesses
        ]

    def run(self) -> Report:
        """
        Do all of it; the report carries the exit code.

        Raises:
            ConfigError: A cache has no encryption, or `--only-key` fits none of its keys.
            ServerError: The preflight of a cache failed; nothing was written anywhere.
            BusyError: Another run works on one of the caches; nothing was written anywhere.
        """
        started_at = self.clock()
        try:
            if stopped := self._preflight():
                results = [self._stopped(run, stopped) for run in self._runs]
            else:
                results = [self._work(run) for run in self._runs]
        finally:
            for run in self._runs:
                run.close()
        return self._report(results, started_at, self.clock())

    def _report(
        self, results: Sequence[CacheResult], started_at: datetime, finished_at: datetime
    ) -> Report:
        """Judge what was found, and store it."""
        recorder = EvidenceRecorder(self.state, self.stopper.ends_at)
        for result in results:
            recorder.keep(result)
        judgements = recorder.judge(self.keyrings, now=finished_at, quiet=self.quiet)
        codes = [result.exit_code() for result in results]
        report = build_report(
            results,
            judgements,
            recorder.records,
            mode=self.plan.mode,
            started_at=started_at,
            finished_at=finished_at,
            exit_code=min(codes, key=_SEVERITY.index, default=Exit.OK),
            show_names=self.show_names,
        )
        save_reports(report, self.state)
        for cache in report.caches:
            if cache.progress:
                said = cache.model_dump(mode="json", include={"progress"}, exclude_none=True)
                log.info("not done yet", cache=cache.name, **said["progress"])
        return report

    def _preflight(self) -> Stop | None:
        """Prepare all caches; return the wish to stop if that came first: nothing begins."""
        try:
            for run in self._runs:
                run.prepare()
        except ServerError as error:
            if stopped := self._stopped_by(error):
                return stopped
            raise
        return None

    def _stopped_by(self, error: ServerError) -> Stop | None:
        """Return the wish to stop, if that is why nobody waited for a server to be ready."""
        if isinstance(error, LoginError | RightsError):
            return None
        if stopped := self.stopper.reason():
            log.warning("stopped before the server was ready", error=str(error))
        return stopped

    def _stopped(self, run: CacheRun, stopped: Stop) -> CacheResult:
        return CacheResult(run.access, self.plan, stopped=stopped)

    def _work(self, run: CacheRun) -> CacheResult:
        """Do one cache; what goes wrong here must not keep the others from being done."""
        if stopped := self.stopper.reason():
            return self._stopped(run, stopped)
        try:
            return run.run()
        except ServerError as error:
            if stopped := self._stopped_by(error):
                return self._stopped(run, stopped)
            log.error("cache failed", cache=run.access.cache.name, error=str(error))  # noqa: TRY400 - the message says it all
            return CacheResult(run.access, self.plan, error=str(error))
