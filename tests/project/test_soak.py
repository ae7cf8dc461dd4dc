"""The soak: a short one passes, and every rule that is broken on purpose is noticed."""

import re
import sys
from datetime import UTC, datetime, timedelta
from threading import Event
from types import SimpleNamespace

import pytest

from cluster.local_cluster import LocalCluster
from rotator.demo.local_server import wait_until
from rotator.text import rfc3339
from soak import __main__ as soak_script
from soak.__main__ import Soak
from soak.disks import Snapshot
from soak.model import DRIFT_MS, NEVER, Found, Held, Model
from soak.runs import Run
from soak.writer import Ring

NOW = 1_800_000_000_000
FAR = NOW + 10**9
NAME = b"a"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def model():
    """A model in which one name holds something until long after now."""
    made = Model()
    made.wrote(NAME, Held(b"x", FAR))
    return made


def broken(model, found):
    """What is wrong with what was *found* now."""
    return model.broken({NAME: found} if found else {}, NOW, NOW)


class TestModel:
    """What must be there, and what need not be."""

    @pytest.mark.parametrize(
        ("found", "fault"),
        [
            (Found(b"x", "k", FAR), None),
            (None, "is lost"),
            (Found(None, "", FAR), "does not open"),
            (Found(b"y", "k", FAR), "holds something else"),
            (Found(b"x", "k", FAR + 1), "expires at"),
            (Found(b"x", "k", NEVER), "expires at"),
        ],
    )
    def test_one_possible_state(self, model, found, fault):
        """A confirmed write leaves nothing else to be found."""
        faults = broken(model, found)
        assert [fault in one for one in faults] == ([True] if fault else [])
        assert model.checked() == 1

    def test_an_unconfirmed_write_may_be_there_or_not(self, model):
        """After it, what was there before is as good."""
        model.tried(NAME, None)
        model.tried(NAME, Held(b"y", NEVER))
        for found in (None, Found(b"x", "k", FAR), Found(b"y", "k", NEVER)):
            assert broken(model, found) == []
        assert len(broken(model, Found(b"z", "k", FAR))) == 1
        assert model.certain(NAME) is None
        assert model.checked() == 0

    def test_what_was_deleted_must_not_be_there(self, model):
        """Nor must what expired a while ago, and what nobody ever wrote."""
        model.wrote(NAME, None)
        assert broken(model, None) == []
        assert broken(model, Found(b"x", "k", FAR)) == ["b'a' was resurrected"]
        model.wrote(NAME, Held(b"x", NOW - 60_000))
        assert broken(model, None) == []
        assert len(broken(model, Found(b"x", "k", NOW - 60_000))) == 1
        found = {b"b": Found(b"x", "k", FAR)}
        assert model.broken(found, NOW, NOW) == ["b'b' was created from nothing"]

    def test_what_is_about_to_expire_may_be_there_or_not(self, model):
        """The clock of the reader is not that of the server."""
        model.wrote(NAME, Held(b"x", NOW + 100))
        assert broken(model, None) == []
        assert broken(model, Found(b"x", "k", NOW + 100)) == []

    def test_a_moved_slot_may_be_off_by_a_little(self, model):
        """MIGRATE sends how long is left, so expiries drift."""
        model.moved.update(range(16384))
        assert broken(model, Found(b"x", "k", FAR + DRIFT_MS)) == []
        assert len(broken(model, Found(b"x", "k", FAR + DRIFT_MS + 1))) == 1
        assert len(broken(model, Found(b"x", "k", NEVER))) == 1


class TestRun:
    """What a soak takes from a run's report."""

    MET = datetime(2026, 11, 25, 10, tzinfo=UTC)

    def run(self, *places, verdict="retirable", met=MET):
        """A run that says of the key `k` that it was last met then, with these places."""
        key = {"id": "k", "verdict": verdict, "last_seen_at": met and rfc3339(met)}
        keys = [{**key, "places": places}, {"id": "current", "verdict": None}]
        return Run("made up", 0.0, 0, {"caches": [{"keys": keys}]})

    def test_keys(self):
        """A current key has no verdict, and a run without a report has no keys."""
        assert self.run().retirable == ["k"]
        assert list(self.run(verdict="held").keys) == ["k"]
        assert self.run(verdict="held").retirable == []
        assert Run("killed", 0.0, -9, None).retirable == []

    def test_a_verdict_relies_on_nobody_writing_since(self):
        """That is since the key was last met, or since a fence that counts."""
        at = self.MET + timedelta(hours=1)
        writers = {"kind": "writers", "status": "clean", "since": rfc3339(at)}
        assert self.run().relies_on("k") == self.MET.timestamp()
        assert self.run(writers).relies_on("k") == at.timestamp()
        assert self.run({**writers, "status": "assumed"}).relies_on("k") == self.MET.timestamp()
        assert self.run(met=None).relies_on("k") == 0.0

    def test_files_that_a_report_asks_for(self):
        """Each file that holds a key is written anew once."""
        held = {"status": "holding", "where": "a:1"}
        places = [{**held, "kind": kind} for kind in ("rdb", "replica", "aof", "rdb")]
        places.append({"status": "clean", "where": "b:1", "kind": "rdb"})
        assert self.run(*places).files == [("a:1", "rdb"), ("a:1", "aof")]


class TestRing:
    """The keys of a soak."""

    def test_a_value_under_a_retired_key(self):
        """It does not open any more, and whose it was is told."""
        ring = Ring(3)
        old = ring.ids[1]
        value = ring.seal(NAME, b"x", 1, "gcm")
        assert ring.key_of(NAME, value) == old
        ring.fenced = True
        ring.rotate(old)
        assert not ring.fenced
        assert ring.found(NAME, value, NEVER).plaintext is None
        assert ring.key_of(NAME, value) == old
        assert not ring.key_of(NAME, b"anything")


class TestSnapshot:
    """Copies of what servers hold."""

    def test_every_value_in_every_file(self):
        """A value that was overwritten is in the append-only file until that is rewritten."""
        with LocalCluster(1, 1, ["--appendonly", "yes"]) as cluster:
            cluster.settle()
            primary, replica = cluster.primaries[0], cluster.replicas[0]
            with replica.client() as client:  # it rewrites its file when it has read all
                wait_until(lambda: rewriting(client))
            with primary.client() as client:
                client.set(NAME, b"first")
                client.save()
                client.set(NAME, b"second")
                client.wait(1, 5000)
                assert self.where(cluster, b"first") == {
                    f"dump.rdb of {primary.address}",
                    f"appendonly.aof.incr.aof of appendonlydir of {primary.address}",
                    f"appendonly.aof.incr.aof of appendonlydir of {replica.address}",
                }
                assert self.where(cluster, b"second") == {
                    f"the memory of {replica.address}",
                    f"appendonlydir of {primary.address}",
                    f"appendonly.aof.incr.aof of appendonlydir of {primary.address}",
                    f"appendonlydir of {replica.address}",
                    f"appendonly.aof.incr.aof of appendonlydir of {replica.address}",
                }
                client.save()
            for node in (primary, replica):
                with node.client() as client:
                    client.bgrewriteaof()
                    wait_until(lambda asked=client: rewriting(asked))
            assert self.where(cluster, b"first") == set()
            assert f"dump.rdb of {primary.address}" in self.where(cluster, b"second")

    def where(self, cluster, value):
        """Where a value is, without the numbers of files."""
        with Snapshot(cluster) as snapshot:
            places = {where for where, found in snapshot.read() if (NAME, value) in found}
        return {re.sub(r"\.[0-9]+\.(incr|base)", r".\1", where) for where in places}


def rewriting(client):
    """That the append-only file is being rewritten, if it is."""
    info = client.info("persistence")
    busy = info["aof_rewrite_in_progress"] or info["aof_rewrite_scheduled"]
    return "it is rewriting" if busy else None


@pytest.mark.faults
def test_a_short_soak():
    """Nothing is broken in a few seconds of storm and calm, but what is broken on purpose."""
    with Soak(1, names=200, untouched=100) as soak:
        soak.run(4, storm=3, calm=1)
        soak.finish()
        assert soak.broken == []
        assert soak.checks >= 2
        assert soak.checked >= 400
        assert soak.writer.writes > 350
        assert soak.runs.ended["last: 0"] == 1
        assert sum(soak.faults.happened.values()) > 0
        figures = soak.figures()
        assert figures["broken rules"] == 0
        for how, fault in {
            "leak": "a key stands in said",
            "creation": "created from nothing",
            "expiry": "expires at",
            "file": "1 values in dump.rdb of",
            "verdict": "was called retirable with 1 values under it",
            "value": "does not open",
            "loss": "is lost",
        }.items():
            soak.broken.clear()
            soak.spoil(how)
            soak.check()
            assert any(fault in one for one in soak.broken), how


def test_what_ends_before_its_time():
    """A last fault that the cluster does not survive is told, and an application that ended."""
    soak = Soak(1)
    ended = {"over": Event(), "ident": None, "is_alive": lambda: False}
    soak.writer, soak.faults = SimpleNamespace(**ended), SimpleNamespace(**ended, error="no rest")
    soak.finish()
    soak._folder.cleanup()
    assert soak.broken == ["the application has ended before its time", "no rest"]


def test_a_soak_that_breaks_a_rule_fails(monkeypatch, capsys):
    """The exit code is 1, and the rule is printed behind the figures and the seed."""

    class Broken(Soak):
        """A soak that has gone wrong already."""

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self._folder.cleanup()

        def run(self, *_, **__):
            """Break a rule."""
            self.broken.append("something is lost")

        def finish(self):
            """Nothing is left to be done."""

        def figures(self):
            """How bad it is."""
            return {"broken rules": len(self.broken)}

    monkeypatch.setattr(soak_script, "Soak", Broken)
    monkeypatch.setattr(sys, "argv", ["soak", "--seed", "7"])
    assert soak_script.main() == 1
    said = capsys.readouterr().out
    assert said.splitlines() == ["seed: 7", "broken rules: 1", "broken: something is lost"]
