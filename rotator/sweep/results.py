"""
What the operator asked for, and what became of it for one cache.

How far the sweep of one node is.

What the sweep of one node came to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Self

from rotator.config.types import Address
from rotator.errors import Exit
from rotator.retirement.places import Copies
from rotator.server.context import CacheContext
from rotator.server.node import Identity
from rotator.server.topology import Topology
from rotator.sweep.control import Stop
from rotator.sweep.scope import RunOptions, Scope
from rotator.tally.tally import DONE, PICKED, STUCK, Count, Outcome, Tally, not_moved


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


@dataclass(slots=True)
class SweepResult:
    """
    What a sweep came to.

    *complete* says that every name of the cache was visited; else *stopped* says why it ended, or
    *not_looked_at* what it cannot vouch for, in sentences. *begun_at* is when this run began it,
    *started_at* when an earlier run did, if this one went on from there; of the tally, *visits_now*
    and *rotated_now* are this run's own. *cut_short* is a wish to stop that no
    node was left to hear.
    """

    scope: Scope
    begun_at: datetime
    started_at: datetime
    finished_at: datetime
    topology: Topology
    nodes: list[NodeResult] = field(default_factory=list)
    topology_changed: bool = False
    not_looked_at: list[str] = field(default_factory=list)
    seconds: float | None = None
    visits_now: int = 0
    rotated_now: int = 0
    cut_short: Stop | None = None

    def node(self, address: Address) -> NodeResult | None:
        """The last scan of the node at *address*."""
        return next((node for node in self.nodes if node.node == str(address)), None)

    @property
    def lasted(self) -> float:
        """How many seconds this run worked at it, by a clock that nobody sets if it was asked."""
        by_the_clock = (self.finished_at - self.begun_at).total_seconds()
        return by_the_clock if self.seconds is None else self.seconds

    @property
    def tally(self) -> Tally:
        """
        The sums over all nodes.

        Of a node that no longer owns data only what it rotated counts: whoever owns its data now
        was visited as well.
        """
        merged = Tally()
        owners = {str(address) for address in self.topology.primaries}
        for node in self.nodes:
            gone = node.node not in owners and not node.stopped
            merged.merge(node.tally.only_rotated() if gone else node.tally)
        return merged

    @property
    def stopped(self) -> Stop | None:
        """Why the sweep was stopped, or None if it was not."""
        return next((node.stopped for node in self.nodes if node.stopped), self.cut_short)

    @property
    def complete(self) -> bool:
        """Whether every name was visited."""
        return not self.not_looked_at and self.stopped is None


@dataclass(slots=True)
class CacheResult:
    """
    What became of one cache.

    *sweep* None: it was not begun, because of *stopped* or *error*. *verification* None: nothing
    was rewritten, or `--no-verify`. *copies* are the other copies of the data when all was done,
    *evictions* how many entries each node evicted meanwhile. *doubt* says why times are not to be
    relied on, and *latest* is the latest time that it may have been at the end by any clock.
    """

    access: CacheContext
    plan: RunOptions
    sweep: SweepResult | None = None
    verification: SweepResult | None = None
    copies: list[Copies] = field(default_factory=list)
    evictions: Mapping[str, int] = field(default_factory=dict)
    doubt: str | None = None
    latest: datetime | None = None
    stopped: Stop | None = None
    error: str | None = None

    @property
    def verified(self) -> bool:
        """Whether a verifying sweep was not needed, or came to its end."""
        if self.sweep is None or self.verification is None:
            rotated = self.sweep is not None and self.sweep.tally.outcomes[Outcome.ROTATED]
            return not rotated
        return self.verification.complete

    @property
    def found_under_old_keys(self) -> int:
        """How many values the verifying sweep met that it should not have met."""
        return 0 if self.verification is None else self.verification.tally.remaining

    def exit_code(self) -> Exit:
        """The exit code of this cache alone."""
        if self.sweep is None:
            return self.stopped.exit_code if self.stopped else Exit.FAILED
        for sweep in (self.sweep, self.verification):
            if sweep and sweep.stopped:
                return sweep.stopped.exit_code
            if sweep and not sweep.complete:
                return Exit.FAILED
        tally = self.sweep.tally
        if not tally.keys and not self.plan.allow_empty:
            return Exit.EMPTY
        stuck = not_moved(tally.outcomes, self.plan.accept)
        return Exit.NOT_MOVED if stuck or self.found_under_old_keys else Exit.OK


@dataclass(slots=True)
class Checkpoint:
    """
    How far the sweep of one node is; worthless for any other process, keyring, format or scope.

    *done* are the finished scans as (database, pattern); *cursor* belongs to *scanning*, and means
    nothing in any other database.
    """

    digest: str
    identity: Identity
    started_at: datetime
    tally: Tally
    scanning: tuple[int, str | None] | None = None
    cursor: int = 0
    done: list[tuple[int, str | None]] = field(default_factory=list)
    restarts: int = 0
    reasons: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; the cursor is text because it may have 64 bits."""
        return {
            "digest": self.digest,
            "identity": asdict(self.identity),
            "started_at": self.started_at.isoformat(),
            "tally": self.tally.to_dict(),
            "scanning": self.scanning and list(self.scanning),
            "cursor": str(self.cursor),
            "done": [list(one) for one in self.done],
            "restarts": self.restarts,
            "reasons": self.reasons,
        }

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Self:
        """The position that `to_dict` wrote down."""
        return cls(
            digest=saved["digest"],
            identity=Identity(**saved["identity"]),
            started_at=datetime.fromisoformat(saved["started_at"]),
            tally=Tally.from_dict(saved["tally"]),
            scanning=saved["scanning"] and (saved["scanning"][0], saved["scanning"][1]),
            cursor=int(saved["cursor"]),
            done=[(db, pattern) for db, pattern in saved["done"]],
            restarts=saved["restarts"],
            reasons=saved["reasons"],
        )


@dataclass(slots=True)
class BulkResult:
    """What one walk over a cache came to: what it covered, and what it met, also by node."""

    access: CacheContext
    sweep: SweepResult
    count: Count
    nodes: dict[str, Count]

    @property
    def picked(self) -> int:
        """How many values were picked, and not acted on."""
        return self.count.ends[PICKED]

    @property
    def done(self) -> int:
        """How many values were acted on."""
        return self.count.ends[DONE]

    def exit_code(self) -> Exit:
        """The exit code of this cache alone."""
        if self.sweep.stopped:
            return self.sweep.stopped.exit_code
        if not self.sweep.complete:
            return Exit.FAILED
        left = any(self.count.ends[end] for end in STUCK) or self.count.troubles
        return Exit.NOT_MOVED if left else Exit.OK
