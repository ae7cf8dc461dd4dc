"""
CLUSTER NODES: reads and compares what the nodes of a cluster say about each other; pure.

Only a node's own line (`myself`) is authoritative about its slots and its epoch; gossip about
others lags, and slots being moved stand on the mover's own line alone (redis-rules 1.3 and 1.5).
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rotator.config.types import Address

SLOTS = 16384

Range = tuple[int, int]  # first and last slot, both included

_LONGEST = 400  # characters of what a line says of a node: a host name has 255 at most
# A slot on the move, and the other node.
_MARK = re.compile(r"\[([0-9]{1,5})-([<>])-(\w+)]", re.ASCII)


@dataclass(frozen=True, slots=True)
class Member:
    """
    Member: one line of CLUSTER NODES (https://redis.io/docs/latest/commands/cluster-nodes/).

    *address* is None where the node does not say where it listens; *by_ip* is the same with its IP
    address, where it announces a host name. *moving* holds the markers of slots that are being
    moved, as they stand: `[93->-id]`, `[93-<-id]`.
    """

    id: str
    address: Address | None
    flags: frozenset[str]
    primary_id: str | None
    epoch: int
    connected: bool
    slots: tuple[Range, ...]
    moving: tuple[str, ...]
    by_ip: Address | None = None

    @property
    def is_primary(self) -> bool:
        """Tell whether it owns data, or may be given some."""
        return "master" in self.flags

    @property
    def failing(self) -> bool:
        """Tell whether others take it for failed or nearly so, or do not know it yet."""
        return bool(self.flags & {"fail", "fail?", "handshake", "noaddr"})

    @property
    def place(self) -> str:
        """Its state in the cluster, to be compared: id, role, epoch, slots and moves."""
        role = "primary" if self.is_primary else f"replica of {self.primary_id}"
        return f"{self.id} {role} {self.epoch} {ranges(self.slots)} {' '.join(self.moving)}".strip()


def parse_nodes(reply: bytes, asked: Address) -> list[Member]:
    """
    Return the lines of a CLUSTER NODES reply from the node at *asked*.

    Raises:
        ValueError: A line is not as its command's page says, or not one of them is the node's own.
    """
    lines = reply.decode(errors="replace").splitlines()
    members = [_member(line.split(), asked) for line in lines if line.strip()]
    own = sum("myself" in member.flags for member in members)
    if own != 1:
        raise ValueError(f"{own} lines are the node's own")
    return members


def myself(members: Iterable[Member]) -> Member:
    """Return the line of the node that was asked."""
    return next(member for member in members if "myself" in member.flags)


def ranges(slots: Iterable[Range]) -> str:
    """Return slots as people write them: `0-5460, 5462`."""
    return ", ".join(f"{a}-{b}" if a != b else str(a) for a, b in slots) or "no slots"


def foreign_slots(owner: Member) -> list[int]:
    """Return the slots in which *owner* should hold nothing: neither its own nor coming to it."""
    own = set(_slots([owner]))
    own |= {int(mark[1:].partition("-")[0]) for mark in owner.moving}
    return [slot for slot in range(SLOTS) if slot not in own]


def redirected(members: Sequence[Member], message: str) -> Address | None:
    """
    Return where the node is that `MOVED <slot> <host>:<port>`, or `ASK ...`, points to.

    *members* are what the node that answered so says of its cluster. None: it is another answer,
    the node is none of them, or, for ASK, the slot is not on the move to it.

    An IPv6 address stands there without brackets; no host, or `?`, is not told.

    https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
    """
    words = message.split()
    if len(words) != 3 or words[0] not in {"MOVED", "ASK"} or not words[1].isdecimal():
        return None
    host, _, port = words[2].rpartition(":")
    untold, host = host in {"", "?"}, host.strip("[]")
    marks = [mark for text in myself(members).moving if (mark := _MARK.fullmatch(text))]
    takers = {mark[3] for mark in marks if int(mark[1]) == int(words[1]) and mark[2] == ">"}
    for member in members:
        if words[0] == "ASK" and member.id not in takers:
            continue
        for address in (member.address, member.by_ip):
            if address and str(address.port) == port and (untold or address.host == host):
                return member.address
    return None


def uncovered(owners: Iterable[Member]) -> list[Range]:
    """Return the slots that none of *owners* claims."""
    claimed = set(_slots(owners))
    return _runs(slot for slot in range(SLOTS) if slot not in claimed)


def contested(owners: Iterable[Member]) -> list[Range]:
    """Return the slots that more than one of *owners* claims."""
    return _runs(slot for slot, times in sorted(Counter(_slots(owners)).items()) if times > 1)


def _slots(owners: Iterable[Member]) -> Iterator[int]:
    """Yield each slot of each of *owners*."""
    for owner in owners:
        for first, last in owner.slots:
            yield from range(first, last + 1)


def _runs(slots: Iterable[int]) -> list[Range]:
    """Return ascending slots as ranges."""
    found: list[Range] = []
    for slot in slots:
        first = found.pop()[0] if found and found[-1][1] == slot - 1 else slot
        found.append((first, slot))
    return found


def silences(absent: Iterable[Member], reasons: Mapping[str, str]) -> list[str]:
    """Return sentences about owners that did not answer, for *reasons* by their ids."""
    return [
        f"the primary {member.address or member.id} of slots {ranges(member.slots)} "
        f"does not answer: {reasons[member.id]}"
        for member in absent
    ]


def disputes(said: Mapping[Address, Sequence[Member]]) -> list[str]:
    """Return where what a node said of another is not what that one says of itself."""
    own = {myself(members).id: (address, myself(members)) for address, members in said.items()}
    found = []
    for asked, members in said.items():
        for member in members:
            if member.id not in own:
                continue
            address, truth = own[member.id]
            if member.is_primary != truth.is_primary or member.slots != truth.slots:
                found.append(f"{asked} and {address} disagree about who owns what")
            elif member.failing:
                found.append(f"{asked} takes {address} for failing")
    return list(dict.fromkeys(found))


def gaps(owners: Sequence[Member], absent: Sequence[Member]) -> list[str]:
    """Return what is wrong with the sum of what *owners* claim; of *absent* ones others speak."""
    found = []
    if left := uncovered([*owners, *absent]):
        found.append(f"nobody owns the slots {ranges(left)}")
    if twice := contested(owners):
        found.append(f"more than one node claims the slots {ranges(twice)}")
    return found


def moves(owners: Mapping[Address, Member]) -> list[str]:
    """Return the slots that are being moved, as the movers say."""
    return [
        f"slots are being moved at {address}: {' '.join(owner.moving)}"
        for address, owner in owners.items()
        if owner.moving
    ]


def _member(words: list[str], asked: Address) -> Member:
    if len(words) < 8:
        raise ValueError(f"a line has {len(words)} words")
    node_id, where, flags, primary, _ping, _pong, epoch, link, *slots = words
    if max(map(len, (node_id, where, flags, primary))) > _LONGEST:
        raise ValueError("an id, an address or flags are too long")
    moving = tuple(word for word in slots if word.startswith("["))
    if not all(map(_MARK.fullmatch, moving)):
        raise ValueError("a slot is on the move in another way than to or from a node")
    mine = "myself" in flags
    return Member(
        id=node_id,
        address=_address(where, asked, mine=mine),
        flags=frozenset(flags.split(",")),
        primary_id=None if primary == "-" else primary,
        epoch=_number(epoch),
        connected=link == "connected",
        slots=tuple(_range(word) for word in slots if not word.startswith("[")),
        moving=moving,
        by_ip=_address(where.partition(",")[0], asked, mine=mine),
    )


def _range(word: str) -> Range:
    first, _, last = word.partition("-")
    found = _number(first), _number(last or first)
    if not 0 <= found[0] <= found[1] < SLOTS:
        raise ValueError("a range of slots is none")
    return found


def _number(word: str) -> int:
    if not re.fullmatch("[0-9]{1,20}", word):
        raise ValueError("an epoch or a slot is no number")
    return int(word)


def _address(where: str, asked: Address, *, mine: bool) -> Address | None:
    """
    Read where a node is reached: `ip:port@busport[,hostname[,name=value...]]`.

    An announced host name goes before the IP address, because certificates name hosts. A node that
    does not know its own address yet is where it was asked.
    """
    endpoint, *rest = where.split(",")
    host, _, port = endpoint.partition("@")[0].rpartition(":")
    hostname = rest[0] if rest and "=" not in rest[0] else ""
    best = hostname or host.strip("[]")
    if best in {"", "?"}:
        return asked if mine else None
    return Address(best, int(port)) if port.isdecimal() and 0 < int(port) < 65536 else None
