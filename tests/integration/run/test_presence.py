"""Runs that do not share a state see each other through the server."""

import os
import socket
import threading

import pytest
from structlog.testing import capture_logs

from rotator.config.types import Address
from rotator.errors import BusyError, Exit
from rotator.run.preflight import announce_run
from rotator.server.connection import Connection, Login
from rotator.server.replies import AnswerError
from rotator.server.store import Store
from support.caches import store_of, user
from support.processes import run_here
from support.respfront import RespFront, bulk, listed
from support.server_versions import since


@pytest.fixture
def connect(server):
    """Opens stores on the session's server."""
    return lambda: Store(Connection(Address.parse(server.address), Login()).open())


@pytest.fixture
def hasty(monkeypatch):
    """Has a run that sees another one try only once more, and soon."""
    monkeypatch.setattr("rotator.run.preflight._TRIES", 2)
    monkeypatch.setattr("rotator.run.preflight._JITTER_MS", 1)


def test_a_second_run_is_refused_while_the_first_is_in_progress(connect):
    """While one run holds the channel of a cache, another one is refused."""
    with announce_run("shared", connect), pytest.raises(BusyError), announce_run("shared", connect):
        pass


def test_runs_on_two_caches_do_not_see_each_other(connect):
    """A run on one cache does not keep a run on another cache away."""
    with announce_run("one", connect), announce_run("two", connect):
        pass


def test_the_channel_is_free_again_when_the_connection_ends(connect, redis):
    """A run whose connections are cut, as by kill -9, leaves nothing behind."""
    with announce_run("shared", connect):
        redis.client_kill_filter(_type="pubsub")
        with announce_run("shared", connect):
            pass


def test_of_two_runs_that_begin_together_one_goes_on(connect):
    """Two runs that begin at the same moment do not both give up."""
    start = threading.Barrier(2)
    done = threading.Barrier(2)
    won = []

    def begin(number):
        start.wait()
        try:
            with announce_run("shared", connect):
                won.append(number)
                done.wait()
        except BusyError:
            done.wait()

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(won) == 1


def test_a_user_without_channels_may_run(server, redis):
    """A user who may not subscribe is not kept from running."""
    # Before 6.2 everybody has every channel, but not every command.
    narrow = "resetchannels" if since(redis, 6, 2) else "-subscribe"
    with (
        user(redis, "~*", "+@all", narrow) as (name, password),
        announce_run("shared", lambda: store_of(server, name, password)),
    ):
        pass


@pytest.mark.usefixtures("hasty")
def test_the_holder_is_named(connect):
    """Whoever is kept out is told which process of which machine holds the cache."""
    with (
        announce_run("a*b", connect),
        pytest.raises(BusyError, match=f"{socket.gethostname()} process {os.getpid()}") as caught,
        announce_run("a*b", connect),
    ):
        pass
    assert "--force-lock" in caught.value.hint


@pytest.mark.usefixtures("hasty")
def test_whoever_may_subscribe_keeps_nobody_out(connect, redis):
    """A subscriber that says nothing of itself is no reason to wait for ever."""
    with redis.pubsub() as stranger:
        stranger.subscribe("rotator:run:shared")
        with (
            pytest.raises(BusyError, match="an unknown process holds"),
            announce_run("shared", connect),
        ):
            pass
        with announce_run("shared", connect, force=True):
            pass


COMMANDS = {
    "run": ["run"],
    "purge": ["purge", "--undecryptable", "--yes"],
    "adopt": ["adopt", "--match", "none", "--yes"],
}


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_that_writes_can_be_forced(command, place, redis):
    """A stranger on the channel keeps each of them out, until it is told to go on."""
    place.cache.put(redis, "app:1", key=0)
    args = [*COMMANDS[command], "--config", place.file, "--state", place.state]
    with redis.pubsub() as stranger:
        stranger.subscribe(f"rotator:run:{place.cache.name}")
        kept, forced = run_here(args), run_here([*args, "--force-lock"])
    assert kept.returncode == Exit.BUSY
    assert "--force-lock goes on" in " ".join(kept.stderr.split())
    assert forced.returncode == Exit.OK
    assert "goes on although another run is in progress" in forced.stderr


def test_a_server_that_counts_nobody_tells_nothing(server):
    """A count of 0 says once that runs are not seen; another answer is not understood."""
    answers = {}

    def answer(words, _ask):
        return answers["numsub"] if words[:2] == [b"PUBSUB", b"NUMSUB"] else None

    with RespFront(server.port, answer) as front:
        address = Address.parse(front.address)

        def connect():
            return Store(Connection(address, Login()).open())

        answers["numsub"] = listed([bulk(b"x"), b":0\r\n"])
        with capture_logs() as lines, announce_run("shared", connect):
            pass
        assert [(one["event"], one["reason"]) for one in lines] == [
            ("runs on other machines are not seen", "NUMSUB is 0")
        ]
        for strange in (b":1\r\n", listed([]), listed([bulk(b"x"), bulk(b"1")])):
            answers["numsub"] = strange
            with pytest.raises(AnswerError, match="PUBSUB"), announce_run("shared", connect):
                pass
