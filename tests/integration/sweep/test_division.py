"""A node's names, scanned in parts while its table grows and shrinks: none of them is left out."""

import threading
from contextlib import contextmanager

import pytest

from cluster.local_cluster import LocalCluster
from rotator.config.types import Address
from rotator.demo.local_server import LocalServer
from rotator.server.cluster_nodes import myself
from rotator.server.connection import Connection, Login
from rotator.server.store import START, Store
from rotator.server.wire.versions import scans_by_slot, software
from rotator.sweep.division import WHOLE, divide
from rotator.sweep.node.scan import BEGIN, PageReader

pytestmark = pytest.mark.faults

STABLE = {b"stable:%d" % number for number in range(10_000)}
BLOCKS = [[b"noise:%d:%d" % (block, number) for number in range(10_000)] for block in range(6)]


@pytest.fixture(scope="module")
def standalone():
    """A server by itself, with names that stay."""
    with LocalServer() as server, server.client() as client:
        client.mset(dict.fromkeys(STABLE, b"x"))
        yield server


@pytest.fixture(scope="module")
def clustered():
    """A cluster of one node, with names that stay."""
    with LocalCluster(1, 0) as cluster, cluster.nodes[0].client() as client:
        put(client, STABLE)
        yield cluster.nodes[0]


def put(client, names):
    """Store names of any slots."""
    with client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.execute_command("SET", name, b"x")
        pipe.execute()


def taken(client, names):
    """Take names of any slots away."""
    with client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.execute_command("UNLINK", name)
        pipe.execute()


@contextmanager
def churn(server):
    """Names that come and go all the time, six times as many as those that stay."""
    stopping, grown = threading.Event(), threading.Event()

    def work():
        with server.client() as client:
            while not stopping.is_set():
                for deed in (put, taken):
                    for block in BLOCKS:
                        deed(client, block)
                        if stopping.is_set():
                            break
                    grown.set()
            for block in BLOCKS:
                taken(client, block)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert grown.wait(60)
        yield
    finally:
        stopping.set()
        thread.join()


def connected(server):
    """A store of its own."""
    return Store(Connection(Address("127.0.0.1", server.port), Login()).open())


def parts_of(server, count):
    """The parts that the node has."""
    with connected(server) as store:
        info = store.info("server", "cluster")
        slots = myself(store.members()).slots if store.cluster_enabled() else ()
        return info, divide(info, count, slots)


def is_divided(info):
    """Whether the server is one with which it was tried."""
    return software(info)[0] in {"redis", "valkey"}


def scanned(server, part, spread, found):
    """Scan one part to its end, as the worker does: each page at the cursor of the last one."""
    with connected(server) as store:
        cursor = BEGIN
        while cursor != START:
            reads = lambda: not spread  # noqa: E731 - lanes read by themselves
            reader = PageReader(store, 0, None, cursor, lambda: 100, None, reads, part)
            for _ in range(10):  # then it is a new reader, as after a lost connection
                if page := reader.take():
                    found += page.names
                    cursor = page.cursor


def left_out(server, parts, spread):
    """The names that stay and were in no part, and how many each part had of the others."""
    shares = [[] for _ in parts]
    threads = [
        threading.Thread(target=scanned, args=(server, part, spread, share))
        for part, share in zip(parts, shares, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    met = [STABLE.intersection(share) for share in shares]
    return STABLE.difference(*met), [len(share) for share in met]


@pytest.mark.usefixtures("cursors")
@pytest.mark.parametrize(("count", "spread"), [(1, True), (2, True), (4, False), (4, True)])
@pytest.mark.parametrize("kind", ["standalone", "clustered"])
def test_growing_and_shrinking(request, kind, count, spread):
    """Every name that is there all the time is in a part, and the parts are of one size."""
    server = request.getfixturevalue(kind)
    info, parts = parts_of(server, count)
    if not is_divided(info) or (kind == "clustered" and not scans_by_slot(info)):
        assert parts == (WHOLE,)  # where cursors have no slot a cluster is not divided
        return
    assert len(parts) == count
    with churn(server):
        missed, shares = left_out(server, parts, spread)
    assert missed == set()
    assert min(shares) > len(STABLE) // count * 0.7


def test_parts_meet_little_twice(standalone):
    """Only the last page of a part reaches into the next one."""
    _, parts = parts_of(standalone, 4)
    missed, shares = left_out(standalone, parts, spread=False)
    assert missed == set()
    assert sum(shares) < len(STABLE) * 1.2


@pytest.mark.usefixtures("cursors")
def test_cursors_meet_little_twice(standalone):
    """Only where a cursor ends it has met names of the next one."""
    _, parts = parts_of(standalone, 1)
    missed, [share] = left_out(standalone, parts, spread=True)
    assert missed == set()
    assert share < len(STABLE) * 1.1


@pytest.mark.usefixtures("cursors")
def test_neighbours_in_a_page(standalone):
    """The names of a page are of several cursors, in turn; of one, where a node has only that."""
    info, [part] = parts_of(standalone, 1)
    with connected(standalone) as store:
        reader = PageReader(store, 0, None, BEGIN, lambda: 100, None, lambda: False, part)
        page = reader.take()
        singly = [store.page(b"%d" % cursor, None, 17)[1] for cursor in range(6)]
    first, *others = [name in names for name, names in zip(page.names, singly, strict=False)]
    assert first
    assert all(others) == any(others) == is_divided(info)
