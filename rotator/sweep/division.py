"""
Division: cuts the scan of one node into parts that several workers make, with many cursors each.

- The cursor of SCAN is the number of a bucket with its bits reversed (redis-rules 1.1 and 8). So
  part i of 2**b begins at the reverse of i, in b bits, and is over when the low b bits of the
  cursor that comes back are others.
- Where a cluster has a table for each slot, the low 14 bits of a cursor are the slot, and slots
  come in ascending order: there a part is a range of slots.
- The names of a page are of neighbouring buckets, so their hashes end with the same bits. The table
  in which the server keeps what is watched has the same hashes: there such names are all in one
  bucket, and to watch 50 of them costs twice as much. So a part is scanned with cursors that are
  far from each other, in turn.
- A cursor that the server did not hand out is not documented. So it is done only where it was
  tried, and only by a sweep that rewrites: what is divided proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from rotator.config.types import Address
from rotator.server.replies import number
from rotator.server.store import START
from rotator.server.wire.versions import numbers_of, scans_by_slot
from rotator.sweep.control import SweepControl
from rotator.sweep.results import NodeResult
from rotator.sweep.scope import Fingerprint, Scope

MOST = 4
"""How many parts a node has at most."""

CURSORS = 32
"""With how many cursors a part is scanned in turn, at most: with more it is no cheaper."""

_NAMES_A_CURSOR = 20_000  # or more: where one ends it has met some names of the next one
_SEVERAL = re.compile(rb"([0-9]+):([0-9]+(?:,[0-9]+)*)")
_SLOT_BITS = 14
_VERSIONS = {"redis_version", "valkey_version", "gcc_version"}
# On these it was tried, by tests/integration/sweep/test_division.py, 50 times each: with a table
# that grows and shrinks meanwhile no name was left out.
_TRIED = {
    "redis": {(6, 0), (6, 2), (7, 0), (7, 4), (8, 0), (8, 2), (8, 6)},
    "valkey": {(8, 0), (8, 1), (9, 1)},
}


@dataclass(frozen=True, slots=True)
class Part:
    """
    Part: scans one of *count* parts of a node's names; the only one of 1 is all of them.

    *slots*, the first and the last one, are what it has in a cluster with a table for each slot.
    *spread*: it may be scanned with several cursors in turn.
    """

    index: int = 0
    count: int = 1
    slots: tuple[int, int] | None = None
    spread: bool = False

    @property
    def begin(self) -> bytes:
        """The cursor to begin with."""
        if self.slots is not None:
            return b"%d" % self.slots[0]
        bits = self.count.bit_length() - 1
        return b"%d" % int(f"{self.index:0{bits}b}"[::-1], 2) if bits else START

    def place(self, address: Address) -> str:
        """Return what the positions of this part of a node are kept under."""
        return str(address) if self.count == 1 else f"{address} {self.index + 1}/{self.count}"


WHOLE = Part()
"""All names of a node, scanned as the server says."""


@dataclass(frozen=True, slots=True)
class Cursors:
    """
    Cursors: hold where the scan of *part* stands: one cursor, or several that take turns.

    *count* is how many all parts of the node have together. Each goes through those buckets whose
    numbers leave the same when divided by it, or through the slots of the part. *left* are those
    that are not at their end, the one whose turn it is first.
    """

    part: Part
    count: int
    left: tuple[bytes, ...]

    @classmethod
    def begin(cls, part: Part, names: int, *, spread: bool) -> Cursors:
        """Return where to begin; if *spread*, the more *names* the table has the more cursors."""
        share = min(names // part.count // _NAMES_A_CURSOR, CURSORS)
        if not (spread and part.spread) or share < 2:
            return cls(part, part.count, (part.begin,))
        count = part.count << (share.bit_length() - 1)
        buckets = range(int(part.begin), count, part.count)
        return cls(part, count, tuple(b"%d" % bucket for bucket in buckets))

    @classmethod
    def read(cls, part: Part, saved: bytes) -> Cursors:
        """Return what `saved` wrote down, or the one cursor that it is."""
        several = _SEVERAL.fullmatch(saved)
        if several is None:
            return cls(part, part.count, (saved,))
        return cls(part, int(several[1]), tuple(several[2].split(b",")))

    @property
    def saved(self) -> bytes:
        """These cursors as one; `START` when the scan is over."""
        if not self.left:
            return START
        if self.count == self.part.count:
            return self.left[0]
        return b"%d:%b" % (self.count, b",".join(self.left))

    def after(self, found: Sequence[bytes]) -> Cursors:
        """
        Return how to go on after SCAN gave the cursors *found* for the first ones of *left*.

        Raises:
            ValueError: The cursor of a divided scan is no number.
        """
        asked, others = self.left[: len(found)], self.left[len(found) :]
        after = [self._after(old, new) for old, new in zip(asked, found, strict=True)]
        return replace(self, left=(*others, *(cursor for cursor in after if cursor != START)))

    def _after(self, old: bytes, new: bytes) -> bytes:
        """Return what comes after the cursor *old*; `START` when it is at its end."""
        if new == START or self.count == 1:  # a scan that is not divided hands any cursor through
            return new
        if self.part.slots is not None:
            return START if _bucket(new) % (1 << _SLOT_BITS) > self.part.slots[1] else new
        return new if _bucket(new) % self.count == _bucket(old) % self.count else START


class NodePlan(NamedTuple):
    """
    Node plan: says how a node is swept.

    *restarts* is how often its scan was begun again already; *works* says that it begins as work;
    then there may be several *parts*.
    """

    restarts: int = 0
    works: bool = False
    parts: tuple[Part, ...] = (WHOLE,)


Nodes = Mapping[Address, NodePlan]
Results = Iterator[tuple[Address, NodeResult]]


@dataclass(frozen=True, slots=True)
class NodeTask:
    """
    Node task: tells a worker what to sweep; none of it is secret.

    *files* are those of the worker's machine; *fingerprint* is that of the cache as the run has it.
    *state* None means that positions go to the parent. *part* of the node's names is swept,
    *restarts* is how often its scan was begun again already; *works*: it begins as work.
    """

    files: tuple[Path, ...]
    fingerprint: Fingerprint
    address: Address
    scope: Scope
    saved: dict[str, Any] | None = field(repr=False)
    state: Path | None = None
    restarts: int = 0
    part: Part = WHOLE
    works: bool = False

    @property
    def place(self) -> str:
        """The key of its positions."""
        return self.part.place(self.address)


@dataclass(slots=True)
class Parts:
    """Parts: collect the results of the parts of nodes, of each as many as it has."""

    nodes: Nodes
    _done: dict[Address, list[NodeResult]] = field(default_factory=dict)

    def put(self, address: Address, result: NodeResult) -> Results:
        """Take the result of one part; yield that of the node if it was the last one."""
        done = self._done.setdefault(address, [])
        done.append(result)
        if len(done) == len(self.nodes[address].parts):
            yield address, NodeResult.merged(done)


def make_tasks(
    fingerprint: Fingerprint, nodes: Nodes, scope: Scope, control: SweepControl
) -> Iterator[NodeTask]:
    """Yield a task for each part of *nodes*."""
    for address, plan in nodes.items():
        for part in plan.parts:
            saved = control.load(part.place(address))
            restarts, works = plan.restarts, plan.works
            yield NodeTask((), fingerprint, address, scope, saved, None, restarts, part, works)


def _bucket(cursor: bytes) -> int:
    """Return the number that a cursor of a divided scan is."""
    bucket = number(cursor, "the cursor of a divided scan")
    if bucket < 0:
        raise ValueError("the cursor of a divided scan is below 0")
    return bucket


def parts(count: int, slots: Sequence[tuple[int, int]] | None = None) -> tuple[Part, ...]:
    """
    Return *count* parts or fewer: a power of two, or, with the *slots* of a node, as many as that.

    *slots* are ranges, the last one included.
    """
    if slots is None:
        count = 1 << (count.bit_length() - 1)
        return tuple(Part(index, count, spread=True) for index in range(count))
    owned = [slot for first, last in sorted(slots) for slot in range(first, last + 1)]
    count = max(min(count, len(owned)), 1)
    if count == 1:
        return (WHOLE,)
    cuts = [len(owned) * index // count for index in range(count)]
    firsts = [0, *(owned[cut] for cut in cuts[1:])]
    lasts = [*(first - 1 for first in firsts[1:]), (1 << _SLOT_BITS) - 1]
    return tuple(Part(i, count, ends) for i, ends in enumerate(zip(firsts, lasts, strict=True)))


def divide(
    info: Mapping[str, str], most: int, slots: Sequence[tuple[int, int]]
) -> tuple[Part, ...]:
    """
    Return *most* parts of a node or fewer, as it was tried with what its INFO says it is.

    *slots* are those that the node owns in a cluster.
    """
    valkey = info.get("valkey_version")
    # Others say whose version they are compatible with, and add one of their own.
    others = [name for name in info if name.endswith("_version") and name not in _VERSIONS]
    version = () if others else numbers_of(valkey or info.get("redis_version"))[:2]
    clustered = {"0": False, "1": True}.get(info.get("cluster_enabled", ""))
    if version not in _TRIED["valkey" if valkey else "redis"] or clustered is None:
        return (WHOLE,)
    by_slot = clustered and scans_by_slot(info)
    if clustered and not by_slot:
        return (WHOLE,)
    return parts(min(most, MOST), slots if by_slot else None)
