"""What one try over the names of a page leads to."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from rotator.crypto.keyring import Key
from rotator.server.replies import Meaning, Refusal
from rotator.server.scripts import NAMES_A_CALL, Swap
from rotator.server.store import Answer, Store


class Sent(NamedTuple):
    """Swaps under way, the keys of the values before them, and what waits for the answers."""

    swaps: list[Swap]
    keys: list[Key]
    answers: Callable[[], list[Answer | Refusal]]


@dataclass(slots=True)
class Round:
    """What one try over some names, at one node, leads to."""

    store: Store
    swaps: list[Swap] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)  # of the swaps, before them
    begun: int = 0  # of the swaps, how many are sent
    _sent: deque[Sent] = field(default_factory=deque)
    again: list[bytes] = field(default_factory=list)
    moved: dict[bytes, Refusal] = field(default_factory=dict)
    refused: dict[bytes, Refusal] = field(default_factory=dict)

    def take(self, other: Round) -> None:
        """Add what another place led to."""
        self.swaps += other.swaps
        self.keys += other.keys
        self.again += other.again
        self.moved |= other.moved
        self.refused |= other.refused

    def send(self, least: int = 1) -> bool:
        """Have the server begin with the swaps that it does not know of yet, if *least* are."""
        place = slice(self.begun, self.begun + NAMES_A_CALL)
        some = self.swaps[place]
        if len(some) < least:
            return False
        answers = self.store.start_compare_and_set(some)
        self._sent.append(Sent(some, self.keys[place], answers))
        self.begun += len(some)
        return True

    def answered(self, leave: int = 0) -> Iterator[Sent]:
        """The calls that were sent, but for the last *leave* of them, which go on."""
        while len(self._sent) > leave:
            yield self._sent.popleft()

    @property
    def busy(self) -> Refusal | None:
        """What a server said that is busy with something else, if one did."""
        every = self.refused.values()
        return next((one for one in every if one.meaning is Meaning.RETRY), None)
