"""
Run notifier: decides whether a run has news, and tells a command (`--on-change`).

Told is each thing that is new, once:

- A run that failed is told every time: nobody can rely on what a failing run would have found out.
- A verdict that is another than before the run is told, be it better or worse. What the state knew
  before the run is compared with what it knows after it.
- That some values could not be moved, or that another run is at work, is told when the run before
  did not end like that; the first run that ends well after any of these is told too.
- A run that was stopped is as it should be.

How runs end is written into the state with or without a command, so that one that is added later
tells only what is new. The command itself:

- It is run without a shell: its words are parted like a shell's, and nothing in them is replaced.
- It gets the facts in its environment, and besides them only `INHERITED`: rotator's own may hold
  passwords and tokens.
- After a minute it, and whatever it has started, is ended. The run stays as good or bad as it was.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import structlog

from rotator.crypto.keyring import Keyring
from rotator.errors import ENDINGS, ConfigError, Exit, RotatorError, StateError
from rotator.protection import is_there
from rotator.report.model import Report
from rotator.state.database import default_path
from rotator.state.state import State
from rotator.text import escape, redact, short_id

INHERITED = ("PATH", "HOME", "LANG", "TZ", "USER")
"""The variables that the command finds as rotator found them."""

LONGEST_SECONDS = 60.0
STOPPED = (Exit.TIME_UP, Exit.HUNG_UP, Exit.INTERRUPTED, Exit.TERMINATED)
"""Codes that say nothing of how it is; the run before them counts."""

_FAILURES = (Exit.FAILED, Exit.USAGE, Exit.EMPTY)
_TOLD = (*_FAILURES, Exit.NOT_MOVED, Exit.BUSY)
_SHOWN = 5  # changes, in a summary
_OUTPUT = 4000  # characters of what the command says that are logged
_LARGEST = 100_000  # bytes in a variable; Linux takes 128 KiB, with its name

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class NotificationCommand:
    """Notification command: holds its arguments too, which nobody else should see."""

    words: tuple[str, ...]
    seconds: float = LONGEST_SECONDS

    def __repr__(self) -> str:
        return f"NotificationCommand({self.words[0]!r}, ...)"

    @classmethod
    def parse(cls, command: str) -> NotificationCommand:
        """
        Read the command that `--on-change` names.

        Raises:
            ConfigError: It is not written like one, or there is no such program.
        """
        try:
            words = shlex.split(command)
        except ValueError:
            raise ConfigError(
                "--on-change: a quotation mark is not closed",
                hint="quote the whole command once more: --on-change 'notify \"to me\"'",
            ) from None
        if not words:
            raise ConfigError("--on-change: there is no command", hint="name a program, or none")
        if shutil.which(words[0]) is None:
            raise ConfigError(
                f"--on-change: there is no program {words[0][:80]} that can be run",
                hint="give its full path and make it executable; it is run without a shell",
            )
        return cls(tuple(words))

    def call(self, facts: Mapping[str, str]) -> bool:
        """Run it to its end; return whether that was a good one. If not, the log says so."""
        env = {name: os.environ[name] for name in INHERITED if name in os.environ}
        env |= {name: _fitting(value) for name, value in facts.items()}
        with tempfile.TemporaryFile() as output:
            try:
                process = subprocess.Popen(  # noqa: S603 - the operator's own command
                    self.words,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            except OSError as error:
                reason = (error.strerror or "unknown reason").lower()
                log.warning("the command of --on-change could not be run", error=reason)
                return False
            return self._await(process, output)

    def _await(self, process: subprocess.Popen[bytes], output: IO[bytes]) -> bool:
        """Wait for its end, at most *seconds*; return whether that was a good one."""
        try:
            code = process.wait(self.seconds)
        except subprocess.TimeoutExpired:
            log.warning("the command of --on-change did not end in time", seconds=self.seconds)
            return False
        finally:
            # What it has started is in its session; what still runs by then is ended with it.
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        said = _said(output)
        if code:
            log.warning("the command of --on-change failed", exit_code=code, output=said)
        else:
            log.debug("the command of --on-change was run", output=said)
        return code == 0


def _said(output: IO[bytes]) -> str:
    """Return the end of what it said."""
    size = output.seek(0, os.SEEK_END)
    output.seek(max(size - _OUTPUT, 0))
    return output.read().decode(errors="backslashreplace").strip()


def _fitting(value: str) -> str:
    """Return *value* as a variable may hold it: without what ends a string, and not too long."""
    data = value.replace("\0", "").encode(errors="backslashreplace")
    if len(data) > _LARGEST:
        # Whole lines, so that each is still what it was.
        data = data[:_LARGEST].rpartition(b"\n")[0] or data[:_LARGEST]
    return data.decode(errors="ignore")


class Event(StrEnum):
    """Event: says why somebody is told."""

    FAILED = "failed"
    CHANGED = "changed"
    RECOVERED = "recovered"


@dataclass(frozen=True, slots=True)
class Change:
    """Change: a verdict became another; *before* is None for a key that was never judged."""

    cache: str
    key: str
    field: str
    before: str | None
    after: str

    def __str__(self) -> str:
        was = f" (was {self.before})" if self.before else ""
        return f"{self.cache}: key {short_id(self.key)} is {self.after}{was}"


def event_for(exit_code: int, previous: int | None, changes: Sequence[Change]) -> Event | None:
    """
    Return what to tell of a run that ended with *exit_code*, if anything.

    *previous* is that of the last run over the same caches that was not stopped.
    """
    if exit_code in _FAILURES or (exit_code == Exit.BUSY and previous != Exit.BUSY):
        return Event.FAILED
    if changes or (exit_code == Exit.NOT_MOVED and previous != Exit.NOT_MOVED):
        return Event.CHANGED
    if exit_code == Exit.OK and previous in _TOLD:
        return Event.RECOVERED
    return None


def summary(code: int, error: str | None, ending: str, changes: Sequence[Change]) -> str:
    """Return in one line what failed, or else what changed; *ending* is what the code means."""
    if error:
        return f"rotator failed (exit code {code}): {error}"
    said = [str(change) for change in changes[:_SHOWN]]
    if more := len(changes) - len(said):
        said.append(f"and {more:,} more")
    if code or not said:
        said.append(f"{ending} (exit code {code})")
    return f"rotator: {'; '.join(said)}"


class RunNotifier:
    """
    Run notifier: watches over the block of one run.

    *asked* is what tells runs apart that share a state: the configuration and caches that were
    asked for. *report* is where the report is written. Without a *command* nobody is told.
    """

    def __init__(
        self,
        command: NotificationCommand | None,
        *,
        asked: Iterable[Iterable[object]],
        state: Path | None,
        report: Path | None,
    ) -> None:
        self._command = command
        self._asked = json.dumps([sorted(map(str, one)) for one in asked])
        self._path = state or default_path()
        self._report = report
        self._caches: tuple[str, ...] = ()
        self._before: list[tuple[str, str, str, str | None]] = []  # cache, key id, field, verdict
        self._result: Report | None = None

    def watch(
        self, caches: Iterable[str], keyrings: Mapping[str, Keyring | None], state: State
    ) -> None:
        """Take note of what is known before the run over *caches*; *keyrings* are of all caches."""
        self._caches = tuple(caches)
        self._before = [
            (name, key.id, key.field, _verdict(state, key.id))
            for name, ring in keyrings.items()
            for key in (ring.old if ring else ())
        ]

    def ended(self, result: Report) -> None:
        """Take note of how the run ended."""
        self._result = result

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: object, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        code, why = self._ending(error)
        previous, changes = self._compare(code)
        event = event_for(code, previous, changes)
        if event is None or self._command is None:
            return
        if self._command.call(self._facts(event, code, why, changes)):
            log.info("the command of --on-change was called", what=str(event))

    def _ending(self, error: BaseException | None) -> tuple[int, str | None]:
        """Return the exit code that the run will have, and what went wrong."""
        if error is None:
            result = self._result
            return (result.exit_code, _missing(result)) if result else (int(Exit.OK), None)
        if isinstance(error, RotatorError):
            return int(error.exit_code), str(error)
        if isinstance(error, KeyboardInterrupt):
            return int(Exit.INTERRUPTED), None
        # What it says may be a secret.
        return int(Exit.FAILED), f"internal error: {type(error).__name__}"

    def _compare(self, code: int) -> tuple[int | None, list[Change]]:
        """Return how the run before ended, and the verdicts that are others now."""
        if not is_there(self._path):
            return None, []
        try:
            with State(self._path) as state:
                previous = state.run_result(self._asked)
                if code not in STOPPED:
                    state.set_run_result(self._asked, code)
                return previous, [
                    Change(cache, key_id, field, before, after)
                    for cache, key_id, field, before in self._before
                    if (after := _verdict(state, key_id)) and after != before
                ]
        except StateError as error:
            if self._command is not None:
                log.warning("what changed is not known", error=str(error))
            return None, []

    def _facts(
        self, event: Event, code: int, why: str | None, changes: list[Change]
    ) -> dict[str, str]:
        """Return what the command is told, as variables; nothing in it is secret."""
        said = summary(code, why, ENDINGS[code].short, changes)
        report = "" if self._report is None else str(self._report.absolute())
        return {
            "ROTATOR_EVENT": str(event),
            "ROTATOR_EXIT_CODE": str(code),
            "ROTATOR_CACHES": "\n".join(map(escape, self._caches)),
            "ROTATOR_CHANGES": "\n".join(json.dumps(asdict(change)) for change in changes),
            "ROTATOR_SUMMARY": redact(escape(" ".join(said.split()))),
            "ROTATOR_REPORT": report,
        }


def _missing(result: Report) -> str | None:
    """Return what of a run that came to its end failed all the same: the first of it."""
    if result.exit_code != Exit.FAILED:
        return None
    for cache in result.caches:
        unseen = cache.coverage.not_looked_at if cache.coverage else ()
        if cache.error or unseen:
            return f"{cache.name}: {cache.error or unseen[0]}"
    return None


def _verdict(state: State, key_id: str) -> str | None:
    """Return the last verdict on a key."""
    past = state.verdicts(key_id)
    return past[-1][1] if past else None
