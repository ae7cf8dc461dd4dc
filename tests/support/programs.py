"""
Server programs: one that has an ability, whatever server is at hand.

    with LocalServer(binary=program("tls")) as server: ...

The server at hand is taken if it has the ability, then the embedded one, then one that
`scripts/servers` has fetched into `.cache/servers` (`make test` calls it). Where there is none
the test is not run, and the closing lines of pytest say why.
"""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from redis.exceptions import ResponseError

from rotator.demo.local_server import LocalServer, embedded_binary, find_binary, free_port
from servers import __main__ as servers
from support.server_versions import knows

at_hand_only = False
"""Whether a test is left out that would be run on another server than the one at hand."""


@dataclass(frozen=True)
class Ability:
    """What a program can be asked to have, and which of the servers of the matrix have it."""

    has: Callable[[Path], bool]
    servers: tuple[str, ...]


def version_of(binary):
    """What a server program is, and its version: ("valkey", (9, 1, 2))."""
    words = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    number = words.partition("v=")[2].split()[0]
    kind = words.split()[0].lower()
    return kind, tuple(int(part) for part in number.split("."))


def exchanges(client):
    """Whether a server knows `SET ... IFEQ`, whatever its version says."""
    try:
        return client.execute_command("SET", "nothing", "", "IFEQ", "x", "KEEPTTL") is None
    except ResponseError:
        return False


@cache
def _exchanges(binary):
    with LocalServer(binary=binary) as server, server.client() as client:
        return exchanges(client)


@cache
def _keeps_ttls(binary):
    with LocalServer(binary=binary) as server, server.client() as client:
        return knows(client, "hpexpireat")


@cache
def _speaks_tls(binary):
    """Without TLS a program refuses the port; with it, the lack of a certificate."""
    tried = subprocess.run(
        [binary, "--port", "0", "--tls-port", str(free_port()), "--save", ""],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return "tls-cert-file" in tried.stdout + tried.stderr


ABILITIES = {
    "tls": Ability(_speaks_tls, ("redis-7.0.15", "redis-7.4.1")),
    "ifeq": Ability(_exchanges, ("valkey-8.1.8",)),
    "no-ifeq": Ability(lambda binary: not _exchanges(binary), ("redis-6.2.14", "redis-7.0.15")),
    "field-ttls": Ability(_keeps_ttls, ("redis-7.4.1", "valkey-9.1.2")),
    "no-field-ttls": Ability(lambda one: not _keeps_ttls(one), ("redis-7.0.15", "valkey-8.1.8")),
    "another version": Ability(
        lambda binary: version_of(binary) != version_of(find_binary()), ("valkey-8.1.8",)
    ),
}


HIDING = Ability(
    lambda binary: version_of(binary)[0] == "redis" and version_of(binary)[1] >= (8, 4),
    ("redis-8.6.3",),
)
"""Names in slots that a node does not own are hidden; not every machine can have such a server."""


def program(ability):
    """A server program that has this ability; where there is none, the test is not run."""
    wanted = ABILITIES[ability]
    if at_hand_only and ability != "another version" and not wanted.has(find_binary()):
        pytest.skip(f"says nothing of the server at hand, which lacks {ability!r}")
    if found := _found(wanted):
        return found
    fetch = f"PYTHONPATH=scripts python -m servers {' '.join(wanted.servers)}"
    pytest.skip(f"there is no server with the ability {ability!r}: try `{fetch}`")


def preferred(wanted):
    """A server program that has an ability if there is one, for a test that holds on others too."""
    found = None if at_hand_only else _found(wanted)
    return found or find_binary()


def _found(wanted):
    at_hand = filter(None, (find_binary(), embedded_binary()))
    fetched = (servers.chosen([name])[0].program for name in wanted.servers)
    there = (binary for binary in (*at_hand, *fetched) if binary.exists() and wanted.has(binary))
    return next(there, None)


VERSIONS = ("at hand", "another version")
"""For tests of a server beside another one, and of what every version has to do."""


def program_of(version):
    """The program of one of the `VERSIONS`."""
    return find_binary() if version == "at hand" else program(version)
