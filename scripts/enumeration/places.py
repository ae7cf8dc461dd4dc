"""The servers of a trial, a proxy before each of them, and what is in their memory and files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from typing import Final, Self

from redis import Redis
from redis.crc import key_slot
from redis.exceptions import ResponseError

from cluster.local_cluster import LocalCluster
from enumeration.proxy import CountingProxy, Meter
from enumeration.values import Entry, Found, Place, read, store
from rotator.demo.local_server import LocalServer, wait_until
from rotator.server.cluster_nodes import SLOTS
from soak.disks import save

# What is in a file can then be found in it, without a server that loads it.
_OPTIONS: Final = ("--rdbcompression", "no", "--repl-diskless-sync-delay", "0")
_SYNC_MS: Final = 5000
STANDALONE: Final = "standalone"
CLUSTER: Final = "cluster"
PLACES: Final = (STANDALONE, CLUSTER)
"""A primary and a replica; three primaries, one of which has a replica."""


class Servers:
    """
    Servers: the private servers of one of `PLACES`, each behind a proxy.

    They are there until the `with` block ends; a trial begins with `empty` and `fill`.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self.meter = Meter()
        self._after = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as started:
            self.nodes = self._start(started)
            with self.nodes[0].client() as client:
                self.field_ttls = "hpexpireat" in client.execute_command("COMMAND")
            self.proxies = {
                node.address: CountingProxy(node.port, self.meter) for node in self.nodes
            }
            for proxy in self.proxies.values():
                started.callback(proxy.close)
            self._after = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._after.close()

    def _start(self, started: ExitStack) -> list[LocalServer]:
        if self.place == STANDALONE:
            primary = started.enter_context(LocalServer(*_OPTIONS))
            self._slots = [(range(SLOTS), primary)]
            return [primary, started.enter_context(LocalServer(*_OPTIONS, replica_of=primary))]
        cluster = started.enter_context(LocalCluster(3, 0, _OPTIONS))
        cluster.add_node(replica_of=cluster.nodes[0])
        self._slots = [
            (range(first, last + 1), node)
            for node in cluster.primaries
            for first, last in cluster.member(node).slots
        ]
        return cluster.nodes

    @property
    def primaries(self) -> list[LocalServer]:
        """Those that are written to."""
        return self.nodes[:-1]

    def empty(self) -> None:
        """Remove all that an earlier trial left in memory; files may still hold it."""
        for node in self.primaries:
            with node.client() as client:
                client.flushall()
                client.script_flush()

    def fill(self, entries: Mapping[Place, Entry]) -> None:
        """Store entries, each on its node, and have the replica know them."""
        parts: dict[str, tuple[LocalServer, dict[Place, Entry]]] = {}
        for place, entry in entries.items():
            node = self._owner(place[0])
            parts.setdefault(node.address, (node, {}))[1][place] = entry
        for node, part in parts.values():
            with node.client() as client, client.pipeline(transaction=False) as pipe:
                store(pipe, part, field_ttls=self.field_ttls)
                pipe.execute()
        self.sync()

    def save(self) -> None:
        """Have every server write its file, with what is in memory now."""
        for node in self.nodes:
            save(node)

    def _owner(self, name: bytes) -> LocalServer:
        slot = key_slot(name)
        return next(node for slots, node in self._slots if slot in slots)

    def sync(self) -> None:
        """Wait until the replica has what its primary has."""
        with self.nodes[0].client(socket_timeout=30) as client:
            wait_until(lambda: None if client.wait(1, _SYNC_MS) else "the replica is behind")

    def contents(self) -> dict[Place, Found]:
        """Return what is in the memory of the primaries."""
        found: dict[Place, Found] = {}
        for node in self.primaries:
            with node.client() as client:
                found |= read(client, field_ttls=self.field_ttls)
        return found

    def difference(self) -> str | None:
        """Say what the replica and its primary do not agree on, if there is anything."""
        self.sync()
        both = []
        for node in (self.nodes[0], self.nodes[-1]):
            with node.client() as client:
                both.append(_read_replica(client, field_ttls=self.field_ttls))
        ours, theirs = both
        apart = [place for place in ours | theirs if ours.get(place) != theirs.get(place)]
        return f"the replica has something else than its primary in {apart[:3]}" if apart else None

    def copies(self) -> Iterator[tuple[str, bytes]]:
        """Yield all bytes that a server has in memory or would start from, with where they are."""
        self.sync()
        for node in self.nodes:
            with node.client() as client:
                values = _read_replica(client, field_ttls=False).values()
            yield f"the memory of {node.address}", b"\0".join(one.value for one in values)
            for path in node.folder.rglob("*"):
                if path.suffix in {".rdb", ".aof"}:
                    yield f"{path.name} of {node.address}", path.read_bytes()


def _read_replica(client: Redis, *, field_ttls: bool) -> dict[Place, Found]:
    """Read a server that may be a replica of a cluster."""
    with suppress(ResponseError):  # no cluster
        client.execute_command("READONLY")
    return read(client, field_ttls=field_ttls)
