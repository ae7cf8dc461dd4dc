"""
Files: write a rendering whole or not at all; JSON and Prometheus text.

A reader finds the old file or the new one, whatever happens meanwhile. A writer is a pair: what
renders a report, and the path it goes to. The libraries of a rendering are imported with it.
"""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rotator.errors import ConfigError, Exit, RotatorError, StateError
from rotator.report.model import STATUSES, VERDICTS, Cache, Report
from rotator.report.progress import add_progress

if TYPE_CHECKING:
    from prometheus_client import Gauge

_MODE = 0o644  # less what the umask takes away
_CACHE = ("cache",)
_KEY = ("cache", "key_id", "role")


@dataclass(frozen=True, slots=True)
class Targets:
    """Targets: say where to write which rendering; None is not written."""

    report: Path | None = None
    html: Path | None = None
    metrics: Path | None = None

    def check(self) -> None:
        """
        Raise unless all of it can be written; asked before the work begins.

        Raises:
            ConfigError: A folder is missing or closed to us, a file cannot be replaced, or the
                library for pages is not installed.
        """
        if self.html is not None:
            from rotator.report import chart  # noqa: PLC0415 - see the module's docstring

            chart.require_library()
        for path in (self.report, self.html, self.metrics):
            if path is not None:
                check_target(path)

    def write(self, report: Report, now: datetime | None = None) -> None:
        """
        Write all files, each whole or not at all; one that fails does not keep the others away.

        With *now* the page is one of the past, and says how old it is.

        Raises:
            ConfigError: A folder is missing or closed to us, or a file cannot be replaced.
            StateError: Writing failed; the file is as it was.
        """
        writers: tuple[tuple[Callable[[Report], str], Path | None], ...] = (
            (json_text, self.report),
            (partial(page_text, now=now), self.html),
            (metrics_text, self.metrics),
        )
        failures = []
        for render, path in writers:
            try:
                if path is not None:
                    write_whole(path, render(report))
            except RotatorError as error:
                failures.append(error)
        if failures:
            raise failures[0]


def check_target(path: Path) -> None:
    """
    Raise unless a report can be written to *path*; asked before the work begins.

    Raises:
        ConfigError: The folder is missing or closed to us, or *path* cannot be replaced.
    """
    folder = path.resolve().parent
    if not folder.is_dir():
        raise ConfigError(
            f"{path}: the folder {folder} does not exist", hint=f"create it: mkdir -p {folder}"
        )
    if path.exists() and (not path.is_file() or _is_output(path)):
        raise ConfigError(
            f"{path} is not a file that can be replaced",
            hint="name a file; for a report on stdout use --format json",
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(
            f"{path}: no right to write to the folder {folder}",
            hint="choose another folder, or give this user the right to write there",
        )


def write_whole(path: Path, text: str) -> None:
    """
    Replace *path* by a file that holds *text*, so that a reader finds the old one or the new one.

    A symbolic link stays one: what it points to is replaced.

    Raises:
        ConfigError: The folder is missing or closed to us, or *path* cannot be replaced.
        StateError: Writing failed; *path* is as it was.
    """
    check_target(path)
    target = path.resolve()
    draft = target.with_name(f".{target.name[:64]}.{secrets.token_hex(8)}.tmp")
    try:
        _write_out(draft, text)
        draft.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise StateError(
            f"{path}: cannot be written: {os.strerror(error.errno or 0).lower()}",
            hint="what was there before is unchanged; make room or choose another folder",
        ) from error


def _is_output(path: Path) -> bool:
    """Return whether stdout or stderr goes there, and would not go to what replaces it."""
    for number in (1, 2):
        with suppress(OSError):
            if os.path.samestat(os.fstat(number), path.stat()):
                return True
    return False


def _write_out(draft: Path, text: str) -> None:
    """Write a new file, down to the disk."""
    # O_EXCL: a name that somebody else put there is not followed.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(draft, flags, _MODE), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make the new name last, where the folder and its file system allow it; the file is there."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def json_text(report: Report) -> str:
    """Return the report as text, its fields always in the same order, with a newline at the end."""
    return f"{report.model_dump_json(by_alias=True, indent=2)}\n"


def report_schema() -> dict[str, Any]:
    """Return the JSON Schema of what `json_text` writes."""
    schema = Report.model_json_schema(by_alias=True, mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def page_text(report: Report, now: datetime | None = None) -> str:
    """
    Return the HTML page; with *now* it is one of the past.

    Raises:
        ConfigError: The library for it is not installed.
    """
    from rotator.report import html  # noqa: PLC0415 - see the module's docstring

    return html.render(report, now)


def metrics_text(report: Report) -> str:
    """
    Return the numbers of a report for the textfile collector of node_exporter.

    - Every number is of the last run, also that of visits; so all of them are gauges.
    - A run that failed leaves only what is known of it: when it ended, and how. The numbers of
      caches and keys are then missing rather than old.
    - `rotator_key_retirable` is 1 only for an old key whose verdict is `retirable`.
    """
    import prometheus_client as library  # noqa: PLC0415 - see the module's docstring

    registry = library.CollectorRegistry()
    make = partial(library.Gauge, registry=registry)
    _run(make, report)
    add_progress(make, None)
    if report.caches:
        _caches(make, report.caches)
        _keys(make, report.caches)
    return library.generate_latest(registry).decode()


def _run(make: Callable[..., Gauge], report: Report) -> None:
    """Make the gauges of what is always known."""
    seconds = (report.finished_at - report.started_at).total_seconds()
    ended = make("rotator_last_run_timestamp_seconds", "When the last run ended, Unix time.")
    ended.set(report.finished_at.timestamp())
    make("rotator_run_duration_seconds", "How long the last run took.").set(seconds)
    success = make("rotator_last_run_success", "Whether the last run ended with exit code 0.")
    success.set(report.exit_code == Exit.OK)
    code = make("rotator_last_run_exit_code", "The exit code of the last run.")
    code.set(report.exit_code)
    info = make("rotator_build_info", "The version of rotator.", ("version", "mode"))
    info.labels(report.rotator, report.mode).set(1)


def _caches(make: Callable[..., Gauge], caches: Sequence[Cache]) -> None:
    """Make the gauges of what became of the visits, and whether they were all."""
    complete = make("rotator_sweep_complete", "Whether the last run visited every name.", _CACHE)
    name = "rotator_last_complete_sweep_timestamp_seconds"
    swept = make(name, "When the last complete sweep ended.", _CACHE)
    meaning = "Visits of the last run, by what became of them."
    visits = make("rotator_visits_total", meaning, (*_CACHE, "outcome"))
    meaning = "The part of the names that was visited, 0 to 1."
    visited = make("rotator_sweep_visited_ratio", meaning, _CACHE)
    for cache in caches:
        part = cache.progress.fraction if cache.progress else None
        part = 1.0 if cache.complete else part
        if part is not None:
            visited.labels(cache.name).set(part)
        complete.labels(cache.name).set(cache.complete)
        if cache.swept_at:
            swept.labels(cache.name).set(cache.swept_at.timestamp())
        for outcome, number in cache.outcomes.items():
            visits.labels(cache.name, outcome).set(number)


def _keys(make: Callable[..., Gauge], caches: Sequence[Cache]) -> None:
    """Make the gauges of what is under each key, and what was judged."""
    meaning = "Values that are under a key after the last run."
    values = make("rotator_values_under_key", meaning, _KEY)
    retirable = make("rotator_key_retirable", "Whether an old key can be removed.", _KEY[:2])
    meaning = "1 for the verdict on an old key."
    verdicts = make("rotator_key_verdict", meaning, (*_KEY[:2], "verdict"))
    meaning = "The part of the 2^32 safe encryptions that is used up."
    budget = make("rotator_nonce_budget_used_ratio", meaning, _KEY)
    meaning = "Places where a value under an old key may be, by what is known of them."
    places = make("rotator_key_places", meaning, (*_KEY[:2], "status"))
    meaning = "What the verdict on an old key takes for granted."
    assumptions = make("rotator_key_assumptions", meaning, _KEY[:2])
    for cache in caches:
        for key in cache.keys:
            under = key.remaining
            if key.role == "current":  # those that it had, and those that were moved to it
                under = cache.outcomes["current"] + cache.outcomes["rotated"]
            values.labels(cache.name, key.id, key.role).set(under)
            budget.labels(cache.name, key.id, key.role).set(key.nonce_budget_used)
            if key.role == "old":
                retirable.labels(cache.name, key.id).set(key.verdict == "retirable")
                assumptions.labels(cache.name, key.id).set(len(key.assumptions))
                counted = Counter(place.status for place in key.places)
                for status in STATUSES:
                    places.labels(cache.name, key.id, status).set(counted[status])
                for verdict in VERDICTS:
                    verdicts.labels(cache.name, key.id, verdict).set(key.verdict == verdict)
