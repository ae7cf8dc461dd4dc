"""What goes wrong in a soak: nodes die, restart or are cut off, replicas take over, slots move."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, Final

from redis.exceptions import RedisError, ResponseError

from cluster.local_cluster import ask
from cluster.network import CLIENTS, Loss, State
from rotator.demo.local_server import LocalServer, wait_until
from rotator.errors import ServerError
from soak.disks import DiskCluster
from soak.model import Model

_SOON_SECONDS: Final = 1.0  # less than the cluster takes to notice
_NOTICED_SECONDS: Final = 8.0  # for half of that, a replica takes over
_DELAY_SECONDS: Final = 0.3
_MOST_SLOTS: Final = 30  # moved at once
_REST_SECONDS: Final = 0.5


class Faults(threading.Thread):
    """
    Breaks one thing after the other, and lets the cluster come to rest in between.

    *turn* is held while something is broken; *calm* is set while nothing is to be. *happened*
    counts, and *error* says why it came to an end before its time.
    """

    def __init__(self, cluster: DiskCluster, model: Model, seed: str) -> None:
        super().__init__(daemon=True)
        self.turn = threading.Lock()
        self.over = threading.Event()
        self.calm = threading.Event()
        self.happened: Counter[str] = Counter()
        self.error: str | None = None
        self._cluster = cluster
        self._model = model
        self._random = Random(seed)  # noqa: S311 - a test is to be repeated

    def run(self) -> None:
        """Break things, each as often as the others."""
        deeds: list[Callable[[], None]] = [
            self.crash,
            self.restart,
            self.takeover,
            self.failover,
            self.move,
            self.move,
            self.lose_replica,
            self.partition,
            self.partition,
        ]
        while not self.over.wait(_REST_SECONDS):
            if self.calm.is_set():
                continue
            with self.turn:
                try:
                    self._random.choice(deeds)()
                    self.rest()
                except (ServerError, RedisError, OSError) as error:
                    self.error = f"the cluster did not come to rest: {error}"
                    return

    def crash(self) -> None:
        """
        A primary is killed and comes back before anybody takes its place.

        Only one with an append-only file: another would come back without its last writes.
        """
        durable = [node for node in self._cluster.primaries if node in self._cluster.durable]
        if not durable:
            return
        node = self._random.choice(durable)
        self._cluster.kill(node)
        self.over.wait(self._random.random() * _SOON_SECONDS)
        node.start()
        self.happened["primaries killed"] += 1

    def restart(self) -> None:
        """A server is stopped as one should, with what it has saved, and starts again."""
        self._restart(self._random.choice(self._cluster.nodes))
        self.happened["servers restarted"] += 1

    def _restart(self, node: LocalServer) -> None:
        """Have a server save and stop, without waiting for its replicas, and start it again."""
        with node.client() as client:
            client.shutdown(save=True, now=True)
        wait_until(lambda: f"{node} does not stop" if node.running else None)
        node.start()

    def takeover(self) -> None:
        """A primary is killed, its replica takes its place, and it comes back as a replica."""
        node = self._random.choice(self._cluster.primaries)
        before = set(self._cluster.primaries)
        self._cluster.kill(node)

        def obstacle() -> str | None:
            taken = set(self._cluster.primaries) - before
            return None if taken else f"nobody takes the place of {node}"

        wait_until(obstacle)
        node.start()
        self.happened["primaries killed"] += 1
        self.happened["failovers"] += 1

    def failover(self) -> None:
        """A replica and its primary change places, as an operator asks for it."""
        self._cluster.failover(self._random.choice(self._cluster.replicas))
        self.happened["failovers"] += 1

    def move(self) -> None:
        """Slots move from one primary to another."""
        source, target = self._random.sample(self._cluster.primaries, 2)
        own = [
            slot
            for first, last in self._cluster.member(source).slots
            for slot in range(first, last + 1)
        ]
        slots = self._random.sample(own, min(len(own), self._random.randint(1, _MOST_SLOTS)))
        self._model.moved.update(slots)
        self._cluster.move_slots(source, target, slots)
        self.happened["slots moved"] += len(slots)

    def partition(self) -> None:
        """
        Servers are cut off from one another or from rotator, and get together again.

        At times before anybody notices, at times when a replica has taken over. Meanwhile an
        operator may have the replica take over, or a server may restart from its files.
        """
        network, node = self._cluster.network, self._random.choice(self._cluster.primaries)
        replica = self._replica_of(node)
        others = [one for one in self._cluster.nodes if one not in {node, replica}]
        sides: list[tuple[list[LocalServer | str], list[LocalServer | str]]] = [
            ([CLIENTS], [node]),
            ([CLIENTS], [node, replica]),
            ([node], [replica]),
            ([node], [replica, *others]),
            ([node], [*others]),
            ([node, replica], [*others]),
            ([replica], [node, *others]),
        ]
        one, other = self._random.choice(sides)
        state = self._random.choice([State(loss) for loss in Loss] + [State(delay=_DELAY_SECONDS)])
        for here, there in self._random.choice(
            [[(one, other), (other, one)], [(one, other)], [(other, one)]]
        ):
            network.change(here, there, state)
        long = self._random.randrange(2)
        self.over.wait(self._random.random() * (_NOTICED_SECONDS if long else _SOON_SECONDS))
        self._meddle(node, replica)
        network.heal()
        self.happened["partitions"] += 1

    def _meddle(self, node: LocalServer, replica: LocalServer) -> None:
        """Do at times to one of two that may be cut off what makes both sides differ."""
        deed = self._random.randrange(6)
        if deed == 0 and not self._cluster.member(replica).is_primary:
            ask(replica, "CLUSTER", "FAILOVER", "TAKEOVER")
            self.happened["promotions in a partition"] += 1
        elif deed == 1:
            self._restart(node)
            self.happened["restarts in a partition"] += 1

    def _replica_of(self, primary: LocalServer) -> LocalServer:
        """The replica of a primary."""
        wanted = self._cluster.member(primary).id
        for node in self._cluster.replicas:
            if self._cluster.member(node).primary_id == wanted:
                return node
        raise ServerError(f"{primary} has no replica")

    def lose_replica(self) -> None:
        """A replica is killed and comes back."""
        node = self._random.choice(self._cluster.replicas)
        self._cluster.kill(node)
        self.over.wait(self._random.random() * _SOON_SECONDS)
        node.start()
        self.happened["replicas killed"] += 1

    def rest(self) -> None:
        """
        Wait until all is well, and until replicas have what their primaries had when it was.

        Only then does a death lose nothing but what nobody has confirmed.
        """
        self._cluster.network.expire()
        self._cluster.settle()
        for node in self._cluster.primaries:
            with node.client() as client:
                goal = int(client.info("replication")["master_repl_offset"])
            wait_until(lambda node=node, goal=goal: _behind(node, goal))  # type: ignore[misc]

    def clean_files(self, files: Iterable[tuple[str, str]]) -> None:
        """Have *files*, server and kind each, written anew, as a report asks an operator to."""
        nodes = {node.address: node for node in self._cluster.running}
        for where, kind in files:
            node, command = nodes[where], "BGREWRITEAOF" if kind == "aof" else "BGSAVE"
            wait_until(lambda node=node, command=command: _asked(node, command))  # type: ignore[misc]
            wait_until(lambda node=node: _saving(node))  # type: ignore[misc]
            self.happened["files written anew"] += 1

    @contextmanager
    def one_away(self) -> Iterator[None]:
        """Have a server killed or cut off before the `with` block, and back after it."""
        with self.turn:
            if self._random.randrange(2):
                node = self._random.choice(self._cluster.replicas)
                self._cluster.kill(node)
                yield
                node.start()
                self.happened["replicas killed"] += 1
            else:
                node = self._random.choice(self._cluster.nodes)
                self._cluster.network.part([CLIENTS], [node], Loss.BROKEN)
                yield
                self._cluster.network.heal()
                self.happened["partitions"] += 1
            self.rest()

    def promote_all(self) -> None:
        """Every replica takes the place of its primary, one after the other."""
        for node in self._cluster.replicas:
            self._cluster.failover(node)
        self.rest()


def _behind(node: LocalServer, goal: int) -> str | None:
    with node.client() as client:
        info: dict[str, Any] = client.info("replication")
    offsets = [value["offset"] for value in info.values() if isinstance(value, dict)]
    return None if offsets and min(offsets) >= goal else f"a replica of {node} is behind"


def _asked(node: LocalServer, command: str) -> str | None:
    """Ask for a file; one that the server is writing by itself comes first."""
    with node.client() as client:
        try:
            client.execute_command(command)
        except ResponseError as error:
            return f"{node} does not {command}: {error}"
    return None


def _saving(node: LocalServer) -> str | None:
    with node.client() as client:
        info: dict[str, Any] = client.info("persistence")
    busy = info["aof_rewrite_in_progress"] or info["rdb_bgsave_in_progress"]
    scheduled = info["aof_rewrite_scheduled"]
    return f"{node} is still saving" if busy or scheduled else None
