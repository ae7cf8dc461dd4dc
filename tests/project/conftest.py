"""What tests of the documents share: a server with a user, a configuration, and a shell."""

import re

import pytest

from rotator.demo.local_server import LocalServer
from support.documents import DOCUMENTS
from support.scene import Scene

PURGING = ("+unlink", "+evalsha", "+script|load")
"""What `purge` needs besides, as the page on the configuration says."""


@pytest.fixture
def scene(tmp_path):
    """A fresh server, a configuration and a shell as the documents have them."""
    text = DOCUMENTS["configuration"].read_text()
    [rule] = re.findall(r"^(ACL SETUSER rotator .*)$", text, re.MULTILINE)
    with LocalServer() as server, server.client() as redis:
        # Without the last, the page says, a key may stay `verifying`.
        redis.execute_command(*rule.split(), *PURGING, "+cluster|myid")
        yield Scene(tmp_path, server, redis)
