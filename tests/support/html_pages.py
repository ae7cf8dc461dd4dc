"""A report that has something of everything, for the tests of pages."""

from datetime import UTC, datetime, timedelta

from rotator.report.fields import Facts, File, NodeLatency, Pages
from rotator.report.model import (
    Cache,
    Coverage,
    Key,
    Node,
    Past,
    Problem,
    ProblemSum,
    Report,
    Verification,
)
from rotator.retirement.estimate import Estimate, Item, Plan
from rotator.tally.load import Latency
from support.sample_reports import QUIET, place, places

START = datetime(2026, 11, 23, 10, 0, 0, tzinfo=UTC)
END = START + timedelta(minutes=3, seconds=12)
HOUR = timedelta(hours=1)
HOSTILE = "<script>alert('x')</script>&\"'\x1b[31m\u202e\x00--><!--"


def drain(remaining, hours, never=0):
    """A curve that gets flatter, until only *never* remain."""
    full = END.replace(minute=0, second=0) + HOUR
    steps = [*range(min(hours, 48)), *range(48, hours, 24)]
    points = [
        (full + n * HOUR, never + int((remaining - never) * (1 - n / hours) ** 2)) for n in steps
    ]
    return (*points, (full + hours * HOUR, never))


def keys():
    """One key of each verdict, and the current one."""
    past = Past(
        first_seen_at=START - 40 * 24 * HOUR,
        last_seen_at=START - 3 * HOUR,
        swept_at=END,
        clean_since=START - 2 * HOUR,
        clean_sweeps=3,
        verdicts=(
            (START - 40 * 24 * HOUR, "in-use"),
            (START - 20 * 24 * HOUR, "draining"),
            (START - 2 * HOUR, "verifying"),
        ),
    )
    common = {"role": "old", "found": 812_203, "bytes": 287_000_000, "past": past}
    return (
        Key(
            id="c4a10e5b22d9f6a3",
            role="current",
            field="caches[0].encryption.keys.current",
            found=112,
            bytes=40_000,
            encryptions=812_203,
            nonce_budget_used=0.0002,
        ),
        Key(
            id="9f2c41d07be3a655",
            field="caches[0].encryption.keys.old[0]",
            rotated=812_203,
            verdict="retirable",
            reasons=("last met 2026-11-23 07:00 UTC; 3 complete sweeps did not meet it",),
            next_step="remove caches[0].encryption.keys.old[0]",
            **common,
        ),
        Key(
            id="1d77e0a94c5b2f38",
            field="caches[0].encryption.keys.old[1]",
            remaining=48_210,
            drain=drain(48_210, 31),
            drains_at=END + 31 * HOUR,
            verdict="draining",
            reasons=("48,210 values with a TTL remain under it; the last expires at 2026-11-24",),
            next_step="run without --dry-run to move what remains, or wait and run again",
            **common,
        ),
        Key(
            id="77b3c2d1e0f4a596",
            field="caches[0].encryption.keys.old[2]",
            remaining=1_300,
            remaining_without_ttl=200,
            drain=drain(1_300, 60 * 24, 200),
            verdict="in-use",
            first_seen_at=START,
            last_seen_at=END,
            prefixes={"/app/oidc": 1_000, "": 300, HOSTILE: 1},
            samples=("/app/oidc:3f", HOSTILE),
            reasons=("200 values without a TTL remain under it", "7 are encrypted with it again"),
            next_step="find what still encrypts with it, then run again",
            **common,
        ),
        Key(
            id="aa00bb11cc22dd33",
            field="caches[0].encryption.keys.old[3]",
            verdict="held",
            held_until=END + 30 * 24 * HOUR,
            reasons=("the RDB file of redis-0 is from 2026-11-22, when the key was not gone",),
            next_step="BGSAVE on redis-0, then run again",
            places=(
                *places(),
                place("rdb", HOSTILE, "unknown", evidence=HOSTILE, remedy=HOSTILE, verdict="held"),
            ),
            assumptions=(QUIET, HOSTILE),
            **common,
        ),
    )


FACTS = Facts(
    host="jump-1",
    user=HOSTILE,
    options=("--quiet 3s", HOSTILE),
    files=(File(path="/etc/maverics/maverics.yaml", sha256="3f" * 32),),
)
COST = Estimate(
    "from 812,346 names met",
    (
        Item("values to rewrite", "values", 812_203, "from 812,346 names met", 812_203),
        Item("time", "seconds", 300.0, "two sweeps", 192.0),
        Item("traffic to each replica", "bytes", 3e8, HOSTILE, node="redis-0:6379", note=HOSTILE),
        Item("share of the server's core", "share", None, "it is not known how long it takes"),
    ),
    Plan(3, 4, 4, 3, "20,000 visits a second and process"),
)
LATENCY = NodeLatency(
    before=Latency(50, 0.1, 0.6, 0.61),
    during=Latency(1200, 0.2, 3.38, 7.5),
    goal_ms=2.0,
    seconds_above_goal=0.3,
)
SUMS = (
    ProblemSum(outcome="undecryptable", reason="bad_tag", prefix="/app/oidc", count=30),
    ProblemSum(outcome="failed", reason=HOSTILE, prefix=HOSTILE, count=1),
)


def report(**fields):
    """The report."""
    problems = tuple(
        Problem(
            name=f"/app/oidc:{number:064x}",
            node="redis-0.internal:6379",
            outcome="undecryptable",
            reason="bad_tag",
            detail="336 bytes",
        )
        for number in range(30)
    )
    hostile = Problem(name=HOSTILE, node=HOSTILE, outcome="failed", detail=HOSTILE)
    first = Cache(
        name="shared-redis",
        complete=True,
        visits=812_346,
        outcomes={"current": 112, "rotated": 812_203, "undecryptable": 30, "failed": 1},
        verification=Verification(
            visits=812_346, found_under_old_keys=0, complete=True, method="tracking"
        ),
        coverage=Coverage(
            mode="cluster",
            slots_covered=16_384,
            databases=(0,),
            nodes=tuple(
                Node(
                    node=f"redis-{number}.internal:6379",
                    run_id=f"{number}f0e" * 10,
                    version="redis 7.0.15",
                    visits=270_782,
                    complete=True,
                    restarts=number // 2,
                    latency=LATENCY,
                    pages=Pages(count=2_000, smallest=10, median=130, largest=500),
                    exchanged={"transaction": 270_735},
                )
                for number in range(3)
            ),
        ),
        keys=keys(),
        problems=(hostile, *problems),
        problems_total=31,
        problem_sums=SUMS,
        estimate=COST,
        redis_user=HOSTILE,
        exit_code=3,
        accepted={"undecryptable": 40},
        waited_seconds={"replicas behind": 4.2},
        sweep_seconds=151.0,
        warnings=("only names that match /app/* were visited", HOSTILE),
        judged_at=END,
        swept_at=END,
    )
    second = Cache(
        name=HOSTILE,
        coverage=Coverage(
            mode="standalone",
            topology_changed=True,
            orphans=3,
            nodes=(Node(node="redis-9:6379", reasons=("the connection was lost",), visits=12),),
            not_looked_at=("redis-9:6379 was not swept to the end: the connection was lost",),
        ),
        visits=12,
        outcomes={"current": 12},
        keys=(
            Key(
                id="9f2c41d07be3a655",
                role="old",
                field="caches[1].encryption.keys.old[0]",
                verdict="retirable",
                past=Past(swept_at=END),
            ),
        ),
        judged_at=END,
        facts=FACTS,
    )
    third = Cache(name="sessions", error="redis-7:6379: connection refused")
    usual = {
        "rotator": "1.0.0",
        "mode": "run",
        "started_at": START,
        "finished_at": END,
        "exit_code": 3,
        "caches": (first, second, third),
        "facts": FACTS,
    }
    return Report(**usual | fields)
