"""
Play mutated replies: `PYTHONPATH=scripts python -m fuzz.replies --replies 100000 --seed 1`.

A front before a real server changes some of its replies while `run` and `check` work on a small
cache, in this process. It is a fault if

- one of them ends by an error that nobody expected, or with no exit code of its own;
- one of them hangs: time goes `_SPEED` times as fast, so that deadlines are soon there;
- a password, a key or a plaintext is in what they print or write;
- a key is said to be retirable that a value in the server is under.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import shutil
import socket
import socketserver
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path
from random import Random
from typing import Any, Final
from unittest import mock

import structlog

from fuzz.mutations import Mutator, read_tree, written
from rotator.cli import app
from rotator.crypto.codec import Codec, Opened
from rotator.crypto.keyring import Key, Keyring, generate
from rotator.crypto.layout import BUILTIN
from rotator.demo.local_server import LocalServer
from rotator.server.wire import stream

_SPEED: Final = 20
_HANGS: Final = 20.0  # seconds of a real clock
_SHARE: Final = 0.2  # of the replies that are changed, after the first
_PASSWORD: Final = "p4ssw0rd-nobody-may-see"  # noqa: S105 - of nothing
_PLAINTEXT: Final = b"a plaintext that nobody may see"
_CODES: Final = {0, 1, 2, 3, 4, 5, 6, 7}
_NAMES: Final = 6  # under each key

_now, _sleep = time.monotonic, time.sleep


class _Listener(socketserver.ThreadingTCPServer):
    """Listener: takes many connections at once, as a server does."""

    daemon_threads = True
    request_queue_size = 200


class Front:
    """Front: passes commands on to the server at *port*, and changes some of the replies."""

    def __init__(self, port: int, random: Random) -> None:
        self._port, self._random = port, random
        self.mutator = Mutator(random)
        self.changed = 0
        self.kinds: Counter[str] = Counter()
        self.passed: Counter[str] = Counter()
        self._first, self._began = ("", 0), False
        front = self

        class Client(socketserver.StreamRequestHandler):
            """Client: one connection."""

            disable_nagle_algorithm = True

            def handle(self) -> None:
                """Serve it until one side closes it, or a reply makes no sense."""
                with contextlib.suppress(OSError, ValueError):
                    front.serve(self.rfile, self.wfile)

        self._listener = _Listener(("127.0.0.1", 0), Client)
        self.address = f"127.0.0.1:{self._listener.server_address[1]}"
        threading.Thread(target=self._listener.serve_forever, args=(0.5,), daemon=True).start()

    def begin(self, command: str = "", number: int = 0) -> None:
        """Begin anew: the first reply to be changed is that *number* to *command*; "": none is."""
        self._first = (command, number)
        self.passed.clear()
        self._began = False

    def serve(self, commands: BufferedIOBase, replies: BufferedIOBase) -> None:
        """Serve one connection."""
        with (
            socket.create_connection(("127.0.0.1", self._port)) as behind,
            behind.makefile("rb") as answers,
        ):
            while command := _command(commands):
                behind.sendall(written((b"*", [(b"$", word) for word in command])))
                tree = read_tree(answers)
                while tree[0] == b">":  # a report comes before the reply
                    replies.write(written(tree))
                    tree = read_tree(answers)
                replies.write(self._answer(command, tree))

    def _answer(self, command: list[bytes], tree: Any) -> bytes:
        name = command[0].decode().upper()
        self.passed[name] += 1
        self.mutator.words = [*self.mutator.words[-50:], *command]
        first = self._first == (name, self.passed[name])
        late = self._began and self._random.random() < _SHARE
        if not (first or late):
            return written(tree)
        self._began = True
        self.changed += 1
        self.kinds[name] += 1
        return self.mutator.mutate(command, tree)

    def close(self) -> None:
        """Listen no more."""
        self._listener.shutdown()
        self._listener.server_close()


def _command(sent: BufferedIOBase) -> list[bytes]:
    """Return the words of the next command; none when the client has gone."""
    head = sent.readline()
    if not head.startswith(b"*"):  # nothing, or words on a line
        return head.split()
    return [sent.read(int(sent.readline()[1:]) + 2)[:-2] for _ in range(int(head[1:]))]


class World:
    """World: is a server with a small cache, its front, and what was found so far."""

    def __init__(self, server: LocalServer, folder: Path, seed: int) -> None:
        self.random = Random(seed)  # noqa: S311 - to be played again
        self.keys = [generate() for _ in range(3)]
        ring = [Key.from_text(key, f"key {index}") for index, key in enumerate(self.keys)]
        self.codec = Codec(Keyring(ring[0], ring[1:]), list(BUILTIN.values()))
        self.ids = [key.id for key in ring]
        self.values = {
            f"app:{number}:{index}".encode(): self._seal(ring[number], number, index)
            for number in range(3)
            for index in range(_NAMES)
        }
        self.client = server.client(password=_PASSWORD)
        self.front = Front(server.port, self.random)
        self.folder = folder
        self.faults: list[str] = []
        self.runs: Counter[tuple[str, int]] = Counter()
        self.sent: dict[str, dict[str, int]] = {"run": {}, "check": {}}
        self.slowest = 0.0
        self._configure()

    def _seal(self, key: Key, number: int, index: int) -> bytes:
        codec = Codec(Keyring(key, []), list(BUILTIN.values()))
        form = list(BUILTIN.values())[index % len(BUILTIN)]
        written_as = Codec(codec.keyring, list(BUILTIN.values()), form)
        return written_as.seal(f"app:{number}:{index}".encode(), _PLAINTEXT)

    def _configure(self) -> None:
        keys = {"current": self.keys[0], "old": self.keys[1:]}
        redis = {"addresses": [self.front.address], "password": _PASSWORD}
        cache = {"name": "c", "type": "redis", "encryption": {"keys": keys}, "redis": redis}
        (self.folder / "c.json").write_text(json.dumps({"caches": [cache]}))

    def fill(self) -> None:
        """Have the server hold what it held at first."""
        with self.client.pipeline(transaction=False) as pipeline:
            pipeline.flushdb()
            for name, value in self.values.items():
                pipeline.set(name, value)
            pipeline.execute()

    def measure(self) -> None:
        """Count the replies of commands that get true ones."""
        for command in self.sent:
            self.fill()
            self.front.begin()
            code, said = self._carry_out(command)
            if code:
                raise RuntimeError(f"{command} failed on true replies: {said}")
            self.sent[command] = dict(self.front.passed)
        shutil.copy(self.folder / "state", self.folder / "state-of-truth")

    def play(self) -> None:
        """Play one command, with replies that are changed from somewhere on."""
        command = "check" if self.random.random() < 0.2 else "run"
        self.fill()
        shutil.copy(self.folder / "state-of-truth", self.folder / "state")
        (self.folder / "r.json").unlink(missing_ok=True)
        name = self.random.choice(list(self.sent[command]))
        self.front.begin(name, self.random.randint(1, self.sent[command][name]))
        begun = _now()
        code, said = self._carry_out(command)
        took = _now() - begun
        self.slowest = max(self.slowest, took)
        self.runs[command, code] += 1
        told = f"{command}, exit {code}, {took:.1f} s"
        if code not in _CODES or "internal error" in said or "Traceback" in said:
            self.faults.append(f"{told}: {said[-3000:]}")
        if took > _HANGS:
            self.faults.append(f"{told}: took too long: {said[-500:]}")
        report = self.folder / "r.json"
        written_down = report.read_text() if command == "run" and report.exists() else ""
        if any(secret in said + written_down for secret in self._secrets()):
            self.faults.append(f"{told}: a secret: {said[-3000:]}")
        if written_down:
            self._judge(json.loads(written_down), told)

    def _secrets(self) -> Iterator[str]:
        yield from (_PASSWORD, _PLAINTEXT.decode(), *self.keys)

    def _judge(self, report: dict[str, Any], told: str) -> None:
        """See that no key is retirable that a value is under."""
        found = {key["id"]: key for cache in report["caches"] for key in cache["keys"]}
        retirable = {one for one, key in found.items() if key.get("verdict") == "retirable"}
        if not retirable:
            return
        for name in self.client.scan_iter():
            value = self.client.get(name)
            opened = self.codec.open(name, value) if isinstance(value, bytes) else None
            if isinstance(opened, Opened) and opened.key.id in retirable:
                self.faults.append(f"{told}: a false verdict: {opened.key.id} is in use")
                return

    def _carry_out(self, command: str) -> tuple[int, str]:
        """Return the exit code of a command, and all that it says."""
        args = [command, "-c", str(self.folder / "c.json")]
        if command == "run":
            args += ["--state", str(self.folder / "state"), "--report", str(self.folder / "r.json")]
            args += ["--quiet", "0s", "--max-duration", "120s", "--workers", "1"]
        root = logging.getLogger()
        handlers, level = root.handlers[:], root.level
        buffer = io.BytesIO()
        said = io.TextIOWrapper(buffer, "utf-8")
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                code = app.run(args)
        finally:
            structlog.reset_defaults()
            logging.captureWarnings(False)
            root.handlers[:] = handlers
            root.setLevel(level)
        said.flush()
        return code, buffer.getvalue().decode()


def _fast_now() -> float:
    return _now() * _SPEED


def _short_sleep(seconds: float) -> None:
    _sleep(seconds / _SPEED)


@contextlib.contextmanager
def fast_clock() -> Iterator[None]:
    """Let waits be short, and deadlines near."""
    with (
        mock.patch.object(time, "monotonic", _fast_now),
        mock.patch.object(time, "sleep", _short_sleep),
        mock.patch.object(stream, "_SLICE_SECONDS", 0.5 / _SPEED),
    ):
        yield


def play(replies: int, seed: int) -> World:
    """Play so many changed replies; what was found is in the result."""
    arguments = ("--requirepass", _PASSWORD)
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalServer(*arguments) as server,
    ):
        world = World(server, Path(folder), seed)
        with fast_clock():
            world.measure()
            while world.front.changed < replies and len(world.faults) < 20:
                world.play()
        world.front.close()
        return world


def main() -> int:
    """Play and tell; the exit code."""
    parser = argparse.ArgumentParser(prog="fuzz.replies")
    parser.add_argument("--replies", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    world = play(given.replies, given.seed)
    ends = ", ".join(
        f"{name} {code}: {times}" for (name, code), times in sorted(world.runs.items())
    )
    kinds = ", ".join(f"{name} {times}" for name, times in world.front.kinds.most_common())
    print(f"{world.front.changed:,} changed replies in {world.runs.total():,} commands")
    print(f"by command: {kinds}")
    print(f"exit codes: {ends}; the slowest took {world.slowest:.1f} s")
    print("\n\n".join(world.faults) or "no fault")
    return 1 if world.faults else 0


if __name__ == "__main__":
    sys.exit(main())
