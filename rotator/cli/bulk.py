"""What `purge` and `adopt` share: look, show, ask, act, tell."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import structlog
import typer

from rotator.cli import options
from rotator.console import print_json, print_result
from rotator.errors import ConfigError, Exit, RotatorError, ServerError
from rotator.report.bulk import BulkWording, as_data, render
from rotator.run.bulk import BulkRun
from rotator.sweep.control import Stop, StopSignal
from rotator.sweep.results import BulkResult
from rotator.text import count

Yes = Annotated[bool, options.shared("--yes", "Do not ask; without a terminal it must be given.")]
DEFAULT_PAGE = 100

# Which exit code speaks for several caches: the one that most wants a human.
_SEVERITY = (Exit.FAILED, Exit.INTERRUPTED, Exit.TERMINATED, Exit.NOT_MOVED, Exit.OK)

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class OutputOptions:
    """How the command was asked to go about it."""

    dry_run: bool
    yes: bool
    output: options.ReportFormat
    show_names: bool


@dataclass
class BulkCommand:
    """
    The errands of one command, carried out one after the other.

    *told* has the words of the command. *check* may object to what looking at a cache found.
    """

    errands: Sequence[BulkRun]
    told: BulkWording
    manner: OutputOptions
    stopper: StopSignal
    check: Callable[[BulkResult], None] = lambda _: None
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
        try:
            with self.stopper.handling_signals(_say_stopping):
                for errand in self.errands:
                    errand.prepare()
                self._walk(BulkRun.look, self.looked)
            if self._worth_acting():
                self._confirm()
                with self.stopper.handling_signals(_say_stopping):
                    self._walk(BulkRun.act, self.acted)
        finally:
            for errand in self.errands:
                errand.close()
        self._tell()

    def _walk(self, step: Callable[[BulkRun], BulkResult], found: list[BulkResult]) -> None:
        """Take one step with every errand; what goes wrong with one does not keep the others."""
        for errand in self.errands:
            name = errand.access.cache.name
            if self.stopper.reason() or name in self.errors:
                continue
            try:
                found.append(step(errand))
            except ServerError as error:
                log.error("cache failed", cache=name, error=str(error))  # noqa: TRY400 - the message says it all
                self.errors[name] = str(error)

    def _worth_acting(self) -> bool:
        """Whether everything was looked at, and something was found that is to be acted on."""
        whole = not self.errors and all(found.sweep.complete for found in self.looked)
        if self.stopper.reason():
            return False
        if not whole:
            log.error("nothing is changed: not everything could be looked at")
            return False
        for found in self.looked:
            self._require(found)
        return any(found.picked for found in self.looked) and not self.manner.dry_run

    def _require(self, found: BulkResult) -> None:
        """Have the command object to what was found; in a dry run it is only said."""
        try:
            self.check(found)
        except RotatorError as error:
            if not self.manner.dry_run:
                raise
            log.warning("without --dry-run this is refused", reason=str(error), hint=error.hint)

    def _confirm(self) -> None:
        """Show what would become of what, and go on only if somebody wants it."""
        print_result(render(self.looked, [], self.told, self._shown), sys.stderr)
        if self.manner.yes:
            return
        number = sum(found.picked for found in self.looked)
        names = [found.access.cache.name for found in self.looked if found.picked]
        wanted = {str(number), f"{number:,}"} | ({names[0]} if len(names) == 1 else set())
        what = f"{self.told.act} {count(number, 'value')} of {', '.join(names)}"
        either = f"{names[0]} or {number}" if len(names) == 1 else str(number)
        print_result(f"\nTo {what}, type {either}:", sys.stderr)
        if sys.stdin.readline().strip() not in wanted:
            raise ConfigError(
                f"not confirmed: nothing was {self.told.done}",
                hint="--dry-run only looks, --yes does not ask",
            )

    def _tell(self) -> None:
        """Print the result, and leave with its exit code."""
        codes = [found.exit_code() for found in self.acted or self.looked]
        codes += [Exit.FAILED] * len(self.errors)
        stop = self.stopper.reason()
        if stop:
            codes.append(stop.exit_code)
        code = min(codes, key=_SEVERITY.index)
        if self.manner.output is options.ReportFormat.JSON:
            data = as_data(self.looked, self.acted, self.told, self._shown, self.errors)
            print_json({**data, "dry_run": self.manner.dry_run, "exit_code": int(code)})
        else:
            print_result(render(self.looked, self.acted, self.told, self._shown, self.errors))
        if code:
            raise typer.Exit(code)

    def _shown(self, found: BulkResult) -> bool:
        """Whether names of this cache may be shown as they are stored."""
        return self.manner.show_names or not found.access.cache.hashing.keys.disabled


def require_yes(manner: OutputOptions) -> None:
    """
    Refuse at once where nobody could be asked.

    Raises:
        ConfigError: There is no terminal, and no `--yes`.
    """
    if not (manner.dry_run or manner.yes or sys.stdin.isatty()):
        raise ConfigError(
            "this needs a yes, and there is no terminal to ask on",
            hint="see with --dry-run what would be done, then give --yes",
        )


def _say_stopping(stop: Stop) -> None:
    log.warning("stopping after this page", reason=str(stop))
