"""Outputs: what commands leave in the folder of a trial: whole files, verdicts, and no secret."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from rotator.report.archive import load_reports
from rotator.state.state import State
from rotator.text import utc_now

CONFIG: Final = "maverics.json"
STATE: Final = "state.db"
REPORT: Final = "report.json"
METRICS: Final = "run.prom"
PRINTED: Final = "printed"


def of_the_state(folder: Path) -> dict[str, str]:
    """Return the verdict of each old key by the state, as `rotator report` has it."""
    path = folder / STATE
    if not path.exists():
        return {}
    with State(path) as state:
        caches = load_reports(state, utc_now()).caches if state.last_reports() else ()
    return {key.id: key.verdict for cache in caches for key in cache.keys if key.verdict}


def of_the_report(folder: Path) -> dict[str, str]:
    """Return the verdict of each old key by the report; none if that is not there, or half."""
    try:
        caches = json.loads((folder / REPORT).read_bytes())["caches"]
    except (OSError, ValueError):
        return {}
    keys = (key for cache in caches for key in cache["keys"])
    return {key["id"]: key["verdict"] for key in keys if key["verdict"]}


def handled(folder: Path) -> int:
    """Return how many values `purge` or `adopt` says that it has deleted or encrypted."""
    [cache] = json.loads((folder / PRINTED).read_bytes())["caches"]
    return int(cache.get("deleted", 0)) + int(cache.get("encrypted", 0))


def halves(folder: Path) -> Iterator[str]:
    """Yield which files are not whole: a reader finds the old one, or the new one."""
    report, metrics = folder / REPORT, folder / METRICS
    if report.exists():
        try:
            json.loads(report.read_bytes())
        except ValueError:
            yield f"half of {REPORT} is there"
    if metrics.exists() and not (metrics.read_bytes() or b"\n").endswith(b"\n"):
        yield f"half of {METRICS} is there"


def leaks(folder: Path, secrets: Iterable[bytes]) -> Iterator[str]:
    """Yield which files have a secret in them, but for the configuration."""
    kept = list(secrets)
    for path in folder.rglob("*"):
        if path.is_file() and path.name != CONFIG:
            data = path.read_bytes()
            yield from (f"a secret is in {path.name}" for one in kept if one in data)
