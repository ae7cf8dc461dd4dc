"""What `rotator --version` tells: rotator, what it runs on, and the servers as last seen."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rotator import __version__
from rotator.errors import StateError

_LIBRARIES = {"redis-py": "redis", "hiredis": "hiredis", "cryptography": "cryptography"}


def told() -> str:
    """All versions, one on each line; the first line is rotator's own."""
    return "\n".join([f"rotator {__version__}", *_libraries(), *_servers()])


def _libraries() -> list[str]:
    found = {"Python": platform.python_version()}
    found |= {name: version(package) for name, package in _LIBRARIES.items()}
    return [f"  {name:<13} {number}" for name, number in found.items()]


def _servers() -> list[str]:
    """The servers that the state knows of; none is asked, and none has to be there."""
    from rotator.state.state import State, default_path  # noqa: PLC0415 - takes a while

    place = Path(os.environ.get("ROTATOR_STATE") or default_path())
    if not place.exists():
        return []
    from rotator.report.archive import last_report  # noqa: PLC0415 - takes longer
    from rotator.text import moment  # noqa: PLC0415 - the same

    try:
        with State(place) as state:
            caches = last_report(state, datetime.now(UTC)).caches
    except StateError as error:
        return [f"servers: {error}"]
    lines = ["servers, as last seen:"]
    for cache in caches:
        seen = moment(cache.judged_at) if cache.judged_at else "unknown"
        nodes = cache.coverage.nodes if cache.coverage else ()
        lines += [f"  {cache.name} at {one.node}: {one.version} ({seen})" for one in nodes]
    return lines
