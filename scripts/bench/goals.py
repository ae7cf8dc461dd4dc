"""What is to be reached, each with how it comes of the figures; and why one was missed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bench.measure import Figures

Tables = Mapping[str, Mapping[str, Figures]]
"""The rows of each plan, by its name."""


@dataclass(frozen=True, slots=True)
class Goal:
    """Something to reach: *figure* in the unit of *shown*, no less or, if *most*, no more."""

    what: str
    wanted: float
    shown: str
    figure: Callable[[Tables, Mapping[str, float]], float]
    most: bool = False

    def reached(self, figure: float) -> bool:
        """Whether that is enough."""
        return figure <= self.wanted if self.most else figure >= self.wanted


def _ratio(plan: str, one: str, other: str, column: str) -> Callable[..., float]:
    """How many times *other* has of a column what *one* has of it."""
    return lambda tables, _: tables[plan][one][column] / tables[plan][other][column]


def _figure(plan: str, way: str, column: str) -> Callable[..., float]:
    return lambda tables, _: tables[plan][way][column]


def _whole(plan: str) -> Callable[..., float]:
    """How many times as fast as pipelines, whole processes."""
    return _ratio(plan, "rotator", "pipelines", "whole_per_second")


def _quarters(count: int) -> Callable[..., float]:
    column = "values_per_second"
    return _ratio("gcm, 300 B", f"quarter-{count}", "quarter-1", column)


def _felt(plan: str) -> Callable[..., float]:
    return lambda tables, _: tables[plan]["default"]["p99_ms"] - tables[plan]["idle"]["p99_ms"]


def _of_format(one: str, other: str) -> Callable[..., float]:
    def ratio(tables: Tables, _: Mapping[str, float]) -> float:
        costs = [tables[f"{name}, 300 B"]["rotator"]["client_us"] for name in (one, other)]
        return costs[0] / costs[1]

    return ratio


def _start(*commands: str) -> Callable[..., float]:
    return lambda _, start: max(start[command] for command in commands)


GOALS: Final = (
    Goal(
        "server CPU of a rewritten value, 1 kB, SCAN included, against MGET and SET",
        *(1.3, "{:.2f} times", _ratio("gcm, 1 kB", "rotator", "plain", "server_us"), True),
    ),
    Goal(
        "server CPU of a rewritten value, 10 kB, against the script",
        *(0.55, "{:.2f} times", _ratio("gcm, 10 kB", "rotator", "script", "server_us"), True),
    ),
    Goal(
        "client CPU of a rewritten value, 300 B",
        *(5.0, "{:.1f} us", _figure("gcm, 300 B", "rotator", "client_us"), True),
    ),
    Goal(
        "client CPU of a rewritten value, 1 kB",
        *(7.0, "{:.1f} us", _figure("gcm, 1 kB", "rotator", "client_us"), True),
    ),
    Goal(
        "client CPU of a value laid out as text, against gcm-base64",
        *(2.5, "{:.2f} times", _of_format("text", "gcm-base64"), True),
    ),
    Goal(
        "whole process on one core against pipelines, a million of 300 B, Redis",
        *(2.0, "{:.2f} times", _whole("gcm, 300 B, a million")),
    ),
    Goal(
        "whole process on one core against pipelines, a million of 300 B, Valkey",
        *(2.0, "{:.2f} times", _whole("gcm, 300 B, a million, Valkey")),
    ),
    Goal("2 processes of a quarter of a core, against 1", 1.8, "{:.2f} times", _quarters(2)),
    Goal("4 processes of a quarter of a core, against 1", 3.4, "{:.2f} times", _quarters(4)),
    Goal(
        "server busy at full speed, one core for all clients",
        *(0.9, "{:.0%}", _figure("gcm, 1 kB", "rotator", "server_busy")),
    ),
    *(
        Goal(
            f"nothing to rewrite, {size}, against SCAN and MGET",
            *(0.9, "{:.0%}", _ratio(f"gcm, {size}", "current", "reading", "values_per_second")),
        )
        for size in ("100 B", "1 kB", "10 kB")
    ),
    Goal(
        "p99 added to 2,000 GETs a second, default settings, 4 processes",
        *(1.0, "{:.2f} ms", _felt("gcm, 1 kB"), True),
    ),
    Goal(
        "CPU of --help, --version and keygen, the most",
        *(0.3, "{:.2f} s", _start("--help", "--version", "keygen"), True),
    ),
    Goal("CPU of a run on an empty server", 0.6, "{:.2f} s", _start("run"), most=True),
    Goal(
        "CPU to find a format from 12 values, or that there is none",
        *(0.05, "{:.3f} s", _start("found", "not found"), True),
    ),
    Goal(
        "memory of a process, 1 kB",
        *(60.0, "{:.0f} MB", _figure("gcm, 1 kB", "rotator", "rss_mb"), True),
    ),
)

REASONS: Final[Mapping[str, str]] = {
    "whole process": "to start takes half a second of CPU",
    "server busy": "one core feeds it, which needs twice as long for a value as the server",
    "nothing to rewrite, 10 kB": "each value is decrypted, and copied once more",
    "memory": "modules alone take 64 MB, 20 of them redis-py",
}
"""Why a goal is missed, as far as that is known, by its first words."""


def judged(tables: Tables, start: Mapping[str, float]) -> Iterator[dict[str, Any]]:
    """Each goal that there are figures for."""
    for goal in GOALS:
        try:
            figure = goal.figure(tables, start)
        except KeyError:  # not all of it was measured
            continue
        reached = goal.reached(figure)
        reason = next((why for begin, why in REASONS.items() if goal.what.startswith(begin)), "")
        yield {
            "what": goal.what,
            "wanted": f"at {'most' if goal.most else 'least'} {goal.shown.format(goal.wanted)}",
            "measured": goal.shown.format(figure),
            "reached": reached,
            "judged": "met" if reached else f"missed{': ' if reason else ''}{reason}",
        }
