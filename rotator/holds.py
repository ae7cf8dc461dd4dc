"""
What still holds a key although the live data is clean: old copies that could come back.

Pure: copies, marks and times in, holds out. Everything is counted from *clean_since*, the end of
the first complete sweep that no longer met the key: a copy made after that moment is clean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from rotator.retirement.places import Hold
from rotator.server.copies import Copies


def find_holds(
    copies: Sequence[Copies],
    *,
    clean_since: datetime,
    marks: Mapping[str, Mapping[str, Any] | None],
    swept: Mapping[str, str],
    retention: timedelta | None,
) -> tuple[Hold, ...]:
    """
    The holds on one key.

    *marks* are those that `Copies.mark` gave when the key became clean, by node; *swept* are the
    run ids of the processes that the last sweep found clean, by node.
    """
    holds: list[Hold] = []
    for copy in copies:
        holds += [Hold.replica(name, why) for name, why in copy.lagging.items()]
        if swept.get(copy.node, copy.run_id) != copy.run_id:
            holds.append(Hold.failover(copy.node))
        if copy.snapshot:
            snapshot = Hold.snapshot(copy.node, copy.snapshot_begun_at, clean_since)
            holds += [snapshot] if snapshot else []
        if copy.append_only and not copy.rewritten_since(marks.get(copy.node)):
            append_only = Hold.append_only(copy.node, None, clean_since)
            holds += [append_only] if append_only else []
    if retention is not None:
        holds.append(Hold.backups(clean_since, retention))
    return tuple(holds)
