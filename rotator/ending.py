"""
Starting processes of one's own, and ending them whatever happens.

For the demo and the scripts, which have servers to remove at the end.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

from rotator.errors import Exit, ServerError

POLL_SECONDS = 0.01
WAIT_SECONDS = 20.0


def wait_until_clear(obstacle: Callable[[], str | None], seconds: float = WAIT_SECONDS) -> None:
    """
    Wait until *obstacle* has nothing more to name.

    Raises:
        ServerError: It still had after that many *seconds*; the message holds what.
    """
    deadline = time.monotonic() + seconds
    while (what := obstacle()) is not None:
        if time.monotonic() > deadline:
            raise ServerError(f"gave up after {seconds:g} seconds: {what}")
        time.sleep(POLL_SECONDS)


class Ending:
    """
    The wish to end, as SIGINT, SIGTERM or SIGHUP bring it while the `with` block runs.

    It is noted and never raised, so that nothing is left half started and the clean-up is not
    interrupted: whoever starts servers looks at *signal* wherever it is good to stop. A signal that
    was ignored before (`nohup`) stays so. Once one has come the block's end changes nothing: the
    process is about to end, and more of them must not disturb that.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    @property
    def exit_code(self) -> Exit:
        """The exit code that tells of the signal; 0 if there was none."""
        if self.signal is None:
            return Exit.OK
        return Exit.INTERRUPTED if self.signal is signal.SIGINT else Exit.TERMINATED

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.signal = self.signal or signal.Signals(number)

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self.signal is None:
            for number, handler in self._before.items():
                signal.signal(number, handler)
