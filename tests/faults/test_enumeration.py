"""
A sample of the points at which a command is killed or cut off; `make enumerate` plays all of them.

Each trial compares what is left, and what the next run makes of it, with an oracle of its own.
"""

from contextlib import nullcontext
from random import Random
from socket import socketpair
from types import SimpleNamespace

import pytest

from enumeration import kinds, outputs, proxy
from enumeration.places import STANDALONE, Servers
from enumeration.proxy import Fault
from enumeration.trial import FAULTS, KILLED_AT_WRITE, Command, Point, Trial, Trials
from enumeration.warm_client import WarmClient

SHARES = {Command.RUN: 2, Command.DRY_RUN: 2, Command.PURGE: 2, Command.ADOPT: 3}
"""How many points of each fault are played; with six faults that makes 54."""
FEWEST_WRITES = 45  # of the command that has the fewest


# Of the session, and not of the module: tests that share what a module has go to one process, and
# these are played side by side.
@pytest.fixture(scope="session")
def servers():
    """A primary and a replica, each behind a proxy."""
    with Servers(STANDALONE) as started:
        yield started


@pytest.fixture(scope="session")
def client():
    """A process that has rotator imported."""
    with WarmClient() as started:
        yield started


def check_points(command, servers, client, kills):
    """Play a sample of the points of a command."""
    trials, random = Trials(servers, client), Random(f"{command} {kills}")
    commands = trials.count(STANDALONE, command)
    for fault in FAULTS:
        most = FEWEST_WRITES if fault == KILLED_AT_WRITE else commands // 2
        for number in random.sample(range(1, most), SHARES[command]):
            point = Point(STANDALONE, command, fault, number)
            assert trials.play(point) == [], point


@pytest.mark.parametrize("command", list(Command))
def test_points(command, servers, client, kills):
    """Wherever a command is killed or cut off, nothing is lost and no verdict is too good."""
    check_points(command, servers, client, kills)


@pytest.fixture
def rotated(servers, client, tmp_path):
    """A trial whose cache is rotated to the end, so that all its old keys are retirable."""
    trial = Trial(servers, client, tmp_path, Point(STANDALONE, Command.RUN, Fault.CUT, 1))
    trial.begin()
    trial.go_on()
    assert trial.broken == []
    return trial


def test_what_is_noticed(rotated, servers, tmp_path):
    """A value lost, changed, created or expiring otherwise, a false verdict and a leak are seen."""
    place = (b"app:{4}:100", None)
    entry = rotated._entries[place]
    faults = {
        "is lost": lambda redis: redis.delete(b"app:{4}:100"),
        "does not open": lambda redis: redis.set(b"app:{4}:100", b"other", keepttl=True),
        "expires at": lambda redis: redis.pexpireat(b"app:{4}:100", entry.at_ms + 1),
        "is called retirable and is in": lambda _: servers.fill({place: entry}),
        "is called retirable, 1 values are under it": lambda _: servers.fill({place: entry}),
        "is there": lambda redis: redis.set(b"strange", b"value"),
    }
    with servers.nodes[0].client() as redis:
        kept = servers.contents()[place].value
        for what, spoil in faults.items():
            spoil(redis)
            rotated._look()
            assert what in " ".join(rotated.broken)
            rotated.broken.clear()
            servers.fill({place: entry._replace(value=kept)})
        servers.fill({place: entry})
        servers.save()
        servers.fill({place: entry._replace(value=kept)})
    rotated._look()
    assert any("is in dump.rdb of" in one for one in rotated.broken)
    whole = (tmp_path / outputs.REPORT).read_bytes()
    (tmp_path / outputs.REPORT).write_bytes(whole[:-9])
    (tmp_path / outputs.METRICS).write_bytes(b"rotator_last_run")
    rotated._look()
    assert {"half of report.json is there", "half of run.prom is there"} <= {*rotated.broken}
    rotated.broken.clear()
    (tmp_path / "logged").write_text(rotated._keys[1].text)
    rotated._look_for_leaks()
    assert rotated.broken == ["a secret is in logged"]


def test_files_hold_what_is_rotated(servers, client, tmp_path):
    """When a trial begins, a file of each server has what a verdict on files is about."""
    trial = Trial(servers, client, tmp_path, Point(STANDALONE, Command.RUN, Fault.CUT, 1))
    dirty = [where for where in trial._in(trial._keys[1].id) if where.startswith("dump.rdb")]
    assert len(dirty) == len(servers.nodes)


def test_a_report_that_is_too_good(rotated, servers, tmp_path):
    """A report that calls a key retirable is noticed where the state has nothing of it."""
    place = (b"app:{4}:100", None)
    assert outputs.of_the_report(tmp_path) == outputs.of_the_state(tmp_path)
    (tmp_path / outputs.STATE).unlink()
    servers.fill({place: rotated._entries[place]})
    rotated._look()
    assert any("is called retirable and is in the memory" in one for one in rotated.broken)


def test_a_command_that_does_nothing(servers, client, tmp_path, monkeypatch):
    """One that ends with 0 and has left something to do is noticed before it is begun again."""
    trial = Trial(servers, client, tmp_path, Point(STANDALONE, Command.RUN, Fault.CUT, 1))
    monkeypatch.setattr(client, "run", lambda *_, **__: 0)
    trial.begin()
    assert trial.broken == ["it ends with 0, and has left something to do"]


def test_a_count_that_is_wrong(servers, client, monkeypatch):
    """A purge that says another number than there were is noticed."""
    monkeypatch.setattr(outputs, "handled", lambda _: 1)
    [broken] = Trials(servers, client).play(Point(STANDALONE, Command.PURGE, Fault.CUT, 5))
    assert broken.endswith("93 values were left, and 1 are said to be dealt with")


def test_a_client_without_a_deadline(monkeypatch):
    """One that waits for a late reply for ever is told from one that gives up."""
    monkeypatch.setattr(proxy, "_LATE_SECONDS", 0.05)
    ours, its = socketpair()
    with ours, its:
        its.sendall(b"PING\r\n")
        assert not proxy.gives_up(ours)
        its.close()
        assert proxy.gives_up(ours)


@pytest.mark.parametrize("fault", [*FAULTS, "killed at pwrite64"])
@pytest.mark.parametrize("there", [0, 3])
def test_ended_early(monkeypatch, fault, there):
    """A kind of which every command has more points is broken if that few were played."""
    trials = SimpleNamespace(
        play=lambda point: [] if point.number <= there else None, count=lambda *_: 10
    )
    for name in ("Servers", "WarmClient"):
        monkeypatch.setattr(kinds, name, lambda *_: nullcontext())
    monkeypatch.setattr(kinds, "Trials", lambda *_: trials)
    played = kinds.play(kinds.Kind(STANDALONE, Command.RUN, fault), 1, 1)
    least = 8 if fault in {*Fault} else 1
    assert (played.points, len(played.broken)) == (there, there < least)


def test_no_such_point(servers, client):
    """A point beyond the last command is none, and one that is reached says at what."""
    trials = Trials(servers, client)
    assert trials.play(Point(STANDALONE, Command.DRY_RUN, Fault.CUT, 100_000)) is None
    assert trials.count(STANDALONE, Command.DRY_RUN) > 100
