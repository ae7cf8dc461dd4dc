"""Real clients: which are meant, how a trial goes, and what is said of those that cannot be had."""

import json
import sys

import pytest

from clients import __main__ as program
from clients.client import CLIENTS, OPTIONAL, Client, chosen
from clients.cookbook import rows
from clients.runtimes import PROGRAMS, RUBY, ClientError, NotHereError, Runtime, run
from clients.trial import TrialError, tried
from rotator.demo.local_server import LocalServer

HERE = Runtime("Python", lambda: [sys.executable, PROGRAMS / "python" / "client.py"])
"""The program of the Python clients in the environment of the tests: cryptography is in both."""
BOUND = "cryptography, the entry's name authenticated"


@pytest.fixture
def server():
    """A private server."""
    with LocalServer() as private:
        yield private


class Swapped(Client):
    """A client that takes each key for the other one."""

    @property
    def described(self):
        """Tell the keys the wrong way round."""
        told = super().described
        names = list(told.derived)
        return told._replace(derived=dict(zip(names, reversed(told.derived.values()), strict=True)))


class TestChoice:
    """Words on the command line."""

    def test_each_is_a_row_of_the_cookbook(self):
        """No client is without an entry."""
        assert {client.name for client in CLIENTS} <= {row.name for row in rows()}

    def test_words_are_parts_of_names(self):
        """However they are written; without a word all clients are meant."""
        assert [client.name for client in chosen(["CLOAK"])] == ["@47ng/cloak"]
        assert chosen([]) == list(CLIENTS)
        assert chosen(["nobody"]) == []


class TestLocks:
    """What is installed for the clients."""

    def test_npm(self):
        """Each package has a version and a hash, and no place to fetch it from is named."""
        folder = PROGRAMS / "node"
        asked = json.loads((folder / "package.json").read_text())["dependencies"]
        locked = json.loads((folder / "package-lock.json").read_text())["packages"]
        assert locked.pop("")["dependencies"] == asked
        assert all("integrity" in package for package in locked.values())
        assert not any("resolved" in package for package in locked.values())
        for name, version in asked.items():
            assert locked[f"node_modules/{name}"]["version"] == version


class TestTrial:
    """A client, rotator, and the client again."""

    def test_it_reads_everything(self, server):
        """With the entry of the cookbook, and with what detect prints."""
        assert tried(Client(BOUND, HERE), server).endswith(
            "reads 7 values by the entry, 8 as detected"
        )

    def test_it_does_not(self, server, capsys):
        """A client that reads with another key than rotator wrote with reads less, and fails."""
        client = Swapped(BOUND, HERE)
        with pytest.raises(TrialError, match="the client reads 0 of 7 with the new key alone"):
            tried(client, server)
        assert not program.trial(client, server)
        assert "FAILED: the client reads 0 of 7" in capsys.readouterr().out


class TestMissing:
    """Clients that cannot be had."""

    def test_one_that_is_optional(self, monkeypatch, tmp_path, capsys, server):
        """It is named with what would bring it, and is no failure."""
        monkeypatch.setenv("PATH", str(tmp_path))
        [client] = [one for one in chosen(["Rails"]) if one.runtime is RUBY]
        assert client.runtime in OPTIONAL
        assert program.trial(client, server)
        assert "not to be had: there is no ruby on this machine" in capsys.readouterr().out

    def test_one_that_is_not(self, capsys, server):
        """It is named, and is a failure."""

        def missing():
            raise NotHereError("the index does not answer")

        assert not program.trial(Client(BOUND, Runtime("Python", missing)), server)
        assert "not to be had: the index does not answer" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("script", "kind"),
        [("echo word >&2; exit 3", NotHereError), ("echo word >&2; exit 1", ClientError)],
    )
    def test_a_program_that_fails(self, script, kind):
        """The code says whether the client is missing; the last words are in the message."""
        with pytest.raises(kind, match=r"^word$"):
            run("sh", "-c", script)
