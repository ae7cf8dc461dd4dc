"""
Lineage: says whether the history of a server's data goes on, and since when a key is gone from it.

Every rule here is a function of two looks: what cannot be told does not go on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.retirement.looks import (
    Look,
    Proof,
    called_between,
    calls,
    config_set_between,
    counts_subcommands,
    number,
    reset_between,
    same_process,
)
from rotator.retirement.places import Evidence
from rotator.tally.tally import BLOCKING
from rotator.text import add_clamped

ORIGIN = "0" * 40
"""A replication id that is none."""
_INPUT = "total_net_repl_input_bytes"
_MOVES_ROLES = (
    *("replicaof", "slaveof", "failover"),
    *("cluster|failover", "cluster|replicate", "cluster|reset"),
)


def broken_between(before: Look, after: Look, *, one_server: bool = False) -> str | None:
    """
    Return why a primary's data may have been exchanged between two looks; None: they were not.

    The rules 1 and 2 of verdict 4. *one_server* is declared, and stands in for what is missing.
    """
    if why := _other_process(before, after, one_server=one_server):
        return why
    if not (one_server and before.calls is None and after.calls is None):
        if why := reset_between(before, after):
            return why
        if called_between(before, after, "debug"):
            return "DEBUG was called"
    untold = after.facts.get("cluster_enabled") == "1" and after.epoch is None
    if untold or before.epoch != after.epoch or not covers(before.slots, after.slots):
        return "its slots or its epoch changed"
    if before.facts.get("master_replid") != after.facts.get("master_replid"):
        return _history_changed(before, after)
    # An import of slots that is broken off leaves no other trace.
    read = number(before, _INPUT) != number(after, _INPUT)
    return "it may have read data from another server" if read else None


def _other_process(before: Look, after: Look, *, one_server: bool) -> str | None:
    """Return why it may not be one process, and a primary; None: it is."""
    known = [{"run_id", "master_replid"} <= set(one.facts) for one in (before, after)]
    if not all(known) and not (one_server and not any(known)):
        return "it does not say who it is"
    if all(known) and not same_process(before, after):
        return "another process answers"
    if {before.facts.get("role"), after.facts.get("role")} != {"master"}:
        return "it was a replica"
    return None


def _history_changed(before: Look, after: Look) -> str | None:
    """Return whether another replication id may mean other data (rule 2); None: a replica came."""
    changed = "its replication history changed"
    if after.facts.get("master_replid2") != ORIGIN:
        return changed
    if not counts_subcommands(after):
        clustered = after.facts.get("cluster_enabled") != "0"
        moved = called_between(before, after, "replicaof", "slaveof", "failover")
        return changed if clustered or moved or config_set_between(before, after) else None
    read = [number(one, _INPUT) for one in (before, after)]
    moved = None in read or read[0] != read[1] or called_between(before, after, *_MOVES_ROLES)
    return changed if moved else None


def goes_on_from(noted: Look, now: Look) -> bool:
    """Return whether another process has all that *noted* had, and what came later (rule 3)."""
    earlier, later = number(noted, "master_repl_offset"), number(now, "second_repl_offset")
    history = now.facts.get("master_replid2")
    if history in {None, ORIGIN} or history != noted.facts.get("master_replid"):
        return False
    return earlier is not None and later is not None and later > earlier


def covers(before: str, after: str) -> bool:
    """Return whether all slots of *after*, ranges such as `0-5460, 5462`, were there *before*."""
    return not _slots(after) - _slots(before)


def _slots(text: str) -> set[int]:
    ends = [part.partition("-") for part in text.split(", ") if part[:1].isdecimal()]
    return {slot for a, _, b in ends for slot in range(int(a), int(b or a) + 1)}


@dataclass(frozen=True, slots=True)
class Ancestry:
    """
    Ancestry: the looks, in their order, whose data the last one still has; *why* it begins there.

    *process* are those of the last one's process, and the last.
    """

    looks: tuple[Look, ...] = ()
    process: tuple[Look, ...] = ()
    why: str = ""

    def has(self, look: Look) -> bool:
        """Return whether the data of *look* lives on."""
        return any(one.at == look.at and one.address == look.address for one in self.looks)


def ancestry(looks: tuple[Look, ...], now: Look, *, one_server: bool = False) -> Ancestry:
    """
    Return the looks whose data *now* still has: `clean_since` survives from each (verdict 4).

    *looks* are of all servers of the cache, in the order in which they were taken.
    """
    found, why = _unbroken(looks, now, one_server=one_server)
    process = tuple(found)
    while not why:
        earlier, why = _before(looks, found[0], one_server=one_server)
        found = [*earlier, *found]
    return Ancestry(tuple(found), process, why)


def _unbroken(looks: tuple[Look, ...], now: Look, *, one_server: bool) -> tuple[list[Look], str]:
    """
    Return the last looks of the process of *now* as a primary, without a break, and what broke it.

    Empty: before them it was a replica, or there are no looks.
    """
    alike = [
        one
        for one in looks[: _index(looks, now) + 1]
        if not one.missing
        and (same_process(one, now) or (one_server and one.address == now.address))
    ]
    if not alike:
        return [now], "it does not say who it is"
    found = alike[-1:]
    for before, after in zip(alike[-2::-1], alike[:0:-1], strict=True):
        if _is_replica(before):
            break
        if why := broken_between(before, after, one_server=one_server):
            return found, why
        found.insert(0, before)
    return found, ""


def _index(looks: tuple[Look, ...], look: Look) -> int:
    """Return the place of *look* among *looks*."""
    known = look.at, look.address
    return max(place for place, one in enumerate(looks) if (one.at, one.address) == known)


def _before(looks: tuple[Look, ...], first: Look, *, one_server: bool) -> tuple[list[Look], str]:
    """Return the looks of another process whose data *first* has, or later data (rule 3)."""
    nowhere = "another process answers, and its data may be older"
    earlier = looks[: _index(looks, first)]
    as_replica = [one for one in earlier if same_process(one, first) and _is_replica(one)]
    if as_replica and not _followed_only(as_replica, first):
        return [], "a replica was promoted that may have had other data"
    if not as_replica and not restarted_only(first):
        return [], nowhere
    for noted in reversed(earlier):
        if _is_replica(noted) or not goes_on_from(noted, first):
            continue
        as_primary = [one for one in earlier if same_process(one, noted) and not _is_replica(one)]
        segment, why = _unbroken(looks, as_primary[-1], one_server=one_server)
        if noted not in segment or not covers(noted.slots, first.slots):
            return [], nowhere
        return segment[: segment.index(noted) + 1], why
    return [], nowhere


def _followed_only(as_replica: Sequence[Look], promoted: Look) -> bool:
    """Return whether a replica never had data but those of its primary, until it was promoted."""
    since = as_replica[0]
    if any(one.facts.get("slave_read_only") != "1" for one in as_replica):
        return False
    changed = called_between(since, promoted, "debug") or config_set_between(
        as_replica[-1], promoted
    )
    return not changed and reset_between(since, promoted) is None


def restarted_only(first: Look) -> bool:
    """
    Return whether a process has what it found in its file at the start, and what came to it since.

    One that was promoted unseen may have been writable; before 7.0 no file says whose it is.
    """
    others = (*_MOVES_ROLES, "debug", "config|resetstat")
    alone = number(first, _INPUT) == 0
    return counts_subcommands(first) and alone and calls(first, *others) == 0


def _is_replica(look: Look) -> bool:
    return look.facts.get("role") == "slave"


def same_lineage(noted: Sequence[Look], now: Sequence[Look]) -> bool:
    """
    Return whether primaries hold the data of a lineage: by a process or a history noted before.

    In a cluster it is the same while most of its primaries' node ids are known.
    """
    if nodes := [one.node_id for one in now if one.node_id]:
        known = {one.node_id for one in noted}
        return 2 * len([one for one in nodes if one in known]) > len(nodes)
    runs = {one.facts.get("run_id") for one in noted} - {None}
    histories = {one.facts.get("master_replid") for one in noted} - {None}
    facts = [one.facts for one in now]
    return any(one.get("run_id") in runs or one.get("master_replid2") in histories for one in facts)


@dataclass(frozen=True, slots=True)
class Gone:
    """
    Gone: says since when a key is proven to be gone from one primary, and how that began.

    *now* is the last look at the primary, if there is one; *ancestry* those whose data it still
    has. Of the proofs that count, *again* is one that began after the quiet time.
    """

    now: Look | None
    ancestry: Ancestry
    first: Proof | None = None
    last: Proof | None = None
    again: Proof | None = None

    @property
    def offset(self) -> int | None:
        """The length of the primary's stream of writes when the key was gone, in bytes."""
        return number(self.first.after, "master_repl_offset") if self.first else None

    @property
    def same_process(self) -> bool:
        """True if the process that answers now is the one that the last proof found."""
        if self.now is None or self.last is None:
            return False
        ids = {one.facts.get("run_id") for one in (self.now, self.last.after)}
        return len(ids) == 1  # without one, as is declared, it is taken for the same


def gone_from(case: Evidence, quiet: timedelta) -> dict[str, Gone]:
    """Return since when the key is gone from each primary, by its address."""
    fence, met_at, found = case.in_force, _last_met(case), dict[str, Gone]()
    for address in case.primaries:
        looks = [one for one in case.looks if one.address == address]
        if not looks or looks[-1].facts.get("role") != "master":  # it did not answer, or follows
            found[address] = Gone(None, Ancestry())
            continue
        line = ancestry(case.looks, looks[-1], one_server=case.declared.identity is not None)
        proofs = [one for one in case.proofs if line.has(one.after)]
        good = [
            one
            for place, one in enumerate(proofs)
            if case.key_id in one.met
            and one.basis == case.basis
            and not one.doubt
            and (met_at is None or one.begun_at > met_at)
            and (fence is None or one.begun_at >= fence.at)
            and _stands_for(proofs[place:], case)
        ]
        first, last = (good[0], good[-1]) if good else (None, None)
        calm_at = add_clamped(first.ended_at, quiet) if first else None
        again = [one for one in good[1:] if calm_at is not None and one.begun_at >= calm_at]
        found[address] = Gone(looks[-1], line, first, last, again[0] if again else None)
    return found


def gone_since(gone: Mapping[str, Gone]) -> datetime | None:
    """Return since when the key is gone from all primaries; None: it is not known to be."""
    ends = [one.first.ended_at if one.first else None for one in gone.values()]
    known = [at for at in ends if at]
    return max(known) if known and len(known) == len(ends) else None


def _last_met(case: Evidence) -> datetime | None:
    """Return when anything met the key last, within the scope or outside of it, or may have."""
    proofs = [
        one.ended_at
        for one in case.proofs
        if one.met.get(case.key_id) or one.outside.under_old_keys.get(case.key_id)
    ]
    return max((at for at in (case.last_seen_at, case.lost_at, *proofs) if at), default=None)


def _stands_for(proofs: Sequence[Proof], case: Evidence) -> bool:
    """
    Return whether the first of *proofs* looked at all that the last one did, and no less later.

    What could not be opened, and is not there now, may be in files that were saved meanwhile: it
    counts as open until as many are accepted (verdict 1).
    """
    first, last = proofs[0], proofs[-1]
    accepted = case.latest.accepted if case.latest else {}
    known = [
        ([one.open_items.get(outcome, 0) for one in proofs], accepted.get(outcome, 0))
        for outcome in BLOCKING
    ]
    if last.outside.visits is not None:
        if first.outside.visits is None:  # as was declared then
            return False
        shut = [one.outside.not_opened + one.outside.denied for one in proofs]
        known.append((shut, case.declared.outside_accepted or 0))
    if not last.hidden and any(one.hidden for one in proofs):
        return False
    return all(
        counts[-1] <= counts[0] and max(counts) <= max(counts[-1], most) for counts, most in known
    )
