"""
The foreground: mixed commands at a fixed rate over some connections, each timed; then the oracle.

`python -m bench.load.client SPEC`, where the file has a `Spec` as JSON, fills the server and says
"filled". It then hears on stdin: `load`, and later `stop WINDOWS` with a list of [begin, end] on
the clock of `time.monotonic`, which all processes share; the answer is a list of figures. `check`
compares all there is with what was written, `end` ends.

A command is timed from when it was due, whenever it could be sent: who waits for a server that
stands still is counted (no coordinated omission). The process takes precedence over others of its
core where it may (SCHED_FIFO), so that the server is measured, not the wait for a processor.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import sys
import time
from array import array
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any, Final

from hiredis import ReplyError

from bench.load.links import Asked, Link, packed
from bench.load.model import FIELD, Model, Spec, Values
from bench.load.oracle import check, fill

_AT_ONCE: Final = 100  # commands, before it looks for replies
_NEAR_SECONDS: Final = 2.0  # to the expiry of a name, of which nothing is then changed
_LAST_SECONDS: Final = 120.0  # for the last replies
_DRAWN: Final = 1 << 14
_STRINGS: Final = frozenset({"GET", "SET", "SETEX"})
_HASHES: Final = frozenset({"HGET", "HSET"})
_EVICTED: Final = b"__keyevent@0__:evicted"


class Client:
    """Fills, asks and checks."""

    def __init__(self, spec: Spec) -> None:
        self.spec, self.model, self.values = spec, Model(spec), Values(spec)
        self.random = Random(spec.seed)  # noqa: S311 - a load is to be repeated
        self.links = [Link(spec.port) for _ in range(spec.connections)]
        self._evictions = self._subscribe() if spec.evicts else None
        self._dirty: set[Link] = set()
        self.counts: Counter[str] = Counter()
        self.due, self.took = array("d"), array("d")
        self.late = array("d")
        names, weights = zip(*spec.mix, strict=True) if spec.mix else ((), ())
        self._draw = self.random.choices(names, weights, k=_DRAWN) if spec.mix else []
        self._drawn = 0

    def _subscribe(self) -> Link:
        link = Link(self.spec.port)
        link.call(b"SUBSCRIBE", _EVICTED)
        return link

    def load(self) -> list[list[float]]:
        """Ask until told to stop; gives the windows of time that are wanted."""
        for link in self.links:
            link.socket.setblocking(False)
        gap = 1 / self.spec.rate
        due = time.monotonic()
        while True:
            for _ in range(_AT_ONCE):
                if (now := time.monotonic()) < due:
                    break
                self._ask(due, now)
                due += gap
            if self._turn(max(due - time.monotonic(), 0)) and (line := sys.stdin.readline()):
                windows: list[list[float]] = json.loads(line.partition(" ")[2])
                break
        end = time.monotonic() + _LAST_SECONDS
        while any(link.asked for link in self.links) and time.monotonic() < end:
            self._turn(0.1)
        self.counts["unanswered"] = sum(len(link.asked) for link in self.links)
        for link in self.links:
            link.socket.setblocking(True)
        if self._evictions is not None:
            self.links[0].call(b"CONFIG", b"SET", b"maxmemory", b"0")  # to check takes memory, too
            self._hear_all(self._evictions)
        return windows

    def _turn(self, seconds: float) -> bool:
        """Send and receive for so long at most; whether there is something on stdin."""
        for link in self._dirty:
            link.flush()
        self._dirty = {link for link in self._dirty if link.unsent}
        listening: list[Any] = [sys.stdin, *self.links]
        if self._evictions is not None:
            listening.append(self._evictions)
        readable = select.select(listening, self._dirty, [], seconds)[0]
        for one in readable:
            if one is self._evictions:
                self._evictions.feed()
                self._hear(self._evictions)
            elif one is not sys.stdin:
                self._receive(one)
        return sys.stdin in readable

    def _ask(self, due: float, now: float) -> None:
        """Send the next command."""
        self.late.append(now - due)
        self._drawn = (self._drawn + 1) % _DRAWN
        command, index = self._drawn_one()
        model, at = self.model, time.time()
        if command in {"HSET", "EXPIRE"} and model.near_expiry(index, at, _NEAR_SECONDS):
            command = "HGET" if model.is_hash(index) else "GET"
        expected: bool | None = model.exists(index, at)
        if expected and model.may_be_gone(index, at):
            expected = None
        before = model.earliest[index]
        message = self._message(command, index, at)
        known = (model.version[index], before, model.earliest[index], expected)
        asked = Asked(due, at, command, index, *known)
        link = self.links[index % len(self.links)]
        link.asked.append(asked)
        link.unsent += message
        self._dirty.add(link)

    def _drawn_one(self) -> tuple[str, int]:
        """The next command and the name that it is about."""
        spec, command = self.spec, self._draw[self._drawn]
        strings = spec.names - spec.hashes
        hashed = command in _HASHES or (
            command not in _STRINGS and self.random.random() * spec.names < spec.hashes
        )
        first, count = (strings, spec.hashes) if hashed else (0, strings)
        share = self.random.random()
        # Zipf's law with the exponent 1: how often a name comes falls with its rank.
        index = int(count**share) - 1 if spec.zipf else int(count * share)
        return command, first + index

    def _message(self, command: str, index: int, at: float) -> bytes:
        """What to send; the model then knows what it will do."""
        model, name = self.model, self.values.name(index)
        if command in {"SET", "SETEX", "HSET"}:
            ttl = self.spec.ttl_ms(self.random) if command == "SETEX" else None
            version = model.write(index, at, ttl, keep=command == "HSET")
            value = self.values.seal(index, version)
            if command == "HSET":
                return packed(b"HSET", name, FIELD, value)
            if ttl is None:
                return packed(b"SET", name, value)
            return packed(b"SETEX", name, b"%d" % (ttl // 1000), value)
        if command == "HGET":
            return packed(b"HGET", name, FIELD)
        if command == "EXPIRE":
            ttl = self.spec.ttl_ms(self.random)
            if model.exists(index, at):
                model.expire(index, at, ttl)
            return packed(b"EXPIRE", name, b"%d" % (ttl // 1000))
        if command == "DEL":
            model.there[index] = model.unsure[index] = 0
        return packed(command.encode(), name)

    def _receive(self, link: Link) -> None:
        """Take the replies that are there."""
        link.feed()
        while (reply := link.reader.gets()) is not False:
            now, at = time.monotonic(), time.time()
            asked = link.asked.popleft()
            self.due.append(asked.due)
            self.took.append(now - asked.due)
            if isinstance(reply, ReplyError):
                self.counts[f"error {str(reply).partition(' ')[0]}"] += 1
                self.model.unsure[asked.entry] = 1
            else:
                self._compare(asked, reply, at)

    def _compare(self, asked: Asked, reply: Any, at: float) -> None:
        """See whether a reply is what it must be."""
        model, index, command = self.model, asked.entry, asked.command
        there = self._said(command, reply)
        if command in {"SETEX", "EXPIRE"}:
            model.answered(index, asked.until, asked.sent, at)
        if command in {"GET", "HGET"} and reply is not None:
            wanted = self.values.plaintext(index, asked.version)
            if self.values.open(reply)[0] != wanted and not model.unsure[index]:
                self.counts["read wrong"] += 1
        if there is None or asked.expected is None or there == asked.expected:
            return
        if not there and asked.earliest != -1 and at * 1000 >= asked.earliest:
            if command in {"HSET", "EXPIRE"}:  # it came after all too late
                model.unsure[index] = 1
            return
        if there or not self.spec.evicts:
            self.counts["read back" if there else "read lost"] += not model.unsure[index]
        else:
            self.counts["missed"] += 1
            if command == "HSET" and model.earliest[index] == asked.until:
                model.earliest[index] = model.latest[index] = -1  # it is a new one

    @staticmethod
    def _said(command: str, reply: Any) -> bool | None:
        """Whether the name was there when the command was carried out, if the reply says so."""
        if command in {"GET", "HGET"}:
            return reply is not None
        if command == "HSET":
            return bool(reply == 0)
        if command in {"EXPIRE", "DEL", "EXISTS"}:
            return bool(reply == 1)
        return bool(reply != -2) if command in {"TTL", "PTTL"} else None

    def _hear(self, link: Link) -> None:
        """Note what the server says that it has thrown away."""
        while (reply := link.reader.gets()) is not False:
            if reply[0] == b"message":
                self.model.evicted[int(reply[2].rpartition(b":")[2])] = time.time()
                self.model.evictions += 1
            elif reply[0] == b"unsubscribe":
                self._evictions = None

    def _hear_all(self, link: Link) -> None:
        """Wait for all that was said so far: the end of it is answered after that."""
        link.socket.sendall(packed(b"UNSUBSCRIBE"))
        while self._evictions is not None:
            link.feed()
            self._hear(link)

    def felt(self, windows: list[list[float]]) -> dict[str, Any]:
        """All that is to be told of the load; *late_p99_ms* is how late it was to send, itself."""
        late = sorted(self.late)
        return {
            "windows": [self.figures(*window) for window in windows],
            "late_p99_ms": 1000 * late[int(0.99 * (len(late) - 1))] if late else 0.0,
            "counts": dict(self.counts),
            "evictions": self.model.evictions,
        }

    def figures(self, begin: float, end: float) -> dict[str, float]:
        """What commands that were due from *begin* to *end* took, in ms, and how many were done."""
        asked, done = list[float](), 0
        for due, took in zip(self.due, self.took, strict=True):
            if begin <= due < end:
                asked.append(1000 * took)
            done += begin <= due + took < end
        asked.sort()
        figures = {"commands": float(len(asked)), "per_second": done / (end - begin)}
        if asked:
            figures["p50_ms"] = asked[len(asked) // 2]
            figures["p99_ms"] = asked[int(0.99 * (len(asked) - 1))]
            figures["max_ms"] = asked[-1]
        return figures


def main(path: str) -> None:
    """Do what is said on stdin."""
    spec = Spec(**json.loads(Path(path).read_text(encoding="ascii")))
    client = Client(spec)
    fill(client.links[0], client.model, client.values, client.random)
    gc.freeze()
    gc.disable()
    print("filled", flush=True)
    while (order := sys.stdin.readline().strip()) != "end":
        answer: Any = None
        if order == "load":
            with contextlib.suppress(OSError):
                if spec.precedence:
                    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
            windows = client.load()
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))  # the oracle can wait
            answer = client.felt(windows)
        elif order == "check":
            answer = check(client.links[0], client.model, client.values)
        else:
            raise SystemExit(f"not understood: {order}")
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
