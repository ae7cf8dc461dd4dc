"""Progress of a run: makes the log line, the JSON object and the gauges for Prometheus of it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

from rotator.progress import clock, write_line
from rotator.state.live import RunStatus

if TYPE_CHECKING:
    from prometheus_client import Gauge


class Metric(NamedTuple):
    """Metric: says what a gauge means, and which labels tell its values apart."""

    meaning: str
    labels: tuple[str, ...] = ()


_LABELS = ("cache", "phase")
LIVE = {
    "rotator_run_in_progress": Metric("Whether a run is in progress."),
    "rotator_run_heartbeat_timestamp_seconds": Metric("When the run last reported, Unix time."),
    "rotator_run_visits": Metric("Visits of the sweep so far, earlier runs included.", _LABELS),
    "rotator_run_expected_visits": Metric("Visits that are expected.", _LABELS),
    "rotator_run_rotated_values": Metric("Values that were rotated so far.", _LABELS),
    "rotator_run_paused": Metric("Whether the run is paused.", _LABELS),
}
"""The metrics of a run that goes on."""

_OURS = re.compile(r"(# (HELP|TYPE) )?rotator_")
_LIVE = re.compile(rf"(# (HELP|TYPE) )?({'|'.join(LIVE)})\b")
DONE = {"rotating": "rotated", "deleting": "deleted", "encrypting": "encrypted"}
"""What becomes of values in the phases that change some."""
_MOST_LINES = 100_000

log = structlog.get_logger(__name__)


def say(status: RunStatus, *, as_json: bool = False) -> None:
    """Write one line about a run to the log, or as a JSON object to stderr."""
    done = [node for node in status.nodes if node.state == "done"]
    figures: dict[str, Any] = {
        "cache": status.cache,
        "phase": status.phase,
        "visits": status.visits,
        "visits_before": status.visits_before,
        "expected": status.expected,
        "rate": status.rate,
        "to_go": None if status.paused else status.seconds_left,
        "rotated": status.rotated,
        "rotated_before": status.rotated_before,
        "left": status.left,
        "nodes": f"{len(done)} of {len(status.nodes)}" if len(status.nodes) > 1 else None,
        "reason": "paused" if status.paused else status.reason,
    }
    if as_json:
        line = {"event": "progress", "at": status.at.isoformat(), **figures}
        write_line(json.dumps(line), sys.stderr)
        return
    if figures["to_go"] is not None:
        figures["to_go"] = clock(figures["to_go"])
    figures[DONE.get(status.phase, "rotated")] = figures.pop("rotated")
    log.info("progress", **{name: one for name, one in figures.items() if one not in {None, ""}})


def metrics_text(status: RunStatus | None) -> str:
    """
    Return the numbers of a run that goes on; None: it does not any more.

    They stand beside those of the last run, which say nothing of this one.
    """
    import prometheus_client as library  # noqa: PLC0415 - most commands need not wait for it

    registry = library.CollectorRegistry()
    add_progress(partial(gauge, LIVE, registry), status)
    return library.generate_latest(registry).decode()


def read_metrics(path: Path) -> str:
    """Return what the file holds of the last run; nothing where it is not to be read."""
    with suppress(OSError, UnicodeDecodeError):
        lines = path.read_text("utf-8").splitlines(keepends=True) if path.is_file() else []
        ours = [one for one in lines if _OURS.match(one) and not _LIVE.match(one)]
        return "".join(ours) if len(ours) < _MOST_LINES else ""
    return ""


def gauge(known: Mapping[str, Metric], registry: Any, name: str) -> Gauge:
    """Make the gauge that is *known* by a name."""
    import prometheus_client as library  # noqa: PLC0415 - see above

    return library.Gauge(name, known[name].meaning, known[name].labels, registry=registry)


def add_progress(make: Callable[[str], Gauge], status: RunStatus | None) -> None:
    """Make the gauges of a run that goes on."""
    make("rotator_run_in_progress").set(status is not None)
    if status is None:
        return
    make("rotator_run_heartbeat_timestamp_seconds").set(status.at.timestamp())
    if not status.cache:
        return
    numbers = {
        "rotator_run_visits": status.visits,
        "rotator_run_expected_visits": status.expected or 0,
        "rotator_run_rotated_values": status.rotated,
        "rotator_run_paused": int(status.paused),
    }
    for name, number in numbers.items():
        make(name).labels(status.cache, status.phase).set(number)
