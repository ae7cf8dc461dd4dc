"""One page: all of its names come to their outcomes, or none does."""

import pytest

from rotator.crypto.codec import Codec
from rotator.crypto.keyring import Key, Keyring
from rotator.crypto.layout import BUILTIN
from rotator.errors import LostError
from rotator.sweep.node.selector import Rotation
from rotator.sweep.node.visitor import Visitor
from rotator.tally.tally import Outcome, Tally
from support.caches import FAR_MS, Cache, store_of, user


@pytest.fixture
def cache(server, redis):  # noqa: ARG001 - redis empties the server first
    """The keys of a cache on the session's empty server."""
    return Cache(server.address)


@pytest.fixture
def make(cache, server):
    """Makes a visitor of that cache with a store of its own."""
    stores = []

    def made(login=(None, None), **settings):
        stores.append(store_of(server, *login))
        current, *old = (Key.from_text(key, "test") for key in cache.keys)
        codec = Codec(Keyring(current, old), list(BUILTIN.values()))
        settings = {"writes": True, "only_key": None, "largest": 1 << 29, **settings}
        rotation = Rotation(codec, **settings)
        return Visitor(stores[-1], codec, rotation, connect=None), stores[-1]

    yield made
    for store in stores:
        store.connection.close()


def outcomes(tally):
    """Those outcomes that are not zero."""
    return {str(outcome): count for outcome, count in tally.outcomes.items() if count}


def test_page(make, cache, redis):
    """Each name has its outcome, and the keys that were met are counted with sizes and expiries."""
    cache.put(redis, "a", key=0)
    rotated = cache.put(redis, "b", key=1)
    redis.rpush("list", "x")
    visitor, _ = make()
    tally = Tally()
    visitor.visit([b"a", b"b", b"list", b"gone"], tally)
    assert outcomes(tally) == {"current": 1, "rotated": 1, "not_string": 1, "gone": 1}
    key = tally.keys[cache.ids[1]]
    assert (key.found, key.rotated, key.remaining, key.size) == (1, 1, 0, len(rotated))
    assert tally.encryptions == 1
    assert visitor.rewritten == {b"b"}
    assert visitor.not_current([b"a", b"b", b"list", b"gone"]) == []  # all of it is tallied
    cache.put(redis, "list", key=1)
    assert visitor.not_current([b"a", b"b", b"list", b"gone"]) == [b"list"]


def test_same_name_twice(make, cache, redis):
    """A name that SCAN gave twice is visited twice, and rewritten once."""
    cache.put(redis, "a")
    visitor, _ = make()
    tally = Tally()
    visitor.visit([b"a", b"a", b"a"], tally)
    assert tally.visits == 3
    assert tally.outcomes[Outcome.ROTATED] == 1
    assert tally.outcomes[Outcome.CURRENT] == 2


def test_broken_off(make, cache, redis):
    """A page that breaks off leaves the tally as it was, but for the nonces that were used."""
    cache.put(redis, "a", key=0)
    cache.put(redis, "b", key=1)
    redis.set("foreign", "data")
    visitor, store = make()
    tally = Tally()
    visitor.visit([b"a"], tally)
    before = tally.to_dict()
    begin = store.start_compare_and_set

    def cut(swaps):
        redis.client_kill_filter(_type="normal", skipme=True)
        return begin(swaps)

    store.start_compare_and_set = cut
    with pytest.raises(LostError):
        visitor.visit([b"a", b"foreign", b"b"], tally)
    assert tally.to_dict() == {**before, "encryptions": 1}


def test_samples_are_bounded(make, redis):
    """Over several pages, too, at most a hundred undecryptable values are named."""
    visitor, _ = make()
    tally = Tally()
    names = [b"app:%d" % number for number in range(250)]
    redis.mset(dict.fromkeys(names, b"plain"))
    for start in range(0, 250, 90):
        visitor.visit(names[start : start + 90], tally)
    assert outcomes(tally) == {"undecryptable": 250}
    assert len(tally.problems[Outcome.UNDECRYPTABLE]) == 100
    assert tally.reasons == {"not_a_format": 250}


def test_reason_is_counted_as_it_is_shown(make, cache, redis):
    """A value that was copied to another name counts as such, not only in the sample."""
    redis.set("b", cache.put(redis, "a", form="sealed"))
    visitor, _ = make()
    tally = Tally()
    visitor.visit([b"a", b"b"], tally)
    assert tally.reasons == {"wrong_name": 1}


def test_suspects(make, cache, redis, server):
    """A suspect is what is not, or may not be, under the current key; what is gone is none."""
    cache.put(redis, "current", key=0)
    cache.put(redis, "old", key=1)
    redis.set("foreign", "data")
    redis.rpush("list", "x")
    cache.put(redis, "denied", key=0)
    names = [b"current", b"old", b"foreign", b"list", b"gone", b"denied"]
    rules = [f"~{name}" for name in ("current", "old", "foreign", "list", "gone")]
    with user(redis, "+@all", *rules) as login:
        visitor, _ = make(login)
        assert visitor.not_current(names) == [b"old", b"foreign", b"list", b"denied"]
    assert server.running


def test_reading(make, cache, redis):
    """A visitor that only reads counts what remains, with its expiry."""
    cache.put(redis, "a", at_ms=FAR_MS)
    cache.put(redis, "b")
    visitor, _ = make(writes=False)
    tally = Tally()
    visitor.visit([b"a", b"b"], tally)
    key = tally.keys[cache.ids[1]]
    assert outcomes(tally) == {"would_rotate": 2}
    assert (key.remaining, key.remaining_without_ttl) == (2, 1)
    assert int(key.drain.latest.timestamp() * 1000) >= FAR_MS
