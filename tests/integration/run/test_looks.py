"""Which servers are looked at after a sweep, and where the password goes."""

import signal
import socket
import threading
from contextlib import ExitStack, contextmanager

import pytest
from structlog.testing import capture_logs

from rotator.config.fields import ReplicaSettings
from rotator.config.types import Address
from rotator.demo.local_server import LocalServer
from rotator.retirement.looks import Look
from rotator.retirement.places import Declarations
from rotator.run.surroundings import Observation
from rotator.server.connection import Connection, Login
from rotator.server.copies import missing_look, refresh_files, take_look
from rotator.server.store import Store
from rotator.server.topology import discover
from rotator.text import utc_now
from support.caches import user, wait_for

PASSWORD = "pw"
ELSEWHERE = "10.255.255.1"  # an address that replicas announce, as behind address translation


def at(server):
    """Where a server is."""
    return Address.parse(server.address)


def connector(password=None, timeout=1.0):
    """Connects with a password, if there is one, and notes where."""
    asked = []

    def connect(address):
        asked.append(str(address))
        return Store(Connection(address, Login(None, password), timeout=timeout).open())

    connect.asked = asked
    return connect


def observe(*servers, password=None, known=(), recent=(), connect=None, declared=None, **replicas):
    """The looks by address, where *servers* are configured."""
    connect = connect or connector(password)
    addresses = [at(one) for one in servers]
    listed = {
        name: tuple(map(Address.parse, value)) if isinstance(value, list) else value
        for name, value in replicas.items()
    }
    only = listed.get("only")
    return {
        look.address: look
        for look in Observation(
            topology=discover(addresses, connect, settle_timeout=0),
            connect=connect,
            addresses=addresses,
            replicas=ReplicaSettings(**listed),
            declared=declared or Declarations(only=None if only is None else tuple(map(str, only))),
            known=known,
            recent=recent,
            has_password=password is not None,
            should_stop=lambda: None,
        ).run()
    }


@contextmanager
def private(*more, replica_of=None, password=None, announce=None):
    """A server of its own, which asks for a password if there is one."""
    options = [*more]
    if password:
        options += ["--requirepass", password, "--masterauth", password]
    if announce:
        options += ["--replica-announce-ip", announce]
    if replica_of and password:
        # A private server waits for its primary's data without a password.
        options += ["--replicaof", "127.0.0.1", str(replica_of.port)]
        with LocalServer(*options) as server:
            wait_for(
                lambda: (
                    server.client(password=password).info("replication")["master_link_status"]
                    == "up"
                )
            )
            yield server
        return
    with LocalServer(*options, replica_of=replica_of) as server:
        yield server


@pytest.fixture
def guarded():
    """A primary that asks for a password, and its replica."""
    with (
        private(password=PASSWORD) as primary,
        private(password=PASSWORD, replica_of=primary) as replica,
    ):
        yield primary, replica


def offset(client):
    """How much of what its primary sent a server has, or has sent itself."""
    return client.info("replication")["master_repl_offset"]


class TestWhoIsAsked:
    """Every server of the cache has a look, also one that is not asked."""

    def test_what_a_primary_names(self, server, redis):
        """Without a password what INFO names is asked, replicas of replicas too."""
        with LocalServer(replica_of=server) as first, LocalServer(replica_of=first) as second:
            redis.set("a", 1)
            begun = offset(redis)
            with second.client() as client:
                wait_for(lambda: offset(client) >= begun)
            looks = observe(server)
            assert list(looks) == [server.address, first.address, second.address]
            assert looks[second.address].facts["role"] == "slave"
            assert looks[second.address].named_by == first.address
            # A PING may come between two looks, so they need not be the same.
            assert min(int(one.facts["master_repl_offset"]) for one in looks.values()) >= begun > 0
            assert all(look.settings["dbfilename"] for look in looks.values())

    def test_one_that_hangs(self, server):
        """A replica that hangs has a look that says so."""
        with LocalServer(replica_of=server) as replica:
            replica.signal(signal.SIGSTOP)
            look = observe(server)[replica.address]
            assert (look.facts, look.named_by) == ({}, server.address)
            assert "lost" in look.missing or "cannot connect" in look.missing

    def test_one_that_was_dropped(self, server, closed_port):
        """A replica that was named before the work, and is not after it, is looked for."""
        with LocalServer(replica_of=server) as replica, connector()(at(server)) as store:
            recent = [take_look(store)]
            address = replica.address
        assert observe(server, recent=recent)[address].missing
        known = [missing_look(f"127.0.0.1:{closed_port}", "away")]
        assert "cannot connect" in observe(server, known=known)[known[0].address].missing

    def test_a_reader_of_the_stream(self, server, redis):
        """One without a port has a look while it is there, unless there are no other replicas."""
        with socket.create_connection(("127.0.0.1", server.port)) as reader:
            reader.sendall(b"PSYNC ? -1\r\n")
            wait_for(lambda: redis.info("replication")["connected_slaves"] == 1)
            looks = observe(server)
            assert "without a port" in looks["127.0.0.1:0"].missing
            assert list(observe(server, only=[])) == [server.address]
        wait_for(lambda: redis.info("replication")["connected_slaves"] == 0)
        assert list(observe(server, known=looks.values())) == [server.address]

    def test_a_cluster(self, cluster):
        """Of a cluster every member is asked, once, and one that is down has a look."""
        first = cluster.nodes[0]
        looks = observe(first)
        assert set(looks) == set(cluster.addresses)
        assert len({look.node_id for look in looks.values()}) == len(looks)
        replica = cluster.nodes[-1]
        replica.signal(signal.SIGSTOP)
        try:
            assert observe(first)[replica.address].missing
        finally:
            replica.signal(signal.SIGCONT)


class TestPassword:
    """The password goes only where the configuration says."""

    def test_one_that_is_not_listed(self, guarded):
        """What only an INFO names is not connected to, and its look says what to do."""
        primary, replica = guarded
        connect = connector(PASSWORD)
        look = observe(primary, password=PASSWORD, connect=connect)[replica.address]
        assert replica.address not in connect.asked
        assert look.missing == f"{primary.address} names it, but it is not listed"

    def test_listed_and_announced(self, guarded):
        """One that is listed, by whatever name, or may be announced, is asked."""
        primary, replica = guarded
        for settings in (
            {"listed": [replica.address]},
            {"only": [replica.address]},
            {"announced": True},
        ):
            looks = observe(primary, password=PASSWORD, **settings)
            assert looks[replica.address].facts["master_link_status"] == "up"
            assert len(looks) == 2
        name = f"localhost:{replica.port}"
        looks = observe(primary, password=PASSWORD, listed=[name])
        assert list(looks) == [primary.address, name]

    def test_one_that_was_met_earlier(self, guarded):
        """One that was not listed is, once it is listed, known to be that one."""
        primary, replica = guarded
        known = observe(primary, password=PASSWORD).values()
        name = f"localhost:{replica.port}"
        looks = observe(primary, password=PASSWORD, known=known, listed=[name])
        assert looks[replica.address].facts["run_id"] == looks[name].facts["run_id"]
        assert not looks[replica.address].missing

    def test_there_are_no_others(self, guarded):
        """Where all replicas are declared, no other one has a look."""
        primary, replica = guarded
        known = observe(primary, password=PASSWORD).values()
        assert list(observe(primary, password=PASSWORD, known=known, only=[])) == [primary.address]
        assert replica.address in {look.address for look in known}

    def test_address_translation(self):
        """As many listed replicas as the primary counts are those that it names."""
        with ExitStack() as stack:
            primary = stack.enter_context(private(password=PASSWORD))
            replicas = [
                stack.enter_context(
                    private(password=PASSWORD, replica_of=primary, announce=ELSEWHERE)
                )
                for _ in range(2)
            ]
            names = [one.address for one in replicas]
            looks = observe(primary, password=PASSWORD, listed=names)
            assert list(looks) == [primary.address, *names]
            looks = observe(primary, password=PASSWORD, listed=names[:1])
            strangers = {one for one in looks if one.startswith(ELSEWHERE)}
            assert len(strangers) == 2
            # Met as a stranger, and one of the listed ones from now on.
            looks = observe(primary, password=PASSWORD, known=looks.values(), listed=names)
            assert not any(look.missing for look in looks.values())

    def test_a_replica_of_a_replica_stands_for_no_other(self):
        """A listed replica of another replica does not make up for one that is not listed."""
        with (
            private(password=PASSWORD) as primary,
            private(password=PASSWORD, replica_of=primary) as between,
            private(password=PASSWORD, replica_of=between) as last,
        ):
            looks = observe(primary, password=PASSWORD, listed=[last.address])
            assert looks[last.address].facts["master_link_status"] == "up"
            assert looks[between.address].missing

    def test_an_impostor(self):
        """Whoever may replicate, and announces an address, does not get the password."""
        with private(password=PASSWORD) as primary, socket.create_server(("127.0.0.1", 0)) as evil:
            heard = []
            threading.Thread(target=lambda: heard.append(evil.accept()), daemon=True).start()
            port = evil.getsockname()[1]
            with socket.create_connection(("127.0.0.1", primary.port)) as client:
                # The server refuses PSYNC while it has replies for the client.
                for line in (f"AUTH {PASSWORD}", f"REPLCONF listening-port {port}"):
                    client.sendall(f"{line}\r\n".encode())
                    assert client.recv(100) == b"+OK\r\n"
                client.sendall(b"PSYNC ? -1\r\n")
                admin = primary.client(password=PASSWORD)
                wait_for(lambda: admin.info("replication")["connected_slaves"] == 1)
                looks = observe(primary, password=PASSWORD)
            assert looks[f"127.0.0.1:{port}"].missing
            assert not heard


class TestQuiet:
    """A server is looked at when it writes no file."""

    def test_a_save(self, server, redis, configured):
        """A save that goes on is waited for."""
        redis.mset({f"a:{number}": "x" * 1000 for number in range(500)})
        configured("rdb-key-save-delay", 2000)
        redis.bgsave()
        look = observe(server)[server.address]
        assert look.facts["rdb_bgsave_in_progress"] == "0"

    def test_the_calls_of_our_own(self, server, redis):
        """Of the calls of CONFIG only those are not in a look that it says are its own."""
        with LocalServer(replica_of=server):
            look = observe(server)[server.address]
            with connector()(at(server)) as store:
                later = take_look(store)
        if "config" in later.calls or redis.info("server")["redis_version"] < "7":
            assert later.calls["config"] - look.calls.get("config", 0) == look.own_config


class TestRefresh:
    """Files are written anew, one server at a time."""

    @staticmethod
    def refresh(tasks, *primaries, touch=dict):
        """What is done, and the looks."""
        said: list[str | None] = []
        looks = refresh_files(
            tasks,
            connector(),
            primaries=[at(one) for one in primaries],
            touch=touch,
            waiting=said.append,
            refused=lambda _: None,
            should_stop=lambda: None,
        )
        return [one for one in said if one], looks

    def test_a_save(self):
        """Replicas save before their primary, and each has a look before and one after it."""
        with LocalServer() as primary, LocalServer(replica_of=primary) as replica:
            primary.client().set("a", 1)
            tasks = [(primary.address, "rdb"), (replica.address, "rdb")]
            said, looks = self.refresh(tasks, primary)
            assert said == [f"for BGSAVE on {one.address}" for one in (replica, primary)]
            saved = [int(look.facts["rdb_last_save_time"]) for look in looks]
            assert saved[0] < saved[1]
            assert saved[2] < saved[3]

    def test_a_rewrite(self):
        """A value is written first, and no server without such a file makes one."""
        with (
            LocalServer("--appendonly", "yes") as primary,
            LocalServer("--appendonly", "yes", replica_of=primary) as replica,
            LocalServer() as other,
        ):
            primary.client().set("a", 1)
            tasks = [(one.address, "aof") for one in (primary, replica, other)]

            def touch():
                client = primary.client()
                client.set("a", "x" * 1000)
                info = client.info("replication")
                return {info["master_replid"]: info["master_repl_offset"]}

            said, looks = self.refresh(tasks, primary, other, touch=touch)
            assert said[0] == f"for BGREWRITEAOF on {replica.address}"
            assert [look.address for look in looks] == [replica.address] * 2 + [primary.address] * 2
            for before, after in (looks[:2], looks[2:]):
                assert before.facts["aof_base_size"] != after.facts["aof_base_size"]
            assert not list(other.folder.rglob("*aof*"))

    def test_without_the_right(self, server, redis):
        """A user who may not ask for it is told the right, and the server has no new file."""
        with user(redis, "+info", "+config", "+time") as (name, password):
            login = Login(name, password)
            said, refused = [], []
            with capture_logs() as logged:
                refresh_files(
                    [(server.address, "rdb")],
                    lambda address: Store(Connection(address, login).open()),
                    primaries=[at(server)],
                    touch=dict,
                    waiting=said.append,
                    refused=refused.append,
                    should_stop=lambda: None,
                )
        told = "the user lacks the right; grant +bgsave there, then run again; otherwise have"
        assert logged[0]["error"].startswith(told)
        [one] = refused
        assert one.startswith(f"BGSAVE on {server.address} was not done: {told}")
        assert said[-1] is None

    def test_one_that_has_not_caught_up(self):
        """A replica without its primary saves nothing."""
        with LocalServer() as primary, LocalServer(replica_of=primary) as replica:
            replica.client().config_set("masterauth", "wrong")
            primary.client().execute_command("CONFIG", "SET", "requirepass", "other")
            primary.client(password="other").execute_command("CLIENT", "KILL", "TYPE", "replica")
            wait_for(lambda: replica.client().info("replication")["master_link_status"] == "down")
            assert self.refresh([(replica.address, "rdb")])[1] == []


def test_a_look_that_is_missing():
    """A look at a server that was not asked holds the reason, and nothing else."""
    look = missing_look("a:1", "it is away", "b:1")
    assert look == Look("a:1", look.at, missing="it is away", named_by="b:1")
    assert look.at <= utc_now()
