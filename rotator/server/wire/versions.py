"""Versions: say what a server is and can do, by what INFO says of it."""

import re
from collections.abc import Mapping

_HIDING = (8, 4)  # the version of Redis from which on names of other nodes' slots are hidden
_OTHERS = ("valkey", "redict", "dragonfly", "kvrocks", "garnet")  # they name a Redis version, too
_ROLES = ("master", "slave", "sentinel", "")
_VERSION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){0,5}")


def numbers_of(version: str | None) -> tuple[int, ...]:
    """Return a version as numbers, to compare; none for one that is not told, or no numbers."""
    known = _VERSION.fullmatch(version or "")
    return tuple(map(int, known[0].split("."))) if known else ()


def hides_names(info: Mapping[str, str]) -> bool:
    """
    Return whether names in slots that are not the node's are hidden: Redis 8.4 and later do so.

    A server that does not say its version is taken for one that does.
    """
    told = numbers_of(info.get("redis_version")) or _HIDING
    return "valkey_version" not in info and told >= _HIDING


def scans_by_slot(info: Mapping[str, str]) -> bool:
    """Return whether a cluster's SCAN goes slot by slot: from Redis 7.4 and Valkey 8 on (1.1)."""
    if "valkey_version" in info:
        return numbers_of(info["valkey_version"]) >= (8,)
    return numbers_of(info.get("redis_version")) >= (7, 4)


def survives_no_touch(info: Mapping[str, str]) -> bool:
    """Return whether this version was seen to survive CLIENT NO-TOUCH while slots move."""
    version = numbers_of(info.get("valkey_version") or info.get("redis_version"))
    if "valkey_version" in info:
        return (8, 1, 8) <= version < (8, 2) or version >= (9, 1, 2)
    return (7, 4, 1) <= version < (8,)


def knows_ifeq(info: Mapping[str, str]) -> bool:
    """Return whether SET has IFEQ: from Redis 8.4 and Valkey 8.1 on (redis-rules 2.1)."""
    if "valkey_version" in info:
        return numbers_of(info["valkey_version"]) >= (8, 1)
    return numbers_of(info.get("redis_version")) >= (8, 4)


def software(info: Mapping[str, str]) -> tuple[str, str]:
    """Return which server it is, and its own version; `?` for one that is not told."""
    for name in _OTHERS:
        if told := info.get(f"{name}_version"):
            return name, told
    keydb = info.get("executable", "").endswith("keydb-server")
    return "keydb" if keydb else "redis", info.get("redis_version") or "?"


def role_of(info: Mapping[str, str]) -> str:
    """
    Return the role: master, slave, sentinel, or nothing if it is not told.

    ValueError: It is another. KeyDB's active replicas take writes beside their primary.
    """
    said = info.get("role", "")
    if said == "active-replica":
        raise ValueError("it is an active replica: several servers take writes for one another")
    if said not in _ROLES:
        raise ValueError("its role is unknown")
    return said


def is_sentinel(info: Mapping[str, str]) -> bool:
    """Return whether it is a Sentinel; each kind of server calls its mode by a name of its own."""
    return any(info.get(f"{one}_mode") == "sentinel" for one in ("redis", "server", "redict"))
