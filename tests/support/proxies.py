"""Proxies to put before servers: haproxy, which asks their roles, and twemproxy."""

import socket
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

from hiredis import pack_command

from rotator.demo.local_server import free_port
from support.caches import wait_for
from support.processes import found

HAPROXY = """
global
    stats socket {folder}/stats
defaults
    mode tcp
    timeout connect 2s
    timeout client 1m
    timeout server 1m
listen cache
    bind 127.0.0.1:{port}
    {balance}
    option tcp-check
    tcp-check connect
    tcp-check send PING\\r\\n
    tcp-check expect string +PONG
    tcp-check send info\\ replication\\r\\n
    tcp-check expect string {expected}
    tcp-check send QUIT\\r\\n
    tcp-check expect string +OK
    default-server check inter 100ms fall 1 rise 1 {more}
"""
"""The form that operators use for a primary with replicas: who says role:master gets all."""

NUTCRACKER = """
cache:
  listen: 127.0.0.1:{port}
  hash: md5
  distribution: modula
  redis: true
  servers:
"""


def answers(port):
    """Whether a PING comes through: of what clients begin with, twemproxy knows no more."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as plain:
        plain.sendall(pack_command(("PING",)))
        return plain.recv(7) == b"+PONG\r\n"
    return False


def checked(stats):
    """Whether haproxy has asked every server for its role: until then each is taken for up."""
    with socket.socket(socket.AF_UNIX) as plain, plain.makefile("rb") as told:
        plain.connect(str(stats))
        plain.sendall(b"show stat\n")
        names, *rows = (line.decode().split(",") for line in told.read().splitlines() if line)
    place = names.index("check_status")
    return all(row[place].startswith("L") for row in rows if row[1].startswith("s"))


@contextmanager
def running(program, package, text, *options):
    """A proxy with this configuration, which is formatted with its *port*; gives the port."""
    path = found(program, package)
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "proxy.conf"
        file.write_text(text.replace("{port}", str(port)).replace("{folder}", folder))
        with (Path(folder) / "log").open("wb") as log:
            command = [path, *(one.format(file=file, folder=folder) for one in options)]
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
            try:
                stats = Path(folder) / "stats"
                wait_for(lambda: answers(port) or process.poll() is not None)
                assert process.poll() is None, (Path(folder) / "log").read_text()
                wait_for(lambda: not stats.exists() or checked(stats))
                yield port
            finally:
                process.kill()
                process.wait()


def haproxy(*servers, balance="", expected="role:master", more="on-marked-down shutdown-sessions"):
    """A haproxy before *servers*: each connection goes to one that answers as is *expected*."""
    text = HAPROXY.format(
        port="{port}", folder="{folder}", balance=balance, expected=expected, more=more
    )
    lines = [f"    server s{i} {one.address}\n" for i, one in enumerate(servers)]
    return running("haproxy", "haproxy", text + "".join(lines), "-f", "{file}", "-db")


def nutcracker(*servers):
    """A twemproxy before *servers*: each name has its server."""
    lines = [f"   - {one.address}:1\n" for one in servers]
    options = ("-c", "{file}", "-p", "{folder}/pid", "-s", str(free_port()), "-a", "127.0.0.1")
    return running("nutcracker", "nutcracker", NUTCRACKER + "".join(lines), *options)
