"""
A network between the servers of a private cluster, and between them and clients, that can be cut.

    with Network() as network, PartedCluster(network) as cluster:
        network.part([cluster.nodes[0]], cluster.nodes[1:])
        network.heal()

Every node announces the ports of a proxy, so whatever speaks to it comes through one: rotator, the
replicas and the cluster bus. Each node connects from a loopback address of its own (all of
127.0.0.0/8 is there on Linux), so the proxy knows who speaks to whom; `node.client()` goes past it.
Nothing of this needs root.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import threading
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from itertools import product
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from cluster.local_cluster import NODE_TIMEOUT_MS, LocalCluster
from rotator.demo.local_server import LocalServer, find_binary, free_port
from rotator.errors import ServerError

CLIENTS: Final = "127.0.0.1"
"""Where everybody connects from who is no node: rotator, and an operator."""
_BUS: Final = 10_000  # from a node's port to that of its cluster bus
_READ: Final = 1 << 16
_QUIT_SECONDS: Final = 10.0


class Loss(StrEnum):
    """What becomes of bytes that do not come through."""

    HELD = "held"  # as packets that are sent again: they come when all is well
    SWALLOWED = "swallowed"  # for good, and the connection never carries another one that way
    BROKEN = "broken"  # the connection is reset, and so is each new one


class State(NamedTuple):
    """What happens to bytes on their way from one party to another."""

    loss: Loss | None = None
    delay: float = 0.0  # seconds


_WELL: Final = State()


class FrontedServer(LocalServer):
    """
    A server behind a proxy of a network, by the address of which others know it.

    *host* is where it connects from.
    """

    def __init__(self, announced: int, host: str, *options: str, binary: Path | None) -> None:
        self.announced = announced
        self.host = host
        super().__init__(*_own(announced, host, binary), *options, binary=binary)

    @property
    def address(self) -> str:
        """Host and port of the proxy."""
        return f"127.0.0.1:{self.announced}"


def _own(announced: int, host: str, binary: Path | None) -> tuple[str, ...]:
    """The settings by which a server comes from *host* and says that it is at *announced*."""
    said = subprocess.run(
        [str(binary or find_binary()), "--version"], capture_output=True, text=True, check=True
    ).stdout
    major = int(said.partition("v=")[2].partition(".")[0])
    return (
        # Before 7.0 the first address is where connections come from.
        *("--bind", host, "127.0.0.1"),
        *(("--bind-source-addr", host) if major >= 7 else ()),
        *("--replica-announce-ip", "127.0.0.1", "--replica-announce-port", str(announced)),
    )


class Network:
    """
    Proxies in front of servers, and what becomes of the bytes between any two of them.

    *affected* counts the connections and pieces of data to which anything has happened.
    """

    def __init__(self) -> None:
        self.affected = 0
        self._states: dict[tuple[str, str], State] = {}
        self._links: set[_Link] = set()
        self._hosts = 0
        self._loop = asyncio.new_event_loop()
        self._changed = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def server(self, *options: str, binary: Path | None = None, bus: bool = False) -> FrontedServer:
        """A server behind proxies, not started yet; in a cluster with one for its *bus*."""
        self._hosts += 1
        announced = free_port()
        more = ["--cluster-announce-ip", "127.0.0.1"] if bus else []
        if bus:
            more += ["--cluster-announce-port", str(announced)]
            more += ["--cluster-announce-bus-port", str(announced + _BUS)]
        host = f"127.0.1.{self._hosts}"
        node = FrontedServer(announced, host, *more, *options, binary=binary)
        for offset in (0, _BUS) if bus else (0,):
            self.listen(announced + offset, lambda: node, offset)
        return node

    def listen(self, port: int, target: Callable[[], FrontedServer], offset: int = 0) -> None:
        """Lead whoever connects to *port* to the *target* of that moment."""
        listener = socket.create_server(("127.0.0.1", port))

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            node = target()
            link = _Link(self, writer.get_extra_info("peername")[0], node.host)
            self._links.add(link)
            try:
                await link.carry(reader, writer, node.port + offset)
            except asyncio.CancelledError:  # the network is at its end: asyncio would tell of it
                link.abort()
            finally:
                self._links.discard(link)

        self._do(lambda: self._loop.create_task(asyncio.start_server(serve, sock=listener)))

    def part(
        self,
        some: Iterable[LocalServer | str],
        others: Iterable[LocalServer | str],
        loss: Loss = Loss.HELD,
    ) -> None:
        """Let nothing through between *some* and *others*, in either direction."""
        some, others = list(some), list(others)
        self.change(some, others, State(loss))
        self.change(others, some, State(loss))

    def change(
        self,
        sources: Iterable[LocalServer | str],
        targets: Iterable[LocalServer | str],
        state: State,
    ) -> None:
        """Change what happens on the way from each of *sources* to each of *targets*."""
        ways = product(map(_host, sources), map(_host, targets))
        changed = {(source, target): state for source, target in ways if source != target}
        self._do(lambda: self._update({**self._states, **changed}))

    def heal(self) -> None:
        """Let everything through again."""
        self._do(lambda: self._update({}))

    def expire(self) -> None:
        """Reset connections that have lost bytes, as a keepalive does when it finds out."""
        self._do(self._abort_silent)

    def _abort_silent(self) -> None:
        for link in list(self._links):
            if link.silent:
                link.abort()

    def state(self, source: str, target: str) -> State:
        """What happens on the way from one host to another."""
        return self._states.get((source, target), _WELL)

    async def change_of_state(self) -> None:
        """Wait until something has changed."""
        await self._changed.wait()

    def _update(self, states: dict[tuple[str, str], State]) -> None:
        self._states = states
        self._changed.set()
        self._changed = asyncio.Event()
        for link in list(self._links):
            if link.loss() is Loss.BROKEN:
                self.affected += 1
                link.abort()

    def _do(self, act: Callable[[], object]) -> None:
        """Have something done by the thread of the network, and wait until it is."""
        done = threading.Event()

        def call() -> None:
            act()
            self._loop.call_soon(done.set)

        self._loop.call_soon_threadsafe(call)
        if self._thread.is_alive() and not done.wait(_QUIT_SECONDS):
            raise ServerError("the network of the private cluster does not answer")

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_QUIT_SECONDS)
        self._loop.close()


def _host(party: LocalServer | str) -> str:
    if isinstance(party, str):
        return party
    if not isinstance(party, FrontedServer):
        raise ServerError(f"{party} is not behind the network")
    return party.host


class _Link:
    """
    One connection through a proxy, opened from *source*.

    *silent*: it has lost bytes, so it carries no more in that direction; neither end can know.
    """

    def __init__(self, network: Network, source: str, target: str) -> None:
        self._network = network
        self._ends = (source, target)
        self.silent = False
        self._writers: list[asyncio.StreamWriter] = []

    def loss(self) -> Loss | None:
        """What becomes of bytes in one of the directions, the worst of both."""
        there = self._network.state(*self._ends).loss
        back = self._network.state(*reversed(self._ends)).loss
        return Loss.BROKEN if Loss.BROKEN in {there, back} else there or back

    def abort(self) -> None:
        """Reset both ends."""
        for writer in self._writers:
            writer.transport.abort()

    async def carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int
    ) -> None:
        """Connect to *port* as soon as the network lets that happen, and pass bytes on."""
        self._writers.append(writer)
        with contextlib.suppress(OSError):
            try:
                # A handshake needs both directions; a client that gives up meanwhile has gone.
                while self.loss() is not None and not reader.at_eof():
                    self._network.affected += 1
                    if self.loss() is Loss.BROKEN:
                        return
                    await self._network.change_of_state()
                back, there = await asyncio.open_connection("127.0.0.1", port)
                self._writers.append(there)
                await asyncio.gather(
                    self._pass(reader, there, self._ends),
                    self._pass(back, writer, (self._ends[1], self._ends[0])),
                )
            finally:
                self.abort()

    async def _pass(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, way: tuple[str, str]
    ) -> None:
        """Read as bytes come, and write each when its time has come."""
        made = target.get_extra_info("socket")
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        writing = asyncio.ensure_future(self._write(late, target, way))
        try:
            while data := await source.read(_READ):
                self._network.affected += self._network.state(*way) != _WELL
                late.put_nowait((self._due(way), data))
        finally:
            late.put_nowait((self._due(way), b""))
            await writing

    def _due(self, way: tuple[str, str]) -> float:
        return asyncio.get_running_loop().time() + self._network.state(*way).delay

    async def _write(
        self,
        late: asyncio.Queue[tuple[float, bytes]],
        target: asyncio.StreamWriter,
        way: tuple[str, str],
    ) -> None:
        """Write what is due, until the end of it comes through as well."""
        silent = False
        while True:
            due, data = await late.get()
            await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
            while self._network.state(*way).loss is Loss.HELD:
                await self._network.change_of_state()
            silent = silent or self._network.state(*way).loss is Loss.SWALLOWED
            if silent:
                self.silent = True
            elif data:
                target.write(data)
                await target.drain()
            if not data:
                if not silent:
                    target.transport.close()
                return


class PartedCluster(LocalCluster):
    """A cluster whose nodes know each other, and are known, by the addresses of a network."""

    def __init__(
        self,
        network: Network,
        primaries: int = 3,
        replicas: int = 1,
        options: Sequence[str] = (),
        **more: Any,
    ) -> None:
        # What was lost on the way is noticed about as soon as a node that is gone.
        timing = ("--repl-ping-replica-period", "1", "--repl-timeout", str(_repl_timeout()))
        super().__init__(primaries, replicas, (*timing, *options), **more)
        self.network = network

    def _launch(self, *more: str) -> LocalServer:
        node = self.network.server(*self._options, *more, binary=self._binary, bus=True)
        self.nodes.append(node)
        node.start()
        return node


def _repl_timeout() -> int:
    """Seconds after which a silent replication link is given up."""
    return 2 + NODE_TIMEOUT_MS // 1000
