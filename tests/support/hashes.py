"""
Hashes with values in them: as .NET's cache has them, with TTLs of names and of fields.

    entries = fill(redis, place.cache, 500)
    place.run()
    check(redis, place.cache, entries)
"""

from random import Random

from redis.exceptions import ResponseError

from cluster.expiries import entries_of
from support.caches import FAR_MS, FORMATS
from support.server_versions import knows

PLAIN = {"absexp": "638500000000000000", "sldexp": "-1"}
"""Fields that are no values, as .NET's IDistributedCache keeps them beside `data`."""


def has_ttls(client):
    """Whether fields may have TTLs: from Redis 7.4 and Valkey 9 on."""
    return knows(client, "hpexpireat")


def expire(client, name, field, at_ms):
    """Have a field expire then; gives 1, or 2 if it is gone at once."""
    return client.execute_command("HPEXPIREAT", name, at_ms, "FIELDS", 1, field)[0]


def expiry_of(client, name, field):
    """When a field expires by itself: Unix milliseconds, -1 for never, -2 for no such field."""
    try:
        return client.execute_command("HPEXPIRETIME", name, "FIELDS", 1, field)[0]
    except ResponseError:  # such a server has no TTLs of fields
        return -1 if client.hexists(name, field) else -2


def put(client, cache, name, field="data", plaintext=b"hello", **sealed):
    """Store a value under one of the keys as a field; return it. *sealed* is as `Cache.seal`'s."""
    value = cache.seal(name, plaintext, **sealed)
    client.hset(name, field, value)
    return value


def fill(client, cache, names, *, fields=("data",), seed=1):
    """
    Store hashes, or so many: values under old keys in *fields*, plaintext in others, and TTLs.

    The answer maps each name and field to (plaintext, its expiry, that of the name).
    """
    random, entries, ttls = Random(seed), {}, has_ttls(client)
    if isinstance(names, int):
        names = [b"app:%06d" % number for number in range(names)]
    for number, name in enumerate(names):
        client.hset(name, mapping=PLAIN)
        of_name = FAR_MS + random.randrange(10**9) if number % 3 else -1
        for field in fields:
            plaintext = random.randbytes(random.randrange(0, 200))
            key = random.randrange(1, len(cache.keys))
            put(client, cache, name, field, plaintext, key=key, form=random.choice(FORMATS))
            at_ms = FAR_MS + random.randrange(10**9) if ttls and random.random() < 0.5 else -1
            if at_ms != -1:
                expire(client, name, field, at_ms)
            entries[name, field] = (plaintext, at_ms, of_name)
        if of_name != -1:
            client.pexpireat(name, of_name)
    return entries


def check(client, cache, entries, *, key=0):
    """See that each value is under the key of this number, and that nothing else is different."""
    names = sorted({name for name, _ in entries})
    expiries = {
        name: at_ms for name, (_, at_ms) in zip(names, entries_of(client, names), strict=True)
    }
    for (name, field), (plaintext, at_ms, of_name) in entries.items():
        opened = cache.open(name, client.hget(name, field))
        assert (opened.plaintext, opened.key.id) == (plaintext, cache.ids[key]), (name, field)
        assert (expiry_of(client, name, field), expiries[name]) == (at_ms, of_name), (name, field)
    for name in names:
        assert client.hmget(name, *PLAIN) == [text.encode() for text in PLAIN.values()]
