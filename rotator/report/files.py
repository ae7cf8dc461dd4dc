"""
The report as a Prometheus textfile, for the textfile collector of node_exporter.

- Every number is of the last run, also that of visits; so all of them are gauges.
- A run that failed leaves only what is known of it: when it ended, and how. The numbers of caches
  and keys are then missing rather than old.
- `rotator_key_retirable` is 1 only for an old key whose verdict is `retirable`.

Writing a report to a file: whole or not at all, whatever happens meanwhile.

The files that a run leaves its report in, each in its own form.

The report as JSON, field for field as the design shows it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rotator.errors import ConfigError, Exit, RotatorError, StateError
from rotator.report.model import VERDICTS, Cache, Key, Report

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Gauge

_MODE = 0o644  # less what the umask takes away


def check_target(path: Path) -> None:
    """
    See before the work begins that a report can be written to *path*.

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
    """Whether stdout or stderr goes there: replaced, it would no longer be the file they fill."""
    for number in (1, 2):
        with suppress(OSError):
            if os.path.samestat(os.fstat(number), path.stat()):
                return True
    return False


def _write_out(draft: Path, text: str) -> None:
    """Write a new file, and see it on the disk."""
    # O_EXCL: a name that somebody else put there is not followed.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(draft, flags, _MODE), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make the new name last, where the folder and its file system let us; the file is there."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


_KEY = ("cache", "key_id", "role")


def metrics_text(report: Report) -> str:
    """The numbers of a report in the text format of Prometheus."""
    # a run without --metrics-file need not wait for it
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415

    registry = CollectorRegistry()
    make = _Maker(registry)
    _run(make, report)
    if report.caches:
        _caches(make, report.caches)
        _keys(make, report.caches)
    return generate_latest(registry).decode()


def write_metrics(report: Report, path: Path) -> None:
    """
    Write the numbers to *path*, whole or not at all.

    Raises:
        ConfigError: The folder is missing or closed to us, or *path* cannot be replaced.
        StateError: Writing failed; *path* is as it was.
    """
    write_whole(path, metrics_text(report))


class _Maker:
    """Makes the gauges of one registry: name without `rotator_`, help, labels."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def __call__(self, name: str, documentation: str, labels: Iterable[str] = ()) -> Gauge:
        from prometheus_client import Gauge  # noqa: PLC0415 - see above

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


def json_text(report: Report) -> str:
    """The report as text, its fields always in the same order, with a newline at the end."""
    return f"{report.model_dump_json(by_alias=True, indent=2)}\n"


def load_json(text: str) -> Report:
    """
    The report that `dump` wrote down, by this version or another one.

    Raises:
        pydantic.ValidationError: It is no report; a `ValueError`.
    """
    return Report.model_validate_json(text)


def write_json(report: Report, path: Path) -> None:
    """
    Write the report to *path*, whole or not at all.

    Raises:
        ConfigError: The folder is missing or closed to us, or *path* cannot be replaced.
        StateError: Writing failed; *path* is as it was.
    """
    write_whole(path, json_text(report))


@dataclass(frozen=True, slots=True)
class Targets:
    """Where to write what; None is not written."""

    report: Path | None = None
    html: Path | None = None
    metrics: Path | None = None

    def check(self) -> None:
        """
        See before the work begins that all of it can be written.

        Raises:
            ConfigError: A folder is missing or closed to us, a file cannot be replaced, or the
                library for pages is not installed.
        """
        if self.html is not None:
            from rotator.report import html  # noqa: PLC0415 - its templates take a while

            html.require_library()
        for _, path in self._all():
            check_target(path)

    def write(self, report: Report) -> None:
        """
        Write all files, each whole or not at all; one that fails does not keep the others away.

        Raises:
            ConfigError: A folder is missing or closed to us, or a file cannot be replaced.
            StateError: Writing failed; the file is as it was.
        """
        failures = []
        for write, path in self._all():
            try:
                write(report, path)
            except RotatorError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def _all(self) -> Iterator[tuple[Callable[[Report, Path], None], Path]]:
        """Each file with what writes it."""
        if self.report is not None:
            yield write_json, self.report
        if self.html is not None:
            from rotator.report import html  # noqa: PLC0415 - see above

            yield html.write, self.html
        if self.metrics is not None:
            yield write_metrics, self.metrics
