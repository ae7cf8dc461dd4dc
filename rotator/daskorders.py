"""What a run says to its dask workers while they work, and what it remembers of their answers."""

from __future__ import annotations

import time
from typing import Any

from distributed import Client, Variable

from rotator.sweep.control import Control
from rotator.sweep.dask_cluster import CONNECT_SECONDS
from rotator.sweep.dask_worker import orders_of

BEAT_SECONDS = 1.0


class Orders:
    """The wish to stop, as a `Line` knows it, and the sign that this machine is still there."""

    def __init__(self, client: Client, run: str) -> None:
        self.value = 0
        self._variable = Variable(orders_of(run), client=client)
        self._beat = 0
        self._sent = (-1, 0.0)

    def send(self) -> None:
        """Tell the workers, if there is something new or it is time for a sign."""
        value, at = self._sent
        if value == self.value and time.monotonic() - at < BEAT_SECONDS:
            return
        self._beat += 1
        self._sent = (self.value, time.monotonic())
        self._variable.set([self._beat, self.value], callback_timeout=CONNECT_SECONDS)

    def close(self) -> None:
        """Withdraw the orders: whoever still works stops."""
        self._variable.delete()


class Keeping:
    """A `Control` that knows the last position of every node."""

    def __init__(self, control: Control) -> None:
        self.kept: dict[str, dict[str, Any]] = {}
        self._control = control
        self.stop = control.stop
        self.page_done = control.page_done
        self.wait = control.wait

    def save(self, node: str, position: dict[str, Any]) -> None:
        """Pass it on."""
        self.kept[node] = position
        self._control.save(node, position)

    def load(self, node: str) -> dict[str, Any] | None:
        """The last position, of this sweep or an earlier one."""
        return self.kept.get(node) or self._control.load(node)
