"""Results: hold counts, coverage and checkpoint of a node, a sweep, a cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Self

from pydantic import PlainSerializer, PlainValidator, TypeAdapter

from rotator.config.types import Address
from rotator.errors import Exit
from rotator.retirement.looks import Look, Proof
from rotator.server.context import CacheContext
from rotator.server.node import Identity
from rotator.server.store import START
from rotator.server.topology import Topology
from rotator.sweep.control import Stop
from rotator.sweep.scope import RunOptions, Scope
from rotator.tally.load import NodeLoad
from rotator.tally.tally import BulkOutcome, Outcome, Tally, not_moved
from rotator.text import utc_now

# Made when one is needed: that takes some milliseconds.
_adapter: Callable[[Any], TypeAdapter[Checkpoint]] = cache(TypeAdapter)


@dataclass(slots=True)
class NodeResult:
    """
    Node result: holds what was met and done at one node.

    *complete* False with *stopped* set: it was told to stop. Without: *reasons* say why not every
    name can be vouched for. *identity* is that of the moment when its last page was done, or begun.
    *resumed*: it went on from where an earlier run was stopped. *proof* is None if it proves
    nothing; *unproven* are sentences, why not, if it was not simply work. *hopeless*: doing it
    again at once would not help. *moved*: values moved meanwhile, so the scan may have missed some.
    *exchange* are the ways to replace values, *lanes* how many swept it, *load* what it bore.
    *refused*: what was to be written, applications might not be able to read.
    """

    node: str
    started_at: datetime
    tally: Tally
    complete: bool = False
    identity: Identity | None = None
    databases: tuple[int, ...] = ()
    restarts: int = 0
    orphans: int = 0
    reasons: tuple[str, ...] = ()
    stopped: Stop | None = None
    seconds: float = 0.0
    no_touch: bool = False
    tracked: bool = False
    resumed: bool = False
    proof: Proof | None = None
    unproven: tuple[str, ...] = ()
    hopeless: bool = False
    waited: dict[str, float] = field(default_factory=dict)
    moved: bool = False
    exchange: tuple[str, ...] = ()
    lanes: int = 1
    refused: bool = False
    load: NodeLoad = field(default_factory=NodeLoad)

    @classmethod
    def merged(cls, parts: Sequence[Self]) -> Self:
        """Return what the *parts* of one node came to; it is what it was when the first ended."""
        first, *others = parts
        if not others:
            return first
        for part in others:
            first.tally.merge(part.tally)
            first.load.merge(part.load, beside=True)
            for reason, seconds in part.waited.items():
                first.waited[reason] = max(first.waited.get(reason, 0.0), seconds)
        first.started_at = min(part.started_at for part in parts)
        first.complete = all(part.complete for part in parts)
        first.databases = tuple(sorted({db for part in parts for db in part.databases}))
        first.restarts = max(part.restarts for part in parts)
        first.orphans = max(part.orphans for part in parts)
        first.reasons = tuple(dict.fromkeys(one for part in parts for one in part.reasons))
        first.stopped = next((part.stopped for part in parts if part.stopped), None)
        first.seconds = max(part.seconds for part in parts)
        first.no_touch = all(part.no_touch for part in parts)
        first.resumed = any(part.resumed for part in parts)
        first.hopeless = any(part.hopeless for part in parts)
        first.refused = any(part.refused for part in parts)
        first.moved = any(part.moved for part in parts)
        first.exchange = tuple(dict.fromkeys(way for part in parts for way in part.exchange))
        first.tracked, first.proof, first.lanes = False, None, len(parts)
        return first

    @classmethod
    def failed(cls, at: Address, reason: str, restarts: int, *, hopeless: bool = False) -> Self:
        """Return the result of a node that was not swept at all."""
        told = (reason,)
        return cls(str(at), utc_now(), Tally(), reasons=told, restarts=restarts, hopeless=hopeless)


@dataclass(slots=True)
class SweepResult:
    """
    Sweep result: holds what came of one sweep over all nodes of a cache.

    *complete* says that every name of the cache was visited; else *stopped* says why it ended, or
    *not_looked_at* what it cannot vouch for, in sentences. *begun_at* is when this run began it,
    *started_at* when an earlier run did, if this one went on from there; of the tally, *visits_now*
    and *rotated_now* are this run's own. *seconds* is how long this run worked at it, by a clock
    that nobody sets. *cut_short* is a wish to stop that no node was left to hear.
    """

    scope: Scope
    begun_at: datetime
    started_at: datetime
    finished_at: datetime
    topology: Topology
    nodes: list[NodeResult] = field(default_factory=list)
    topology_changed: bool = False
    not_looked_at: list[str] = field(default_factory=list)
    seconds: float = 0.0
    visits_now: int = 0
    rotated_now: int = 0
    cut_short: Stop | None = None

    def node(self, address: Address) -> NodeResult | None:
        """Return the last scan of the node at *address*."""
        return next((node for node in self.nodes if node.node == str(address)), None)

    @property
    def tally(self) -> Tally:
        """
        The sums over all nodes.

        Of a node that no longer owns data only what it rotated counts: the owner was visited, too.
        """
        merged = Tally()
        owners = {str(address) for address in self.topology.primaries}
        for node in self.nodes:
            gone = node.node not in owners and not node.stopped
            merged.merge(node.tally.only_rotated() if gone else node.tally)
        return merged

    @property
    def stopped(self) -> Stop | None:
        """The reason why the sweep was stopped, or None if it was not."""
        return next((node.stopped for node in self.nodes if node.stopped), self.cut_short)

    @property
    def complete(self) -> bool:
        """True if every name was visited."""
        return not self.not_looked_at and self.stopped is None

    @property
    def proven(self) -> bool:
        """True if it is complete, and every node was swept in one go that only read."""
        return self.complete and bool(self.nodes) and all(node.proof for node in self.nodes)

    @property
    def resumed(self) -> bool:
        """True if a node was not swept in one go."""
        return any(node.resumed for node in self.nodes)

    @property
    def under_old_keys_outside(self) -> int:
        """The number of values under old keys among what is left out."""
        proofs = [node.proof for node in self.nodes if node.proof]
        return sum(sum(proof.outside.under_old_keys.values()) for proof in proofs)


@dataclass(slots=True)
class CacheResult:
    """
    Cache result: holds what became of one cache.

    *sweep* None: it was not begun, because of *stopped* or *error*, whose exit code is *code*.
    *verification* None: nothing was rewritten, or `--no-verify`. *looks* are at all servers, in
    their order, *history* is the id of what the state keeps of the data, *basis* what a proof is
    made with, *primaries* own the data in the end. *evictions*: of each node. *not_written*: files
    asked for. *doubt*: why times do not count, *latest*: what any clock says, *refusal*: of a run.
    """

    access: CacheContext
    plan: RunOptions
    sweep: SweepResult | None = None
    verification: SweepResult | None = None
    looks: list[Look] = field(default_factory=list)
    history: str = ""
    basis: str = ""
    primaries: list[Address] = field(default_factory=list)
    evictions: Mapping[str, int] = field(default_factory=dict)
    not_written: list[str] = field(default_factory=list)
    doubt: str | None = None
    latest: datetime | None = None
    refusal: str | None = None
    stopped: Stop | None = None
    error: str | None = None
    code: Exit = Exit.FAILED

    @property
    def verified(self) -> bool:
        """True if a verifying sweep was not needed, or came to its end."""
        worked = self.sweep and self.sweep.tally.outcomes[Outcome.ROTATED]
        return self.verification.complete if self.verification else not worked

    @property
    def found_under_old_keys(self) -> int:
        """The number of values the verifying sweep met, but for what was too large to be moved."""
        work, again = (one.tally if one else Tally() for one in (self.sweep, self.verification))
        return again.remaining - min(one.outcomes[Outcome.TOO_LARGE] for one in (work, again))

    def after(self, earlier: CacheResult) -> CacheResult:
        """
        Return this result with what an *earlier* one of the same run moved, to be reported.

        If nothing was moved since, this one's sweep verified the earlier one's work.
        """
        old, new = earlier.sweep, self.sweep
        if old is None or new is None or not (moved := old.tally.only_rotated()).encryptions:
            return self
        same = {node.node for node in old.nodes} == {node.node for node in new.nodes}
        if same and new.complete and not new.tally.encryptions:
            return replace(self, sweep=old, verification=self.verification or new)
        first = replace(new.nodes[0], tally=Tally())
        first.tally.merge(moved)
        first.tally.merge(new.nodes[0].tally)
        return replace(self, sweep=replace(new, nodes=[first, *new.nodes[1:]]))

    def exit_code(self) -> Exit:
        """Return the exit code of this cache alone."""
        if self.sweep is None:
            return self.stopped.exit_code if self.stopped else self.code
        if any(node.refused for node in self.sweep.nodes):
            return Exit.USAGE
        for sweep in (self.sweep, self.verification):
            if sweep and sweep.stopped:
                return sweep.stopped.exit_code
            if sweep and not sweep.complete:
                return Exit.FAILED
        tally = self.sweep.tally
        if not tally.keys and not self.plan.allow_empty:
            return Exit.EMPTY
        stuck = not_moved(tally.outcomes, self.plan.accept)
        outside = (self.verification or self.sweep).under_old_keys_outside
        return Exit.NOT_MOVED if stuck or self.found_under_old_keys or outside else Exit.OK


def _token(saved: str | bytes) -> bytes:
    return saved if isinstance(saved, bytes) else saved.encode("latin-1")


Cursor = Annotated[
    bytes, PlainValidator(_token), PlainSerializer(lambda token: token.decode("latin-1"))
]
"""A cursor as the server gave it: a token, not a number."""


@dataclass(slots=True)
class Checkpoint:
    """
    Checkpoint: tells where to go on at one node; of no use with another process, keyring or scope.

    *digest* is that of the scope, the keyring and the formats. *done* are the finished scans as
    (database, pattern); *cursor* belongs to *scanning*, and means nothing in any other database.
    *within* says of large hashes of the page there, by their names, how far they were gone through.
    """

    digest: str
    identity: Identity
    started_at: Annotated[datetime, PlainSerializer(datetime.isoformat)]
    tally: Annotated[Tally, PlainValidator(Tally.from_dict), PlainSerializer(Tally.to_dict)]
    scanning: tuple[int, str | None] | None = None
    cursor: Cursor = START
    done: list[tuple[int, str | None]] = field(default_factory=list)
    restarts: int = 0
    reasons: list[str] = field(default_factory=list)
    within: dict[Cursor, Cursor] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return dict(_adapter(Checkpoint).dump_python(self, mode="json"))

    @staticmethod
    def from_dict(saved: dict[str, Any]) -> Checkpoint:
        """Read what `to_dict` wrote down."""
        return _adapter(Checkpoint).validate_python(saved)


@dataclass(slots=True)
class BulkResult:
    """Bulk result: holds what purge or adopt came to in a cache; *nodes* are by their addresses."""

    access: CacheContext
    sweep: SweepResult
    tally: Tally = field(init=False)
    nodes: dict[str, Tally] = field(init=False)

    def __post_init__(self) -> None:
        self.tally = self.sweep.tally
        self.nodes = {node.node: node.tally for node in self.sweep.nodes}

    @property
    def picked(self) -> int:
        """The number of values that were picked, and not acted on."""
        return self.tally.outcomes[BulkOutcome.PICKED]

    @property
    def done(self) -> int:
        """The number of values that were acted on."""
        return self.tally.done

    def exit_code(self) -> Exit:
        """Return the exit code of this cache alone."""
        if self.sweep.stopped:
            return self.sweep.stopped.exit_code
        if not self.sweep.complete:
            return Exit.FAILED
        return Exit.NOT_MOVED if self.tally.problems else Exit.OK
