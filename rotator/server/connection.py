"""
Connection: pins one server process, and never reconnects.

redis-py reconnects by itself, and a SCAN cursor carried on to another process misses a fifth of
the names without a word (redis-rules 0.1). So this class sends nothing on a connection that was
lost: it raises `LostError`, and whoever owns the scan decides what that means.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from types import NoneType
from typing import Any, NoReturn, Self

from hiredis import ProtocolError, PushNotification, pack_command
from redis.exceptions import AuthenticationError, BusyLoadingError, RedisError, ResponseError

from rotator.config.types import Address
from rotator.errors import LoginError, LostError, ServerError
from rotator.retirement.replicas import LOGIN_REFUSED
from rotator.server.replies import AnswerError
from rotator.server.wire.login import Login, login_reason
from rotator.server.wire.pending import Command, Pending, Reply
from rotator.server.wire.stream import MISSING, Patience, StoppedWaitingError, Stream, why_closed
from rotator.text import excerpt
from rotator.tls import reason_of

TIMEOUT_SECONDS = 15.0
_ASK_SECONDS = 1.0  # for another connection, when a reply has not come
_LARGE = 1 << 15  # bytes; such commands are not worth a copy to send them together
_HINT = "`rotator check` tries each step of the connection and says what fails"
_PLAIN = frozenset((bytes, int, NoneType, list))  # replies that are no error and no report


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
        self,
        address: Address,
        login: Login,
        *,
        db: int = 0,
        timeout: float = TIMEOUT_SECONDS,
        patience: Patience | None = None,
    ) -> None:
        self.address = address
        self.db = db
        self._login, self._timeout, self._patience = login, timeout, patience or Patience()
        self.hide, self.user = login.hide, login.username or "default"  # of texts the password
        self._stream: Stream | None = None
        self._held: list[bytes] = []  # commands, packed
        self._ahead: deque[Pending] = deque()
        self._written: set[bytes] = set()
        self.flushes = 0  # how often everything was reported as written

    def open(self) -> Self:
        """Connect, log in and select the database."""
        try:
            self._stream = Stream(self.address, self._login, self._timeout, self._patience)
        except TimeoutError:
            raise self._unreachable(f"no answer in {self._timeout:g} s") from None
        except (OSError, ValueError, OverflowError) as error:  # or the host or port is none
            raise self._unreachable(reason_of(error, str(error))) from None
        try:
            if login := self._login.command():
                self._log_in(login)
            if self.db:
                db, self.db = self.db, 0
                self.select(db)
        except (ServerError, ResponseError):
            self.close()
            raise
        return self

    def _log_in(self, login: tuple[str, ...]) -> None:
        """Log in; nothing of what the server says to that is shown as it is."""
        try:
            reply = self.submit([login]).result()[0]
        except LostError as error:
            raise self._unreachable(str(error)) from None
        if reply != b"OK":
            self.close()
            if isinstance(reply, ResponseError) and reply.status_code == "LOADING":
                said = f"{self.address} is still loading its data"
                raise ServerError(said, hint="try again when it has loaded")
            raise self._refused(login_reason(_said(reply)))

    def _unreachable(self, why: str) -> ServerError:
        return ServerError(
            f"cannot connect to {self.address}: {why}",
            hint=_HINT,
        )

    @property
    def is_open(self) -> bool:
        """True from the first command on, until it is closed or lost."""
        return self._stream is not None and self._stream.is_open

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
        pending = Pending(self.receive_until, commands)
        self._ahead.append(pending)
        self._held += packed
        if not hold:
            self._send()
        return pending

    def _send(self) -> None:
        packed, self._held = self._held, []
        pieces = packed if max(map(len, packed), default=0) > _LARGE else [b"".join(packed)]
        try:
            self._require_open().send(pieces)
        except OSError as error:
            self._lose(error, self._ahead[-1])

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
        stream = self._require_open()
        left, take, put = pending.missing, stream.reader.gets, pending.replies.append
        waited_for = 0
        try:
            while left:
                reply = take()
                if reply is MISSING:
                    if left != waited_for:
                        stream.begin_reply()
                        waited_for = left
                    stream.feed()
                elif type(reply) in _PLAIN:
                    put(reply)
                    left -= 1
                elif isinstance(reply, PushNotification):
                    self._note_written(reply)
                else:
                    put(self._error(reply, pending))
                    left -= 1
        except (OSError, ProtocolError) as error:  # broken, too slow, or not the protocol of Redis
            del take  # see `Stream.close`
            self._lose(error, pending)
        except (TypeError, ValueError, MemoryError):  # a map whose keys are lists, ...
            self.close()
            said = f"{self.address} gave an answer to {pending.command} that is not understood"
            raise AnswerError(said) from None

    def _error(self, reply: Any, pending: Pending) -> Reply | ResponseError:
        """Return an error reply, or a reply of another kind, as one that `submit` gives."""
        if not isinstance(reply, RedisError):
            return reply
        said = excerpt(str(reply), pending.arguments())
        if isinstance(reply, AuthenticationError):
            asked = pending.command == "AUTH"
            self.close()
            raise self._refused(login_reason(_said(reply)) if asked else said) from None
        if isinstance(reply, BusyLoadingError):  # an answer like any other, the connection holds
            return ResponseError(said, status_code="LOADING")
        if not isinstance(reply, ResponseError):  # such as that it has no connection to spare
            self.close()
            raise LostError(f"the connection to {self.address} was lost: {said}")
        reply.args = (said,)
        return reply

    def select(self, db: int) -> None:
        """Go to database *db*."""
        if db != self.db:
            if self.call("SELECT", db) != b"OK":
                raise AnswerError(f"{self.address} gave an answer to SELECT that is not OK")
            self.db = db

    def track(self, prefixes: Sequence[bytes] = ()) -> bool:
        """
        Have the server report every name that is written from now on; False where it refuses.

        *prefixes* narrow it down; none of them may begin another. The reports come between the
        replies to other commands, so no second connection is needed, but RESP3 is.

        https://redis.io/docs/latest/commands/client-tracking/
        """
        narrowed = [word for prefix in prefixes for word in ("PREFIX", prefix)]
        hello = self.pipeline([("HELLO", 3)])[0]
        if not isinstance(hello, dict) or hello.get(b"proto") != 3:
            return False
        tracking = ("CLIENT", "TRACKING", "ON", "BCAST", "NOLOOP", *narrowed)
        return bool(self.pipeline([tracking])[0] == b"OK")

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
        """Take down what a report says; ValueError: it is none."""
        if not message:
            raise ValueError("an empty report")
        if message[0] != b"invalidate":
            return
        names = message[1] if len(message) == 2 else 0
        # None instead of names stands for all: the data was flushed, or replaced as a whole.
        if names is not None and (type(names) is not list or {*map(type, names)} - {bytes}):
            raise ValueError("a report of something else than names")
        self.flushes += names is None
        self._written.update(names or ())

    def close(self) -> None:
        """Close the connection; closing twice does nothing."""
        if self._stream is not None:
            self._stream.close()

    def _require_open(self) -> Stream:
        if self._stream is None:
            self.open()
        if self._stream is None or not self._stream.is_open:
            raise LostError(f"the connection to {self.address} was lost")
        return self._stream

    def _refused(self, why: str) -> LoginError:
        return LoginError(
            f"{self.address} {LOGIN_REFUSED}: {why}",
            hint="check redis.username and redis.password of this cache",
        )

    def _lose(self, error: Exception, pending: Pending) -> NoReturn:
        """Close it, and say why as far as that can be known."""
        came, hint = self._stream.came if self._stream else 0, ""
        self.close()
        why = excerpt(getattr(error, "strerror", None) or str(error)).lower()
        if isinstance(error, StoppedWaitingError):
            why = f"the run is ending, and the answer to {pending.command} has not come"
        elif isinstance(error, TimeoutError):
            some = f"more than {came:,} bytes of the" if came else "no"
            why = f"{some} answer to {pending.command} in {self._timeout:g} s{self._silence()}"
        elif isinstance(error, ConnectionError):
            why, hint = why_closed(self.address, self._login, pending.command, _ASK_SECONDS)
        text = f"the connection to {self.address} was lost: {why}"
        raise LostError(text, hint=hint or _HINT) from None

    def _silence(self) -> str:
        """Return what another connection finds, where a reply has not come."""
        if self._timeout <= _ASK_SECONDS:
            return ""
        other = Connection(self.address, self._login, timeout=_ASK_SECONDS)
        try:
            with other:
                pong = _said(other.pipeline([("PING",)])[0])
        except ServerError as error:
            if other._stream is None:  # nobody answered at all
                return f"; and now: {error}"
        else:
            if pong.startswith("BUSY"):
                return "; a script of another client blocks the server: SCRIPT KILL ends it"
            return "; other clients get answers, so it is this command, or a proxy in between"
        return (
            "; no client gets an answer: CLIENT PAUSE, a slow command or script of another client,"
            " or the process is stopped"
        )

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()


def _said(reply: Reply) -> str:
    """Return what an error says, its code included; nothing for another reply."""
    if not isinstance(reply, RedisError):
        return ""
    return f"{getattr(reply, 'status_code', None) or ''} {reply}".strip()
