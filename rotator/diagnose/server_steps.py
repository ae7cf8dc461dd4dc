"""Server steps: ask one server about itself: role, version, databases, memory, disk and clock."""

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace

from rotator.config.types import Address
from rotator.diagnose.steps import SETTLE_SECONDS, Advice, Probe
from rotator.errors import LoginError, RightsError, ServerError
from rotator.retirement.looks import Look
from rotator.retirement.replicas import LOGIN_REFUSED, strangers
from rotator.server.acl import grant_hint
from rotator.server.copies import take_look
from rotator.server.node import Identity
from rotator.server.replies import clock_of, info_number, primary_of, understood
from rotator.server.topology import discover, refuse_sentinel
from rotator.server.wire.addresses import AddressBook
from rotator.server.wire.versions import numbers_of, role_of
from rotator.text import ago, count, listing, percent, utc_now

OLDEST = (6, 0)  # version of Redis
SKEW_SECONDS = 5.0
FULL = 0.9  # of maxmemory
_NO_REDIS = "is there a proxy, or something other than Redis or Valkey, at this address?"


def role(probe: Probe) -> str | Advice:
    """Ask whether the server is a primary or a replica, and whether its replicas can be asked."""
    refuse_sentinel(probe.node)
    info = probe.node.info("replication")
    if info.get("role") == "master":
        replicas = "replicas not known"
        if "connected_slaves" in info:
            replicas = count(info_number(probe.node.node, info, "connected_slaves"), "replica")
        if unasked := _unasked(probe):
            it = "it" if len(unasked) == 1 else "them"
            remedy = (
                f"list {it} under rotator.caches.{probe.cache.name}.replicas: rotator sends no"
                " password to a server that is not listed, so every old key stays unknown"
            )
            return Advice(f"primary, {replicas}; not listed: {listing(unasked)}", remedy)
        return f"primary, {replicas}"
    if not understood(probe.node.node, "INFO", role_of, info):
        raise ServerError(f"{probe.reached} does not tell its role", hint=_NO_REDIS)
    return f"replica of {primary_of(info)}"


def _unasked(probe: Probe) -> list[str]:
    """Return the replicas of a primary that a run does not look at, as it has a password."""
    access, node, names = probe.access, probe.node, AddressBook()
    replicas, assume = access.settings.replicas, access.settings.assume
    open_to_all = not access.login.has_password or replicas.announced
    if open_to_all or replicas.only is not None or assume.replicas:
        return []
    known = [*access.cache.addresses, *replicas.listed]
    gone = assume.decommissioned.value if assume.decommissioned else ()
    try:
        members = node.members() if node.cluster_enabled() else []
    except RightsError:  # the step `rights` says so
        return []
    known += [member.address for member in members if member.address]
    listed = [*map(str, (*known, *gone))]
    unmet = [one for one in map(_address, node.replicas().values()) if not names.same(one, listed)]
    if not unmet:
        return []
    # Behind address translation they are known because as many follow the primary as it counts.
    looks = _looks(probe, {probe.configured, *known})
    own = looks.get(str(probe.configured))
    there = {one.address for one in strangers(own, looks, names)} if own else {*unmet}
    return [one for one in unmet if one in there]


def replicas(probe: Probe) -> str | Advice:
    """Log in to each replica that a run looks at, and ask it for INFO."""
    user = probe.access.login.username or "default"
    refused: dict[tuple[str, str], list[str]] = {}
    addresses = _replicas(probe)
    for address in addresses:
        try:
            with probe.access.connect(address) as store:
                store.info("replication")
        except (LoginError, RightsError) as error:
            said, remedy = "the user lacks the right +info", grant_hint({"+info": ""}, user)
            if isinstance(error, LoginError):
                said, remedy = (
                    LOGIN_REFUSED,
                    f"create the user {user} there with the same password and rights",
                )
            refused.setdefault((said, remedy), []).append(str(address))
        except ServerError:
            told = ("does not answer", "start it, or declare it in assume.decommissioned")
            refused.setdefault(told, []).append(str(address))
    if refused:
        return Advice(
            "; ".join(f"{listing(nodes)}: {said}" for (said, _), nodes in refused.items()),
            "; ".join([*(remedy for _, remedy in refused), "else every old key stays unknown"]),
        )
    return f"{count(len(addresses), 'replica')} answered" if addresses else "none to ask"


def _replicas(probe: Probe) -> list[Address]:
    """Return the replicas that a run looks at: no stranger is sent the password."""
    access = probe.access
    settings = access.settings.replicas
    found = discover(access.cache.addresses, access.connect, settle_timeout=SETTLE_SECONDS)
    known = [*found.replicas, *settings.listed, *(settings.only or ())]
    if found.mode == "cluster":
        with access.connect(found.primaries[0]) as store:
            known += [one.address for one in store.members() if one.address]
    return [one for one in dict.fromkeys(known) if one not in found.primaries]


def _address(fields: Mapping[str, str]) -> str:
    """Return the address of a replica, as a look has it."""
    host, port = fields.get("ip", ""), fields.get("port", "0")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _looks(probe: Probe, addresses: Iterable[Address]) -> dict[str, Look]:
    """Return looks at those of the *addresses* that answer."""
    found = {}
    for address in addresses:
        with suppress(ServerError), probe.access.connect(address) as store:
            look = take_look(store, settings=False)
            found[str(address)] = replace(look, address=str(address))
    return found


def version(probe: Probe) -> str:
    """Refuse a server that is too old."""
    info = probe.node.info("server")
    software = understood(probe.node.node, "INFO", Identity.from_info, info).version
    if not (known := numbers_of(info.get("redis_version"))):
        return "not known: INFO does not say"
    if known[:2] < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        text = f"{software} is older than {wanted}, the oldest that rotator works with"
        raise ServerError(text, hint=f"upgrade the server to {wanted} or newer")
    return software


def databases(probe: Probe) -> str | Advice:
    """Count the names in each database."""
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
    """Look for room for values that grow, and for what happens without."""
    info = probe.node.info("memory")
    used, limit = (info_number(probe.node.node, info, one) for one in ("used_memory", "maxmemory"))
    policy = info.get("maxmemory_policy", "policy not known")
    if not {"used_memory", "maxmemory"} <= set(info):
        return f"not known: INFO does not say; {policy}"
    seen = (
        f"{percent(used / limit)} of maxmemory used, {policy}" if limit else f"no limit, {policy}"
    )
    if not limit or used < FULL * limit:
        return seen
    fate = "refuses writes" if policy == "noeviction" else "evicts entries"
    return Advice(seen, f"the server {fate} when it is full: give it more memory before a run")


def persistence(probe: Probe) -> str | Advice:
    """Look at what is on disk: old values come back from there."""
    info = probe.node.info("persistence")
    aof = {"0": "off", "1": "on"}.get(info.get("aof_enabled", ""), "not known")
    since = "not known"
    if "rdb_last_save_time" in info:
        at = [info["rdb_last_save_time"].encode(), b"0"]
        saved = understood(probe.node.node, "INFO", clock_of, at)
        since = f"saved or server started {ago(saved, utc_now())}"
    seen = f"AOF {aof}, RDB {since}"
    told = ("rdb_last_bgsave_status", "aof_last_bgrewrite_status", "aof_last_write_status")
    failed = [what for what in told if info.get(what, "ok") != "ok"]
    if failed:
        return Advice(
            f"{seen}, {listing(failed)} not ok",
            "check the disk: the server may refuse writes (MISCONF), and old copies stay",
        )
    return seen


def clock_skew(probe: Probe) -> str | Advice:
    """Compare the clock of this machine with the server's."""
    before = time.time()
    there = probe.node.time()
    if there is None:
        return "not known: the Redis user has no right to TIME"
    skew = there.timestamp() - (before + time.time()) / 2
    seen = f"{abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} this machine"
    if abs(skew) < SKEW_SECONDS:
        return seen
    return Advice(seen, "synchronize both clocks with NTP: times in reports are off by as much")
