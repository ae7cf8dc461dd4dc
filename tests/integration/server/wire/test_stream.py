"""A reply has one deadline as a whole, and what a server says is never shown as it is."""

import signal
import socket
import threading
import time

import pytest

from rotator.config.types import Address
from rotator.demo.local_server import LocalServer
from rotator.errors import LoginError, LostError, ServerError
from rotator.server.connection import Connection
from rotator.server.replies import AnswerError
from rotator.server.wire.login import Login
from rotator.server.wire.stream import Patience
from support.respfront import RespFront

SECRET = "s3cr3t-passw0rd"


@pytest.fixture
def answering():
    """
    Starts servers that send pieces of an answer, one every few milliseconds, to whatever is asked.

    No real server does so: it is one of the hostile kind.
    """
    opened = []

    def serve(listener, pieces):
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                try:
                    peer.recv(10_000)
                    for piece in pieces:
                        peer.sendall(piece)
                        time.sleep(0.02)
                    peer.recv(10_000)
                except OSError:
                    continue

    def start(*pieces):
        listener = socket.create_server(("127.0.0.1", 0))
        opened.append(listener)
        threading.Thread(target=serve, args=(listener, pieces), daemon=True).start()
        return Address("127.0.0.1", listener.getsockname()[1])

    yield start
    for listener in opened:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def test_a_reply_that_trickles_is_given_up(answering):
    """Bytes that keep coming do not put the deadline off."""
    address = answering(b"$1000\r\n", *[b"x"] * 500)
    with (
        Connection(address, Login(), timeout=0.3) as connection,
        pytest.raises(LostError, match=r"more than .* bytes of the answer to INFO in 0\.3 s"),
    ):
        connection.call("INFO")


def test_a_login_that_trickles_is_given_up(answering):
    """The deadline holds for the login, too."""
    with pytest.raises(ServerError, match=r"answer to AUTH in 0\.3 s"):
        Connection(answering(*[b"+"] * 500), Login(None, SECRET), timeout=0.3).open()


def test_a_run_that_is_to_end_does_not_wait_for_a_slow_reply(answering, monkeypatch):
    """When the run is to end, a reply that has taken long is given up before its deadline."""
    for name in ("_GRACE_SECONDS", "_LEAST_SECONDS"):
        monkeypatch.setattr(f"rotator.server.wire.stream.{name}", 0.05)
    address = answering(b"$1000\r\n", *[b"x"] * 500)
    with (
        Connection(address, Login(), patience=Patience(lambda: "until")) as connection,
        pytest.raises(LostError, match="the run is ending, and the answer to INFO has not come"),
    ):
        connection.call("INFO")


def test_a_server_that_stands_still_is_told_from_a_slow_command(monkeypatch):
    """What another connection finds says why there is no answer."""
    monkeypatch.setattr("rotator.server.connection._ASK_SECONDS", 0.1)
    with LocalServer() as server:
        address = Address.parse(server.address)
        with (
            Connection(address, Login(), timeout=0.2) as connection,
            pytest.raises(LostError, match=r"no answer to BLPOP.*; other clients get answers"),
        ):
            connection.call("BLPOP", "nothing", 0)
        with Connection(address, Login(), timeout=0.2) as connection:
            connection.call("PING")
            server.signal(signal.SIGSTOP)
            with pytest.raises(LostError, match="no client gets an answer: CLIENT PAUSE"):
                connection.call("GET", "a")


def test_a_limit_of_the_server_is_told(server, redis, configured):
    """A server that hangs up on a reply beyond its output buffer limit is told from a slow one."""
    redis.rpush("a", *[bytes(50)] * 20_000)  # a long value is sent without being put there
    configured("client-output-buffer-limit", "normal 1000 0 0")
    with (
        Connection(Address.parse(server.address), Login()) as connection,
        pytest.raises(LostError, match=r"the server closed it: .* a limit of its own, or a proxy"),
    ):
        connection.call("LRANGE", "a", 0, -1)


@pytest.mark.parametrize(
    "raw",
    [
        b"%1\r\n*0\r\n:1\r\n",
        b">0\r\n",
        b">2\r\n$10\r\ninvalidate\r\n:5\r\n",
        b">2\r\n$10\r\ninvalidate\r\n*1\r\n:5\r\n",
    ],
    ids=["a list as a key", "an empty report", "a report of a number", "a report of numbers"],
)
def test_what_no_server_says_is_not_understood(answering, raw):
    """A reply that cannot be read is an error with the server and the command."""
    with (
        Connection(answering(raw), Login()) as connection,
        pytest.raises(AnswerError, match="gave an answer to GET that is not understood"),
    ):
        connection.call("GET", b"a")


@pytest.mark.parametrize(
    "said",
    [
        f"WRONGPASS invalid: rotator {SECRET}",
        f"ERR unknown command 'AUTH', with args beginning with: '{SECRET}'",
        f"{SECRET} {SECRET}",
        f"ERR {SECRET}" + "a" * 100_000,
    ],
)
def test_a_refused_login_shows_nothing_that_was_sent(server, said):
    """Of an answer to AUTH only known phrases are shown."""

    def refuse(words, _ask):
        return f"-{said}\r\n".encode() if words[0] == b"AUTH" else None

    with RespFront(server.port, refuse) as front, pytest.raises(LoginError) as caught:
        Connection(Address.parse(front.address), Login("rotator", SECRET)).open()
    assert SECRET not in f"{caught.value} {caught.value.hint}"
    assert len(str(caught.value)) < 200


def test_an_error_shows_neither_names_nor_values(server):
    """What a server repeats of a command is cut off where it begins."""

    def repeat(words, _ask):
        return b"-ERR no " + b" ".join(words) + b"\r\n" if words[0] == b"GET" else None

    with (
        RespFront(server.port, repeat) as front,
        Connection(Address.parse(front.address), Login()) as connection,
    ):
        [error] = connection.pipeline([("GET", b"customer:4711")])
    assert str(error) == "no GET ***"
