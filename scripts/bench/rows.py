"""The rows of a table: the ways to go over all values, each measured in every round."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.measure import HERE, Figures, idle, measured, median
from bench.tables import TITLES, reached
from bench.targets import BenchError, Ground, Target, prepared

SMALL: Final = 16  # bytes of a value where only memory counts
_IDLE_SECONDS: Final = 1.5
_LOOP: Final = 20  # the loop does one value in so many
_FULL: Final = ("--no-verify", "--max-latency", "0")


@dataclass(frozen=True, slots=True)
class Way:
    """One row: a plain client, or rotator with these *options*; the data *fresh* or as it was."""

    name: str
    options: tuple[str, ...] | None = None
    fresh: bool = True

    @property
    def rewrites(self) -> bool:
        """Whether all values are under another key afterwards."""
        return self.name not in {"current", "reading"}


WAYS: Final = (
    Way("loop"),
    Way("pipelines"),
    Way("rotator", _FULL),
    Way("current", _FULL, fresh=False),
    Way("reading", fresh=False),
    Way("default", ()),
    Way("gentle", ("--max-latency", "1")),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure on one server: so many *values* of so many bytes each."""

    target: Target
    size: int
    values: int


def say(text: str) -> None:
    """Tell on stderr how far it is."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def run(ground: Ground, *options: str) -> Figures:
    """Measure a run of rotator."""
    state = ground.folder / "state.sqlite"
    state.unlink(missing_ok=True)
    command = [sys.executable, "-m", "rotator", "run", "--config", str(ground.config)]
    command += ["--state", str(state), "--format", "json", "--log-format", "json"]
    return measured([*command, *options], ground)


def taken(way: Way, ground: Ground) -> Figures:
    """Measure one way once, and see that it did what it was to do."""
    if way.fresh:
        ground.reload()
    if way.options is not None:
        figures = run(ground, *way.options)
    else:
        share = max(ground.values // _LOOP, min(ground.values, 200))
        script = str(HERE / "plain_clients.py")
        command = [sys.executable, script, way.name, str(ground.config), str(share)]
        figures = measured(command, ground)
    if way.name != "loop":
        ground.demand_rewritten()
        if figures["values"] < ground.values:
            raise BenchError(f"{way.name} did {figures['values']} of {ground.values} values")
    return figures | {"rewrites": way.rewrites}


def rows(ground: Ground, ways: Sequence[Way], repeat: int, label: str) -> dict[str, Figures]:
    """Measure all *ways*, each once in every round; the median of each figure."""
    found: dict[str, list[Figures]] = {name: [] for name in ("idle", *(way.name for way in ways))}
    for number in range(1, repeat + 1):
        found["idle"].append(idle(ground, _IDLE_SECONDS))
        for way in ways:
            say(f"{label}, round {number} of {repeat}: {TITLES[way.name]}")
            found[way.name].append(taken(way, ground))
    medians = {name: median(figures) for name, figures in found.items()}
    if "rotator" in medians:
        cost = medians["rotator"]["server_us"]
        medians["limit"] = {"values_per_second": 1e6 / cost, "server_us": cost, "server_busy": 1.0}
        medians["limit"] |= {"rewrites": True}
    return medians


def possible(ways: Sequence[Way], *, cluster: bool) -> list[Way]:
    """Those of *ways* that can be taken: plain clients know nothing of slots."""
    return [way for way in ways if not cluster or way.options is not None]


def compared(plan: Plan, ways: Sequence[Way], repeat: int, core: int) -> dict[str, Any]:
    """One table."""
    with prepared(plan.target, core) as ground:
        kind = f"cluster of {len(ground.nodes)}, " if plan.target.cluster else ""
        label = f"{kind}{ground.version}"
        say(f"{label}: storing {plan.values} values of {plan.size} bytes")
        ground.fill(plan.values, plan.size)
        ways = possible(ways, cluster=plan.target.cluster)
        found = rows(ground, ways, repeat, f"{label}, {plan.size} bytes")
    return {
        "server": label,
        "cluster": plan.target.cluster,
        "size": plan.size,
        "values": plan.values,
        "rows": found,
        "goals": reached(found),
    }


def start_seconds(target: Target, core: int) -> float:
    """The CPU time that a run takes when there is nothing to do; the first one only warms up."""
    with prepared(target, core) as ground:
        return [run(ground, "--allow-empty")["process_seconds"] for _ in range(2)][-1]


def memory(target: Target, names: Sequence[int], core: int) -> Iterator[dict[str, Any]]:
    """The peak memory of whole runs over so many names."""
    for count in names:
        with prepared(target, core) as ground:
            say(f"memory: storing {count} small values")
            ground.fill(count, SMALL)
            say("memory: rotator")
            yield {"names": count, "rss_mb": run(ground, "--max-latency", "0")["rss_mb"]}
