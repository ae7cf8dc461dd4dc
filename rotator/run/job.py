"""
One run over several caches: preflight of all, then sweep, verification and judgement of each.

Preflight comes first for every cache, because nothing is to be written before all of it holds. The
judgement comes last, because a key that several caches share is judged by all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from rotator.crypto.keyring import Keyring
from rotator.errors import Exit, LoginError, RightsError, ServerError
from rotator.progress import Progress
from rotator.report.archive import add_history, merged_with_stored
from rotator.report.build import build_report
from rotator.report.files import json_text
from rotator.report.model import Report
from rotator.run.cache_run import CacheRun
from rotator.run.evidence import EvidenceRecorder
from rotator.server.context import CacheContext
from rotator.state.state import State
from rotator.sweep.control import Stop, StopSignal
from rotator.sweep.engine import RemoteWorkers
from rotator.sweep.results import CacheResult
from rotator.sweep.scope import RunOptions

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


class Job:
    """
    The run of *plan* over the caches of *accesses*, configured in *files*.

    *keyrings* holds that of every cache in the configuration with encryption on, in this run or
    not, by name; None where its keys cannot be known now. *quiet* is how long a key must not have
    been met. *machines* sweep the nodes, if there are any. *clock* tells the time of day.
    """

    def __init__(
        self,
        files: tuple[Path, ...],
        accesses: Sequence[CacheContext],
        plan: RunOptions,
        *,
        keyrings: Mapping[str, Keyring | None],
        state: State,
        stopper: StopSignal,
        quiet: timedelta,
        progress: Callable[[str, str, int], Progress],
        show_names: bool = False,
        machines: RemoteWorkers | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._keyrings = keyrings
        self._plan = plan
        self._state = state
        self._stopper = stopper
        self._quiet = quiet
        self._show_names = show_names
        self._clock = clock
        self._rotations = [
            CacheRun(
                access,
                plan,
                files=files,
                state=state,
                stopper=stopper,
                progress=progress,
                machines=machines,
            )
            for access in accesses
        ]

    def run(self) -> Report:
        """
        Do all of it; the report carries the exit code.

        Raises:
            ConfigError: A cache has no encryption, or `--only-key` fits none of its keys.
            ServerError: The preflight of a cache failed; nothing was written anywhere.
            BusyError: Another run works on one of the caches; nothing was written anywhere.
        """
        started_at = self._clock()
        try:
            results = self._prepare() or [self._work(rotation) for rotation in self._rotations]
        finally:
            for rotation in self._rotations:
                rotation.close()
        finished_at = self._clock()
        ledger = EvidenceRecorder(self._state, self._stopper.ends_at)
        for result in results:
            ledger.keep(result)
        judgements = ledger.judge(self._keyrings, now=finished_at, quiet=self._quiet)
        codes = [result.exit_code() for result in results]
        built = build_report(
            results,
            judgements,
            mode=self._plan.mode,
            started_at=started_at,
            finished_at=finished_at,
            exit_code=min(codes, key=_SEVERITY.index, default=Exit.OK),
            show_names=self._show_names,
        )
        report = add_history(built, self._state)
        for cache in report.caches:
            alone = report.model_copy(update={"caches": (cache,)})
            kept = json_text(merged_with_stored(alone, self._state))
            self._state.save_report(cache.name, kept, finished_at)
            if cache.progress:
                said = cache.progress.model_dump(mode="json", exclude_none=True)
                log.info("not done yet", cache=cache.name, **said)
        return report

    def _prepare(self) -> list[CacheResult]:
        """The preflight of all caches; results only if it was told to stop, and nothing begins."""
        try:
            for rotation in self._rotations:
                rotation.prepare()
        except ServerError as error:
            stopped = self._stopped_by(error)
            if stopped is None:
                raise
            return [self._stopped(rotation, stopped) for rotation in self._rotations]
        return []

    def _stopped_by(self, error: ServerError) -> Stop | None:
        """The wish to stop, if that is why a server that was not ready was not waited for."""
        if isinstance(error, LoginError | RightsError):
            return None
        if stopped := self._stopper.reason():
            log.warning("stopped before the server was ready", error=str(error))
        return stopped

    def _stopped(self, rotation: CacheRun, stopped: Stop) -> CacheResult:
        return CacheResult(rotation.access, self._plan, stopped=stopped)

    def _work(self, rotation: CacheRun) -> CacheResult:
        """One cache; what goes wrong here must not keep the others from being done."""
        stopped = self._stopper.reason()
        if stopped:
            return self._stopped(rotation, stopped)
        try:
            return rotation.run()
        except ServerError as error:
            if stopped := self._stopped_by(error):
                return self._stopped(rotation, stopped)
            log.error("cache failed", cache=rotation.access.cache.name, error=str(error))  # noqa: TRY400 - the message says it all
            return CacheResult(rotation.access, self._plan, error=str(error))
