"""
Ctrl-C while nothing is at work: while modules are imported, and when the result is out.

Python raises KeyboardInterrupt wherever it happens to be. In the middle of an import that is
somebody else's module, which may catch it, break, or show where it was. At such times there is
nothing to tidy up, so the process ends there and then. While a command is at work the exception is
right: it closes what is open.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

INTERRUPTED = 130
"""The exit code, as `errors.Exit` has it; that module is one of those to be imported."""
_SAID = b"rotator: error: interrupted\nrotator: hint: nothing was done; run it again\n"


@contextmanager
def ends_at_once() -> Iterator[None]:
    """Let Ctrl-C end the process with a word and 130 while the block runs."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # not where it is ignored, or somebody listens
        signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        if before is signal.default_int_handler:
            signal.signal(signal.SIGINT, before)


def over(code: int) -> None:
    """From now on Ctrl-C only shortens the way out: the process ends with *code* in any case."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: os._exit(code))


def leave_to_parent() -> None:
    """In a worker process: a terminal sends Ctrl-C to it too, but the parent deals with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _end(*_: object) -> NoReturn:
    with suppress(OSError):
        os.write(2, _SAID)
    os._exit(INTERRUPTED)
