"""
A dask cluster: its scheduler, and the workers that are there.

The scheduler may be gone at any moment. Then every call ends soon, with a `GoneError`.

What a run says to its dask workers while they work, and what it remembers of their answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from distributed import Client, Variable
from distributed.client import ClosedClientError

from rotator import DISTRIBUTION, __version__
from rotator.errors import ConfigError, ServerError
from rotator.sweep.control import Control
from rotator.sweep.dask_worker import orders_of

CONNECT_SECONDS = 10.0
"""How long the scheduler may take to answer."""


PATIENCE_SECONDS = 30.0
"""How long there may be no worker: at the start, and when the last one is lost."""


POLL_SECONDS = 0.02


_CLOSE_SECONDS = 5.0


# What distributed raises when the scheduler is gone, depending on how far it has noticed.
_GONE = (OSError, AttributeError, ClosedClientError)


class GoneError(ServerError):
    """The connection to the scheduler was lost."""


@contextmanager
def connected(scheduler: str) -> Iterator[Client]:
    """
    A client of *scheduler*, for the time of the block.

    Raises:
        ConfigError: It is no address, or TLS is not set up.
        ServerError: No scheduler answers there.
    """
    try:
        client = Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
    except OSError:
        raise ServerError(
            f"no dask scheduler answers at {scheduler}",
            hint="start it with `dask scheduler`, and let this machine reach it",
        ) from None
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"--scheduler {scheduler}: {str(error).lower().rstrip('.')}",
            hint="tcp://host:8786, or tls://host:8786 with distributed.comm.tls in dask's settings",
        ) from None
    try:
        yield client
    finally:
        with suppress(OSError):
            client.close(timeout=_CLOSE_SECONDS)


class DaskCluster:
    """The workers of a dask cluster; *checked* are those that have said which rotator they have."""

    def __init__(self, client: Client, scheduler: str) -> None:
        self.client = client
        self.checked: set[str] = set()
        self._scheduler = scheduler

    def check_scheduler(self) -> None:
        """
        Check that the scheduler can read what goes to workers through it.

        Raises:
            ConfigError: It has no rotator, or another version.
            GoneError: It is gone.
        """
        found = None
        try:
            with self.asking(), suppress(PackageNotFoundError):
                found = self.client.run_on_scheduler(version, DISTRIBUTION)
        except ValueError:
            return  # its owner does not let anybody ask (distributed.scheduler.blocked-handlers)
        if wrong := other_version(found):
            raise ConfigError(
                f"the dask scheduler {self._scheduler} cannot be used: {wrong}",
                hint="install the same redis-rotator[dask] on all machines, the scheduler's too",
            )

    def present(self) -> list[str]:
        """
        The addresses of the workers that are there now.

        Raises:
            GoneError: The scheduler is gone.
        """
        with self.asking():
            return sorted(self.client.nthreads(callback_timeout=CONNECT_SECONDS))

    @contextmanager
    def asking(self) -> Iterator[None]:
        """
        For a block that asks the scheduler for something, and does nothing else.

        Raises:
            GoneError: It is gone.
        """
        if self.client.status != "running":  # it tries for a while to connect again
            raise self.gone()
        try:
            yield
        except _GONE:
            raise self.gone() from None

    def gone(self) -> GoneError:
        """What to say when the scheduler is gone."""
        return GoneError(f"the connection to the dask scheduler {self._scheduler} was lost")

    def wait(self, hurry: Callable[[], object]) -> None:
        """
        Wait until there is a worker, or *hurry* says to go on without.

        Raises:
            ServerError: None has come.
            GoneError: The scheduler is gone.
        """
        until = time.monotonic() + PATIENCE_SECONDS
        while not self.present() and not hurry():
            if time.monotonic() > until:
                raise ServerError(
                    f"the dask scheduler {self._scheduler} has no worker",
                    hint=f"start some, on any machine: dask worker {self._scheduler}",
                )
            time.sleep(POLL_SECONDS)


def other_version(found: str | None) -> str | None:
    """What is wrong with the version of rotator that was found elsewhere, if anything is."""
    if found == __version__:
        return None
    return f"it has rotator {found}, not {__version__}" if found else "it has no rotator"


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
