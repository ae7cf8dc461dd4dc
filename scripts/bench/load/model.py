"""
What must be in the server: each name's last value, and when it expires; nothing of rotator's.

A name is one number. Even an answer that comes late tells what is true, as all commands about a
name go over one connection, in order. Times of expiry are Unix milliseconds, known from when a
command was sent and when it was answered; -1 is none.
"""

from __future__ import annotations

import os
from array import array
from dataclasses import dataclass
from random import Random
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

FIELD: Final = b"data"
_NONCE: Final = 12
_SLACK_MS: Final = 3  # between the server's clock and ours
UNKNOWN: Final = 1 << 62  # as the latest expiry of a command that is not answered yet


@dataclass(frozen=True, slots=True)
class Spec:
    """
    What one client does: so many *names*, the last of them *hashes*, and commands at a *rate*.

    *filled* is the share of names that are there from the beginning, *expiring* the share of those
    that have a TTL; TTLs are of *ttl_seconds*, from and to. Values have *sizes* bytes, one after
    the other. *mix* says how often a command comes; *zipf* that some names come far more often;
    *evicts* that the server may throw names away.
    """

    port: int
    current: str
    old: str
    names: int
    hashes: int = 0
    rate: float = 5000.0
    connections: int = 16
    prefix: str = "load"
    sizes: tuple[int, ...] = (300,)
    filled: float = 1.0
    expiring: float = 0.3
    ttl_seconds: tuple[float, float] = (3600.0, 7200.0)
    mix: tuple[tuple[str, int], ...] = ()
    zipf: bool = False
    evicts: bool = False
    precedence: bool = True
    seed: int = 1

    def ttl_ms(self, random: Random) -> int:
        """How long something is to be there: whole seconds, as SETEX and EXPIRE take them."""
        shortest, longest = self.ttl_seconds
        return 1000 * round(shortest + (longest - shortest) * random.random())


class Values:
    """Seals and opens values of the format gcm, as an application would."""

    def __init__(self, spec: Spec) -> None:
        self._current, self._old = (AESGCM(bytes.fromhex(key)) for key in (spec.current, spec.old))
        self._sizes, self._prefix = spec.sizes, spec.prefix.encode()
        self._filling = os.urandom(max(spec.sizes))

    def name(self, index: int) -> bytes:
        """The name of an entry."""
        return b"%b:%08d" % (self._prefix, index)

    def plaintext(self, index: int, version: int) -> bytes:
        """What an entry holds after it was written *version* times."""
        begin = b"%d:%d:" % (index, version)
        return begin + self._filling[: self._sizes[index % len(self._sizes)] - len(begin)]

    def seal(self, index: int, version: int, *, old: bool = False) -> bytes:
        """The value to be stored."""
        nonce = os.urandom(_NONCE)
        key = self._old if old else self._current
        return nonce + key.encrypt(nonce, self.plaintext(index, version), None)

    def open(self, value: bytes) -> tuple[bytes | None, bool]:
        """The plaintext, None if no key opens the value; and whether that is the old key."""
        for key in (self._current, self._old):
            try:
                return key.decrypt(value[:_NONCE], value[_NONCE:], None), key is self._old
            except InvalidTag:
                continue
        return None, False


class Model:
    """
    What was written last of each name: its *version*, whether it is *there*, and when it expires.

    That is from *earliest* to *latest*. *written* is when its content was sent last (Unix seconds),
    *evicted* when the server said last that it has thrown a name away.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        count = spec.names
        self.version = array("q", bytes(8 * count))
        self.there = bytearray(count)
        self.earliest, self.latest = array("q", [-1]) * count, array("q", [-1]) * count
        self.written = array("d", bytes(8 * count))
        self.evicted: dict[int, float] = {}
        self.evictions = 0
        self.unsure = bytearray(count)

    def is_hash(self, index: int) -> bool:
        """Whether the value of a name is a field of a hash."""
        return index >= self.spec.names - self.spec.hashes

    def write(self, index: int, at: float, ttl_ms: int | None, *, keep: bool = False) -> int:
        """Note that a value is sent now, for so long or for good; gives its version."""
        self.version[index] += 1
        self.written[index] = at
        if not (keep and self.exists(index, at)):
            self.unsure[index] = 0
            self.expire(index, at, ttl_ms)
        self.there[index] = 1
        return self.version[index]

    def expire(self, index: int, at: float, ttl_ms: int | None) -> None:
        """Note that an expiry is sent now; `answered` says when that was done at the latest."""
        none = ttl_ms is None
        self.earliest[index] = -1 if none else int(at * 1000) + (ttl_ms or 0) - _SLACK_MS
        self.latest[index] = -1 if none else UNKNOWN

    def answered(self, index: int, earliest: int, sent: float, at: float) -> None:
        """The expiry that was sent then was answered now, unless there is a newer one."""
        if earliest != -1 and self.earliest[index] == earliest:
            late = int((at - sent) * 1000) + 2 * _SLACK_MS
            self.latest[index] = min(self.latest[index], earliest + late)

    def exists(self, index: int, at: float) -> bool:
        """Whether a name may be there now."""
        return bool(self.there[index]) and not self._over(self.latest[index], at)

    def may_be_gone(self, index: int, at: float) -> bool:
        """Whether a name that was written may have expired by now."""
        return self._over(self.earliest[index], at)

    def near_expiry(self, index: int, at: float, seconds: float) -> bool:
        """Whether it expires so soon, or has just done so, that a command might come too late."""
        end = self.earliest[index]
        return bool(self.there[index]) and end != -1 and end < (at + seconds) * 1000

    def explained(self, index: int) -> bool:
        """Whether a name that is missing was thrown away after it was written."""
        return self.evicted.get(index, 0.0) >= self.written[index]

    @staticmethod
    def _over(end: int, at: float) -> bool:
        return end not in {-1, UNKNOWN} and at * 1000 >= end
