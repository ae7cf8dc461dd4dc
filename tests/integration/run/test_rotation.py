"""The ordinary rotation, from a new key to `retirable`, in the set-ups that most people have."""

import threading
from contextlib import contextmanager
from datetime import timedelta

import pytest

from cluster.local_cluster import LocalCluster
from rotator.demo.local_server import LocalServer
from rotator.errors import Exit
from rotator.text import utc_now
from support import clusters
from support.caches import Cache, Place, wait_for
from support.respfront import RespFront, without
from support.server_versions import acl, since

COUNT = 200
QUIET = timedelta(seconds=1)
LONG = timedelta(seconds=60)
AOF = ("--appendonly", "yes")
SAVING = ("--save", "5", "1")
NO_FILE = {"is": "none", "reason": "no disk is attached"}
HIDDEN = {"is": "as-primary-says", "reason": "the provider hides replicas"}
ONE_SERVER = {"is": "one-server", "reason": "a single instance that nobody replaces"}
KINDS = {"rdb": "rdb", "replicas": "replica", "identity": "names"}
"""The kind of the place that a declaration is for."""
MANAGED = ("-config", "-bgsave", "-bgrewriteaof", "-replicaof", "-debug")


def fill(place, client):
    """Store values under the old key."""
    for number in range(COUNT):
        place.cache.put(client, f"app:{number}")


def saved(client):
    """Whether all there is has been saved, and nothing is being saved."""
    told = client.info("persistence")
    return not told["rdb_changes_since_last_save"] and not told["rdb_bgsave_in_progress"]


def saved_again(client, at):
    """Whether a save has ended since a time, which is later than when it may have begun."""
    return client.info("persistence")["rdb_last_save_time"] > at.timestamp() + 1


def linked(replica):
    """Wait until a replica follows its primary."""
    with replica.client() as client:
        wait_for(lambda: client.info("replication")["master_link_status"] == "up")


@contextmanager
def saving(folder):
    """A server that saves by itself."""
    with LocalServer(*SAVING) as server, server.client() as client:
        place = Place(folder, Cache(server.address, keys=2))
        fill(place, client)
        wait_for(lambda: saved(client))
        yield place, client


@contextmanager
def alone(folder):
    """A server without any file; before 7.0 it cannot show that it never had one."""
    with LocalServer() as server, server.client() as client:
        assume = {} if since(client, 7) else {"assume": {"rdb": NO_FILE}}
        place = Place(folder, Cache(server.address, keys=2, settings=assume))
        fill(place, client)
        yield place, client


@contextmanager
def pair(folder, *options):
    """A server with a replica; before 7.0 it cannot show either that it never had a file."""
    with LocalServer(*options) as server, LocalServer(*options, replica_of=server) as replica:
        linked(replica)
        with server.client() as client:
            assume = {} if options or since(client, 7) else {"assume": {"rdb": NO_FILE}}
            place = Place(folder, Cache(server.address, replica.address, keys=2, settings=assume))
            fill(place, client)
            yield place, client


def logged(folder):
    """A server with a replica, and append-only files of both."""
    return pair(folder, *AOF)


@contextmanager
def clustered(folder):
    """A cluster of three primaries, each with a replica, and RDB files of all of them."""
    with LocalCluster(3, 1) as cluster:
        place = Place(folder, Cache(*cluster.addresses, keys=2))
        client = clusters.Router(cluster)
        fill(place, client)
        for node in cluster.nodes:
            with node.client() as one:
                one.save()
        yield place, client


@contextmanager
def managed(folder):
    """A server of a provider who allows no CONFIG and no BGSAVE, and shows no replica."""
    with LocalServer() as server, LocalServer(replica_of=server) as replica:
        linked(replica)
        login = {"username": "rotator", "password": "of the provider"}
        with server.client() as client:
            rules = acl(client, "~*", "&*", "+@all", *MANAGED)
            client.execute_command(
                "ACL", "SETUSER", "rotator", "on", f">{login['password']}", *rules
            )
            assume = {"assume": {"rdb": NO_FILE, "replicas": HIDDEN}}
            place = Place(folder, Cache(server.address, keys=2, settings=assume, redis=login))
            fill(place, client)
            yield place, client


@contextmanager
def nameless(folder):
    """A server that does not say its run_id."""
    assume = {"assume": {"rdb": NO_FILE, "identity": ONE_SERVER}}
    with LocalServer() as server, RespFront(server.port, without(b"run_id")) as front:
        place = Place(folder, Cache(front.address, keys=2, settings=assume))
        with server.client() as client:
            fill(place, client)
            yield place, client


@contextmanager
def used(place, client):
    """An application that writes under the current key, if it has a *client*."""
    over = threading.Event()

    def write():
        while not over.wait(0.05):
            place.cache.put(client, "live:1", key=0)

    if client is None:
        yield
        return
    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(10)


def only_key(report):
    """The only old key of the only cache."""
    [key] = [key for key in report.caches[0].keys if key.role == "old"]
    return key


IN_USE = pytest.mark.parametrize("in_use", [True, False], ids=["in use", "idle"])


class TestNights:
    """A run every night."""

    @IN_USE
    @pytest.mark.parametrize(
        ("made", "refresh"),
        [
            (saving, False),
            (alone, False),
            (pair, True),
            (logged, True),
            (clustered, True),
            (managed, False),
            (nameless, False),
        ],
    )
    def test_two_are_enough(self, tmp_path, made, refresh, in_use):
        """The second run calls the key retirable, where files are in the way with their refresh."""
        with made(tmp_path) as (place, client), used(place, client if in_use else None):
            first = place.run(quiet=QUIET)
            wait_for(lambda: utc_now() > only_key(first).ready_at)
            if made is saving:
                wait_for(lambda: saved_again(client, first.finished_at))
            second = place.run(quiet=QUIET, refresh_files=refresh)
        assert only_key(first).verdict not in {"retirable", "in-use"}
        assert second.exit_code == Exit.OK
        key = only_key(second)
        assert (key.verdict, key.reasons[1:]) == ("retirable", ())
        assumed = {one.kind for one in key.places if one.status == "assumed"}
        declared = {KINDS[one] for one in place.cache.settings.get("assume", ())}
        assert assumed == {"backups", "writers"} | declared


class TestOneRun:
    """One run that waits for the verdict."""

    @IN_USE
    @pytest.mark.parametrize("made", [saving, alone, pair, logged, clustered])
    def test_is_enough(self, tmp_path, made, in_use):
        """It ends with 0 and the key retirable, and its report tells what it moved."""
        with made(tmp_path) as (place, client), used(place, client if in_use else None):
            report = place.run(quiet=QUIET, wait=LONG, refresh_files=True)
            if made is alone:  # where there is no file none is made
                assert client.info("persistence")["rdb_last_bgsave_time_sec"] == -1
        assert (report.exit_code, only_key(report).verdict) == (Exit.OK, "retirable")
        cache = report.caches[0]
        assert cache.outcomes["rotated"] == COUNT
        assert cache.verification.complete
        assert cache.verification.found_under_old_keys == 0

    def test_in_vain(self, tmp_path):
        """What no waiting and no new file ends is said at once, and the run ends with 6."""
        with alone(tmp_path) as (place, client):
            client.config_set("maxmemory-samples", 6)  # nobody knows what else was set
            place.cache.settings = {}
            place.configure(place.cache)
            report = place.run(quiet=QUIET, wait=LONG, refresh_files=True)
        assert report.exit_code == Exit.REQUIRED
        unknown = {one.kind for one in only_key(report).places if one.status == "unknown"}
        assert "rdb" in unknown
        assert report.finished_at - report.started_at < LONG / 2
