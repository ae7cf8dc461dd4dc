"""
What is in the cache of a trial, written and read without any of rotator's own code.

The formats are those that the README describes: `gcm` is nonce, ciphertext and tag, `gcm-base64`
the same in base64, `sealed` a header that names the key before it, with header and name bound.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Mapping
from random import Random
from typing import Any, Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cluster.expiries import entries_of, expiry_of, put

MARK: Final = b"plaintext-of-a-trial:"
FAR_MS: Final = 4_102_444_800_000  # 2100-01-01
STRINGS: Final = 180
FIELDS: Final = 20
CURRENT: Final = 15  # of the strings, under the current key already
PLAIN: Final = 20
TAGS: Final = 12  # of names: so many slots, or a cluster would be asked for each name by itself
HASH: Final = b"hash:1"
_HEADER: Final = b"ROT\x01"
_NONCE: Final = 12
_FORMS: Final = ("gcm", "gcm-base64", "sealed")


class Key:
    """Key: one AES-256-GCM key; *id* is what rotator calls it."""

    def __init__(self) -> None:
        material = os.urandom(32)
        self.text = material.hex()
        self.id_bytes = hmac.digest(material, b"rotator/key-id/v1", hashlib.sha256)[:8]
        self.id = self.id_bytes.hex()
        self.cipher = AESGCM(material)

    def seal(self, form: str, name: bytes, plaintext: bytes) -> bytes:
        """Return a value of one of the formats."""
        nonce = os.urandom(_NONCE)
        if form == "sealed":
            header = _HEADER + self.id_bytes
            return header + nonce + self.cipher.encrypt(nonce, plaintext, header + name)
        raw = nonce + self.cipher.encrypt(nonce, plaintext, None)
        return base64.b64encode(raw) if form == "gcm-base64" else raw

    def open(self, form: str, name: bytes, value: bytes) -> bytes | None:
        """Return what a value of that format holds; None if it is not under this key."""
        aad, raw = None, value
        if form == "sealed":
            if value[:12] != _HEADER + self.id_bytes:
                return None
            aad, raw = value[:12] + name, value[12:]
        try:
            raw = base64.b64decode(raw, validate=True) if form == "gcm-base64" else raw
            return self.cipher.decrypt(raw[:_NONCE], raw[_NONCE:], aad)
        except (ValueError, InvalidTag):
            return None


Place = tuple[bytes, bytes | None]
"""A name, and the field if it is a hash."""


class Entry(NamedTuple):
    """
    What an application has stored: *value* holds *plaintext* in *form* under key number *key*.

    *at_ms* is when the name expires, *field_at_ms* when the field does: Unix milliseconds, or -1.
    *key* is None for what is not encrypted.
    """

    plaintext: bytes
    key: int | None
    form: str
    value: bytes
    at_ms: int = -1
    field_at_ms: int = -1


class Found(NamedTuple):
    """What a server has in a place."""

    value: bytes
    at_ms: int
    field_at_ms: int


def make(keys: list[Key], seed: int, *, plain: bool) -> dict[Place, Entry]:
    """Return what an application has stored; with *plain* some of it is not encrypted."""
    random = Random(seed)  # noqa: S311 - a trial is to be repeated
    entries: dict[Place, Entry] = {}
    for number in range(STRINGS):
        key = 0 if number < CURRENT else 1 + number % 2
        at_ms = FAR_MS + random.randrange(10**9) if number % 3 else -1
        name = b"app:{%d}:%03d" % (number % TAGS, number)
        entries[name, None] = sealed(keys[key], key, name, number, random, at_ms)
    for number in range(FIELDS):
        key, field = 1 + number % 2, b"field:%02d" % number
        at_ms = FAR_MS + random.randrange(10**9) if number % 4 == 0 else -1
        one = sealed(keys[key], key, HASH, number, random, FAR_MS + seed)
        entries[HASH, field] = one._replace(field_at_ms=at_ms)
    for number in range(PLAIN if plain else 0):
        # A short text could be a raw value by chance, so `adopt` would leave it.
        text = b'{"%s": %d, "padding": "%s"}' % (MARK, number, b"-" * 100)
        name = b"plain:{%d}:%03d" % (number % TAGS, number)
        entries[name, None] = Entry(text, None, "", text, FAR_MS + number)
    return entries


def sealed(  # noqa: PLR0917 - what an entry is made of
    key: Key, number: int, name: bytes, index: int, random: Random, at_ms: int
) -> Entry:
    """Return an entry under a key, in one of the formats."""
    form = _FORMS[index % len(_FORMS)]
    plaintext = MARK + random.randbytes(random.randrange(120))
    return Entry(plaintext, number, form, key.seal(form, name, plaintext), at_ms)


def store(client: Any, entries: Mapping[Place, Entry], *, field_ttls: bool) -> None:
    """Write entries through a client or a pipeline of one; fields expire where servers know it."""
    for (name, field), entry in entries.items():
        if field is None:
            put(client, name, entry.value, entry.at_ms)
            continue
        client.hset(name, field, entry.value)
        if field_ttls and entry.field_at_ms >= 0:
            client.execute_command("HPEXPIREAT", name, entry.field_at_ms, "FIELDS", 1, field)
        client.pexpireat(name, entry.at_ms)


def read(client: Any, *, field_ttls: bool) -> dict[Place, Found]:
    """Return all that a server has in database 0."""
    found: dict[Place, Found] = {}
    strings = list(client.scan_iter(count=1000, _type="string"))
    for name, (value, at_ms) in zip(strings, entries_of(client, strings), strict=True):
        if value is not None:
            found[name, None] = Found(value, at_ms, -1)
    for name in client.scan_iter(count=1000, _type="hash"):
        at_ms = expiry_of(client, name)
        fields: dict[bytes, bytes] = client.hgetall(name)
        ttls = [-1] * len(fields)
        if field_ttls:
            ttls = client.execute_command("HPEXPIRETIME", name, "FIELDS", len(fields), *fields)
        for (field, value), ttl in zip(fields.items(), ttls, strict=True):
            found[name, field] = Found(value, at_ms, int(ttl))
    return found
