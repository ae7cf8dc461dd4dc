"""When a sweep waits, and why."""

import signal
import threading
import time

import pytest

from rotator.config.types import Address
from rotator.demo.local_server import LocalServer
from rotator.server.connection import Connection, Login
from rotator.server.store import Store
from rotator.sweep.control import Orders
from rotator.sweep.node.throttle import LONGEST_SECONDS, SMALLEST_PAGE, Throttle
from rotator.sweep.scope import Limits
from rotator.tally.load import NodeLoad
from support.caches import wait_for
from support.slowproxy import SlowProxy


def connection(server):
    """A new connection to *server*."""
    return Connection(Address.parse(server.address), Login()).open()


class Watched:
    """A throttle on a real server that notes what it says."""

    def __init__(self, server, limits, *, page=500):
        self.said = []
        self.waited = {}
        self.load = NodeLoad()
        self.stopped = False
        self.orders = Orders()
        self.ping = connection(server)
        self.throttle = Throttle(
            limits,
            Store(connection(server)),
            lambda: self.ping,
            page=page,
            stopping=lambda: self.stopped,
            waiting=self.say,
            waited=self.waited,
            load=self.load,
            orders=lambda: self.orders,
        )

    def say(self, reason):
        """Note the reason of a wait."""
        self.said.append(reason)


class TestPages:
    """How many names a page has."""

    def test_grow_by_a_little_while_the_goal_is_kept(self, server):
        """A server that answers well within the goal is given larger and larger pages."""
        watched = Watched(server, Limits(latency=10_000))
        sizes = [watched.throttle.page]
        for _ in range(50):
            watched.throttle._pinged_at = 0.0
            watched.throttle.measure_latency()
            sizes.append(watched.throttle.page)

        assert sizes == sorted(sizes)
        assert sizes[1] - sizes[0] == 20
        assert sizes[-1] == 500

    def test_grow_although_the_way_is_long(self, server):
        """What every answer takes on the network is not held against the server."""
        with SlowProxy(server.port, delay=0.1) as proxy:
            watched = Watched(proxy, Limits(latency=50))
            for _ in range(3):
                watched.throttle._pinged_at = 0.0
                watched.throttle.measure_latency()

            assert watched.throttle.page > 100

    def test_are_halved_when_the_goal_is_missed(self, server):
        """A server on which others have to wait is given half as much at once."""
        watched = Watched(server, Limits(latency=0.000001))
        before = watched.throttle.page
        watched.throttle.measure_latency()

        assert watched.throttle.page == before // 2

    def test_the_time_above_the_goal_is_kept(self, server):
        """The time between two PINGs counts where the later one shows that others waited."""
        watched = Watched(server, Limits(latency=0.000001))
        watched.throttle.measure_latency()
        assert watched.load.above == 0  # nobody knows since when
        for gap in (0.3, 500.0):  # seconds; after a wait of 500 one counts
            watched.throttle._pinged_at = time.monotonic() - gap
            watched.throttle.measure_latency()
        assert 1.3 <= watched.load.above < 5
        assert watched.load.during.summary().count == 3
        easy = Watched(server, Limits(latency=10_000))
        for _ in range(3):
            easy.throttle._pinged_at = time.monotonic() - 0.3
            easy.throttle.measure_latency()
        assert easy.load.above == 0

    def test_never_shrink_below_the_smallest(self, server):
        """However slow the server is, a page holds a few names, and a rest follows it."""
        watched = Watched(server, Limits(latency=0.000001))
        for _ in range(20):
            watched.throttle._pinged_at = 0.0
            watched.throttle.measure_latency()
        watched.throttle.rest(1)

        assert watched.throttle.page == SMALLEST_PAGE
        assert watched.said == ["latency", None]

    def test_of_a_large_value_are_followed_by_a_rest(self):
        """A page that is small because a value is large rests as long as others had to wait."""
        with LocalServer() as server:
            watched = Watched(server, Limits(latency=2))
            watched.throttle.weigh([1 << 21])
            assert watched.throttle.page == 1
            server.signal(signal.SIGSTOP)
            threading.Timer(0.3, server.signal, [signal.SIGCONT]).start()
            watched.throttle._pinged_at = 0.0
            watched.throttle.measure_latency()
            watched.throttle.rest(1)
            assert watched.said == ["latency", None]
            assert watched.waited["latency"] > 0.2

    def test_stay_as_they_are_without_a_goal(self, server):
        """With the latency goal off every page is as large as it may be."""
        watched = Watched(server, Limits(latency=0))
        watched.throttle.measure_latency()

        assert watched.throttle.page == 500

    def test_are_fitted_to_a_goal_that_is_given_later(self, server):
        """A latency goal that is ordered meanwhile is measured, and one that is lifted is not."""
        watched = Watched(server, Limits(latency=0))
        watched.orders = Orders(latency=0.000001)
        watched.throttle.rest(1)
        watched.throttle._pinged_at = 0.0
        watched.throttle.measure_latency()
        assert watched.throttle.page == 250
        watched.orders = Orders(latency=0)
        watched.throttle.rest(1)
        assert watched.throttle.page == 500

    def test_a_lost_ping_ends_the_measuring_and_not_the_sweep(self, server):
        """When the connection for PING breaks, the page stays as it is."""
        watched = Watched(server, Limits(latency=2))
        watched.ping.close()
        watched.throttle.measure_latency()

        assert watched.throttle.page == 100


class TestWaits:
    """Waits, each with its reason."""

    def test_no_limit_no_wait(self, server):
        """Without limits nothing is waited for."""
        watched = Watched(server, Limits())
        watched.throttle.rest(1_000_000)

        assert watched.said == []

    def test_rate(self, server):
        """So many visits take at least as long as the rate allows."""
        watched = Watched(server, Limits(rate=1000))
        begun = time.monotonic()
        watched.throttle.rest(100)
        watched.throttle.rest(100)

        assert time.monotonic() - begun >= 0.2
        assert set(watched.said) == {"rate", None}
        assert watched.waited["rate"] > 0.1

    def test_a_pause_is_not_caught_up(self, server):
        """After a wait of two seconds the rate is kept as before it: no second has more visits."""
        watched = Watched(server, Limits(rate=2000, latency=0))
        watched.throttle._rested_at -= 2.0
        watched.throttle._due -= 2.0
        begun, visits = time.monotonic(), 0
        while visits < 1000:
            watched.throttle.rest(watched.throttle.page)
            visits += watched.throttle.page

        assert watched.throttle.page == 80
        assert time.monotonic() - begun > (1000 - 160) / 2000

    def test_small_pages_keep_up_with_the_rate(self, server):
        """Pages that are a little late now and then do not make the whole slower."""
        watched = Watched(server, Limits(rate=1000, latency=0))
        begun = time.monotonic()
        for _ in range(20):
            watched.throttle.rest(20)
        assert 0.35 < time.monotonic() - begun < 2

    @pytest.mark.parametrize(
        ("orders", "reason"), [(Orders(rate=100_000), "rate"), (Orders(rate=0), "rate")]
    )
    def test_a_new_rate_ends_a_wait(self, server, orders, reason):
        """A rate that is given during a wait counts for what is still waited for."""
        watched = Watched(server, Limits(rate=1))
        resting = threading.Thread(target=watched.throttle.rest, args=(500,))
        resting.start()
        while not watched.said:
            time.sleep(0.001)
        watched.orders = orders
        resting.join()

        assert watched.said == [reason, None]
        assert watched.waited[reason] < 5

    def test_a_pause_by_order(self, server):
        """While a pause is ordered nothing is done."""
        watched = Watched(server, Limits())
        watched.orders = Orders(paused=True)
        resting = threading.Thread(target=watched.throttle.rest, args=(1,))
        resting.start()
        while not watched.said:
            time.sleep(0.001)
        assert resting.is_alive()
        watched.orders = Orders()
        resting.join()

        assert watched.said == ["paused", None]

    def test_a_pause_during_another_wait(self, server):
        """A pause that is ordered while a page waits for its turn holds this page up, too."""
        watched = Watched(server, Limits(rate=2, latency=0))
        resting = threading.Thread(target=watched.throttle.rest, args=(1,))
        resting.start()
        wait_for(lambda: watched.said == ["rate"])
        watched.orders = Orders(paused=True)
        wait_for(lambda: watched.said == ["rate", None, "paused"])
        watched.orders = Orders()
        resting.join()

        assert watched.said == ["rate", None, "paused", None]

    def test_a_pause_file_stops_everything_until_it_is_gone(self, server, tmp_path):
        """While the pause file exists nothing is done."""
        path = tmp_path / "pause"
        path.touch()
        watched = Watched(server, Limits(pause_file=str(path)))
        resting = threading.Thread(target=watched.throttle.rest, args=(1,))
        resting.start()
        while not watched.said:
            time.sleep(0.001)
        assert resting.is_alive()
        path.unlink()
        resting.join()

        assert watched.said == ["paused", None]

    def test_a_stop_ends_a_wait(self, server, tmp_path):
        """Whoever stops a run does not have to wait for its pause to end."""
        path = tmp_path / "pause"
        path.touch()
        watched = Watched(server, Limits(pause_file=str(path)))
        watched.stopped = True
        watched.throttle.rest(1)

        assert watched.said == ["paused", None]

    def test_memory(self, redis, server):
        """Above the share of maxmemory a page is put off, but not for ever."""
        used = int(redis.info("memory")["used_memory"])
        redis.config_set("maxmemory", used * 2)
        watched = Watched(server, Limits(memory=10))
        resting = threading.Thread(target=watched.throttle.rest, args=(1,))
        try:
            resting.start()
            while not watched.said:
                time.sleep(0.001)
        finally:
            redis.config_set("maxmemory", 0)
        resting.join()

        assert watched.said == ["memory", None]

    def test_a_server_without_maxmemory_is_never_full(self, server):
        """Where no maxmemory is set, there is no share of it."""
        watched = Watched(server, Limits(memory=1))
        watched.throttle.rest(1)

        assert watched.said == []

    def test_lag(self):
        """A replica that is further behind than allowed, or ordered meanwhile, is given time."""
        with LocalServer() as primary, LocalServer(replica_of=primary) as replica:
            with primary.client() as client:
                wait_for(lambda: client.info("replication")["connected_slaves"])
                client.set("name", bytes(100_000))
                replica.signal(signal.SIGSTOP)
                client.set("name", bytes(100_000))
            for limits, orders in (
                (Limits(lag=1 << 40), Orders()),
                (Limits(lag=0), Orders(lag=1 << 40)),
                (Limits(lag=0), Orders(lag=0)),  # no limit
            ):
                near = Watched(primary, limits)
                near.orders = orders
                near.throttle.rest(1)
                assert near.said == []
            lifted = Watched(primary, Limits(lag=1 << 40))
            lifted.orders = Orders(lag=1)
            caught_up = Watched(primary, Limits(lag=0))
            for watched in (lifted, caught_up):
                resting = threading.Thread(target=watched.throttle.rest, args=(1,))
                resting.start()
                wait_for(lambda: watched.said)  # noqa: B023 - it is waited for here
                if watched is lifted:
                    lifted.orders = Orders(lag=1 << 40)
                else:
                    replica.signal(signal.SIGCONT)
                resting.join()
                assert watched.said == ["lag", None]
                assert watched.waited["lag"] < LONGEST_SECONDS
