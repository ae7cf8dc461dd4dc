"""
Other machines that sweep nodes for this one: those of a dask cluster.

The library is imported only when it is asked for: most users do not have it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module

from rotator.errors import ConfigError
from rotator.sweep.engine import Machines

_ADDRESS = re.compile(r"(tcp|tls)://[^\s/@]+:[0-9]+")
# distributed would write to the terminal by itself, past the log and the progress bar. What goes
# wrong with it is said by whoever asks it for something.
_QUIET = {
    "version": 1,
    "disable_existing_loggers": False,
    "incremental": True,
    "loggers": {name: {"level": "CRITICAL"} for name in ("asyncio", "distributed", "tornado")},
}


def check_scheduler(engine: str, scheduler: str | None) -> None:
    """
    Check `--engine` and `--scheduler`, which go together.

    Raises:
        ConfigError: One is there without the other, or the address is none.
    """
    if engine == "dask" and scheduler is None:
        raise ConfigError(
            "--engine dask: the address of the scheduler is missing",
            hint="add --scheduler tcp://host:8786",
        )
    if engine != "dask" and scheduler is not None:
        raise ConfigError("--scheduler is for --engine dask", hint="add --engine dask")
    if scheduler is not None and not _ADDRESS.fullmatch(scheduler):
        raise ConfigError(
            "--scheduler: is no address of a dask scheduler",
            hint="write tcp://host:8786 or tls://host:8786",
        )


def open_machines(
    scheduler: str | None, hurry: Callable[[], object]
) -> AbstractContextManager[Machines | None]:
    """
    The workers of the dask cluster of *scheduler*; without one this machine does it alone.

    Waiting for the first worker ends when *hurry* says so.

    Raises:
        ConfigError: The extra `dask` is not installed, or TLS is not set up.
        ServerError: No scheduler answers there, or it has no worker.
    """
    if scheduler is None:
        return nullcontext()
    try:
        import_module("dask").config.set(logging=_QUIET)
        library = import_module("rotator.daskmachines")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("rotator"):
            raise
        raise ConfigError(
            f"--engine dask needs {error.name}, which is not installed",
            hint="pip install 'redis-rotator[dask]'",
        ) from None
    machines: AbstractContextManager[Machines] = library.dask_machines(scheduler, hurry)
    return machines
