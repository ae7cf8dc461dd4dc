"""
What a cache must hold while it is rotated: the model beside the real thing, and what breaks it.

A name may have several possible states: whoever writes to a server that is just being killed does
not know whether the write was done, and one that no replica has seen may be lost by a failover. A
write that a replica confirmed leaves one state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from redis.crc import key_slot

NEVER: Final = -1
DRIFT_MS: Final = 5000
"""How far an expiry may be off after its slot was moved: MIGRATE sends how long is left."""
_SLACK_MS: Final = 1000  # around an expiry a name may be there or not


class Held(NamedTuple):
    """What a name ought to hold: until *at_ms*, Unix milliseconds, or `NEVER`."""

    plaintext: bytes
    at_ms: int


class Found(NamedTuple):
    """What it holds; *plaintext* None: it does not open."""

    plaintext: bytes | None
    key_id: str
    at_ms: int


class Model:
    """
    The possible states of every name; None is that there is nothing.

    *moved* are the slots that were moved since it began.
    """

    def __init__(self) -> None:
        self._possible: dict[bytes, frozenset[Held | None]] = {}
        self.moved: set[int] = set()

    def __len__(self) -> int:
        return len(self._possible)

    def certain(self, name: bytes) -> Held | None:
        """The state of *name*, if there is only one and it is not that there is nothing."""
        possible = self._possible.get(name, frozenset((None,)))
        return next(iter(possible)) if len(possible) == 1 else None

    def wrote(self, name: bytes, state: Held | None) -> None:
        """A write was done, and a replica has it."""
        self._possible[name] = frozenset((state,))

    def tried(self, name: bytes, state: Held | None) -> None:
        """A write may have been done, or not, or may be lost again."""
        self._possible[name] = self._possible.get(name, frozenset((None,))) | {state}

    def broken(self, found: Mapping[bytes, Found], begun_ms: int, ended_ms: int) -> list[str]:
        """What is wrong with *found*, read between these times, a sentence each."""
        faults = [f"{name!r} was created from nothing" for name in set(found) - set(self._possible)]
        for name, possible in self._possible.items():
            one = found.get(name)
            if one is not None and one.plaintext is None:
                faults.append(f"{name!r} does not open")
                continue
            drift = DRIFT_MS if key_slot(name) in self.moved else 0
            if not any(_fits(one, state, begun_ms, ended_ms, drift) for state in possible):
                faults.append(_difference(name, one, possible))
        return sorted(faults)

    def checked(self) -> int:
        """How many names must hold one certain value."""
        return sum(self.certain(name) is not None for name in self._possible)


def _fits(
    found: Found | None, state: Held | None, begun_ms: int, ended_ms: int, drift: int
) -> bool:
    """Whether what was found may be *state*, or what its expiry left of it."""
    if found is None:
        slack = _SLACK_MS + drift
        return state is None or (state.at_ms != NEVER and state.at_ms < ended_ms + slack)
    if state is None or found.plaintext != state.plaintext:
        return False
    if NEVER in {state.at_ms, found.at_ms}:
        return state.at_ms == found.at_ms
    late = state.at_ms < begun_ms - _SLACK_MS - drift
    return not late and abs(found.at_ms - state.at_ms) <= drift


def _difference(name: bytes, found: Found | None, possible: Iterable[Held | None]) -> str:
    """What is not as it should be with one name."""
    states = set(possible)
    if found is None:
        return f"{name!r} is lost"
    if states == {None}:
        return f"{name!r} was resurrected"
    if any(state and state.plaintext == found.plaintext for state in states):
        wanted = sorted(state.at_ms for state in states if state)
        return f"{name!r} expires at {found.at_ms} and not at {wanted}"
    return f"{name!r} holds something else"
