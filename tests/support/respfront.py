"""
A front before a server that answers some commands itself, as a server would that is not in order.

    with RespFront(server.port, without(b"run_id")) as front:
        connect_to(front.address)
"""

import socket
import socketserver
import threading
from contextlib import contextmanager

from hiredis import pack_command

_HELD_SECONDS = 5.0  # less than what a reply may take


def bulk(text):
    """A text as it is sent (https://redis.io/docs/latest/develop/reference/protocol-spec/)."""
    return b"$%d\r\n%s\r\n" % (len(text), text)


def listed(parts):
    """A list of replies as it is sent."""
    return b"*%d\r\n" % len(parts) + b"".join(parts)


def text_in(reply):
    """The text that a reply as it was sent is, also one of RESP3 that says its format."""
    text = reply.partition(b"\r\n")[2][:-2]
    return text[4:] if reply.startswith(b"=") else text


def without(*begins):
    """An answer to INFO without the lines that begin so."""

    def answer(words, ask):
        if words[0].upper() != b"INFO":
            return None
        lines = text_in(ask(words)).split(b"\r\n")
        return bulk(b"\r\n".join(line for line in lines if not line.startswith(begins)))

    return answer


class RespFront:
    """
    Passes commands on, one after the other, but for those that *answer* gives bytes for.

    It is called with the words of a command, and with what asks the server behind the front.
    """

    def __init__(self, port, answer):
        self._answer = answer
        self._target = port
        front = self

        class Client(socketserver.StreamRequestHandler):
            disable_nagle_algorithm = True  # many small replies: each would wait for the one before

            def handle(self):
                front.serve(self.rfile, self.wfile)

        self._listener = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Client)
        self._listener.daemon_threads = True
        self.port = self._listener.server_address[1]
        self.address = f"127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.05,))

    def serve(self, commands, replies):
        """Serve one client until it, or the server, closes its connection."""
        with (
            socket.create_connection(("127.0.0.1", self._target)) as behind,
            behind.makefile("rb") as answers,
        ):
            behind.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            def ask(words):
                behind.sendall(pack_command(tuple(words)))
                return _reply(answers)

            while words := _command(commands):
                answer = self._answer(words, ask)
                replies.write(ask(words) if answer is None else answer)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join(10)
        assert not self._thread.is_alive()


@contextmanager
def silent_once(port, command, begin):
    """
    A front that calls *begin* when *command* comes first, and does not answer that.

    AssertionError: somebody waited for that answer as long as for any other.
    """
    asked, over, late = iter([command]), threading.Event(), []

    def answer(words, _ask):
        if words[0] != command or not next(asked, None):
            return None
        begin()
        if not over.wait(_HELD_SECONDS):
            late.append(command)
        return b""

    with RespFront(port, answer) as front:
        try:
            yield front
        finally:
            over.set()
    assert not late


def hurry(monkeypatch):
    """Have a reply given up sooner than after seconds, when the run is to end."""
    for name in ("_GRACE_SECONDS", "_LEAST_SECONDS", "_SLICE_SECONDS"):
        monkeypatch.setattr(f"rotator.server.wire.stream.{name}", 0.05)


def _command(stream):
    """The words of the next command, inline ones too; none when the client has gone."""
    head = stream.readline()
    if head and not head.startswith(b"*"):
        return head.split()
    return [_text(stream) for _ in range(int(head[1:]))] if head else []


def _text(stream):
    size = int(stream.readline()[1:])
    return stream.read(size + 2)[:size]


def _reply(stream):
    """The next reply as it was sent, with whatever the server pushes before it."""
    head = stream.readline()
    kind, rest = head[:1], head[1:-2]
    if not head:
        raise ConnectionError("the server has gone")
    if kind in {b"$", b"="} and rest != b"-1":
        return head + stream.read(int(rest) + 2)
    if kind not in {b"*", b"%", b">", b"~"} or rest == b"-1":
        return head
    parts = int(rest) * (2 if kind == b"%" else 1)
    whole = head + b"".join(_reply(stream) for _ in range(parts))
    return whole + _reply(stream) if kind == b">" else whole
