"""
The oracle: fills a server under the old key, and compares all there is at the end with the model.

What must be there and is not is lost, unless the server said that it threw it away.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from hiredis import ReplyError

from bench.load.links import Link, packed
from bench.load.model import FIELD, Model, Values

_BATCH: Final = 500  # names at a time
_BATCH_BYTES: Final = 1 << 24


@dataclass(slots=True)
class Verdict:
    """What is there at the end, name by name, compared with what must be."""

    model: Model
    values: Values
    counts: Counter[str] = field(default_factory=Counter)

    def compare(self, index: int, value: bytes | None, expires: int, at: float) -> None:
        """Judge one name by its value, or none, its expiry as PEXPIRETIME has it, and the time."""
        model = self.model
        self.counts["checked"] += 1
        if model.unsure[index]:
            self.counts["unsure"] += 1
        elif value is None:
            if not model.exists(index, at) or model.may_be_gone(index, at):
                self.counts["gone"] += 1
            else:
                self.counts["evicted" if model.explained(index) else "lost"] += 1
        elif not model.there[index]:
            self.counts["back"] += 1
        else:
            self._judge_value(index, value, expires, at)

    def _judge_value(self, index: int, value: bytes, expires: int, at: float) -> None:
        model = self.model
        plaintext, old = self.values.open(value)
        if plaintext != self.values.plaintext(index, model.version[index]):
            self.counts["wrong"] += 1
            return
        self.counts["old" if old else "current"] += 1
        if expires == -2 and model.may_be_gone(index, at):
            return
        if not model.earliest[index] <= expires <= model.latest[index]:
            self.counts["ttl"] += 1


def fill(link: Link, model: Model, values: Values, random: Random) -> None:
    """Store what is there from the beginning."""
    spec, out, size = model.spec, list[bytes](), 0
    for index in range(spec.names):
        if random.random() >= spec.filled:
            continue
        now = time.time()
        lasts = random.random() >= spec.expiring
        at_ms = -1 if lasts else int(now * 1000) + spec.ttl_ms(random)
        value = values.seal(index, model.write(index, now, None), old=True)
        model.earliest[index] = model.latest[index] = at_ms
        out += _stored(values.name(index), value, at_ms, in_hash=model.is_hash(index))
        size += len(value)
        if len(out) >= _BATCH or size > _BATCH_BYTES:
            _ask(link, out)
            out.clear()
            size = 0
    _ask(link, out)


def _stored(name: bytes, value: bytes, at_ms: int, *, in_hash: bool) -> list[bytes]:
    """The commands that store a value until that time."""
    until = b"%d" % at_ms
    if in_hash:
        stored = packed(b"HSET", name, FIELD, value)
        return [stored] if at_ms == -1 else [stored, packed(b"PEXPIREAT", name, until)]
    return [packed(b"SET", name, value, *(() if at_ms == -1 else (b"PXAT", until)))]


def _ask(link: Link, commands: list[bytes]) -> list[Any]:
    """The replies; an error is raised."""
    link.socket.sendall(b"".join(commands))
    replies = link.replies(len(commands))
    for reply in replies:
        if isinstance(reply, ReplyError):
            raise reply
    return replies


def check(link: Link, model: Model, values: Values) -> Counter[str]:
    """Compare every name; how many are as they must be, and how many are not."""
    verdict = Verdict(model, values)
    batch = max(min(_BATCH, _BATCH_BYTES // max(model.spec.sizes)), 1)
    for start in range(0, model.spec.names, batch):
        some = range(start, min(start + batch, model.spec.names))
        commands = []
        for index in some:
            name = values.name(index)
            read = (b"HGET", name, FIELD) if model.is_hash(index) else (b"GET", name)
            commands += [packed(*read), packed(b"PEXPIRETIME", name)]
        replies = _ask(link, commands)
        now = time.time()
        for index, value, expires in zip(some, replies[::2], replies[1::2], strict=True):
            verdict.compare(index, value, expires, now)
    return verdict.counts
