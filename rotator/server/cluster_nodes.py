"""
CLUSTER NODES: reads and compares what the nodes of a cluster say about each other; pure.

Only a node's own line (`myself`) is authoritative about its slots and its epoch; gossip about
others lags, and slots being moved stand on the mover's own line alone (redis-rules 1.3 and 1.5).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rotator.config.types import Address

SLOTS = 16384

Range = tuple[int, int]  # first and last slot, both included


@dataclass(frozen=True, slots=True)
class Member:
    """
    Member: one line of CLUSTER NODES (https://redis.io/docs/latest/commands/cluster-nodes/).

    *address* is None where the node does not say where it listens. *moving* holds the markers of
    slots that are being moved, as they stand: `[93->-id]`, `[93-<-id]`.
    """

    id: str
    address: Address | None
    flags: frozenset[str]
    primary_id: str | None
    epoch: int
    connected: bool
    slots: tuple[Range, ...]
    moving: tuple[str, ...]

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
    """Return the lines of a CLUSTER NODES reply from the node at *asked*."""
    return [_member(line.split(), asked) for line in reply.decode().splitlines() if line.strip()]


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


def redirection(message: str, asked: Address) -> Address | None:
    """
    Return the address that the answer `MOVED <slot> <host>:<port>`, or `ASK ...`, points to.

    An IPv6 address stands there without brackets; no host, or `?`, is that of *asked*, the node
    that answered. None: it is another answer.

    https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
    """
    words = message.split()
    if len(words) != 3 or words[0] not in {"MOVED", "ASK"}:
        return None
    host, _, port = words[2].rpartition(":")
    host = host.strip("[]")
    return Address(asked.host if host in {"", "?"} else host, int(port))


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
    node_id, where, flags, primary, _ping, _pong, epoch, link, *slots = words
    return Member(
        id=node_id,
        address=_address(where, asked, mine="myself" in flags),
        flags=frozenset(flags.split(",")),
        primary_id=None if primary == "-" else primary,
        epoch=int(epoch),
        connected=link == "connected",
        slots=tuple(_range(word) for word in slots if not word.startswith("[")),
        moving=tuple(word for word in slots if word.startswith("[")),
    )


def _range(word: str) -> Range:
    first, _, last = word.partition("-")
    return int(first), int(last or first)


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
    return Address(best, int(port)) if port.isdigit() and int(port) else None
