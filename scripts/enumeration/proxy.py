"""
A proxy before a server that counts commands, and breaks something at one of them.

It hands commands on one by one, each when the one before it is answered, so "before command 17" is
a moment at which the server has carried out 16 and has not seen the next. Several proxies share one
`Meter`: commands to all servers are counted together. Of the questions how many names are in each
of 16,384 slots, which are sent together, one in 4,096 counts.
"""

from __future__ import annotations

import select
import socket
import socketserver
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from typing import Any, Final

import hiredis

_READ_BYTES: Final = 1 << 16
_LATE_SECONDS: Final = 10.0  # longer than anybody waits for a reply here
_ONE_IN: Final = 4096  # slots
_CONFIRMED_BY_PUSH: Final = {b"SUBSCRIBE", b"UNSUBSCRIBE"}  # of one channel, in RESP3


class Fault(StrEnum):
    """What happens at a command."""

    KILLED_BEFORE = "killed before"  # the process that sent it; the server does not see it
    KILLED_AFTER = "killed after"  # the server has carried it out, and nobody hears of it
    CUT = "cut"  # the connection is closed, the server does not see it
    REPLY_LOST = "reply lost"  # the server has carried it out, then the connection is closed
    REPLY_LATE = "reply late"  # the reply does not come before its deadline


class Meter:
    """
    Meter: counts commands while it is set, and says at which one which fault is to happen.

    *broken* takes what a client does that it must not.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.broken: list[str] = []
        self.count = 0
        self.happened: bytes | None = None
        self._at: int | None = None
        self.fault = Fault.CUT
        self.kill: Callable[[], object] = lambda: None

    def set(self, at: int | None, fault: Fault = Fault.CUT) -> None:
        """Count from 0, and have *fault* happen at command number *at*, the first is 1."""
        with self._lock:
            self.count, self.happened, self.broken = 0, None, []
            self._at, self.fault = at, fault

    @property
    def is_set(self) -> bool:
        """Whether it counts."""
        return self._at is not None

    def take(self, words: list[bytes]) -> Fault | None:
        """Count a command; return the fault that is to happen at it."""
        with self._lock:
            self.count += 1
            if self.count != self._at:
                return None
            self.happened = b" ".join(words[:2])[:40]
            return self.fault


class CountingProxy:
    """
    Counting proxy: listens on a port of its own for what is meant for the server at *port*.

    What the server sends by itself comes with the next reply. A connection that is opened while
    the meter is not set is passed on as it is: to take commands apart takes longer than they do.
    """

    def __init__(self, port: int, meter: Meter) -> None:
        self._target, self._meter = port, meter
        proxy = self

        class Client(socketserver.BaseRequestHandler):
            """One connection."""

            def handle(self) -> None:
                """Serve it until one of both sides closes it."""
                with suppress(OSError):
                    proxy._serve(self.request)

        self._listener = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Client)
        self._listener.daemon_threads = True
        self._listener.block_on_close = False
        self.port: int = self._listener.server_address[1]
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def address(self) -> str:
        """Host and port, as `redis.addresses` has them."""
        return f"127.0.0.1:{self.port}"

    def close(self) -> None:
        """Listen no longer."""
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join()

    def _serve(self, client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self._target)) as server:
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._meter.is_set:
                self._pass_on(client, _Server(server))
            else:
                _relay(client, server)

    def _pass_on(self, client: socket.socket, server: _Server) -> None:
        """Hand on what the client sends, until it closes its connection or has lost it."""
        commands = hiredis.Reader()
        while data := client.recv(_READ_BYTES):
            commands.feed(data)
            alike: list[list[bytes]] = []
            while words := commands.gets():
                if _is_one_of_many(words):
                    alike.append(words)
                    continue
                client.sendall(server.ask(alike))
                alike = []
                if not self._pass(words, client, server):
                    return
            client.sendall(server.ask(alike))

    def _pass(self, words: list[bytes], client: socket.socket, server: _Server) -> bool:
        """Hand a command on and its reply back; return whether the connection lives on."""
        fault = self._meter.take(words)
        if fault is Fault.KILLED_BEFORE:
            self._meter.kill()
        if fault in {Fault.KILLED_BEFORE, Fault.CUT}:
            return False
        reply = server.ask([words])
        if fault is Fault.KILLED_AFTER:
            self._meter.kill()
        if fault is Fault.REPLY_LATE and not gives_up(client):
            self._meter.broken.append("a reply that does not come is waited for without end")
        if fault is not None:
            return False
        client.sendall(reply)
        return True


class _Server:
    """Server: a connection to it, and what parses replies."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._replies = hiredis.Reader()

    def ask(self, commands: list[list[bytes]]) -> bytes:
        """Send commands and return their replies as they came, with what is pushed before them."""
        raw = bytearray()
        if not commands:
            return b""
        self._connection.sendall(b"".join(map(_packed, commands)))
        missing = len(commands)
        # In RESP3 a server confirms a subscription as it sends messages, not as it answers.
        pushed = commands[0][0].upper() in _CONFIRMED_BY_PUSH
        while missing > 0:
            data = self._connection.recv(_READ_BYTES)
            if not data:
                raise ConnectionResetError
            raw += data
            self._replies.feed(data)
            while (one := self._replies.gets()) is not False:
                missing -= pushed or not isinstance(one, hiredis.PushNotification)
        return bytes(raw)


def _relay(client: socket.socket, server: socket.socket) -> None:
    """Pass on what either side sends, until one of them closes its connection."""
    others = {client: server, server: client}
    while True:
        for one in select.select([*others], [], [])[0]:
            data = one.recv(_READ_BYTES)
            if not data:
                return
            others[one].sendall(data)


def _packed(words: list[bytes]) -> bytes:
    every: tuple[Any, ...] = tuple(words)
    packed: bytes = hiredis.pack_command(every)
    return packed


def _is_one_of_many(words: list[bytes]) -> bool:
    """Return whether it is one of the thousands of commands that ask each slot the same."""
    many = [word.upper() for word in words[:2]] == [b"CLUSTER", b"COUNTKEYSINSLOT"]
    return many and int(words[2]) % _ONE_IN > 0


def gives_up(client: socket.socket) -> bool:
    """Answer nothing, and return whether the client gives up, as it must have a deadline."""
    client.settimeout(_LATE_SECONDS)
    try:
        while client.recv(_READ_BYTES):
            pass
    except TimeoutError:
        return False
    except OSError:  # it has reset the connection
        return True
    return True
