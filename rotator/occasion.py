"""
Whether there is anything to tell about a run, and what: once for each thing that is new.

- A run that failed is told every time: nobody can rely on what a failing run would have found out.
- A verdict that is another than before the run is told, be it better or worse.
- That some values could not be moved, or that another run is at work, is told when the run before
  did not end like that; the first run that ends well after any of these is told too.
- A run that was stopped is as it should be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from rotator.errors import Exit

_SHORT = 8  # of a key id's 16 characters
_SHOWN = 5
_FAILURES = (Exit.FAILED, Exit.USAGE, Exit.EMPTY)
_TOLD = (*_FAILURES, Exit.NOT_MOVED, Exit.BUSY)
STOPPED = (Exit.TIME_UP, Exit.INTERRUPTED, Exit.TERMINATED)
"""Codes that say nothing of how it is; the run before them counts."""


class Event(StrEnum):
    """Why somebody is told."""

    FAILED = "failed"
    CHANGED = "changed"
    RECOVERED = "recovered"


@dataclass(frozen=True, slots=True)
class Change:
    """A verdict that became another; *before* is None for a key that was never judged."""

    cache: str
    key: str
    field: str
    before: str | None
    after: str

    def __str__(self) -> str:
        was = f" (was {self.before})" if self.before else ""
        return f"{self.cache}: key {self.key[:_SHORT]} is {self.after}{was}"


def occasion(code: int, before: int | None, changes: Sequence[Change]) -> Event | None:
    """
    What to tell of a run that ended with *code*, if anything.

    *before* is how the last run over the same caches ended that was not stopped.
    """
    if code in _FAILURES or (code == Exit.BUSY and before != Exit.BUSY):
        return Event.FAILED
    if changes or (code == Exit.NOT_MOVED and before != Exit.NOT_MOVED):
        return Event.CHANGED
    if code == Exit.OK and before in _TOLD:
        return Event.RECOVERED
    return None


def summary(code: int, error: str | None, ending: str, changes: Sequence[Change]) -> str:
    """All of it in one line: what failed, or else what changed; *ending* is what the code means."""
    if error:
        return f"rotator failed (exit code {code}): {error}"
    said = [str(change) for change in changes[:_SHOWN]]
    if more := len(changes) - len(said):
        said.append(f"and {more} more")
    if code or not said:
        said.append(f"{ending} (exit code {code})")
    return f"rotator: {'; '.join(said)}"
