"""What a server is like, and its applications, while rotator runs: one row of the table each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

PLAIN: Final = {"GET": 55, "SET": 14, "SETEX": 6, "TTL": 8, "EXPIRE": 5, "EXISTS": 9, "DEL": 3}
BUSY: Final = {"GET": 40, "SET": 30, "SETEX": 10, "TTL": 5, "EXPIRE": 10, "DEL": 5}
SHORT: Final = {"GET": 35, "SET": 5, "SETEX": 35, "TTL": 10, "EXPIRE": 10, "DEL": 5}
HASHED: Final = {"HGET": 45, "HSET": 20, "GET": 10, "SET": 5, "TTL": 8, "EXPIRE": 9, "DEL": 3}
GROWING: Final = {"GET": 45, "SET": 30, "SETEX": 10, "TTL": 5, "EXPIRE": 5, "DEL": 5}
LARGE_MIX: Final = {"GET": 60, "SET": 30, "SETEX": 10}
MEGABYTE: Final = 1_000_000
FSYNC_MS: Final = 20
"""What a write to the disk takes where it is slow."""


@dataclass(frozen=True, slots=True)
class Situation:
    """
    One row: the *names* there are, what applications do with them, and what the server is like.

    *spec* is of the foreground, *large* of a second client with large values, if there is one.
    *server* are options of the server, *rotator* those of the run, which is stopped after
    *longest*. *room* is the share of the memory in use that is maxmemory from then on. *slow_disk*
    delays every fdatasync; *lagging* gives the server a replica that stands still every other
    second.
    """

    name: str
    names: int
    spec: Mapping[str, Any]
    large: Mapping[str, Any] | None = None
    server: tuple[str, ...] = ()
    rotator: tuple[str, ...] = ()
    room: float | None = None
    slow_disk: bool = False
    lagging: bool = False
    longest: str = "90s"


def _mixed(mix: Mapping[str, int], **more: Any) -> dict[str, Any]:
    return {"mix": tuple(mix.items()), **more}


_APPEND: Final = ("--appendonly", "yes", "--appendfsync")
_LRU: Final = ("--maxmemory-policy", "allkeys-lru", "--notify-keyspace-events", "Ee")
_PUBSUB: Final = ("--client-output-buffer-limit", "pubsub 0 0 0")

SITUATIONS: Final = (
    Situation("plain", 200_000, _mixed(PLAIN)),
    Situation("hot names", 200_000, _mixed(BUSY, zipf=True)),
    Situation(
        *("many expiries", 200_000),
        _mixed(SHORT, zipf=True, expiring=0.9, ttl_seconds=(5.0, 60.0)),
    ),
    Situation("hashes", 100_000, _mixed(HASHED, zipf=True, hashed=0.8)),
    Situation(
        *("values of 20 MB", 50_000, _mixed(PLAIN, zipf=True)),
        large=_mixed(
            LARGE_MIX,
            names=24,
            rate=1.0,
            connections=1,
            prefix="large",
            sizes=(MEGABYTE, 5 * MEGABYTE, 20 * MEGABYTE),
            precedence=False,
        ),
    ),
    Situation(
        *("2,000,000 names", 2_000_000, _mixed(PLAIN, zipf=True, sizes=(100,))), longest="300s"
    ),
    Situation(
        *("maxmemory, allkeys-lru", 200_000),
        _mixed(GROWING, filled=0.7, evicts=True),
        server=(*_LRU, *_PUBSUB),
        room=1.0,
    ),
    Situation(
        "append-only file, everysec",
        200_000,
        _mixed(PLAIN, zipf=True),
        server=(*_APPEND, "everysec"),
    ),
    Situation(
        "append-only file, always", 200_000, _mixed(PLAIN, zipf=True), server=(*_APPEND, "always")
    ),
    Situation(
        *("the same, a slow disk", 10_000, _mixed(PLAIN, zipf=True)),
        server=(*_APPEND, "always"),
        slow_disk=True,
    ),
    Situation(
        *("a replica that lags", 200_000, _mixed(PLAIN, zipf=True)),
        rotator=("--max-lag", "1000000"),
        lagging=True,
    ),
)
