"""
Replicas: tell the servers of a cache apart by their looks, and whether a replica's memory is clean.

A replica is asked itself. What its primary says of it, or WAIT, counts for nothing: both can be
told anything (verdict 1; info-facts C).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from rotator.retirement.looks import (
    Listed,
    Look,
    called_between,
    calls,
    counts_subcommands,
    number,
    reset_between,
    same_process,
)
from rotator.retirement.places import Kind, Place, Status, Verdict
from rotator.text import moment

NOT_LISTED = "names it, but it is not listed"
NO_PORT = "names it: a reader of the stream, or a replica without a port"
"""Why a server that another one names was not looked at."""
LOGIN_REFUSED = "refused the login"
_LATER = "max number|loading|LOADING|BUSY|MASTERDOWN|MISCONF"
_NOT_LET_IN = re.compile(rf" {LOGIN_REFUSED}: (?!{_LATER})|: [A-Z]+ failed: NOPERM ")
_PASSING = ("is loading", "has no link to its primary", "is synchronizing")
_ENDING_REPLICA = ("debug", "replicaof", "slaveof")
_ENDING_REPLICA_7 = ("cluster|replicate", "cluster|reset", "config|resetstat")
_AS_ITS_PRIMARY = "has what its primary has, and the key is not known to be gone there"


@dataclass(frozen=True, slots=True)
class Server:
    """
    Server: one server of a cache, by all the *looks* at it, the last one included.

    *good* are the last looks, of one process and without a break, whose memory is known to be
    clean. *began_clean*: its process began with data from after the key was gone.
    """

    looks: tuple[Look, ...]
    good: tuple[Look, ...] = ()
    began_clean: bool = False

    @property
    def name(self) -> str:
        """The address at which it was looked at last."""
        return self.looks[-1].address

    @property
    def last(self) -> Look:
        """The last look at it."""
        return self.looks[-1]

    @property
    def is_replica(self) -> bool:
        """True if it was a replica when it was looked at last."""
        return self.last.facts.get("role") == "slave"

    @property
    def clean(self) -> bool:
        """True if its memory is clean now."""
        return bool(self.good) and self.good[-1] is self.last


def servers(looks: Sequence[Look]) -> list[tuple[Look, ...]]:
    """
    Return the looks at each server: those at one address, of one node id or of one process.

    Where servers have changed their addresses, each has the looks at all of them, for nobody knows
    whose files are where.
    """
    groups: dict[int, list[int]] = {}
    owners: dict[tuple[str, str], int] = {}
    for place, look in enumerate(looks):
        names = {"address": look.address, "node": look.node_id, "run": look.facts.get("run_id")}
        known = [(kind, name) for kind, name in names.items() if name]
        alike = sorted({owners[name] for name in known if name in owners})
        owner = alike[0] if alike else place
        members = [one for group in alike for one in groups.pop(group)]
        groups[owner] = [*members, place]
        owners |= dict.fromkeys([one for one, at in owners.items() if at in alike], owner)
        owners |= dict.fromkeys(known, owner)
    found = [[looks[place] for place in sorted(group)] for group in groups.values()]
    return [tuple(group[: end + 1]) for group in found for end in _ends(group)]


def _ends(looks: Sequence[Look]) -> list[int]:
    """Return where the last look at each of the servers that share addresses is among *looks*."""
    here = {look.address: place for place, look in enumerate(looks)}  # the last at each address
    ends = []
    for address, place in here.items():
        known = [at for at, one in enumerate(looks) if one.address == address and not one.missing]
        moved = known and any(_is_same(looks[known[-1]], one) for one in looks[known[-1] + 1 :])
        if not moved:
            ends.append(place)
    return ends


def _is_same(one: Look, other: Look) -> bool:
    """Return whether both are of one node or process."""
    return same_process(one, other) or bool(one.node_id and one.node_id == other.node_id)


class Addresses(Protocol):
    """Addresses: tell which of them are those of one server, as far as names resolve."""

    def numeric(self, address: str) -> frozenset[str]:
        """Return `ip:port` for each IP address of a `host:port`."""

    def same(self, address: str, others: Iterable[str]) -> bool:
        """Return whether *address* is, or reaches, one of *others*."""


def strangers(look: Look, looks: Mapping[str, Look], names: Addresses) -> list[Listed]:
    """
    Return the replicas that a server lists and that are none of those in *looks*, by address.

    They are known by their addresses, or else, behind address translation, because as many that
    were asked follow this server as it counts, all of them online (verdict 8). One that it counts
    and does not list has port 0, as a reader of the stream has.
    """
    lines = [line for line in look.listed if line.type != "rdb-channel"]
    counted = number(look, "connected_slaves") or 0
    if counted > len(look.listed):
        lines.append(Listed(f"{look.address.rpartition(':')[0]}:0"))
    unmet = [one for one in lines if _has_no_port(one) or not names.same(one.address, looks)]
    online = all(line.state == "online" for line in lines) and counted == len(look.listed)
    if unmet and online and len(followers(look, looks, names)) == len(lines):
        return []
    return unmet


def _has_no_port(line: Listed) -> bool:
    return line.address.endswith(":0")


def followers(look: Look, looks: Mapping[str, Look], names: Addresses) -> list[Look]:
    """
    Return the replicas among *looks* that follow a server itself, and not another replica of it.

    They name it as their primary, be it by an address of an inner network, which is then that of no
    other server that is known.
    """
    own = look.facts.get("run_id")
    others = [at for at, one in looks.items() if one.facts.get("run_id") != own]
    others += [line.address for one in looks.values() for line in one.listed]
    found: dict[str, Look] = {}
    for one in looks.values():
        host, port = one.facts.get("master_host", ""), one.facts.get("master_port", "")
        above = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        direct = names.same(above, [look.address]) or (
            names.numeric(above) and not names.same(above, others)
        )
        process = one.facts.get("run_id")
        if process and process != own and direct and _is_in_step(one, look):
            found.setdefault(process, one)
    return list(found.values())


def stand_in(address: str, looks: Mapping[str, Look], names: Addresses) -> Look | None:
    """Return a look at the listed server that a server which is only named turns out to be."""
    for look in looks.values():
        if any(line.address == address for line in look.listed):
            those = followers(look, looks, names)
            return replace(those[0], address=address) if those else None
    return None


def _is_in_step(replica: Look, primary: Look) -> bool:
    """Return whether a replica is connected and of the same history as *primary*."""
    fact, history = replica.facts.get, primary.facts.get("master_replid")
    up = fact("master_link_status") == "up" and fact("master_sync_in_progress") == "0"
    return fact("role") == "slave" and up and bool(history) and fact("master_replid") == history


def has_caught_up(replica: Look, goals: Mapping[str, int], *, told: bool = True) -> bool:
    """
    Return whether a replica has all up to the offset of its history among *goals*.

    Unless *told*, the link to its primary is enough where there is none.
    """
    goal = goals.get(replica.facts.get("master_replid", ""))
    if replica.facts.get("master_link_status") != "up":
        return False
    reached = number(replica, "slave_repl_offset")
    return not told if goal is None else reached is not None and reached >= goal


def offsets(looks: Iterable[Look]) -> dict[str, int]:
    """Return how far the streams of primaries are, in bytes, by replication id."""
    return {
        look.facts["master_replid"]: number(look, "master_repl_offset") or 0
        for look in looks
        if look.facts.get("role") == "master" and "master_replid" in look.facts
    }


def why_not_follows(replica: Look, primary: Look, offset: int | None) -> str | None:
    """
    Return why a replica is not known to have all up to *offset* of *primary*; None: it has.

    On either, DEBUG may have loaded another file at any time, which is not in the stream and leaves
    the offset what it is (info-facts A); a reset of the counters hides that.
    """
    fact = replica.facts.get
    wrong = {
        "is no replica now": fact("role") != "slave",
        _PASSING[0]: fact("loading") != "0" or fact("async_loading", "0") != "0",
        _PASSING[1]: fact("master_link_status") != "up",
        _PASSING[2]: fact("master_sync_in_progress") != "0",
        "can be written to (replica-read-only no)": fact("slave_read_only") != "1",
        "follows another history than its primary": (
            not fact("master_replid") or fact("master_replid") != primary.facts.get("master_replid")
        ),
        "may have loaded a file by DEBUG (see its commandstats): restart it": (
            _may_have_loaded(replica)
        ),
        "has a primary that may have loaded a file by DEBUG (see its commandstats)": (
            _may_have_loaded(primary)
        ),
    }
    if why := next((sentence for sentence, is_so in wrong.items() if is_so), None):
        return why
    if offset is None:
        return _AS_ITS_PRIMARY
    reached = number(replica, "slave_repl_offset")
    if reached is None:
        return "does not say how far it has replicated"
    return f"is {offset - reached:,} bytes behind" if reached < offset else None


def _may_have_loaded(look: Look) -> bool:
    """Return whether DEBUG was called in this process, or may have been."""
    reset = counts_subcommands(look) and calls(look, "config|resetstat") != 0
    return reset or calls(look, "debug") != 0


def caught_up(looks: Sequence[Look], primaries: Sequence[Look], offset: int | None) -> list[Look]:
    """
    Return the last looks at a replica, without a break, at which it had all up to *offset*.

    *primaries* are looks at the primary; each is compared with that of its own time.
    """
    good: list[Look] = []
    for look in looks:
        nearest = [one for one in primaries if one.at <= look.at][-1:] or list(primaries[:1])
        if not nearest or why_not_follows(look, nearest[0], offset):
            good = []
        elif good and _interrupted(good[-1], look):
            good = [look]
        else:
            good.append(look)
    return good


def _interrupted(before: Look, after: Look) -> bool:
    """Return whether a replica may have been something else in between."""
    named = _ENDING_REPLICA_7 if counts_subcommands(after) else ()
    called = called_between(before, after, *_ENDING_REPLICA, *named)
    return called or not same_process(before, after) or reset_between(before, after) is not None


def seen_writable(looks: Sequence[Look]) -> bool:
    """Return whether this process was a replica with writes of its own: they are in no stream."""
    mine = [one.facts for one in looks if same_process(one, looks[-1])]
    return any(one.get("role") == "slave" and one.get("slave_read_only") != "1" for one in mine)


def replica_place(server: Server, primary: Look | None, offset: int | None) -> Place:
    """Return the place that a replica's memory is; *offset* is the primary's when it was clean."""
    last, where = server.last, server.name
    if last.missing:
        before = [one for one in server.looks if not one.missing]
        seen = f"; it was last seen {moment(before[-1].at)}" if before else ""
        evidence = f"{where} was not looked at: {last.missing}{seen}"
        remedy = "run again when it can be reached, or declare it decommissioned"
        if _NOT_LET_IN.search(last.missing):
            remedy = f"create the user on {where} with the same password and rights, then run again"
        elif last.missing.endswith(NOT_LISTED):
            remedy = "add it to replicas, or declare `replicas: announced`, then run again"
        elif last.missing.endswith(NO_PORT):
            remedy = "declare `replicas: {only: [...]}` with those that exist, then run again"
        return Place(Kind.REPLICA, where, Status.UNKNOWN, evidence, Verdict.UNKNOWN, None, remedy)
    if server.clean:
        evidence = f"replica {where} has all that its primary had when the key was gone"
        return Place(Kind.REPLICA, where, Status.CLEAN, evidence, since=server.good[0].at)
    if last.facts.get("role") == "master":
        evidence = f"{where} was part of this cache earlier, and is now a primary on its own"
        remedy = "make it a replica again, or declare it decommissioned"
        return Place(Kind.REPLICA, where, Status.UNKNOWN, evidence, Verdict.UNKNOWN, None, remedy)
    why = "has no known primary" if primary is None else why_not_follows(last, primary, offset)
    if why is None and seen_writable(server.looks):
        evidence = f"replica {where} could be written to earlier (replica-read-only no)"
        remedy = f"stop {where}, remove its files, start it again, then run again"
        return Place(Kind.REPLICA, where, Status.HOLDING, evidence, Verdict.HELD, last.at, remedy)
    evidence = f"replica {where} {why or 'has not been looked at since the key was gone'}"
    remedy = "run again" if why == _AS_ITS_PRIMARY else f"run again when {where} has caught up"
    place = Place(Kind.REPLICA, where, Status.HOLDING, evidence, Verdict.HELD, last.at, remedy)
    return replace(place, passes=why is None or why in _PASSING or why.endswith(" behind"))


def declared_place(server: Server, primaries: Sequence[Look], reason: str | None) -> Place | None:
    """
    Return the place of a replica that cannot be asked, where it is declared that its primary may.

    None: it was asked, no such thing is declared, or no primary says that it is online.
    """
    where = server.name
    online = {one.address for look in primaries for one in look.listed if one.state == "online"}
    if reason is None or not server.last.missing or where not in online:
        return None
    evidence = f"replica {where} has what its primary says it has: {reason}"
    return Place(Kind.REPLICA, where, Status.ASSUMED, evidence)
