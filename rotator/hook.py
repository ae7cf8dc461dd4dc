"""
The command that is run when there is something to tell: `--on-change`.

- It is run without a shell: its words are parted like those of a shell, and nothing in them is
  replaced.
- It gets the facts in its environment, and besides them only `INHERITED`: rotator's own may hold
  passwords and tokens.
- It has a minute. It, and whatever it has started, is ended then; whatever becomes of it, the run
  stays as good or as bad as it was.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

import structlog

from rotator.errors import ConfigError

INHERITED = ("PATH", "HOME", "LANG", "TZ", "USER")
"""The variables that the command finds as rotator found them."""
LONGEST_SECONDS = 60.0
_OUTPUT = 4000  # characters of what it says that are logged
_LARGEST = 100_000  # bytes in a variable; Linux takes 128 KiB, with its name

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Hook:
    """A command and its arguments, which may hold what nobody else should see."""

    words: tuple[str, ...]
    seconds: float = LONGEST_SECONDS

    def __repr__(self) -> str:
        return f"Hook({self.words[0]!r}, ...)"

    @classmethod
    def parse(cls, command: str) -> Hook:
        """
        The command that `--on-change` names.

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
                hint="give its whole path, and the right to execute it; it is run without a shell",
            )
        return cls(tuple(words))

    def call(self, facts: Mapping[str, str]) -> bool:
        """Run it, and wait for its end; whether it ended well. If not, the log says so."""
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
        """Wait for its end, but not for ever."""
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
    """The end of what it said."""
    size = output.seek(0, os.SEEK_END)
    output.seek(max(size - _OUTPUT, 0))
    return output.read().decode(errors="backslashreplace").strip()


def _fitting(value: str) -> str:
    """*value* as a variable may hold it: without what ends a string, and not too long."""
    data = value.replace("\0", "").encode(errors="backslashreplace")
    if len(data) > _LARGEST:
        # Whole lines, so that each is still what it was.
        data = data[:_LARGEST].rpartition(b"\n")[0] or data[:_LARGEST]
    return data.decode(errors="ignore")
