"""Copies that keep a key although the live data is clean, on real servers."""

import os
import signal
from datetime import timedelta
from pathlib import Path

import pytest

from cluster.local_cluster import LocalCluster, Move
from rotator.demo.local_server import LocalServer
from rotator.errors import Exit, RightsError, ServerError
from rotator.retirement import looks
from rotator.server.acl import CLUSTERED, COUNTING, READING, REFRESHING, SCRIPTING, WRITING
from support.caches import Cache, Place, wait_for
from support.clusters import FAST, fill, remaining, tagged
from support.programs import HIDING, preferred
from support.server_versions import acl, hides, since

NOW = timedelta(0)
SLOW = ("--rdb-key-save-delay", "20000")
"""Microseconds for each name in a file: long enough for a signal to come in between."""


def keys(report, cache=0):
    """The old keys of one of a report's caches."""
    return [key for key in report.caches[cache].keys if key.role == "old"]


def verdict(report):
    """The verdict on the only old key."""
    [key] = keys(report)
    return key.verdict


def place_of(report, kind, where=None):
    """A place of the only old key: of a kind, and at a server."""
    [key] = keys(report)
    found = [one for one in key.places if one.kind == kind and where in {None, one.where}]
    assert len(found) == 1, found
    return found[0]


def settled(place, **settings):
    """The last of two runs, the least that proves a key to be gone where no fence is known."""
    place.run(quiet=NOW, **settings)
    return place.run(quiet=NOW, **settings)


def at_rest(client):
    """Wait until no file is being written."""
    names = ("rdb_bgsave_in_progress", "aof_rewrite_in_progress", "aof_rewrite_scheduled")
    wait_for(lambda: not any(client.info("persistence")[name] for name in names))


def save(client):
    """Have an RDB file written in another second than the last one, and wait for it."""
    last = client.info("persistence")["rdb_last_save_time"]
    wait_for(lambda: client.time()[0] > last)
    client.bgsave()
    at_rest(client)


def signalled(client, number):
    """Send a signal to the process of the server that writes a file, and wait for it to be born."""
    pid = client.info("server")["process_id"]
    children = Path(f"/proc/{pid}/task/{pid}/children")
    wait_for(lambda: children.read_text().split())
    for child in children.read_text().split():
        os.kill(int(child), number)


def rewrite(client):
    """Have the append-only file rewritten after a write that makes it another one."""
    client.set("app:0", client.get("app:0"), keepttl=True)
    client.bgrewriteaof()
    at_rest(client)


def follows(replica, server):
    """Wait until a replica has all that its primary has."""

    def caught_up():
        there, here = replica.info("replication"), server.info("replication")
        up = there.get("master_link_status") == "up"
        return up and there["slave_repl_offset"] >= here["master_repl_offset"]

    wait_for(caught_up)


def filled(server, folder, *more, **settings):
    """A place for runs over a cache with some values under its old key."""
    place = Place(folder, Cache(server.address, *more, keys=2, settings=settings))
    with server.client() as client:
        for number in range(20):
            place.cache.put(client, f"app:{number}")
    return place


@pytest.fixture
def alone(tmp_path):
    """A server of the test's own, with a cache of one old key, and values under that."""
    with LocalServer() as server:
        yield server, filled(server, tmp_path)


@pytest.fixture
def slow(tmp_path):
    """The same, with a server that takes its time to write a file."""
    with LocalServer(*SLOW) as server:
        yield server, filled(server, tmp_path)


@pytest.fixture
def impatient(monkeypatch):
    """A file that is being written is waited for as long as it takes to see that it is."""
    monkeypatch.setattr(looks, "_LONGEST_WRITE_SECONDS", looks._SHORTEST_WRITE_SECONDS)


class TestNoFiles:
    """A server that keeps nothing on its disk."""

    def test_never_had_one(self, alone):
        """From 7.0 a process can prove that it never had an RDB file; before, it is declared."""
        server, place = alone
        report = settled(place)
        with server.client() as client:
            tells = since(client, 7)
        assert verdict(report) == ("retirable" if tells else "unknown")
        assert place_of(report, "aof").status == "clean"
        if not tells:
            assert "declare assume.rdb" in place_of(report, "rdb").remedy

    def test_a_setting_that_was_changed(self, alone):
        """After a CONFIG SET nobody knows what a server was told to keep."""
        server, place = alone
        with server.client() as client:
            client.config_set("maxmemory-samples", 6)
            counted = since(client, 7)
        report = settled(place)
        assert place_of(report, "rdb").status == "unknown"
        assert place_of(report, "aof").status == ("unknown" if counted else "clean")

    def test_declared(self, alone):
        """What the operator declares is assumed, and said with the reason."""
        server, place = alone
        with server.client() as client:
            client.config_set("maxmemory-samples", 6)
        told = {"is": "none", "reason": "no disk is attached"}
        place.cache.settings["assume"] = {"rdb": told, "aof": told}
        place.configure(place.cache)
        report = settled(place)
        assert verdict(report) == "retirable"
        assert any("no disk is attached" in one for one in keys(report)[0].assumptions)

    def test_declared_and_seen(self, slow):
        """A save that was seen goes before the declaration that there is none."""
        server, place = slow
        told = {"is": "none", "reason": "no disk is attached"}
        place.cache.settings["assume"] = {"rdb": told, "aof": told}
        place.configure(place.cache)
        with server.client() as client:
            place.run(quiet=NOW)
            save(client)
            report = place.run(quiet=NOW)
            assert place_of(report, "rdb").status == "clean"  # it was begun later: no harm
            client.bgsave()
            signalled(client, signal.SIGKILL)
            at_rest(client)
            place.cache.put(client, "app:1")
            report = settled(place)  # there is a file that is older than the key's end
        assert place_of(report, "rdb").status == "holding"
        assert "assume.rdb says that there is none" in place_of(report, "rdb").evidence


class TestSnapshots:
    """The RDB file."""

    def test_from_before_and_from_after(self, alone):
        """A file saved before the key was gone holds it, until BGSAVE writes a clean one."""
        server, place = alone
        with server.client() as client:
            save(client)
            report = settled(place)
            assert verdict(report) == "held"
            assert keys(report)[0].next_step == f"BGSAVE on {server.address}, then run again"
            assert "has not been saved again since" in place_of(report, "rdb").evidence
            save(client)
            assert verdict(place.run(quiet=NOW)) == "retirable"

    @pytest.mark.usefixtures("impatient")
    def test_under_way(self, tmp_path):
        """A save that is under way when the server is looked at began too early to count."""
        with LocalServer(*SLOW) as server, server.client() as client:
            place = filled(server, tmp_path)
            client.bgsave()
            signalled(client, signal.SIGSTOP)
            place.run(quiet=NOW)
            signalled(client, signal.SIGCONT)
            at_rest(client)
            report = place.run(quiet=NOW)
            assert place_of(report, "rdb").status == "holding"
            save(client)
            assert place_of(place.run(quiet=NOW), "rdb").status == "clean"

    def test_settings_that_changed(self, alone):
        """A save after a setting was changed may have gone to another file, and back."""
        server, place = alone
        with server.client() as client:
            save(client)
            settled(place)
            client.config_set("maxmemory-samples", 6)
            save(client)
            report = place.run(quiet=NOW)
        assert place_of(report, "rdb").status == "holding"

    def test_a_save_that_failed(self, tmp_path):
        """A save whose process was killed leaves the old file, and holds."""
        with LocalServer(*SLOW) as server, server.client() as client:
            place = filled(server, tmp_path)
            save(client)
            settled(place)
            client.bgsave()
            signalled(client, signal.SIGKILL)
            at_rest(client)
            report = place.run(quiet=NOW)
        assert place_of(report, "rdb").status == "holding"

    def test_started_from_one(self, alone):
        """A server that was started from a file has one, however old it is."""
        server, place = alone
        with server.client() as client:
            client.save()
        server.stop()
        server.start()
        assert place_of(settled(place), "rdb").status in {"holding", "unknown"}

    def test_old_values_that_come_back(self, alone):
        """A restart from a file of before the rotation: values are met, and nobody is accused."""
        server, place = alone
        with server.client() as client:
            save(client)
        settled(place)
        server.signal(signal.SIGKILL)
        server.stop()
        server.start()
        [key] = keys(place.run(dry_run=True, quiet=NOW))
        assert key.verdict == "in-use"
        assert not any("still" in reason for reason in key.reasons)


class TestAppendOnly:
    """The append-only file."""

    @pytest.fixture
    def kept(self, tmp_path):
        """A server that keeps one, with a clean RDB file."""
        options = ("--appendonly", "yes", "--auto-aof-rewrite-percentage", "0")
        with LocalServer(*options, *SLOW) as server:
            yield server, filled(server, tmp_path)

    def test_until_it_is_rewritten(self, kept):
        """It holds the key until a rewrite that began after the key was gone has ended."""
        server, place = kept
        report = settled(place)
        held = place_of(report, "aof")
        assert (held.status, verdict(report)) == ("holding", "held")
        assert f"BGREWRITEAOF on {server.address}" in held.remedy
        assert "has not been rewritten since" in held.evidence
        with server.client() as client:
            rewrite(client)
        assert place_of(place.run(quiet=NOW), "aof").status == "clean"

    def test_backups_beside_it(self, kept):
        """With declared backups, too, one option is named that has all files written again."""
        _, place = kept
        place.cache.settings["backups"] = {"retention": "30d"}
        place.configure(place.cache)
        report = settled(place)
        assert {one.kind for one in keys(report)[0].places if one.status == "holding"} == {
            *("rdb", "aof", "backups")
        }
        assert keys(report)[0].next_step == (
            "run again with --refresh-files, or do all of the above by hand; wait 30d from then on"
        )
        report = place.run(quiet=NOW, refresh_files=True)
        assert {one.kind for one in keys(report)[0].places if one.status == "holding"} == {
            "backups"
        }

    def test_rewritten_before(self, kept):
        """One that was rewritten while the values were there was rewritten with them."""
        server, place = kept
        with server.client() as client:
            rewrite(client)
        assert place_of(settled(place), "aof").status == "holding"

    def test_cancelled(self, kept):
        """A rewrite whose process was ended is counted by the server, and leaves the old file."""
        server, place = kept
        with server.client() as client:
            settled(place)
            client.set("app:0", client.get("app:0"), keepttl=True)
            client.bgrewriteaof()
            signalled(client, signal.SIGUSR1)
            at_rest(client)
            report = place.run(quiet=NOW)
        assert place_of(report, "aof").status == "holding"

    @pytest.mark.usefixtures("impatient")
    def test_under_way(self, kept):
        """A rewrite that is under way when the server is looked at began too early to count."""
        server, place = kept
        with server.client() as client:
            client.bgrewriteaof()
            signalled(client, signal.SIGSTOP)
            place.run(quiet=NOW)
            signalled(client, signal.SIGCONT)
            at_rest(client)
            report = place.run(quiet=NOW)
        assert place_of(report, "aof").status == "holding"

    def test_switched_off(self, kept):
        """A file that was kept once may be there still when it is kept no more."""
        server, place = kept
        place.run(quiet=NOW)
        with server.client() as client:
            client.config_set("appendonly", "no")
        report = place.run(quiet=NOW)
        assert place_of(report, "aof").status == "unknown"
        assert "assume.aof" in place_of(report, "aof").remedy


class TestReplicas:
    """The memory of replicas, and their files."""

    def test_caught_up(self, tmp_path):
        """A replica that follows is clean, and its own RDB file has to be saved anew."""
        with LocalServer() as server, LocalServer(replica_of=server) as replica:
            place = filled(server, tmp_path, replica.address)
            with server.client() as client, replica.client() as follower:
                follows(follower, client)
                report = settled(place)
                assert place_of(report, "replica").status == "clean"
                assert place_of(report, "rdb", replica.address).status == "holding"
                save(follower)
                report = place.run(quiet=NOW)
        assert place_of(report, "rdb", replica.address).status == "clean"

    def test_frozen(self, tmp_path):
        """A replica that does not answer is unknown, and clean when it has caught up."""
        with LocalServer() as server, LocalServer(replica_of=server) as replica:
            place = filled(server, tmp_path)
            with server.client() as client, replica.client() as follower:
                follows(follower, client)
                place.run(quiet=NOW)
                replica.stop()
                wait_for(lambda: client.info("replication")["connected_slaves"] == 0)
                report = place.run(quiet=NOW)
        gone = place_of(report, "replica")
        assert (gone.status, verdict(report)) == ("unknown", "unknown")
        assert "was not looked at" in gone.evidence
        assert "decommissioned" in gone.remedy

    @pytest.mark.parametrize("lacking", ["password", "right"])
    def test_not_let_in(self, tmp_path, lacking):
        """A replica that does not let the user in has to get the user: it is not away."""
        with LocalServer() as server, LocalServer(replica_of=server) as replica:
            place = filled(server, tmp_path, replicas=[replica.address])
            place.cache.redis["password"] = "of both"
            place.configure(place.cache)
            with server.client() as client, replica.client() as follower:
                follows(follower, client)
                for one in client, follower:
                    one.execute_command("ACL", "SETUSER", "default", "resetpass", ">of both")
                place.run(quiet=NOW)
                wrong = {"password": ("resetpass", ">another"), "right": ("-info",)}[lacking]
                follower.execute_command("ACL", "SETUSER", "default", *wrong)
                shut = place_of(place.run(quiet=NOW), "replica")
                follower.execute_command("ACL", "SETUSER", "default", "+info", ">of both")
                found = place_of(place.run(quiet=NOW), "replica")
        assert (shut.status, found.status) == ("unknown", "clean")
        assert shut.remedy == (
            f"create the user on {replica.address} with the same password and rights,"
            " then run again"
        )

    def test_decommissioned(self, tmp_path):
        """A replica that is gone for good is declared so, and holds nothing any more."""
        with LocalServer() as server:
            with LocalServer(replica_of=server) as replica:
                place = filled(server, tmp_path)
                with server.client() as client, replica.client() as follower:
                    follows(follower, client)
                place.run(quiet=NOW)
            gone = {"is": [replica.address], "reason": "its machine was deleted"}
            place.cache.settings["assume"] = {"decommissioned": gone}
            place.configure(place.cache)
            report = place.run(quiet=NOW)
        gone = place_of(report, "replica")
        assert (gone.status, gone.verdict) == ("assumed", "retirable")
        assert "its machine was deleted" in gone.evidence

    def test_address_reused(self, tmp_path):
        """At the address of a server that is declared gone somebody else may answer."""
        with LocalServer() as server:
            with LocalServer(replica_of=server) as replica:
                place = filled(server, tmp_path)
                with server.client() as client, replica.client() as follower:
                    follows(follower, client)
                place.run(quiet=NOW)
            gone = {"is": [replica.address], "reason": "its machine was deleted"}
            place.cache.settings["assume"] = {"decommissioned": gone}
            place.configure(place.cache)
            with LocalServer(port=replica.port):
                report = place.run(quiet=NOW)
        assert place_of(report, "replica").status == "assumed"

    def test_two_names(self, tmp_path):
        """A primary that is listed by two names is one, and no replica of its own."""
        with LocalServer() as server:
            place = filled(server, tmp_path, f"localhost:{server.port}")
            report = settled(place)
        [key] = keys(report)
        assert not [one for one in key.places if one.kind == "replica"]

    def test_writable(self, tmp_path):
        """A replica that can be written to may hold anything."""
        with (
            LocalServer() as server,
            LocalServer("--replica-read-only", "no", replica_of=server) as replica,
        ):
            place = filled(server, tmp_path, replica.address)
            with server.client() as client, replica.client() as follower:
                follows(follower, client)
            report = settled(place)
        assert place_of(report, "replica").status == "holding"
        assert "can be written to" in place_of(report, "replica").evidence

    def test_a_chain(self, tmp_path):
        """A replica of a replica is named by that one, and looked at like any other."""
        with (
            LocalServer() as server,
            LocalServer(replica_of=server) as middle,
            LocalServer(replica_of=middle) as last,
        ):
            place = filled(server, tmp_path)
            with middle.client() as client:
                wait_for(lambda: client.info("replication")["connected_slaves"] == 1)
            report = settled(place)
        found = {one.where for one in keys(report)[0].places if one.kind == "replica"}
        assert found == {middle.address, last.address}

    def test_promoted(self, tmp_path):
        """After a failover the proofs go on where the replica had all, and its process is swept."""
        with LocalServer() as server, LocalServer(replica_of=server) as replica:
            place = filled(server, tmp_path, replica.address)
            with server.client() as client, replica.client() as follower:
                follows(follower, client)
                settled(place)
                server.stop()
                follower.replicaof("NO", "ONE")
                report = place.run(quiet=NOW)
                place.state.unlink()
                with pytest.raises(ServerError, match="cannot connect"):  # nobody ever met it
                    place.run(quiet=NOW)
        former = [one for one in keys(report)[0].places if one.where == server.address]
        assert [one.status for one in former] == ["unknown"]
        assert verdict(report) in {"unknown", "verifying"}


class TestBackups:
    """Copies outside Redis, as declared."""

    def test_retention(self, tmp_path):
        """Backups that are kept for 30 days hold a key from when all else is clean."""
        with LocalServer() as server:
            told = {"is": "none", "reason": "no disk"}
            settings = {"backups": {"retention": "30d"}, "assume": {"rdb": told}}
            place = filled(server, tmp_path, **settings)
            report = settled(place)
            [key] = keys(report)
            assert key.verdict == "held"
            assert any("backups are kept for 30d" in reason for reason in key.reasons)
            assert key.held_until - report.finished_at > timedelta(days=29)
            again = keys(place.run(quiet=NOW))[0]
            assert again.held_until == key.held_until

    def test_none(self, tmp_path):
        """Where there are none nothing is assumed of them."""
        with LocalServer() as server:
            place = filled(server, tmp_path, backups={"retention": "0s"})
            report = settled(place)
        assert place_of(report, "backups").status == "clean"


class TestTogether:
    """Several caches, one key."""

    def test_held_by_another(self, tmp_path):
        """A key that two caches list is held as long as one of them holds it."""
        told = {"is": "none", "reason": "no disk"}
        with LocalServer() as one, LocalServer() as two:
            first = Cache(one.address, name="first", keys=2, settings={"assume": {"rdb": told}})
            settings = {"backups": {"retention": "1d"}, "assume": {"rdb": told}}
            second = Cache(two.address, name="second", keys=first.keys, settings=settings)
            place = Place(tmp_path, first, second)
            for server, cache in ((one, first), (two, second)):
                with server.client() as client:
                    cache.put(client, "app:1")
            report = settled(place)
        assert [key.verdict for cache in (0, 1) for key in keys(report, cache)] == ["held", "held"]
        [there] = [one for one in keys(report, 0)[0].places if one.kind == "caches"]
        assert (there.where, there.status) == ("second", "holding")
        assert "last looked at" in there.evidence


class TestLineage:
    """What a proof is worth when something happens to the server."""

    @pytest.mark.parametrize("event", ["reset", "a second reset", "restart", "replicaof"])
    def test_proofs_begin_anew(self, alone, event):
        """What was proven counts no more after a reset of counters, a restart, another primary."""
        server, place = alone
        if event == "a second reset":
            with server.client() as client:
                client.config_resetstat()
        place.run(quiet=NOW)
        with server.client() as client:
            if event.endswith("reset"):
                client.config_resetstat()
            elif event == "replicaof":
                with LocalServer() as other:
                    client.replicaof("127.0.0.1", other.port)
                    wait_for(lambda: client.info("replication")["master_link_status"] == "up")
                    client.replicaof("NO", "ONE")
                    place.cache.put(client, "app:1", key=0)
        if event == "restart":
            server.stop()
            server.start()
            with server.client() as client:
                place.cache.put(client, "app:1", key=0)
        report = place.run(quiet=NOW)
        assert verdict(report) in {"verifying", "unknown"}
        assert place_of(report, "names").status == "unknown"

    @pytest.mark.parametrize("login", [{}, {"username": "rotator", "password": "of the test"}])
    def test_another_name(self, alone, login):
        """The same server under another name is the same server, and not one more."""
        server, place = alone
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", "rotator", "on", ">of the test", "~*", "+@all")
        for host in ("localhost", "127.0.0.1", "localhost"):
            cache = Cache(f"{host}:{server.port}", keys=place.cache.keys, redis=login)
            cache.settings = {"assume": {"rdb": {"is": "none", "reason": "no disk is attached"}}}
            place.configure(cache)
            report = place.run(quiet=NOW)
        assert verdict(report) == "retirable"
        assert {one.where for one in keys(report)[0].places} <= {"", f"{host}:{server.port}"}

    def test_another_server(self, alone):
        """Another server at another address under the same name has a history of its own."""
        _, place = alone
        settled(place)
        with LocalServer() as other:
            cache = Cache(other.address, keys=place.cache.keys)
            place.configure(cache)
            with other.client() as client:
                cache.put(client, "app:1", key=0)
            report = place.run(quiet=NOW)
        assert verdict(report) == "verifying"


class TestHiddenNames:
    """Names in slots that a node does not own, which Redis 8.4 and later do not show."""

    SLOT = 7

    @pytest.fixture
    def broken_off(self, tmp_path):
        """A cluster, its nodes and their cache: half of a slot's names were moved, then no more."""
        with LocalCluster(2, 0, binary=preferred(HIDING)) as cluster:
            assume = {"rdb": {"is": "none", "reason": "no disk is attached"}}
            cache = Cache(*cluster.addresses, keys=2, settings={"assume": assume})
            source, target = cluster.primaries
            fill(cluster, cache, 60)
            with source.client() as client:
                for name in tagged(self.SLOT, 6):
                    cache.put(client, name)
            cluster.move_slots(source, target, [self.SLOT], Move.ABORTED)
            yield cluster, (source, target), Place(tmp_path, cache)

    def test_are_not_retirable(self, broken_off):
        """A key is not retirable because of them, and the sentence says how to end that."""
        cluster, (_, target), place = broken_off
        report = settled(place, **FAST)
        with target.client() as client:
            shown = [name for name in tagged(self.SLOT, 6) if name in set(client.scan_iter())]
            assert len(shown) == (0 if hides(client) else 3)
        assert remaining(cluster, place.cache) == len(shown)
        assert (report.exit_code, verdict(report)) == (Exit.FAILED, "unknown")
        [key] = keys(report)
        told = " ".join(key.reasons)
        assert f"{target.address} holds 3 names of slots that it does not own" in told
        assert "finish the move (first `MIGRATE` what the owner still has" in told

    def test_until_the_move_is_finished(self, broken_off):
        """Finished as the sentence says, the move brings every value back, to be rotated."""
        cluster, nodes, place = broken_off
        settled(place, **FAST)
        cluster.move_slots(*nodes, [self.SLOT])
        report = place.run(quiet=NOW, **FAST)
        assert report.caches[0].outcomes["rotated"] == 3
        report = place.run(quiet=NOW, **FAST)
        assert (report.exit_code, verdict(report)) == (Exit.OK, "retirable")
        with nodes[1].client() as client:
            assert set(tagged(self.SLOT, 6)) <= set(client.scan_iter())


LOGIN = {"username": "rotator", "password": "of the user"}


class TestRightsToRefresh:
    """`--refresh-files` as a user who may not have files written everywhere."""

    RIGHTS = (*READING, *WRITING, *SCRIPTING, *CLUSTERED, *COUNTING, *REFRESHING, "+bgrewriteaof")

    @classmethod
    def grant(cls, node, *without):
        """Make the user on a node, without some of its rights."""
        rules = [rule for rule in cls.RIGHTS if rule not in without]
        with node.client() as client:
            user = ("rotator", "reset", "on", ">of the user", "~*", *acl(client, *rules))
            client.execute_command("ACL", "SETUSER", *user)

    def test_replicas_are_tried_first(self, tmp_path):
        """Replicas where the user lacks the right are named before anything is written."""
        with LocalCluster(primaries=2, replicas=1) as cluster:
            for node in cluster.nodes:
                self.grant(node, *(() if node in cluster.primaries else ("+bgsave",)))
            place = Place(tmp_path, Cache(*cluster.addresses, keys=2, redis=LOGIN))
            fill(cluster, place.cache, 20)
            with pytest.raises(RightsError, match=r": the user lacks rights: \+bgsave$") as caught:
                place.run(quiet=NOW, refresh_files=True, **FAST)
            assert all(one.address in str(caught.value) for one in cluster.replicas)
            assert not any(one.address in str(caught.value) for one in cluster.primaries)
            assert remaining(cluster, place.cache) == 20
            assert place.run(quiet=NOW, **FAST).exit_code == Exit.OK  # it needs no such right

    def test_listed_replicas_are_tried_first(self, tmp_path):
        """So are those that the configuration lists."""
        with LocalServer() as server, LocalServer(replica_of=server) as replica:
            self.grant(server)
            self.grant(replica, "+bgsave")
            place = filled(server, tmp_path, replicas=[replica.address])
            place.cache.redis |= LOGIN
            place.configure(place.cache)
            with pytest.raises(RightsError, match=rf"^{replica.address}: .*: \+bgsave$"):
                place.run(quiet=NOW, refresh_files=True)

    def test_append_only_files(self, tmp_path):
        """The right to rewrite one is tried where there is one, and none is rewritten by that."""
        with LocalServer("--appendonly", "yes") as server, server.client() as client:
            self.grant(server, "+bgrewriteaof")
            place = filled(server, tmp_path)
            place.cache.redis |= LOGIN
            place.configure(place.cache)
            with pytest.raises(RightsError, match=r": \+bgrewriteaof$"):
                place.run(quiet=NOW, refresh_files=True)
            self.grant(server)
            client.config_resetstat()
            assert place.run(dry_run=True, refresh_files=True).exit_code == Exit.OK
            calls = client.info("commandstats")
            assert "cmdstat_bgrewriteaof" not in calls

    def test_what_was_refused_is_reported(self, tmp_path):
        """A file that was not written is a warning in the report, with what to do."""
        with LocalServer("--appendonly", "yes") as server:
            self.grant(server, "+multi", "+bgrewriteaof")  # what is not tried before
            place = filled(server, tmp_path)
            place.cache.redis |= LOGIN
            place.configure(place.cache)
            place.run(quiet=NOW)
            report = place.run(quiet=NOW, refresh_files=True)
            assert verdict(report) == "held"
            told = f"BGREWRITEAOF on {server.address} was not done: the user lacks the right; grant"
            assert any(one.startswith(told) for one in report.caches[0].warnings)
            assert "+bgrewriteaof there, then run again" in "".join(report.caches[0].warnings)
            self.grant(server, "+multi")
            report = place.run(quiet=NOW, refresh_files=True)
            assert not any("was not done" in one for one in report.caches[0].warnings)
