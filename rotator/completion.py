"""What the shell offers for the value of an option when somebody presses Tab."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rotator.errors import RotatorError


def caches(ctx: Any, incomplete: str) -> list[str]:
    """
    The names of the caches that begin with *incomplete*, by the configuration that is named so far.

    A configuration that cannot be read gives none: this is not the place to complain.
    """
    from rotator.config.load import load  # noqa: PLC0415 - takes a while

    files: list[Path] = ctx.params.get("config") or []
    try:
        found = load(files).caches
    except RotatorError:
        return []
    return [cache.name for cache in found if cache.name.startswith(incomplete)]
