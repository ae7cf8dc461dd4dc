"""
Applications that write beside a run: nothing of theirs is lost, revived or given another TTL.

The writers note all they do and what they see. Each name belongs to one writer, so that the last
entry of its journal says what Redis must hold in the end.
"""

import threading
from dataclasses import dataclass
from random import Random

import pytest

from cluster.expiries import entries_of, expiry_of
from rotator.sweep.control import Stop, StopSignal
from rotator.sweep.scope import Limits
from support.caches import FAR_MS, FORMATS, counted, keys_of, meddled, now_ms, wait_for

pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
NAMES = 120  # of each writer
PAGE = 40
DEEDS = ("set", "set", "keep", "delete", "expire", "persist", "rename", "short", "old")
RUNS = 4


@dataclass
class Held:
    """What a name must hold: a plaintext until a time in Unix milliseconds, -1 for ever."""

    plaintext: bytes
    at_ms: int


class Writer(threading.Thread):
    """
    An application with names of its own, which it treats as it likes, until it is told to stop.

    *journal* is what each name must hold now; a name that is not in it must not exist. Values are
    under the current key, or under an old one as a writer has it that was not restarted yet.
    """

    def __init__(self, server, cache, number: int, *, old: bool) -> None:
        super().__init__(daemon=True)
        self._client = server.client()
        self._cache = cache
        self._random = Random(number)
        self._prefix = f"app{number}"
        self._deeds = DEEDS if old else DEEDS[:-1]
        self._serial = 0
        self._stopping = threading.Event()
        self.names = [f"{self._prefix}:{index}" for index in range(NAMES)]
        self.journal: dict[str, Held] = {}
        self.done: dict[str, int] = dict.fromkeys(DEEDS, 0)
        self.faults: list[str] = []
        for name in self.names:
            self._put(name, key=self._random.choice((1, 2)), at_ms=self._expiry())

    def _expiry(self) -> int:
        return self._random.choice((-1, FAR_MS + self._random.randrange(10**9)))

    def _put(self, name: str, *, key: int, at_ms: int) -> None:
        self._serial += 1
        plaintext = f"{self._prefix} {self._serial}".encode()
        form = self._random.choice(FORMATS)
        self._cache.put(
            self._client, name, plaintext, key, form, at_ms=None if at_ms == -1 else at_ms
        )
        self.journal[name] = Held(plaintext, at_ms)

    def run(self) -> None:
        """Do one thing after the other."""
        while not self._stopping.is_set():
            name = self._random.choice(self.names)
            deed = self._random.choice(self._deeds)
            getattr(self, f"do_{deed}")(name)
            self.done[deed] += 1
            self._check(self._random.choice(self.names))

    def stop(self) -> None:
        """Tell it to stop, and wait until it has."""
        assert self.is_alive(), "the writer has ended by itself"
        self._stopping.set()
        self.join()
        self._client.close()

    def do_set(self, name: str) -> None:
        """Write under the current key."""
        self._put(name, key=0, at_ms=self._expiry())

    def do_old(self, name: str) -> None:
        """Write under an old key."""
        self._put(name, key=1, at_ms=self._expiry())

    def do_keep(self, name: str) -> None:
        """Write under the current key, with the TTL that there is."""
        held = self._lasting(name)
        if held is not None:
            value = self._cache.seal(name, b"kept", key=0, form="gcm")
            assert self._client.set(name, value, keepttl=True)
            self.journal[name] = Held(b"kept", held.at_ms)

    def do_delete(self, name: str) -> None:
        """Delete."""
        self._client.delete(name)
        self.journal.pop(name, None)

    def do_expire(self, name: str) -> None:
        """Give another TTL."""
        at_ms = FAR_MS + self._random.randrange(10**9)
        if self._client.pexpireat(name, at_ms):
            self.journal[name].at_ms = at_ms

    def do_persist(self, name: str) -> None:
        """Take the TTL away."""
        if name in self.journal and self._client.exists(name):
            self._client.persist(name)
            if expiry_of(self._client, name) == -1:
                self.journal[name].at_ms = -1

    def do_rename(self, name: str) -> None:
        """Move to another name, over what is there."""
        target = self._random.choice(self.names)
        held = self._lasting(name)
        # A sealed value is bound to its name; this writer knows better than to move one.
        if held is None or target == name or self._client.get(name).startswith(b"ROT\x01"):
            return
        self._client.rename(name, target)
        self.journal[target] = self.journal.pop(name)

    def do_short(self, name: str) -> None:
        """Write under an old key, for a moment only."""
        self._put(name, key=1, at_ms=now_ms() + self._random.randrange(1, 40))

    def _lasting(self, name: str) -> Held | None:
        """What a name must hold, unless it may expire at any moment."""
        held = self.journal.get(name)
        return held if held and (held.at_ms == -1 or held.at_ms >= FAR_MS) else None

    def _check(self, name: str) -> None:
        """Compare one name with the journal, while the run is at work."""
        [(value, at_ms)] = entries_of(self._client, [name])
        self.faults += self.compare(name, value, at_ms)

    def compare(self, name: str, value: bytes | None, at_ms: int) -> list[str]:
        """What is wrong with what a name holds, in words."""
        held = self.journal.get(name)
        if value is None:
            late = held is not None and held.at_ms != -1 and held.at_ms <= now_ms() + 1
            return [] if held is None or late else [f"{name} is lost"]
        if held is None:
            return [f"{name} has come back"]
        found = []
        plaintext = self._cache.open(name, value).plaintext
        if plaintext != held.plaintext:
            found.append(f"{name} holds {plaintext!r} instead of {held.plaintext!r}")
        if at_ms != held.at_ms:
            found.append(f"{name} expires at {at_ms} instead of {held.at_ms}")
        return found


@pytest.fixture
def writers(request, server, place):
    """Two applications at work; with an old key, too, if the parameter says so."""
    at_work = [Writer(server, place.cache, number, old=request.param) for number in (1, 2)]
    for writer in at_work:
        writer.start()
    yield at_work
    for writer in at_work:
        if writer.is_alive():
            writer.stop()


def everything_as_written(redis, writers):
    """What differs in the end from what the writers wrote, and which names nobody wrote."""
    faults = [fault for writer in writers for fault in writer.faults]
    for writer in writers:
        for name in writer.names:
            faults += writer.compare(name, *entries_of(redis, [name])[0])
    known = {name for writer in writers for name in writer.names}
    strangers = {name.decode() for name in redis.scan_iter()} - known
    return faults + sorted(strangers)


def paced(writers, deeds=20):
    """An access whose every write comes late: the writers do so much since the values were read."""

    def wait(_swaps):
        before = total(writers)
        wait_for(lambda: total(writers) >= before + deeds)

    return meddled(before_write=wait)


def total(writers):
    """How much the writers have done."""
    return sum(sum(writer.done.values()) for writer in writers)


@pytest.mark.parametrize("writers", [False], indirect=True)
def test_with_the_current_key(place, redis, writers):
    """Beside writers that have the current key, everything gets there, and nothing is harmed."""
    for _ in range(RUNS):
        report = place.run(page=PAGE, verify=False, kind=paced(writers))
        assert sum(counted(report).values()) == report.caches[0].visits
        assert report.caches[0].complete
    for writer in writers:
        writer.stop()
    assert everything_as_written(redis, writers) == []
    assert all(writer.done[deed] for writer in writers for deed in DEEDS[:-1])
    final = place.run()
    assert set(keys_of(redis, place.cache)) == {0}
    assert final.exit_code == 0


@pytest.mark.usefixtures("cursors")
@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("writers", [False], indirect=True)
def test_as_fast_as_can_be(place, redis, writers, workers, kills):
    """The same holds at full speed, with several cursors, and with several workers on the node."""
    still = [f"still:{number}" for number in range(1_000)]
    for _ in range(kills):
        for name in still:
            place.cache.put(redis, name, b"still", key=1, at_ms=FAR_MS)
        report = place.run(page=PAGE, workers=workers, limits=Limits(latency=None), verify=False)
        assert report.caches[0].complete
        opened = [place.cache.open(name, redis.get(name)) for name in still]
        assert {(one.key.id, one.plaintext) for one in opened} == {(place.cache.ids[0], b"still")}
        assert {at_ms for _, at_ms in entries_of(redis, still)} == {FAR_MS}
        redis.delete(*still)
    for writer in writers:
        writer.stop()
    assert everything_as_written(redis, writers) == []


@pytest.mark.parametrize("writers", [True], indirect=True)
def test_with_an_old_key(place, redis, writers):
    """Beside writers that still have an old key nothing is harmed, and the key is in use."""
    report = place.run(page=PAGE, kind=paced(writers))
    assert report.caches[0].complete
    verdict = next(key.verdict for key in report.caches[0].keys if key.id == place.cache.ids[1])
    assert verdict in {"in-use", "draining", "unknown"}
    for writer in writers:
        writer.stop()
    assert everything_as_written(redis, writers) == []
    place.run()
    assert set(keys_of(redis, place.cache)) == {0}


@pytest.mark.parametrize("writers", [False], indirect=True)
def test_interrupted_again_and_again(place, redis, writers):
    """Runs that are stopped in the middle, with writers at work, harm nothing either."""

    class Impatient(StopSignal):
        """Stops at every seventh question."""

        asked = 0

        def reason(self):
            """A wish to stop, now and then."""
            self.asked += 1
            return Stop.INTERRUPTED if self.asked % 7 == 0 else None

    codes = set()
    for _ in range(12):
        report = place.run(page=5, verify=False, stopper=Impatient(), kind=paced(writers))
        codes.add(report.exit_code)
    for writer in writers:
        writer.stop()
    assert 130 in codes
    assert everything_as_written(redis, writers) == []
    place.run()
    assert set(keys_of(redis, place.cache)) == {0}
