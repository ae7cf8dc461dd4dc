"""The servers of a soak with their files: who keeps which, and what is in all of them."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final, Protocol, Self

import hiredis
from redis.exceptions import ResponseError

from cluster.local_cluster import LocalCluster
from cluster.network import Network, PartedCluster
from rotator.demo.local_server import LocalServer, wait_until
from rotator.errors import ServerError

RDB: Final = "dump.rdb"
AOF: Final = "appendonlydir"
_SAVE_RULES: Final = ("", "2 1", "15 1")  # of `save`: seconds and changes
_TRIES: Final = 100  # to copy a file that nobody replaces meanwhile
_PAUSE_SECONDS: Final = 0.02


def save(node: LocalServer) -> None:
    """Have a server save now; one that saves by itself just then has to end first."""

    def obstacle() -> str | None:
        try:
            client.save()
        except ResponseError as error:
            return str(error)
        return None

    with node.client() as client:
        wait_until(obstacle)


class DiskCluster(PartedCluster):
    """
    Three primaries with a replica each in a network that can be cut, and files as a seed says.

    Some save by themselves, some keep an append-only file, some do both and some neither. *durable*
    are those with an append-only file: what they acknowledged survives that they are killed.
    """

    def __init__(self, network: Network, options: list[str], seed: str) -> None:
        super().__init__(network, 3, 1, options)
        self.durable: list[LocalServer] = []
        self._random = Random(seed)  # noqa: S311 - a test is to be repeated

    def _start_node(self) -> LocalServer:
        rule, durable = self._random.choice(_SAVE_RULES), bool(self._random.randrange(2))
        files = ["--appendonly", "yes", "--appendfsync", "no"] if durable else []
        if rule:
            files += ["--save", rule]
        node = self._launch(*files)
        if durable:
            self.durable.append(node)
        return node


class Servers(Protocol):
    """A primary and its replicas, or a cluster."""

    @property
    def nodes(self) -> Sequence[LocalServer]:
        """All servers."""

    @property
    def replicas(self) -> Sequence[LocalServer]:
        """Those that follow another."""


class Snapshot:
    """
    All that is anywhere but in the memory of primaries, taken while nothing moves; then `read` it.

    It is removed when the `with` block ends.

    Raises:
        ServerError: A file is replaced all the time.
        RedisError: A replica does not say what it has.
    """

    def __init__(self, cluster: Servers) -> None:
        in_cluster = isinstance(cluster, LocalCluster)
        self._memory = {one.address: values(one, replica=in_cluster) for one in cluster.replicas}
        self._folder = tempfile.TemporaryDirectory(prefix="rotator-soak-copies-")
        self._copies: list[tuple[str, Path]] = []
        for node in cluster.nodes:
            for file in (RDB, AOF):
                if (node.folder / file).exists():
                    target = Path(self._folder.name) / f"{node.port}-{file}"
                    _copy(node.folder / file, target)
                    self._copies.append((f"{file} of {node.address}", target))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def read(self) -> Iterator[tuple[str, list[tuple[bytes, bytes]]]]:
        """Yield every name and value with where they are: a replica's memory, or a file."""
        for address, found in self._memory.items():
            yield f"the memory of {address}", list(found.items())
        for where, path in self._copies:
            yield from read_copy(where, path)


def read_copy(where: str, path: Path) -> Iterator[tuple[str, list[tuple[bytes, bytes]]]]:
    """Yield what is in a copy of an RDB file, or of the folder of an append-only one."""
    if path.is_file():
        yield where, _started_from(path, RDB)
        return
    yield where, _started_from(path, AOF, "--appendonly", "yes")
    for base in path.glob("*.base.rdb"):  # values that were overwritten later are in it
        yield f"{base.name} of {where}", _started_from(base, RDB)
    for part in path.glob("*.incr.aof"):
        yield f"{part.name} of {where}", list(_set_by(part))


def _started_from(path: Path, file: str, *options: str) -> list[tuple[bytes, bytes]]:
    """What a server has that finds *path*, as *file*, in its folder when it starts."""
    server = LocalServer(*options)
    try:
        copy = shutil.copytree if path.is_dir() else shutil.copyfile
        copy(path, server.folder / file)
        server.start()
        return list(values(server).items())
    finally:
        server.remove()


def _set_by(part: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield what the SET commands in a part of an append-only file write."""
    reader = hiredis.Reader()
    reader.feed(part.read_bytes())
    while (command := reader.gets()) is not False:
        if command[0].upper() == b"SET":
            yield command[1], command[2]


def _copy(source: Path, target: Path) -> None:
    """Copy a file, or the folder of an append-only file when nobody is rewriting it."""
    if source.is_file():
        shutil.copyfile(source, target)
        return
    for _ in range(_TRIES):
        before = _manifest(source)
        try:
            shutil.copytree(source, target)
        except (OSError, shutil.Error):  # a part of it was removed just now
            shutil.rmtree(target, ignore_errors=True)
        else:
            if before == _manifest(source) == _manifest(target):
                return
            shutil.rmtree(target)
        time.sleep(_PAUSE_SECONDS)
    raise ServerError(f"{source.name} is rewritten all the time")


def _manifest(folder: Path) -> list[bytes]:
    """What says which files an append-only file is made of."""
    return [path.read_bytes() for path in sorted(folder.glob("*.manifest"))]


def values(node: LocalServer, *, replica: bool = False) -> dict[bytes, bytes]:
    """Every value that a server has in its memory; of a *replica* what it has itself."""
    with node.client() as client:
        names = list(client.scan_iter(count=1000))
        pipe: Any = client.pipeline(transaction=False)
        if replica:
            pipe.execute_command("READONLY")  # holds for this connection
        for name in names:
            pipe.get(name)
        found = zip(names, pipe.execute()[int(replica) :] if names else [], strict=True)
        return {name: value for name, value in found if value is not None}
