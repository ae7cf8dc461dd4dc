"""Machine: where rotator runs: its configuration, its state on a disk of its own, its commands."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from pathlib import Path
from typing import Any, Final, Self

from soak.writer import MARK
from year.clock import Clock
from year.disks import Disk

CACHE: Final = "year"
QUIET_HOURS: Final = 30
RETENTION_DAYS: Final = 7
_DISK: Final = "64m"
_TIMEOUT: Final = 300
_WRITTEN_BY_1_0_0: Final = (
    Path(__file__).parents[2] / "tests" / "written-by-1.0.0" / "state" / "weeks.sql"
)
# What that state calls its cache `sessions`: server, process, current key, and an old one that it
# says had been gone for weeks.
_OF_1_0_0: Final = {
    "name": "sessions",
    "address": "127.0.0.1:17001",
    "run": "2409f4311c4f74573ff8ba16bce077361040e398",
    "current": "59ab96ab85e6c941",
    "old": "4583b6013d836ae4",
}

_TABLES_OF_1_0_0: Final = (
    *("histories", "holds", "marks", "positions", "reports", "seen", "sweeps", "windows"),
)


class Machine:
    """Machine: *folder* has all that rotator writes; *said* takes what its commands say."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.clock = clock
        self.folder = folder
        self.config, self.report = folder / "maverics.json", folder / "report.json"
        self._saved = folder / "state.backup"
        self._hosting: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.disk = Disk(self.folder / "disk", _DISK)
            stack.callback(self.disk.remove)
            self._stack = stack.pop_all()
        self.state = self.disk.folder / "state.db"
        self.options = ("--state", str(self.state), "--cache", CACHE)
        self._keys()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _keys(self) -> None:
        """Make the keys by which receipts are signed."""
        pair = ("openssl", "genpkey", "-algorithm", "ed25519", "-out", self.folder / "audit.pem")
        public = ("-pubout", "-out", self.folder / "audit.pub.pem")
        subprocess.run(pair, check=True, capture_output=True)
        taken = ("openssl", "pkey", "-in", self.folder / "audit.pem", *public)
        subprocess.run(taken, check=True, capture_output=True)

    def configure(self, keys: Sequence[str], addresses: list[str], replicas: list[str]) -> None:
        """Write the configuration, the current key first."""
        current, *old = keys
        cache = {
            "name": CACHE,
            "type": "redis",
            "encryption": {"keys": {"current": current, "old": old}},
            "redis": {"addresses": addresses},
        }
        own: dict[str, Any] = {"backups": {"retention": f"{RETENTION_DAYS}d"}}
        if replicas:
            own["replicas"] = replicas
        text = json.dumps({"caches": [cache], "rotator": {"caches": {CACHE: own}}})
        self.config.write_text(text)

    def run(
        self, *more: str, alone: bool, kill_after: float | None = None, full: bool = False
    ) -> tuple[int, bytes]:
        """
        Do the run of a night; exit code and what it says.

        *alone*: by a process of its own, which may be killed. It may find the disk *full*.
        """
        self.report.unlink(missing_ok=True)
        command = ["run", "--config", str(self.config), *self.options, *more]
        command += ["--report", str(self.report), "--quiet", f"{QUIET_HOURS}h"]
        command += ["--workers", "1", "--max-latency", "0"]
        filled = self.disk.full() if full else nullcontext()
        if alone or (full and not self.disk.own):  # a limit is inherited
            return self._alone(command, kill_after, filled)
        with filled:
            return self.command(*command)

    def reported(self) -> dict[str, Any]:
        """Return the report that the last run wrote; empty: it wrote none."""
        return dict(json.loads(self.report.read_bytes())) if self.report.exists() else {}

    def command(self, *arguments: str) -> tuple[int, bytes]:
        """Run a command as a fork of the host; exit code and what it says."""
        host, path = self._host(self.clock.of_rotator()), self.folder / "said"
        if host.stdin is None or host.stdout is None:
            raise RuntimeError("the host has no pipes")
        host.stdin.write(json.dumps([arguments, str(path)]) + "\n")
        host.stdin.flush()
        return int(host.stdout.readline()), path.read_bytes()

    def _alone(
        self, arguments: list[str], kill_after: float | None, disk: AbstractContextManager[None]
    ) -> tuple[int, bytes]:
        environment = self.clock.of_rotator()
        with disk:
            process = subprocess.Popen(
                [sys.executable, "-m", "year.host", *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            if kill_after is not None:
                time.sleep(kill_after)
                process.kill()
            said, _ = process.communicate(timeout=_TIMEOUT)
        return process.returncode, said

    def _host(self, environment: dict[str, str]) -> subprocess.Popen[str]:
        if self._hosting is None:
            self._hosting = subprocess.Popen(
                [sys.executable, "-m", "year.host"],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            self._stack.callback(self._hosting.wait)
            # With the command that it may just be at.
            self._stack.callback(os.killpg, self._hosting.pid, signal.SIGKILL)
        return self._hosting

    # The state

    @property
    def size(self) -> int:
        """How many bytes the state takes."""
        return sum(path.stat().st_size for path in self._parts())

    def _parts(self) -> list[Path]:
        return sorted(self.disk.folder.glob("state.db*"))

    def save_state(self) -> None:
        """Keep a copy of the state."""
        if self.state.exists():
            shutil.copyfile(self.state, self._saved)

    def lose_state(self, *, restore: bool = False) -> bool:
        """Remove the state, and put back the copy if there is one and one is to *restore*."""
        for part in self._parts():
            part.unlink()
        if not restore or not self._saved.exists():
            return False
        shutil.copyfile(self._saved, self.state)
        return True

    def take_state_of_1_0_0(self, **ours: str) -> None:
        """
        Put a state that 1.0.0 wrote in the place of ours, as if it had been about this cache.

        *ours* are the names of what `_OF_1_0_0` has.
        """
        self.lose_state()
        text = _WRITTEN_BY_1_0_0.read_text()
        for what, name in ours.items():
            if _OF_1_0_0[what] not in text:
                raise ValueError(f"the state of 1.0.0 has no {_OF_1_0_0[what]}")
            text = text.replace(_OF_1_0_0[what], name)
        with closing(sqlite3.connect(self.state)) as connection:
            connection.executescript(text)
            for table in _TABLES_OF_1_0_0:  # that installation had more caches
                connection.execute(f"DELETE FROM {table} WHERE cache <> ?", (CACHE,))  # noqa: S608
            connection.commit()

    # What must not get out

    def leaks(self, said: bytes, keys: Iterable[str]) -> list[str]:
        """Return what of keys and plaintexts is in what was *said*, or in a file."""
        files = [*self._parts(), *([self.report] if self.report.exists() else [])]
        said += b"".join(path.read_bytes() for path in files)
        hidden = {"a key": [form for key in keys for form in _forms_of(key)]}
        hidden["a plaintext"] = [MARK, MARK.hex().encode(), *_in_base64(MARK)]
        return [
            f"{what} is in what rotator leaves behind"
            for what, forms in hidden.items()
            if any(form in said for form in forms)
        ]


def _forms_of(key: str) -> list[bytes]:
    raw = bytes.fromhex(key)
    texts = [key.encode(), key.upper().encode()]
    return [raw, *texts, *(one for text in (raw, texts[0]) for one in _in_base64(text))]


def _in_base64(text: bytes) -> list[bytes]:
    """Return how base64 has *text* within a longer one: it depends on where it begins."""
    found = []
    for encode in _ENCODINGS:
        for before in range(3):
            whole = encode(b"\0" * before + text)
            # Only what no neighbour has a part in.
            begin, end = (8 * before + 5) // 6, 8 * (before + len(text)) // 6
            found.append(whole[begin:end])
    return found


_ENCODINGS: Final[tuple[Callable[[bytes], bytes], ...]] = (
    base64.b64encode,
    base64.urlsafe_b64encode,
)


def old_keys(report: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what a report says of each old key, by its id."""
    keys = [key for cache in report.get("caches", ()) for key in cache["keys"]]
    return {key["id"]: key for key in keys if key["role"] == "old"}
