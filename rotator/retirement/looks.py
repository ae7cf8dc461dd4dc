"""
Looks: keep what servers said of themselves, and what sweeps proved; read one, or compare two.

A look is what one server said at one moment; a proof is one primary swept in one go, by a sweep
that only read. Both are kept as they were. A field that is missing equals nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

from rotator.tally.tally import Outcome

# Those of the next that CLIENT TRACKING reports by name (redis-rules 1.3): whoever reads again what
# was reported has missed nothing because of them.
TRACKED_COMMANDS = ("rename", "renamenx", "copy", "move", "restore", "restore-asking", "migrate")
# Commands that put a value under a name the scan may have passed already, or that replace the data.
DATA_MOVING_COMMANDS = (
    *TRACKED_COMMANDS,
    *("swapdb", "flushdb", "flushall", "debug", "replicaof", "slaveof", "failover"),
    *("cluster|failover", "cluster|replicate", "cluster|reset", "cluster|flushslot"),
    *("cluster|setslot", "cluster|syncslots", "cluster|migration", "cluster|migrateslots"),
    "config|resetstat",
)
# After each of these, and after nothing else, a server reports "everything" as written.
FLUSHING_COMMANDS = ("flushdb", "flushall", "swapdb")
# Those that take values from one name or database of the node to another, or away: once every
# value of the node was seen they hide none, while RESTORE may bring one from another node.
NODE_LOCAL_COMMANDS = ("rename", "renamenx", "copy", "move", "swapdb", "flushdb", "flushall")
NOTHING: tuple[str, ...] = ()
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
    *("aof_last_rewrite_time_sec", "aof_base_size", "aof_current_size", "aof_rewrites"),
    "cluster_enabled",
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
    *canary_found* is how often the canary was counted before it was called for this look, None if
    it was not called. *measures* are fields of INFO that no verdict goes by.
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
    canary_found: int | None = None
    measures: Mapping[str, str] = field(default_factory=dict)


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


_LONGEST_WRITE_SECONDS, _SHORTEST_WRITE_SECONDS = 60.0, 2.0  # that a file is waited for
UNSEEN_RESET = "a reset of its counters could not be seen"
"""Why looks prove nothing while the canary may not be called."""
CANARY_CALLS = 20
"""How often the canary is called: a reset of the counters takes it away (verdict 2.3)."""


def number(look: Look, fact: str) -> int | None:
    """Return a field of INFO as a number; None where it is missing or none."""
    text = look.facts.get(fact, "")
    return int(text) if text.lstrip("-").isdecimal() else None


def is_valkey(look: Look) -> bool:
    """Return whether the server is Valkey."""
    return "valkey_version" in look.facts


def version(look: Look) -> tuple[int, ...]:
    """Return the server's version, `(7, 0, 15)`; empty, the least of all, if it does not say."""
    return _numbers(look.facts.get("valkey_version") or look.facts.get("redis_version", ""))


@lru_cache(maxsize=64)  # asked for at every comparison of two looks, and few versions are about
def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdecimal())


def counts_subcommands(look: Look) -> bool:
    """Return whether commandstats tells `config|set` from `config|get`: Redis does from 7.0 on."""
    known = look.calls or {}
    return version(look) >= (7,) and "config" not in known and "cluster" not in known


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
    kept = canary(after) if after.canary_found is None else after.canary_found
    if totals[1] < totals[0] or shrunk or reset or kept < canary(before):
        return "its counters were reset"
    ever = calls(after, "config|resetstat" if counts_subcommands(after) else "config") != 0
    if ever and canary(before) < CANARY_CALLS:
        return UNSEEN_RESET
    return None


def same_process(before: Look, after: Look) -> bool:
    """Return whether both are of one process: the run id is there, and the same."""
    run_id = before.facts.get("run_id")
    return bool(run_id) and run_id == after.facts.get("run_id")


def as_primary(
    looks: tuple[Look, ...], primaries: Mapping[str, Look | None]
) -> tuple[str | None, tuple[Look, ...]]:
    """
    Return the address of the primary that a server is, None if it is none, and the looks at it.

    *primaries* have the last look at each. The same process may answer at another name, too: then
    the looks end with the one by which it is known now.
    """
    for address, now in primaries.items():
        if address == looks[-1].address or (now and same_process(now, looks[-1])):
            here = [place for place, one in enumerate(looks) if one.address == address]
            return address, looks[: here[-1] + 1] if here else looks
    return None, looks


def is_writing(look: Look) -> bool:
    """Return whether a file is being written, or is to be."""
    names = ("rdb_bgsave_in_progress", "aof_rewrite_in_progress", "aof_rewrite_scheduled")
    return any(look.facts.get(name) not in {None, "0"} for name in names)


def longest_write(look: Look) -> float:
    """Return how many seconds a file that is being written is worth waiting for."""
    last = number(look, "rdb_last_bgsave_time_sec")
    if last is None or last < 0 or look.facts.get("rdb_bgsave_in_progress") != "1":
        return _LONGEST_WRITE_SECONDS  # nobody knows how long it takes
    return min(_LONGEST_WRITE_SECONDS, max(2.0 * last, _SHORTEST_WRITE_SECONDS))
