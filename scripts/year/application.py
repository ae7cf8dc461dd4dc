"""Application: writes values, for some days under an old key too, and knows what must be there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Final, NamedTuple

from soak.model import NEVER
from soak.writer import MARK, Ring

DAY: Final = 86_400
_TTL_DAYS: Final = (1, 2, 5, 20, 0)
_LAG_DAYS: Final = 5
_AFTER_THE_RUN: Final = 1000  # seconds, so that nothing expires while a run counts
_LATE: Final = 5  # values of a laggard


class Written(NamedTuple):
    """Written: what a name is to hold, and until when (Unix milliseconds, or `NEVER`)."""

    plaintext: bytes
    at_ms: int


class Entry(NamedTuple):
    """Entry: a name with its value as it is stored."""

    name: bytes
    value: bytes
    at_ms: int


class Application:
    """
    Application: its keys are *ring*; what every name has to hold is in *expected*.

    *laggards* is for how many days to come some of it still has only the last key.
    """

    def __init__(self, random: Random, values: int) -> None:
        self.ring = Ring(1)
        self.expected: dict[bytes, Written] = {}
        self.laggards = 0
        self._random = random
        self._values = values
        self._number = 0

    def switch(self, *, lags: bool) -> None:
        """Make a new key current; some of the application may not know yet."""
        self.ring.keys[:0] = Ring(1).keys
        self.ring.renew()
        self.laggards = self._random.randrange(_LAG_DAYS) if lags else 0

    def day(self, now: float) -> list[Entry]:
        """Return what is written on one day."""
        written = [self._write(now, lags=self.laggards > 0) for _ in range(self._values)]
        self.laggards = max(0, self.laggards - 1)
        return written

    def lag(self, now: float) -> list[Entry]:
        """Return what a part of it writes that was thought to have the current key."""
        return [self._write(now, lags=True, always=True) for _ in range(_LATE)]

    def _write(self, now: float, *, lags: bool, always: bool = False) -> Entry:
        self._number += 1
        old = self._number if self._random.randrange(4) else self._random.randrange(300)
        name = b"app:%06d" % old
        plaintext = MARK + self._random.randbytes(self._random.randrange(80))
        lags = lags and len(self.ring.keys) > 1 and (always or not self._random.randrange(3))
        days = self._random.choice(_TTL_DAYS)
        if not days and old == self._number:
            days = 40
        at_ms = int((now + days * DAY + _AFTER_THE_RUN) * 1000) if days else NEVER
        self.expected[name] = Written(plaintext, at_ms)
        return Entry(name, self.ring.seal(name, plaintext, int(lags), "gcm"), at_ms)

    def count(self, held: Mapping[bytes, tuple[bytes, int]]) -> Counter[str]:
        """Return how many values there are under each key, by its id."""
        return Counter(self.ring.key_of(name, value) for name, (value, _) in held.items())

    def go_back(self, held: Mapping[bytes, tuple[bytes, int]]) -> list[str]:
        """Take what came back from old files for what has to be there; what does not open."""
        opened = {name: self.ring.found(name, *one) for name, one in held.items()}
        self.expected = {
            name: Written(one.plaintext, one.at_ms)
            for name, one in opened.items()
            if one.plaintext is not None
        }
        return [f"{name!r} of old files does not open" for name in set(held) - set(self.expected)]

    def differences(self, held: Mapping[bytes, tuple[bytes, int]], now: float) -> list[str]:
        """Return what is not as it was written, a sentence each."""
        there = {
            name: one for name, one in self.expected.items() if not 0 <= one.at_ms <= now * 1000
        }
        self.expected = there
        broken = [f"{name!r} is there and should not be" for name in set(held) - set(there)]
        for name, one in there.items():
            found = self.ring.found(name, *held.get(name, (b"", 0)))
            if name not in held:
                broken.append(f"{name!r} is lost")
            elif (found.plaintext, found.at_ms) != one:
                broken.append(f"{name!r} is not what was written")
        return sorted(broken)

    def retire(self, key_id: str) -> None:
        """Remove an old key."""
        self.ring.retired.append(self.ring.keys.pop(self.ring.ids.index(key_id)))
        self.ring.renew()
