"""
Lineage: keeps looks and proofs, and says whether the history of a server's data goes on.

A look is what one server said of itself at one moment; a proof is one primary swept in one go, by a
sweep that only read. Both are kept as they were, and every rule here is a function of two looks. A
field that is missing equals nothing: what cannot be told does not go on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from rotator.tally.tally import Outcome

FACTS = (
    *("run_id", "redis_version", "valkey_version", "uptime_in_seconds"),
    *("role", "master_replid", "master_replid2", "master_repl_offset", "second_repl_offset"),
    *("slave_repl_offset", "slave_read_only", "master_link_status", "master_sync_in_progress"),
    *("master_host", "master_port", "connected_slaves"),
    *("total_commands_processed", "total_net_repl_input_bytes", "expired_keys", "evicted_keys"),
    *("loading", "async_loading", "rdb_bgsave_in_progress", "rdb_last_save_time", "rdb_saves"),
    *("rdb_last_bgsave_status", "rdb_last_bgsave_time_sec", "rdb_changes_since_last_save"),
    *("rdb_last_load_keys_loaded", "rdb_last_load_keys_expired", "aof_enabled"),
    *("aof_rewrite_in_progress", "aof_rewrite_scheduled", "aof_last_bgrewrite_status"),
    *("aof_base_size", "aof_current_size", "aof_rewrites", "cluster_enabled"),
)
"""The fields of INFO that a look keeps (https://redis.io/docs/latest/commands/info/)."""


@dataclass(frozen=True, slots=True)
class Listed:
    """Listed: a replica as the INFO of a server names it, at `host:port`; port 0 is none."""

    address: str
    state: str = ""
    type: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """
    Look: holds what one server said of itself at one moment.

    *facts* are those of `FACTS` that INFO showed. *calls* counts the commands that were called, by
    their names in commandstats (`config|set`); None: INFO has no such section. *own_config* is how
    often we sent CONFIG after the counters were read. *settings* are `save`, `dir`, `dbfilename`,
    as far as CONFIG GET may be asked. Of a node of a cluster, *node_id*, *epoch* and *slots* are
    its own line of CLUSTER NODES; *slots* are ranges, `0-5460, 5462`. *listed* are its replicas.
    *backups* is how many sealed backups it holds, None where it has no such command, -1 where that
    cannot be told. *missing* says why the server was not asked, or did not answer: nothing else is
    known then; *named_by* is who named it, empty for a configured address or a cluster's member.
    """

    address: str
    at: datetime
    facts: Mapping[str, str] = field(default_factory=dict)
    calls: Mapping[str, int] | None = None
    own_config: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)
    node_id: str = ""
    epoch: int | None = None
    slots: str = ""
    listed: tuple[Listed, ...] = ()
    backups: int | None = None
    missing: str = ""
    named_by: str = ""


@dataclass(frozen=True, slots=True)
class Outside:
    """
    Outside: counts names that `match` and `databases` leave out.

    *under_old_keys* counts values by the id of the old key. *visits* None: they were not read, as
    declared; *names* is then how many there are.
    """

    visits: int | None = 0
    under_old_keys: Mapping[str, int] = field(default_factory=dict)
    not_opened: int = 0
    denied: int = 0
    names: int = 0


@dataclass(frozen=True, slots=True)
class Proof:
    """
    Proof: one primary, at *node*, swept in one go and only read, from *before* to *after*.

    *basis* is a digest of the current key, the formats and the scope. *met* counts the values under
    each old key that was known, also those of which none was met. *opened* counts the values that
    any key opened. *hidden* counts names in slots that are not the node's. *doubt* says why its
    times are not to be relied on.
    """

    node: str
    before: Look
    after: Look
    basis: str
    met: Mapping[str, int]
    opened: int = 0
    open_items: Mapping[Outcome, int] = field(default_factory=dict)
    outside: Outside = Outside()
    hidden: int = 0
    doubt: str | None = None

    @property
    def begun_at(self) -> datetime:
        """The time at which the sweep began."""
        return self.before.at

    @property
    def ended_at(self) -> datetime:
        """The time at which the sweep had ended."""
        return self.after.at


CANARY_CALLS = 20
"""How often the canary is called: a reset of the counters takes it away (verdict 2.3)."""

_ORIGIN = "0" * 40  # a replication id that is none
_MOVES_ROLES = (
    *("replicaof", "slaveof", "failover"),
    *("cluster|failover", "cluster|replicate", "cluster|reset"),
)


def number(look: Look, fact: str) -> int | None:
    """Return a field of INFO as a number; None where it is missing or none."""
    text = look.facts.get(fact, "")
    return int(text) if text.lstrip("-").isdecimal() else None


def is_valkey(look: Look) -> bool:
    """Return whether the server is Valkey."""
    return "valkey_version" in look.facts


def version(look: Look) -> tuple[int, ...]:
    """Return the server's version, `(7, 0, 15)`; empty, the least of all, if it does not say."""
    text = look.facts.get("valkey_version") or look.facts.get("redis_version", "")
    return tuple(int(part) for part in text.split(".") if part.isdecimal())


def counts_subcommands(look: Look) -> bool:
    """Return whether commandstats tells `config|set` from `config|get`: from 7.0 (info-facts D)."""
    return version(look) >= (7,)


def calls(look: Look, *commands: str) -> int | None:
    """Return how often *commands* were called, together; None where that is not told."""
    if look.calls is None:
        return None
    if not counts_subcommands(look) and any("|" in command for command in commands):
        return None
    return sum(look.calls.get(command, 0) for command in commands)


def called_between(before: Look, after: Look, *commands: str) -> bool:
    """Return whether any of *commands* was called in between, or may have been."""
    earlier, later = calls(before, *commands), calls(after, *commands)
    return earlier is None or later is None or earlier != later


def config_set_between(before: Look, after: Look) -> bool:
    """Return whether a setting may have been changed in between; before 7.0 by all CONFIG calls."""
    if counts_subcommands(after):
        return called_between(before, after, "config|set")
    earlier, later = calls(before, "config"), calls(after, "config")
    return earlier is None or later is None or later - earlier != before.own_config


def canary(look: Look) -> int:
    """Return how often the canary was called, as far as the counters tell."""
    return calls(look, "cluster|myid" if counts_subcommands(look) else "cluster") or 0


def reset_between(before: Look, after: Look) -> str | None:
    """
    Return why the counters may have begun anew in between; None: they have not.

    CONFIG RESETSTAT is counted itself, after the reset: where it has no calls there was none. But
    it hides an earlier one, and so the canary has to be there (info-facts D).
    """
    if before.calls is None or after.calls is None:
        return "INFO shows no commandstats"
    totals = [(number(one, "total_commands_processed") or 0) for one in (before, after)]
    shrunk = any(after.calls.get(name, 0) < count for name, count in before.calls.items())
    reset = counts_subcommands(after) and called_between(before, after, "config|resetstat")
    if totals[1] < totals[0] or shrunk or reset:
        return "its counters were reset"
    ever = calls(after, "config|resetstat" if counts_subcommands(after) else "config") != 0
    if ever and canary(before) < CANARY_CALLS:
        return "a reset of its counters could not be seen: +cluster|myid ends this"
    return None


def same_process(before: Look, after: Look) -> bool:
    """Return whether both are of one process: the run id is there, and the same."""
    run_id = before.facts.get("run_id")
    return bool(run_id) and run_id == after.facts.get("run_id")


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
    unnumbered = after.facts.get("cluster_enabled") == "1" and after.epoch is None
    if unnumbered or before.epoch != after.epoch or not covers(before.slots, after.slots):
        return "its slots or its epoch changed"
    same = before.facts.get("master_replid") == after.facts.get("master_replid")
    return None if same else _history_changed(before, after)


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
    if after.facts.get("master_replid2") != _ORIGIN:
        return changed
    if not counts_subcommands(after):
        clustered = after.facts.get("cluster_enabled") != "0"
        moved = called_between(before, after, "replicaof", "slaveof", "failover")
        return changed if clustered or moved or config_set_between(before, after) else None
    read = [number(one, "total_net_repl_input_bytes") for one in (before, after)]
    if called_between(before, after, *_MOVES_ROLES) or None in read or read[0] != read[1]:
        return changed
    return None


def goes_on_from(noted: Look, now: Look) -> bool:
    """Return whether another process has all that *noted* had, and what came later (rule 3)."""
    earlier, later = number(noted, "master_repl_offset"), number(now, "second_repl_offset")
    history = now.facts.get("master_replid2")
    if history in {None, _ORIGIN} or history != noted.facts.get("master_replid"):
        return False
    return earlier is not None and later is not None and later > earlier


def covers(before: str, after: str) -> bool:
    """Return whether all slots of *after* were there *before*; both are ranges."""
    return not _slots(after) - _slots(before)


def _slots(text: str) -> set[int]:
    """Return the slots of `0-5460, 5462`."""
    found: set[int] = set()
    for part in text.split(", "):
        first, _, last = part.partition("-")
        if first.isdecimal():
            found.update(range(int(first), int(last or first) + 1))
    return found


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
    return next(
        number
        for number in range(len(looks) - 1, -1, -1)
        if looks[number].at == look.at and looks[number].address == look.address
    )


def _before(looks: tuple[Look, ...], first: Look, *, one_server: bool) -> tuple[list[Look], str]:
    """Return the looks of another process whose data *first* has, or later data (rule 3)."""
    nowhere = "another process answers, and not from later data"
    earlier = looks[: _index(looks, first)]
    as_replica = [one for one in earlier if same_process(one, first) and _is_replica(one)]
    if as_replica and not _followed_only(as_replica, first):
        return [], "a replica was promoted that may have had data of its own"
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

    A replica that nobody saw before it was promoted may have been writable. Before 7.0 a file does
    not say whose it is (info-facts A).
    """
    others = (*_MOVES_ROLES, "debug", "config|resetstat")
    alone = number(first, "total_net_repl_input_bytes") == 0
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
