"""
Play every point at which a command can be killed or cut off: `make enumerate`.

A run, a dry run, `purge` and `adopt`, over a primary with a replica and over a cluster, are killed
before and after every command that they send and at every write to a file, and their connection is
cut, a reply lost or late, at every command. Each is begun again, and what is left is compared with
what must be there (`trial`). Prints how many points there were, and what is broken.

    make enumerate EVERY=10 COMMANDS=run PLACES=standalone
    make enumerate ONLY="standalone: run, killed after, number 281"
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Final

from enumeration.kinds import KEPT, Kind, Played, kinds, play
from enumeration.places import PLACES, Servers
from enumeration.trial import FAULTS, SYSTEM_CALLS, Command, Point, Trials
from enumeration.warm_client import WarmClient

_SHOWN: Final = 20


def repeat(text: str) -> int:
    """Play one point again, by what was printed of it; return the exit code."""
    place, _, rest = text.partition(": ")
    command, fault, number = rest.split(", ")
    point = Point(place, Command(command), fault, int(number.split()[1]))
    with Servers(place) as servers, WarmClient() as client:
        found = Trials(servers, client, KEPT).play(point)
    print(
        "\n".join(["there is no such point"] if found is None else found or ["nothing is broken"])
    )
    return 1 if found else 0


def main() -> int:
    """Play what the command line names; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="enumerate", description=str(__doc__).partition(":")[0].strip()
    )
    parser.add_argument("--places", nargs="*", choices=PLACES, default=[], help="default: both")
    parser.add_argument("--commands", nargs="*", type=Command, default=[], help="default: all four")
    parser.add_argument("--faults", nargs="*", default=[], help="default: all that can be had")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="play one in N points")
    parser.add_argument(
        "--first", type=int, default=1, metavar="N", help="of each kind; default: 1"
    )
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="side by side; default: 2")
    parser.add_argument("--only", metavar="POINT", help="a point as it was printed")
    given = parser.parse_args()
    if given.only:
        return repeat(given.only)
    known = list(FAULTS)
    if shutil.which("strace"):
        known += SYSTEM_CALLS
    else:
        print("without strace, nothing is killed at calls of the system")
    wanted = kinds(
        given.places or [*PLACES], given.commands or list(Command), given.faults or known
    )
    return total(list(everything(list(wanted), given.first, given.every, given.jobs)))


def everything(wanted: list[Kind], first: int, every: int, jobs: int) -> Iterator[Played]:
    """Play all of it, *jobs* kinds side by side, and print a line for each that is done."""
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for future in as_completed([pool.submit(play, kind, first, every) for kind in wanted]):
            one = future.result()
            said = f"{one.points} points, {len(one.broken)} broken rules, {one.seconds:.0f} s"
            print(f"{one.kind}: {said}", flush=True)
            for rule in one.broken[:_SHOWN]:
                print(f"broken: {rule}", flush=True)
            yield one


def total(played: list[Played]) -> int:
    """Print what it came to; return the exit code."""
    points = sum(one.points for one in played)
    broken = sum(len(one.broken) for one in played)
    print(f"points: {points}")
    print(f"broken rules: {broken}")
    return 1 if broken or not points else 0


if __name__ == "__main__":
    sys.exit(main())
