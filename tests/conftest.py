"""What every test may ask for: a real server, an empty database, a place for the state."""

import pytest

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
