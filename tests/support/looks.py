"""Looks and proofs as servers give them: what a test does not say is ordinary."""

from datetime import UTC, datetime, timedelta

from rotator.retirement.history import KeySeen, SweepRecord
from rotator.retirement.looks import CANARY_CALLS, Look, Outside, Proof
from rotator.retirement.places import Evidence
from rotator.tally.tally import Mode

START = datetime(2026, 11, 23, 2, tzinfo=UTC)
NONE = "0" * 40
KEY = "9f2c41d07be3a655"
PRIMARY, REPLICA = "redis-0:6379", "redis-1:6379"
FIELD = "caches[0].encryption.keys.old[0]"


def at(minutes):
    """A time so many minutes after the first one."""
    return START + timedelta(minutes=minutes)


def calls_of(counted, version="7.0.15"):
    """Calls as commandstats has them; before 7.0 without the second word of a command."""
    if int(version.partition(".")[0]) >= 7:
        return {"cluster|myid": CANARY_CALLS, **counted}
    return {"cluster": CANARY_CALLS, **counted}


def primary(minutes=0, address=PRIMARY, version="7.0.15", calls=None, **more):
    """A look at a primary that never had a replica; facts may be given by name, None takes away."""
    fields = {name: more.pop(name) for name in tuple(more) if name in Look.__dataclass_fields__}
    facts = {
        "run_id": "run-p",
        "redis_version": version,
        "role": "master",
        "master_replid": "id-1",
        "master_replid2": NONE,
        "master_repl_offset": "100",
        "second_repl_offset": "-1",
        "total_commands_processed": "1000",
        "loading": "0",
        "rdb_bgsave_in_progress": "0",
        "rdb_last_save_time": "50",
        "rdb_last_bgsave_status": "ok",
        "rdb_changes_since_last_save": "0",
        "aof_enabled": "0",
        "aof_rewrite_in_progress": "0",
        "aof_rewrite_scheduled": "0",
        "aof_last_bgrewrite_status": "ok",
        "cluster_enabled": "0",
    }
    if int(version.partition(".")[0]) >= 7:
        facts |= {
            "async_loading": "0",
            "total_net_repl_input_bytes": "0",
            "rdb_saves": "0",
            "rdb_last_load_keys_loaded": "0",
            "rdb_last_load_keys_expired": "0",
            "aof_rewrites": "0",
        }
    facts |= more
    counted = None if calls is False else calls_of(calls or {}, version)
    known = {name: str(fact) for name, fact in facts.items() if fact is not None}
    return Look(address, at(minutes), known, counted, **fields)


def replica(minutes=0, address=REPLICA, version="7.0.15", **more):
    """A look at a replica that follows and has caught up."""
    facts = {
        "run_id": "run-r",
        "role": "slave",
        "master_link_status": "up",
        "master_sync_in_progress": "0",
        "slave_read_only": "1",
        "slave_repl_offset": "100",
        "total_net_repl_input_bytes": "500" if int(version.partition(".")[0]) >= 7 else None,
    }
    return primary(minutes, address, version, **{**facts, **more})


def away(minutes=0, address=REPLICA, why="it could not be reached"):
    """A look at a server that did not answer."""
    return Look(address, at(minutes), missing=why)


def proof(before, after, met=0, **more):
    """A proof between two looks that met the key so often, and other values."""
    more.setdefault("outside", Outside())
    return Proof(before.address, before, after, "basis", {KEY: met}, opened=5, **more)


def sweep(started, finished, met=0, mode=Mode.VERIFY, **more):
    """The record of a sweep between these minutes."""
    seen = KeySeen(found=met, first_seen_at=at(finished), last_seen_at=at(finished))
    record = {
        "cache": "shared-redis",
        "mode": mode,
        "started_at": at(started),
        "finished_at": at(finished),
        "complete": True,
        "current": "0" * 16,
        "keys": {KEY: seen if met else KeySeen()},
        "proven": True,
        "opened": 5,
        "primaries": (PRIMARY,),
    }
    return SweepRecord(**{**record, **more})


def evidence(*, proofs, looks, **more):
    """The evidence of one primary: with proofs and looks, and the sweep that they come from."""
    known = {
        "key_id": KEY,
        "cache": "shared-redis",
        "field": FIELD,
        "sweep": sweep(0, 1),
        "proofs": tuple(proofs),
        "looks": tuple(looks),
        "primaries": (PRIMARY,),
        "basis": "basis",
    }
    return Evidence(**{**known, **more})
