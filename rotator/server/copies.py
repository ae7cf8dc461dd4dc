"""
Copies: asks one server about its replicas, RDB, append-only file and backups.

All of it comes from INFO, so that managed services can be judged too; CONFIG is asked only to be
sure that no snapshots are configured where INFO of an old version cannot tell (redis-rules 3).
"""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta

from rotator.retirement.places import Copies
from rotator.server.cluster_nodes import myself
from rotator.server.store import Store
from rotator.text import utc_now

_START_SECONDS = 1  # both times are whole seconds


def find_copies(store: Store, lagging: Mapping[str, str]) -> Copies:
    """Return the other copies of what *store* holds; *lagging* are replicas, and what is wrong."""
    info = store.info("server", "persistence")
    begun_at = _snapshot_begun_at(store, info)
    counted = info.get("aof_rewrites")
    rewritten = (
        int(info.get("aof_last_rewrite_time_sec", -1)) >= 0
        and info.get("aof_last_bgrewrite_status") == "ok"
    )
    sizes = int(info.get("aof_base_size", 0)), int(info.get("aof_current_size", 0))
    return Copies(
        node=store.node,
        run_id=info.get("run_id", ""),
        lagging=lagging,
        snapshot=begun_at is not None or _loaded_at_start(store, info),
        snapshot_begun_at=begun_at,
        append_only=info.get("aof_enabled") == "1",
        rewrites=int(rewritten if counted is None else counted),
        rewriting=info.get("aof_rewrite_in_progress") == "1",
        sizes=sizes if counted is None else None,
    )


def replication_offset(store: Store) -> int:
    """Return how far the server's stream of writes is, in bytes, for `lagging_replicas`."""
    return int(store.info("replication").get("master_repl_offset", 0))


def lagging_replicas(store: Store, goal: int, expected: Collection[str]) -> dict[str, str]:
    """
    Return the replicas that do not have all that was written, and what is wrong with them.

    *goal* is the `replication_offset` that they have to reach, *expected* are replicas that ought
    to be there.
    """
    replicas = store.replicas()
    lagging = dict.fromkeys(sorted(set(expected) - set(replicas)), "is not connected")
    members = store.members() if store.clustered else []
    own = myself(members).id if members else None
    for member in members:
        if member.primary_id == own and own is not None and member.failing:
            lagging[str(member.address or member.id)] = "is taken for failed by the cluster"
    for name, fields in replicas.items():
        behind = goal - int(fields.get("offset", 0))
        if fields.get("state") != "online":
            lagging[name] = f"is not online ({fields.get('state', 'unknown')})"
        elif behind > 0:
            lagging[name] = f"is {behind} bytes behind"
    return lagging


def _snapshot_begun_at(store: Store, info: Mapping[str, str]) -> datetime | None:
    """
    Return when the RDB file of this process was begun; None if it has not saved one.

    Until it has, rdb_last_save_time is when it started. The counters do not tell: they also count
    what is sent to replicas without a file, and CONFIG RESETSTAT sets them back.
    """
    theirs = store.time() or utc_now()  # a user who may not ask has no better one
    started = int(theirs.timestamp()) - int(info.get("uptime_in_seconds", 0))
    saved = int(info.get("rdb_last_save_time", 0))
    if saved <= started + _START_SECONDS:
        return None
    took = max(int(info.get("rdb_last_bgsave_time_sec", -1)), 0)
    begun = datetime.fromtimestamp(saved, UTC) - timedelta(seconds=took)
    return begun + (utc_now() - theirs)


def _loaded_at_start(store: Store, info: Mapping[str, str]) -> bool:
    """Return whether there may be an RDB file that is older than this process."""
    if "rdb_last_load_keys_loaded" in info:  # Redis 7.0
        return int(info["rdb_last_load_keys_loaded"]) > 0 and info.get("aof_enabled") != "1"
    return store.config("save") != ""  # a server that does not say may have snapshots
