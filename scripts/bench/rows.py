"""The rows of a table: the ways to go over all values, each measured in every round."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.measure import HERE, RATE, Figures, idle, measured, median
from bench.tables import TITLES
from bench.targets import BenchError, Ground, Target, prepared
from rotator.crypto.codec import Codec
from rotator.crypto.format_search import search_formats
from rotator.crypto.keyring import Key, Keyring
from rotator.crypto.layout import BUILTIN, Format

SMALL: Final = 16  # bytes of a value where only memory counts
BUSY_RATE: Final = 2000.0  # GETs a second where it is about what they feel
_IDLE_SECONDS: Final = 1.5
_FULL: Final = ("--no-verify", "--max-latency", "0")
_ALONE: Final = (*_FULL, "--workers", "1")
_COMMANDS: Final = (("--help",), ("--version",), ("keygen",))


@dataclass(frozen=True, slots=True)
class Way:
    """
    One row: a plain client, or rotator with these *options*; the data *fresh* or as it was.

    *quarters* processes are held to a quarter of a core each; GETs come at a *rate*.
    """

    name: str
    options: tuple[str, ...] | None = None
    fresh: bool = True
    quarters: int = 0
    rate: float = RATE

    @property
    def rewrites(self) -> bool:
        """Whether all values are under another key afterwards."""
        return self.name not in {"current", "reading"}


WAYS: Final = {
    way.name: way
    for way in (
        Way("pipelines"),
        Way("plain"),
        Way("script", _ALONE),
        Way("rotator", _ALONE),
        Way("current", _ALONE, fresh=False),
        Way("reading", fresh=False),
        Way("several", (*_FULL, "--workers", "2")),
        Way("default", ("--workers", "4"), rate=BUSY_RATE),
        *(Way(f"quarter-{n}", (*_FULL, "--workers", str(n)), quarters=n) for n in (1, 2, 4)),
    )
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure on one server: so many *values* of so many bytes each, these *ways*."""

    name: str
    target: Target
    size: int
    values: int
    ways: tuple[str, ...]


def say(text: str) -> None:
    """Tell on stderr how far it is."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def run(ground: Ground, way: Way) -> Figures:
    """Measure a run of rotator."""
    state = ground.folder / "state.sqlite"
    state.unlink(missing_ok=True)
    config = ground.script_config if way.name == "script" else ground.config
    command = [sys.executable, "-m", "rotator", "run", "--config", str(config)]
    command += ["--state", str(state), "--format", "json", "--log-format", "json"]
    command += way.options or ()
    return measured(command, ground, rate=way.rate, quarters=way.quarters)


def taken(way: Way, ground: Ground) -> Figures:
    """Measure one way once, and see that it did what it was to do."""
    if way.fresh:
        ground.reload()
    if way.options is not None:
        figures = run(ground, way)
    else:
        script = str(HERE / "plain_clients.py")
        figures = measured([sys.executable, script, way.name, str(ground.config)], ground)
    ground.demand_rewritten()
    if figures["values"] < ground.values:
        raise BenchError(f"{way.name} did {figures['values']} of {ground.values} values")
    return figures | {"rewrites": way.rewrites}


def rows(ground: Ground, ways: Sequence[Way], repeat: int, label: str) -> dict[str, Figures]:
    """Measure all *ways*, each once in every round; the median of each figure."""
    found: dict[str, list[Figures]] = {name: [] for name in ("idle", *(way.name for way in ways))}
    for number in range(1, repeat + 1):
        found["idle"].append(idle(ground, _IDLE_SECONDS, BUSY_RATE))
        for way in ways:
            say(f"{label}, round {number} of {repeat}: {TITLES[way.name]}")
            found[way.name].append(taken(way, ground))
    return {name: median(figures) for name, figures in found.items()}


def compared(plan: Plan, repeat: int, core: int) -> dict[str, Any]:
    """One table."""
    with prepared(plan.target, core) as ground:
        label = f"{ground.version}, {plan.name}"
        say(f"{label}: storing {plan.values} values")
        ground.fill(plan.values, plan.size)
        found = rows(ground, [WAYS[name] for name in plan.ways], repeat, label)
        server = ground.version
    return {
        "name": plan.name,
        "server": server,
        "size": plan.size,
        "values": plan.values,
        "rows": found,
    }


def start_seconds(target: Target, core: int) -> dict[str, float]:
    """The CPU time of commands that do next to nothing; the first run of each only warms up."""
    with prepared(target, core) as ground:
        empty = Way("empty", ("--allow-empty",))
        found = {"run": [run(ground, empty)["process_seconds"] for _ in range(2)][-1]}
    for words in _COMMANDS:
        found[words[0]] = [_cpu(words) for _ in range(2)][-1]
    return found | search_seconds()


def search_seconds() -> dict[str, float]:
    """The CPU time of searches for the format of 12 values, which is found or not."""
    keys = [Key(os.urandom(32), f"key {number}") for number in range(3)]
    form = Format.parse("theirs", "hex", "{nonce}:{tag}:{ciphertext}")
    theirs = Codec(Keyring(keys[0]), [form])
    values = {(0, b"name:%d" % number): theirs.seal(b"", os.urandom(300)) for number in range(12)}
    found = {}
    for what, ring in (("found", Keyring(keys[0], keys[1:2])), ("not found", Keyring(keys[2]))):
        codec = Codec(ring, [BUILTIN["sealed"]])
        times = []
        for _ in range(5):
            before = time.process_time()
            search_formats(codec, BUILTIN, values)
            times.append(time.process_time() - before)
        found[what] = min(times)
    return found


def _cpu(words: Sequence[str]) -> float:
    """The CPU time of one command of rotator."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "rotator", *words]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def memory(target: Target, names: Sequence[int], core: int) -> Iterator[dict[str, Any]]:
    """The peak memory of whole runs over so many names."""
    for count in names:
        with prepared(target, core) as ground:
            say(f"memory: storing {count} small values")
            ground.fill(count, SMALL)
            say("memory: rotator")
            figures = run(ground, Way("rotator", ("--max-latency", "0", "--workers", "1")))
            yield {"names": count, "rss_mb": figures["rss_mb"]}
