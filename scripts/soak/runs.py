"""rotator in a soak: runs as processes, one after the other, some of which are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, Final

QUIET_SECONDS: Final = 2
# A server that is cut off costs a run 15 seconds for each connection, and storms do not end.
_LONGEST_SECONDS: Final = 300.0
_SOONEST_SECONDS: Final = 0.5
_LATEST_SECONDS: Final = 4.0  # until a run is killed
_POLL_SECONDS: Final = 0.02
_OPTIONS: Final[dict[str, tuple[str, ...]]] = {
    "dry": ("--dry-run",),
    "short": ("--max-duration", "1s"),
    "refreshing": ("--refresh-files",),
    "waiting": ("--refresh-files", "--wait", "10s"),
    "last": ("--refresh-files", "--wait", "60s"),
}


@dataclass(frozen=True, slots=True)
class Run:
    """
    A run that has ended.

    *begun* is when it did, by `time.monotonic`; *report* is what it wrote, None for nothing.
    """

    how: str
    begun: float
    code: int
    report: dict[str, Any] | None

    @property
    def keys(self) -> dict[str, dict[str, Any]]:
        """What it says of each old key, by its id."""
        caches = self.report["caches"] if self.report else ()
        return {key["id"]: key for cache in caches for key in cache["keys"] if key["verdict"]}

    @property
    def retirable(self) -> list[str]:
        """The ids of the keys that it says can be removed."""
        return [key_id for key_id, key in self.keys.items() if key["verdict"] == "retirable"]

    @property
    def verdicts(self) -> str:
        """Every verdict, and why it is no better."""
        said = (f"{key['verdict']}: {'; '.join(key['reasons'])}" for key in self.keys.values())
        return " | ".join(said) or "no verdict"

    @property
    def files(self) -> list[tuple[str, str]]:
        """The files that it wants written anew: server and kind, `rdb` or `aof`."""
        places = (place for key in self.keys.values() for place in key.get("places", ()))
        held = (one for one in places if one["status"] == "holding")
        files = ((one["where"], one["kind"]) for one in held if one["kind"] in {"rdb", "aof"})
        return list(dict.fromkeys(files))

    def relies_on(self, key_id: str) -> float:
        """
        Return the time (Unix seconds) after which no application may have written under a key.

        That is what its verdict takes for granted: the time of a fence, or else that of any proof
        of it, and all of them began after the last time that the key was met.
        """
        key = self.keys[key_id]
        fences = [
            place["since"]
            for place in key.get("places", ())
            if place["kind"] == "writers" and place["status"] == "clean"
        ]
        times = [datetime.fromisoformat(at) for at in (*fences, key.get("last_seen_at")) if at]
        return max((at.timestamp() for at in times), default=0.0)


class Runs:
    """
    Starts rotator over a cluster, with all its files in *folder*.

    *broken* takes what no run may do.
    """

    def __init__(self, folder: Path, broken: list[str], seed: str) -> None:
        self.folder = folder
        self.ended: Counter[str] = Counter()
        self.verdicts: Counter[str] = Counter()
        self._broken = broken
        self._random = Random(seed)  # noqa: S311 - a test is to be repeated

    def configure(self, addresses: Sequence[str], keys: Sequence[str], password: str) -> None:
        """Write the configuration; the first key is the current one."""
        current, *old = keys
        cache = {
            "name": "soak",
            "type": "redis",
            "encryption": {"keys": {"current": current, "old": old}},
            "redis": {
                "addresses": list(addresses),
                "username": "rotator",
                "password": password,
            },
        }
        draft = self.folder / "maverics.draft"
        draft.write_text(json.dumps({"caches": [cache]}), encoding="utf-8")
        draft.rename(self.folder / "maverics.json")

    def any(self) -> Run:
        """One run that may be killed, told to stop, or only look."""
        how = self._random.choices(
            ("to the end", "killed", "worker killed", "stopped", "dry", "short", "refreshing"),
            weights=(4, 4, 1, 1, 1, 1, 1),
        )[0]
        more = ["--refresh-files"] if how == "killed" and self._random.randrange(2) else []
        return self.one(how, *more)

    def peaceful(self, fence: float | None) -> Run:
        """One run that nobody disturbs; it may say that old keys have been fenced since then."""
        kinds = {"to the end": 4, "dry": 1, "refreshing": 3, "waiting": 1, "fenced": 2}
        if fence is None:
            del kinds["fenced"]
        how = self._random.choices(list(kinds), weights=list(kinds.values()))[0]
        if how != "fenced" or fence is None:
            return self.one(how)
        at = datetime.fromtimestamp(fence, UTC)
        return self.one(how, "--writers-switched-at", f"{at:%Y-%m-%dT%H:%M:%SZ}")

    def confirms(self, key_id: str) -> bool:
        """Whether `rotator report` says by the state alone that a key is retirable."""
        said = subprocess.run(
            [
                *(sys.executable, "-m", "rotator", "report", "--require", f"retirable:{key_id}"),
                *("--state", str(self.folder / "state.db")),
            ],
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        return said.returncode == 0

    def one(self, how: str = "to the end", *more: str) -> Run:
        """One run, and what is to become of it."""
        report = self.folder / "report.json"
        report.unlink(missing_ok=True)
        options = _OPTIONS.get(how, ())
        page, workers = str(self._random.choice((10, 50, 500))), self._random.choice(("2", "6"))
        begun = time.monotonic()
        with (self.folder / "said").open("wb") as said:
            process = subprocess.Popen(
                [
                    *(
                        sys.executable,
                        "-m",
                        "rotator",
                        "run",
                        "--quiet",
                        f"{QUIET_SECONDS}s",
                        "--page",
                        page,
                    ),
                    *("--config", str(self.folder / "maverics.json")),
                    *("--state", str(self.folder / "state.db"), "--report", str(report)),
                    *(
                        "--log-level",
                        "debug",
                        "--show-names",
                        "--workers",
                        workers,
                        *options,
                        *more,
                    ),
                ],
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            )
            try:
                self._interfere(process, how)
                code = process.wait(_LONGEST_SECONDS)
            except subprocess.TimeoutExpired:
                for pid in (*_children(process.pid), process.pid):
                    os.kill(pid, signal.SIGABRT)  # it says where it stands
                code = process.wait()
                self._broken.append(f"a run ({how}) did not end, and said {self._tail()}")
        run = Run(how, begun, code, self._read(report))
        self._count(run)
        return run

    def _interfere(self, process: subprocess.Popen[bytes], how: str) -> None:
        """Do to a run what is to be done to it, at some moment."""
        if how not in {"killed", "worker killed", "stopped"}:
            return
        wait = self._random.uniform(_SOONEST_SECONDS, _LATEST_SECONDS)
        deadline = time.monotonic() + wait
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        if how == "worker killed":
            for child in _children(process.pid):
                os.kill(child, signal.SIGKILL)
                break
        elif process.poll() is None:
            process.send_signal(signal.SIGKILL if how == "killed" else signal.SIGTERM)

    def _count(self, run: Run) -> None:
        self.ended[f"{run.how}: {run.code}"] += 1
        said = (self.folder / "said").read_bytes()
        if b"Traceback" in said or run.code == 2:
            self._broken.append(f"a run ({run.how}) ended with {run.code} and said {self._tail()}")
        for key in run.keys.values():
            self.verdicts[key["verdict"]] += 1

    def _tail(self) -> str:
        """The last that the run has said."""
        return (self.folder / "said").read_bytes().decode(errors="replace")[-12000:]

    def _read(self, report: Path) -> dict[str, Any] | None:
        """The report, which is whole or not there."""
        if not report.exists():
            return None
        try:
            whole: dict[str, Any] = json.loads(report.read_bytes())
        except ValueError:
            self._broken.append("half a report was left behind")
            return None
        return whole

    def leaks(self, secrets: dict[str, bytes]) -> Iterator[str]:
        """What of *secrets* stands in the files that runs leave, a sentence each."""
        for path in sorted(self.folder.iterdir()):
            if path.name.startswith("maverics."):
                continue
            content = path.read_bytes()
            for what, secret in secrets.items():
                if secret in content:
                    yield f"{what} stands in {path.name}"


def _environment() -> dict[str, str]:
    """The environment without settings of rotator; a run that is aborted says where it stands."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ROTATOR_", "MAVERICS_"))
    }
    return {**kept, "PYTHONFAULTHANDLER": "1"}


def _children(pid: int) -> list[int]:
    """The worker processes of a process (Linux)."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        found = [int(child) for child in path.read_text().split()]
    except OSError:
        return []
    return [child for child in found if b"spawn_main" in _command(child)]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
