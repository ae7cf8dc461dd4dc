"""What the steps of `rotator check` see in a server that has let us in; see `checksteps`."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

from redis.exceptions import ResponseError

from rotator.errors import ServerError
from rotator.probe import Advice, Probe
from rotator.server.node import Identity
from rotator.wording import ago, count, listing

OLDEST = (6, 0)
SKEW_SECONDS = 5.0
FULL = 0.9  # of maxmemory
_VERSION = re.compile(r"(\d+)\.(\d+)")


def role(probe: Probe) -> str:
    """What the server is to others."""
    info = probe.info("replication")
    if info.get("role") == "master":
        return f"primary, {count(int(info.get('connected_slaves', 0)), 'replica')}"
    return f"replica of {info.get('master_host')}:{info.get('master_port')}"


def version(probe: Probe) -> str:
    """The server is not too old."""
    info = probe.info("server")
    known = _VERSION.match(info.get("redis_version", ""))
    software = Identity.from_info(info).version
    if known is None or (int(known[1]), int(known[2])) < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        raise ServerError(
            f"{software} is older than {wanted}, the oldest that rotator works with",
            hint=f"upgrade the server to {wanted} or newer",
        )
    return software


def databases(probe: Probe) -> str | Advice:
    """The databases that hold something."""
    held = probe.node.databases()
    wanted = probe.access.settings.databases
    missing = [] if wanted == "all" else [number for number in wanted if number not in held]
    if missing:
        return Advice(
            f"nothing is stored in {listing(str(number) for number in missing)}",
            f"see rotator.caches.{probe.cache.name}.databases: is the number right?",
        )
    if not held:
        return Advice("nothing is stored there", "is this the right server?")
    return listing(f"{count(names, 'name')} in {number}" for number, names in sorted(held.items()))


def memory_policy(probe: Probe) -> str | Advice:
    """Room for values that grow, and what happens without."""
    info = probe.info("memory")
    used, limit = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    policy = info.get("maxmemory_policy", "unknown")
    seen = f"{used / limit:.0%} of maxmemory used, {policy}" if limit else f"no limit, {policy}"
    if not limit or used < FULL * limit:
        return seen
    fate = "refuses writes" if policy == "noeviction" else "evicts entries"
    return Advice(seen, f"the server {fate} when it is full: give it more memory before a run")


def persistence(probe: Probe) -> str | Advice:
    """What is on disk: old values come back from there."""
    info = probe.info("persistence")
    saved = datetime.fromtimestamp(int(info.get("rdb_last_save_time", 0)), UTC)
    aof = "on" if info.get("aof_enabled") == "1" else "off"
    seen = f"AOF {aof}, RDB saved or server started {ago(saved, datetime.now(UTC))}"
    failed = [
        what
        for what in ("rdb_last_bgsave_status", "aof_last_bgrewrite_status", "aof_last_write_status")
        if info.get(what, "ok") != "ok"
    ]
    if failed:
        return Advice(
            f"{seen}, {listing(failed)} not ok",
            "see to the disk: the server may refuse writes (MISCONF), and old copies stay",
        )
    return seen


def clock_skew(probe: Probe) -> str | Advice:
    """Whether this machine and the server agree about the time."""
    before = time.time()
    reply = probe.node.connection.pipeline([("TIME",)])[0]
    if isinstance(reply, ResponseError):
        return "not known: the user may not ask for the time"
    here = (before + time.time()) / 2
    skew = int(reply[0]) + int(reply[1]) / 1e6 - here
    seen = f"{abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} this machine"
    if abs(skew) < SKEW_SECONDS:
        return seen
    return Advice(seen, "set both clocks by NTP: times in reports would be off by as much")
