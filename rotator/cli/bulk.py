"""Bulk command: looks, shows, asks, acts and prints, for `purge` and `adopt`."""

import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import structlog
import typer

from rotator.cli import options
from rotator.console import internal_error, print_json, print_result
from rotator.errors import ConfigError, Exit, RotatorError, ServerError, worst
from rotator.report.bulk import BulkWording, as_data, render
from rotator.report.names import Plain, shown_as_stored
from rotator.run.bulk import BulkOptions, BulkRun
from rotator.run.live import LiveRun
from rotator.server.context import CacheContext
from rotator.state.state import State
from rotator.sweep.control import Stop, StopSignal
from rotator.sweep.node.selector import Selector
from rotator.sweep.results import BulkResult
from rotator.sweep.scope import Limits
from rotator.text import count, escape, rfc3339

Yes = Annotated[
    bool, options.shared("--yes", "Do not ask for confirmation; required without a terminal.")
]
DEFAULT_PAGE = 100

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class OutputOptions:
    """Output options: say what is asked, shown and printed, and where the *state* is."""

    dry_run: bool
    yes: bool
    state: Path | None
    display: options.DisplayOptions

    def __post_init__(self) -> None:
        if not (self.dry_run or self.yes or sys.stdin.isatty()):
            raise ConfigError(
                "this needs a confirmation, and there is no terminal to ask on",
                hint="look with --dry-run first, then add --yes",
            )


@dataclass
class BulkCommand:
    """Bulk command: has the values that *selectors* pick acted on, and prints the result."""

    selectors: Mapping[CacheContext, Selector]
    options: BulkOptions
    wording: BulkWording
    output: OutputOptions
    stopper: StopSignal = field(default_factory=StopSignal)
    runs: list[BulkRun] = field(default_factory=list)
    looked: list[BulkResult] = field(default_factory=list)
    acted: list[BulkResult] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)

    def run(self) -> None:
        """
        Do all of it and print the result.

        Raises:
            ConfigError: Nobody said yes.
            ServerError: The preflight failed; nothing was written.
            BusyError: Something else works on a cache; nothing was written.
            typer.Exit: The exit code is not 0.
        """
        with ExitStack() as stack:
            kept = not self.output.dry_run
            state = stack.enter_context(State(self.output.state)) if kept else None
            bar = self.output.display.bar(self.wording.done)
            if state is not None:
                bar = stack.enter_context(self._live(state.path)).watching(bar)
            shared = partial(BulkRun, state=state, stopper=self.stopper, progress=bar)
            self.runs = [shared(*one, self.options) for one in self.selectors.items()]
            try:
                with self.stopper.handling_signals(_say_stopping):
                    for run in self.runs:
                        run.prepare()
                    self._visit(BulkRun.look, self.looked)
                if self._worth_acting():
                    self._confirm()
                    with self.stopper.handling_signals(_say_stopping):
                        self._visit(BulkRun.act, self.acted)
            finally:
                for run in self.runs:
                    run.close()
        self._print()

    def _live(self, state: Path) -> LiveRun:
        """Return what shows this command to `rotator status`."""
        return LiveRun(
            state=state,
            command=self.wording.command,
            caches=[access.cache.name for access in self.selectors],
            stopper=self.stopper,
            limits=Limits(rate=self.options.rate, latency=None),
            lines=self.output.display.progress_lines,
        )

    def _visit(self, step: Callable[[BulkRun], BulkResult], found: list[BulkResult]) -> None:
        """Take one step with every run; what goes wrong with one does not keep the others."""
        for run in self.runs:
            name = run.access.cache.name
            if self.stopper.reason() or name in self.errors:
                continue
            try:
                found.append(step(run))
            except ServerError as error:
                log.error("cache failed", cache=name, error=str(error))  # noqa: TRY400 - the message says it all
                self.errors[name] = str(error)
            except RotatorError:
                raise
            except Exception as error:  # noqa: BLE001 - as for any other failure of one cache
                self.errors[name] = str(internal_error(error, cache=name))

    def _worth_acting(self) -> bool:
        """Return whether everything was looked at, and something was found to act on."""
        whole = not self.errors and all(found.sweep.complete for found in self.looked)
        if self.stopper.reason():
            return False
        if not whole:
            log.error("nothing was changed, because not all values could be looked at")
            return False
        for run, found in zip(self.runs, self.looked, strict=True):
            try:
                run.require_sound(found)
            except RotatorError as error:
                if not self.output.dry_run:
                    raise
                log.warning("without --dry-run this is refused", reason=str(error), hint=error.hint)
        return any(found.picked for found in self.looked) and not self.output.dry_run

    def _confirm(self) -> None:
        """Show what would become of what, and go on only if somebody wants it."""
        print_result(render(self.looked, [], self.wording, self._shown), sys.stderr)
        if self.output.yes:
            return
        number = sum(found.picked for found in self.looked)
        names = [found.access.cache.name for found in self.looked if found.picked]
        wanted = {str(number), f"{number:,}"} | ({names[0]} if len(names) == 1 else set())
        which = f"{count(number, 'value')} of {', '.join(map(escape, names))}"
        what = f"{self.wording.verb} {which}{self.wording.how}"
        either = f"{escape(names[0])} or {number}" if len(names) == 1 else str(number)
        print_result(f"\nTo {what}, type {either}:", sys.stderr)
        if sys.stdin.readline().strip() not in wanted:
            raise ConfigError(
                f"not confirmed: nothing was {self.wording.done}",
                hint="--dry-run only looks; --yes does not ask",
            )

    def _print(self) -> None:
        """Print the result, and leave with its exit code."""
        codes = [found.exit_code() for found in self.acted or self.looked]
        codes += [Exit.FAILED] * len(self.errors)
        stop = self.stopper.reason()
        if stop:
            codes.append(stop.exit_code)
        code = worst(codes)
        told, changes = (self.wording, self._shown, self.errors), self.stopper.changes
        if self.output.display.as_json:
            data = as_data(self.looked, self.acted, *told)
            data |= {"dry_run": self.output.dry_run, "exit_code": int(code)}
            made = [{**asdict(one), "at": rfc3339(one.at)} for one in changes]
            print_json({**data, "changes": made})
        else:
            print_result(render(self.looked, self.acted, *told, changes=changes))
        if code:
            raise typer.Exit(code)

    def _shown(self, found: BulkResult) -> Plain:
        """Return what of this cache may be shown as it is stored."""
        return shown_as_stored(found.access, show_names=self.output.display.show_names)


def _say_stopping(stop: Stop) -> None:
    log.warning("stopping after this page", reason=str(stop))
