"""
The line between a parent and the workers that sweep nodes for it: progress, waits and log lines.

Positions go through it only where a worker cannot write them to the state file by itself.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

import structlog

from rotator.config.types import Address
from rotator.sweep.control import Control, Stop

_LONGEST = 800  # characters of a text in a log line

log = structlog.get_logger(__name__)


class Line:
    """
    The line between worker processes and their parent.

    *queue* carries (method, arguments) to the parent; *stop* holds the number of a `Stop`, from 1.
    Neither leaves anybody stuck when a worker is killed: *stop* has no lock that it could take with
    it, and messages are shorter than what a pipe takes in one piece (PIPE_BUF, 4096 bytes on
    Linux), so there is never half of one.
    """

    def __init__(self, queue: Any, stop: Any) -> None:
        self._queue = queue
        self._stop = stop

    def ask_to_stop(self, reason: Stop) -> None:
        """Tell every worker to stop after its page."""
        self._stop.value = list(Stop).index(reason) + 1

    def asked_to_stop(self) -> Stop | None:
        """What the parent said."""
        number = self._stop.value
        return list(Stop)[number - 1] if number else None

    def send(self, method: str, *arguments: Any) -> None:
        """Send a message to the parent."""
        self._queue.put((method, arguments))

    def send_log(
        self, _logger: object, level: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """Send a log line to the parent, as structlog's last processor."""
        short = {name: _shortened(value) for name, value in event.items()}
        self.send("log", level, short)
        raise structlog.DropEvent

    def deliver(self, control: Control) -> None:
        """Act on every message that has come."""
        while not self._queue.empty():
            method, arguments = self._queue.get()
            if method == "log":
                level, event = arguments
                getattr(log, level)(**event)
            elif method == "wait":
                control.wait(*arguments)
            elif method == "save":
                control.save(*arguments)
            else:
                control.page_done(*arguments)


class RemoteControl:
    """
    The `Control` of a worker, for one node.

    Progress goes to *line*; *keep* takes the node and a position. *saved* is what the parent had
    found for the node.
    """

    def __init__(
        self,
        line: Line,
        keep: Callable[[str, dict[str, Any]], None],
        *,
        address: Address,
        saved: dict[str, Any] | None,
    ) -> None:
        self._line = line
        self._keep = keep
        self._node = str(address)
        self._saved = saved

    def stop(self) -> Stop | None:
        """What the parent asked for."""
        return self._line.asked_to_stop()

    def page_done(self, node: str, visits: int, rotated: int, left: int) -> None:
        """Tell the parent."""
        self._line.send("page_done", node, visits, rotated, left)

    def wait(self, node: str, reason: str | None) -> None:
        """Tell the parent."""
        self._line.send("wait", node, reason)

    def save(self, node: str, position: dict[str, Any]) -> None:
        """Keep it where positions are kept."""
        self._keep(node, position)

    def load(self, node: str) -> dict[str, Any] | None:
        """What the parent had found there."""
        return self._saved if node == self._node else None


def _shortened(value: object) -> object:
    if isinstance(value, int | float | bool | None):
        return value
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
