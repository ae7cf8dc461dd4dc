"""
Some values opened, and those to be moved re-encrypted, in one go.

What a sweep meets is nearly always a value that opens and is not nested. Those are settled here,
with little work for each. Whatever is different is left to be looked at one by one.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from rotator.crypto.codec import Codec
from rotator.crypto.keyring import Key
from rotator.server.scripts import Swap


@dataclass(slots=True)
class Batch:
    """
    What was found.

    *current* values, of *current_size* bytes together, are as they should be. *swaps* are what is
    to be written, each value having been under the key at the same place of *keys*. The indices in
    *kept* are of values that stay under the key beside them, with their sizes, those in *rest* of
    all others.
    """

    current: int = 0
    current_size: int = 0
    swaps: list[Swap] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)
    kept: list[tuple[int, Key, int]] = field(default_factory=list)
    rest: list[int] = field(default_factory=list)


def renew(
    codec: Codec,
    names: Sequence[bytes],
    values: Sequence[Any],
    movable: Collection[Key],
    largest: int,
) -> Batch:
    """
    Open *values*, stored as *names*, and re-encrypt those under one of the keys *movable*.

    What is no bytes, or more than *largest* of them, is left to be looked at.

    Raises:
        SelfCheckError: What was made does not open to the same plaintext.
    """
    batch = Batch()
    current, write = codec.keyring.current, codec.write
    likely, plain, inside = codec.likely, codec.plain, codec.inside
    # Asked for at once: a call to the operating system costs as much as half an encryption.
    nonces = os.urandom(len(names) * codec.nonce_size) if movable else b""
    used = 0
    for index, (name, value) in enumerate(zip(names, values, strict=True)):
        read = likely.get(value[:1]) if isinstance(value, bytes) else None
        found = read(name, value) if read is not None else None
        if read is not None and not isinstance(found, tuple):
            found = codec.read(name, value)
        if not isinstance(found, tuple):
            batch.rest.append(index)
            continue
        plaintext, key, reader = found
        if (
            (not plain(plaintext) and inside(name, plaintext))
            or (write is not None and write is not reader.format)
            or not reader.spells(value)
            or len(value) > largest
        ):
            batch.rest.append(index)
        elif key is current:
            batch.current += 1
            batch.current_size += len(value)
        elif key in movable:
            end = used + reader.nonce_size
            new = reader.seal(name, plaintext, nonces[used:end])
            used = end
            batch.swaps.append(Swap(name, value, new, reader.telling_size))
            batch.keys.append(key)
        else:
            batch.kept.append((index, key, len(value)))
    return batch
