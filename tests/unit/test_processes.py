"""Ending well: signals that are noted, and waits that give up."""

import os
import signal

import pytest

from rotator.demo.local_server import DeferredSignals, wait_until
from rotator.errors import Exit, ServerError


class TestEnding:
    """Signals are noted, not raised."""

    @pytest.fixture(autouse=True)
    def _handlers(self):
        taken = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.getsignal(number) for number in taken}
        yield
        for number, handler in before.items():
            signal.signal(number, handler)

    @pytest.mark.parametrize(
        ("number", "code"),
        [
            (signal.SIGINT, Exit.INTERRUPTED),
            (signal.SIGTERM, Exit.TERMINATED),
            (signal.SIGHUP, Exit.TERMINATED),
        ],
    )
    def test_notes_a_signal(self, number, code):
        """The signal is there to be looked at, and has an exit code."""
        with DeferredSignals() as ending:
            os.kill(os.getpid(), number)
            assert ending.signal is number
        assert ending.exit_code is code

    def test_the_first_signal_counts(self):
        """Whoever presses Ctrl-C again and again does not interrupt the clean-up."""
        with DeferredSignals() as ending:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGINT):
                os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGINT)  # the process ends undisturbed
        assert ending.signal is signal.SIGTERM

    def test_without_a_signal(self):
        """Nothing happened."""
        with DeferredSignals() as ending:
            pass
        assert ending.signal is None
        assert ending.exit_code is Exit.OK

    def test_puts_the_handlers_back(self):
        """After the block signals do what they did before."""
        before = signal.getsignal(signal.SIGTERM)
        with DeferredSignals():
            assert signal.getsignal(signal.SIGTERM) is not before
        assert signal.getsignal(signal.SIGTERM) is before

    def test_leaves_an_ignored_signal_ignored(self):
        """What runs under nohup goes on when the terminal is closed."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with DeferredSignals() as ending:
            os.kill(os.getpid(), signal.SIGHUP)
        assert ending.signal is None
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


class TestWait:
    """Waiting for something to be clear."""

    def test_ends_when_there_is_no_obstacle(self):
        """It asks until there is none."""
        obstacles = iter(["one", "another", None])
        wait_until(lambda: next(obstacles))
        assert list(obstacles) == []

    def test_says_what_it_waited_for(self):
        """When the time is up, the error names the obstacle."""
        with pytest.raises(ServerError, match="gave up after 0 seconds: the door is shut"):
            wait_until(lambda: "the door is shut", seconds=0)
