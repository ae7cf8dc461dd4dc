"""Connections of the foreground: commands packed by hand, replies read by hiredis."""

from __future__ import annotations

import socket
from collections import deque
from typing import Any, Final, NamedTuple

from hiredis import Reader

_PIECE: Final = 1 << 18


def packed(*parts: bytes) -> bytes:
    """One command, as it is sent."""
    pieces = [b"*%d\r\n" % len(parts)]
    for part in parts:
        pieces += (b"$%d\r\n" % len(part), part, b"\r\n")
    return b"".join(pieces)


class Asked(NamedTuple):
    """A command on its way: when it was due, sent (Unix seconds), and what was known of a name."""

    due: float
    sent: float
    command: str
    entry: int
    version: int
    earliest: int  # before it
    until: int  # what it says, if it says anything
    expected: bool | None  # whether the name is there; None: nobody knows


class Link:
    """One connection: what was asked on it, and what is still to be sent."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader: Any = Reader()
        self.asked: deque[Asked] = deque()
        self.unsent = bytearray()

    def fileno(self) -> int:
        """For select."""
        return self.socket.fileno()

    def flush(self) -> None:
        """Send as much as goes out without waiting."""
        while self.unsent:
            try:
                sent = self.socket.send(self.unsent)
            except BlockingIOError:
                return
            del self.unsent[:sent]

    def feed(self) -> None:
        """Take in what has come."""
        if not (piece := self.socket.recv(_PIECE)):
            raise ConnectionResetError("the server is gone")
        self.reader.feed(piece)

    def replies(self, count: int) -> list[Any]:
        """Wait for so many replies."""
        found: list[Any] = []
        while len(found) < count:
            reply = self.reader.gets()
            if reply is False:
                self.feed()
            else:
                found.append(reply)
        return found

    def call(self, *parts: bytes) -> Any:
        """Ask, and wait for the reply."""
        self.socket.sendall(packed(*parts))
        return self.replies(1)[0]
