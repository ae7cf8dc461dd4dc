"""
World: the servers of a year with what they hold, and what may happen to them.

Two kinds: a primary with its replica, and a cluster of three of each. All are the embedded server,
for the clock's sake. Files: all save an RDB file, and may keep an append-only file too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any, Final, Protocol, Self

from redis.crc import key_slot

from cluster.expiries import entries_of
from cluster.local_cluster import LocalCluster
from rotator.demo.local_server import LocalServer, embedded_binary, wait_until
from rotator.errors import ServerError
from soak.disks import Snapshot, save
from soak.model import NEVER
from year.application import DAY, Entry
from year.backup import Backup

Holdings = Mapping[bytes, tuple[bytes, int]]

# Without failures that are only the clock's steps: no limit is shorter than a day.
_OPTIONS: Final = ("--save", "3600 1", "--repl-timeout", "8640000")
_KEEPING_AOF: Final = ("--appendonly", "yes")
_NODE_TIMEOUT_MS: Final = 3 * DAY * 500  # a day and a half
_SHARDS: Final = 3
_BETWEEN_VOTES: Final = 4  # days: a cluster votes once in two timeouts


class World(Protocol):
    """World: what a year needs of its servers."""

    @property
    def nodes(self) -> Sequence[LocalServer]:
        """All servers."""

    @property
    def primaries(self) -> Sequence[LocalServer]:
        """Those that have the data."""

    @property
    def addresses(self) -> list[str]:
        """What the configuration lists, and..."""

    @property
    def listed(self) -> list[str]:
        """... the replicas that it lists."""

    def owner_of(self, name: bytes) -> LocalServer:
        """Return the primary to which a name belongs."""

    def snapshot(self) -> Snapshot:
        """Return copies of all that is in memory of replicas and in files."""

    def settle(self) -> None:
        """Wait until all are in step, and nobody writes a file."""

    def restart(self, *, replica: bool) -> None:
        """Have a primary, or a replica, start from its files."""

    def fail_over(self, day: int) -> bool:
        """Have a replica and its primary change places; False: not on that day."""

    def restore(self, backup: Backup) -> None:
        """Have all servers start from the files of a backup."""


def holdings(world: World) -> dict[bytes, tuple[bytes, int]]:
    """Return value and expiry of every name that the primaries hold."""
    found: dict[bytes, tuple[bytes, int]] = {}
    for server in world.primaries:
        with server.client() as client:
            names = sorted(client.scan_iter(count=1000))
            entries = zip(names, entries_of(client, names), strict=True)
        found |= {name: (value, at_ms) for name, (value, at_ms) in entries if value is not None}
    return found


def write(world: World, entries: Iterable[Entry]) -> None:
    """Store entries, each where it belongs."""
    with ExitStack() as stack:
        clients: dict[int, Any] = {}
        for name, value, at_ms in entries:
            owner = world.owner_of(name)
            if owner.port not in clients:
                clients[owner.port] = stack.enter_context(owner.client())
            until = {} if at_ms == NEVER else {"pxat": at_ms}
            clients[owner.port].set(name, value, **until)


def _restart(node: LocalServer) -> None:
    """Have a server save, end and start from its files."""
    save(node)
    node.stop()
    node.start()


def _start_from(backup: Backup, nodes: Sequence[LocalServer]) -> None:
    """Have servers end and start from the files of a backup."""
    for node in nodes:
        node.stop()
        backup.put_back(node)
    for node in nodes:
        node.start()


def _busy(node: LocalServer) -> str | None:
    """Return what a server is still at, if anything."""
    with node.client() as client:
        info: dict[str, Any] = client.info()
    writes = ("rdb_bgsave_in_progress", "aof_rewrite_in_progress", "aof_rewrite_scheduled")
    if info["loading"] or any(info[one] for one in writes):
        return f"{node} is at work on its files"
    if info["role"] == "slave" and info["master_link_status"] != "up":
        return f"{node} has no primary"
    return None


def _all_at_rest(nodes: Iterable[LocalServer]) -> None:
    wait_until(lambda: next(filter(None, map(_busy, nodes)), None))


class Pair:
    """Pair: a primary and its replica."""

    def __init__(self, *, keeps_aof: bool) -> None:
        options = (*_OPTIONS, *(_KEEPING_AOF if keeps_aof else ()))
        self.nodes = [LocalServer(*options, binary=embedded_binary()) for _ in range(2)]

    @property
    def primaries(self) -> list[LocalServer]:
        """The first."""
        return self.nodes[:1]

    @property
    def replicas(self) -> list[LocalServer]:
        """The second."""
        return self.nodes[1:]

    @property
    def addresses(self) -> list[str]:
        """The primary's."""
        return [node.address for node in self.primaries]

    @property
    def listed(self) -> list[str]:
        """The replica's."""
        return [node.address for node in self.replicas]

    def owner_of(self, _name: bytes) -> LocalServer:
        """Return the primary."""
        return self.nodes[0]

    def snapshot(self) -> Snapshot:
        """Return copies of what the replica and all files hold."""
        return Snapshot(self)

    def settle(self) -> None:
        """Wait until both are at rest."""
        _all_at_rest(self.nodes)

    def restart(self, *, replica: bool) -> None:
        """Save, end and start one of both."""
        node = self.nodes[int(replica)]
        _restart(node)
        self._follow()

    def fail_over(self, _day: int) -> bool:
        """Have both change places, as an operator does."""
        old, new = self.nodes
        with old.client() as first, new.client() as second:
            second.replicaof("NO", "ONE")
            first.replicaof("127.0.0.1", str(new.port))
        self.nodes.reverse()
        self.settle()
        return True

    def restore(self, backup: Backup) -> None:
        """Start both from older files; the replica then takes what the primary has."""
        _start_from(backup, self.nodes)
        self._follow()

    def _follow(self) -> None:
        """Have the second follow the first, as its configuration would after a start."""
        first, second = self.nodes
        with second.client() as client:
            client.replicaof("127.0.0.1", str(first.port))
        self.settle()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for node in self.nodes:
                stack.enter_context(node)
            self._follow()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


class Cluster:
    """Cluster: three primaries with a replica each."""

    def __init__(self, random: Random, folder: Path) -> None:
        # Nodes get to know each other by a short timeout only, and CONFIG SET would be counted.
        self._later = folder / "later.conf"
        self._later.touch()
        options = (*_OPTIONS, "--include", str(self._later))
        self._cluster = LocalCluster(_SHARDS, 1, options, binary=embedded_binary())
        self._random = random
        self._owners: dict[tuple[int, int], LocalServer] = {}
        self._voted: dict[int, int] = {}

    @property
    def nodes(self) -> list[LocalServer]:
        """All six."""
        return self._cluster.nodes

    @property
    def primaries(self) -> list[LocalServer]:
        """Those that say they are primaries."""
        return self._cluster.primaries

    @property
    def addresses(self) -> list[str]:
        """Those of all."""
        return self._cluster.addresses

    @property
    def listed(self) -> list[str]:
        """None: the cluster's own table has them."""
        return []

    def owner_of(self, name: bytes) -> LocalServer:
        """Return the primary whose slot it is, as of the last time that all was in step."""
        slot = key_slot(name)
        for (first, last), owner in self._owners.items():
            if first <= slot <= last:
                return owner
        raise ServerError(f"nobody owns slot {slot}")

    def snapshot(self) -> Snapshot:
        """Return copies of what replicas and all files hold."""
        return Snapshot(self._cluster)

    def settle(self) -> None:
        """Wait until all agree and are at rest."""
        self._cluster.settle()
        _all_at_rest(self.nodes)
        members = {node: self._cluster.member(node) for node in self.primaries}
        self._owners = {part: node for node, one in members.items() for part in one.slots}

    def restart(self, *, replica: bool) -> None:
        """Save, end and start one of them."""
        nodes = self._cluster.replicas if replica else self._cluster.primaries
        node = self._random.choice(nodes)
        _restart(node)
        self.settle()

    def fail_over(self, day: int) -> bool:
        """Have one replica take over, where the cluster may vote on it again."""
        shards = {node: self.nodes.index(node) % _SHARDS for node in self._cluster.replicas}
        before = day - _BETWEEN_VOTES
        ready = [node for node, one in shards.items() if self._voted.get(one, before) <= before]
        if not ready:
            return False
        replica = self._random.choice(ready)
        self._voted[shards[replica]] = day
        self._cluster.failover(replica)
        self.settle()
        return True

    def restore(self, backup: Backup) -> None:
        """Start all from older files."""
        _start_from(backup, self.nodes)
        self.settle()

    def __enter__(self) -> Self:
        self._cluster.__enter__()
        self._later.write_text(f"cluster-node-timeout {_NODE_TIMEOUT_MS}\n")
        for node in self.nodes:
            node.stop()
            node.start()
        self.settle()
        return self

    def __exit__(self, *details: object) -> None:
        self._cluster.__exit__(*details)
