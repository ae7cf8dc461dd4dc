"""All points of one kind, one after the other."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from enumeration.places import STANDALONE, Servers
from enumeration.proxy import Fault
from enumeration.trial import KILLED_AT_WRITE, SYSTEM_CALLS, Command, Point, Trials
from enumeration.warm_client import WarmClient

KEPT: Final = Path("build/broken-trials")
"""Where the files of broken trials are kept."""

_WRITES: Final = {KILLED_AT_WRITE, "killed at pwrite64"}  # of which every command has some
_TRIES: Final = 3
_LEAST: Final = 0.8  # of the points that were counted: some commands are sent until a file is there
_TOLD: Final = 100  # points, after which it is said how far it is
_MOST: Final = 20  # broken rules of one kind, then there is no use in more of them


class Kind(NamedTuple):
    """What is done to which command where: one point of it for each *number*."""

    place: str
    command: Command
    fault: str

    def __str__(self) -> str:
        return f"{self.place}: {self.command}, {self.fault}"


class Played(NamedTuple):
    """How many points of a kind were played, and what was broken."""

    kind: Kind
    points: int
    broken: list[str]
    seconds: float


def play(kind: Kind, first: int, every: int) -> Played:
    """Play the points of one kind, from *first* on one in *every*, until there is none."""
    begun, points = time.monotonic(), 0
    broken: list[str] = []
    with Servers(kind.place) as servers, WarmClient() as client:
        trials = Trials(servers, client, KEPT)
        while (found := _played(trials, Point(*kind, first + points * every))) is not None:
            points += 1
            if not points % _TOLD:
                print(f"{kind}: {points} points so far", file=sys.stderr, flush=True)
            broken += found
            if len(broken) > _MOST:
                broken.append(f"{kind}: there is more, not played after point {points}")
                break
        least = _least(trials, kind)
    missed = first + points * every  # the first point that was not there
    if missed <= least and len(broken) <= _MOST:
        broken.append(f"{kind}: there is no point {missed}, and there should be {least}")
    return Played(kind, points, broken, time.monotonic() - begun)


def _least(trials: Trials, kind: Kind) -> int:
    """Return the number of a point that there is at least."""
    if kind.fault in {*Fault}:
        return int(_LEAST * trials.count(kind.place, kind.command))
    return int(kind.fault in _WRITES)


def _played(trials: Trials, point: Point) -> list[str] | None:
    """Play one; a command that ended early for another reason is begun again."""
    for _ in range(_TRIES):
        if (found := trials.play(point)) is not None:
            return found
    return None


def kinds(places: list[str], commands: list[Command], faults: list[str]) -> Iterator[Kind]:
    """Yield what is to be played; those of which there are most points come first."""
    for place in reversed(places):
        for command in commands:
            for fault in faults:
                if fault not in SYSTEM_CALLS or place == STANDALONE:
                    yield Kind(place, command, fault)
