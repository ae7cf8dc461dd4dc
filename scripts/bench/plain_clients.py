"""
The plain clients that rotator is measured against, as somebody would write them with redis-py.

`python plain_clients.py WAY CONFIG VALUES` walks over the server of a configuration in JSON
and prints how many values it did in how many seconds. On stderr it says when it begins and ends.
None of them compares before it sets, opens again what it encrypted, or looks for anything but one
format under one key. None of rotator's code is in them, so that memory and start are their own.
"""

from __future__ import annotations

import hmac
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from redis import Redis

PAGE: Final = 500
_MAGIC: Final = b"\x52\x4f\x54\x01"  # what every `sealed` value begins with
_KEY_ID: Final = 8
_HEADER: Final = len(_MAGIC) + _KEY_ID
_NONCE: Final = 12


class Renewal:
    """Takes `sealed` values from the old key to the current one."""

    def __init__(self, current: str, old: str) -> None:
        key = bytes.fromhex(current)
        self._header = _MAGIC + hmac.digest(key, b"rotator/key-id/v1", "sha256")[:_KEY_ID]
        self._current = AESGCM(key)
        self._old = AESGCM(bytes.fromhex(old))

    def __call__(self, name: bytes, value: bytes) -> bytes:
        """The same plaintext, encrypted anew."""
        begin, end = _HEADER, _HEADER + _NONCE
        plaintext = self._old.decrypt(value[begin:end], value[end:], value[:begin] + name)
        nonce = os.urandom(_NONCE)
        sealed = self._current.encrypt(nonce, plaintext, self._header + name)
        return self._header + nonce + sealed


def loop(client: Redis, renew: Renewal, values: int) -> int:
    """One value after the other, four commands each; stops after so many *values*."""
    done = 0
    for name in client.scan_iter():
        value: Any = client.get(name)
        ttl: Any = client.pttl(name)
        client.set(name, renew(name, value), px=ttl if ttl > 0 else None)
        done += 1
        if done == values:
            break
    return done


def pipelines(client: Redis, renew: Renewal, _values: int) -> int:
    """Page by page: a pipeline of GETs, then one of SETs."""
    done = 0
    for names in pages(client):
        reading = client.pipeline(transaction=False)
        for name in names:
            reading.get(name)
        writing = client.pipeline(transaction=False)
        for name, value in zip(names, reading.execute(), strict=True):
            writing.set(name, renew(name, value), keepttl=True)
        writing.execute()
        done += len(names)
    return done


def reading(client: Redis, _renew: Renewal, _values: int) -> int:
    """Page by page: SCAN and MGET, and nothing done with it."""
    done = 0
    for names in pages(client):
        values: Any = client.mget(names)
        done += len(values)
    return done


def pages(client: Redis) -> Iterator[list[bytes]]:
    """The names of the database, as SCAN gives them."""
    cursor = 0
    while True:
        reply: Any = client.scan(cursor, count=PAGE)
        cursor, names = reply
        if names:
            yield names
        if cursor == 0:
            return


WAYS: Final[dict[str, Callable[[Redis, Renewal, int], int]]] = {
    "loop": loop,
    "pipelines": pipelines,
    "reading": reading,
}


def main(way: str, config: str, values: str) -> None:
    """Do it, and print what it took."""
    cache = json.loads(Path(config).read_text(encoding="ascii"))["caches"][0]
    keys = cache["encryption"]["keys"]
    renew = Renewal(keys["current"], keys["old"][0])
    host, _, port = cache["redis"]["addresses"][0].rpartition(":")
    with Redis(host=host, port=int(port)) as client:
        client.ping()
        print('{"event": "begin"}', file=sys.stderr)
        began = time.perf_counter()
        done = WAYS[way](client, renew, int(values))
        seconds = time.perf_counter() - began
        print('{"event": "end"}', file=sys.stderr)
    print(json.dumps({"values": done, "seconds": seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
