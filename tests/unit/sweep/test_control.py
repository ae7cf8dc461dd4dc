"""The wish to stop: by a signal, or because time is up."""

import os
import signal
from collections import Counter
from datetime import UTC, datetime, timedelta
from multiprocessing.sharedctypes import RawValue
from queue import SimpleQueue

import pytest
from structlog.testing import capture_logs

from rotator.errors import Exit
from rotator.progress import Progress
from rotator.sweep.channel import SharedOrder, WorkerChannel
from rotator.sweep.control import AWAY, Orders, ProgressControl, Stop, StopSignal
from rotator.sweep.scope import Limits


def test_no_reason():
    """Nobody wants to stop, so there is no reason."""
    assert StopSignal().reason() is None
    assert StopSignal(timedelta(days=1)).reason() is None


def test_time_up():
    """When the time is over, that is the reason."""
    assert StopSignal(timedelta(0)).reason() is Stop.TIME_UP


def test_until():
    """A moment that is past is a reason; one to come is none yet."""
    now = datetime.now(UTC)
    assert StopSignal(until=now).reason() is Stop.UNTIL
    assert StopSignal(until=now + timedelta(hours=1)).reason() is None


def test_the_earlier_wins():
    """Of a duration and a moment the one that ends first is the reason, and when it ends."""
    now, hour = datetime.now(UTC), timedelta(hours=1)
    assert StopSignal(timedelta(0), now + hour).reason() is Stop.TIME_UP
    assert StopSignal(hour, now).reason() is Stop.UNTIL
    assert abs(StopSignal(hour, now + 2 * hour).ends_at - now - hour) < timedelta(minutes=1)
    assert StopSignal(2 * hour, now + hour).ends_at == now + hour
    assert StopSignal().ends_at is None


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (signal.SIGINT, Stop.INTERRUPTED),
        (signal.SIGTERM, Stop.TERMINATED),
        (signal.SIGHUP, Stop.HUNG_UP),
    ],
)
def test_signal(number, reason):
    """A signal is announced once, and is a reason from then on; before and after it is not ours."""
    before = signal.getsignal(number)
    announced = []
    stopper = StopSignal(timedelta(0))
    with stopper.handling_signals(announced.append):
        os.kill(os.getpid(), number)
        assert stopper.reason() is reason  # it goes before the time
    assert announced == [reason]
    assert stopper.reason() is reason
    assert signal.getsignal(number) is before


def test_second_interrupt():
    """The second Ctrl-C does not wait for the page."""
    with StopSignal().handling_signals(lambda _: None):
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_second_terminate():
    """A second SIGTERM changes nothing: the page is being finished."""
    stopper = StopSignal()
    with stopper.handling_signals(lambda _: None):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    assert stopper.reason() is Stop.TERMINATED


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (Stop.INTERRUPTED, Exit.INTERRUPTED),
        (Stop.TERMINATED, Exit.TERMINATED),
        (Stop.TIME_UP, Exit.TIME_UP),
        (Stop.UNTIL, Exit.TIME_UP),
    ],
)
def test_exit_code(reason, code):
    """Every reason has its exit code."""
    assert reason.exit_code is code


def test_ignored_hang_up():
    """A terminal that is closed does not end what `nohup` started."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stopper = StopSignal()
        with stopper.handling_signals(lambda _: None):
            os.kill(os.getpid(), signal.SIGHUP)
            assert stopper.reason() is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_order():
    """An order to stop is a reason like a signal, ends with 4, and is no window that was over."""
    stopper = StopSignal()
    stopper.ask(Stop.ORDERED)
    assert stopper.reason() is stopper.signalled is Stop.ORDERED
    assert Stop.ORDERED.exit_code is Exit.TIME_UP
    assert [one for one in Stop if one.is_time_up] == [Stop.TIME_UP, Stop.UNTIL]
    stopper.ask(Stop.TERMINATED)
    assert stopper.reason() is Stop.ORDERED


class Counting(Progress):
    """Progress that adds up."""

    def __init__(self):
        self.resumed = Counter()
        self.nodes = []

    def resume(self, visits, rotated, left, node=""):
        """What an earlier run did."""
        self.resumed.update({"visits": visits, "rotated": rotated, "left": left, node: visits})

    def end_node(self, node):
        """One more is done."""
        self.nodes.append(node)


def test_earlier_runs_count_once():
    """What an earlier run did of a part counts once, however often this run begins the part."""
    bar = Counting()
    control = ProgressControl(lambda: None, bar)
    control.begun("a 1/2", 10, 8, 1)
    control.begun("a 2/2", 0, 0, 0)
    control.begun("a 2/2", 70, 70, 0)  # a worker died, and another one goes on at its position
    control.begun("a 1/2", 90, 80, 1)
    control.end_node("a")
    assert bar.resumed == {"visits": 10, "rotated": 8, "left": 1, "a": 10}
    assert bar.nodes == ["a"]
    assert (control.visits, control.rotated) == (0, 0)


def test_a_reason_is_said_once():
    """Reasons that take turns are logged once each, whoever waits; an error is a line itself."""
    control = ProgressControl(lambda: None, Progress())
    with capture_logs() as lines:
        for _ in range(10):
            for reason in ("rate", None, AWAY, "latency", None):
                control.wait("a", reason)
    assert [line["reason"] for line in lines] == ["rate", "latency"]


@pytest.mark.parametrize(
    "orders", [Orders(), Orders(0, 2.5, 1 << 40, True), Orders(rate=1e9), Orders(paused=True)]
)
def test_orders_reach_workers(orders):
    """What the parent writes into shared memory, a worker reads."""
    control = ProgressControl(lambda: Stop.ORDERED, Progress(), orders=lambda: orders)
    channel = WorkerChannel(SimpleQueue(), RawValue(SharedOrder))
    assert (channel.orders(), channel.stop()) == (Orders(0, 0, 0), None)
    channel.pass_on(control)
    assert (channel.orders(), channel.stop()) == (orders, Stop.ORDERED)


def test_workers_tell_their_parent():
    """What a worker tells arrives as it was told."""
    bar = Counting()
    control = ProgressControl(lambda: None, bar)
    channel = WorkerChannel(SimpleQueue(), RawValue(SharedOrder))
    channel.begun("a", 5, 4, 0)
    channel.page_done("a", 3, 2, 1)
    channel.wait("a", "rate")
    channel.deliver(control)
    assert bar.resumed["visits"] == 5
    assert (control.visits, control.rotated) == (3, 2)


def test_lanes_say_the_same_once():
    """What all lanes of a node log of one event stands in the log once."""
    channel = WorkerChannel(SimpleQueue(), RawValue(SharedOrder))
    for node in ("a", "a", "b", "a"):
        channel.send_log("warning", {"event": "connection lost", "node": node})
    with capture_logs() as lines:
        channel.deliver(ProgressControl(lambda: None, Progress()))
    assert [line["node"] for line in lines] == ["a", "b"]


@pytest.mark.parametrize(
    ("limits", "orders", "expected"),
    [
        (Limits(rate=1000), Orders(), (250, 2.0, None)),
        (Limits(rate=1000), Orders(rate=400), (100, 2.0, None)),
        (Limits(), Orders(rate=400, latency=0, lag=7), (100, 0, 7)),
        (Limits(rate=1000, lag=7), Orders(rate=0, lag=0), (0, 2.0, None)),
    ],
)
def test_a_rate_is_shared_as_the_first_one(limits, orders, expected):
    """A rate that is ordered is that of all workers together; 0 is no limit."""
    tuned = limits.share(4, 2).tuned(orders)
    assert (tuned.rate, tuned.latency, tuned.lag) == expected
    assert tuned.lanes == 2
