"""Core dumps that are not written, and files that are not used."""

import multiprocessing
import os
import socket
import stat
import subprocess
import sys
from ctypes import CDLL
from pathlib import Path

import pytest

from rotator import protection
from rotator.errors import ConfigError, RotatorError, StateError
from rotator.protection import check_targets, is_there, open_own, require_own
from rotator.report.files import write_whole
from rotator.run.preflight import run_lock
from rotator.state.live import LiveRuns
from rotator.state.state import State
from rotator.sweep.channel import WorkerChannel
from rotator.sweep.engine import start_processes

GET_DUMPABLE = 3  # linux/prctl.h
STATE = """
import ctypes, resource, sys
from rotator import protection
protection.disable_core_dumps()
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE)[0])
"""


class TestCoreDumps:
    """The memory of a process that holds keys is in no file."""

    def test_switched_off(self):
        """Neither the limit nor the kernel's mark allows a dump."""
        done = subprocess.run([sys.executable, "-c", STATE], capture_output=True, check=True)
        assert done.stdout == b"0 0\n"

    def test_command(self, tmp_path):
        """A command switches them off before it reads keys."""
        script = "import ctypes; from rotator import __main__ as m; from rotator.cli import app;"
        script += "app.run = lambda *_: 64 + ctypes.CDLL(None).prctl(3, 0, 0, 0, 0); m.main()"
        assert (
            subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=False).returncode
            == 64
        )

    def test_worker(self):
        """So does a worker process, in which the mark of its parent is lost."""
        spawn = multiprocessing.get_context("spawn")
        channel = WorkerChannel(spawn.SimpleQueue(), spawn.RawValue("i", 0))
        with start_processes(1, channel) as executor:
            assert executor.submit(dumpable).result() == 0


def dumpable():
    """The kernel's mark of this process."""
    return CDLL(None).prctl(GET_DUMPABLE, 0, 0, 0, 0)


def put(kind, path):
    """Put something at *path* that is no file of ours to write to."""
    if kind == "link":
        path.symlink_to(path.with_name("other"))
        path.with_name("other").write_text("kept")
    elif kind == "dangling link":
        path.symlink_to(path.with_name("nowhere"))
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))


KINDS = {
    "link": "a symbolic link",
    "dangling link": "a symbolic link",
    "folder": "not a file",
    "pipe": "not a file",
    "socket": "not a file",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder: a socket's path must be short."""
    monkeypatch.chdir(tmp_path)
    return Path()


class TestOwnFile:
    """A file is used if it is a file, and of the user that rotator runs as."""

    @pytest.mark.parametrize(("kind", "said"), KINDS.items())
    def test_no_file(self, folder, kind, said):
        """What is no file, or leads to another one, is refused with a hint, and is as it was."""
        put(kind, folder / "x")
        for use in (
            lambda: require_own(folder / "x", StateError),
            lambda: open_own(folder / "x", StateError),
        ):
            with pytest.raises(StateError, match=f"x is {said}") as refused:
                use()
            assert refused.value.hint
        assert not (folder / "nowhere").exists()

    def test_of_another_user(self, folder, monkeypatch):
        """A file of another user is refused, and both are named."""
        (folder / "x").write_text("")
        monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
        with pytest.raises(
            ConfigError, match=r"x belongs to the user .*, and rotator runs as 4000000"
        ):
            require_own(folder / "x", ConfigError)

    def test_what_is_read_and_written_is_ones_own(self, tmp_path, monkeypatch):
        """State, lock, reports and receipts of another user are refused, and are as they were."""
        state, output = tmp_path / "state.db", tmp_path / "r.json"
        State(state).close()
        with run_lock(state, "a"):
            (lock,) = tmp_path.glob("*.lock")
        output.write_text("kept")
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}
        monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
        for path, use in (
            (state, lambda: State(state)),
            (state, lambda: LiveRuns(state)),
            (lock, lambda: run_lock(state, "a").__enter__()),
            (output, lambda: check_targets({"receipt": output}, ())),
            (output, lambda: write_whole(output, "new")),
        ):
            with pytest.raises(RotatorError, match=f"{path.name} belongs to the user .* 4000000"):
                use()
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before

    def test_made(self, folder):
        """Where nothing is, a file for nobody else is made; one's own is opened."""
        require_own(folder / "x", StateError)
        os.close(open_own(folder / "x", StateError))
        os.close(open_own(folder / "x", StateError))
        assert stat.S_IMODE((folder / "x").stat().st_mode) == 0o600

    @pytest.mark.parametrize(("name", "there"), [("x", True), ("none", False), ("x/none", False)])
    def test_is_there(self, folder, name, there):
        """What is not there is told from what is."""
        (folder / "x").write_text("")
        assert is_there(folder / name) is there

    def test_nobody_can_tell(self, folder):
        """Where a look fails, opening is to say why."""
        assert is_there(folder / ("n" * 300))

    @pytest.mark.parametrize("kind", ["link", "pipe"])
    def test_put_there_meanwhile(self, folder, kind, monkeypatch):
        """What comes between the look and the opening is refused too, and nobody waits for it."""
        put(kind, folder / "x")
        monkeypatch.setattr(protection, "require_own", lambda *_: None)
        with pytest.raises((OSError, StateError)):
            open_own(folder / "x", StateError)


class TestState:
    """The state file, the journal beside it, and the lock."""

    @pytest.mark.parametrize("name", ["state.db", "state.db-journal"])
    def test_link(self, tmp_path, name):
        """A link in place of state or journal is refused, and what it leads to is as it was."""
        (tmp_path / "other").write_text("kept")
        (tmp_path / name).symlink_to("other")
        with pytest.raises(StateError, match="is a symbolic link"):
            State(tmp_path / "state.db")
        assert (tmp_path / "other").read_text() == "kept"

    def test_put_there_meanwhile(self, tmp_path, monkeypatch):
        """A link that takes the place of the state while it is opened is refused too."""
        State(tmp_path / "other.db").close()
        monkeypatch.setattr(
            "rotator.state.database._create", lambda path: path.symlink_to("other.db")
        )
        with pytest.raises(StateError, match="is a symbolic link"):
            State(tmp_path / "state.db")

    def test_lock(self, tmp_path):
        """A link in place of the lock is refused, and what it leads to is as it was."""
        (tmp_path / "other").write_text("kept")
        with run_lock(tmp_path / "state.db", "a"):
            (lock,) = tmp_path.glob("*.lock")
        lock.unlink()
        lock.symlink_to("other")
        with (
            pytest.raises(StateError, match=r"lock is a symbolic link"),
            run_lock(tmp_path / "state.db", "a"),
        ):
            pass
        assert (tmp_path / "other").read_text() == "kept"
