"""What the operating system knows of processes and cores; Linux only."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_CORES: Final = sorted(os.sched_getaffinity(0))[:2]
_LOOK_SECONDS: Final = 0.25
_SLOT_SECONDS: Final = 0.01  # a quarter of the time is one slot of four
_PACE_SECONDS: Final = 0.05
_ROUNDS: Final = 5  # before it looks again who is there


def cores() -> tuple[int, int]:
    """The cores for the servers and for everything else: two different ones where there are."""
    return _CORES[0], _CORES[-1]


def idle_seconds() -> float:
    """How long the cores of `cores` have been idle, together (proc(5), /proc/stat)."""
    wanted = {f"cpu{core}" for core in _CORES}
    lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
    found = (line.split() for line in lines)
    return sum(int(fields[4]) + int(fields[5]) for fields in found if fields[0] in wanted) / _TICKS


@contextlib.contextmanager
def pinned(core: int) -> Iterator[None]:
    """Let this process, and what it starts meanwhile, run on one core only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_seconds(pid: int) -> float:
    """
    The processor time of all threads of a process, and of its children that have ended.

    The clock is the one that clock_getcpuclockid(3) gives; the children's time is from proc(5).
    """
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return time.clock_gettime(~pid << 3 | 2) + (int(fields[13]) + int(fields[14])) / _TICKS


class TimeSlots(threading.Thread):
    """
    Lets each of *count* processes at work run a quarter of the time, none beside another.

    They are those that the process *pid* has started, or itself where there is to be one only.
    """

    def __init__(self, pid: int, count: int) -> None:
        super().__init__(daemon=True)
        self._pid, self._count = pid, count
        self._left = threading.Event()
        self.start()

    def run(self) -> None:
        """Give out one slot after the other; all wait while nobody has one."""
        running: int | None = None
        number = 0
        while not self._left.is_set():
            workers = [self._pid] if self._count == 1 else _workers(self._pid)
            for pid in workers:
                _signal(pid, signal.SIGSTOP)
            for _ in range(4 * _ROUNDS):
                number = (number + 1) % 4
                running = workers[number] if number < min(len(workers), self._count) else None
                if running is not None:
                    _signal(running, signal.SIGCONT)
                time.sleep(_SLOT_SECONDS)
                if running is not None:
                    _signal(running, signal.SIGSTOP)
        for pid in [self._pid, *_workers(self._pid)]:
            _signal(pid, signal.SIGCONT)

    def leave(self) -> None:
        """Stop, and let everybody run."""
        self._left.set()
        self.join()


class Pace(threading.Thread):
    """Notes now and then, in *pace*, the time and how much is *done*."""

    def __init__(self, done: Callable[[], int], pace: list[tuple[float, int]]) -> None:
        super().__init__(daemon=True)
        self._done, self._pace = done, pace
        self._left = threading.Event()
        self.start()

    def run(self) -> None:
        """Look now and then."""
        while not self._left.wait(_PACE_SECONDS):
            self._pace.append((time.monotonic(), self._done()))

    def leave(self) -> None:
        """Stop, and wait until it has."""
        self._left.set()
        self.join()


def _workers(pid: int) -> list[int]:
    """The processes that one has started to work for it."""
    return [child for child in _family(pid)[1:] if b"spawn_main" in _command(child)]


def _command(pid: int) -> bytes:
    """The command line of a process; nothing when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def _signal(pid: int, number: int) -> None:
    """Send a signal, unless the process is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def family_seconds(pid: int) -> float:
    """The processor time of a process and of all that it has started."""
    found = 0.0
    for one in _family(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, OSError):
            found += cpu_seconds(one)
    return found


class Peak(threading.Thread):
    """
    Watches the memory of a process and of those that it starts, until told to leave.

    *bytes* is the most that was seen: the sum of the peaks of those that lived at one time.
    The rusage of a child would not do: it begins with the size of the process that started it.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self.bytes = 0
        self._left = threading.Event()
        self.start()

    def run(self) -> None:
        """Look now and then."""
        while not self._left.wait(_LOOK_SECONDS):
            self.look()

    def look(self) -> None:
        """Look now."""
        self.bytes = max(self.bytes, sum(map(_peak, _family(self._pid))))

    def leave(self) -> None:
        """Stop, and wait until it has."""
        self._left.set()
        self.join()


def _peak(pid: int) -> int:
    """The most memory a process has had so far, in bytes; 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def _family(pid: int) -> list[int]:
    """A process and all that it and its children have started."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents[int(stat.parent.name)] = int(fields[1])
    family = [pid]
    for one in family:
        family += [child for child, parent in parents.items() if parent == one]
    return family
