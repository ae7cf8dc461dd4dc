"""The report of the design's example, and parts of reports, made with the model."""

from datetime import UTC, datetime, timedelta

from rich.console import Console

from rotator.report.model import (
    Cache,
    Coverage,
    Key,
    KeyPlace,
    Node,
    Problem,
    Report,
    Verification,
)

START = datetime(2026, 11, 23, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)


def example():
    """The example of the design, made with the model."""
    return Report(
        rotator="1.0.0",
        mode="run",
        started_at=START,
        finished_at=START + timedelta(minutes=3, seconds=12, microseconds=999_999),
        exit_code=0,
        caches=(
            Cache(
                name="shared-redis",
                complete=True,
                visits=812_204,
                outcomes={"rotated": 812_203, "current": 1},
                verification=Verification(visits=812_100, found_under_old_keys=0, complete=True),
                coverage=Coverage(
                    mode="standalone",
                    databases=(0,),
                    nodes=(
                        Node(
                            node="redis-0.internal:6379",
                            run_id="5f0e",
                            version="redis 7.0.15",
                            visits=812_204,
                            complete=True,
                        ),
                    ),
                ),
                keys=(old_key(),),
                problems=(problem(),),
                waited_seconds={"memory": 1.5},
                sweep_seconds=192.4,
            ),
        ),
    )


def old_key(**fields):
    """The old key of the example."""
    usual = {
        "id": "9f2c41d07be3a655",
        "role": "old",
        "field": "caches[0].encryption.keys.old[0]",
        "found": 812_203,
        "rotated": 812_203,
        "bytes": 287_000_000,
        "drain": ((START + HOUR, 0),),
        "first_seen_at": START,
        "last_seen_at": START + timedelta(minutes=2, seconds=1, microseconds=400_000),
        "verdict": "verifying",
        "ready_at": START + HOUR + timedelta(minutes=2, microseconds=400_000),
        "reasons": ("last met 1 minute ago; 1h of quiet is asked for",),
        "next_step": "run again after 11:02 UTC",
        "prefixes": {"/app/oidc": 812_203},
    }
    return Key(**usual | fields)


def place(kind="rdb", where="10.0.0.7:6379", status="clean", **fields):
    """A place; one that is clean unless said otherwise."""
    usual = {"evidence": f"the {kind} of {where or 'it'} was looked at"}
    return KeyPlace(kind=kind, where=where, status=status, **usual | fields)


HELD = "the append-only file of 10.0.0.7:6379 has not been rewritten since 10:02"
UNKNOWN = "replica 10.0.0.8:6379 was not reached"
QUIET = "no application of shared-redis has written with it since 2026-11-23 10:00 UTC"


def places():
    """One place of each kind, and of each status at least one, worst first."""
    wait = {"verdict": "held", "until": START + 720 * HOUR}
    return (
        place("replica", status="unknown", evidence=UNKNOWN, remedy="list it", verdict="unknown"),
        place("aof", status="holding", evidence=HELD, remedy="BGREWRITEAOF there", verdict="held"),
        place("backups", "", "holding", evidence="backups are kept for 30d", **wait),
        place("writers", "", "assumed", evidence=QUIET),
        place("names", since=START),
        place("outside", ""),
        place("not-opened", ""),
        place("rdb", since=START + HOUR),
        place("backup-command"),
        place("caches", "sessions"),
    )


def placed_key(**fields):
    """An old key with all these places."""
    usual = {
        "verdict": "unknown",
        "ready_at": None,
        "reasons": (f"{UNKNOWN}; list it", f"{HELD}; BGREWRITEAOF there"),
        "next_step": "list it",
        "places": places(),
        "assumptions": (QUIET,),
    }
    return old_key(**usual | fields)


def proven_key(**fields):
    """An old key of which nothing is assumed: every place is clean."""
    clean = tuple(one for one in places() if one.status == "clean")
    usual = {
        "verdict": "retirable",
        "ready_at": None,
        "reasons": (clean[0].evidence,),
        "next_step": "remove it",
        "places": (*clean, place("writers", ""), place("backups", "")),
    }
    return old_key(**usual | fields)


def problem(**fields):
    """A problem."""
    usual = {
        "name": "/app/oidc:3f",
        "node": "redis-0.internal:6379",
        "outcome": "undecryptable",
        "reason": "bad_tag",
    }
    return Problem(**usual | fields)


def report_on(*caches, **fields):
    """A report on some caches."""
    usual = {"rotator": "1.0.0", "mode": "run", "started_at": START, "finished_at": START}
    return Report(**usual | {"exit_code": 0} | fields, caches=caches)


def drawn_at(columns, rendering):
    """The lines of a rendering on a terminal of so many columns, without those that are empty."""
    drawer = Console(width=columns, color_system=None, highlight=False)
    with drawer.capture() as shown:
        drawer.print(rendering)
    return [line.rstrip() for line in shown.get().splitlines() if line.strip()]
