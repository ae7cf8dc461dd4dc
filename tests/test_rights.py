"""Which rights a user lacks, found out without writing anything."""

import pytest
from caches import READING, WRITING, store_of, user

from rotator.errors import RightsError
from rotator.rights import demand_rights, missing_rights

EVERY = [f"+{command}" for command in (*READING, *WRITING) if command != "hello"]


@pytest.fixture
def limited(server, redis):
    """Makes a store of a user with these ACL rules."""
    opened = []

    def make(*rules):
        block = user(redis, *rules)
        store = store_of(server, *block.__enter__())
        opened.append((store, block))
        return store

    yield make
    for store, block in opened:
        store.connection.close()
        block.__exit__(None, None, None)


@pytest.mark.parametrize("right", EVERY)
def test_one_is_missing(limited, right):
    """Each right that is needed is named when it is missing, and no other."""
    store = limited("~*", "+@all", f"-{right[1:]}")
    assert missing_rights(store, writes=True) == [right]
    reads = right[1:] in READING
    assert missing_rights(store, writes=False) == ([right] if reads else [])


def test_none_is_missing(limited):
    """Those rights, for all names, are enough; for a dry run even without the right to write."""
    assert missing_rights(limited("~*", "-@all", *EVERY), writes=True) == []
    reading = [f"+{command}" for command in READING]
    store = limited("%R~*", "-@all", *reading)
    assert missing_rights(store, writes=False) == []
    demand_rights(store, writes=False)


def test_all_are_missing(limited):
    """All that are missing are named in one message, and the hint grants them."""
    store = limited("~*", "-@all", "+client")
    with pytest.raises(RightsError) as caught:
        demand_rights(store, writes=True)
    for right in EVERY:
        assert right in str(caught.value).split()
        assert right in caught.value.hint.split()


def test_within_the_pattern(limited):
    """A user who may only use some names is asked about a name among them."""
    store = limited("~app:*", "+@all")
    assert missing_rights(store, writes=True, pattern="app:*") == []


def test_nothing_is_written(limited, redis):
    """Asking leaves the data as it is, even if the pattern is the name of an entry."""
    redis.set("app:1", "x")
    before = redis.execute_command("DEBUG", "DIGEST")
    missing_rights(limited("~*", "+@all"), writes=True)
    missing_rights(limited("~*", "+@all"), writes=True, pattern="app:1")
    assert redis.execute_command("DEBUG", "DIGEST") == before
