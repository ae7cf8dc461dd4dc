"""
The page on managed services keeps its promises, as far as a real server can play a service.

Its user may not use what the page says is refused, and somebody else changes settings, as a
provider does. That is no run on the service itself, and the page says so.
"""

import re
from contextlib import contextmanager
from datetime import timedelta

import pytest
import yaml
from redis.exceptions import ResponseError

from cluster.local_cluster import LocalCluster
from rotator.demo.local_server import LocalServer
from rotator.errors import Exit
from support import clusters
from support.caches import Cache, Place, keys_of, wait_for
from support.documents import blocks, section
from support.processes import job, run_here
from support.respfront import RespFront, without
from support.server_versions import acl

TOPIC = "managed-services"
COUNT = 40
LOGIN = {"username": "rotator", "password": "of the provider"}
REPLICA = "redis-1.internal:6379"
"""A replica's own endpoint, as the page calls it."""
NAMELESS = without(b"run_id", b"master_repl", b"second_repl", b"cmdstat_", b"rdb_", b"aof_")
"""An INFO of which nobody knows which fields it has: those that a proof goes by are missing."""

BLOCKS = {
    block.section: yaml.safe_load(block.text)["rotator"]["caches"]["shared-redis"]
    for block in blocks(TOPIC)
    if block.kind == "yaml" and block.section not in {"As it looks", "TLS and login"}
}
"""The declarations to paste, by service."""


def refused(service):
    """The commands that the page says a service refuses, as ACL rules."""
    pattern = re.compile(r"^- \*\*Refused:\*\*(.*?)^- \*\*", re.MULTILINE | re.DOTALL)
    [text] = pattern.findall(section(TOPIC, service))
    words = [word.lower() for word in re.findall(r"`([A-Z ]+)`", text)]
    assert words
    return [f"-{word.replace(' ', '|')}" for word in words]


def restrict(client, rules):
    """Make the user of the service on one server, and do what a provider does there."""
    user = ("ACL", "SETUSER", "rotator")
    client.execute_command(*user, "reset", "on", f">{LOGIN['password']}", *acl(client, "~*", "&*"))
    for rule in acl(client, "+@all", *rules):
        try:
            client.execute_command(*user, rule)
        except ResponseError:  # the server does not have that command either
            assert rule.startswith("-")
    client.config_set("maxmemory-samples", 6)


@contextmanager
def single(rules, answer=None):
    """A single server, behind a front that gives other answers."""
    with LocalServer() as server, server.client() as client:
        restrict(client, rules)
        if answer is None:
            yield server.address, None, client
        else:
            with RespFront(server.port, answer) as front:
                yield front.address, None, client


@contextmanager
def pair(rules):
    """A server with a replica."""
    with (
        LocalServer() as server,
        LocalServer(replica_of=server) as replica,
        server.client() as client,
        replica.client() as other,
    ):
        wait_for(lambda: other.info("replication")["master_link_status"] == "up")
        restrict(client, rules)
        restrict(other, rules)
        yield server.address, replica.address, client


@contextmanager
def clustered(rules, replicas=1):
    """A cluster, of which the configuration has one address."""
    with LocalCluster(3 if replicas else 1, replicas) as cluster:
        for node in cluster.nodes:
            with node.client() as client:
                restrict(client, rules)
        yield cluster.addresses[0], None, clusters.Router(cluster)


def proxied(rules):
    """One shard behind a proxy that answers SELECT."""
    return single([rule for rule in rules if rule != "-select"], NAMELESS)


PLAYED = {
    "Amazon ElastiCache, node-based": pair,
    "Amazon MemoryDB": clustered,
    "Azure Cache for Redis": pair,
    "Google Cloud Memorystore for Redis": pair,
    "Google Cloud Memorystore for Redis Cluster and for Valkey": clustered,
    "Redis Cloud and Redis Software": proxied,
}
"""How each service with declarations is played."""


def placed(folder, address, client, settings=None):
    """A configuration for a user of the service, and values under the old key."""
    place = Place(folder, Cache(address, keys=2, settings=settings or {}, redis=LOGIN))
    for number in range(COUNT):
        place.cache.put(client, f"app:{number}")
    return place


def after(place, runs=2):
    """What the last of so many runs says of the only old key."""
    for _ in range(runs):
        report = place.run(quiet=timedelta(0))
    assert report.exit_code in {Exit.OK, Exit.FAILED}
    [key] = [key for key in report.caches[0].keys if key.role == "old"]
    return key


def declare(place, settings):
    """Change what is declared of the cache."""
    place.cache.settings = settings
    place.configure(place.cache)


def test_every_block_is_played():
    """Every service with lines to paste is among those that are played."""
    assert set(BLOCKS) == set(PLAYED)


@pytest.mark.parametrize("service", PLAYED)
def test_the_lines_to_paste(service, tmp_path):
    """With them a key is held until the backups are gone, and then retirable; without, neither."""
    settings = BLOCKS[service]
    with PLAYED[service](refused(service)) as (address, replica, client):
        place = placed(tmp_path, address, client)
        assert after(place).verdict in {"unknown", "verifying"}
        listed = {"replicas": [replica]} if settings.get("replicas") == [REPLICA] else {}
        declare(place, settings | listed)
        if settings["backups"]["retention"] != "0s":
            key = after(place)
            assert (key.verdict, {one.kind for one in key.places if one.status == "holding"}) == (
                "held",
                {"backups"},
            )
            declare(place, settings | listed | {"backups": {"retention": "0s"}})
        key = after(place)
    assert key.verdict == "retirable", key.reasons
    said = {one["reason"] for one in settings["assume"].values()}
    assert {one for one in said if one in " ".join(key.assumptions)} == said


@pytest.mark.parametrize(
    ("service", "made", "error"),
    [
        (
            "Amazon ElastiCache Serverless",
            lambda rules: clustered([*rules, "-asking"], replicas=0),
            "the user lacks rights: +asking",
        ),
        (
            "Redis Cloud and Redis Software",
            lambda rules: single(rules, NAMELESS),
            "the user lacks rights: +select",
        ),
        (
            "Upstash",
            lambda rules: single(rules, without(b"role")),
            "does not say who it is (no role)",
        ),
    ],
)
def test_no_run_begins(service, made, error, tmp_path):
    """Where the page says so the run ends with 1, says why, and every value stays as it was."""
    with made(refused(service)) as (address, _, client):
        place = placed(tmp_path, address, client)
        before = {number: client.get(f"app:{number}") for number in range(COUNT)}
        done = run_here(job(place))
        assert (done.returncode, error in done.stderr) == (Exit.FAILED, True), done.stderr
        assert {number: client.get(f"app:{number}") for number in range(COUNT)} == before


def test_no_proof_without_a_name(tmp_path):
    """A server that does not say who it is gets its values rotated, and its keys stay unknown."""
    with single(refused("Upstash"), NAMELESS) as (address, _, client):
        place = placed(tmp_path, address, client)
        key = after(place)
        assert key.verdict == "unknown"
        told = " ".join(key.reasons)
        assert "was not swept to the end: the server does not say who it is (no run_id" in told
        assert set(keys_of(client, place.cache)) == {0}


class TestCounters:
    """Without CLUSTER MYID a reset of the counters cannot be seen."""

    def after_reset(self, folder, rules, command):
        """The verdict of a server on which *command* was called at some time."""
        with single(rules) as (address, _, client):
            client.execute_command(*command)
            place = placed(folder, address, client, BLOCKS["Azure Cache for Redis"])
            declare(place, {**place.cache.settings, "backups": {"retention": "0s"}})
            return after(place)

    def test_one_reset_is_enough(self, tmp_path):
        """After CONFIG RESETSTAT no key gets better than `verifying`, whatever is declared."""
        rules = refused("Google Cloud Memorystore for Redis")
        key = self.after_reset(tmp_path, rules, ("CONFIG", "RESETSTAT"))
        assert key.verdict == "verifying"
        assert "a reset of its counters could not be seen" in " ".join(key.reasons)

    def test_the_step_ends_it(self, tmp_path):
        """Running again cannot help, so the right is named; with it two runs are enough."""
        with single(refused("Google Cloud Memorystore for Redis")) as (address, _, client):
            client.config_resetstat()
            place = placed(tmp_path, address, client, BLOCKS["Azure Cache for Redis"])
            declare(place, {**place.cache.settings, "backups": {"retention": "0s"}})
            step = after(place, 3).next_step
            client.execute_command("ACL", "SETUSER", "rotator", "+cluster|myid")
            key = after(place)
        assert step == f"grant +cluster|myid on {address}, then run rotator twice"
        assert key.verdict == "retirable", key.reasons

    def test_with_the_right_it_does_not_matter(self, tmp_path):
        """A user with CLUSTER MYID gets the same key to `retirable`."""
        rules = refused("Azure Cache for Redis")
        key = self.after_reset(tmp_path, rules, ("CONFIG", "RESETSTAT"))
        assert key.verdict == "retirable", key.reasons


class TestSaves:
    """What the server shows of its files goes before what is declared."""

    def test_a_save_of_the_service(self, tmp_path):
        """A save after the key is gone makes the place clean: nothing is assumed of the file."""
        with single(refused("Azure Cache for Redis")) as (address, _, client):
            settings = BLOCKS["Azure Cache for Redis"] | {"backups": {"retention": "0s"}}
            place = placed(tmp_path, address, client, settings)
            after(place)
            saved = client.lastsave()
            wait_for(lambda: client.save() and client.lastsave() > saved)
            key = after(place, 1)
        assert key.verdict == "retirable", key.reasons
        assert [one.status for one in key.places if one.kind == "rdb"] == ["clean"]

    def test_an_append_only_file_that_is_declared_away(self, tmp_path):
        """`assume.aof` does not help where INFO shows that a file is kept."""
        with single(refused("Azure Cache for Redis")) as (address, _, client):
            client.config_set("appendonly", "yes")
            settings = BLOCKS["Azure Cache for Redis"] | {"backups": {"retention": "0s"}}
            key = after(placed(tmp_path, address, client, settings))
        assert key.verdict == "held"
        assert "assume.aof says that there is none, but one is kept" in " ".join(key.reasons)


def test_files_cannot_be_refreshed(tmp_path):
    """`--refresh-files` is refused at the start where BGSAVE is."""
    with single(refused("Azure Cache for Redis")) as (address, _, client):
        place = placed(tmp_path, address, client)
        done = run_here([*job(place), "--refresh-files"])
    assert done.returncode == Exit.FAILED
    assert "the user lacks rights: +bgsave" in done.stderr
    others = "leave --refresh-files out, and have the service or an administrator write the files"
    assert others in " ".join(done.stderr.split())
