"""
Stream: sends bytes to one server process and reads replies, each before its deadline.

- A reply has `timeout` seconds, whether it trickles or does not come at all; one that is long has
  more by the bytes that have come (`_SLOWEST`), up to `_LARGEST` of them.
- When the run is to end, a reply that has taken `_GRACE_SECONDS` is waited for no longer, and the
  later the less: what it would have told is looked at again by the next run.
- Error texts are cut and escaped here, before anything else is done with them.
"""

import socket
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from hiredis import ProtocolError, Reader, pack_command
from redis.connection import DefaultParser
from redis.exceptions import RedisError, ResponseError

from rotator.config.types import Address
from rotator.server.wire.login import Login
from rotator.text import excerpt

MISSING = object()  # what the reader gives while there is no whole reply
_READ_BYTES = 1 << 18  # at a time
_SLOWEST = 1 << 18  # bytes a second; 2 Mbit/s
_LARGEST = 1 << 31  # bytes of one reply
_SLICE_SECONDS = 0.5  # how soon a wish to stop is heard
_GRACE_SECONDS = 2.0
_LEAST_SECONDS = 0.25  # what is left of that when so much time has passed since


class Patience:
    """Patience: bounds the wait for a reply when *stopping* tells that the run is to end."""

    def __init__(self, stopping: Callable[[], object] = lambda: None) -> None:
        self._stopping = stopping
        self._since: float | None = None

    def is_over(self, took: float) -> bool:
        """Return whether a reply that *took* so many seconds is not waited for any longer."""
        if took <= _LEAST_SECONDS or not self._stopping():
            return False
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        return took > max(_GRACE_SECONDS - (now - self._since), _LEAST_SECONDS)


class StoppedWaitingError(TimeoutError):
    """Stopped waiting: the run is to end, and a reply has not come."""


class Stream:
    """
    Stream: is a socket to *address*, and what parses replies.

    Raises (every method that waits):
        OSError: The connection broke, or it took too long.
    """

    def __init__(self, address: Address, login: Login, timeout: float, patience: Patience) -> None:
        self.timeout = timeout
        self._hidden = login.hidden
        self._patience = patience
        self._socket: socket.socket | None = login.connect(address, timeout)
        self._buffer = bytearray(_READ_BYTES)
        self.reader: Any = Reader(replyError=self._error, notEnoughData=MISSING)
        self._begun = 0.0
        self._fed = 0

    @property
    def is_open(self) -> bool:
        """True until it is closed."""
        return self._socket is not None

    def send(self, pieces: Sequence[bytes]) -> None:
        """Send all of it."""
        peer = self._peer()
        until = time.monotonic() + self.timeout + sum(map(len, pieces)) / _SLOWEST
        for piece in pieces:
            peer.settimeout(max(until - time.monotonic(), 0.001))
            peer.sendall(piece)

    def begin_reply(self) -> None:
        """Note that the next reply is waited for from now on."""
        self._begun, self._fed = time.monotonic(), 0

    def feed(self) -> None:
        """Wait for more of the reply."""
        peer = self._peer()
        while True:
            took = time.monotonic() - self._begun
            left = self.timeout + self._fed / _SLOWEST - took
            if left <= 0 or self._fed > _LARGEST:
                raise TimeoutError
            if self._patience.is_over(took):
                raise StoppedWaitingError
            peer.settimeout(min(left, _SLICE_SECONDS))
            try:
                size = peer.recv_into(self._buffer)
            except TimeoutError:
                continue
            if not size:
                raise ConnectionResetError
            self._fed += size
            self.reader.feed(self._buffer, 0, size)
            return

    @property
    def came(self) -> int:
        """The number of bytes that came of the reply that is waited for."""
        return self._fed

    def close(self) -> None:
        """Close the socket and forget what came in part; closing twice does nothing."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        # A list of a billion elements may be announced there, which slows every collection down.
        self.reader = None

    def _peer(self) -> socket.socket:
        if self._socket is None:
            raise ConnectionResetError
        return self._socket

    def _error(self, text: str) -> RedisError:
        """Return an error reply as redis-py's class for it, with what is shown of its text."""
        text = excerpt(text, self._hidden())
        try:
            error: RedisError = DefaultParser.parse_error(text)  # type: ignore[no-untyped-call]  # redis has no types here
        except ValueError:  # MOVED or ASK without an address
            error = ResponseError(text)
        return error


def why_closed(address: Address, login: Login, command: str, timeout: float) -> tuple[str, str]:
    """
    Return why a connection was closed at *command*, and what to do, if that is known.

    Another connection tells, *timeout* seconds each reply: twemproxy answers PING, and closes at
    every command that it does not know, without a word.
    """
    if _refuses_scan(address, login, timeout):
        return (
            f"a proxy that answers PING and does not know SCAN closed it at {command}",
            "rotator cannot work through it: put the servers behind it into redis.addresses",
        )
    return "the server closed it: CLIENT KILL, a restart, a limit of its own, or a proxy", ""


def _refuses_scan(address: Address, login: Login, timeout: float) -> bool:
    """Return whether somebody answers PING there, and closes at SCAN."""
    reply: object = None
    try:
        with closing(Stream(address, login, timeout, Patience())) as stream:
            for command in (login.command(), ("PING",), ("SCAN", "0", "COUNT", "1")):
                if command is not None:
                    stream.send([pack_command(command)])  # type: ignore[arg-type]
                    stream.begin_reply()
                    while (new := stream.reader.gets()) is MISSING:
                        stream.feed()
                    reply = new
    except ConnectionResetError:
        return reply == b"PONG"
    except (OSError, ProtocolError, ValueError):  # it does not answer, or nothing of Redis
        return False
    return False
