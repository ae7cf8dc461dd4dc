"""
Lineage: keeps looks and proofs, and says whether the history of a server's data goes on.

A look is what one server said of itself at one moment; a proof is one primary swept in one go, by a
sweep that only read. Both are kept as they were, and every rule here is a function of two looks. A
field that is missing equals nothing: what cannot be told does not go on.
"""

from collections.abc import Mapping
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
        """When the sweep began."""
        return self.before.at

    @property
    def ended_at(self) -> datetime:
        """When the sweep had ended."""
        return self.after.at
