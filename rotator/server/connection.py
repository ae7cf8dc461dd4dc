"""
Connection: pins one server process, and never reconnects.

redis-py reconnects by itself, and a SCAN cursor carried on to another process misses a fifth of
the names without a word (redis-rules 0.1). So this class sends nothing on a connection that was
lost: it raises `LostError`, and whoever owns the scan decides what that means.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Sequence
from types import NoneType
from typing import Any, NoReturn, Self

from hiredis import ProtocolError, PushNotification, Reader, pack_command
from redis.backoff import NoBackoff
from redis.connection import Connection as PlainConnection
from redis.exceptions import AuthenticationError, BusyLoadingError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from rotator.config.types import Address
from rotator.errors import LoginError, LostError, ServerError

Command = Sequence[Any] | bytes
"""A command by its words, or packed already."""
Reply = Any

TIMEOUT_SECONDS = 15.0
_LARGE = 1 << 15  # bytes; such commands are not worth a copy to send them together
_READ_BYTES = 1 << 18  # at a time
_MISSING = object()  # what the reader gives while there is no whole reply
_PLAIN = frozenset((bytes, int, NoneType, list))  # replies that are no error and no report


class TlsConnection(PlainConnection):
    """TLS connection: connects redis-py through a TLS context made beforehand."""

    def __init__(self, *, context: ssl.SSLContext, **settings: Any) -> None:
        super().__init__(**settings)  # type: ignore[no-untyped-call]  # redis has no types here
        self._context = context

    def _connect(self) -> ssl.SSLSocket:
        plain = super()._connect()  # type: ignore[no-untyped-call]  # redis has no types here
        return self._context.wrap_socket(plain, server_hostname=self.host)


class Login:
    """Login: holds ACL user, password and TLS context, if any; never shown, never pickled."""

    def __init__(
        self,
        username: str | None = None,
        password: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.username = username
        self._password = password
        self._tls = tls

    def __repr__(self) -> str:
        return f"Login(username={self.username!r}, tls={self._tls is not None})"

    @property
    def has_password(self) -> bool:
        """True if a password is sent to whoever is connected to."""
        return self._password is not None

    def __getstate__(self) -> NoReturn:
        raise TypeError("a login must not be pickled")

    def connection(self, address: Address, db: int, timeout: float) -> PlainConnection:
        """Return a redis-py connection that is not yet open and never tries twice."""
        settings: dict[str, Any] = {
            "host": address.host,
            "port": address.port,
            "db": db,
            "username": self.username,
            "password": self._password,
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
        }
        if self._tls is None:
            return PlainConnection(**settings)
        return TlsConnection(context=self._tls, **settings)


class Pending:
    """Pending: holds the replies to commands that were sent, on their way or here already."""

    __slots__ = ("_connection", "_count", "replies")

    def __init__(self, connection: Connection, count: int) -> None:
        self._connection = connection
        self._count = count
        self.replies: list[Reply | ResponseError] = []

    @property
    def missing(self) -> int:
        """The number of replies that are still on their way."""
        return self._count - len(self.replies)

    def result(self) -> list[Reply | ResponseError]:
        """
        Wait for all replies, in the order of the commands; an error reply is one of them.

        Raises:
            LostError: The connection was lost before all of them had come.
        """
        self._connection.receive_until(self)
        return self.replies


class Connection:
    """
    Connection: talks to the one process that answered first; lost once, it stays lost.

    Raises (every method that talks):
        LostError: The connection broke, timed out, or was closed by the server.
        LoginError: User or password were refused.
        ServerError: The server could not be reached at all, or TLS failed.
        ResponseError: The server answered with an error (redis-py's own class).
    """

    def __init__(
        self, address: Address, login: Login, *, db: int = 0, timeout: float = TIMEOUT_SECONDS
    ) -> None:
        self.address = address
        self.db = db
        self._wire = login.connection(address, db, timeout)
        self._reader: Any = None
        self._opened = False
        self._buffer = bytearray(_READ_BYTES)
        self._held: list[bytes] = []  # commands, packed
        self._ahead: deque[Pending] = deque()
        self._written: set[bytes] = set()
        self.flushes = 0  # how often everything was reported as written

    def open(self) -> Self:
        """Connect, log in and select the database."""
        try:
            self._wire.connect()
        except AuthenticationError as error:
            raise self._refused(error) from None
        except BusyLoadingError:
            raise ServerError(
                f"{self.address} is still loading its data", hint="try again when it has loaded"
            ) from None
        except (RedisError, OSError, ssl.SSLError) as error:
            raise ServerError(
                f"cannot connect to {self.address}: {error}",
                hint="`rotator check` tries each step of the connection and says what fails",
            ) from None
        self._reader = Reader(replyError=self._wire._parser.parse_error, notEnoughData=_MISSING)  # noqa: SLF001 - redis-py takes its time for each reply
        self._opened = True
        return self

    def call(self, *command: Any) -> Reply:
        """Send one command and return its reply."""
        reply = self.submit([command]).result()[0]
        if isinstance(reply, ResponseError):
            raise reply
        return reply

    def pipeline(self, commands: Sequence[Command]) -> list[Reply | ResponseError]:
        """Send *commands* in one go; an error reply is an element of the result, not raised."""
        return self.submit(commands).result()

    def submit(self, commands: Sequence[Command], *, hold: bool = False) -> Pending:
        """
        Send *commands* and return at once; the replies can be asked for later.

        With *hold* they leave together with the next ones, or when a reply is waited for.
        """
        self._require_open()
        # redis-py's own packing looks at every argument several times, in Python.
        packed = [one if type(one) is bytes else pack_command(tuple(one)) for one in commands]
        pending = Pending(self, len(commands))
        self._ahead.append(pending)
        self._held += packed
        if not hold:
            self._send()
        return pending

    def _send(self) -> None:
        packed, self._held = self._held, []
        pieces = packed if max(map(len, packed), default=0) > _LARGE else [b"".join(packed)]
        try:
            self._wire.send_packed_command(pieces)
        except (RedisConnectionError, RedisTimeoutError) as error:
            self._lose(error)

    def receive_until(self, pending: Pending) -> None:
        """Read replies, which come in the order of the commands, until *pending* has its own."""
        if self._held:
            self._send()
        while pending.missing:
            first = self._ahead[0]
            self._receive(first)
            self._ahead.popleft()

    def _receive(self, pending: Pending) -> None:
        """Read all replies that *pending* misses; reports of written names come in between."""
        self._require_open()
        left, take, put = pending.missing, self._reader.gets, pending.replies.append
        try:
            while left:
                reply = take()
                if reply is _MISSING:
                    self._feed()
                elif type(reply) in _PLAIN:
                    put(reply)
                    left -= 1
                elif isinstance(reply, PushNotification):
                    self._note_written(reply)
                else:
                    put(self._error(reply))
                    left -= 1
        except (OSError, ProtocolError) as error:  # broken, too slow, or not the protocol of Redis
            self._lose(error)

    def _feed(self) -> None:
        """Wait for more of a reply."""
        size = self._wire._sock.recv_into(self._buffer)  # type: ignore[attr-defined]  # noqa: SLF001 - see `open`
        if not size:
            raise ConnectionResetError("the server closed it")
        self._reader.feed(self._buffer, 0, size)

    def _error(self, reply: Any) -> Reply | ResponseError:
        """Return an error reply, or a reply of another kind, as one that `submit` gives."""
        if isinstance(reply, AuthenticationError):
            self._wire.disconnect()
            raise self._refused(reply) from None
        if isinstance(reply, BusyLoadingError):  # an answer like any other, the connection holds
            return ResponseError(*reply.args, status_code="LOADING")
        if isinstance(reply, RedisError) and not isinstance(reply, ResponseError):
            self._lose(reply)
        return reply

    def select(self, db: int) -> None:
        """Go to database *db*."""
        if db != self.db:
            if self.call("SELECT", db) != b"OK":
                raise ResponseError("the answer to SELECT is not OK")
            self.db = db

    def track(self, prefixes: Sequence[bytes] = ()) -> bool:
        """
        Have the server report every name that is written from now on; False where it refuses.

        *prefixes* narrow it down; none of them may begin another. The reports come between the
        replies to other commands, so no second connection is needed, but RESP3 is.

        https://redis.io/docs/latest/commands/client-tracking/
        """
        narrowed = [word for prefix in prefixes for word in ("PREFIX", prefix)]
        if isinstance(self.pipeline([("HELLO", 3)])[0], ResponseError):
            return False
        self._wire.protocol = 3
        tracking = ("CLIENT", "TRACKING", "ON", "BCAST", "NOLOOP", *narrowed)
        return not isinstance(self.pipeline([tracking])[0], ResponseError)

    def written(self) -> list[bytes]:
        """Return the names that were reported since this was last called."""
        names = list(self._written)
        self._written.clear()
        return names

    def barrier(self) -> None:
        """
        Return when everything written before this call has been reported.

        Reports leave the server at the end of the round of its event loop in which the writing
        happened, and the second PING is answered in a later round than the first. An error will do
        as an answer: a server that cannot save to its disk refuses even PING.
        """
        for _ in range(2):
            self.pipeline([("PING",)])

    def untrack(self) -> None:
        """Have the server report nothing any more."""
        self.pipeline([("CLIENT", "TRACKING", "OFF")])

    def _note_written(self, message: Sequence[Any]) -> None:
        if message[0] != b"invalidate":
            return
        # None instead of names stands for all: the data was flushed, or replaced as a whole.
        self.flushes += message[1] is None
        self._written.update(message[1] or ())

    def close(self) -> None:
        """Close the connection; closing twice does nothing."""
        self._wire.disconnect()

    def _require_open(self) -> None:
        if not self._opened:
            self.open()
        elif not self._wire.is_connected:
            raise LostError(f"the connection to {self.address} was lost")

    def _refused(self, error: AuthenticationError) -> LoginError:
        return LoginError(
            f"{self.address} refused the login: {error}",
            hint="check redis.username and redis.password of this cache",
        )

    def _lose(self, error: Exception) -> NoReturn:
        self._wire.disconnect()
        raise LostError(f"the connection to {self.address} was lost: {error}") from None

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()
