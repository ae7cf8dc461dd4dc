"""The workers of a dask cluster, as a run gets them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rotator.server.context import Access, Fingerprint
from rotator.sweep.dask_cluster import Fleet, GoneError, connected
from rotator.sweep.dask_engine import DaskEngine
from rotator.sweep.engine import Machines


@contextmanager
def dask_machines(scheduler: str, hurry: Callable[[], object]) -> Iterator[DaskMachines]:
    """
    The workers of the dask cluster of *scheduler*, at least one, unless *hurry* says to go on.

    Raises:
        ConfigError: It is no address, TLS is not set up, or it has another rotator.
        ServerError: No scheduler answers there, or it has no worker.
    """
    with connected(scheduler) as client:
        machines = DaskMachines(client, scheduler)
        machines.check_scheduler()
        machines.wait(hurry)
        yield machines


class DaskMachines(Fleet, Machines):
    """The workers of a dask cluster; see `rotator.engine.Machines`."""

    def count(self) -> int:
        """How many workers there are now, at least 1: that there are none, the sweep will say."""
        with suppress(GoneError):
            return max(1, len(self.present()))
        return 1

    def engine(self, files: tuple[Path, ...], access: Access, workers: int) -> DaskEngine:
        """What sweeps the nodes of the cache of *access* with so many *workers* at most."""
        places = tuple(path.absolute() for path in files)
        return DaskEngine(self, places, Fingerprint.of(access), workers)
