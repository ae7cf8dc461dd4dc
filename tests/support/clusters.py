"""
Clusters to rotate: values on every node, writers that change them meanwhile, and what must hold.

    entries = fill(cluster, cache, 3000)
    with Rival(cluster, cache, entries) as rival:
        place.run()
    check(cluster, cache, rival.expected)
"""

import threading
import time
from contextlib import contextmanager
from random import Random

from redis import Redis
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import RedisError
from redis.retry import Retry

from cluster.expiries import entries_of, put
from rotator.crypto.codec import Codec, Opened
from rotator.crypto.keyring import Key, Keyring
from rotator.crypto.layout import BUILTIN
from rotator.demo.local_server import LocalServer
from support.caches import FAR_MS, FORMATS, as_bytes

DRIFT_MS = 5000
"""How far an expiry may be off after MIGRATE."""
BRIEF_MS = 300
"""How long the briefest values are there, at most."""
FAST = {"patience": 15.0}
"""Plan for clusters whose node timeout is short."""


def owners(cluster):
    """The node that owns each slot, by slot."""
    return {
        slot: node
        for node in cluster.primaries
        for first, last in cluster.member(node).slots
        for slot in range(first, last + 1)
    }


def names_in(slots, count, prefix="app"):
    """So many names, the slots of which are among *slots*."""
    found = []
    index = 0
    while len(found) < count:
        name = f"{prefix}:{index:06d}".encode()
        if key_slot(name) in slots:
            found.append(name)
        index += 1
    return found


def tagged(slot, count, prefix="app"):
    """So many names of one slot."""
    tag = next(str(n) for n in range(10**6) if key_slot(str(n).encode()) == slot)
    return [f"{prefix}:{{{tag}}}:{index}".encode() for index in range(count)]


def made(cache, names, seed=1, forms=FORMATS):
    """
    An entry under an old key for each name, two in three with a TTL.

    Maps it to (plaintext, value, expiry in Unix milliseconds or -1).
    """
    random = Random(seed)
    codecs = [
        Codec(Keyring(Key.from_text(key, "test")), [BUILTIN[form]])
        for key in cache.keys[1:]
        for form in forms
    ]
    entries = {}
    for index, name in enumerate(names):
        plaintext = random.randbytes(random.randrange(0, 200))
        at_ms = FAR_MS + random.randrange(10**9) if index % 3 else -1
        entries[name] = (plaintext, codecs[index % len(codecs)].seal(name, plaintext), at_ms)
    return entries


def store(cluster, entries):
    """Put entries where their slots are; gives what `check` expects of them."""
    homes = owners(cluster)
    pipes = {node: node.client().pipeline(transaction=False) for node in set(homes.values())}
    for name, (_, value, at_ms) in entries.items():
        put(pipes[homes[key_slot(name)]], name, value, at_ms)
    for pipe in pipes.values():
        pipe.execute()
    return {name: (plaintext, at_ms) for name, (plaintext, _, at_ms) in entries.items()}


def fill(cluster, cache, count, seed=1, prefix="app"):
    """Values under old keys in every slot; gives what `check` expects of them."""
    names = [f"{prefix}:{index:06d}".encode() for index in range(count)]
    return store(cluster, made(cache, names, seed))


def flush(cluster):
    """Empty every node, and forget what was counted."""
    for node in cluster.primaries:
        with node.client() as client:
            client.flushall()
            client.config_resetstat()


def read(cluster, names):
    """What each name holds and until when, read from the owners of their slots."""
    homes = owners(cluster)
    by_node = {}
    for name in names:
        by_node.setdefault(homes[key_slot(name)], []).append(name)
    found = {}
    for node, here in by_node.items():
        found |= dict(zip(here, entries_of(node.client(), here), strict=True))
    return found


def check(cluster, cache, expected, *, moved=()):
    """
    Each name holds what is *expected*, under the current key, until the same millisecond.

    *expected* maps names to (plaintext, expiry), or to None where there must be nothing. In slots
    that were *moved* expiries may differ by what MIGRATE took: it sends how long is left.
    """
    judge(cache, read(cluster, expected), expected, moved=moved)


def judge(cache, found, expected, *, moved=()):
    """The same for what was *found*."""
    codec = codec_of(cache)
    for name, entry in expected.items():
        value, at_ms = found[name]
        if entry is None:
            assert value is None, f"{name!r} was resurrected"
            continue
        assert value is not None, f"{name!r} is lost"
        opened = codec.open(name, value)
        assert isinstance(opened, Opened), f"{name!r} does not open"
        if moved and key_slot(name) in moved and at_ms != -1 != entry[1]:
            assert abs(at_ms - entry[1]) < DRIFT_MS
            at_ms = entry[1]
        assert (opened.plaintext, at_ms) == entry, f"{name!r} is not what it was"
        assert opened.key.id == cache.ids[0], f"{name!r} is under an old key"


def codec_of(cache):
    """A codec that opens everything that *cache* may hold."""
    current, *old = (Key.from_text(key, "test") for key in cache.keys)
    return Codec(Keyring(current, old), [BUILTIN[form] for form in FORMATS])


def remaining(cluster, cache):
    """How many values of the cluster, on nodes that own their slots or not, are under old keys."""
    codec, count = codec_of(cache), 0
    for node in cluster.primaries:
        with node.client() as client:
            names = list(client.scan_iter(count=1000))
            if not names:
                continue
            pipe = client.pipeline(transaction=False)
            for name in names:
                pipe.execute_command("ASKING")
                pipe.get(name)
            values = pipe.execute(raise_on_error=False)[1::2]
        for name, value in zip(names, values, strict=True):
            opened = codec.open(name, value) if isinstance(value, bytes) else None
            current = isinstance(opened, Opened) and opened.key.id == cache.ids[0]
            count += value is not None and not current  # None: deleted just now
    return count


class Rival:
    """
    An application that goes on while the cache is rotated.

    It writes under some *keys* of the cache: 0 is the current one. It overwrites, deletes, creates
    and changes expiries, as fast as it can, among the names that are there and names of its own.
    *expected* is what must be there in the end: what it did last, or what was there. A name of
    which it did not hear whether the write was done is left out.
    """

    def __init__(self, connect, cache, expected, *, keys=(0,), seed=1):
        self.expected = dict(expected)
        self.writes = 0
        self.failures = 0
        self._connect = connect
        self._cache = cache
        self._random = Random(seed)
        self._codecs = [
            Codec(Keyring(Key.from_text(cache.keys[key], "test")), [BUILTIN["gcm"]]) for key in keys
        ]
        self._names = list(expected)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        client = self._connect()
        while not self._over.is_set():
            name = self._random.choice(self._names)
            try:
                self._write(client, name)
                self.writes += 1
            except (RedisError, OSError, AttributeError):
                self.failures += 1
                self.expected.pop(name, None)
                self._over.wait(0.02)

    def _write(self, client, name):
        what = self._random.randrange(7)
        at_ms = FAR_MS + self._random.randrange(10**9)
        plaintext = self._random.randbytes(self._random.randrange(1, 200))
        before = self.expected.get(name)
        if what == 0:
            name = b"rival:%d" % self._random.randrange(10**6)
            put(client, name, self._seal(name, plaintext), at_ms)
            self.expected[name] = (plaintext, at_ms)
        elif what == 1:
            client.delete(name)
            self.expected[name] = None
        elif what == 2:
            client.set(name, self._seal(name, plaintext))
            self.expected[name] = (plaintext, -1)
        elif what == 6:
            client.set(name, self._seal(name, plaintext), px=self._random.randrange(1, BRIEF_MS))
            self.expected[name] = None
        elif name in self.expected and before is not None:
            self._change(client, name, before, what, (plaintext, at_ms))

    def _change(self, client, name, before, what, fresh):
        plaintext, at_ms = fresh
        if what == 3:
            client.set(name, self._seal(name, plaintext), keepttl=True)
            self.expected[name] = (plaintext, before[1])
        elif what == 4:
            client.pexpireat(name, at_ms)
            self.expected[name] = (before[0], at_ms)
        else:
            client.persist(name)
            self.expected[name] = (before[0], -1)

    def _seal(self, name, plaintext):
        return self._random.choice(self._codecs).seal(name, plaintext)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join(30)
        assert not self._thread.is_alive()
        time.sleep(BRIEF_MS / 1000)  # until what was to be there briefly has expired


class Router:
    """A cluster client as small as can be: it follows MOVED and ASK, and nothing else."""

    def __init__(self, cluster):
        self._clients = {node.port: plain(node) for node in cluster.nodes}
        self._homes = {slot: node.port for slot, node in owners(cluster).items()}

    def __getattr__(self, command):
        def call(name, *arguments, **options):
            port, asking = self._homes[key_slot(as_bytes(name))], False
            for _ in range(20):
                client = self._clients[port]
                pipe = client.pipeline(transaction=False)
                if asking:
                    pipe.execute_command("ASKING")
                getattr(pipe, command)(name, *arguments, **options)
                reply = pipe.execute(raise_on_error=False)[-1]
                if not isinstance(reply, Exception):
                    return reply
                text = f"{getattr(reply, 'status_code', '')} {reply}"
                if not text.startswith(("MOVED", "ASK")):
                    raise reply
                port, asking = int(text.rpartition(":")[2]), text.startswith("ASK")
                if not asking:
                    self._homes[key_slot(as_bytes(name))] = port
            raise RedisError(f"redirected without end: {text}")

        return call


def plain(node, **settings) -> Redis:
    """A client that never tries twice, so that an answer means that the write was done once."""
    return node.client(retry=Retry(NoBackoff(), 0), socket_timeout=2, **settings)


@contextmanager
def once(condition, act):
    """An `on_page` that acts once, after the first page at which a condition holds."""
    done = []

    def on_page(phase, page):
        if phase in {"rotating", "looking"} and not done and condition(page):
            done.append(page)
            act()

    yield on_page
    assert done, "the sweep was over before it came to that"


def at_page(number, act):
    """An `on_page` that acts once, after so many pages."""
    return once(lambda page: page >= number, act)


def calls(node, command):
    """How often a command was called on a node."""
    with node.client() as client:
        return client.info("commandstats").get(f"cmdstat_{command}", {}).get("calls", 0)


def grown(node, command="mget"):
    """A condition: that a command was called on a node since this was first asked."""
    seen = []

    def condition(_page):
        seen.append(calls(node, command))
        return seen[-1] > seen[0]

    return condition


def verdicts(report):
    """The verdicts on the old keys of a report."""
    return {key.verdict for cache in report.caches for key in cache.keys if key.role == "old"}


def lone_node():
    """A node of a cluster that knows no other yet, and owns no slot."""
    return LocalServer("--cluster-enabled", "yes")
