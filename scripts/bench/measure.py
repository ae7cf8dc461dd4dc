"""
One measurement: a process at work, the server under it, and a client in the foreground.

What is measured lasts from the line on stderr with which the work begins to the one with which it
ends; rotator's are its own log lines. Nothing is subtracted: what the foreground client costs the
server, and watching costs the client's core, is in the figures.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from bench.system import Pace, Peak, TimeSlots, cores, family_seconds, idle_seconds
from bench.targets import BenchError, Ground

HERE: Final = Path(__file__).parent
_BEGINS: Final = {"begin", "plan"}
_ENDS: Final = {"end", "sweep ended"}
_MICRO: Final = 1e6
RATE: Final = 250.0  # GETs a second of the client in the foreground

Figures = dict[str, float]
"""What came out, by column; a figure that a way does not have is missing."""


class _Mark(NamedTuple):
    """The clocks at one moment, in seconds."""

    at: float
    server: float
    client: float
    idle: float


class _Done(NamedTuple):
    """A process that has ended: *cpu_seconds* and *peak* are of all of it, start to end."""

    code: int
    marks: list[_Mark]
    said: str
    cpu_seconds: float
    peak: int


def measured(
    command: Sequence[str], ground: Ground, *, rate: float = RATE, quarters: int = 0
) -> Figures:
    """
    Run *command* to its end and measure it, beside GETs at a *rate*.

    With *quarters* so many processes of it are held to a quarter of a core each; the values a
    second are then those of the middle half, when all of them are at work.

    Raises:
        BenchError: It failed, or never said when it began and ended.
    """
    asked: list[tuple[float, float]] = []
    with _foreground(ground, asked, rate), tempfile.TemporaryFile("w+") as out:
        started = time.monotonic()
        pace: list[tuple[float, int]] = []
        done = _watched(command, ground, out, quarters, pace)
        wall = time.monotonic() - started
        out.seek(0)
        printed = out.read()
    if done.code or len(done.marks) != 2:
        raise BenchError(f"{' '.join(command)} ended with {done.code}:\n{done.said}{printed}")
    values, seconds, waited = _result(json.loads(printed))
    begin, end = done.marks
    passed = _Mark(*(after - before for before, after in zip(begin, end, strict=True)))
    return {
        "values": values,
        "seconds": seconds,
        "waited_seconds": waited,
        "values_per_second": _middle(pace, values) if quarters else values / seconds,
        "whole_per_second": values / wall,
        "server_us": _per_value(passed.server, values),
        "client_us": _per_value(passed.client, values),
        "process_us": _per_value(done.cpu_seconds, values),
        "process_seconds": done.cpu_seconds,
        "wall_seconds": wall,
        "server_busy": passed.server / passed.at,
        "other_load": _other_load(passed),
        "rss_mb": done.peak / 1e6,
        **_percentiles(asked, begin.at, end.at),
    }


def _middle(pace: Sequence[tuple[float, int]], values: int) -> float:
    """The values a second of the middle half."""
    inside = [(at, done) for at, done in pace if values / 4 <= done <= 3 * values / 4]
    if len(inside) < 2:
        return 0.0
    (begin, first), (end, last) = inside[0], inside[-1]
    return (last - first) / (end - begin)


def _watched(
    command: Sequence[str],
    ground: Ground,
    out: IO[str],
    quarters: int,
    pace: list[tuple[float, int]],
) -> _Done:
    """Run *command* to its end, with an eye on the clocks, on its memory and on what is done."""
    process = subprocess.Popen(
        command, stdout=out, stderr=subprocess.PIPE, text=True, env=environment()
    )
    peak = Peak(process.pid)
    slots = TimeSlots(process.pid, quarters) if quarters else None
    watcher = Pace(ground.rewritten, pace) if quarters else None
    try:
        marks, said = _follow(process, ground, peak)
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        if slots is not None:
            slots.leave()  # while it still finds those that it has stopped
        process.kill()
        process.wait()
        raise
    finally:
        for one in (slots, watcher, peak):
            if one is not None:
                one.leave()
    process.returncode = os.waitstatus_to_exitcode(status)
    used = usage.ru_utime + usage.ru_stime
    return _Done(process.returncode, marks, said, used, peak.bytes)


def idle(ground: Ground, seconds: float, rate: float) -> Figures:
    """What the foreground client feels when nothing else is going on."""
    asked: list[tuple[float, float]] = []
    with _foreground(ground, asked, rate):
        begin = time.monotonic()
        time.sleep(seconds)
        end = time.monotonic()
    return _percentiles(asked, begin, end)


def median(many: Sequence[Figures]) -> Figures:
    """The median of each figure, of those that every one of them has."""
    columns = [column for column in many[0] if all(column in one for one in many)]
    return {column: statistics.median(one[column] for one in many) for column in columns}


def _follow(process: subprocess.Popen[str], ground: Ground, peak: Peak) -> tuple[list[_Mark], str]:
    """Read what the process says until it has no more to say; the clocks at begin and end."""
    marks: list[_Mark] = []
    said: list[str] = []
    stderr: IO[str] = process.stderr  # type: ignore[assignment]  # a pipe was asked for
    with stderr:
        for line in stderr:
            said.append(line)
            wanted = _ENDS if marks else _BEGINS
            if len(marks) < 2 and event(line) in wanted:
                client = family_seconds(process.pid)
                server = ground.cpu_seconds()
                marks.append(_Mark(time.monotonic(), server, client, idle_seconds()))
                peak.look()
    return marks, "".join(said[-20:])


def event(line: str) -> str | None:
    """What a line in JSON is about."""
    try:
        event = json.loads(line).get("event")
    except (ValueError, AttributeError):
        return None
    return str(event)


def _result(printed: dict[str, Any]) -> tuple[int, float, float]:
    """
    How many values in how many seconds, and how many of those were spent waiting for good reasons.

    From a plain client's own words, or from rotator's report.
    """
    if "caches" not in printed:
        return printed["values"], printed["seconds"], 0.0
    cache = printed["caches"][0]
    return cache["visits"], cache["sweep_seconds"], sum(cache["waited_seconds"].values())


def _other_load(passed: _Mark) -> float:
    """What part of the cores went to anything but server and client: the GETs, other programs."""
    whole = passed.at * len(set(cores()))
    return max(1 - (passed.idle + passed.server + passed.client) / whole, 0.0)


def _per_value(seconds: float, values: int) -> float:
    """Microseconds."""
    return seconds / values * _MICRO if values else 0.0


def _percentiles(asked: Sequence[tuple[float, float]], begin: float, end: float) -> Figures:
    """Median and 99th percentile, in ms, of the GETs sent from *begin* to *end*, if any was."""
    took = sorted(seconds * 1000 for at, seconds in asked if begin <= at <= end)
    if not took:
        return {}
    return {"p50_ms": statistics.median(took), "p99_ms": took[int(0.99 * (len(took) - 1))]}


def environment() -> dict[str, str]:
    """This process's, without options for rotator."""
    ours = ("ROTATOR_", "MAVERICS_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


@contextmanager
def _foreground(ground: Ground, asked: list[tuple[float, float]], rate: float) -> Iterator[None]:
    """A client in the foreground while the block runs; then *asked* holds its times."""
    port, name = ground.foreground()
    command = [sys.executable, str(HERE / "foreground.py"), str(port), name, str(rate)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            process.stdout.readline()  # type: ignore[union-attr]  # a pipe was asked for
            yield
            asked += json.loads(process.communicate()[0])
        finally:
            process.kill()
