"""What still holds a key although the live data is clean, on real servers."""

import json
import signal
import time
from datetime import timedelta

import pytest

from rotator.demo.local_server import LocalServer
from support.caches import Cache, Place, wait_for

NOW = timedelta(0)


def keys(report):
    """The old keys of a report's only cache."""
    return [key for key in report.caches[0].keys if key.role == "old"]


def verdict(report):
    """The verdict on the only old key."""
    [key] = keys(report)
    return key.verdict


def save(client):
    """Have an RDB file written by a server that did not start just now, and wait for it."""
    wait_for(lambda: client.info("server")["uptime_in_seconds"] > 2)
    client.bgsave()
    wait_for(lambda: not client.info("persistence")["rdb_bgsave_in_progress"])


def rewrite(client):
    """Have the append-only file rewritten, and wait for it."""
    client.bgrewriteaof()
    at_rest = {"aof_rewrite_in_progress": 0, "aof_rewrite_scheduled": 0}
    wait_for(lambda: at_rest.items() <= client.info("persistence").items())


def tells_what_it_loaded(client):
    """Whether the server says if it began with a snapshot, as Redis does since 7.0."""
    return "rdb_last_load_keys_loaded" in client.info("persistence")


@pytest.fixture
def alone(tmp_path):
    """A server of the test's own, with a cache of one old key, and values under that."""
    with LocalServer() as server:
        yield server, filled(server, tmp_path)


def filled(server, folder, **settings):
    """A place for runs over a cache with some values under its old key."""
    place = Place(folder, Cache(server.address, keys=2, settings=settings))
    with server.client() as client:
        for number in range(20):
            place.cache.put(client, f"app:{number}")
    return place


class TestNothing:
    """A server that keeps no other copies."""

    def test_a_server_without_copies_holds_nothing(self, alone):
        """Where nothing is saved and nothing replicated, a clean and quiet key is retirable."""
        _, place = alone
        assert verdict(place.run(quiet=NOW)) == "retirable"

    def test_a_server_that_has_never_saved_is_not_asked_for_a_snapshot(self, alone):
        """
        The start of the process, which INFO gives as the last save, is not taken for one.

        Before Redis 7.0 there may be one as soon as snapshots are configured.
        """
        server, place = alone
        with server.client() as client:
            client.config_set("save", "3600 1")
            tells = tells_what_it_loaded(client)
        [key] = keys(place.run(quiet=NOW))
        assert key.verdict == ("retirable" if tells else "held")
        assert tells or "of unknown age" in key.reasons[0]


class TestSnapshots:
    """The RDB file."""

    def test_a_snapshot_from_before_holds_and_one_from_after_does_not(self, alone):
        """An RDB file saved before the key was gone holds it, until BGSAVE writes a clean one."""
        server, place = alone
        with server.client() as client:
            save(client)
        [key] = keys(place.run(quiet=NOW))
        assert (key.verdict, key.next_step) == (
            "held",
            f"BGSAVE on {server.address}, then run again",
        )
        assert "when the key was not yet known to be gone" in key.reasons[0]

        time.sleep(1.1)  # INFO tells the time of a save in whole seconds
        with server.client() as client:
            save(client)
        assert verdict(place.run(quiet=NOW)) == "retirable"

    def test_a_server_that_was_started_from_a_snapshot_is_held(self, alone):
        """
        An RDB file that the process was started from is there, however old it is.

        Before Redis 7.0 only the configuration of snapshots gives it away.
        """
        server, place = alone
        with server.client() as client:
            client.save()
        server.stop()
        server.start()
        with server.client() as client:
            if not tells_what_it_loaded(client):
                client.config_set("save", "3600 1")
        [key] = keys(place.run(quiet=NOW))
        assert key.verdict == "held"
        assert "of unknown age" in key.reasons[0]

    def test_old_values_that_come_back_make_the_verdict_fall_back(self, alone):
        """A restart from an RDB file of before the rotation: the old values are met again."""
        server, place = alone
        with server.client() as client:
            save(client)
        assert verdict(place.run(quiet=NOW)) == "held"

        server.signal(signal.SIGKILL)
        server.stop()
        server.start()
        [key] = keys(place.run(dry_run=True, quiet=NOW))
        assert key.verdict == "in-use"
        assert any("after it had been clean" in reason for reason in key.reasons)


class TestCopiesWithoutFiles:
    """What looks like a snapshot and is none."""

    def test_a_replica_that_was_synchronised_over_the_wire(self, tmp_path):
        """A full synchronisation that wrote no file leaves none that could hold a key."""
        with (
            LocalServer("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0") as server,
            LocalServer(replica_of=server),
        ):
            place = filled(server, tmp_path)
            with server.client() as client:
                wait_for(
                    lambda: client.info("replication").get("slave0", {}).get("state") == "online"
                )
            assert verdict(place.run(quiet=NOW)) == "retirable"

    def test_a_snapshot_that_the_counters_forgot(self, alone):
        """CONFIG RESETSTAT does not hide an RDB file."""
        server, place = alone
        with server.client() as client:
            save(client)
            client.config_resetstat()
        assert verdict(place.run(quiet=NOW)) == "held"


class TestAppendOnly:
    """The append-only file."""

    def test_it_holds_until_it_is_rewritten(self, tmp_path):
        """An AOF that was not rewritten since the key is gone still has its values."""
        with LocalServer("--appendonly", "yes") as server:
            place = filled(server, tmp_path)
            [key] = keys(place.run(quiet=NOW))
            assert (key.verdict, key.next_step) == (
                "held",
                f"BGREWRITEAOF on {server.address}, then run again",
            )

            with server.client() as client:
                rewrite(client)
            assert verdict(place.run(quiet=NOW)) == "retirable"

    def test_a_rewrite_before_the_key_was_gone_does_not_count(self, tmp_path):
        """An AOF that was rewritten while the values were there was rewritten with them."""
        with LocalServer("--appendonly", "yes") as server:
            place = filled(server, tmp_path)
            with server.client() as client:
                rewrite(client)
            assert verdict(place.run(quiet=NOW)) == "held"
            assert verdict(place.run(quiet=NOW)) == "held"

    def test_a_rewrite_in_a_later_process_counts(self, tmp_path):
        """A process that was started later has its own count, and any rewrite of it will do."""
        with LocalServer("--appendonly", "yes") as server:
            place = filled(server, tmp_path)
            with server.client() as client:
                rewrite(client)
            assert verdict(place.run(quiet=NOW)) == "held"
            server.stop()
            server.start()
            assert verdict(place.run(quiet=NOW)) == "held"
            with server.client() as client:
                rewrite(client)
            assert verdict(place.run(quiet=NOW)) == "retirable"


class TestReplicas:
    """Replicas that could be promoted."""

    def test_a_stopped_replica_holds_until_it_has_caught_up(self, tmp_path):
        """A replica that is frozen during the run has the old values; later it has not."""
        with LocalServer() as server, LocalServer(replica_of=server) as replica:
            place = filled(server, tmp_path)
            replica.signal(signal.SIGSTOP)
            try:
                [key] = keys(place.run(quiet=NOW))
            finally:
                replica.signal(signal.SIGCONT)
            assert key.verdict == "held"
            assert f"replica 127.0.0.1:{replica.port} is " in key.reasons[0]
            assert "bytes behind" in key.reasons[0]
            assert key.next_step.startswith("run again when replica")

            place.run(quiet=NOW)
            [key] = keys(place.run(quiet=NOW))
            assert not any("replica" in reason for reason in key.reasons)

    def test_a_replica_that_goes_away_during_the_run_holds(self, tmp_path):
        """A replica that was there at the beginning and is not at the end may come back."""
        with LocalServer() as server, LocalServer(replica_of=server) as replica:
            place = filled(server, tmp_path)

            def leave(phase, page):
                if (phase, page) == ("rotating", 1):
                    replica.stop()
                    with server.client() as client:
                        wait_for(lambda: client.info("replication")["connected_slaves"] == 0)

            [key] = keys(place.run(quiet=NOW, on_page=leave))
            assert key.verdict == "held"
            assert f"replica 127.0.0.1:{replica.port} is not connected" in key.reasons


class TestBackups:
    """Copies outside Redis, as declared."""

    def test_a_declared_retention_holds_until_it_is_over(self, tmp_path):
        """Backups that are kept for 30 days hold a key for 30 days from when it became clean."""
        with LocalServer() as server:
            place = filled(server, tmp_path, backups={"retention": "30d"})
            report = place.run(quiet=NOW)
            [key] = keys(report)
            assert key.verdict == "held"
            assert "backups are kept for 30d" in key.reasons[0]
            assert key.held_until - report.finished_at > timedelta(days=29)

            again = keys(place.run(quiet=NOW))[0]
            assert again.held_until == key.held_until


class TestTogether:
    """Several caches, one key."""

    def test_a_key_is_held_by_any_of_its_caches(self, tmp_path):
        """A key that two caches list is held as long as one of them holds it."""
        with LocalServer() as one, LocalServer() as two:
            first = Cache(one.address, name="first", keys=2)
            second = Cache(
                two.address,
                name="second",
                keys=first.keys,
                settings={"backups": {"retention": "1d"}},
            )
            place = Place(tmp_path, first, second)
            with one.client() as client:
                first.put(client, "app:1")
            report = place.run(quiet=NOW, allow_empty=True)
            again = place.run(quiet=NOW, allow_empty=True)

        assert [key.verdict for cache in report.caches for key in cache.keys[1:]] == [
            "verifying",
            "verifying",
        ], json.dumps([cache.keys[1].reasons for cache in report.caches])
        assert [key.verdict for cache in again.caches for key in cache.keys[1:]] == ["held", "held"]
