"""
Job: takes several caches from preflight to report, and waits for the verdict if it is to.

Preflight comes first for every cache; one for which it fails is left out. The judgement comes last,
because a key that several caches share is judged by all of them. Where time makes a verdict better,
`--wait` sleeps until then and looks again: with a sweep where names are to be proven, else only at
servers and files.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog

from rotator.console import internal_error
from rotator.crypto.keyring import Keyring
from rotator.errors import (
    REFUSALS,
    Exit,
    LoginError,
    RightsError,
    RotatorError,
    ServerError,
    StateError,
    worst,
)
from rotator.progress import Progress
from rotator.report.archive import save_reports
from rotator.report.build import build_report
from rotator.report.fields import Facts
from rotator.report.model import Report
from rotator.retirement.judge import Judgement, not_clean
from rotator.retirement.places import COPIES, FILES, Declarations, Fence, Kind, Place, Status
from rotator.run.cache_run import CacheRun
from rotator.run.costs import estimates_of
from rotator.run.declared import Listing
from rotator.run.evidence import EvidenceRecorder
from rotator.server.context import CacheContext
from rotator.state.state import State
from rotator.sweep.control import Stop, StopSignal
from rotator.sweep.engine import RemoteWorkers
from rotator.sweep.results import CacheResult
from rotator.sweep.scope import RunOptions
from rotator.text import add_clamped, clock, rfc3339, rounded_up, utc_now

_SOON = timedelta(seconds=5)  # until a server has saved by itself, or a replica caught up
_POLL_SECONDS = 0.2
Result = TypeVar("Result")

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Job:
    """
    Job: the run of *plan* over the caches of *accesses*, configured in *files*.

    *keyrings* holds that of every cache in the configuration with encryption on, in this run or
    not, by name; None where its keys cannot be known now. *quiet* is how long a key must not have
    been met. *machines* sweep the nodes, if there are any. *clock* tells the time of day. *wait*
    is how long to wait for every old key to become retirable; *refresh_files*: servers are asked to
    write their files anew, where only those hold a key. *fence_at* is when the last application
    switched to the current key, None if that is not said in this run. *declared* is what the
    operator knows of each cache; *listings* are caches that are never swept. *facts* say who runs.
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
    declared: Mapping[str, Declarations] = field(default_factory=dict)
    listings: Mapping[str, Listing] = field(default_factory=dict)
    facts: Facts | None = None
    _runs: list[CacheRun] = field(init=False)
    _recorder: EvidenceRecorder = field(init=False)
    _failures: dict[str, RotatorError] = field(init=False, default_factory=dict)

    def run(self) -> Report:
        """
        Do all of it; the report carries the exit code.

        Raises:
            ConfigError: A cache has no encryption, or `--only-key` fits none of its keys.
            BusyError, InternalError, ServerError: The preflight of the only cache failed.
        """
        started_at = self.clock()
        results = shown = self._sweep()
        report = self._report(results, started_at)
        if self.wait is None:
            return report
        deadline = add_clamped(started_at, self.wait)
        while report.exit_code == Exit.OK and (until := self._next_look(deadline)):
            if stopped := self._sleep(until, deadline):
                return self._ended(report, stopped.exit_code)
            if self._needs_sweep():
                results = self._sweep()
                shown = [now.after(then) for now, then in zip(results, shown, strict=True)]
            else:
                self._look_again(results)
            report = self._report(shown, started_at)
        return self._ended(report, self._waited_for(report))

    def _sweep(self) -> list[CacheResult]:
        """Take all caches from preflight to their results, and these into the state."""
        self._runs = [
            CacheRun(
                access,
                self.plan,
                files=self.files,
                state=self.state,
                stopper=self.stopper,
                progress=self.progress,
                declared=self.declared.get(access.cache.name, Declarations()),
                refreshes=self.refresh_files,
                machines=self.machines,
            )
            for access in self.accesses
        ]
        self._failures = {}
        self._recorder = EvidenceRecorder(
            self.state, self.stopper.ends_at, declared=self.declared, listings=self.listings
        )
        try:
            if stopped := self._preflight():
                results = [self._stopped(run, stopped) for run in self._runs]
            else:
                self._set_fences()
                results = [self._work(run) for run in self._runs]
            for run, result in zip(self._runs, results, strict=True):
                run.keep(result)
                self._recorder.keep(result)
            if self.refresh_files:
                self._refresh_files(results)
        finally:
            for run in self._runs:
                run.close()
        return results

    def _set_fences(self) -> None:
        """Record since when no application writes with the keys that are old now."""
        for access in self.accesses:
            if self.fence_at is not None and access.keyring is not None:
                old = tuple(key.id for key in access.keyring.old)
                fence = Fence(self.fence_at, access.keyring.current.id, old, self.clock())
                self.state.set_fence(access.cache.name, fence)

    def _judge(self) -> dict[tuple[str, str], Judgement]:
        """Judge every old key as of now."""
        return self._recorder.judge(self.keyrings, now=self.clock(), quiet=self.quiet)

    def _refresh_files(self, results: Sequence[CacheResult]) -> None:
        """Have files written anew where nothing but files holds a key."""
        if any(place.kind not in {*FILES, Kind.BACKUPS} for place in self._shut()):
            return
        for run, result in zip(self._runs, results, strict=True):
            tasks = dict.fromkeys(
                (place.where, str(place.kind))
                for (cache, _), one in self._judge().items()
                for place in not_clean(one)
                if cache == run.access.cache.name and place.kind in FILES
                if place.status is Status.HOLDING
            )
            if tasks:
                looks = self._attempt(run, partial(run.refresh_files, list(tasks), result))
                self._recorder.add_looks(result, looks or [])

    def _look_again(self, results: Sequence[CacheResult]) -> None:
        """Look at servers and files only: the names are clean."""
        for run, result in zip(self._runs, results, strict=True):
            looks = self._attempt(run, partial(run.look_again, result))
            self._recorder.add_looks(result, looks or [])
        if self.refresh_files:
            self._refresh_files(results)

    def _next_look(self, deadline: datetime) -> datetime | None:
        """Return when to look again; None: all is done, waiting cannot help, or it is too late."""
        shut = self._shut()
        if not shut or not all(map(self._may_pass, shut)):
            return None
        soon = self.clock() + _SOON
        names = [place.until or soon for place in shut if place.kind not in COPIES]
        copies = [place.until or soon for place in shut]
        until = max(names) if names else min(copies)
        return until if until <= deadline else None

    def _shut(self) -> list[Place]:
        """Return the places that keep keys from being retirable, as of now."""
        return [place for one in self._judge().values() for place in not_clean(one)]

    def _may_pass(self, place: Place) -> bool:
        """Return whether a place gets clean by itself, or by what this run does later."""
        later = self.refresh_files and place.kind in FILES and place.status is Status.HOLDING
        return place.until is not None or place.passes or (later and self._needs_sweep())

    def _needs_sweep(self) -> bool:
        """Return whether names are to be proven, or only copies are to be looked at."""
        return any(place.kind not in COPIES for place in self._shut())

    def _sleep(self, until: datetime, deadline: datetime) -> Stop | None:
        """Sleep, saying what for; return the wish to stop if one came."""
        names = ", ".join(access.cache.name for access in self.accesses)
        log.info("waiting", until=rfc3339(until), at_most_until=rfc3339(deadline))
        with self.progress(names, "waiting", 0) as bar:
            bar.wait(f"until {clock(rounded_up(until), self.clock())}, when a key may be retirable")
            while self.clock() <= until:
                if stopped := self.stopper.reason():
                    return stopped
                time.sleep(_POLL_SECONDS)
        return None

    def _waited_for(self, report: Report) -> Exit:
        """Return how a run ends that was to wait: all is retirable, time is up, or in vain."""
        if report.exit_code != Exit.OK:
            return Exit(report.exit_code)
        shut = self._shut()
        if not shut:
            return Exit.OK
        return Exit.TIME_UP if all(map(self._may_pass, shut)) else Exit.REQUIRED

    def _ended(self, report: Report, code: Exit) -> Report:
        """Return the report with the exit code that the waiting came to."""
        return report.model_copy(update={"exit_code": int(code)})

    def _report(self, results: Sequence[CacheResult], started_at: datetime) -> Report:
        """Judge what was found, and store it."""
        finished_at = self.clock()
        judgements = self._judge()
        report = build_report(
            results,
            judgements,
            self._recorder.records,
            mode=self.plan.mode,
            started_at=started_at,
            finished_at=finished_at,
            exit_code=worst(result.exit_code() for result in results),
            show_names=self.show_names,
            facts=self.facts,
            estimates=estimates_of(results, self.state),
            changes=self.stopper.changes,
        )
        gone = {name: tuple(one.decommissioned) for name, one in self.declared.items()}
        histories = {one.access.cache.name: one.history for one in results if one.history}
        save_reports(report, self.state, histories, gone)
        for cache in (one for one in report.caches if one.progress):
            said = cache.model_dump(mode="json", include={"progress"}, exclude_none=True)
            log.info("not done yet", cache=cache.name, **said["progress"])
        return report

    def _preflight(self) -> Stop | None:
        """Prepare all caches; return the wish to stop if that came first: nothing begins."""
        for run in self._runs:
            run.require_keys()
        for run in self._runs:
            self._attempt(run, run.prepare)
            if failure := self._failures.get(run.access.cache.name):
                if stopped := self._stopped_by(failure):
                    return stopped
                if len(self._runs) == 1 and not isinstance(failure, REFUSALS):
                    raise failure
        return None

    def _attempt(self, run: CacheRun, step: Callable[[], Result]) -> Result | None:
        """Return what a step with one cache gives; None: it failed, and no other cache with it."""
        name = run.access.cache.name
        try:
            return step()
        except StateError:  # the same for all
            raise
        except RotatorError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - no other cache is to suffer from it
            failure = internal_error(error, cache=name)
        self._failures[name] = failure
        alone = len(self._runs) == 1 and step == run.prepare  # it is raised, unless it is a refusal
        if not self._stopped_by(failure) and (not alone or isinstance(failure, REFUSALS)):
            log.error("cache failed", cache=name, error=str(failure), hint=failure.hint)
        return None

    def _stopped_by(self, failure: RotatorError) -> Stop | None:
        """Return the wish to stop, if that is why nobody waited for a server."""
        if not isinstance(failure, ServerError) or isinstance(failure, LoginError | RightsError):
            return None
        if stopped := self.stopper.reason():
            log.warning("stopped before the server was ready", error=str(failure))
        return stopped

    def _stopped(self, run: CacheRun, stopped: Stop) -> CacheResult:
        return replace(self._nothing_of(run), stopped=stopped)

    def _nothing_of(self, run: CacheRun) -> CacheResult:
        looks = list(run.looked_at)
        return CacheResult(run.access, self.plan, history=run.history, looks=looks)

    def _work(self, run: CacheRun) -> CacheResult:
        """Do one cache; what goes wrong here must not keep the others from being done."""
        if stopped := self.stopper.reason():
            return self._stopped(run, stopped)
        name = run.access.cache.name
        if name not in self._failures and (result := self._attempt(run, run.run)):
            return result
        failure = self._failures[name]
        if stopped := self._stopped_by(failure):
            return self._stopped(run, stopped)
        return replace(self._nothing_of(run), error=str(failure), code=failure.exit_code)
