"""
Caches to rotate: configurations with fresh keys, values under them, and runs over all of it.

    place = Place(tmp_path, Cache(server.address))
    place.cache.put(redis, "app:1", b"hello", key=1, form="gcm", ttl_ms=60_000)
    report = place.run(dry_run=True)
"""

import json
import secrets
import socket
import time
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from redis import Redis

from cluster.expiries import entries_of, put
from rotator.config.load import load
from rotator.config.types import Address
from rotator.crypto.codec import Codec, Opened
from rotator.crypto.keyring import Key, Keyring, generate
from rotator.crypto.layout import BUILTIN
from rotator.progress import Progress
from rotator.run.declared import declarations, other_listings
from rotator.run.job import Job
from rotator.server.connection import Connection, Login
from rotator.server.context import CacheContext
from rotator.server.scripts import FIELD_SCRIPT, FIELD_TTL_SCRIPT, Way
from rotator.server.store import Store
from rotator.server.transaction import Transaction
from rotator.state.state import State
from rotator.sweep.control import Orders, Stop, StopSignal
from rotator.sweep.scope import RunOptions
from rotator.tally.tally import Outcome
from support.server_versions import acl

FORMATS = tuple(BUILTIN)
FAR_MS = 4_102_444_800_000  # 2100-01-01: an expiry that no test lives to see

READING = ("ping", "hello", "select", "scan", "get", "mget", "info", "pttl")
"""The commands that a dry run cannot do without."""
WRITING = ("set", "watch", "unwatch", "multi", "exec")
"""Those that a run needs besides."""

JOB = {"wait", "refresh_files", "fence_at"}
"""What a job takes besides the options of the run."""

NO_FILES = {
    "assume": {file: {"is": "none", "reason": "a server of the tests"} for file in ("rdb", "aof")}
}
"""
Settings of a cache on a server that other tests use too: its counters are reset between them, so it
cannot show by itself that it never had a file.
"""


class Cache:
    """
    One cache of a configuration, and the keys that its values are under.

    Key 0 is the current one, those after it are old. *settings* is the cache's part of the
    `rotator` section, *redis* is added to its `redis` section.
    """

    def __init__(
        self,
        *addresses: str,
        name: str = "shared-redis",
        keys: list[str] | int = 3,
        settings: dict[str, Any] | None = None,
        redis: dict[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.keys = [generate() for _ in range(keys)] if isinstance(keys, int) else keys
        self.settings = settings or {}
        self.redis = {"addresses": list(addresses), **(redis or {})}

    @property
    def ids(self) -> list[str]:
        """The ids of the keys, in their order."""
        return [Key.from_text(key, "test").id for key in self.keys]

    @property
    def section(self) -> dict[str, Any]:
        """The cache as one of `caches` in the configuration."""
        current, *old = self.keys
        return {
            "name": self.name,
            "type": "redis",
            "encryption": {"keys": {"current": current, "old": old}},
            "redis": self.redis,
        }

    def seal(self, name: str | bytes, plaintext: bytes, *, key: int = 1, form: str = "gcm"):
        """A value that holds *plaintext* under one of the keys, to be stored as *name*."""
        codec = Codec(Keyring(Key.from_text(self.keys[key], "test")), [BUILTIN[form]])
        return codec.seal(as_bytes(name), plaintext)

    def put(  # noqa: PLR0917 - what an entry is made of
        self,
        client: Redis,
        name: str | bytes,
        plaintext: bytes = b"hello",
        key: int = 1,
        form: str = "gcm",
        at_ms: int | None = None,
    ) -> bytes:
        """Store a value under one of the keys, until *at_ms* (Unix milliseconds); return it."""
        value = self.seal(name, plaintext, key=key, form=form)
        put(client, name, value, at_ms)
        return value

    def open(self, name: str | bytes, value: bytes, *, form: str | None = None) -> Opened:
        """What a value holds, and the key and the format that it is in."""
        current, *old = (Key.from_text(key, "test") for key in self.keys)
        forms = [BUILTIN[form]] if form else list(BUILTIN.values())
        opened = Codec(Keyring(current, old), forms).open(as_bytes(name), value)
        assert isinstance(opened, Opened), f"{name!r}: {opened}"
        return opened

    def rotated(self, *, keys: int = 1) -> "Cache":
        """The same cache after its owner made *keys* new keys, the first of them current."""
        fresh = [generate() for _ in range(keys)]
        return Cache(
            name=self.name,
            keys=[*fresh, *self.keys],
            settings=self.settings,
            redis=self.redis,
        )


class Place:
    """A folder with a configuration of some caches and a state file, and runs over them."""

    def __init__(
        self,
        folder: Path,
        *caches: Cache,
        tls: dict[str, Any] | None = None,
        formats: dict[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        self.formats = formats or {}
        self.caches = caches
        self.file = folder / "maverics.json"
        self.state = folder / "state.sqlite"
        self._tls = tls
        self.configure(*caches)

    @property
    def cache(self) -> Cache:
        """The only cache, or the first."""
        return self.caches[0]

    def configure(self, *caches: Cache) -> None:
        """Write the configuration anew."""
        self.caches = caches
        self.file.write_text(
            json.dumps(
                {
                    "caches": [cache.section for cache in caches],
                    "rotator": {
                        "formats": self.formats,
                        "caches": {cache.name: cache.settings for cache in caches},
                    },
                    **({"tls": self._tls} if self._tls else {}),
                }
            )
        )

    def access(
        self, name: str | None = None, kind: type[CacheContext] = CacheContext
    ) -> CacheContext:
        """What it takes to use one cache."""
        config = load([self.file])
        return kind(config, config.cache(name or self.cache.name), None)

    def job(
        self,
        state: State,
        *names: str,
        kind: type[CacheContext] = CacheContext,
        stopper: StopSignal | None = None,
        quiet: timedelta = timedelta(hours=1),
        on_page=None,
        machines=None,
        **plan: Any,
    ) -> Job:
        """
        A job over the caches called *names*, or over all, done by *machines* if there are any.

        *on_page* is called after each page with the name of the phase and the page's number in it.
        """
        config = load([self.file])
        on = [one for one in config.caches if one.name in names or not one.encryption.disabled]
        every = {cache.name: kind(config, cache, None) for cache in on}
        ours = {name: plan.pop(name) for name in JOB & plan.keys()}
        options = RunOptions(**plan)
        return Job(
            config.files,
            [every[name] for name in names or every],
            options,
            declared={
                cache.name: declarations(
                    config,
                    cache,
                    accepted=options.accept,
                    outside=options.accept_outside,
                    empty=options.accept_empty,
                )
                for cache in on
            },
            listings=other_listings(config, None),
            **ours,
            keyrings={name: access.keyring for name, access in every.items()},
            state=state,
            stopper=stopper or StopSignal(),
            quiet=quiet,
            progress=lambda _cache, phase, _total: Pages(phase, on_page),
            show_names=True,
            machines=machines,
        )

    def run(self, *names: str, **settings: Any):
        """The report of such a job."""
        with State(self.state) as state:
            return self.job(state, *names, **settings).run()


class Pages(Progress):
    """Progress that tells a function of each page."""

    def __init__(self, phase: str, on_page) -> None:
        self._phase = phase
        self._on_page = on_page
        self._pages: list[tuple[int, int, int]] = []

    def advance(
        self,
        visits: int = 0,
        rotated: int = 0,
        left: int = 0,
        node: str = "",  # noqa: ARG002 - one list for all nodes
    ) -> None:
        """Another page is done."""
        self._pages.append((visits, rotated, left))
        if self._on_page is not None:
            self._on_page(self._phase, len(self._pages))


class StopAfter(StopSignal):
    """A wish to stop that comes after so many pages."""

    def __init__(self, pages: int, why: Stop = Stop.INTERRUPTED) -> None:
        super().__init__()
        self._pages = pages
        self._why = why

    def reason(self) -> Stop | None:
        """Asked before the job begins a cache and before each page; this counts down."""
        self._pages -= 1
        return self._why if self._pages < -1 else None


class PageControl:
    """The `Control` of a worker that runs by itself: stops, positions, and a call after a page."""

    def __init__(self, stop_after: int | None = None, on_page=None) -> None:
        self.pages = 0
        self.visits = 0
        self.rotated = 0
        self.left = 0
        self.saved: dict[str, dict[str, Any]] = {}
        self._stop_after = stop_after
        self._on_page = on_page

    def stop(self) -> Stop | None:
        """The wish to stop, after so many pages."""
        over = self._stop_after is not None and self.pages >= self._stop_after
        return Stop.INTERRUPTED if over else None

    def begin_nodes(self, names) -> None:
        """Nobody asks."""

    def end_node(self, node: str) -> None:
        """Nobody asks."""

    def orders(self) -> Orders:
        """Nothing is changed."""
        return Orders()

    def begun(self, place: str, visits: int, rotated: int, left: int) -> None:
        """Nobody asks."""

    def wait(self, node: str, reason: str | None) -> None:
        """Nobody watches."""

    def page_done(self, node: str, visits: int, rotated: int, left: int) -> None:
        """Count, and tell the test."""
        assert node
        self.pages += 1
        self.visits += visits
        self.rotated += rotated
        self.left += left
        if self._on_page is not None:
            self._on_page(self.pages)

    def save(self, node: str, position: dict[str, Any]) -> None:
        """Keep the position as a state file would: as text."""
        self.saved[node] = json.loads(json.dumps(position))

    def load(self, node: str) -> dict[str, Any] | None:
        """The position that was saved."""
        return self.saved.get(node)


def meddled(*, before_page=None, before_read=None, before_write=None):
    """
    An `Access` whose stores let somebody else go first.

    *before_page* is called with the number of names that SCAN is asked for, *before_read* with the
    names, *before_write* with the swaps, each with a fresh call of the server following: what they
    do to it happens at the worst moment there is.
    """
    nothing = lambda _: None  # noqa: E731 - a name for it
    early = (before_page or nothing, before_read or nothing, before_write or nothing)

    class LateAccess(CacheContext):
        def connect(self, address):
            store = LateStore(super().connect(address).connection)
            store.before_page, store.before_read, store.before_write = early
            return store

    return LateAccess


class LateStore(Store):
    """A store that lets somebody else go first; see `meddled`."""

    def start_pages(self, cursors, pattern, count):
        """Ask for pages."""
        self.before_page(count)
        return super().start_pages(cursors, pattern, count)

    def start_read(self, names):
        """Ask for values."""
        self.before_read(names)
        return super().start_read(names)

    def start_compare_and_set(self, swaps):
        """Begin to replace values; a transaction calls by itself."""
        if self.way is not Way.TRANSACTION:
            self.before_write(swaps)
        return super().start_compare_and_set(swaps)

    def start_calls(self, script, names, sizes, command):
        """Begin to call a script; for strings that was told already."""
        if script in {FIELD_SCRIPT, FIELD_TTL_SCRIPT}:
            self.before_write(names)
        return super().start_calls(script, names, sizes, command)

    def begin(self, names):
        """Begin a transaction."""
        self.before_read(names)
        begun = LateTransaction(self.connection, names, asking=self.asks)
        begun.before_write = self.before_write
        return begun


class LateTransaction(Transaction):
    """A transaction that lets somebody else go first."""

    def commit(self, swaps):
        """Replace values."""
        self.before_write(swaps)
        return super().commit(swaps)


def as_bytes(name: str | bytes) -> bytes:
    """A name as Redis stores it."""
    return name.encode() if isinstance(name, str) else name


def fill(client: Redis, cache: Cache, count: int, *, seed: int = 1, prefix: str = "app") -> dict:
    """
    Store *count* values under the old keys in the three formats, two in three with a TTL.

    The answer maps each name to (plaintext, key number, format, expiry in Unix milliseconds).
    """
    random = Random(seed)
    codecs = {
        (number, form): Codec(Keyring(Key.from_text(key, "test")), [BUILTIN[form]])
        for number, key in enumerate(cache.keys)
        for form in FORMATS
    }
    entries: dict[bytes, tuple[bytes, int, str, int]] = {}
    pipe = client.pipeline(transaction=False)
    for index in range(count):
        name = b"%s:%06d" % (prefix.encode(), index)
        plaintext = random.randbytes(random.randrange(0, 300))
        key = random.randrange(1, len(cache.keys))
        form = FORMATS[index % len(FORMATS)]
        at_ms = FAR_MS + random.randrange(10**9) if index // 3 % 3 else -1
        value = codecs[key, form].seal(name, plaintext)
        put(pipe, name, value, at_ms)
        entries[name] = (plaintext, key, form, at_ms)
        if index % 1000 == 999:
            pipe.execute()
    pipe.execute()
    return entries


def contents(client: Redis) -> dict[bytes, tuple[bytes, int]]:
    """Every string of the client's database, with its expiry in Unix milliseconds or -1."""
    names = sorted(client.scan_iter(count=1000, _type="string"))
    return dict(zip(names, entries_of(client, names), strict=True))


def keys_of(client: Redis, cache: Cache) -> Counter:
    """How many values of the client's database are under each key, by its number."""
    numbers = {key_id: number for number, key_id in enumerate(cache.ids)}
    return Counter(
        numbers[cache.open(name, value).key.id] for name, (value, _) in contents(client).items()
    )


@contextmanager
def user(client: Redis, *rules: str):
    """An ACL user with these rules for as long as the block lasts, as (name, password)."""
    name, password = f"u{secrets.token_hex(4)}", secrets.token_hex(8)
    told = acl(client, *rules)
    client.execute_command("ACL", "SETUSER", name, "reset", "on", f">{password}", *told)
    try:
        yield name, password
    finally:
        client.execute_command("ACL", "DELUSER", name)


def store_of(server, username: str | None = None, password: str | None = None) -> Store:
    """A store on a fresh connection to a private server."""
    address = Address("127.0.0.1", server.port)
    return Store(Connection(address, Login(username, password)).open())


@contextmanager
def held_port():
    """A port at which nobody listens, nor can while the block runs."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def wait_for(condition, seconds: float = 60.0) -> None:
    """Ask again and again until *condition* holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.005)


def wait_for_pages(client) -> None:
    """Wait until a run reads pages of names: it writes nothing to its state at that moment."""

    def pages():
        return client.info("commandstats").get("cmdstat_scan", {"calls": 0})["calls"]

    before = pages()
    wait_for(lambda: pages() > before + 10)


def counted(report, name: str | None = None) -> dict[str, int]:
    """The outcomes of a report's cache that are not zero."""
    cache = next(one for one in report.caches if name in {None, one.name})
    return {outcome: number for outcome, number in cache.outcomes.items() if number}


def old_key(report, key_id: str, name: str | None = None):
    """What a report says of one key."""
    cache = next(one for one in report.caches if name in {None, one.name})
    return next(key for key in cache.keys if key.id == key_id)


def now_ms() -> int:
    """The time of this machine in Unix milliseconds."""
    return int(datetime.now(UTC).timestamp() * 1000)


OUTCOMES = tuple(str(outcome) for outcome in Outcome)
