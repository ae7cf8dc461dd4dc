"""
Measure rotator against plain clients and its goals: `make bench`.

Starts servers of its own on one core, runs everything else on another one, and prints the goals
and then the tables in Markdown, or JSON.

    export PYTHONPATH=scripts
    python -m bench --quick
    python -m bench --only "gcm, 1 kB" --repeat 5
    python -m bench --long --json > figures.json
    python -m bench load

With `load` it measures what thousands of commands a second feel beside a run, and whether anything
was lost; then --only takes names of its rows, such as "hot names".

It takes Linux, and means little on a machine that is busy with other things.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from bench.goals import judged
from bench.load.rows import BAD
from bench.load.rows import measured as measured_load
from bench.load.situations import SITUATIONS, Situation
from bench.load.tables import rendered as rendered_load
from bench.measure import RATE
from bench.rows import BUSY_RATE, Plan, compared, memory, say, start_seconds
from bench.system import cores, pinned
from bench.tables import rendered
from bench.targets import BenchError, Target
from rotator import __version__
from rotator.demo.local_server import embedded_binary, find_binary
from rotator.errors import RotatorError

MEMORY: Final = (100_000, 5_000_000)
RATE_OF_LOAD: Final = 5000.0
LOAD_SECONDS: Final = 6.0  # before rotator runs
_QUICK: Final = 20  # so many times fewer values
_QUICK_LOAD: Final = 100
_SERVERS: Final = Path(".cache/servers")

_COST: Final = ("plain", "rotator")
_PIPELINES: Final = ("pipelines", "rotator")
_READ: Final = ("current", "reading")
_QUARTERS: Final = ("quarter-1", "quarter-2", "quarter-4")


def plans(fewer: int) -> list[Plan]:
    """What to measure, in order."""
    redis, valkey = server("redis-7.0.15"), embedded_binary() or server("valkey-9.1.2")
    whole = ("pipelines", *_COST, "several")

    def gcm(name: str, size: int, values: int, *ways: str, binary: Path = redis) -> Plan:
        return Plan(name, Target(binary), size, values // fewer, ways)

    def of(form: str, keys: int = 1) -> Plan:
        old = "" if keys == 1 else f" with {keys} old keys"
        target = Target(redis, form=form, keys=keys)
        return Plan(f"{form}{old}, 300 B", target, 300, 100_000 // fewer, _PIPELINES)

    cluster = Target(redis, cluster=True)
    return [
        gcm("gcm, 100 B", 100, 300_000, *_COST, *_READ),
        gcm("gcm, 300 B", 300, 300_000, *whole, "script", *_QUARTERS),
        gcm("gcm, 300 B, a million", 300, 1_000_000, *_PIPELINES),
        gcm("gcm, 1 kB", 1000, 200_000, *whole, "script", *_READ, "default"),
        gcm("gcm, 10 kB", 10_000, 40_000, *_COST, "script", *_READ),
        gcm("gcm, 300 B, Valkey", 300, 300_000, *whole, binary=valkey),
        gcm("gcm, 300 B, a million, Valkey", 300, 1_000_000, *_PIPELINES, binary=valkey),
        gcm("gcm, 300 B, IFEQ", 300, 100_000, *whole[:-1], binary=server("redis-8.6.3")),
        of("gcm", 3),
        of("gcm-base64"),
        of("sealed"),
        of("hex"),
        of("text"),
        Plan("cluster of 3, gcm, 300 B", cluster, 300, 100_000 // fewer, ("rotator", "several")),
    ]


def server(name: str) -> Path:
    """A server program of that version, if it was fetched; else the one at hand."""
    fetched = _SERVERS / name / "redis-server"
    return fetched if fetched.exists() else find_binary()


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
    add("what", nargs="?", choices=["load"], help="a busy application beside a run, not the ways")
    add("--repeat", type=int, metavar="N", help="rounds; the median counts (default: 3)")
    add("--quick", action="store_true", help="few values, one round")
    add("--only", nargs="+", metavar="TABLE", help='tables by name, such as "gcm, 1 kB"')
    add("--memory", type=int, nargs=2, metavar="N", help="compare the memory for so many names")
    add("--long", action="store_true", help=f"--memory {MEMORY[0]} {MEMORY[1]}: takes minutes")
    add("--rate", type=float, default=RATE_OF_LOAD, help="commands a second of the load")
    add("--json", action="store_true", help="for machines")
    given = parser.parse_args(line)
    quick = _QUICK_LOAD if given.what else _QUICK
    given.fewer = quick if given.quick else 1
    given.plans = SITUATIONS if given.what else plans(given.fewer)
    if unknown := {*(given.only or ())} - {plan.name for plan in given.plans}:
        names = "; ".join(plan.name for plan in given.plans)
        parser.error(f"no such table: {', '.join(unknown)}; there are: {names}")
    if given.repeat is None:
        given.repeat = 1 if given.quick else 3
    if given.long and given.memory is None:
        given.memory = MEMORY
    if given.repeat < 1:
        parser.error("rounds are 1 or more")
    return given


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """All that was asked for."""
    server_core, client_core = cores()
    if server_core == client_core:
        say("there is one core only, so the server and its clients get in each other's way")
    todo = [plan for plan in given.plans if given.only is None or plan.name in given.only]
    found = {
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {
            "rotator": __version__,
            "Python": platform.python_version(),
            "redis-py": version("redis"),
        },
        "machine": {"cpu": processor(), "cores": os.cpu_count()},
        "method": {"server_core": server_core, "client_core": client_core},
    }
    with pinned(client_core):
        measured = measure_load if given.what else measure_ways
        for part, figures in measured(given, todo, server_core).items():
            found[part] = found.get(part, {}) | figures if part == "method" else figures
    return found


def measure_ways(given: argparse.Namespace, todo: Sequence[Plan], core: int) -> dict[str, Any]:
    """The tables of what a value costs, and the goals."""
    say("warming up")
    start = start_seconds(todo[0].target, core)
    results = [compared(plan, given.repeat, core) for plan in todo]
    heaps = list(memory(todo[0].target, given.memory or (), core))
    return {
        "method": {
            "repeat": given.repeat,
            "start": start,
            "rate": RATE,
            "busy_rate": BUSY_RATE,
        },
        "goals": list(judged({one["name"]: one["rows"] for one in results}, start)),
        "results": results,
        "memory": heaps,
    }


def measure_load(given: argparse.Namespace, todo: Sequence[Situation], _: int) -> dict[str, Any]:
    """The table of what others feel."""
    seconds = LOAD_SECONDS / given.fewer
    results = []
    for situation in todo:
        say(f"load: {situation.name}")
        row = measured_load(
            situation,
            server("redis-7.0.15"),
            fewer=given.fewer,
            rate=given.rate,
            seconds=max(seconds, 0.5),
        )
        results.append(row | {"load": os.getloadavg()[0]})
        for what, count in results[-1]["bad"].items():
            if count:
                say(f"load: {situation.name}: {count} {BAD[what]}")
    return {"method": {"rate": given.rate, "seconds": seconds}, "results": results}


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
    shown = rendered_load if given.what else rendered
    print(json.dumps(document, indent=2) if given.json else shown(document))
    return int(bool(given.what) and any(map(is_bad, document["results"])))


def is_bad(row: Mapping[str, Any]) -> bool:
    """Whether a row of the load table has a loss or an error reply, or nothing was moved in it."""
    return not row["moved"] or any(row["bad"].values()) or row["errors"] > 0


if __name__ == "__main__":
    sys.exit(main())
