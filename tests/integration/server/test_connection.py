"""One pinned connection: lost once, it stays lost; and nothing of the login ever shows."""

import copy
import pickle
import socket
import threading
import traceback

import pytest
from redis.exceptions import ResponseError

from rotator.config.types import Address
from rotator.demo.local_server import LocalServer
from rotator.diagnose.network import check_tcp
from rotator.errors import LoginError, LostError, ServerError
from rotator.server.connection import Connection, Login
from support.caches import user, wait_for

PASSWORD = "correct horse battery staple"


def address(server):
    """Where a private server is."""
    return Address("127.0.0.1", server.port)


@pytest.fixture
def connection(server, redis):  # noqa: ARG001 - redis empties the server first
    """An open connection to the session's server."""
    with Connection(address(server), Login()) as connection:
        yield connection


@pytest.fixture
def strange():
    """A server that speaks something else than Redis, and its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with listener.accept()[0] as peer:
                peer.recv(1000)
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(5)


def test_a_name_with_several_addresses(server, monkeypatch, closed_port):
    """Of the addresses of a name those that are dead are passed over."""
    resolve, asked = socket.getaddrinfo, []

    def places(host, port, *args, **named):
        if host != "caches.example":
            return resolve(host, port, *args, **named)
        asked.append(host)
        both = [("127.0.0.1", closed_port), ("127.0.0.1", port)]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in both]

    monkeypatch.setattr(socket, "getaddrinfo", places)
    named = Address("caches.example", server.port)
    with Connection(named, Login()) as connection:
        assert connection.call("PING") == b"PONG"
    check_tcp(named)
    assert len(asked) == 2


class TestCommands:
    """What is sent and what comes back."""

    def test_call(self, connection):
        """A reply comes as bytes, whatever is in it."""
        assert connection.call("SET", b"\xff\x00", b"\x00\r\n\xff") == b"OK"
        assert connection.call("GET", b"\xff\x00") == b"\x00\r\n\xff"

    def test_error(self, connection):
        """An error answer is raised, and the connection goes on."""
        with pytest.raises(ResponseError, match="unknown command"):
            connection.call("NONSENSE")
        assert connection.call("PING") == b"PONG"

    def test_pipeline(self, connection):
        """In a pipeline an error is an element of the result, in its place."""
        one, two, three = connection.pipeline([("PING",), ("NONSENSE",), ("ECHO", "x")])
        assert (one, three) == (b"PONG", b"x")
        assert isinstance(two, ResponseError)
        assert connection.pipeline([]) == []

    def test_send_and_receive(self, connection):
        """Commands may be sent now and their replies read later."""
        early = connection.submit([("SET", "a", 1), ("GET", "a")])
        late = connection.submit([("GET", "b"), ("NONSENSE",)])
        assert connection.call("PING") == b"PONG"
        missing, refused = late.result()
        assert missing is None
        assert isinstance(refused, ResponseError)
        assert early.result() == [b"OK", b"1"]

    def test_select(self, connection):
        """Another database holds other names."""
        connection.call("SET", "a", 1)
        connection.select(3)
        assert connection.call("GET", "a") is None
        assert connection.db == 3
        connection.select(0)
        assert connection.call("GET", "a") == b"1"

    def test_database_from_the_start(self, server, redis):  # noqa: ARG002 - redis empties it
        """A connection may begin in another database."""
        with Connection(address(server), Login(), db=5) as five, server.client(db=5) as client:
            client.set("a", 1)
            assert five.call("GET", "a") == b"1"

    def test_opens_by_itself(self, server):
        """The first command opens the connection if nobody has."""
        connection = Connection(address(server), Login())
        assert connection.call("PING") == b"PONG"
        connection.close()


class TestWritten:
    """The names that the server reports as written."""

    def test_reported(self, connection, redis):
        """What others write is reported once, and what is written before the barrier by then."""
        assert connection.track()
        redis.set("a", 1)
        redis.rename("a", "b")
        connection.barrier()
        assert sorted(connection.written()) == [b"a", b"b"]
        assert connection.written() == []

    def test_narrowed(self, connection, redis):
        """Only names that begin so are reported."""
        assert connection.track([b"app:"])
        redis.mset({"app:1": 1, "other:1": 1})
        connection.barrier()
        assert connection.written() == [b"app:1"]

    def test_between_replies(self, connection, redis):
        """Reports among the replies of a pipeline take the place of none."""
        connection.track()
        for number in range(50):
            redis.set(f"a{number}", number)
            assert connection.pipeline([("GET", f"a{number}"), ("PING",)]) == [
                b"%d" % number,
                b"PONG",
            ]
        connection.barrier()
        assert len(connection.written()) == 50

    def test_flushed(self, connection, redis):
        """A flush reports no names, and is no error."""
        connection.track()
        redis.flushall()
        connection.barrier()
        assert connection.written() == []

    def test_refused(self, server, redis):
        """Without the right to it there is no tracking, and the connection is usable."""
        with (
            user(redis, "~*", "+@all", "-client|tracking") as login,
            Connection(address(server), Login(*login)) as connection,
        ):
            assert not connection.track()
            assert connection.call("PING") == b"PONG"

    def test_disk_full(self):
        """The barrier holds on a server that refuses PING because it cannot save."""
        with (
            LocalServer("--save", "3600", "100000") as server,
            server.client() as client,
            Connection(address(server), Login()) as connection,
        ):
            (server.folder / "dump.rdb").mkdir()
            client.bgsave()
            wait_for(lambda: not client.info("persistence")["rdb_bgsave_in_progress"])
            with pytest.raises(ResponseError, match="MISCONF"):
                client.ping()
            connection.barrier()


class TestLost:
    """A connection that broke."""

    def test_stays_lost(self, connection, redis):
        """After the server cut it, every command says so, and none is sent to anybody."""
        connection.call("PING")  # until it has been accepted there is nothing to cut
        redis.client_kill_filter(_type="normal", skipme=True)
        for _ in range(3):
            with pytest.raises(LostError, match="was lost"):
                connection.call("PING")
        for attempt in (
            lambda: connection.pipeline([("PING",)]),
            lambda: connection.submit([("PING",)]),
            lambda: connection.select(3),
        ):
            with pytest.raises(LostError):
                attempt()

    def test_with_replies_on_their_way(self, connection, redis):
        """Replies that had not come when it broke never come."""
        connection.submit([("BLPOP", "nothing", 0)])
        pending = connection.submit([("GET", "a")])
        wait_for(lambda: redis.info("clients")["blocked_clients"] == 1)
        redis.client_kill_filter(_type="normal", skipme=True)
        for _ in range(2):
            with pytest.raises(LostError):
                pending.result()

    def test_restarted_on_the_same_port(self):
        """Another process on the same port never gets a command of the old connection."""
        with LocalServer() as server:
            with Connection(address(server), Login()) as connection:
                connection.call("SET", "a", 1)
                server.stop()
                server.start()
                for _ in range(3):
                    with pytest.raises(LostError):
                        connection.call("SET", "b", 1)
            with server.client() as client:
                assert client.dbsize() == 0
                assert client.info("commandstats").get("cmdstat_set") is None

    def test_too_slow(self):
        """A server that does not answer in time is lost, because its answer could come any time."""
        with (
            LocalServer() as server,
            server.client() as client,
            Connection(address(server), Login(), timeout=0.1) as connection,
        ):
            client.execute_command("CLIENT", "PAUSE", 300)
            with pytest.raises(LostError):
                connection.call("GET", "a")
            with pytest.raises(LostError):
                connection.call("PING")

    def test_closed(self, connection):
        """A connection that was closed is not opened again by accident."""
        connection.close()
        connection.close()
        with pytest.raises(LostError):
            connection.call("PING")


class TestRefused:
    """Servers that cannot be used."""

    def test_nobody_listens(self, closed_port):
        """A port at which nobody listens is named, with a hint."""
        with pytest.raises(
            ServerError, match=f"cannot connect to 127.0.0.1:{closed_port}"
        ) as caught:
            Connection(Address("127.0.0.1", closed_port), Login()).open()
        assert "rotator check" in caught.value.hint
        assert not isinstance(caught.value, LostError)

    def test_unknown_host(self):
        """A host without an address is named."""
        with pytest.raises(ServerError, match=r"cannot connect to nowhere\.invalid:6379"):
            Connection(Address("nowhere.invalid", 6379), Login()).open()

    @pytest.mark.parametrize("login", [Login(None, "wrong"), Login("nobody", PASSWORD)])
    def test_wrong_login(self, login):
        """A wrong password or user is refused, with a hint, and without the password."""
        with (
            LocalServer("--requirepass", PASSWORD) as server,
            pytest.raises(LoginError, match="refused the login") as caught,
        ):
            Connection(address(server), login).open()
        assert "redis.password" in caught.value.hint
        assert PASSWORD not in "".join(traceback.format_exception(caught.value))

    def test_no_password(self):
        """A server that wants a password and gets none says so at the first command."""
        with (
            LocalServer("--requirepass", PASSWORD) as server,
            pytest.raises(LoginError, match="Authentication required") as caught,
        ):
            Connection(address(server), Login()).call("GET", "a")
        assert "redis.password" in caught.value.hint

    def test_right_password(self):
        """With the right password the connection works."""
        with (
            LocalServer("--requirepass", PASSWORD) as server,
            Connection(address(server), Login(None, PASSWORD)) as connection,
        ):
            assert connection.call("PING") == b"PONG"

    def test_other_protocol(self, strange):
        """A server that does not speak Redis's protocol is an error, not a traceback."""
        with pytest.raises(ServerError, match=f"127.0.0.1:{strange}"):
            Connection(Address("127.0.0.1", strange), Login()).call("PING")

    def test_full(self):
        """A server with no connection to spare is an error that says so."""
        with LocalServer("--maxclients", "1") as server, server.client() as client:
            client.ping()
            with pytest.raises(ServerError, match="max number of clients"):
                Connection(address(server), Login()).call("PING")


class TestSecrets:
    """The password is never shown and never travels."""

    def test_repr(self):
        """Neither the login nor the connection shows it."""
        login = Login("rotator", PASSWORD)
        connection = Connection(Address("127.0.0.1", 6379), login)
        assert repr(login) == "Login(username='rotator', tls=False)"
        assert PASSWORD not in f"{connection!r} {connection} {vars(connection)}"

    @pytest.mark.parametrize("action", [pickle.dumps, copy.copy, copy.deepcopy])
    def test_copies(self, action):
        """A login cannot be pickled or copied."""
        with pytest.raises(TypeError, match="must not be pickled"):
            action(Login("rotator", PASSWORD))
