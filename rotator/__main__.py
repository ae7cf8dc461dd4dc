"""
Console script: runs the application, answers Ctrl-C around the work, survives closed streams.

`python -m rotator` begins here too, and so does a worker process.
"""

import atexit
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

INTERRUPTED = 130
"""The exit code, as `errors.Exit` has it; that module is one of those to be imported."""

_MESSAGE = b"rotator: error: interrupted\nrotator: hint: nothing was done; run it again\n"


class Interrupts:
    """
    Interrupts: say what Ctrl-C does before, during and after a command.

    Python raises KeyboardInterrupt wherever it happens to be. In the middle of an import that is
    somebody else's module, which may catch it, break, or show where it was. Until the command
    begins there is nothing to tidy up, so the process ends at once. While the command is at work
    the exception is right: it closes what is open. Where Ctrl-C was ignored when the process
    started, as a shell does for jobs in the background, it stays so.
    """

    def __init__(self) -> None:
        self._ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        self._code = 0
        atexit.register(self._shut_down)  # what is registered first is called last
        self._set(self._end_at_once)

    def begin_command(self) -> None:
        """Raise KeyboardInterrupt from now on."""
        self._set(signal.default_int_handler)

    def begin_result(self) -> None:
        """
        Let one Ctrl-C pass from now on: all that is left is to write the result.

        Between the last byte of a result and the end of the process there is no moment at which
        Ctrl-C may change the exit code that the result names. A second one, where a reader does
        not read, ends the work as usual.
        """
        self._set(lambda *_: self.begin_command())

    def leave_with(self, code: int) -> None:
        """Let Ctrl-C only shorten the way out from now on: the process ends with *code*."""
        self._code = code
        self._set(lambda *_: os._exit(code))

    def _set(self, handler: Callable[..., Any]) -> None:
        if not self._ignored:
            signal.signal(signal.SIGINT, handler)

    @staticmethod
    def _end_at_once(*_: object) -> None:
        with suppress(OSError):
            os.write(2, _MESSAGE)
        os._exit(INTERRUPTED)

    def _shut_down(self) -> None:
        """Ignore SIGINT during interpreter shutdown; exit with 130 if the run was interrupted."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if self._code == INTERRUPTED:  # Python may end itself with the signal instead
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError):
                    stream.flush()
            os._exit(INTERRUPTED)


def main() -> None:
    """Run the command line and leave with its exit code."""
    interrupts = Interrupts()
    try:
        _open_closed_streams()
        from rotator.cli.app import run  # noqa: PLC0415 - takes a while, and Ctrl-C may come
        from rotator.protection import disable_core_dumps  # noqa: PLC0415 - the same

        disable_core_dumps()
        code = run(sys.argv[1:], interrupts)
        interrupts.leave_with(code)
    except KeyboardInterrupt:  # just as the command began, or a second one while it ended
        code = INTERRUPTED
        interrupts.leave_with(code)
    sys.exit(code)


def _open_closed_streams() -> None:
    """Open what is closed: after `2>&-` a file opened later would get the number of stderr."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            lowest = os.open(os.devnull, os.O_RDWR)  # just the number that is missing
            setattr(sys, name, os.fdopen(lowest, mode))


if "--multiprocessing-fork" in sys.orig_argv:  # the mark that multiprocessing puts on its own
    # A terminal sends Ctrl-C to worker processes too, but their parent deals with it.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)

if __name__ == "__main__":
    main()
