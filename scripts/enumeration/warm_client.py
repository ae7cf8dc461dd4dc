"""What talks to the warm process: one command after the other, each of which can be killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Self


class WarmClient:
    """Warm client: runs commands in a warm process, which ends with the `with` block."""

    def __init__(self) -> None:
        self._pid = 0
        self._known = threading.Event()

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "enumeration.warm_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def run(
        self, folder: Path, args: list[str], kill_at: int | None = None, *, hurried: bool = False
    ) -> int:
        """Run a command to its end; its exit code, negative if it was killed."""
        self._known.clear()
        asked = {"args": args, "folder": str(folder), "kill_at": kill_at, "hurried": hurried}
        told = json.dumps(asked)
        if self._process.stdin is not None:
            self._process.stdin.write(f"{told}\n")
            self._process.stdin.flush()
        self._pid = self._answer("pid")
        self._known.set()
        return self._answer("code")

    def _answer(self, what: str) -> int:
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        return int(json.loads(line)[what])

    def kill(self) -> None:
        """Kill the command that runs."""
        self._known.wait()
        os.kill(self._pid, signal.SIGKILL)
