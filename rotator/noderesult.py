"""What the sweep of one node came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from rotator.server.node import Identity
from rotator.sweep.control import Stop
from rotator.tally.tally import Tally


@dataclass(slots=True)
class NodeResult:
    """
    What the sweep of one node came to.

    *complete* False with *stopped* set: it was told to stop. Without: *reasons* say why not every
    name can be vouched for. *identity* is that of the moment when its last page was done, or begun.
    """

    node: str
    started_at: datetime
    tally: Tally
    complete: bool
    identity: Identity | None = None
    databases: tuple[int, ...] = ()
    restarts: int = 0
    orphans: int = 0
    reasons: tuple[str, ...] = ()
    stopped: Stop | None = None
    seconds: float = 0.0
    no_touch: bool = False
    tracked: bool = False
    waited: dict[str, float] = field(default_factory=dict)
