"""The demo: it tells the whole story, and nothing is left of it whenever it ends."""

import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from rotator.crypto.codec import Codec, Opened
from rotator.crypto.keyring import Key, Keyring, generate
from rotator.crypto.layout import BUILTIN
from rotator.demo.local_server import LocalServer, wait_until
from rotator.demo.story import Application, fill, name_of, time_to_live, token
from support.terminals import set_width


@pytest.fixture
def keyring():
    """A current and two old keys."""
    current, *old = (Key.from_text(generate(), field) for field in ("new", "old", "oldest"))
    return Keyring(current, old)


@pytest.fixture
def codec(keyring):
    """What opens every value of the demo."""
    return Codec(keyring, tuple(BUILTIN.values()))


class TestData:
    """What is stored."""

    def test_tokens(self):
        """A token has about 300 bytes, and there are no two of the same."""
        assert 280 <= len(token(7)) <= 330
        assert token(7) != token(7)

    def test_names(self):
        """A name is a namespace and a SHA-256 in hex."""
        assert re.fullmatch(rb"/app/oidc:[0-9a-f]{64}", name_of(7))

    def test_times_to_live(self):
        """There are short and long ones; none at all only where that may be."""
        given = [time_to_live(may_stay=True) for _ in range(2000)]
        timed = [ttl for ttl in given if ttl is not None]
        assert 10 < len(given) - len(timed) < 100
        assert min(timed) < 30_000 < max(timed)
        assert None not in [time_to_live(may_stay=False) for _ in range(2000)]

    def test_fills_under_both_old_keys(self, redis, keyring, codec):
        """All values are under old keys, in every format; under the oldest all have a TTL."""
        assert sum(fill(redis, keyring, 1500)) == 1500
        opened = [codec.open(name_of(n), redis.get(name_of(n))) for n in range(1500)]
        assert all(isinstance(one, Opened) for one in opened)
        assert {one.key for one in opened} == set(keyring.old)
        assert {(one.key, one.format.name) for one in opened} == {
            (key, name) for key in keyring.old for name in BUILTIN
        }
        ttls = {n: redis.pttl(name_of(n)) for n in range(1500)}
        assert any(ttl == -1 for ttl in ttls.values())
        oldest = [n for n, one in enumerate(opened) if one.key is keyring.old[1]]
        assert all(ttls[n] > 0 for n in oldest)

    def test_the_application_writes_under_the_current_key(self, redis, keyring, codec):
        """What it stores is under the current key, from the first write to the last."""
        application = Application(redis, keyring, sessions=5)
        application.start()
        wait_until(lambda: None if redis.exists(name_of(5)) else "no new session")
        application.leave()
        assert not application.is_alive()
        for name in redis.scan_iter():
            assert codec.open(name, redis.get(name)).key is keyring.current

    def test_the_application_ends_with_the_server(self, keyring):
        """When the server goes away, so does the application, without a word."""
        with LocalServer() as doomed:
            once = Retry(NoBackoff(), 0)
            application = Application(doomed.client(retry=once), keyring, sessions=5)
            application.start()
            wait_until(lambda: None if doomed.client().dbsize() else "nothing is stored")
        application.join(timeout=60)
        assert not application.is_alive()


def start(folder, *arguments, **environment):
    """The demo as a process of its own session, with everything it creates in *folder*."""
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        return subprocess.Popen(
            [sys.executable, "-m", "rotator", "demo", *arguments],
            stdout=out,
            stderr=err,
            env={**os.environ, "TMPDIR": str(folder), **environment},
            start_new_session=True,
        )


SERVER = re.compile("-server$")


def processes(folder):
    """Processes that were started to work in *folder*, as their folders under /proc."""
    mark = f"TMPDIR={folder}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes().split(b"\0")
            # A server writes over its environment, but works in its own folder.
            if mark in environment or (process / "cwd").readlink().is_relative_to(folder):
                found.append(process)
        except OSError:
            continue
    return found


def servers(folder):
    """Server processes at work in *folder*."""
    return [one for one in processes(folder) if any(map(SERVER.search, title(one)))]


def title(process):
    """The words of a process's command line, none when it is gone; its name may be a loader's."""
    try:
        return re.split(r"[\0 ]", (process / "cmdline").read_text())
    except OSError:
        return []


def reads(client):
    """How many pages a server was asked for; a dry run came before the run."""
    return client.info("commandstats").get("cmdstat_mget", {"calls": 0})["calls"]


def left_behind(folder):
    """Processes that work in *folder*, and folders of servers and demos in it."""
    return [*processes(folder), *folder.glob("rotator-*")]


def wait_for(condition, what):
    """Wait until *condition* holds."""
    wait_until(lambda: None if condition() else what, seconds=60)


class TestStory:
    """The demo from beginning to end."""

    @pytest.fixture(scope="class")
    @staticmethod
    def told(tmp_path_factory):
        """The folder, the exit code and the output of a whole demo."""
        folder = tmp_path_factory.mktemp("demo")
        foreign = {"ROTATOR_DRY_RUN": "1", "ROTATOR_CACHE": "other", "MAVERICS_CONFIG": "/none"}
        process = start(folder, "--values", "3000", **foreign)
        code = process.wait(110)
        return folder, code, (folder / "out").read_text(), (folder / "err").read_text()

    def test_ends_well(self, told):
        """It succeeds, without a complaint, whatever the environment says of another cache."""
        _, code, _, err = told
        assert (code, err) == (0, "")

    def test_shows_each_command(self, told):
        """The commands are shown as they would be typed."""
        _, _, out, _ = told
        assert re.findall(r"^\$ (rotator .*)$", out, re.MULTILINE) == [
            "rotator keys",
            "rotator run --dry-run",
            "rotator run",
            "rotator run --quiet 3s",
            "rotator report",
        ]

    def test_each_old_key_goes_from_needed_to_retirable(self, told):
        """Both keys are needed at first, then cannot be told yet, and can be removed at last."""
        _, _, out, _ = told
        _, _, dry, rotated, confirmed, reported = re.split(r"^\$ rotator ", out, flags=re.MULTILINE)
        verdict = re.compile(r"^  [0-9a-f]{8} (\S+): ", re.MULTILINE)
        assert verdict.findall(dry) == ["in-use", "draining"]
        assert verdict.findall(rotated) == ["verifying", "verifying"]
        assert verdict.findall(confirmed) == ["retirable", "retirable"]
        assert verdict.findall(reported) == ["retirable", "retirable"]

    def test_shows_no_key(self, told):
        """No key is printed: nothing in the output is 64 hex characters but names."""
        _, _, out, _ = told
        assert not re.search(r"(?<!/app/oidc:)\b[0-9a-f]{64}\b", out)

    def test_leaves_nothing_behind(self, told):
        """There is no process and no folder."""
        folder, *_ = told
        assert left_behind(folder) == []


class TestInterruption:
    """A signal at any moment; nothing is left."""

    @pytest.fixture
    def demo(self, tmp_path):
        """A demo too long to end by itself within the test."""
        process = start(tmp_path, "--values", "2000000")
        yield process
        process.kill()
        process.wait()

    @pytest.mark.parametrize(
        ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]
    )
    def test_while_filling(self, tmp_path, demo, number, code):
        """The server and its folder go, and one line says so."""
        wait_for(lambda: servers(tmp_path), "no server is started")
        demo.send_signal(number)
        assert demo.wait(20) == code
        assert left_behind(tmp_path) == []
        assert (tmp_path / "err").read_text() == (
            "rotator: stopped; the demo's server and folder are removed\n"
        )
        assert "$ rotator" not in (tmp_path / "out").read_text()

    @pytest.mark.parametrize("moment", ["starting", "at work"])
    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_while_a_command_runs(self, tmp_path, number, code, moment):
        """The command ends too, without a traceback, whether it is at work yet or not."""
        # While the command starts, the servers' work is over: few values do.
        demo = start(tmp_path, "--values", "60000" if moment == "at work" else "3000")
        out = tmp_path / "out"
        wait_for(lambda: "$ rotator run\n" in out.read_text(), "no run yet")
        if moment == "at work":
            port = re.search(r"127\.0\.0\.1:(\d+)", out.read_text())[1]
            with Redis(port=int(port), retry=Retry(NoBackoff(), 0)) as client:
                before = reads(client)
                wait_for(lambda: reads(client) > before + 50, "nothing more is read")
        demo.send_signal(number)
        assert demo.wait(20) == code
        assert left_behind(tmp_path) == []
        assert "Traceback" not in (tmp_path / "err").read_text()

    def test_again_and_again(self, tmp_path, demo):
        """Impatience does not interrupt the clean-up."""
        wait_for(lambda: servers(tmp_path), "no server is started")
        while demo.poll() is None:
            demo.send_signal(signal.SIGINT)
            time.sleep(0.001)
        assert demo.returncode in {130, -signal.SIGINT}  # the latter in its very last moments
        assert "Traceback" not in (tmp_path / "err").read_text()
        assert left_behind(tmp_path) == []

    def test_the_command_dies(self, tmp_path):
        """When a command fails, the demo ends with its exit code, and cleans up."""
        demo = start(tmp_path, "--values", "3000")
        wait_for(lambda: "$ rotator run\n" in (tmp_path / "out").read_text(), "no run yet")
        for server in servers(tmp_path):
            os.kill(int(server.name), signal.SIGKILL)
        assert demo.wait(30) == 1
        assert left_behind(tmp_path) == []

    def test_ctrl_c_on_a_terminal(self, tmp_path):
        """On a terminal a bar shows how far the filling is, and Ctrl-C ends it all."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.environ["TMPDIR"] = str(tmp_path)
            command = [sys.executable, "-m", "rotator", "demo", "--values", "2000000"]
            os.execv(sys.executable, command)  # noqa: S606 - the child of the fork becomes it
        set_width(terminal, 100, rows=30)
        shown = b""
        while b"demo: filling" not in shown:
            shown += os.read(terminal, 4096)
        os.write(terminal, b"\x03")
        try:
            while chunk := os.read(terminal, 4096):
                shown += chunk
        except OSError:  # the other end is closed
            pass
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
        assert os.waitstatus_to_exitcode(status) == 130
        assert b"of 2,000,000" in shown
        assert b"Traceback" not in shown
        assert left_behind(tmp_path) == []


def test_without_a_server_program(tmp_path):
    """It says what is missing and what to do, and leaves nothing behind."""
    process = start(tmp_path, ROTATOR_SERVER="/nowhere/redis-server")
    assert process.wait(30) == 1
    error, hint = (tmp_path / "err").read_text().splitlines()
    assert error.startswith("rotator: error: no server program found")
    assert hint.startswith("rotator: hint: ")
    assert left_behind(tmp_path) == []
