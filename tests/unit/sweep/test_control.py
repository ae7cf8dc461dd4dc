"""The wish to stop: by a signal, or because time is up."""

import os
import signal
from datetime import UTC, datetime, timedelta

import pytest

from rotator.errors import Exit
from rotator.sweep.control import Stop, StopSignal


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
    [(signal.SIGINT, Stop.INTERRUPTED), (signal.SIGTERM, Stop.TERMINATED)],
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
