"""The sweep of one node: no name missed, whatever happens to the server in mid-scan."""

from contextlib import contextmanager

import pytest
from structlog.testing import capture_logs

from rotator.config.types import Address
from rotator.crypto.codec import Codec
from rotator.crypto.keyring import Key, Keyring
from rotator.crypto.layout import BUILTIN
from rotator.demo.local_server import LocalServer
from rotator.errors import ServerError
from rotator.server.connection import Connection, Login
from rotator.server.store import Store
from rotator.sweep.control import Stop
from rotator.sweep.node import worker
from rotator.sweep.node.lanes import CONNECTIONS
from rotator.sweep.node.session import LOSSES
from rotator.sweep.node.worker import Worker
from rotator.sweep.scope import RESTARTS, Limits, Scope
from rotator.tally.tally import Mode, Outcome
from support.caches import Cache, PageControl, contents, fill, keys_of, user, wait_for
from support.programs import exchanges
from support.server_versions import knows, since

COUNT = 600
PAGE = 20


class Sweeper:
    """Sweeps of one server, as one user, with the keys of one cache."""

    def __init__(self, server, cache, *, login=None, store=Store):
        self.server = server
        self.cache = cache
        self.control = PageControl()
        self.connections = 0
        self._login = login
        self._store = store

    def connect(self, address):
        """A store on a new connection, which is counted."""
        self.connections += 1
        return self._store(Connection(address, self._login or Login()).open())

    def run(self, *, mode=Mode.RUN, on_page=None, stop_after=None, works=False, **scope):
        """One sweep; it goes on where the one before was stopped."""
        saved = self.control.saved
        self.control = PageControl(stop_after, on_page)
        self.control.saved = dict(saved)
        address = Address("127.0.0.1", self.server.port)
        current, *old = (Key.from_text(key, "test") for key in self.cache.keys)
        made = Worker(
            address,
            self.connect,
            codec=Codec(Keyring(current, old), list(BUILTIN.values())),
            scope=Scope(mode, **{"page": PAGE, "limits": Limits(latency=0), **scope}),
            control=self.control,
            saved=self.control.load(str(address)),
            works=works,
        )
        return made.run()


@pytest.fixture
def sweeper(server, redis):
    """Sweeps of the session's server, which holds values under two old keys."""
    sweeper = Sweeper(server, Cache(server.address))
    fill(redis, sweeper.cache, COUNT)
    return sweeper


@pytest.fixture
def watched(request, server, redis, sweeper):
    """The same; as a user who may not be told what is written, if the parameter says so."""
    if request.param:
        yield sweeper
        return
    with user(redis, "~*", "+@all", "-client|tracking") as (name, password):
        yield Sweeper(server, sweeper.cache, login=Login(name, password))


@pytest.fixture
def movable(server, redis):
    """Sweeps of the session's server, which holds values that may be moved to other names."""
    sweeper = Sweeper(server, Cache(server.address))
    for number in range(COUNT):
        sweeper.cache.put(redis, f"app:{number}", b"%d" % number)
    return sweeper


def once(page, action):
    """What to do after that page, and never again."""
    done = []

    def on_page(number):
        if number == page and not done:
            done.append(number)
            action()

    return on_page


def everything_current(server, cache, *databases):
    """Whether every value of every database is under the current key."""
    for db in databases or (0,):
        with server.client(db=db) as client:
            if set(keys_of(client, cache)) - {0}:
                return False
    return True


@contextmanager
def own_server(*options):
    """A server that a test may break, with values that survive a restart."""
    with LocalServer("--appendonly", "yes", *options) as server, server.client() as client:
        sweeper = Sweeper(server, Cache(server.address))
        fill(client, sweeper.cache, COUNT)
        yield sweeper, client


class TestUndisturbed:
    """A server that nobody else uses."""

    def test_complete(self, server, redis, sweeper):
        """Every value is visited once and rotated, and the result says who was swept and how."""
        result = sweeper.run()
        assert result.complete
        assert result.tally.outcomes[Outcome.ROTATED] == COUNT == result.tally.visits
        assert everything_current(server, sweeper.cache)
        assert (result.restarts, result.reasons, result.stopped) == (0, (), None)
        assert result.databases == (0,)
        assert result.identity.run_id == redis.info("server")["run_id"]
        assert result.node == server.address
        assert sweeper.control.pages >= COUNT // (2 * PAGE)
        assert sweeper.control.visits == sweeper.control.rotated == COUNT

    def test_nothing_there(self, server, redis):  # noqa: ARG002 - redis empties the server
        """An empty server is swept to the end at once."""
        result = Sweeper(server, Cache(server.address)).run()
        assert result.complete
        assert result.tally.visits == 0
        assert result.databases == ()

    def test_reading(self, redis, sweeper):
        """A reading sweep counts what is under old keys, and changes nothing."""
        before = contents(redis)
        result = sweeper.run(mode=Mode.VERIFY)
        assert result.tally.outcomes[Outcome.WOULD_ROTATE] == COUNT == sweeper.control.left
        assert contents(redis) == before

    @pytest.mark.parametrize("page", [1, 7, 10_000])
    def test_pages(self, server, sweeper, page):
        """However many names are asked for at a time, none is missed."""
        assert sweeper.run(page=page).complete
        assert everything_current(server, sweeper.cache)

    def test_all_databases(self, server, redis):  # noqa: ARG002 - redis empties the server
        """Every database that the server reports is swept."""
        sweeper = Sweeper(server, Cache(server.address))
        for db in (0, 3, 15):
            with server.client(db=db) as client:
                fill(client, sweeper.cache, 50)
        result = sweeper.run()
        assert result.databases == (0, 3, 15)
        assert result.tally.outcomes[Outcome.ROTATED] == 150
        assert everything_current(server, sweeper.cache, 0, 3, 15)

    def test_chosen_databases(self, server, redis):  # noqa: ARG002 - redis empties the server
        """Only the databases that were asked for are swept."""
        sweeper = Sweeper(server, Cache(server.address))
        for db in (0, 3, 15):
            with server.client(db=db) as client:
                fill(client, sweeper.cache, 50)
        result = sweeper.run(databases=(0, 3, 9), outside=False)
        assert result.complete
        assert result.databases == (0, 3)
        assert everything_current(server, sweeper.cache, 0, 3)
        assert not everything_current(server, sweeper.cache, 15)

    def test_pattern(self, redis, sweeper):
        """Only names that match are visited, even if most pages are empty."""
        fill(redis, sweeper.cache, 10, prefix="rare")
        result = sweeper.run(match=("rare:*",))
        assert result.complete
        assert result.tally.visits == 10
        assert keys_of(redis, sweeper.cache)[0] == 10
        assert sweeper.control.pages > 10

    def test_patterns(self, redis, sweeper):
        """With several patterns every name that matches one of them is visited."""
        fill(redis, sweeper.cache, 10, prefix="rare")
        fill(redis, sweeper.cache, 10, prefix="other")
        result = sweeper.run(match=("rare:*", "oth*"))
        assert result.tally.outcomes[Outcome.ROTATED] == 20
        assert keys_of(redis, sweeper.cache)[0] == 20
        overlapping = sweeper.run(match=("rare:*", "rare:00000[0-4]"))
        assert overlapping.tally.outcomes[Outcome.CURRENT] == 10
        scans = {"match": ("rare:*", "rare:00000[0-4]"), "outside": False}
        assert sweeper.run(**scans).tally.outcomes[Outcome.CURRENT] == 15  # a scan for each

    def test_growing_and_shrinking(self, server, redis, sweeper):
        """A table that grows tenfold and shrinks again in mid-scan hides no name."""
        extra = {b"extra:%d" % number: b"x" for number in range(10 * COUNT)}

        def disturb(number):
            if number % 4 == 1:
                redis.mset(extra)
            elif number % 4 == 3:
                redis.delete(*extra)

        assert sweeper.run(on_page=disturb).complete
        redis.delete(*extra)
        assert everything_current(server, sweeper.cache)

    def test_replica(self):
        """A replica is refused, and the hint says what to configure."""
        with LocalServer() as server, LocalServer(replica_of=server) as replica:
            sweeper = Sweeper(replica, Cache(replica.address))
            with pytest.raises(ServerError, match="is a replica") as caught:
                sweeper.run()
        assert "primary's address" in caught.value.hint


class TestMoved:
    """Values that somebody moves to names that the scan has passed already."""

    EVENTS = ("rename", "renamenx", "copy", "restore", "move")

    @staticmethod
    def move(client, other, event, number):
        """Do something to an entry that moves its value; *other* is in database 1."""
        name = f"app:{number}"
        if event == "copy":
            client.copy(name, f"moved:{number}")
        elif event == "restore":
            client.restore(f"moved:{number}", 0, client.dump(name))
        elif event == "move":
            client.move(name, 1)
        else:
            getattr(client, event)(name, f"moved:{number}")
        assert other.ping()

    @pytest.mark.parametrize("watched", [True, False], indirect=True, ids=["told", "not-told"])
    @pytest.mark.parametrize("event", EVENTS)
    def test_moved(self, server, redis, watched, event):
        """Nothing is missed: what was written is read again, or else the scan begins again."""
        if not knows(redis, event):
            assert (event, since(redis, 6, 2)) == ("copy", False)
            return
        redis.flushall()
        for number in range(COUNT):
            watched.cache.put(redis, f"app:{number}")
        told = watched._login is None
        with server.client(db=1) as other:
            other.set("there", watched.cache.seal("there", b""))

            def disturb():
                for number in range(0, COUNT, 2):
                    self.move(redis, other, event, number)

            result = watched.run(on_page=once(8, disturb), tracks=True)
        assert result.complete
        assert result.tracked is told
        assert result.restarts == (0 if told else 1)
        assert everything_current(server, watched.cache, 0, 1)
        if not told:
            told = f"{event.upper()} was called {COUNT // 2} times"
            remedy = "with the right +client|tracking rotator looks at what was moved"
            assert result.reasons == (f"{told}; {remedy}",)

    def test_moved_at_every_page(self, server, redis, movable):
        """A value that wanders from name to name all the time is found."""
        wanderers = [[f"app:{number}"] for number in range(40)]

        def disturb(page):
            for number, names in enumerate(wanderers):
                names.append(f"moved:{page}:{number}")
                redis.rename(names[-2], names[-1])

        result = movable.run(on_page=disturb, tracks=True)
        assert result.complete
        assert result.tracked
        assert everything_current(server, movable.cache)

    @pytest.mark.parametrize("db", [0, 3])
    def test_moved_over_what_was_tallied(self, server, redis, db):
        """An old value is met that takes the name of a foreign one, in whatever database."""
        sweeper = Sweeper(server, Cache(server.address))
        redis.mset({f"foreign:{number}": b"data" for number in range(COUNT)})
        with server.client(db=db) as other:
            for number in range(COUNT):
                sweeper.cache.put(other, f"app:{number}")

            def disturb():
                for number in range(COUNT):
                    other.rename(f"app:{number}", f"foreign:{number}")

            # When all or half of the foreign data is tallied, and some values are rotated.
            page = 30 if db == 0 else 45
            result = sweeper.run(on_page=once(page, disturb), tracks=True)
            assert result.complete
            assert result.tracked
            assert result.restarts == 0
            assert keys_of(other, sweeper.cache) == {0: COUNT}

    def test_foreign_data_that_changes(self, redis, sweeper):
        """Foreign data that somebody writes all the time counts once for each name."""
        names = [f"foreign:{number}" for number in range(50)]
        redis.mset(dict.fromkeys(names, b"data"))

        def disturb(page):
            for name in names:
                redis.append(name, f" {page}")

        result = sweeper.run(on_page=disturb)
        assert result.complete
        assert result.tally.outcomes[Outcome.UNDECRYPTABLE] == len(names)

    def test_databases_swapped(self, server, redis, movable):
        """When databases were swapped, the scan begins again."""
        with server.client(db=1) as other:
            fill(other, movable.cache, COUNT)
        result = movable.run(on_page=once(5, lambda: redis.swapdb(0, 1)))
        assert result.complete
        assert (result.restarts, result.reasons) == (1, ("SWAPDB was called 1 time",))
        assert everything_current(server, movable.cache, 0, 1)

    @pytest.mark.parametrize("flush", ["flushall", "flushdb"])
    def test_flushed(self, server, redis, movable, flush):
        """When a database was emptied and filled anew, the scan begins again."""

        def disturb():
            getattr(redis, flush)()
            fill(redis, movable.cache, 100, prefix="new")

        result = movable.run(on_page=once(5, disturb))
        assert result.complete
        assert (result.restarts, result.reasons) == (1, (f"{flush.upper()} was called 1 time",))
        assert everything_current(server, movable.cache)

    def test_new_database(self, server, redis, movable):
        """A database that appears in mid-scan is swept as well."""
        with server.client(db=4) as other:
            result = movable.run(on_page=once(5, lambda: fill(other, movable.cache, 10)))
        assert result.complete
        assert result.databases == (0, 4)
        assert result.reasons == ("database 4 appeared",)
        assert everything_current(server, movable.cache, 0, 4)
        assert redis.dbsize() == COUNT

    def test_new_database_out_of_scope(self, server, movable):
        """A database that is not looked at may come and go."""
        with server.client(db=4) as other:
            fill_other = once(5, lambda: fill(other, movable.cache, 10))
            result = movable.run(databases=(0,), outside=False, on_page=fill_other)
        assert result.complete
        assert result.restarts == 0

    def test_again_and_again(self, redis, movable):
        """After three new beginnings the sweep is incomplete, and says why."""
        beginnings = []

        def disturb(number):
            if number % 7 == 0:
                beginnings.append(number)
                redis.swapdb(5, 6)

        result = movable.run(on_page=disturb)
        assert not result.complete
        assert result.restarts == RESTARTS == 3
        assert len(result.reasons) == 4
        assert all(reason.startswith("SWAPDB was called") for reason in result.reasons)
        assert result.tally.outcomes[Outcome.ROTATED] == COUNT

    def test_counters_reset(self, redis, movable):
        """Counters that were reset could hide anything, so the scan begins again."""
        ping = redis.pipeline(transaction=False)
        for _ in range(20 * COUNT):
            ping.ping()
        ping.execute()

        def disturb():
            redis.swapdb(5, 6)
            redis.config_resetstat()

        result = movable.run(on_page=once(5, disturb))
        assert result.complete
        assert result.restarts == 1

    def test_rotated_before_the_new_beginning(self, redis, movable):
        """What was rotated before a new beginning still counts as rotated, the rest only once."""
        movable.cache.put(redis, "current", key=0)
        redis.set("foreign", b"data")
        result = movable.run(on_page=once(10, lambda: redis.swapdb(5, 6)))
        outcomes = result.tally.outcomes
        assert result.restarts == 1
        assert outcomes[Outcome.ROTATED] == COUNT
        assert outcomes[Outcome.UNDECRYPTABLE] == 1
        assert 1 < outcomes[Outcome.CURRENT] <= COUNT + 1
        assert sum(outcomes.values()) == result.tally.visits


class TestOtherProcess:
    """The process behind the address is another one than before."""

    def test_restarted(self):
        """When the server was restarted, the scan begins again, and nothing is missed."""
        with own_server() as (sweeper, client):

            def restart():
                sweeper.server.stop()
                sweeper.server.start()

            result = sweeper.run(on_page=once(8, restart))
            assert result.complete
            assert result.restarts == 1
            assert result.reasons[0] == "the server process was restarted or replaced"
            assert client.dbsize() == COUNT
            assert everything_current(sweeper.server, sweeper.cache)

    def test_restarted_with_old_data(self):
        """A server that comes back with values from before the rotation has them rotated again."""
        with own_server("--appendonly", "no") as (sweeper, client):
            client.save()

            def restart():
                sweeper.server.stop()
                sweeper.server.start()

            result = sweeper.run(on_page=once(8, restart))
            assert result.complete
            assert everything_current(sweeper.server, sweeper.cache)
            assert result.tally.outcomes[Outcome.ROTATED] > COUNT

    def test_gone_for_good(self, monkeypatch):
        """When the server does not come back, the sweep is incomplete, and what was done counts."""
        monkeypatch.setattr(worker, "_RECONNECT_SECONDS", (0.01, 0.02))
        with own_server() as (sweeper, _):
            result = sweeper.run(on_page=once(8, sweeper.server.stop))
            assert not result.complete
            assert "cannot be opened again" in result.reasons[-1]
            assert 0 < result.tally.outcomes[Outcome.ROTATED] < COUNT

    def test_demoted(self):
        """A node that becomes a replica in mid-scan is never taken for swept."""
        with own_server() as (sweeper, client), LocalServer() as other:

            def demote():
                client.replicaof("127.0.0.1", other.port)
                wait_for(lambda: client.info("replication")["master_link_status"] == "up")

            result = sweeper.run(on_page=once(8, demote))
            assert not result.complete
            assert "its role changed from master to slave" in result.reasons
            assert "is a replica" in result.reasons[-1]

    def test_demoted_and_promoted(self):
        """A node that was a replica for a moment is scanned again from the beginning."""
        with own_server() as (sweeper, client):

            def demote():
                client.replicaof("127.0.0.1", 1)
                client.replicaof("NO", "ONE")

            result = sweeper.run(on_page=once(8, demote))
            assert result.complete
            assert result.restarts == 1
            assert "its replication history changed" in result.reasons
            assert everything_current(sweeper.server, sweeper.cache)

    def test_replaced_by_a_replica(self, monkeypatch):
        """A server that comes back as a replica, and stays one, is not begun again."""
        monkeypatch.setattr(worker, "_RECONNECT_SECONDS", (0.01, 0.02))
        with own_server() as (sweeper, _), LocalServer() as other:

            def replace():
                sweeper.server.stop()
                sweeper.server._options += ("--replicaof", "127.0.0.1", str(other.port))
                sweeper.server.start()

            result = sweeper.run(on_page=once(8, replace))
            assert not result.complete
            assert "cannot be opened again" in result.reasons[-1]


class TestLostConnection:
    """The connection breaks, and the process is the same."""

    def test_killed_between_pages(self, server, redis, sweeper):
        """The scan goes on at the same cursor, counts nothing twice, and says that it is back."""

        def kill(number):
            if number in {3, 9, 10}:
                redis.client_kill_filter(_type="normal", skipme=True)

        with capture_logs() as lines:
            result = sweeper.run(on_page=kill)
        assert result.complete
        told = [line["event"] for line in lines if line["event"].startswith("connect")]
        assert told == 3 * ["connection lost", "connected again"]
        # Each time there are, besides, those of the lanes.
        lanes = 0 if exchanges(redis) else CONNECTIONS
        assert (result.restarts, sweeper.connections) == (0, 4 * (1 + lanes))
        assert result.tally.outcomes[Outcome.ROTATED] == COUNT == result.tally.visits
        assert everything_current(server, sweeper.cache)

    @pytest.mark.parametrize("moment", ["before", "after"])
    def test_killed_in_a_page(self, server, redis, sweeper, moment):
        """A page that broke off is visited anew, and counts once."""
        redis.set("foreign", b"data")
        kills = iter(range(3))

        class Cut(Store):
            def start_compare_and_set(self, swaps):
                if moment == "before":
                    self.cut()
                answers = super().start_compare_and_set(swaps)()
                if moment == "after":
                    self.cut()
                    self.read([b"app:000000"])
                return lambda: answers

            def cut(self):
                for _ in kills:
                    redis.client_kill_filter(_type="normal", skipme=True)
                    return

        sweeper._store = Cut
        result = sweeper.run()
        assert result.complete
        assert result.restarts == 0
        assert result.tally.visits == COUNT + 1
        assert result.tally.outcomes[Outcome.UNDECRYPTABLE] == 1
        redis.delete("foreign")
        assert everything_current(server, sweeper.cache)

    def test_killed_at_every_try(self, redis, sweeper):
        """A page at which the connection breaks every time ends the sweep instead of the day."""

        class Cut(Store):
            def start_read(self, names):
                redis.client_kill_filter(_type="normal", skipme=True)
                return super().start_read(names)

        sweeper._store = Cut
        result = sweeper.run()
        assert not result.complete
        assert f"{LOSSES} times at the same page" in result.reasons[-1]
        assert sweeper.connections == LOSSES + 1

    def test_moved_while_nobody_listened(self, server, redis, movable):
        """What was renamed while the connection was down makes the scan begin again."""

        def disturb():
            redis.client_kill_filter(_type="normal", skipme=True)
            for number in range(COUNT):
                redis.rename(f"app:{number}", f"moved:{number}")

        result = movable.run(on_page=once(8, disturb))
        assert result.complete
        assert result.restarts == 1
        assert everything_current(server, movable.cache)

    def test_password_changed(self, server, redis, sweeper, monkeypatch):
        """A login that no longer holds when the connection breaks leaves the sweep incomplete."""
        monkeypatch.setattr(worker, "_RECONNECT_SECONDS", (0.01, 0.02))
        with user(redis, "~*", "+@all") as (name, password):
            mine = Sweeper(server, sweeper.cache, login=Login(name, password))

            def change():
                redis.execute_command("ACL", "SETUSER", name, "resetpass", ">other")
                redis.client_kill_filter(_type="normal", skipme=True)

            result = mine.run(on_page=once(3, change))
        assert not result.complete
        assert "cannot be opened again" in result.reasons[-1]
        assert password not in "".join(result.reasons)


class TestPosition:
    """Sweeps that are stopped and go on."""

    def test_goes_on(self, server, sweeper):
        """A second sweep does exactly the rest, and the visits add up."""
        first = sweeper.run(stop_after=7)
        assert first.stopped is Stop.INTERRUPTED
        assert not first.complete
        pages = sweeper.control.pages
        assert pages == 7
        second = sweeper.run()
        assert second.complete
        assert second.tally.visits == second.tally.outcomes[Outcome.ROTATED] == COUNT
        assert sweeper.control.visits == COUNT - first.tally.visits
        assert second.started_at == first.started_at
        assert everything_current(server, sweeper.cache)

    def test_page_by_page(self, server, sweeper):
        """Even if it is stopped after every page, it comes to its end."""
        for _ in range(COUNT):
            result = sweeper.run(stop_after=1)
            if result.complete:
                break
        assert result.complete
        assert result.tally.outcomes[Outcome.ROTATED] == COUNT == result.tally.visits
        assert everything_current(server, sweeper.cache)

    def test_before_the_first_page(self, sweeper):
        """A stop before the first page leaves nothing done."""
        result = sweeper.run(stop_after=0)
        assert result.stopped is Stop.INTERRUPTED
        assert result.tally.visits == 0
        assert sweeper.run().tally.visits == COUNT

    def test_other_page_size(self, server, sweeper):
        """A cursor does not depend on the page size, so it is used with another one."""
        first = sweeper.run(stop_after=7)
        second = sweeper.run(page=3)
        assert (
            sweeper.control.visits
            == COUNT - first.tally.visits
            == second.tally.visits - (first.tally.visits)
        )
        assert everything_current(server, sweeper.cache)

    @pytest.mark.parametrize(
        "changed",
        [
            {"match": ("app:*",)},
            {"databases": (0,)},
            {"mode": Mode.DRY_RUN},
            {"only_key": "0" * 16},
        ],
        ids=lambda changed: next(iter(changed)),
    )
    def test_other_scope(self, sweeper, changed):
        """A position of another scope is not used."""
        sweeper.run(stop_after=7)
        sweeper.run(**changed)
        assert sweeper.control.visits == COUNT

    def test_other_keyring(self, server, sweeper):
        """A position of another keyring is not used: what was current may be old now."""
        sweeper.run(stop_after=7)
        sweeper.cache = sweeper.cache.rotated()
        result = sweeper.run()
        assert sweeper.control.visits == COUNT
        assert result.tally.outcomes[Outcome.ROTATED] == COUNT
        assert everything_current(server, sweeper.cache)

    @pytest.mark.parametrize("event", ["rename", "flushdb", "swapdb"])
    def test_moved_in_between(self, server, redis, movable, event):
        """A position is not used after something was moved: nobody watched meanwhile."""
        movable.run(stop_after=7)
        if event == "rename":
            redis.rename("app:1", "moved:1")
        elif event == "flushdb":
            redis.flushdb()
            fill(redis, movable.cache, COUNT)
        else:
            redis.swapdb(0, 1)
            redis.swapdb(0, 1)
        result = movable.run()
        assert result.complete
        assert movable.control.visits == COUNT
        assert everything_current(server, movable.cache)

    def test_restarted_in_between(self):
        """A position is not used in another process: its cursor means nothing there."""
        with own_server() as (sweeper, _):
            sweeper.run(stop_after=7)
            sweeper.server.stop()
            sweeper.server.start()
            result = sweeper.run()
            assert result.complete
            assert sweeper.control.visits == COUNT
            assert everything_current(sweeper.server, sweeper.cache)

    def test_database_appeared_in_between(self, server, redis):
        """A cursor of one database is not used in another that comes before it."""
        sweeper = Sweeper(server, Cache(server.address))
        with server.client(db=3) as other:
            fill(other, sweeper.cache, COUNT)
        sweeper.run(stop_after=7)
        fill(redis, sweeper.cache, COUNT)
        assert sweeper.run().complete
        assert everything_current(server, sweeper.cache, 0, 3)

    def test_database_emptied_in_between(self, server, redis, sweeper):
        """A cursor of a database that is empty now is not used in the next one."""
        with server.client(db=3) as other:
            fill(other, sweeper.cache, COUNT)
        sweeper.run(stop_after=7)
        redis.delete(*redis.keys())
        assert sweeper.run().complete
        assert everything_current(server, sweeper.cache, 3)

    def test_stopped_in_the_second_pattern(self, server, redis, sweeper):
        """A sweep that was stopped in the second of three scans goes on there."""
        fill(redis, sweeper.cache, 50, prefix="other")
        match = ("none:*", "app:*", "other:*")
        scope = {"match": match, "outside": False}  # a scan for each pattern
        none_pages = sweeper.run(match=("none:*",), outside=False) and sweeper.control.pages
        sweeper.control.saved.clear()
        first = sweeper.run(**scope, stop_after=none_pages + 5)
        assert 0 < first.tally.visits < COUNT
        second = sweeper.run(**scope)
        assert second.complete
        assert second.tally.visits == COUNT + 50
        assert everything_current(server, sweeper.cache)

    def test_verifying(self, sweeper):
        """A verifying sweep leaves no position, because the next run looks at everything anyway."""
        sweeper.run(mode=Mode.VERIFY, stop_after=7)
        assert sweeper.control.saved == {}

    def test_error(self):
        """A sweep that ends with an error goes on where it was, if the process is still there."""
        with own_server() as (sweeper, client):
            client.execute_command("ACL", "SETUSER", "me", "on", ">pw", "~*", "+@all")
            mine = Sweeper(sweeper.server, sweeper.cache, login=Login("me", "pw"))

            def revoke():
                client.execute_command("ACL", "SETUSER", "me", "-scan")

            first = mine.run(on_page=once(7, revoke))
            assert not first.complete
            assert "SCAN failed" in first.reasons[-1]
            client.execute_command("ACL", "SETUSER", "me", "+scan")
            second = mine.run()
            assert second.complete
            assert mine.control.visits == COUNT - first.tally.visits
            assert everything_current(sweeper.server, sweeper.cache)
