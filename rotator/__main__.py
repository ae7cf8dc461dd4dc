"""
`python -m rotator`, and the console script; a worker process begins here too.

Ctrl-C while nothing is at work: while modules are imported, and when the result is out.

Python raises KeyboardInterrupt wherever it happens to be. In the middle of an import that is
somebody else's module, which may catch it, break, or show where it was. At such times there is
nothing to tidy up, so the process ends there and then. While a command is at work the exception is
right: it closes what is open.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

INTERRUPTED = 130
"""The exit code, as `errors.Exit` has it; that module is one of those to be imported."""


_SAID = b"rotator: error: interrupted\nrotator: hint: nothing was done; run it again\n"


_BEGUN: list[bool] = []


_CODES: list[int] = []


def begin() -> None:
    """Look after the last moments of this process; to be called before all else."""
    _BEGUN.append(True)
    atexit.register(_leave)  # what is registered first is called last


@contextmanager
def ends_at_once() -> Iterator[None]:
    """Let Ctrl-C end the process with a word and 130 while the block runs."""
    heard = _heard()
    if heard:
        signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        if heard:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def finish() -> None:
    """
    Let one Ctrl-C pass from now on: all that is left is to write the result.

    Between the last byte of a result and the end of the process there is no moment at which Ctrl-C
    may change the exit code that the result tells of. A second one, where a reader does not read,
    ends the work as usual. Only in the process of the command line, which ends soon.
    """
    if _BEGUN and _heard():
        signal.signal(signal.SIGINT, _pass_once)


def over(code: int) -> None:
    """From now on Ctrl-C only shortens the way out: the process ends with *code* in any case."""
    if _heard():
        signal.signal(signal.SIGINT, lambda *_: os._exit(code))
    _CODES.append(code)


def leave_to_parent() -> None:
    """In a worker process: a terminal sends Ctrl-C to it too, but the parent deals with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _heard() -> bool:
    """Whether Ctrl-C does what Python wants: it is not ignored, and nobody else listens."""
    return signal.getsignal(signal.SIGINT) in {signal.default_int_handler, _pass_once}


def _pass_once(*_: object) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(*_: object) -> NoReturn:
    with suppress(OSError):
        os.write(2, _SAID)
    os._exit(INTERRUPTED)


def _leave() -> None:
    """Be deaf while Python takes its handlers down, and keep it from dying of a Ctrl-C it saw."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if INTERRUPTED in _CODES:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(INTERRUPTED)


if "--multiprocessing-fork" in sys.orig_argv:  # the mark that multiprocessing puts on its own
    leave_to_parent()


def main() -> None:
    """Run the command line and leave with its exit code."""
    begin()
    try:
        with ends_at_once():
            _open_closed_streams()
            from rotator.cli.app import run  # noqa: PLC0415 - takes a while, and Ctrl-C may come

        code = run(sys.argv[1:])
        over(code)
    except KeyboardInterrupt:  # just before the work began, or a second time while it ended
        code = INTERRUPTED
        over(code)
    sys.exit(code)


def _open_closed_streams() -> None:
    """Started with `2>&-`, Python has no stderr, and a file opened later would get its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            lowest = os.open(os.devnull, os.O_RDWR)  # just the number that is missing
            setattr(sys, name, os.fdopen(lowest, mode))


if __name__ == "__main__":
    main()
