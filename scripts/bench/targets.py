"""
What is measured against: a private server or a cluster on a core of its own, and the data in it.

The data is encrypted and stored once, and saved. Before each measurement the server reads it in
again from the file (DEBUG RELOAD NOSAVE), so that every way starts from the very same entries.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from redis.crc import key_slot

from bench.system import cpu_seconds, pinned
from cluster.local_cluster import LocalCluster, member
from rotator.config.names import Names
from rotator.crypto.codec import Codec, Opened
from rotator.crypto.keyring import Key, Keyring, generate
from rotator.crypto.layout import BUILTIN, Format
from rotator.demo.local_server import LocalServer
from rotator.errors import RotatorError
from rotator.server.cluster_nodes import SLOTS

PRIMARIES: Final = 3
SAMPLE: Final = 100  # values to open after a rewriting way
_OPTIONS: Final = ("--rdbcompression", "no", "--rdbchecksum", "no")
_BATCH: Final = 1000
_DAY_MS: Final = 86_400_000
_NAMES: Final = Names()


class BenchError(Exception):
    """A measurement went wrong, so there is nothing to print."""


@dataclass(frozen=True, slots=True)
class Target:
    """A server program, and whether a cluster of it is meant; the values in it, and their keys."""

    binary: Path
    cluster: bool = False
    form: str = "gcm"
    keys: int = 1


OWN: Final[dict[str, dict[str, Any]]] = {
    "hex": {"encoding": "hex", "layout": ["nonce:12", "tag:16", "ciphertext"]},
    "text": {"encoding": "base64", "layout": "v1:{nonce}:{tag}:{ciphertext}", "constant": True},
}
"""The formats of the benchmark that are not built in: such as applications have."""
FORMS: Final = {**BUILTIN, **{name: Format.parse(name, **form) for name, form in OWN.items()}}
SCRIPTER: Final = ("scripter", "no-watch")
"""A user who may not use WATCH, so that values are exchanged by script, and the password."""


def text(size: int) -> bytes:
    """JSON of so many bytes, never twice the same."""
    filling = base64.urlsafe_b64encode(os.urandom(size))
    return b'{"session":"%b"}' % filling[: size - len('{"session":""}')]


class Ground:
    """Running servers, the configuration of a cache in them, and the way to fill them."""

    def __init__(self, nodes: Sequence[LocalServer], folder: Path, target: Target) -> None:
        self.nodes = nodes
        self.folder = folder
        self._target = target
        self.config, self.script_config = folder / "maverics.json", folder / "script.json"
        self.values = 0
        # To save millions of entries takes a while.
        self._clients = [node.client(socket_timeout=600) for node in nodes]
        self._current, self._old = generate(), [generate() for _ in range(target.keys)]
        for client in self._clients:
            name, password = SCRIPTER
            rules = ("reset", "on", f">{password}", "~*", "&*", "+@all", "-watch")
            client.execute_command("ACL", "SETUSER", name, *rules)
        self._homes = self._find_homes()
        self._configure()

    @property
    def version(self) -> str:
        """The server's own name and version."""
        info: dict[str, Any] = dict(self._clients[0].info("server"))
        name = str(info.get("server_name", "redis")).capitalize()
        return f"{name} {info.get('valkey_version', info['redis_version'])}"

    def fill(self, values: int, size: int) -> None:
        """Store *values* entries of *size* bytes of plaintext under the oldest key; save them."""
        codec = Codec(Keyring(Key.from_text(self._old[-1], "old")), [FORMS[self._target.form]])
        self.empty()
        self.values = values
        for start in range(0, values, _BATCH):
            pipes = [client.pipeline(transaction=False) for client in self._clients]
            for index in range(start, min(start + _BATCH, values)):
                name = _name(index)
                sealed = codec.seal(name, text(size))
                pipes[self._home(name)].set(name, sealed, px=_DAY_MS)
            for pipe in pipes:
                pipe.execute()
        for client in self._clients:
            client.save()

    def empty(self) -> None:
        """Remove every entry."""
        self.values = 0
        for client in self._clients:
            client.flushall()

    def reload(self) -> None:
        """Put the entries back as `fill` left them."""
        for client in self._clients:
            client.execute_command("DEBUG", "RELOAD", "NOSAVE")
            client.config_resetstat()

    def rewritten(self) -> int:
        """How many values were set since the counters were reset."""
        stats: Any = self._clients[0].info("commandstats")
        return int(stats.get("cmdstat_set", {"calls": 0})["calls"])

    def cpu_seconds(self) -> float:
        """The processor time of all servers."""
        return sum(cpu_seconds(node.pid) for node in self.nodes)

    def demand_rewritten(self) -> None:
        """
        Look whether what was to be rewritten is.

        Raises:
            BenchError: An entry is missing, has lost its TTL or is not under the current key.
        """
        codec = Codec(Keyring(Key.from_text(self._current, "current")), [FORMS[self._target.form]])
        sizes: list[Any] = [client.dbsize() for client in self._clients]
        if sum(sizes) != self.values:
            raise BenchError(f"{sum(sizes)} entries are left of {self.values}")
        for index in random.sample(range(self.values), min(SAMPLE, self.values)):
            name = _name(index)
            client = self._clients[self._home(name)]
            value: Any = client.get(name)
            ttl: Any = client.pttl(name)
            if ttl <= 0 or not isinstance(codec.open(name, value), Opened):
                raise BenchError(f"entry {index} of {self.values} was not rewritten as it should")

    def foreground(self) -> tuple[int, str]:
        """A port and a name there that another client may ask for."""
        names = (_name(index) for index in range(max(self.values, 1)))
        return self.nodes[0].port, next(n for n in names if self._home(n) == 0).decode()

    def _home(self, name: bytes) -> int:
        """Which of the nodes has a name."""
        return self._homes[key_slot(name)] if self._homes else 0

    def _find_homes(self) -> list[int]:
        """The node of each slot."""
        if len(self.nodes) == 1:
            return []
        homes = [0] * SLOTS
        for index, node in enumerate(self.nodes):
            for first, last in member(node).slots:
                homes[first : last + 1] = [index] * (last + 1 - first)
        return homes

    def _configure(self) -> None:
        """Write the configuration, and another one for the user who may not use WATCH."""
        keys = {"current": self._current, "old": self._old}
        redis: dict[str, Any] = {"addresses": [node.address for node in self.nodes]}
        section = {"name": "bench", "type": "redis", "encryption": {"keys": keys}, "redis": redis}
        form = self._target.form
        settings: dict[str, Any] = {"caches": {"bench": {"formats": [form]}}}
        if form in OWN:
            settings["formats"] = {form: OWN[form]}
        document = {"caches": [section], "rotator": settings}
        self.config.write_text(json.dumps(document), encoding="ascii")
        redis["username"], redis["password"] = SCRIPTER
        self.script_config.write_text(json.dumps(document), encoding="ascii")


def _name(index: int) -> bytes:
    """The stored name of an entry: a namespace and a hash, as rotator's own client makes them."""
    return _NAMES.stored("/app/bench", f"session-{index}")


@contextlib.contextmanager
def prepared(target: Target, core: int) -> Iterator[Ground]:
    """
    The servers of *target*, on one core, for as long as the block lasts.

    Raises:
        BenchError: They did not start.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rotator-bench-")))
        try:
            with pinned(core):
                nodes = _started(target, stack)
        except RotatorError as error:
            raise BenchError(str(error)) from error
        yield Ground(nodes, folder, target)


def _started(target: Target, stack: ExitStack) -> Sequence[LocalServer]:
    if not target.cluster:
        return [stack.enter_context(LocalServer(*_OPTIONS, binary=target.binary))]
    cluster = LocalCluster(PRIMARIES, 0, _OPTIONS, binary=target.binary)
    return stack.enter_context(cluster).nodes
