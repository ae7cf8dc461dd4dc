"""`rotator check`: every fault is broken for real, and has its cause and its remedy told."""

import json
import socket
import socketserver
import threading

import pytest

from cluster.local_cluster import LocalCluster
from rotator.crypto.codec import Codec
from rotator.crypto.keyring import Key, Keyring
from rotator.crypto.layout import BUILTIN, Format
from rotator.demo.local_server import LocalServer
from rotator.diagnose.check import FIRST, LAST, NODE
from support.caches import held_port, wait_for
from support.commandline import KEY_A, KEY_B, KEY_C, cache, config_file, run
from support.processes import run_here
from support.respfront import RespFront
from support.terminals import on_terminal
from support.tlsfront import Authority

NAME = b"/app/oidc:abc"
PASSWORD = "of both servers"


def value(material=KEY_A, form=BUILTIN["sealed"]):
    """A value as an application writes it."""
    return Codec(Keyring(Key.from_text(material, "test")), [form]).seal(NAME, b"value")


def check(path, *arguments, code, quiet=True):
    """What `rotator check --format json` finds, by (node, step), the last one of each."""
    done = run_here(["check", "-c", path, "--format", "json", *arguments])
    assert done.returncode == code, done.stdout + done.stderr
    assert not (quiet and done.stderr)
    return {(one["node"], one["step"]): one for one in json.loads(done.stdout)["steps"]}


def failed(found):
    """The steps that failed."""
    return [step for (_, step), one in found.items() if one["result"] == "failed"]


def step(found, name):
    """What was found in the step *name*."""
    [one] = [one for (_, step), one in found.items() if step == name]
    return one


@pytest.fixture
def config(tmp_path, server, redis):
    """A configuration of one cache, which holds one value under an old key."""
    redis.set(NAME, value())
    return config_file(tmp_path / "maverics.yaml", cache(server.address))


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A CA that the profiles of the tests name."""
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def front(authority, server):
    """The session's server, spoken to with TLS."""
    with authority.front(server, "127.0.0.1") as running:
        yield running


def tls_config(path, address, profile):
    """A configuration of one cache with a TLS profile."""
    return config_file(path / "c.yaml", cache(address, tls="client"), tls={"client": profile})


class TestSound:
    """Nothing is wrong."""

    def test_every_step_is_ok(self, config, server):
        """On a sound server each step says what it saw and the exit code is 0."""
        found = check(config, code=0)
        assert {one["result"] for one in found.values()} == {"ok"}
        expected = [(None, one.name) for one in (*FIRST, *LAST)]
        expected += [(server.address, one.name) for one in NODE]
        assert set(found) == {(None, "configuration"), *expected}
        assert step(found, "formats")["detail"] == "1 sampled value opened: sealed"

    def test_nothing_is_written(self, config, redis):
        """Checking sends no command that changes anything."""
        before = redis.info("persistence")["rdb_changes_since_last_save"]
        check(config, code=0)
        assert redis.info("persistence")["rdb_changes_since_last_save"] == before

    def test_every_cache_is_checked(self, tmp_path, server, redis):
        """Without --cache all caches are, with it the one that is named."""
        redis.set(NAME, value())
        caches = [cache(server.address, name=name) for name in ("one", "two")]
        path = config_file(tmp_path / "c.yaml", *caches)
        for arguments, expected in ([], b"onetwo"), (["--cache", "two"], b"two"):
            lines = run(["check", "-c", path, *arguments]).stdout.splitlines()
            assert b"".join(line for line in lines if line in {b"one", b"two"}) == expected

    def test_a_cache_without_encryption_is_checked_but_for_its_values(
        self, tmp_path, server, redis
    ):
        """With encryption off there are no keys to check, and nobody is connected to unasked."""
        redis.set("plain", b"text")
        off = {"encryption": {"disabled": True}}
        path = config_file(tmp_path / "c.yaml", cache(server.address) | off)
        found = check(path, code=0)
        assert {one for _, one in found} == {"configuration", "key material"}
        assert "does not connect" in step(found, "key material")["detail"]
        found = check(path, "--cache", cache("")["name"], code=0)
        assert step(found, "key material")["detail"] == "encryption is off"
        assert step(found, "formats")["detail"] == "encryption is off"

    def test_a_replica_beside_its_primary_is_sound(self, tmp_path, server, redis):
        """A replica is told from a primary and is nothing to worry about."""
        redis.set(NAME, value())
        with LocalServer() as replica:
            replica.client().replicaof("127.0.0.1", server.port)
            _wait_for_replica(replica)
            path = config_file(tmp_path / "c.yaml", cache([server.address, replica.address]))
            found = check(path, code=0)
            assert found[replica.address, "role"]["detail"] == f"replica of {server.address}"

    def test_tls_is_told(self, tmp_path, front, authority):
        """With TLS on both sides its version is told."""
        path = tls_config(tmp_path, front.address, {"caFile": str(authority.file)})
        assert step(check(path, code=0), "TLS")["detail"] == "TLSv1.3, profile client"


def _wait_for_replica(replica):
    """Return when the replica is in step."""
    with replica.client() as client:
        while client.info("replication")["master_link_status"] != "up":
            pass


class TestConfiguration:
    """The configuration is at fault: exit code 2."""

    def test_a_file_that_is_not_there(self, tmp_path):
        """Without a configuration nothing else is tried."""
        found = check(tmp_path / "none.yaml", code=2)
        assert failed(found) == ["configuration"]
        rest = {one["result"] for key, one in found.items() if key != (None, "configuration")}
        assert rest == {"not tried"}

    def test_a_secret_that_is_not_there(self, tmp_path, server):
        """A key that does not resolve is named, and no server is asked for anything."""
        path = config_file(tmp_path / "c.yaml", cache(server.address, current="<none>"))
        found = check(path, "--secret-provider", "env://", code=2)
        assert failed(found) == ["key material"]
        assert "caches[0].encryption.keys.current" in step(found, "key material")["detail"]
        assert step(found, "TCP")["result"] == "not tried"

    def test_an_unknown_field_is_advice(self, tmp_path, server, redis):
        """A field of the Orchestrator's that is not known does not fail the check."""
        redis.set(NAME, value())
        path = config_file(tmp_path / "c.yaml", cache(server.address, novelty=True))
        done = run(["check", "-c", path])
        assert done.returncode == 0
        assert b"caches[0].novelty" in done.stdout


class TestConnection:
    """The server cannot be reached: the first of the five cases."""

    def test_connection_refused(self, tmp_path, closed_port):
        """A port that nothing listens on fails at TCP; what comes after is not tried."""
        path = config_file(tmp_path / "c.yaml", cache(f"127.0.0.1:{closed_port}"))
        found = check(path, code=1)
        assert failed(found) == ["TCP"]
        assert "connection refused" in step(found, "TCP")["detail"]
        assert "start the server" in step(found, "TCP")["remedy"]
        assert step(found, "TLS")["result"] == step(found, "formats")["result"] == "not tried"

    def test_a_name_that_does_not_resolve(self, tmp_path):
        """A host without an address fails at name resolution."""
        path = config_file(tmp_path / "c.yaml", cache("no-such-host.invalid:6379"))
        found = check(path, code=1)
        assert failed(found) == ["name resolution"]
        assert "redis.addresses" in step(found, "name resolution")["remedy"]

    def test_something_that_is_not_redis(self, tmp_path):
        """A server that says something else is not taken for Redis."""
        with socket.create_server(("127.0.0.1", 0)) as mute:
            path = config_file(tmp_path / "c.yaml", cache(f"127.0.0.1:{mute.getsockname()[1]}"))
            found = check(path, code=1)
        assert "does not answer as Redis does" in step(found, "TLS")["detail"]

    def test_one_server_of_two_is_gone(self, tmp_path, server, redis, closed_port):
        """Each address is checked for itself."""
        redis.set(NAME, value())
        gone = f"127.0.0.1:{closed_port}"
        path = config_file(tmp_path / "c.yaml", cache([gone, server.address]))
        found = check(path, code=1)
        assert found[gone, "TCP"]["result"] == "failed"
        assert found[server.address, "clock skew"]["result"] == "ok"


class Stub(socketserver.ThreadingTCPServer):
    """
    A server that has an answer, as it goes over the wire, for each command that it is told of.

    For what no real server can be brought to say in a test; the connection is real.
    """

    daemon_threads = True

    def __init__(self, **answers):
        super().__init__(("127.0.0.1", 0), self.Talk)
        self.answers = answers

    @property
    def address(self):
        """Where it listens."""
        return "{}:{}".format(*self.server_address)

    class Talk(socketserver.StreamRequestHandler):
        """One connection."""

        def handle(self):
            """Answer commands, given as arrays or inline, until the client hangs up."""
            while line := self.rfile.readline():
                words = [line.strip()]
                if line.startswith(b"*"):
                    words = []
                    for _ in range(int(line[1:])):
                        size = int(self.rfile.readline()[1:])
                        words.append(self.rfile.read(size + 2)[:-2])
                name = words[0].decode().upper()
                answers = self.server.answers
                self.wfile.write(answers.get(name, answers.get("REST", b"-ERR unknown\r\n")))

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


def info(**fields):
    """The answer to INFO of a sound server, but for these fields."""
    fields = {"redis_version": "7.0.15", "role": "master", "run_id": "0" * 40, **fields}
    text = "".join(f"{name}:{value}\r\n" for name, value in fields.items())
    return f"${len(text)}\r\n{text}\r\n".encode()


PONG = b"+PONG\r\n"


class TestServer:
    """The server is reached, and is not as it should be."""

    def test_an_old_server(self, tmp_path):
        """A server older than 6.0 fails with what it is."""
        with Stub(PING=PONG, INFO=info(redis_version="5.0.14")) as stub:
            found = check(config_file(tmp_path / "c.yaml", cache(stub.address)), code=1)
        assert "redis 5.0.14 is older than 6.0" in step(found, "version")["detail"]
        assert "upgrade" in step(found, "version")["remedy"]

    def test_protected_mode(self, tmp_path):
        """A server that lets only its own machine in is told as such."""
        denied = b"-DENIED Redis is running in protected mode\r\n"
        with Stub(REST=denied) as stub:
            found = check(config_file(tmp_path / "c.yaml", cache(stub.address)), code=1)
        assert failed(found) == ["authentication"]
        assert "protected mode" in step(found, "authentication")["detail"]
        assert "redis.password" in step(found, "authentication")["remedy"]

    @pytest.mark.parametrize("answers", [{}, {"CLIENT": b"+OK\r\n"}], ids=["6.0", "7.2"])
    def test_a_server_that_is_loading(self, tmp_path, answers):
        """A server that reads its data from disk is to be waited for."""
        loading = b"-LOADING Redis is loading the dataset in memory\r\n"
        with Stub(REST=loading, **answers) as stub:
            found = check(config_file(tmp_path / "c.yaml", cache(stub.address)), code=1)
        assert failed(found) == ["authentication"]
        assert "loading" in step(found, "authentication")["detail"]
        assert "when it has loaded" in step(found, "authentication")["remedy"]

    @pytest.mark.parametrize(
        "said", [b"-ERR max number of clients reached\r\n", b"-MASTERDOWN Link is down\r\n"]
    )
    def test_a_server_that_will_not_talk(self, tmp_path, said):
        """Whatever else a server says to a PING is passed on."""
        with Stub(REST=said, CLIENT=b"+OK\r\n") as stub:
            found = check(config_file(tmp_path / "c.yaml", cache(stub.address)), code=1)
        assert failed(found) == ["authentication"]
        assert said.decode().split(maxsplit=1)[1].strip() in step(found, "authentication")["detail"]
        assert "log" in step(found, "authentication")["remedy"]

    def test_an_answer_to_ping_that_is_none(self, tmp_path):
        """Who answers a PING with something else has not let anybody in."""
        with Stub(PING=b"+HELLO\r\n", INFO=info()) as stub:
            found = check(config_file(tmp_path / "c.yaml", cache(stub.address)), code=1)
        assert failed(found) == ["authentication"]
        assert "answer to PING that is not" in step(found, "authentication")["detail"]

    def test_a_clock_that_is_wrong(self, tmp_path, server, redis):
        """Two clocks that are far apart are advised to be set."""
        redis.set(NAME, value())
        past = b"*2\r\n$9\r\n946684800\r\n$1\r\n0\r\n"
        with RespFront(server.port, lambda words, _: past if words == [b"TIME"] else None) as front:
            found = check(config_file(tmp_path / "c.yaml", cache(front.address)), code=0)
        assert step(found, "clock skew")["result"] == "advice"
        assert "behind this machine" in step(found, "clock skew")["detail"]
        assert "NTP" in step(found, "clock skew")["remedy"]

    def test_a_disk_that_is_full(self, tmp_path):
        """A snapshot that could not be written is pointed out."""
        with LocalServer() as own, own.client() as client:
            (own.folder / "dump.rdb" / "in the way").mkdir(parents=True)
            client.bgsave()
            wait_for(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
            client.config_set("stop-writes-on-bgsave-error", "no")
            client.set(NAME, value())
            found = check(config_file(tmp_path / "c.yaml", cache(own.address)), code=0)
        assert step(found, "persistence")["result"] == "advice"
        assert "rdb_last_bgsave_status not ok" in step(found, "persistence")["detail"]

    def test_only_a_replica(self, tmp_path, server):
        """A replica without its primary is told where the primary is."""
        with LocalServer(replica_of=server) as replica:
            found = check(config_file(tmp_path / "c.yaml", cache(replica.address)), code=1)
        assert failed(found) == ["topology"]
        assert server.address in step(found, "topology")["remedy"]


class TestCluster:
    """A cluster is known by any of its addresses."""

    def test_one_address_will_do(self, tmp_path):
        """With one of three primaries configured the other two are found, and named."""
        with LocalCluster(primaries=3, replicas=0) as cluster:
            one, two, three = cluster.addresses
            found = check(config_file(tmp_path / "c.yaml", cache(one)), code=0)
            detail = step(found, "topology")["detail"]
            assert detail.startswith("cluster, 3 primaries; not in redis.addresses: ")
            assert two in detail
            assert three in detail
            sound = check(config_file(tmp_path / "c.yaml", cache([one, two, three])), code=0)
            assert step(sound, "topology")["detail"] == "cluster, 3 primaries"
            cluster.kill(cluster.nodes[2])
            broken = check(config_file(tmp_path / "c.yaml", cache([one, two])), code=1, quiet=False)
            assert failed(broken) == ["topology"]
            assert three in step(broken, "topology")["detail"]
            assert "redis-cli --cluster check" in step(broken, "topology")["remedy"]


class TestAuthentication:
    """The server refuses the login, or what the user does."""

    @pytest.mark.parametrize(
        ("configured", "remedy"),
        [
            ({}, "caches[0].redis.password"),
            ({"password": "wrong"}, "caches[0].redis.password"),
            ({"username": "nobody", "password": "secret"}, "caches[0].redis.username"),
        ],
        ids=["none", "wrong password", "unknown user"],
    )
    def test_a_refused_login(self, tmp_path, configured, remedy):
        """Without a login or with a wrong one, the field to correct is named."""
        with LocalServer("--requirepass", "secret") as closed:
            path = config_file(tmp_path / "c.yaml", cache(closed.address, **configured))
            found = check(path, code=1)
        assert failed(found) == ["authentication"]
        assert remedy in step(found, "authentication")["remedy"]
        assert step(found, "rights")["result"] == "not tried"

    def test_a_password_that_nobody_asked_for(self, tmp_path, server):
        """A password for a server that has none is told as such."""
        path = config_file(tmp_path / "c.yaml", cache(server.address, password="superfluous"))
        found = check(path, code=1)
        assert "remove caches[0].redis.password" in step(found, "authentication")["remedy"]

    def test_no_password_is_shown(self, tmp_path, server):
        """Neither output shows the password."""
        path = config_file(tmp_path / "c.yaml", cache(server.address, password="superfluous"))
        for form in ("table", "json"):
            done = run(["check", "-c", path, "--format", form])
            assert b"superfluous" not in done.stdout + done.stderr

    def test_missing_rights_are_listed(self, tmp_path, server, redis):
        """What the user may not do is listed as the rules that would allow it."""
        redis.set(NAME, value())
        redis.acl_setuser(
            "reader", enabled=True, reset=True, passwords=["+pw"], keys=["*"],
            commands=["+ping", "+info", "+select", "+scan", "+mget", "+get", "+pttl"],
        )  # fmt: skip
        path = config_file(
            tmp_path / "c.yaml", cache(server.address, username="reader", password="pw")
        )
        try:
            found = check(path, code=1)
        finally:
            redis.acl_deluser("reader")
        assert failed(found) == ["rights"]
        assert "+set +watch +unwatch +multi +exec" in step(found, "rights")["remedy"]


class TestTls:
    """TLS that does not come about."""

    def test_a_plain_server_spoken_to_with_tls(self, tmp_path, server):
        """The server answers without TLS, so the profile is the mistake."""
        path = tls_config(tmp_path, server.address, {})
        found = check(path, code=1)
        assert failed(found) == ["TLS"]
        assert "does not speak TLS" in step(found, "TLS")["detail"]
        assert "remove caches[0].redis.tls" in step(found, "TLS")["remedy"]

    def test_a_tls_server_spoken_to_plainly(self, tmp_path, front):
        """The server speaks TLS, so a profile is missing."""
        found = check(config_file(tmp_path / "c.yaml", cache(front.address)), code=1)
        assert failed(found) == ["TLS"]
        assert "speaks TLS" in step(found, "TLS")["detail"]
        assert "caches[0].redis.tls" in step(found, "TLS")["remedy"]

    def test_an_unknown_authority(self, tmp_path, front):
        """A certificate of a CA that is not trusted asks for caFile."""
        found = check(tls_config(tmp_path, front.address, {}), code=1)
        assert "not trusted" in step(found, "TLS")["detail"]
        assert "caFile" in step(found, "TLS")["remedy"]

    def test_a_certificate_for_another_host(self, tmp_path, authority, server):
        """A certificate for another address asks for a name that is in it."""
        with authority.front(server, "127.0.0.2") as other:
            path = tls_config(tmp_path, other.address, {"caFile": str(authority.file)})
            found = check(path, code=1)
        assert "redis.addresses" in step(found, "TLS")["remedy"]

    def test_a_client_certificate_that_is_missing(self, tmp_path, authority, server):
        """A server that wants a client certificate says so only after the handshake."""
        leaf = authority.issue("rotator@example.com")
        with authority.front(server, "127.0.0.1", clients=True) as strict:
            profile = {"caFile": str(authority.file)}
            path = tls_config(tmp_path, strict.address, profile)
            assert "certFile" in step(check(path, code=1), "TLS")["remedy"]
            profile |= {"certFile": str(leaf.cert), "keyFile": str(leaf.key)}
            check(tls_config(tmp_path, strict.address, profile), code=0)


class TestKeys:
    """The encryption keys are not those of the stored values."""

    def test_a_key_that_is_not_configured(self, tmp_path, server, redis):
        """Values that name an unknown key have its id told, and where to add it."""
        redis.set(NAME, value(KEY_C))
        found = check(config_file(tmp_path / "c.yaml", cache(server.address)), code=2)
        assert failed(found) == ["formats"]
        assert Key.from_text(KEY_C, "test").id in step(found, "formats")["detail"]
        assert "caches[0].encryption.keys.old" in step(found, "formats")["remedy"]

    def test_nothing_opens(self, tmp_path, server, redis):
        """Values that name no key and open under none question the keys."""
        redis.set(NAME, value(KEY_C, BUILTIN["gcm"]))
        found = check(config_file(tmp_path / "c.yaml", cache(server.address)), code=2)
        assert "none of 1 sampled value opens" in step(found, "formats")["detail"]
        assert "caches[0].encryption.keys" in step(found, "formats")["remedy"]

    def test_another_format(self, tmp_path, server, redis):
        """Values in a format that is not configured lead to `rotator detect`."""
        theirs = Format.parse("theirs", "hex", ["tag:16", "nonce:12", "ciphertext"])
        redis.set(NAME, value(KEY_A, theirs))
        found = check(config_file(tmp_path / "c.yaml", cache(server.address)), code=2)
        assert "rotator detect" in step(found, "formats")["remedy"]

    def test_a_label_of_no_key(self, tmp_path, server, redis):
        """A label for an id that is no configured key's deserves a look: it may be a slip."""
        redis.set(NAME, value())
        caches = {"shared-redis": {"labels": {"caec13720b45f6d8": "may"}}}
        path = tmp_path / "maverics.yaml"
        config = config_file(path, cache(server.address), rotator={"caches": caches})
        found = step(check(config, code=0), "key material")
        assert found["result"] == "advice"
        said = "labels: caec13720b45f6d8 is not the id of a configured key"
        assert found["detail"].endswith(said)
        assert "rotator keys" in found["remedy"]

    def test_no_label_for_the_current_key(self, tmp_path, server, redis):
        """A format with a label needs that of the current key; a run refuses in the same words."""
        redis.set(NAME, value())
        theirs = {"encoding": "base64", "layout": "{label}:{nonce}{ciphertext}{tag}"}
        ours = {"formats": {"theirs": theirs}, "caches": {"shared-redis": {"formats": ["theirs"]}}}
        config = config_file(tmp_path / "maverics.yaml", cache(server.address), rotator=ours)
        found = step(check(config, code=2), "formats")
        dry = run(["run", "--dry-run", "-c", config, "--state", tmp_path / "state"])
        assert f"error: {found['detail']}\n" in dry.stderr.decode()
        assert "no label for the current key" in found["detail"]

    def test_some_do_not_open(self, config, redis):
        """One value that does not open among others is advice, not a failure."""
        redis.set("broken", value(KEY_B)[:-1] + b"!")
        found = check(config, code=0)
        assert step(found, "formats")["result"] == "advice"
        assert step(found, "formats")["detail"] == "1 of 2 sampled values do not open"


class TestAdvice:
    """What works, but not for long."""

    def test_a_full_server(self, tmp_path):
        """A server near its memory limit is advised to get more."""
        with LocalServer() as full, full.client() as client:
            client.config_set("maxmemory", int(client.info("memory")["used_memory"] * 1.05))
            path = config_file(tmp_path / "c.yaml", cache(full.address))
            found = step(check(path, code=0), "memory policy")
        assert found["result"] == "advice"
        assert "refuses writes" in found["remedy"]

    @pytest.fixture
    def guarded(self):
        """A primary and its replica, both with a password."""
        with LocalServer() as primary, LocalServer(replica_of=primary) as replica:
            with primary.client() as here, replica.client() as there:
                wait_for(lambda: there.info("replication")["master_link_status"] == "up")
                here.set(NAME, value())
                for one in here, there:
                    one.config_set("requirepass", PASSWORD)
            yield primary, replica

    def role(self, folder, primary, code=0, **settings):
        """What is said of the role of a primary of which a run knows no more than this."""
        ours = {"caches": {"shared-redis": settings}}
        section = cache(primary.address, password=PASSWORD)
        return step(check(config_file(folder / "c.yaml", section, rotator=ours), code=code), "role")

    def test_a_replica_that_is_not_listed(self, tmp_path, guarded):
        """What a run will not look at, to keep the password, is named with where to list it."""
        primary, replica = guarded
        found = self.role(tmp_path, primary)
        assert found["result"] == "advice"
        assert found["detail"] == f"primary, 1 replica; not listed: {replica.address}"
        assert "list it under rotator.caches.shared-redis.replicas: " in found["remedy"]
        done = run_here(
            ["run", "-c", tmp_path / "c.yaml", "--state", tmp_path / "state", "--report",
             tmp_path / "report.json"]
        )  # fmt: skip
        report = json.loads((tmp_path / "report.json").read_text())
        assert done.returncode == 0
        assert any(
            f"{replica.address} was not looked at: {primary.address} names it, but" in reason
            for key in report["caches"][0]["keys"]
            for reason in key["reasons"]
        )

    @pytest.mark.parametrize(
        "settings",
        [
            lambda replica: {"replicas": [replica.address]},
            lambda replica: {"replicas": [replica.address.replace("127.0.0.1", "localhost")]},
            lambda _: {"replicas": "announced"},
            lambda _: {"replicas": {"only": []}},
            lambda _: {"assume": {"replicas": {"is": "as-primary-says", "reason": "a test"}}},
            lambda replica: {
                "assume": {"decommissioned": {"is": [replica.address], "reason": "a test"}}
            },
        ],
        ids=["listed", "listed by name", "announced", "only", "as told", "decommissioned"],
    )
    def test_a_replica_that_is_declared(self, tmp_path, guarded, settings):
        """Where a run looks at it, or the operator says what it has, nothing is advised."""
        primary, replica = guarded
        found = self.role(tmp_path, primary, **settings(replica))
        assert (found["result"], found["detail"]) == ("ok", "primary, 1 replica")

    def test_a_replica_behind_address_translation(self, tmp_path):
        """One that is listed by another address than its primary names is known to be that one."""
        with LocalServer() as primary, primary.client() as here:
            announced = ("--replica-announce-ip", "10.255.255.1")
            with LocalServer(*announced, replica_of=primary) as replica, replica.client() as there:
                wait_for(lambda: there.info("replication")["master_link_status"] == "up")
                here.set(NAME, value())
                for one in here, there:
                    one.config_set("requirepass", PASSWORD)
                missing = self.role(tmp_path, primary)
                found = self.role(tmp_path, primary, replicas=[replica.address])
        assert missing["detail"] == f"primary, 1 replica; not listed: 10.255.255.1:{replica.port}"
        assert (found["result"], found["detail"]) == ("ok", "primary, 1 replica")

    def test_replicas_of_a_cluster(self, tmp_path):
        """The members of a cluster are asked without being listed, with a password, too."""
        with LocalCluster(primaries=1, replicas=1) as cluster:
            for node in cluster.nodes:
                with node.client() as client:
                    client.config_set("requirepass", PASSWORD)
            assert self.role(tmp_path, cluster.nodes[0])["detail"] == "primary, 1 replica"

    def test_replicas_that_refuse_the_login(self, tmp_path):
        """Each replica of a cluster where a run could not log in, or ask, is named."""
        with LocalCluster(primaries=2, replicas=1) as cluster:
            for node in cluster.nodes:
                with node.client() as client:
                    client.execute_command("ACL", "SETUSER", "me", "on", ">secret", "~*", "+@all")
            login = {"username": "me", "password": "secret"}
            ours = config_file(tmp_path / "c.yaml", cache(cluster.primaries[0].address, **login))
            assert step(check(ours, code=0), "replicas")["detail"] == "2 replicas answered"
            without, denied = cluster.replicas
            with without.client() as here, denied.client() as there:
                here.execute_command("ACL", "DELUSER", "me")
                there.execute_command("ACL", "SETUSER", "me", "-info")
            found = step(check(ours, code=0), "replicas")
        assert found["result"] == "advice"
        assert f"{without.address}: refused the login" in found["detail"]
        assert f"{denied.address}: the user lacks the right +info" in found["detail"]
        assert "create the user me there with the same password and rights" in found["remedy"]
        assert "ACL SETUSER me +info" in found["remedy"]

    def test_a_listed_replica_that_is_gone(self, tmp_path, guarded):
        """A listed replica that refuses the login, or does not answer, is named."""
        primary, replica = guarded
        with replica.client(password=PASSWORD) as client, held_port() as port:
            client.config_set("requirepass", "another")
            listed = [replica.address, f"127.0.0.1:{port}"]
            ours = {"caches": {"shared-redis": {"replicas": listed}}}
            section = cache(primary.address, password=PASSWORD)
            found = check(config_file(tmp_path / "c.yaml", section, rotator=ours), code=0)
        told = f"{listed[0]}: refused the login; {listed[1]}: does not answer"
        assert step(found, "replicas")["detail"] == told

    def test_an_empty_database(self, tmp_path, server, redis):
        """A database that is configured and holds nothing is pointed out."""
        redis.set(NAME, value())
        ours = {"caches": {"shared-redis": {"databases": [0, 9]}}}
        path = config_file(tmp_path / "c.yaml", cache(server.address), rotator=ours)
        assert step(check(path, code=0), "databases")["detail"] == "nothing is stored in 9"


class TestTable:
    """What people read."""

    def test_a_remedy_follows_its_step(self, tmp_path, closed_port):
        """Below the line of a failed step stands what to do; the rest is not tried."""
        path = config_file(tmp_path / "c.yaml", cache(f"127.0.0.1:{closed_port}"))
        lines = run(["check", "-c", path]).stdout.decode().splitlines()
        place = next(i for i, line in enumerate(lines) if line.startswith("  failed     TCP"))
        assert any("-> start the server" in line for line in lines[place + 1 : place + 3])
        assert any(line.split() == ["not", "tried", "TLS", "needs", "TCP"] for line in lines)

    def test_no_line_is_wider_than_100_columns(self, tmp_path, server, redis):
        """Long details and remedies are wrapped."""
        redis.set(NAME, value(KEY_C))
        long = cache([server.address, "no-such-host-with-a-long-name.invalid:6379"], name="n" * 60)
        done = run(["check", "-c", config_file(tmp_path / "c.yaml", long)])
        assert max(map(len, done.stdout.decode().splitlines())) <= 100

    def test_a_terminal_of_80_columns(self, tmp_path, server, redis):
        """On a narrow terminal lines end between words, and no id of a key is cut."""
        redis.set(NAME, value())
        path = config_file(tmp_path / "c.yaml", cache(server.address))
        current = Key.from_text(KEY_B, "test").id
        for command in (["check"], ["detect"], ["keys"]):
            shown = on_terminal(*command, "-c", path)
            assert max(map(len, shown.splitlines())) <= 80
            assert command == ["detect"] or current in shown
        shown = [run(["check", "-c", path]).stdout.decode(), on_terminal("check", "-c", path)]
        # Not the path of the file, which may be one long word, and no clock and no cost.
        wide, narrow = (text.split("\n\n", 1)[1].partition("clock skew")[0] for text in shown)
        assert wide.split() == narrow.split()
        assert len(wide.splitlines()) < len(narrow.splitlines())
