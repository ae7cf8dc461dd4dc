"""
The plain clients that rotator is measured against, as somebody would write them with redis-py.

`python plain_clients.py WAY CONFIG` walks over the server of a configuration in JSON
and prints how many values it did in how many seconds. On stderr it says when it begins and ends.
None of them compares before it sets, opens again what it encrypted, or looks for anything but one
format under the oldest key. None of rotator's code is in them: memory and start are their own.
"""

from __future__ import annotations

import base64
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
_TAG: Final = 16

Renew = Callable[[bytes, bytes], bytes]


class Renewal:
    """Takes values of one format from the oldest key to the current one."""

    def __init__(self, form: str, current: str, old: str) -> None:
        key = bytes.fromhex(current)
        self._header = _MAGIC + hmac.digest(key, b"rotator/key-id/v1", "sha256")[:_KEY_ID]
        self._current = AESGCM(key)
        self._old = AESGCM(bytes.fromhex(old))
        self.renew = getattr(self, form.replace("-", "_"))

    def sealed(self, name: bytes, value: bytes) -> bytes:
        """The same plaintext, encrypted anew; the header and the name are authenticated."""
        begin, end = _HEADER, _HEADER + _NONCE
        plaintext = self._old.decrypt(value[begin:end], value[end:], value[:begin] + name)
        nonce = os.urandom(_NONCE)
        sealed = self._current.encrypt(nonce, plaintext, self._header + name)
        return self._header + nonce + sealed

    def gcm(self, _name: bytes, value: bytes) -> bytes:
        """The same: nonce, ciphertext and tag."""
        plaintext = self._old.decrypt(value[:_NONCE], value[_NONCE:], None)
        nonce = os.urandom(_NONCE)
        return nonce + self._current.encrypt(nonce, plaintext, None)

    def gcm_base64(self, name: bytes, value: bytes) -> bytes:
        """The same in base64."""
        return base64.b64encode(self.gcm(name, base64.b64decode(value)))

    def hex(self, name: bytes, value: bytes) -> bytes:
        """The same in hex, with the tag before the ciphertext."""
        laid = bytes.fromhex(value.decode())
        tag = _NONCE + _TAG
        new = self.gcm(name, laid[:_NONCE] + laid[tag:] + laid[_NONCE:tag])
        return (new[:_NONCE] + new[-_TAG:] + new[_NONCE:-_TAG]).hex().encode()

    def text(self, name: bytes, value: bytes) -> bytes:
        """The same in pieces of base64, behind a version."""
        version, *pieces = value.split(b":")
        nonce, tag, ciphertext = map(base64.b64decode, pieces)
        new = self.gcm(name, nonce + ciphertext + tag)
        parts = (new[:_NONCE], new[-_TAG:], new[_NONCE:-_TAG])
        return b":".join([version, *map(base64.b64encode, parts)])


def pipelines(client: Redis, renew: Renew) -> int:
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


def plain(client: Redis, renew: Renew) -> int:
    """Page by page: MGET, then a pipeline of SETs: what costs the server least."""
    done = 0
    for names in pages(client):
        values: Any = client.mget(names)
        writing = client.pipeline(transaction=False)
        for name, value in zip(names, values, strict=True):
            writing.set(name, renew(name, value), keepttl=True, xx=True)
        writing.execute()
        done += len(names)
    return done


def reading(client: Redis, _renew: Renew) -> int:
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


WAYS: Final[dict[str, Callable[[Redis, Renew], int]]] = {
    "pipelines": pipelines,
    "plain": plain,
    "reading": reading,
}


def main(way: str, config: str) -> None:
    """Do it, and print what it took."""
    document = json.loads(Path(config).read_text(encoding="ascii"))
    cache, form = document["caches"][0], document["rotator"]["caches"]["bench"]["formats"][0]
    keys = cache["encryption"]["keys"]
    renew = Renewal(form, keys["current"], keys["old"][-1]).renew
    host, _, port = cache["redis"]["addresses"][0].rpartition(":")
    with Redis(host=host, port=int(port)) as client:
        client.ping()
        print('{"event": "begin"}', file=sys.stderr)
        began = time.perf_counter()
        done = WAYS[way](client, renew)
        seconds = time.perf_counter() - began
        print('{"event": "end"}', file=sys.stderr)
    print(json.dumps({"values": done, "seconds": seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
