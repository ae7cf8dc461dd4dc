"""
The report as a Prometheus textfile, for the textfile collector of node_exporter.

- Every number is of the last run, also that of visits; so all of them are gauges.
- A run that failed leaves only what is known of it: when it ended, and how. The numbers of caches
  and keys are then missing rather than old.
- `rotator_key_retirable` is 1 only for an old key whose verdict is `retirable`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from rotator.errors import Exit
from rotator.report.file import write_whole
from rotator.report.model import VERDICTS, Cache, Key, Report

_KEY = ("cache", "key_id", "role")


def render(report: Report) -> str:
    """The numbers of a report in the text format of Prometheus."""
    registry = CollectorRegistry()
    make = _Maker(registry)
    _run(make, report)
    if report.caches:
        _caches(make, report.caches)
        _keys(make, report.caches)
    return generate_latest(registry).decode()


def write(report: Report, path: Path) -> None:
    """
    Write the numbers to *path*, whole or not at all.

    Raises:
        ConfigError: The folder is missing or closed to us, or *path* cannot be replaced.
        StateError: Writing failed; *path* is as it was.
    """
    write_whole(path, render(report))


class _Maker:
    """Makes the gauges of one registry: name without `rotator_`, help, labels."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def __call__(self, name: str, documentation: str, labels: Iterable[str] = ()) -> Gauge:
        return Gauge(f"rotator_{name}", documentation, labels, registry=self._registry)


def _run(make: _Maker, report: Report) -> None:
    """What is always known."""
    make("last_run_timestamp_seconds", "When the last run ended, Unix time.").set(
        report.finished_at.timestamp()
    )
    make("run_duration_seconds", "How long the last run took.").set(
        (report.finished_at - report.started_at).total_seconds()
    )
    make("last_run_success", "Whether the last run ended with exit code 0.").set(
        report.exit_code == Exit.OK
    )
    make("last_run_exit_code", "The exit code of the last run.").set(report.exit_code)
    make("build_info", "The version of rotator.", ("version", "mode")).labels(
        report.rotator, report.mode
    ).set(1)


def _caches(make: _Maker, caches: Iterable[Cache]) -> None:
    """What became of the visits, and whether they were all."""
    complete = make("sweep_complete", "Whether the last run visited every name.", ("cache",))
    swept = make(
        "last_complete_sweep_timestamp_seconds", "When the last complete sweep ended.", ("cache",)
    )
    visits = make(
        "visits_total", "Visits of the last run, by what became of them.", ("cache", "outcome")
    )
    visited = make(
        "sweep_visited_ratio", "The part of the names that was visited, 0 to 1.", ("cache",)
    )
    for cache in caches:
        if (fraction := _visited(cache)) is not None:
            visited.labels(cache.name).set(fraction)
        complete.labels(cache.name).set(cache.complete)
        if cache.swept_at:
            swept.labels(cache.name).set(cache.swept_at.timestamp())
        for outcome, number in cache.outcomes.items():
            visits.labels(cache.name, outcome).set(number)


def _visited(cache: Cache) -> float | None:
    """The part of the names that was visited, if it is known."""
    if cache.complete:
        return 1.0
    return cache.progress.fraction if cache.progress else None


def _keys(make: _Maker, caches: Iterable[Cache]) -> None:
    """What is under each key, and what was judged."""
    values = make("values_under_key", "Values that are under a key after the last run.", _KEY)
    retirable = make("key_retirable", "Whether an old key can be removed.", ("cache", "key_id"))
    verdicts = make(
        "key_verdict", "1 for the verdict on an old key.", ("cache", "key_id", "verdict")
    )
    budget = make(
        "nonce_budget_used_ratio", "The part of the 2^32 safe encryptions that is used up.", _KEY
    )
    for cache in caches:
        for key in cache.keys:
            labels = (cache.name, key.id, key.role)
            values.labels(*labels).set(_values(cache, key))
            budget.labels(*labels).set(key.nonce_budget_used)
            if key.role == "old":
                retirable.labels(cache.name, key.id).set(key.verdict == "retirable")
                for verdict in VERDICTS:
                    verdicts.labels(cache.name, key.id, verdict).set(key.verdict == verdict)


def _values(cache: Cache, key: Key) -> int:
    """How many are under it: of the current key those it had, and those that were moved to it."""
    if key.role == "old":
        return key.remaining
    return cache.outcomes["current"] + cache.outcomes["rotated"]
