"""
Copies: says of the memory and the files of every server whether they still hold a key.

Places are inherited: a server that was seen once is one until it is declared gone (verdict 4).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from rotator.retirement.lineage import ORIGIN, Gone, gone_since
from rotator.retirement.looks import Look, as_primary
from rotator.retirement.persistence import aof_place, file_places, rdb_place
from rotator.retirement.places import Evidence, Kind, Place, Status
from rotator.retirement.replicas import (
    Server,
    caught_up,
    declared_place,
    replica_place,
    seen_writable,
    servers,
)
from rotator.text import listing


def copy_places(case: Evidence, gone: Mapping[str, Gone]) -> list[Place]:
    """Return the places that replicas and files of all servers are."""
    gone_at, found = gone_since(gone), list[Place]()
    if (only := case.declared.only) is not None:
        others = [one for one in only if one not in case.primaries]
        text = f"there are no replicas but {listing(others)}" if others else "there are no replicas"
        found.append(Place(Kind.REPLICA, "", Status.ASSUMED, f"{text} (replicas.only)"))
    primaries = {address: one.now for address, one in gone.items()}
    for known in servers(case.looks):
        address, looks = as_primary(known, primaries)
        if _ended(looks, case):
            where = looks[-1].address
            reason = case.declared.decommissioned.get(where, "replicas.only does not list it")
            text = f"{where} is gone: {reason}"
            found.append(Place(Kind.REPLICA, where, Status.ASSUMED, text))
            continue
        if address is not None:
            server = _as_primary(looks, gone[address], gone_at)
        else:
            server = _as_replica(looks, gone, gone_at)
            primary = _primary_of(looks[-1], gone)
            offset = primary.offset if primary else None
            told = [one for one in primaries.values() if one]
            if assumed := declared_place(server, told, case.declared.replicas):
                found += [assumed, rdb_place(server, case.declared, gone_at)]
                if any(one.facts.get("aof_enabled") != "0" for one in told):
                    found.append(aof_place(server, case.declared, gone_at))
                continue
            place = replica_place(server, primary.now if primary else None, offset)
            if not case.primaries and server.last.facts.get("role") == "master":
                place = _not_swept(place, case.cache)
            found.append(place)
            if place.status is Status.UNKNOWN:  # its files are not known either
                continue
        found += file_places(server, case.declared, gone_at)
    return found


def _not_swept(place: Place, cache: str) -> Place:
    """Return the place that a primary is in a cache of which no sweep has told the primaries."""
    evidence = f"{place.where} answers as a primary, and no sweep of it is known"
    return replace(place, evidence=evidence, remedy=f"run rotator for {cache}")


def _ended(looks: Sequence[Look], case: Evidence) -> bool:
    """Return whether the operator declares that there is no such server any more."""
    addresses = {one.address for one in looks}
    if addresses & {*case.primaries}:
        return False
    only, declared = case.declared.only, {*case.declared.decommissioned}
    gone = addresses <= declared and not _is_ours(looks[-1], case.looks, declared)
    return gone or (only is not None and not addresses & {*only})


def _is_ours(look: Look, looks: Sequence[Look], declared: Collection[str]) -> bool:
    """
    Return whether a server answers that was one of this cache, at an address *declared* gone.

    It has a history that others had, or was a process or node that had; else it is a stranger.
    """
    facts = look.facts
    if not facts:
        return False
    if not {"run_id", "master_replid"} <= set(facts):
        return True  # nobody knows
    histories = _histories(one for one in looks if one.address not in declared)
    ours = [one for one in looks if _histories([one]) & histories]
    known = {(one.facts.get("run_id"), "") for one in ours} | {("", one.node_id) for one in ours}
    same = {(facts["run_id"], ""), ("", look.node_id)} - {("", "")}
    return bool(_histories([look]) & histories or same & known)


def _histories(looks: Iterable[Look]) -> set[str]:
    """Return the replication ids that servers have, or had before they were promoted."""
    names = ("master_replid", "master_replid2")
    return {one.facts.get(name, ORIGIN) for one in looks for name in names} - {ORIGIN}


def _as_primary(looks: tuple[Look, ...], gone: Gone, gone_at: datetime | None) -> Server:
    """Return a primary, with the looks at its process from when the key was gone everywhere."""
    if gone_at is None or gone.first is None:
        return Server(looks)
    process = {(one.address, one.at) for one in gone.ancestry.process}
    good = [one for one in looks if (one.address, one.at) in process and one.at >= gone_at]
    earlier = [one for one in gone.ancestry.looks if (one.address, one.at) not in process]
    return Server(looks, tuple(good), any(one.at >= gone_at for one in earlier))


def _as_replica(
    looks: tuple[Look, ...], gone: Mapping[str, Gone], gone_at: datetime | None
) -> Server:
    """Return a server that is no primary now, with the looks at which it had caught up."""
    primary = _primary_of(looks[-1], gone)
    swept_at = [one.last.ended_at for one in gone.values() if one.last]
    late = looks[-1].at < max(swept_at, default=looks[-1].at)
    if primary is None or gone_at is None or late or seen_writable(looks):
        return Server(looks)
    after = [one for one in looks if one.at >= gone_at]
    return Server(looks, tuple(caught_up(after, primary.ancestry.looks, primary.offset)))


def _primary_of(look: Look, gone: Mapping[str, Gone]) -> Gone | None:
    """Return the primary whose history a replica follows."""
    history = look.facts.get("master_replid")
    for one in gone.values():
        if one.now and history and one.now.facts.get("master_replid") == history:
            return one
    return next(iter(gone.values())) if len(gone) == 1 else None
