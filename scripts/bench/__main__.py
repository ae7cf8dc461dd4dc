"""
Measure rotator against plain clients and the server's own limit: `make bench`.

Starts servers of its own on one core, runs everything else on another one, and prints tables in
Markdown, or JSON. The first server is measured with every size of value; the next one, and a
cluster of the first, with the middle size, unless servers or a cluster are asked for by name.

    export PYTHONPATH=scripts
    python -m bench --quick
    python -m bench --sizes 1000 --only pipelines rotator --repeat 5 --no-cluster
    python -m bench --server /opt/redis-8/bin/redis-server --server valkey-server
    python -m bench --long --json > figures.json

It takes Linux, and means little on a machine that is busy with other things.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from bench.foreground import RATE
from bench.rows import SMALL, WAYS, Plan, compared, memory, say, start_seconds
from bench.system import cores, pinned
from bench.tables import rendered
from bench.targets import BenchError, Target
from rotator import __version__
from rotator.demo.local_server import embedded_binary, find_binary
from rotator.errors import RotatorError

VALUES: Final = {100: 300_000, 1000: 100_000, 10_000: 20_000}
OTHER: Final = 50_000  # values of a size that is not among those
MEMORY: Final = (100_000, 5_000_000)
_QUICK: Final = 10  # so many times fewer values


def plans(given: argparse.Namespace) -> list[Plan]:
    """What to measure, in order."""
    sizes = given.sizes
    counts = dict(zip(sizes, given.values or [], strict=False))
    if given.values and len(given.values) == 1:
        counts = dict.fromkeys(sizes, given.values[0])
    fewer = _QUICK if given.quick else 1

    def plan(target: Target, size: int) -> Plan:
        return Plan(target, size, counts.get(size, VALUES.get(size, OTHER) // fewer))

    first, *others = [Target(path) for path in given.server or servers()]
    middle = [sizes[len(sizes) // 2]]
    found = [plan(first, size) for size in sizes]
    for other in others:
        found += [plan(other, size) for size in (sizes if given.server else middle)]
    if given.cluster:
        found += [plan(Target(first.binary, cluster=True), size) for size in middle]
    return found


def servers() -> list[Path]:
    """The server program that rotator itself would take, and Valkey where it is at hand."""
    first = find_binary()
    valkey = embedded_binary()
    return [first] if valkey is None or valkey == first else [first, valkey]


def program(text: str) -> Path:
    """A server program, by path or by name."""
    found = shutil.which(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"no program found at {text}")
    return Path(found)


def processor() -> str:
    """The model of the processor, as the kernel has it."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def arguments(line: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    summary, _, details = str(__doc__).partition(":")
    parser = argparse.ArgumentParser(
        prog="bench",
        description=summary.strip(),
        epilog=details.partition("\n\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--sizes", type=int, nargs="+", default=list(VALUES), metavar="BYTES", help="of a value")
    add("--values", type=int, nargs="+", metavar="N", help="of each size, or of all")
    add("--repeat", type=int, metavar="N", help="rounds; the median counts (default: 3)")
    add("--quick", action="store_true", help="a tenth of the values, one round")
    add("--only", nargs="+", choices=[way.name for way in WAYS], help="leave the others out")
    add("--server", type=program, action="append", metavar="PATH", help="repeatable")
    add("--cluster", action=argparse.BooleanOptionalAction, default=True, help="of three, too")
    add("--memory", type=int, nargs=2, metavar="N", help="compare the memory for so many names")
    add("--long", action="store_true", help=f"--memory {MEMORY[0]} {MEMORY[1]}: takes minutes")
    add("--json", action="store_true", help="for machines")
    given = parser.parse_args(line)
    if given.repeat is None:
        given.repeat = 1 if given.quick else 3
    if given.long and given.memory is None:
        given.memory = MEMORY
    if min(given.sizes) < SMALL or given.repeat < 1 or min(given.values or [1]) < 1:
        parser.error(f"sizes are {SMALL} or more, values and rounds 1 or more")
    return given


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """All that was asked for."""
    server_core, client_core = cores()
    if server_core == client_core:
        say("there is one core only, so the server and its clients get in each other's way")
    todo = plans(given)
    ways = [way for way in WAYS if given.only is None or way.name in given.only]
    with pinned(client_core):
        say("warming up")
        start = start_seconds(todo[0].target, server_core)
        results = [compared(plan, ways, given.repeat, server_core) for plan in todo]
        heaps = list(memory(todo[0].target, given.memory or (), server_core))
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {
            "rotator": __version__,
            "Python": platform.python_version(),
            "redis-py": version("redis"),
        },
        "machine": {"cpu": processor(), "cores": os.cpu_count()},
        "method": {
            "repeat": given.repeat,
            "start": start,
            "rate": RATE,
            "server_core": server_core,
            "client_core": client_core,
        },
        "results": results,
        "memory": heaps,
    }


def main() -> int:
    """Measure and print; the exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # or servers would be left behind
    given = arguments()
    try:
        document = measure(given)
    except (BenchError, RotatorError) as error:
        print(f"bench: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(json.dumps(document, indent=2) if given.json else rendered(document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
