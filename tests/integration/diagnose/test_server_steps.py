"""
Steps of `rotator check` where INFO lacks fields.

No server that there is lacks them, so a front takes them away.
"""

import pytest

from rotator.config.load import load
from rotator.diagnose import server_steps
from rotator.diagnose.steps import Probe
from support.caches import NO_FILES, Cache, Place
from support.respfront import RespFront, without

LACKING = {
    "replicas": (server_steps.role, b"connected_slaves", "primary, replicas not known"),
    "version": (server_steps.version, b"redis_version", "not known: INFO does not say"),
    "memory": (
        server_steps.memory_policy,
        b"used_memory:",
        "not known: INFO does not say; noeviction",
    ),
    "saves": (server_steps.persistence, b"rdb_last_save_time", "AOF off, RDB not known"),
    "file": (
        server_steps.persistence,
        b"aof_enabled",
        "AOF not known, RDB saved or server started ",
    ),
}


@pytest.mark.parametrize("lacking", LACKING)
def test_fields_that_info_lacks(lacking, server, tmp_path):
    """A field that is not there is said to be not known, and never shown as None or 1970."""
    step, field, detail = LACKING[lacking]
    with RespFront(server.port, without(field)) as front:
        place = Place(tmp_path, Cache(front.address, settings=NO_FILES))
        config = load([place.file])
        (cache,) = config.caches
        probe = Probe(config, cache, None, address=cache.addresses[0])
        told = step(probe)
        probe.node.connection.close()

    assert told.startswith(detail)
