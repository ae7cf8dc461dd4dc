"""One row of the load table: a server, its foreground, a run beside it, and the verdict."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from bench.load.situations import FSYNC_MS, Situation
from bench.measure import HERE, environment, event
from bench.system import cores, pinned
from bench.targets import BenchError
from rotator.crypto.keyring import generate
from rotator.demo.local_server import LocalServer

_SPELL_SECONDS: Final = 1.0
_STRACE: Final = "strace -D -f -q --seccomp-bpf -o /dev/null -e trace=fdatasync"
BAD: Final = {
    "lost": "is gone, and nobody deleted it",
    "wrong": "is not what was written, or opens under no key",
    "ttl": "expires at another time",
    "back": "is there, though it was deleted or has expired",
    "read lost": "was not there to be read",
    "read wrong": "was read as something else",
    "read back": "was read after it was deleted or had expired",
    "unanswered": "was asked, and there was no answer",
    "unheard": "was evicted, and the server has not said so",
    "left": "is under the old key, though the run says that it is done",
}
"""What must be 0 of a verdict and of the counts of the foreground, and what it says of a name."""


class Foreground:
    """The client in a process of its own: filled when the block begins."""

    def __init__(self, folder: Path, spec: Mapping[str, Any]) -> None:
        self._path = folder / f"{spec.get('prefix', 'load')}.json"
        self._path.write_text(json.dumps(spec), encoding="ascii")

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "bench.load.client", str(self._path)]
        paths = {"PYTHONPATH": os.pathsep.join([str(HERE.parent), *sys.path])}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment() | paths,
        )
        try:
            self._hear("it could not fill the server")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def _hear(self, problem: str) -> str:
        if not (line := self._process.stdout.readline()):  # type: ignore[union-attr]  # a pipe
            raise BenchError(f"the foreground ended: {problem}")
        return line

    def _say(self, order: str) -> None:
        stdin: Any = self._process.stdin
        stdin.write(f"{order}\n")
        stdin.flush()

    def begin(self) -> None:
        """Let it ask from now on."""
        self._say("load")

    def end(self, windows: list[tuple[float, float]]) -> dict[str, Any]:
        """Have it stop; what it felt in each window of time."""
        self._say(f"stop {json.dumps(windows)}")
        found: dict[str, Any] = json.loads(self._hear("it was asking"))
        return found

    def check(self) -> Counter[str]:
        """Its verdict over all that is there, or is not."""
        self._say("check")
        return Counter(json.loads(self._hear("it was checking")))


@dataclass(frozen=True, slots=True)
class Ran:
    """A run of rotator: from when its work began to its end, on the clock of `time.monotonic`."""

    begin: float
    end: float
    wall_seconds: float
    report: dict[str, Any]


class Spells(threading.Thread):
    """Lets a server stand still every other spell, until it is told to leave."""

    def __init__(self, server: LocalServer) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._left = threading.Event()
        self.start()

    def run(self) -> None:
        """Stop, and go on."""
        while not self._left.is_set():
            self._server.signal(signal.SIGSTOP)
            self._left.wait(_SPELL_SECONDS)
            self._server.signal(signal.SIGCONT)
            self._left.wait(_SPELL_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self.join()


def measured(
    situation: Situation, binary: Path, *, fewer: int, rate: float, seconds: float
) -> dict[str, Any]:
    """
    Measure one situation, with so many times *fewer* names; *seconds* before rotator begins.

    Raises:
        BenchError: It could not be measured.
    """
    server_core, client_core = cores()
    with ExitStack() as stack:
        stack.enter_context(pinned(client_core))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rotator-bench-")))
        with pinned(server_core):
            program = _slow(binary, folder) if situation.slow_disk else binary
            server = stack.enter_context(LocalServer(*situation.server, binary=program))
        keys = {"current": generate(), "old": generate()}
        common = {"port": server.port, **keys}
        fields = dict(situation.spec)
        names = max(situation.names // fewer, 100)
        hashes = int(names * fields.pop("hashed", 0.0))
        spec = {"rate": rate, "names": names, "hashes": hashes, **fields, **common}
        clients = [stack.enter_context(Foreground(folder, spec))]
        if situation.large is not None:
            clients.append(stack.enter_context(Foreground(folder, {**situation.large, **common})))
        config = _configured(folder, server, keys, hashed=hashes > 0)
        client = stack.enter_context(server.client(socket_timeout=600))
        if situation.room is not None:
            memory: Any = client.info("memory")
            client.config_set("maxmemory", int(memory["used_memory"] * situation.room))
        if situation.lagging:
            replica = stack.enter_context(LocalServer(replica_of=server, binary=binary))
            stack.enter_context(Spells(replica))
        options = ("--max-duration", situation.longest, *situation.rotator)
        found = _beside(clients, lambda: run(folder, config, options), seconds)
        if situation.room is not None:
            evicted: Any = client.info("stats")["evicted_keys"]
            found["counts"]["unheard"] = evicted - found.pop("evictions")
        return found | {
            "name": situation.name,
            "names": names,
            "server": _version(client.info("server")),
            "bad": judged(found["counts"], found["exit_code"]),
        }


def judged(counts: Counter[str], exit_code: int) -> dict[str, int]:
    """What must be 0; values under the old key only where the run ended well."""
    left = 0 if exit_code else counts["old"]
    return {what: counts[what] for what in BAD} | {"left": left}


def _beside(clients: list[Foreground], work: Callable[[], Ran], seconds: float) -> dict[str, Any]:
    """Let clients ask for a while, and then beside the run; figures of before and meanwhile."""
    for one in clients:
        one.begin()
    time.sleep(seconds / 2)  # to get warm
    begun = time.monotonic()
    time.sleep(seconds)
    ended = time.monotonic()
    ran = work()
    felt = [one.end([(begun, ended), (ran.begin, ran.end)]) for one in clients]
    counts: Counter[str] = Counter()
    for one, its in zip(clients, felt, strict=True):
        counts.update(its["counts"])
        counts.update(one.check())
    return {
        "felt": [its["windows"] for its in felt],
        "late_p99_ms": felt[0]["late_p99_ms"],
        "evictions": felt[0]["evictions"],
        "counts": counts,
        "errors": sum(count for what, count in counts.items() if what.startswith("error ")),
        **_told(ran),
    }


def _told(ran: Ran) -> dict[str, Any]:
    """What rotator's report says, and how long it took."""
    cache = ran.report["caches"][0]
    kept = ("latency", "pages", "exchanged", "evictions")
    return {
        "seconds": ran.end - ran.begin,
        "wall_seconds": ran.wall_seconds,
        "exit_code": cache["exit_code"],
        "stopped": cache["stopped"],
        "visits": cache["visits"],
        "moved": cache["outcomes"]["rotated"],
        "outcomes": {what: count for what, count in cache["outcomes"].items() if count},
        "waited": cache["waited_seconds"],
        "nodes": [{what: node[what] for what in kept} for node in cache["coverage"]["nodes"]],
        "verdicts": [key["verdict"] for key in cache["keys"]],
    }


def run(folder: Path, config: Path, options: tuple[str, ...]) -> Ran:
    """
    Run rotator to its end.

    Raises:
        BenchError: It left no report, or never said when it began.
    """
    command = [sys.executable, "-m", "rotator", "run", "--config", str(config)]
    command += ["--state", str(folder / "state.sqlite"), "--format", "json"]
    command += ["--log-format", "json", *options]
    started = time.monotonic()
    begin, said = None, list[str]()
    with tempfile.TemporaryFile("w+") as out:
        with subprocess.Popen(
            command, stdout=out, stderr=subprocess.PIPE, text=True, env=environment()
        ) as process:
            try:
                for line in process.stderr or ():
                    said.append(line)
                    if begin is None and event(line) == "plan":
                        begin = time.monotonic()
            except BaseException:
                process.kill()
                raise
        end = time.monotonic()
        out.seek(0)
        printed = out.read()
    if begin is None or not printed:
        raise BenchError(f"rotator ended with {process.returncode}:\n{''.join(said[-20:])}")
    return Ran(begin, end, end - started, json.loads(printed))


def _configured(
    folder: Path, server: LocalServer, keys: Mapping[str, str], *, hashed: bool
) -> Path:
    """Write the configuration of the cache."""
    section = {
        "name": "bench",
        "type": "redis",
        "encryption": {"keys": {"current": keys["current"], "old": [keys["old"]]}},
        "redis": {"addresses": [server.address]},
    }
    settings: dict[str, Any] = {"formats": ["gcm"]}
    if hashed:
        settings["fields"] = ["data"]
    document = {"caches": [section], "rotator": {"caches": {"bench": settings}}}
    path = folder / "maverics.json"
    path.write_text(json.dumps(document), encoding="ascii")
    return path


def _slow(binary: Path, folder: Path) -> Path:
    """A program that is the server with a disk that takes its time, by strace: no root needed."""
    if shutil.which("strace") is None:
        raise BenchError("a slow disk takes strace, which delays what a server asks of it")
    program = folder / "slow-server"
    delay = f"-e inject=fdatasync:delay_enter={1000 * FSYNC_MS}"
    program.write_text(f'#!/bin/sh\nexec {_STRACE} {delay} {binary.resolve()} "$@"\n', "ascii")
    program.chmod(0o755)
    return program


def _version(info: Mapping[str, Any]) -> str:
    name = str(info.get("server_name", "redis")).capitalize()
    return f"{name} {info.get('valkey_version', info['redis_version'])}"
