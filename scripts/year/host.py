"""
Host: runs commands of rotator by the simulated clock: `python -m year.host [ARGUMENTS...]`.

With arguments, one command, as the command line does. Without, each line on stdin is JSON: the
arguments, and a file for what is said; the command is a fork of this process, which has rotator
imported, and its exit code is the answer. The time of day is handed in: a command begins with what
the file in `SIMULATED_CLOCK` says.
"""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from rotator import text
from rotator.__main__ import main as command
from rotator.cli import app, run  # noqa: F401 - imported once, for all forks
from year.clock import AHEAD


def set_clock() -> None:
    """Have all of rotator take the simulated time for the time of day."""
    ahead, real = float(Path(os.environ[AHEAD]).read_text(encoding="ascii")), time.time
    time.time = lambda: real() + ahead
    text._now = lambda: datetime.fromtimestamp(time.time(), UTC)  # type: ignore[assignment]  # noqa: SLF001


def main() -> None:
    """Serve until stdin ends."""
    for line in sys.stdin:
        arguments, path = json.loads(line)
        child = os.fork()
        if not child:
            said = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(said, 1)
            os.dup2(said, 2)
            set_clock()
            code = app.run(arguments)
            sys.stdout.flush()
            os._exit(code)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    if sys.argv[1:]:
        set_clock()
        command()
    else:
        main()
