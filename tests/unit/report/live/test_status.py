"""What `rotator status` shows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rotator.report.live.status import Overview, as_data, render
from rotator.report.model import Attempt, Cache, Key, Report
from rotator.state.live import NodeStatus, Owner, RunStatus
from support.sample_reports import drawn_at

NOW = datetime(2026, 11, 27, 2, 12, 11, tzinfo=UTC)
RUN = RunStatus(
    "3f2cab",
    replace(Owner.here(), user="ops"),
    "run",
    ("box",),
    NOW - timedelta(minutes=12),
    NOW,
    cache="box",
    phase="rotating",
    since=NOW - timedelta(minutes=10),
    visits=341_200,
    visits_before=58_302,
    expected=812_204,
    rate=4230.4,
    seconds_left=111.0,
    rotated=339_120,
    left=3,
    reason="rate",
    nodes=(
        NodeStatus("a:1", "done", 300_000, 300_000),
        NodeStatus("b:1", "under way", 41_200, 512_204),
        NodeStatus("c:1", "waiting", 0, 10),
    ),
    limits={"max-rate": 5000.0, "max-latency": None, "max-lag": 1_048_577.0},
)
DEAD = replace(RUN, owner=replace(RUN.owner, started="another boot 1"))
WELL = Cache(name="box", complete=True, judged_at=NOW - timedelta(days=1))
FAILED = Cache(name="box", error="no way there")
MISSED = WELL.model_copy(update={"attempt": Attempt(at=NOW, error="no way there")})
STOPPED = Cache(name="box", stopped="until")


KEYS = (
    Key(id="c4a10e5b22d9f6a3", role="current", field="current", found=2),
    Key(id="9f2c41d07be3a655", role="old", field="old[0]", verdict="retirable"),
    Key(id="07be3a6559f2c41d", role="old", field="old[1]", verdict="draining", remaining=16_631),
)


def drawn(seen, columns=100):
    """What is shown of it on a terminal of so many columns."""
    return "\n".join(drawn_at(columns, render(seen)))


def overview(*runs, last=(WELL,)):
    """What is known as of now."""
    times = {"started_at": NOW, "finished_at": NOW}
    report = Report(rotator="1", mode="run", exit_code=0, caches=last, **times) if last else None
    return Overview(runs, report, NOW)


@pytest.mark.parametrize(
    ("seen", "code"),
    [
        (overview(), 0),
        (overview(RUN), 4),
        (overview(RUN, last=(FAILED,)), 4),
        (overview(DEAD), 3),
        (overview(RUN, DEAD), 3),
        (overview(last=()), 3),
        (overview(last=(FAILED,)), 3),
        (overview(last=(MISSED,)), 3),
        (overview(last=(WELL, Cache(name="box2"))), 3),
        (overview(last=(STOPPED,)), 0),
        (overview(last=(WELL, FAILED.model_copy(update={"superseded": True}))), 0),
        (overview(RUN).of_caches(["other"]), 3),
    ],
)
def test_exit_code(seen, code):
    """4: something runs, 3: somebody has to look, 0 only where all is known to be well."""
    assert seen.exit_code() == as_data(seen)["exit_code"] == code


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_everything_of_a_run(columns):
    """A run is told whole at any width, in ASCII."""
    text = drawn(overview(RUN), columns)
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= columns
    for said in (
        "run 3f2cab: rotating box",
        "42%, 341,200 of about 812,204 visits (58,302 by earlier runs)",
        "4,230 a second, 1:51 to go",
        "339,120 rotated, 3 left under old keys",
        "rate",
        "1 done, 1 under way, 1 waiting",
        "2026-11-27 02:00:11 UTC, 12 min 00 s ago",
        "max-rate 5,000 a second, max-lag 1,048,577 bytes",
        "41,200 of about 512,204",
        "c:1  waiting",
        "of ops on ",
        "last run of box, 1 day ago: complete",
    ):
        assert said in text


@pytest.mark.parametrize(
    ("more", "said", "unsaid"),
    [
        ({"command": "purge", "phase": "deleting"}, "339,120 deleted", "rotated"),
        ({"command": "adopt", "phase": "encrypting"}, "339,120 encrypted", "rotated"),
        ({"phase": "looking", "rotated": 0}, "values 3 under old keys", "rotated"),
        ({"phase": "verifying", "rotated": 0, "left": 0}, "verifying box", "values"),
        ({"caches": ("a", "box", "c")}, "2 of 3: a, box, c", "1 of 3"),
        ({"limits": {"max-lag": 1e8}}, "max-lag 100,000,000 bytes", "e+"),
        ({"phase": "waiting", "reason": "until 5:00"}, "waits until 5:00", "visits"),
    ],
)
def test_in_words(more, said, unsaid):
    """What is done is called what it is, numbers are whole, and a wait has none."""
    text = " ".join(drawn(overview(replace(RUN, nodes=(), **more))).split())
    assert said in text
    assert unsaid not in text


def test_a_dead_run():
    """Of a run that was killed neither a rate nor a time to go is told."""
    text = drawn(overview(DEAD))
    assert "killed, or no longer reporting" in text
    assert "to go" not in text
    assert "see why, then run again" in text


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_the_last_runs(columns):
    """Where nothing runs each cache has its last run in a line, and each old key its verdict."""
    seen = overview(last=(WELL.model_copy(update={"keys": KEYS}), Cache(name="n" * 30)))
    text = drawn(seen, columns)
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= columns
    assert [line.strip() for line in text.splitlines()] == [
        "nothing runs",
        "last run of box, 1 day ago: complete",
        "9f2c41d0 retirable",
        "07be3a65 draining, 16,631 values remain",
        f"last run of {'n' * 30}: not complete",
    ]
    assert [one["keys"] for one in as_data(seen)["last"]] == [
        {"9f2c41d07be3a655": "retirable", "07be3a6559f2c41d": "draining"},
        {},
    ]


def test_a_run_that_failed_keeps_the_verdicts():
    """Of a run that did not come to an end it is said beside the verdicts of the one before."""
    text = drawn(overview(last=(MISSED.model_copy(update={"keys": KEYS}),)))
    assert "no way there" in text
    assert "9f2c41d0 retirable" in text


def test_data_without_what_nobody_needs():
    """JSON has all of a run, and whether it is dead; how a process is told from others is ours."""
    (run,) = as_data(overview(RUN))["runs"]
    assert (run["visits"], run["dead"], run["began_at"]) == (341_200, False, "2026-11-27T02:00:11Z")
    assert run["nodes"][0] == {
        "node": "a:1",
        "state": "done",
        "visits": 300_000,
        "expected": 300_000,
    }
    assert "started" not in run["owner"]
    (run,) = as_data(overview(DEAD))["runs"]
    assert (run["rate"], run["seconds_left"]) == (0, None)
