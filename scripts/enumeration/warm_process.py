"""
Warm process: has rotator imported, and runs each command line in a child of its own.

A child is what a process of the command line is after its imports, and can be killed like one; that
takes a tenth of the time. One JSON line on stdin begins a command: `args`, `folder` (where its
files are; what it prints goes to `printed` there, what it logs to the end of `logged`) and
`kill_at`, the write to a file of that folder before which it is to be killed (null: never), and
`hurried`: where a fault is to come it waits for replies no longer than it must. On stdout come
`{"pid": N}` and, when it has ended, `{"code": N}`, negative for a signal.

Waits are shorter than a user's: what is tried is their end, not their length. A position is saved
after each page, so that every page's is tried.
"""

from __future__ import annotations

import gc
import json
import os
import pkgutil
import signal
import sqlite3
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any, Final

import rotator
from rotator import __main__ as entry
from rotator.server import connection
from rotator.server.wire import stream
from rotator.sweep.node import worker

REPLY_SECONDS: Final = 0.3
"""How long a reply is waited for where one will be late; a user's run waits for 15 s."""

_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Writes:
    """
    Writes: counts what changes a file of *folder*, and ends the process before number *kill_at*.

    These are the statements that SQLite begins, and what Python opens for writing, renames, removes
    or cuts. SQLite's and Python's own calls of the system are not seen: for them there is strace.
    """

    def __init__(self, folder: str, kill_at: int | None) -> None:
        self._folder, self._left = folder, kill_at
        connect = sqlite3.connect

        def counted(*args: Any, **named: Any) -> sqlite3.Connection:
            made: sqlite3.Connection = connect(*args, **named)
            made.set_trace_callback(lambda _statement: self._count())
            return made

        sqlite3.connect = counted  # type: ignore[assignment]
        sys.addaudithook(self._look)

    def _look(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and (not isinstance(args[2], int) or not args[2] & _WRITING):
            return
        if event in {"open", "os.rename", "os.remove", "os.truncate"} and self._is_ours(args[0]):
            self._count()

    def _is_ours(self, path: object) -> bool:
        return isinstance(path, str | os.PathLike) and os.fspath(path).startswith(self._folder)

    def _count(self) -> None:
        if self._left is None:
            return
        self._left -= 1
        if self._left < 0:
            os.kill(os.getpid(), signal.SIGKILL)


def warm_up() -> None:
    """Import all that a command may need: a child has it from the start."""
    for module in pkgutil.walk_packages(rotator.__path__, f"{rotator.__name__}."):
        import_module(module.name)


def hurry() -> None:
    """Have positions saved after each page, and little waited for as long as a user's run does."""
    connection._ASK_SECONDS = 0.1  # noqa: SLF001 - no user sets these
    stream._SLICE_SECONDS = 0.1  # noqa: SLF001
    worker._SAVE_SECONDS = -1.0  # noqa: SLF001


def expect_late_replies() -> None:
    """Have no reply waited for as long as a user's run does."""
    named = connection.Connection.__init__.__kwdefaults__ or {}
    named["timeout"] = REPLY_SECONDS


def _redirect(folder: str) -> None:
    """Have stdin empty, and both outputs go to files."""
    kept = os.open(f"{folder}/logged", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    fresh = os.open(f"{folder}/printed", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for target, source in ((0, os.open(os.devnull, os.O_RDONLY)), (1, fresh), (2, kept)):
        os.dup2(source, target)


def commands() -> Iterator[dict[str, Any]]:
    """Yield each command in a child of its own; the parent tells of it and waits."""
    for line in sys.stdin:
        asked = json.loads(line)
        pid = os.fork()
        if not pid:
            yield asked
            return
        print(json.dumps({"pid": pid}), flush=True)
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"code": os.waitstatus_to_exitcode(status)}), flush=True)


def main() -> None:
    """Run what is asked for; a child leaves by the way of every command."""
    warm_up()
    hurry()
    gc.freeze()  # a child would else copy what it only looks at
    for asked in commands():
        _redirect(asked["folder"])
        Writes(asked["folder"], asked["kill_at"])
        if asked["hurried"]:
            expect_late_replies()
        sys.argv[1:] = asked["args"]
        entry.main()


if __name__ == "__main__":
    main()
