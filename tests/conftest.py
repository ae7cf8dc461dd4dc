"""What every test may ask for: a real server, an empty database, a place for the state."""

import pytest
from caches import Cache, Place
from clusters import flush

from rotator.localcluster import LocalCluster
from rotator.server import LocalServer


@pytest.fixture(scope="session")
def server():
    """One real server for the whole session; tests that break servers start their own."""
    with LocalServer() as running:
        yield running


@pytest.fixture
def redis(server):
    """A client of the session's server, with every database empty."""
    with server.client() as client:
        client.flushall()
        client.config_resetstat()
        yield client


@pytest.fixture
def place(server, redis, tmp_path):  # noqa: ARG001 - redis empties the server first
    """A configuration of one cache on the session's empty server, and a state file."""
    return Place(tmp_path, Cache(server.address))


@pytest.fixture
def configured(redis):
    """Sets server settings of the session's server for one test: `configured("maxmemory", 1)`."""
    before = {}

    def configure(name, value):
        before.update(redis.config_get(name))
        redis.config_set(name, value)

    yield configure
    for name, value in before.items():
        redis.config_set(name, value)


@pytest.fixture(scope="session")
def whole_cluster():
    """Three primaries with a replica each, for tests that leave them in order."""
    with LocalCluster(3, 1) as running:
        yield running


@pytest.fixture
def cluster(whole_cluster):
    """The session's cluster, empty, with every node in its place."""
    flush(whole_cluster)
    yield whole_cluster
    whole_cluster.settle()
