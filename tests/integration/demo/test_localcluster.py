"""The private cluster: it forms, its slots can be moved, and nothing is left of it."""

import pytest
from redis.crc import key_slot

from cluster.local_cluster import LocalCluster, Move
from rotator.demo.local_server import wait_until
from rotator.errors import ServerError
from rotator.server.cluster_nodes import SLOTS


@pytest.fixture(scope="module")
def cluster():
    """Three primaries with a replica each."""
    with LocalCluster(primaries=3, replicas=1) as running:
        yield running


def names_of(slot, count):
    """So many names of one slot."""
    tag = next(str(n) for n in range(10**6) if key_slot(str(n).encode()) == slot)
    return [f"{{{tag}}}{index}" for index in range(count)]


def slots_of(cluster, node):
    """The slots that a node says it owns."""
    spans = cluster.member(node).slots
    return {slot for first, last in spans for slot in range(first, last + 1)}


def stored(node):
    """How many names a node holds, its own or not."""
    return node.client().dbsize()


class TestForming:
    """A cluster that has just come up."""

    def test_has_the_nodes_asked_for(self, cluster):
        """Primaries and replicas are what they are said to be."""
        assert len(cluster.primaries) == 3
        assert len(cluster.replicas) == 3
        assert len(set(cluster.addresses)) == 6

    def test_serves_every_slot_once(self, cluster):
        """All slots are owned, about evenly."""
        shares = [slots_of(cluster, node) for node in cluster.primaries]
        assert set().union(*shares) == set(range(SLOTS))
        assert sum(map(len, shares)) == SLOTS
        assert max(map(len, shares)) - min(map(len, shares)) <= 1

    def test_replicas_follow(self, cluster):
        """What a primary is given arrives at one replica."""
        owner = cluster.owner_of("replicated")
        with cluster.client_for("replicated") as client:
            client.set("replicated", "value")
            assert client.wait(1, 5000) == 1
            client.delete("replicated")
        follows = [cluster.member(node).primary_id for node in cluster.replicas]
        assert cluster.member(owner).id in follows
        assert len(set(follows)) == 3

    @pytest.mark.parametrize(
        "place", ["a name", b"a name", key_slot(b"a name")], ids=["text", "bytes", "slot"]
    )
    def test_finds_the_owner(self, cluster, place):
        """A name, as text or bytes, or its slot lead to the node that serves it."""
        with cluster.client_for(place) as client:
            assert client.get("a name") is None

    def test_without_replicas(self):
        """One primary alone is a cluster; options reach its nodes."""
        with LocalCluster(1, 0, ["--maxmemory", "100mb"]) as small:
            assert small.primaries[0].client().config_get("maxmemory") != {"maxmemory": "0"}
            assert small.replicas == []
            folder = small.nodes[0].folder
        assert small.running == []
        assert not folder.exists()


class TestMovingSlots:
    """Slots move as a reshard moves them, and stop where they are told to."""

    SLOT = 7  # of the first primary, until it is moved

    @pytest.fixture
    def ends(self, cluster):
        """The owner of the slot, another primary, and ten names of the slot at the owner."""
        source = cluster.owner_of(self.SLOT)
        target = next(node for node in cluster.primaries if node is not source)
        names = names_of(self.SLOT, 10)
        for node in (source, target):
            node.client().flushall()
        source.client().mset(dict.fromkeys(names, "value"))
        yield source, target
        for node in (source, target):
            node.client().execute_command("CLUSTER", "SETSLOT", self.SLOT, "STABLE")

    def test_to_the_end(self, cluster, ends):
        """The slot and its names have a new owner, and every node knows."""
        source, target = ends
        assert cluster.move_slots(source, target, [self.SLOT]) == 10
        assert cluster.owner_of(self.SLOT) is target
        assert (stored(source), stored(target)) == (0, 10)
        assert cluster.member(target).moving == ()

    def test_unfinished(self, cluster, ends):
        """The names have moved, the slot has not."""
        source, target = ends
        assert cluster.move_slots(source, target, [self.SLOT], Move.OPEN) == 10
        assert cluster.owner_of(self.SLOT) is source
        assert (stored(source), stored(target)) == (0, 10)
        assert cluster.member(source).moving
        assert cluster.member(target).moving

    def test_halfway(self, cluster, ends):
        """Half of the names have moved, and the slot is open on both sides."""
        source, target = ends
        assert cluster.move_slots(source, target, [self.SLOT], Move.HALF) == 5
        assert (stored(source), stored(target)) == (5, 5)
        assert cluster.member(source).moving
        assert cluster.member(target).moving

    def test_called_off(self, cluster, ends):
        """The names that had moved are orphans: their node does not own the slot."""
        source, target = ends
        assert cluster.move_slots(source, target, [self.SLOT], Move.ABORTED) == 5
        assert cluster.owner_of(self.SLOT) is source
        assert (stored(source), stored(target)) == (5, 5)
        assert cluster.member(source).moving == ()
        assert cluster.member(target).moving == ()


class TestChange:
    """Nodes come, go and change places; each test leaves the cluster whole."""

    def test_a_node_joins(self, cluster):
        """A new node is a primary without slots."""
        node = cluster.add_node()
        assert node in cluster.primaries
        assert slots_of(cluster, node) == set()

    def test_a_replica_joins(self, cluster):
        """A new node can follow a primary from the start."""
        primary = cluster.owner_of(0)
        replica = cluster.add_node(replica_of=primary)
        assert cluster.member(replica).primary_id == cluster.member(primary).id

    def test_a_failover(self, cluster):
        """A replica takes the place of its primary, with its slots."""
        replica = cluster.replicas[0]
        by_id = {cluster.member(node).id: node for node in cluster.primaries}
        primary = by_id[cluster.member(replica).primary_id]
        slots = slots_of(cluster, primary)
        cluster.failover(replica)
        assert slots_of(cluster, replica) == slots
        assert primary in cluster.replicas

    def test_a_crash(self, cluster):
        """When a primary is killed its replica takes over; the node can come back."""
        lost = cluster.owner_of(SLOTS - 1)
        cluster.kill(lost)
        assert lost not in cluster.running

        def obstacle():
            try:
                cluster.owner_of(SLOTS - 1)
            except ServerError as error:
                return str(error)
            return None

        wait_until(obstacle)
        cluster.settle()
        assert cluster.owner_of(SLOTS - 1) is not lost
        lost.start()
        cluster.settle()
        assert lost in cluster.running


def test_nothing_is_left_when_a_node_does_not_start():
    """A cluster that does not come to be is removed."""
    broken = LocalCluster(2, 0, ["--maxmemory-policy", "bogus"])
    with pytest.raises(ServerError, match="did not start"), broken:
        pass
    assert broken.running == []
    assert not any(node.folder.exists() for node in broken.nodes)
