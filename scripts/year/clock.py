"""
Clock: one simulated time of day, for real servers by libfaketime, and handed in to rotator.

Debian's package is downloaded and unpacked, not installed. Servers whose allocator replaces that of
the C library (Debian's own) do not start under it, so a year is played on the embedded server.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from rotator.demo.local_server import embedded_binary
from servers.sources import FetchError, run

AHEAD: Final = "SIMULATED_CLOCK"
"""The variable with the file that says by how many seconds the clock of rotator is ahead."""

_PRELOADED: Final = ("LD_PRELOAD", "FAKETIME_TIMESTAMP_FILE", "FAKETIME_NO_CACHE")
CACHE: Final = Path(__file__).parents[2] / ".cache" / "faketime"


def library() -> Path:
    """
    Return the path of libfaketime, fetched once.

    Raises:
        FetchError: It cannot be had.
    """
    pattern = "unpacked/usr/lib/*/faketime/libfaketime.so.1"
    if not list(CACHE.glob(pattern)):
        CACHE.mkdir(parents=True, exist_ok=True)
        try:
            _download()
        except FetchError as error:
            raise FetchError(f"no year without libfaketime, which apt has: {error}") from None
        for package in CACHE.glob("*.deb"):
            run("dpkg-deb", "-x", package, CACHE / "unpacked")
    for path in CACHE.glob(pattern):
        return path
    raise FetchError("the package libfaketime has no library in it")


def _download() -> None:
    download = ("apt-get", "download", "--quiet", "libfaketime")
    try:
        run(*download, folder=CACHE)
    except FetchError:  # the lists may not be there yet
        run("apt-get", "update", "--quiet")
        run(*download, folder=CACHE)


class Clock:
    """
    Clock: servers that are started while its `with` block runs have its time; steps move it on.

    Clocks that nobody can set (CLOCK_MONOTONIC) go on as they are. *off* are the seconds by which
    the machine of rotator is wrong.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self._ahead = 0.0
        self.off = 0.0
        self._before: dict[str, str | None] = {}

    def now(self) -> float:
        """Return the simulated Unix time."""
        return time.time() + self._ahead

    def day(self) -> str:
        """Return the simulated date."""
        return f"{datetime.fromtimestamp(self.now(), UTC):%Y-%m-%d}"

    def step(self, seconds: float) -> None:
        """Set the clock on."""
        self._ahead += seconds
        self._write(self._file, self._ahead)

    def of_rotator(self) -> dict[str, str]:
        """Return the environment of a command on a machine whose clock may be wrong."""
        own = self._file.with_name("clock-of-rotator")
        self._write(own, self._ahead + self.off)
        kept = {name: value for name, value in os.environ.items() if name not in _PRELOADED}
        return {**kept, AHEAD: str(own), "PYTHONPATH": str(Path(__file__).parents[1])}

    @staticmethod
    def _write(path: Path, ahead: float) -> None:
        draft = path.with_suffix(".draft")
        draft.write_text(f"{ahead:+.0f}\n")
        draft.replace(path)  # a reader never meets half a number

    def __enter__(self) -> Self:
        self.step(0)
        values = {
            "ROTATOR_SERVER": str(embedded_binary()),
            "LD_PRELOAD": str(library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
        }
        self._before = {name: os.environ.get(name) for name in values}
        os.environ.update(values)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
