"""Finding every node that owns data, on real servers in every disorder."""

import itertools
import json
import re
import signal
import socket
from contextlib import contextmanager

import pytest
from redis.exceptions import ResponseError
from structlog.testing import capture_logs

from cluster.local_cluster import LocalCluster, Move, ask, member, members
from rotator.config.types import Address
from rotator.demo.local_server import LocalServer
from rotator.errors import Exit, LoginError, ServerError
from rotator.server.cluster_nodes import SLOTS
from rotator.server.connection import Connection, Login
from rotator.server.store import Store
from rotator.server.topology import discover
from support.caches import Cache, Place, wait_for
from support.clusters import FAST, check, fill, flush, lone_node
from support.processes import run_here
from support.respfront import RespFront, bulk
from support.server_versions import since

UNREACHABLE = "203.0.113.7"  # RFC 5737: nobody is there


def at(node):
    """Where a private server listens."""
    return Address("127.0.0.1", node.port)


def everywhere(nodes):
    """The addresses of some servers."""
    return {at(node) for node in nodes}


def reach(address):
    """A store at an address."""
    return Store(Connection(address, Login(), timeout=1).open())


def look(*nodes, patience=0.0, connect=reach, **more):
    """The topology as found from some nodes, without waiting."""
    addresses = [node if isinstance(node, Address) else at(node) for node in nodes]
    return discover(addresses, connect, settle_timeout=patience, **more)


@pytest.fixture(scope="module")
def pair():
    """A primary that owns every slot, and one that owns none; every test leaves them so."""
    with LocalCluster(1, 0) as running:
        running.add_node()
        yield running


@pytest.fixture
def ends(pair):
    """Both of them."""
    pair.settle()
    return pair.nodes


@contextmanager
def announcing(node, **settings):
    """A node that announces something else than it is, for as long as the block lasts."""
    with node.client() as client:
        before = {name: client.config_get(name) for name in map(dashed, settings)}
        for name, value in settings.items():
            client.config_set(dashed(name), value)
        try:
            yield
        finally:
            for answer in before.values():
                for name, value in answer.items():
                    client.config_set(name, value)


def older(node, *version):
    """Whether a node is of a version before that one."""
    with node.client() as client:
        return not since(client, *version)


def dashed(name):
    """A server setting written as a Python name."""
    return name.replace("_", "-")


class TestStandalone:
    """Servers that are no cluster."""

    def test_one(self, server):
        """One address is one server."""
        found = look(server)
        assert (found.mode, found.primaries, found.replicas) == ("standalone", [at(server)], ())
        assert found.slots_covered is None
        assert found.problems == found.moves == found.unlisted == ()

    def test_a_server_and_its_replicas(self):
        """Several addresses may be one server's: only the primary owns data."""
        with (
            LocalServer() as primary,
            LocalServer(replica_of=primary) as replica,
            LocalServer(replica_of=replica) as replica_of_it,
        ):
            found = look(replica_of_it, replica, primary)
            assert found.primaries == [at(primary)]
            assert set(found.replicas) == everywhere([replica, replica_of_it])

    def test_a_server_by_two_names(self, server):
        """The same process under two addresses is visited once."""
        with_name = Address("localhost", server.port)
        assert look(server, with_name).primaries == [at(server)]

    def test_only_a_replica(self):
        """A replica alone is refused, and its primary named."""
        with LocalServer() as primary, LocalServer(replica_of=primary) as replica:
            with pytest.raises(ServerError, match="is a replica of") as caught:
                look(replica)
            assert str(at(primary)) in caught.value.hint

    def test_a_chain_without_links(self):
        """A replica without a link may follow another one that is listed, by whichever name."""
        refused = ("--masteruser", "nobody", "--masterauth", "wrong")
        with LocalServer() as first, LocalServer(*refused) as second, LocalServer(*refused) as last:
            for replica, primary in ((second, first), (last, second)):
                with replica.client() as client:
                    client.replicaof("127.0.0.1", primary.port)
            named = [Address("localhost", one.port) for one in (first, second, last)]
            assert look(*named).primaries == named[:1]

    def test_replicas_of_each_other(self):
        """Where listed servers follow each other nobody is the primary, and that is said."""
        with LocalServer() as one, LocalServer() as other:
            for replica, primary in ((one, other), (other, one)):
                with replica.client() as client:
                    client.replicaof("127.0.0.1", primary.port)
            with pytest.raises(ServerError, match="follow each other: none is a primary"):
                look(one, other)

    def test_a_replica_of_somebody_else(self):
        """A replica whose primary is not configured is refused beside another primary."""
        with (
            LocalServer() as listed,
            LocalServer() as unlisted,
            LocalServer(replica_of=unlisted) as replica,
            pytest.raises(ServerError, match=f"{at(replica)} is a replica of {at(unlisted)}"),
        ):
            look(listed, replica)

    def test_one_does_not_answer(self, server, closed_port):
        """Of a server that does not answer nobody knows whether it owns data."""
        with pytest.raises(ServerError, match="cannot connect"):
            look(server, Address("127.0.0.1", closed_port))

    def test_waits_for_one_that_was_there(self):
        """A server that was there before is waited for, until somebody is in a hurry."""
        with LocalServer() as server:
            before = look(server)
            server.stop()
            asked = []

            def hurry():
                asked.append(1)
                if len(asked) == 2:
                    server.start()
                return len(asked) > 3

            assert look(server, patience=60, known=before, should_stop=hurry).primaries == [
                at(server)
            ]
            server.stop()
            with pytest.raises(ServerError):
                look(server, patience=60, known=before, should_stop=hurry)

    def test_does_not_wait_for_a_login(self, server):
        """A refused login does not become better by waiting."""

        def connect(address):
            return Store(Connection(address, Login("nobody", "wrong")).open())

        with pytest.raises(LoginError):
            look(server, patience=60, connect=connect, known=look(server))


class TestFinding:
    """A cluster in order."""

    def test_one_address_is_enough(self, cluster):
        """Every node is found from any one of them, primary or replica."""
        for node in (cluster.primaries[0], cluster.replicas[0]):
            found = look(node, patience=10)
            assert found.mode == "cluster"
            assert set(found.primaries) == everywhere(cluster.primaries)
            assert set(found.replicas) == everywhere(cluster.replicas)
            assert found.slots_covered == SLOTS
            assert found.problems == found.moves == ()

    def test_unlisted(self, cluster):
        """Primaries that are not configured are named; replicas are not missed."""
        first, *others = cluster.primaries
        assert set(look(first).unlisted) == everywhere(others)
        assert look(*cluster.primaries).unlisted == ()

    def test_one_address_of_all(self, cluster):
        """An address that leads to another node each time is only where to ask."""
        balanced, nodes = Address("127.0.0.9", 6379), itertools.cycle(cluster.primaries)

        def connect(address):
            return reach(at(next(nodes)) if address == balanced else address)

        for _ in cluster.primaries:
            found = look(balanced, connect=connect)
            assert set(found.primaries) == everywhere(cluster.primaries)
            assert (found.seeds, found.problems) == ((balanced,), ())
            assert len(found.unlisted) == len(cluster.primaries) - 1

    def test_one_address_of_all_is_enough_to_check_and_to_run(self, cluster, tmp_path):
        """Behind a balancer `check` and a run find the same nodes, and every value is rotated."""
        with Balancer(cluster.primaries) as front:
            place = Place(tmp_path, Cache(front.address))
            expected = fill(cluster, place.cache, 100)
            done = run_here(["check", "--config", place.file, "--format", "json"])
            steps = {one["step"]: one["detail"] for one in json.loads(done.stdout)["steps"]}
            report = place.run(workers=1, **FAST)
        assert (done.returncode, report.exit_code) == (0, Exit.OK)
        assert steps["topology"].startswith("cluster, 3 primaries")
        assert {node.node for node in report.caches[0].coverage.nodes} == {
            node.address for node in cluster.primaries
        }
        check(cluster, place.cache, expected)

    def test_slots(self, cluster):
        """What each primary owns is known."""
        found = look(*cluster.primaries)
        owned = {at(node): cluster.member(node).slots for node in cluster.primaries}
        assert found.slots == owned

    def test_primary_without_slots(self, ends):
        """A node that was just added counts: names may be on their way to it."""
        full, empty = ends
        found = look(full)
        assert set(found.primaries) == everywhere([full, empty])
        assert found.problems == ()

    def test_node_that_the_first_does_not_know(self, cluster):
        """A node that is missing from one view is found through another."""
        first, _, third = cluster.primaries
        hidden = member(third).id

        # Real nodes do not keep still: since 7.2 they tell each other whom they forgot.
        class Unaware(Store):
            def members(self):
                return [one for one in super().members() if one.id != hidden]

        def connect(address):
            store = reach(address)
            return Unaware(store.connection) if address == at(first) else store

        assert set(look(first, connect=connect).primaries) == everywhere(cluster.primaries)

    def test_configured_nodes_are_gone(self, cluster, closed_port):
        """Where no configured node answers, those known from before are asked."""
        before = look(cluster.primaries[0])
        nowhere = Address("127.0.0.1", closed_port)
        found = look(nowhere, known=before)
        assert set(found.primaries) == everywhere(cluster.primaries)
        with pytest.raises(ServerError):
            look(nowhere)

    def test_a_stranger(self, ends, server):
        """A server that is configured and is no node of the cluster is not passed over."""
        found = look(ends[0], server)
        assert found.problems == (
            f"{at(server)} is not a node of the cluster: nothing looks at what it holds",
        )


class TestDisorder:
    """Clusters that are not whole: each trouble is named."""

    def test_uncovered(self, ends):
        """Slots that nobody owns are named, and not counted as covered."""
        ask(ends[0], "CLUSTER", "DELSLOTS", 7, 8, 100)
        found = look(*ends)
        ask(ends[0], "CLUSTER", "ADDSLOTS", 7, 8, 100)
        assert "nobody owns the slots 7-8, 100" in found.problems
        assert found.slots_covered == SLOTS - 3

    def test_owner_that_all_others_forgot(self):
        """A node of which nobody tells is not found, but its slots are missed."""
        with lone_node() as first, lone_node() as second:
            for epoch, node in enumerate((first, second)):
                ask(node, "CLUSTER", "ADDSLOTS", *range(epoch * 8192, (epoch + 1) * 8192))
                ask(node, "CLUSTER", "SET-CONFIG-EPOCH", epoch + 1)
            ask(first, "CLUSTER", "MEET", "127.0.0.1", second.port)
            gone = member(second).id  # until they have shaken hands it has another one there
            wait_for(lambda: gone in {one.id for one in members(first)})
            wait_for(lambda: not look(first).problems)
            ask(first, "CLUSTER", "FORGET", gone)
            found = look(first)
            assert set(found.primaries) == everywhere([first])
            assert "nobody owns the slots 8192-16383" in found.problems

    def test_open_move(self, pair, ends):
        """A slot on the move is named by both sides, and is no reason to wait."""
        full, empty = ends
        pair.move_slots(full, empty, [7], Move.OPEN)
        found = look(full, patience=60)
        for node in ends:
            ask(node, "CLUSTER", "SETSLOT", 7, "STABLE")
        assert set(found.moves) == {
            f"slots are being moved at {at(full)}: [7->-{member(empty).id}]",
            f"slots are being moved at {at(empty)}: [7-<-{member(full).id}]",
        }
        assert found.problems == ()

    def test_views_that_disagree(self, ends):
        """Two nodes that do not agree about a slot are named, until they do."""
        full, empty = ends
        ask(full, "CLUSTER", "SETSLOT", 7, "NODE", member(empty).id)
        found = look(full)
        assert set(found.problems) == {
            f"{at(full)} and {at(empty)} disagree about who owns what",
            f"{at(empty)} and {at(full)} disagree about who owns what",
            "nobody owns the slots 7",
        }
        for node in (empty, full):
            ask(node, "CLUSTER", "SETSLOT", 7, "NODE", member(full).id)
        assert look(full, patience=20).problems == ()

    def test_dead_primary(self):
        """A primary that died without a replica is named with its slots, after the patience."""
        with LocalCluster(3, 0, ["--cluster-node-timeout", "1000"]) as cluster:
            lost = cluster.primaries[1]
            slots = cluster.member(lost).slots
            cluster.kill(lost)
            found = look(*cluster.nodes, patience=1.0)
            [problem] = [one for one in found.problems if "does not answer" in one]
            assert str(at(lost)) in problem
            assert f"{slots[0][0]}-{slots[0][1]}" in problem
            assert not any("nobody owns" in one for one in found.problems)
            assert found.slots_covered == SLOTS - (slots[0][1] - slots[0][0] + 1)

    def test_frozen_node(self):
        """A node that hangs is taken for failing by its neighbours, and does not answer us."""
        with LocalCluster(2, 0, ["--cluster-node-timeout", "1000"]) as cluster:
            first, second = cluster.nodes
            second.signal(signal.SIGSTOP)
            try:
                found = look(first, patience=0)
                assert any("does not answer" in one for one in found.problems)
            finally:
                second.signal(signal.SIGCONT)
            assert look(first, patience=20).problems == ()


class TestAddresses:
    """Nodes that call themselves something else than where they are reached."""

    def test_host_names(self, cluster):
        """An announced host name is what is connected to."""
        if older(cluster.nodes[0], 7, 0):
            with pytest.raises(ResponseError, match="Unsupported CONFIG"):
                ask(cluster.nodes[1], "CONFIG", "SET", "cluster-announce-hostname", "localhost")
            return
        with announcing(cluster.nodes[1], cluster_announce_hostname="localhost"):
            named = Address("localhost", cluster.nodes[1].port)
            wait_for(lambda: named in look(cluster.nodes[0]).nodes)
            assert Address("127.0.0.1", named.port) not in look(cluster.nodes[0]).nodes
        wait_for(lambda: named not in look(cluster.nodes[0]).nodes)

    def test_ipv6(self, ends):
        """A node that announces an IPv6 address is asked there."""
        seen = []

        def connect(address):
            seen.append(address)
            # Reached over IPv6 where the machine has it; what is read is the same.
            host = address.host if has_ipv6(address.port) else "127.0.0.1"
            return Store(Connection(Address(host, address.port), Login()).open())

        full, node = ends
        # Before 6.2 a server that runs does not begin to listen elsewhere.
        listening = {} if older(node, 6, 2) else {"bind": "127.0.0.1 -::1"}
        with announcing(node, **listening), announcing(node, cluster_announce_ip="::1"):
            named = Address("::1", node.port)
            wait_for(lambda: named in look(full, connect=connect).nodes)
            assert named in seen
            assert str(named) == f"[::1]:{node.port}"

    def test_unreachable_address_mapped_back(self, tmp_path):
        """A node behind NAT is reached through the address map, and rotated."""
        with LocalCluster(1, 0) as alone:
            self.rotate_unreachable(alone, tmp_path)

    def rotate_unreachable(self, alone, tmp_path):
        """Rotate a cluster of one node that announces an address where nobody is."""
        [node] = alone.nodes
        seen = f"{UNREACHABLE}:6379"
        with announcing(node, cluster_announce_ip=UNREACHABLE, cluster_announce_port=6379):
            settings = {"addressMap": {seen: str(at(node))}}
            cache = Cache(seen, settings=settings)
            place = Place(tmp_path, cache)
            expected = fill(alone, cache, 300)
            report = place.run(**FAST)
            assert report.exit_code == Exit.OK
            assert report.caches[0].coverage.nodes[0].node == seen
            check(alone, cache, expected)

    def test_ports_mapped_back(self, cluster, tmp_path):
        """Three nodes that announce other ports are found, and redirections are followed there."""
        flush(cluster)
        mapped = {f"127.0.0.1:{1000 + i}": str(at(node)) for i, node in enumerate(cluster.nodes)}
        cache = Cache(next(iter(mapped)), settings={"addressMap": mapped})
        place = Place(tmp_path, cache)
        expected = fill(cluster, cache, 600)
        with Announced(cluster.nodes, ports=range(1000, 1000 + len(cluster.nodes))):
            if older(cluster.nodes[0], 7, 0):  # what to announce is learnt at the start only
                assert [member(node).address for node in cluster.nodes] == [*map(at, cluster.nodes)]
                return
            wait_for(lambda: _ports(cluster) == {1000 + i for i in range(len(cluster.nodes))})
            report = place.run(**FAST)
            nodes = {node.node for node in report.caches[0].coverage.nodes}
            assert nodes <= set(mapped)
            assert len(nodes) == 3
            assert report.exit_code == Exit.OK
        cluster.settle()
        check(cluster, cache, expected)


class TestWarning:
    """What the report says of nodes that the configuration does not list."""

    def test_unlisted_primaries(self, cluster, tmp_path):
        """They are named, with what the Orchestrator would do."""
        flush(cluster)
        first, *others = cluster.primaries
        cache = Cache(first.address)
        fill(cluster, cache, 60)
        [found] = Place(tmp_path, cache).run(dry_run=True, **FAST).caches
        [warning] = [one for one in found.warnings if "MOVED" in one]
        assert all(node.address in warning for node in others)
        assert first.address not in warning


class Balancer(RespFront):
    """One address of several servers: each connection reaches the next of them."""

    def __init__(self, servers):
        super().__init__(servers[0].port, lambda _words, _ask: None)
        self._ports = itertools.cycle(server.port for server in servers)

    def serve(self, commands, replies):
        """Serve one client with the server whose turn it is."""
        self._target = next(self._ports)
        super().serve(commands, replies)


class Announced:
    """Nodes that announce other ports for as long as the block lasts."""

    def __init__(self, nodes, ports):
        self._ports = dict(zip(nodes, ports, strict=True))

    def __enter__(self):
        for node, port in self._ports.items():
            ask(node, "CONFIG", "SET", "cluster-announce-bus-port", node.port + 10_000)
            ask(node, "CONFIG", "SET", "cluster-announce-port", port)

    def __exit__(self, *_):
        for node in self._ports:
            ask(node, "CONFIG", "SET", "cluster-announce-port", 0)
            ask(node, "CONFIG", "SET", "cluster-announce-bus-port", 0)


def _ports(cluster):
    """The ports that every node says all of them have."""
    views = [
        frozenset(
            int(line.split(b"@")[0].rpartition(b":")[2])
            for line in ask(node, "CLUSTER", "NODES").splitlines()
        )
        for node in cluster.nodes
    ]
    return set(views[0]) if len(set(views)) == 1 else set()


def has_ipv6(port):
    """Whether this machine reaches a port over IPv6."""
    try:
        with socket.create_connection(("::1", port), timeout=1):
            return True
    except OSError:
        return False


class TestSilentReplicas:
    """A configured server that does not answer stops nothing if it is known as a replica."""

    def test_one_that_was_met(self, server, closed_port):
        """One that earlier runs met as a replica, or that the primary names, may be silent."""
        addresses = [at(server), Address("127.0.0.1", closed_port)]
        with pytest.raises(ServerError, match=str(closed_port)):
            discover(addresses, reach, settle_timeout=0)
        found = discover(addresses, reach, settle_timeout=0, replicas=[str(addresses[1])])
        assert found.primaries == addresses[:1]
        with LocalServer(replica_of=server) as replica:
            replica.signal(signal.SIGSTOP)
            addresses[1] = at(replica)
            assert discover(addresses, reach, settle_timeout=0).primaries == addresses[:1]

    def test_none_answers(self, closed_port):
        """Where no server answers, that one is known is no help."""
        address = Address("127.0.0.1", closed_port)
        with pytest.raises(ServerError, match="cannot connect"):
            discover([address], reach, settle_timeout=0, replicas=[str(address)])


class TestSentinel:
    """A Sentinel knows where the primary is, and holds nothing."""

    SAID = r"is a Sentinel; .* the primary is 10\.0\.0\.7:6379"

    def test_a_sentinel_says_where_the_primary_is(self, server, tmp_path):
        """Its address is refused, with that of the primary; no real one is at hand."""

        def answer(words, _ask):
            told = {
                b"server": b"redis_version:7.0.15\r\nredis_mode:sentinel\r\n",
                b"sentinel": b"master0:name=m,status=ok,address=10.0.0.7:6379,slaves=0\r\n",
            }
            return bulk(told.get(words[1], b"")) if words[0] == b"INFO" else None

        with RespFront(server.port, answer) as front:
            with pytest.raises(ServerError, match=self.SAID):
                look(Address.parse(front.address))
            place = Place(tmp_path, Cache(front.address))
            for command in ("check", "run"):
                done = run_here([command, "--config", place.file])
                assert done.returncode == Exit.FAILED
                assert re.search(self.SAID, " ".join(f"{done.stdout} {done.stderr}".split()))


def test_a_server_that_is_away_is_waited_for_in_few_lines(server):
    """That a server is away is said once, and once that it is back, however often it is asked."""
    known, asked = look(at(server)), []

    def reach_later(address):
        asked.append(address)
        if len(asked) < 4:
            raise ServerError("it is away")
        return reach(address)

    with capture_logs() as lines:
        found = look(at(server), patience=30.0, connect=reach_later, known=known)
    assert found.primaries == known.primaries
    assert found.names_of == {at(server): found.names}
    assert len(asked) >= 4
    said = [line["event"] for line in lines]
    assert said == ["waiting for the server", "no longer waiting"]


def test_a_wait_that_was_too_short_is_not_called_over(server):
    """That a server has not come back is said, and not that nobody waits any longer."""
    known = look(at(server))

    def reach_half(address):
        raise ServerError(f"{address} is away")

    with capture_logs() as lines, pytest.raises(ServerError, match="is away"):
        look(at(server), patience=0.1, connect=reach_half, known=known)
    assert [line["event"] for line in lines] == ["waiting for the server", "gave up waiting"]
