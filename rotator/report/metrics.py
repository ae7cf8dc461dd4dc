"""Metrics: render the numbers of a report as Prometheus text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from rotator.errors import Exit
from rotator.report.live.progress import LIVE, Metric, add_progress, gauge
from rotator.report.model import STATUSES, VERDICTS, Cache, Report
from rotator.text import escape

if TYPE_CHECKING:
    from prometheus_client import Gauge

_CACHE = ("cache",)
_KEY = ("cache", "key_id")
_ROLE = (*_KEY, "role")
METRICS = {
    "rotator_last_run_timestamp_seconds": Metric("When the last run ended, Unix time."),
    "rotator_run_duration_seconds": Metric("How long the last run took."),
    "rotator_last_run_success": Metric("Whether the last run ended with exit code 0."),
    "rotator_last_run_exit_code": Metric("The exit code of the last run."),
    "rotator_build_info": Metric(
        "1, with the version of rotator and the mode of the run.", ("version", "mode")
    ),
    "rotator_sweep_complete": Metric("Whether the last run visited every name.", _CACHE),
    "rotator_last_complete_sweep_timestamp_seconds": Metric(
        "When the last complete sweep ended.", _CACHE
    ),
    "rotator_visits": Metric(
        "Visits of the last run, by what became of them.", (*_CACHE, "outcome")
    ),
    "rotator_sweep_visited_ratio": Metric(
        "The part of the names that was visited, 0 to 1.", _CACHE
    ),
    "rotator_values_under_key": Metric("Values that are under a key after the last run.", _ROLE),
    "rotator_key_retirable": Metric("Whether an old key can be removed.", _KEY),
    "rotator_key_verdict": Metric("1 for the verdict on an old key.", (*_KEY, "verdict")),
    "rotator_nonce_budget_used_ratio": Metric(
        "The part of the 2^32 safe encryptions that is used up.", _ROLE
    ),
    "rotator_key_places": Metric(
        "Places where a value under an old key may be, by what is known of them.",
        (*_KEY, "status"),
    ),
    "rotator_key_assumptions": Metric("Number of assumptions of the verdict on an old key.", _KEY),
    **LIVE,
}
"""Every metric, in the order in which they are written."""


def metrics_text(report: Report) -> str:
    """
    Return the numbers of a report for the textfile collector of node_exporter.

    - Every number is of the last run, also that of visits; so all of them are gauges.
    - A run that failed leaves only what is known of it: when it ended, and how. The numbers of
      caches and keys are then missing rather than old.
    - `rotator_key_retirable` is 1 only for an old key whose verdict is `retirable`.
    """
    import prometheus_client as library  # noqa: PLC0415 - few runs ask for metrics

    registry = library.CollectorRegistry()
    make = partial(gauge, METRICS, registry)
    _run(make, report)
    add_progress(make, None)
    if report.caches:
        _caches(make, report.caches)
        _keys(make, report.caches)
    return library.generate_latest(registry).decode()


def _run(make: Callable[[str], Gauge], report: Report) -> None:
    """Make the gauges of what is always known."""
    seconds = (report.finished_at - report.started_at).total_seconds()
    make("rotator_last_run_timestamp_seconds").set(report.finished_at.timestamp())
    make("rotator_run_duration_seconds").set(seconds)
    make("rotator_last_run_success").set(report.exit_code == Exit.OK)
    make("rotator_last_run_exit_code").set(report.exit_code)
    make("rotator_build_info").labels(report.rotator, report.mode).set(1)


def _caches(make: Callable[[str], Gauge], caches: Sequence[Cache]) -> None:
    """Make the gauges of what became of the visits, and whether they were all."""
    complete, visits = make("rotator_sweep_complete"), make("rotator_visits")
    swept = make("rotator_last_complete_sweep_timestamp_seconds")
    visited = make("rotator_sweep_visited_ratio")
    for cache in caches:
        part = cache.progress.fraction if cache.progress else None
        part = 1.0 if cache.complete else part
        if part is not None:
            visited.labels(escape(cache.name)).set(part)
        complete.labels(escape(cache.name)).set(cache.complete)
        if cache.swept_at:
            swept.labels(escape(cache.name)).set(cache.swept_at.timestamp())
        for outcome, number in cache.outcomes.items():
            visits.labels(escape(cache.name), outcome).set(number)


def _keys(make: Callable[[str], Gauge], caches: Sequence[Cache]) -> None:
    """Make the gauges of what is under each key, and what was judged."""
    values, budget = make("rotator_values_under_key"), make("rotator_nonce_budget_used_ratio")
    retirable, verdicts = make("rotator_key_retirable"), make("rotator_key_verdict")
    places, assumptions = make("rotator_key_places"), make("rotator_key_assumptions")
    for cache in caches:
        for key in cache.keys:
            under = key.remaining
            if key.role == "current":  # those that it had, and those that were moved to it
                under = cache.outcomes["current"] + cache.outcomes["rotated"]
            # What a stopped sweep did not come to is not known, and 0 would look like all is well.
            if key.role == "current" or not key.at_least:
                values.labels(escape(cache.name), key.id, key.role).set(under)
            budget.labels(escape(cache.name), key.id, key.role).set(key.nonce_budget_used)
            if key.role == "old":
                retirable.labels(escape(cache.name), key.id).set(key.verdict == "retirable")
                assumptions.labels(escape(cache.name), key.id).set(len(key.assumptions))
                counted = Counter(place.status for place in key.places)
                for status in STATUSES:
                    places.labels(escape(cache.name), key.id, status).set(counted[status])
                for verdict in VERDICTS:
                    verdicts.labels(escape(cache.name), key.id, verdict).set(key.verdict == verdict)
