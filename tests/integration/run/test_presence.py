"""Runs that do not share a state see each other through the server."""

import threading

import pytest

from rotator.config.types import Address
from rotator.errors import BusyError
from rotator.run.preflight import announce_run
from rotator.server.connection import Connection, Login
from rotator.server.store import Store
from support.caches import store_of, user
from support.server_versions import since


@pytest.fixture
def connect(server):
    """Opens stores on the session's server."""
    return lambda: Store(Connection(Address.parse(server.address), Login()).open())


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
