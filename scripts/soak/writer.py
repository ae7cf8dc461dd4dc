"""The application of a soak: it writes to a cluster that breaks, and knows what must be there."""

from __future__ import annotations

import threading
import time
from random import Random
from typing import Any, Final

from redis import Redis
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from cluster.local_cluster import LocalCluster, known_by
from rotator.crypto.codec import Codec, Opened
from rotator.crypto.keyring import Key, Keyring, generate
from rotator.crypto.layout import BUILTIN
from rotator.errors import ServerError
from soak.model import NEVER, Found, Held, Model

MARK: Final = b"plaintext-of-the-soak:"
_FAR_MS: Final = 4_102_444_800_000  # 2100-01-01
_BRIEF_MS: Final = 3000
_CONFIRM_MS: Final = 300  # how long a replica is waited for
_PAUSE_SECONDS: Final = 0.002  # between writes
_REDIRECTIONS: Final = 10


class NotDoneError(Exception):
    """The server refused the write, so it was not done."""


class Ring:
    """
    The keys of the cache, the current one first; *retired* are those removed since.

    *fenced*: the operator has said that nothing is written under the old keys any more.
    """

    def __init__(self, count: int) -> None:
        self.keys = [generate() for _ in range(count)]
        self.retired: list[str] = []
        self.fenced = False
        self.renew()

    def renew(self) -> None:
        """Take the keys as they are now."""
        known = [Key.from_text(key, "soak") for key in self.keys]
        self.ids = [key.id for key in known]
        self.codec = Codec(Keyring(known[0], known[1:]), list(BUILTIN.values()))
        self._gone = [Key.from_text(key, "soak") for key in self.retired]
        self._codecs = [Codec(Keyring(key), list(BUILTIN.values())) for key in known]

    def rotate(self, retire: str) -> None:
        """Remove an old key by its id, and make a new one current."""
        index = self.ids.index(retire)
        if index == 0:
            raise ValueError("the current key is not to be removed")
        self.retired.append(self.keys.pop(index))
        self.keys.insert(0, generate())
        self.fenced = False  # that was said of the keys that were old then
        self.renew()

    def seal(self, name: bytes, plaintext: bytes, key: int, form: str) -> bytes:
        """A value under the key of that number."""
        return self._codecs[key].seal(name, plaintext, BUILTIN[form])

    def found(self, name: bytes, value: bytes, at_ms: int) -> Found:
        """What a stored value holds."""
        opened = self.codec.open(name, value)
        if isinstance(opened, Opened):
            return Found(opened.plaintext, opened.key.id, at_ms)
        return Found(None, "", at_ms)

    def key_of(self, name: bytes, value: bytes) -> str:
        """The id of the key that a value is under, also of a retired one; empty: of none."""
        if found := self.found(name, value, NEVER).key_id:
            return found
        for key in self._gone:
            if isinstance(Codec(Keyring(key), list(BUILTIN.values())).open(name, value), Opened):
                return key.id
        return ""


class Router:
    """
    A client of the cluster that sends a write once, where it belongs, and has it confirmed.

    It goes past the network: whoever is cut off from the rest still takes writes.
    """

    def __init__(self, cluster: LocalCluster) -> None:
        self._clients = {
            known_by(node).port: node.client(retry=Retry(NoBackoff(), 0), socket_timeout=2)
            for node in cluster.nodes
        }
        self._homes: dict[int, int] = {}

    def write(self, name: bytes, *command: Any) -> bool:
        """
        Carry out a write; whether a replica has it.

        Raises:
            NotDoneError: It was refused.
            RedisError: Nobody knows whether it was done.
        """
        slot, asking = key_slot(name), False
        port = self._homes.get(slot) or self._learn(slot)
        for _ in range(_REDIRECTIONS):
            pipe: Any = self._clients[port].pipeline(transaction=False)
            if asking:
                pipe.execute_command("ASKING")
            pipe.execute_command(*command)
            pipe.execute_command("WAIT", 1, _CONFIRM_MS)
            *_, reply, confirmed = pipe.execute(raise_on_error=False)
            if not isinstance(reply, Exception):
                return isinstance(confirmed, int) and confirmed > 0
            if not isinstance(reply, ResponseError):
                raise reply
            text = f"{reply.status_code or ''} {reply}".strip()
            asking = text.startswith("ASK ")
            if not asking and not text.startswith("MOVED "):
                raise NotDoneError(text)
            port = int(text.rpartition(":")[2])
            if not asking:
                self._homes[slot] = port
        raise NotDoneError("redirected without end")

    def forget(self) -> None:
        """Ask again who owns what."""
        self._homes.clear()

    def _learn(self, slot: int) -> int:
        for client in self._clients.values():
            try:
                ranges: Any = client.execute_command("CLUSTER", "SLOTS")
            except (RedisConnectionError, RedisTimeoutError, ResponseError):
                continue
            for first, last, owner, *_ in _ranges(ranges):
                self._homes.update(dict.fromkeys(range(first, last + 1), owner))
            if slot in self._homes:
                return self._homes[slot]
        raise NotDoneError("nobody owns the slot")


def _ranges(reply: Any) -> list[tuple[int, int, int]]:
    """First slot, last slot and the owner's port, from a parsed or a plain CLUSTER SLOTS reply."""
    if isinstance(reply, dict):
        return [(a, b, nodes["primary"][1]) for (a, b), nodes in reply.items()]
    return [(one[0], one[1], one[2][1]) for one in reply]


class Writer(threading.Thread):
    """
    Writes until it is told to stop.

    *turn* is held during each write: whoever else holds it sees a cache at rest. With *laggards*
    some writes are under old keys, but for those that are fenced. *last_under* says under which key
    a name was last written, and when that began (by `time.monotonic`); *last_with* when the last
    write under a key had ended (Unix seconds).
    """

    def __init__(self, cluster: LocalCluster, ring: Ring, model: Model, seed: str) -> None:
        super().__init__(daemon=True)
        self.turn = threading.RLock()
        self.over = threading.Event()
        self.laggards = True
        self.writes = 0
        self.unconfirmed = 0
        self.last_under: dict[bytes, tuple[str, float]] = {}
        self.last_with: dict[str, float] = {}
        self._router = Router(cluster)
        self._ring = ring
        self._model = model
        self._random = Random(seed)  # noqa: S311 - a test is to be repeated
        self._names: list[bytes] = []

    def fill(self, count: int, untouched: int) -> None:
        """Begin with so many values under old keys, and others that will never be written again."""
        for index in range(count + untouched):
            name = b"soak:%06d" % index
            self._write(name, self._random.randrange(1, len(self._ring.keys)), brief=False)
            if index < count:
                self._names.append(name)
            elif self._model.certain(name) is None:
                raise ServerError("the cluster does not confirm writes")

    def run(self) -> None:
        """Write."""
        while not self.over.wait(_PAUSE_SECONDS):
            with self.turn:
                self._step()

    def _step(self) -> None:
        name = self._random.choice(self._names)
        if not self._random.randrange(20):
            name = b"new:%08d" % self._random.randrange(10**8)
            self._names.append(name)
        old = self.laggards and not self._ring.fenced and not self._random.randrange(3)
        key = self._random.randrange(1, len(self._ring.keys)) if old else 0
        what, certain = self._random.randrange(8), self._model.certain(name)
        if what == 0:
            self._send(name, None, "DEL", name)
        elif what == 1 and certain is not None:
            at_ms = _FAR_MS + self._random.randrange(10**9)
            self._send(name, Held(certain.plaintext, at_ms), "PEXPIREAT", name, at_ms)
        elif what == 2 and certain is not None:
            self._send(name, Held(certain.plaintext, NEVER), "PERSIST", name)
        elif what == 3 and certain is not None:
            self._write(name, key, keep=certain.at_ms)
        else:
            self._write(name, key, brief=what == 4)

    def _write(
        self, name: bytes, key: int, *, brief: bool = False, keep: int | None = None
    ) -> None:
        """Overwrite a name or create it, under the key of that number."""
        plaintext = MARK + self._random.randbytes(self._random.randrange(200))
        value = self._ring.seal(name, plaintext, key, self._random.choice(list(BUILTIN)))
        self.last_under[name] = (self._ring.ids[key], time.monotonic())
        if keep is not None:
            # XX: should it expire just now, a new one would stay for ever.
            self._send(
                name, Held(plaintext, keep), "SET", name, value, "XX", "KEEPTTL", sure=keep == NEVER
            )
        else:
            at_ms = self._expiry(brief=brief)
            until = () if at_ms == NEVER else ("PXAT", at_ms)
            self._send(name, Held(plaintext, at_ms), "SET", name, value, *until)
        self.last_with[self._ring.ids[key]] = time.time()

    def _expiry(self, *, brief: bool) -> int:
        if brief:
            return int(time.time() * 1000) + self._random.randrange(1, _BRIEF_MS)
        far = _FAR_MS + self._random.randrange(10**9)
        return far if self._random.randrange(3) else NEVER

    def _send(self, name: bytes, state: Held | None, *command: Any, sure: bool = True) -> None:
        """Carry out one write and note what may be there now; not *sure*: it depends on a TTL."""
        before = self._model.certain(name)
        brief = before is not None and before.at_ms != NEVER and before.at_ms < _FAR_MS
        try:
            confirmed = self._router.write(name, *command)
        except NotDoneError:
            self._router.forget()
            self.over.wait(0.02)
            return
        except (RedisError, OSError):
            self._router.forget()
            self._model.tried(name, state)
            self.unconfirmed += 1
            return
        self.writes += 1
        depends = command[0] in {"PEXPIREAT", "PERSIST"} or not sure
        if confirmed and not (depends and brief):
            self._model.wrote(name, state)
        else:
            self._model.tried(name, state)
            self.unconfirmed += not confirmed


def holdings(cluster: LocalCluster, ring: Ring) -> dict[bytes, Found]:
    """What every name holds, read from the primaries."""
    found: dict[bytes, Found] = {}
    for node in cluster.primaries:
        with node.client() as client:
            names = list(client.scan_iter(count=1000))
            for name, value, at_ms in _read(client, names):
                if isinstance(value, bytes) and isinstance(at_ms, int) and at_ms != -2:
                    found[name] = ring.found(name, value, at_ms)
    return found


def _read(client: Redis, names: list[bytes]) -> list[tuple[bytes, Any, Any]]:
    pipe: Any = client.pipeline(transaction=False)
    for name in names:
        pipe.execute_command("GET", name)
        pipe.execute_command("PEXPIRETIME", name)
    replies = pipe.execute(raise_on_error=False) if names else []
    return list(zip(names, replies[::2], replies[1::2], strict=True))
