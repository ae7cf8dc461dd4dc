"""
Servers of other kinds: what they answer differently never makes a verdict better than the truth.

Dragonfly and KeyDB are in no package that is at hand, so a front before a real server answers as
they do: fields and words of INFO, commands that they lack (https://www.dragonflydb.io/docs,
https://docs.keydb.dev). Sentinels are real ones, of whatever server is at hand.
"""

import re
import subprocess
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.demo.local_server import LocalServer, find_binary, free_port
from rotator.errors import Exit
from rotator.retirement.looks import Look, calls
from rotator.server.node import Identity
from rotator.text import utc_now
from support.caches import Cache, Place, contents, counted, fill, keys_of, old_key, wait_for
from support.processes import job, run_here
from support.proxies import answers
from support.respfront import RespFront, bulk, text_in

NONE = {"is": "none", "reason": "a server of the tests"}
ASSUMED = {
    "rdb": NONE,
    "aof": NONE,
    "identity": {"is": "one-server", "reason": "a server of the tests"},
}

DRAGONFLY = {
    b"server": rb"redis_version:7\.4\.0|dragonfly_version:.*|redis_mode:.*|arch_bits:.*|tcp_port:.*"
    rb"|multiplexing_api:.*|uptime_in_seconds:.*|uptime_in_days:.*",
    b"replication": rb"role:.*|connected_slaves:.*|master_replid:.*|slave\d+:.*|master_host:.*"
    rb"|master_port:.*|master_link_status:.*|master_sync_in_progress:.*|slave_read_only:.*",
    b"stats": rb"total_connections_received:.*|total_commands_processed:.*|expired_keys:.*"
    rb"|evicted_keys:.*|keyspace_hits:.*|total_net_input_bytes:.*",
    b"persistence": rb"loading:.*|last_success_save:.*|last_saved_file:.*|rdb_changes_since_.*",
    b"memory": rb"used_memory.*|maxmemory:.*|maxmemory_policy:.*",
    b"commandstats": rb"cmdstat_.*",
    b"keyspace": rb"db\d+:.*",
    b"cluster": rb"cluster_enabled:.*",
}
"""The fields that each section of Dragonfly's INFO has; all others are not there."""
LACKING = (b"BACKUP", b"NO-TOUCH", b"BCAST", b"IFEQ", b"DOCS")


def dragonfly(words, ask):
    """An answer as Dragonfly gives it, or none where it answers as Redis does."""
    upper = [word.upper() for word in words]
    if upper[0] == b"INFO":
        section = words[1].lower() if len(words) > 1 else b""
        return bulk(b"\r\n".join(dragonfly_lines(section, text_in(ask(words)))))
    if any(word in upper for word in LACKING):
        return b"-ERR syntax error\r\n"
    if upper[:2] == [b"CONFIG", b"GET"] and upper[2] in {b"SAVE", b"APPENDONLY"}:
        return b"*0\r\n"
    return None


def dragonfly_lines(section, text):
    """The lines of a section as Dragonfly would have them."""
    text = re.sub(rb"redis_version:.*?\r\n", b"redis_version:7.4.0\r\n", text)
    text = text.replace(b"role:slave", b"role:replica")
    text = re.sub(rb"(slave\d+:.*?),offset=\d+", rb"\1", text)
    lines = [b"dragonfly_version:df-v1.31.0"] if section == b"server" else []
    if section == b"persistence":
        lines += [b"last_success_save:1764295200", b"last_saved_file:/data/dump.dfs"]
    # It counts a command as a whole.
    counted_whole = re.sub(rb"cmdstat_(\w+)\|\w+", rb"cmdstat_\1", text)
    known = DRAGONFLY.get(section, b"")
    return [*lines, *(one for one in counted_whole.split(b"\r\n") if re.fullmatch(known, one))]


def keydb(words, ask, role=None):
    """An answer as KeyDB gives it, which says of itself that it is Redis 6.3.4."""
    if words[0].upper() != b"INFO":
        upper = [word.upper() for word in words]
        missing = upper[0] in {b"PEXPIRETIME", b"HPEXPIRETIME", b"HPEXPIREAT", b"BACKUP"}
        return b"-ERR unknown command\r\n" if missing or b"IFEQ" in upper else None
    text = text_in(ask(words))
    text = re.sub(rb"(redict|valkey|server)_\w+:.*?\r\n", b"", text)
    text = re.sub(
        rb"redis_version:.*?\r\n", b"redis_version:6.3.4\r\nredis_mode:standalone\r\n", text
    )
    text = re.sub(rb"executable:.*?\r\n", b"executable:/usr/bin/keydb-server\r\n", text)
    text = re.sub(rb"cmdstat_(\w+)\|\w+", rb"cmdstat_\1", text)
    text = re.sub(rb"(db\d+:keys=(\d+).*?)\r\n", rb"\1,cached_keys=\2\r\n", text)
    text = re.sub(
        rb"(rdb_saves|rdb_last_load_\w+|aof_rewrites|total_net_repl_\w+):.*?\r\n", b"", text
    )
    if role:
        text = re.sub(rb"role:\w+", b"role:" + role, text)
    return bulk(text)


@pytest.fixture(params=[dragonfly, keydb], ids=["Dragonfly", "KeyDB"])
def front(request, server):
    """A front that answers as one of them."""
    with RespFront(server.port, request.param) as running:
        running.kind = request.param.__name__
        yield running


class TestVerdict:
    """A rotation, and what is said of the old keys."""

    @pytest.mark.parametrize("assume", [{}, ASSUMED], ids=["nothing declared", "all declared"])
    def test_never_better_than_the_truth(self, front, redis, tmp_path, assume):
        """All is rotated, TTLs are kept, and without declarations no key is called retirable."""
        place = Place(tmp_path, Cache(front.address, settings={"assume": assume}))
        entries = fill(redis, place.cache, 200)
        first = place.run(quiet=timedelta(0))
        second = place.run(quiet=timedelta(0))
        assert counted(first) == {"rotated": 200}
        assert set(keys_of(redis, place.cache)) == {0}
        held = {name: at_ms for name, (_, at_ms) in contents(redis).items()}
        assert held == {name: at_ms for name, (_, _, _, at_ms) in entries.items()}
        verdicts = {old_key(second, one).verdict for one in place.cache.ids[1:]}
        assert verdicts == {"retirable"} if assume else "retirable" not in verdicts

    def test_a_value_that_came_back(self, front, redis, tmp_path):
        """A value under an old key that a RENAME hides from a scan is no key to be removed."""
        place = Place(tmp_path, Cache(front.address, settings={"assume": ASSUMED}))
        fill(redis, place.cache, 200)
        place.run(quiet=timedelta(0))
        place.cache.put(redis, "app:late", key=1)

        def hide(phase, page):
            del phase
            redis.rename("app:late", f"app:late:{page}")
            redis.rename(f"app:late:{page}", "app:late")

        report = place.run(quiet=timedelta(0), dry_run=True, page=10, on_page=hide)
        assert old_key(report, place.cache.ids[1]).verdict != "retirable"

    def test_its_name(self, front, tmp_path):
        """Reports and `check` call it what it is, and not the Redis that it is compatible with."""
        place = Place(tmp_path, Cache(front.address))
        said = run_here(["check", "--config", place.file])
        wanted = {"dragonfly": "dragonfly df-v1.31.0", "keydb": "keydb 6.3.4"}[front.kind]
        assert wanted in said.stdout
        assert "internal error" not in said.stderr


class TestRoles:
    """Words for roles that Redis does not have."""

    def test_a_replica_of_dragonfly(self, tmp_path):
        """`replica` is what Redis calls slave: nothing is rotated there."""
        with (
            LocalServer() as primary,
            LocalServer(replica_of=primary) as replica,
            RespFront(primary.port, dragonfly) as one,
            RespFront(replica.port, dragonfly) as two,
            primary.client() as client,
        ):
            place = Place(tmp_path, Cache(one.address, two.address))
            fill(client, place.cache, 20)
            assert counted(place.run()) == {"rotated": 20}
            done = run_here(job(Place(tmp_path, Cache(two.address))))
        assert done.returncode == Exit.FAILED
        assert "is a replica of" in done.stderr

    def test_an_active_replica_of_keydb(self, server, redis, tmp_path):
        """Where several servers take writes for one another no run begins, and it is said why."""

        def active(words, ask):
            return keydb(words, ask, b"active-replica")

        with RespFront(server.port, active) as front:
            place = Place(tmp_path, Cache(front.address))
            fill(redis, place.cache, 20)
            done = [run_here(job(place)), run_here(["check", "--config", place.file])]
        for one in done:
            assert one.returncode == Exit.FAILED
            assert "several servers take writes" in " ".join(f"{one.stdout}{one.stderr}".split())
        assert set(keys_of(redis, place.cache)) == {1, 2}


class TestCounters:
    """Calls of commands, as servers of other kinds count them."""

    def test_capital_letters(self):
        """A command that moved data is seen, in whatever letters it is counted."""
        found = Identity.from_info({"role": "master", "cmdstat_RENAME": "calls=2,usec=1"})
        assert (found.calls, found.counted) == ({"rename": 2}, True)

    def test_counted_as_a_whole(self):
        """Where CONFIG is one count, nobody knows of CONFIG SET, whatever the version says."""
        look = Look("a:1", utc_now(), facts={"redis_version": "7.4.0"}, calls={"config": 3})
        assert calls(look, "config|set") is None
        assert calls(replace(look, calls={"config|get": 3}), "config|set") == 0


def test_a_real_sentinel(tmp_path):
    """A Sentinel is refused with the address of its primary, whatever its INFO calls the mode."""
    port, primary = free_port(), free_port()
    file = tmp_path / "sentinel.conf"
    file.write_text(f"port {port}\ndir {tmp_path}\nsentinel monitor m 127.0.0.1 {primary} 1\n")
    process = subprocess.Popen(
        [find_binary(), file, "--sentinel"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: answers(port))
        done = run_here(job(Place(tmp_path, Cache(f"127.0.0.1:{port}"))))
    finally:
        process.kill()
        process.wait()
    assert done.returncode == Exit.FAILED
    assert "is a Sentinel; give the servers' addresses" in done.stderr
    assert f"127.0.0.1:{primary}" in done.stderr
