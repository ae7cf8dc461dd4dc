"""Proxies before servers: haproxy with health checks and a failover, and one that knows no SCAN."""

import signal
from contextlib import contextmanager

import pytest
from redis import Redis

from rotator.demo.local_server import LocalServer
from rotator.errors import Exit
from support.caches import Cache, Place, contents, counted, fill, keys_of, old_key, wait_for
from support.clusters import at_page
from support.processes import job, run_here
from support.proxies import answers, haproxy, nutcracker
from support.respfront import RespFront

TOLD = r"a proxy that answers PING and does not know SCAN"

BRIEF = {"patience": 3.0}
"""Plan for servers that are soon there again, or not at all."""


@contextmanager
def pair():
    """A primary and its replica."""
    with LocalServer() as primary, LocalServer(replica_of=primary) as replica:
        with replica.client() as client:
            wait_for(lambda: client.info("replication")["master_link_status"] == "up")
        yield primary, replica


def unchanged(client, entries, cache):
    """Whether each name holds what it held, until the same millisecond, whatever its key."""
    held = contents(client)
    return {
        name: (cache.open(name, value).plaintext, at_ms) for name, (value, at_ms) in held.items()
    } == {name: (plaintext, at_ms) for name, (plaintext, _, _, at_ms) in entries.items()}


def holds(report, cache, client):
    """No old key that a value is still under is called retirable, nor one whose values are lost."""
    left = {cache.ids[number] for number in keys_of(client, cache) if number}
    return not any(old_key(report, one).verdict == "retirable" for one in left)


class TestHaproxy:
    """A primary with a replica behind haproxy, which follows the role."""

    def test_all_is_rotated_as_without(self, tmp_path):
        """A run through it rotates all, knows the replica, and tells what it would tell."""
        with pair() as (primary, replica), haproxy(primary, replica) as port:
            place = Place(tmp_path, Cache(f"127.0.0.1:{port}"))
            with primary.client() as client:
                entries = fill(client, place.cache, 300)
                through = place.run()
                assert unchanged(client, entries, place.cache)
                assert set(keys_of(client, place.cache)) == {0}
            place.configure(Cache(primary.address, keys=place.cache.keys))
            direct = place.run(fresh=True)
            assert run_here(["check", "--config", place.file]).returncode == Exit.OK
        assert counted(through) == {"rotated": 300}
        kinds = [
            {
                one.kind
                for one in old_key(report, place.cache.ids[1]).places
                if one.verdict != "retirable"
            }
            for report in (through, direct)
        ]
        assert kinds[0] == kinds[1]

    @pytest.mark.parametrize("closing", [True, False], ids=["closes sessions", "keeps sessions"])
    def test_a_failover_behind_it(self, tmp_path, closing):
        """The primary dies or is demoted in mid-run: all is swept where the proxy leads then."""
        more = "on-marked-down shutdown-sessions" if closing else ""
        with pair() as (primary, replica), haproxy(primary, replica, more=more) as port:
            place = Place(tmp_path, Cache(f"127.0.0.1:{port}"))
            with primary.client() as client:
                entries = fill(client, place.cache, 2000)
                # What no replica has is lost by a failover, whoever else is at work.
                assert client.wait(1, 30_000) == 1

            def fail_over():
                with replica.client() as client:
                    client.replicaof("NO", "ONE")
                if closing:
                    primary.signal(signal.SIGKILL)
                    return
                with primary.client() as client:
                    client.replicaof("127.0.0.1", replica.port)

            with at_page(5, fail_over) as on_page:
                report = place.run(page=50, on_page=on_page, **BRIEF)
            with replica.client() as client:
                wait_for(lambda: client.info("replication")["role"] == "master")
                assert holds(report, place.cache, client)
                assert unchanged(client, entries, place.cache)
                if report.caches[0].complete:
                    assert set(keys_of(client, place.cache)) == {0}
            assert report.exit_code != Exit.OK or report.caches[0].complete
            again = place.run(**BRIEF)
            with replica.client() as client:
                assert set(keys_of(client, place.cache)) == {0}
                assert unchanged(client, entries, place.cache)
        assert again.caches[0].complete
        assert old_key(again, place.cache.ids[1]).verdict != "retirable"

    def test_servers_in_turn(self, tmp_path):
        """Two servers that know nothing of each other, in turn: that is never called complete."""
        with (
            LocalServer() as one,
            LocalServer() as other,
            haproxy(one, other, balance="balance roundrobin") as port,
        ):
            place = Place(tmp_path, Cache(f"127.0.0.1:{port}"))
            with one.client() as first, other.client() as second:
                fill(first, place.cache, 300, prefix="one")
                fill(second, place.cache, 300, prefix="other")
                for _ in range(3):
                    report = place.run(**BRIEF)
                    assert holds(report, place.cache, first)
                    assert holds(report, place.cache, second)

    def test_a_replica_in_turn(self, tmp_path):
        """A primary and its replica in turn: what was read from the replica is no proof."""
        with (
            pair() as (primary, replica),
            haproxy(primary, replica, balance="balance roundrobin", expected="role:") as port,
        ):
            place = Place(tmp_path, Cache(f"127.0.0.1:{port}"))
            with primary.client() as client:
                entries = fill(client, place.cache, 300)
                done = run_here(job(place))
                assert "internal error" not in done.stderr
                assert unchanged(client, entries, place.cache)
                left = set(keys_of(client, place.cache))
        assert done.returncode != Exit.OK or left == {0}

    def test_nobody_behind_it(self, tmp_path):
        """Where all servers behind it are down, it says so, and not that there is another proxy."""
        with pair() as (primary, replica), haproxy(primary, replica) as port:
            place = Place(tmp_path, Cache(f"127.0.0.1:{port}"))
            replica.signal(signal.SIGKILL)
            primary.signal(signal.SIGKILL)
            wait_for(lambda: not answers(port))
            done = run_here(job(place))
        assert done.returncode == Exit.FAILED
        assert "the server closed it" in done.stderr
        assert "SCAN" not in done.stderr


class TestNutcracker:
    """twemproxy before two servers."""

    COMMANDS = (
        ("check",),
        ("run",),
        ("run", "--dry-run"),
        ("detect",),
        ("inspect", "app:1"),
        ("purge", "--undecryptable", "--yes"),
        ("get", "1", "--namespace", "app"),
    )

    @pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
    def test_what_is_said(self, server, redis, tmp_path, command):  # noqa: ARG002 - it is empty
        """Every command says that a proxy is there that cannot list names, and what to do."""
        with nutcracker(server) as port:
            place = Place(tmp_path, Cache(f"127.0.0.1:{port}"))
            word, *more = command
            told = ["--state", place.state] if word in {"run", "purge"} else []
            done = run_here([word, *more, "--config", place.file, *told])
        assert done.returncode == Exit.FAILED
        said = " ".join(f"{done.stdout} {done.stderr}".split())
        assert TOLD in said
        assert "put the servers behind it into redis.addresses" in said
        if word == "run":
            assert run_here(["status", "--state", place.state]).returncode == 3

    def test_check_tries_nothing_more(self, server, tmp_path):
        """The steps that need more than PING are not tried: one failure, not ten."""
        with nutcracker(server) as port:
            place = Place(tmp_path, Cache(f"127.0.0.1:{port}"))
            said = run_here(["check", "--config", place.file]).stdout
        assert said.count("  failed  ") == 1

    def test_servers_behind_it(self, tmp_path):
        """With the servers behind it as addresses all is rotated, and the application reads on."""
        with LocalServer() as one, LocalServer() as other, nutcracker(one, other) as port:
            place = Place(tmp_path, Cache(one.address, other.address))
            with Redis(port=port, protocol=2, driver_info=None) as application:
                values = {f"app:{number}".encode(): b"%d" % number for number in range(200)}
                for name, plaintext in values.items():
                    application.set(name, place.cache.seal(name, plaintext))
                with one.client() as first, other.client() as second:
                    assert min(first.dbsize(), second.dbsize()) > 0
                report = place.run(workers=1)
                found_now = {name: place.cache.open(name, application.get(name)) for name in values}
        assert counted(report) == {"rotated": 200}
        assert {name: one.plaintext for name, one in found_now.items()} == values
        assert {one.key.id for one in found_now.values()} == {place.cache.ids[0]}


REFUSALS = {
    "envoy": b"-ERR unsupported command '%s'\r\n",
    "unknown": b"-ERR unknown command '%s', with args beginning with: \r\n",
    "predixy": b"-ERR unknown command '%s'\r\n",
}
"""How proxies that answer, instead of closing, refuse a command; none of them is in Debian."""


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("also", [True, False], ids=["no INFO", "INFO"])
def test_a_proxy_that_refuses(server, place, redis, refusal, also):
    """One that answers an error to SCAN, and perhaps to INFO, is no cache that was looked at."""
    unknown = {b"SCAN", b"CLUSTER", *([b"INFO"] if also else [])}

    def answer(words, _ask):
        return REFUSALS[refusal] % words[0] if words[0].upper() in unknown else None

    fill(redis, place.cache, 10)
    with RespFront(server.port, answer) as front:
        place.cache.redis["addresses"] = [front.address]
        place.configure(place.cache)
        done = [run_here(job(place)), run_here(["check", "--config", place.file])]
    for one in done:
        assert one.returncode == Exit.FAILED
        assert "internal error" not in one.stderr
        assert "scan" in f"{one.stdout}{one.stderr}".lower() or also
    assert set(keys_of(redis, place.cache)) == {1, 2}
