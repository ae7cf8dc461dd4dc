"""What one try over the names of a page leads to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from rotator.answers import Meaning, Refusal
from rotator.keyring import Key
from rotator.script import NAMES_A_CALL, Swap
from rotator.store import Answer, Store


@dataclass(slots=True)
class Round:
    """What one try over some names, at one node, leads to."""

    store: Store
    swaps: list[Swap] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)  # of the swaps, before them
    sent: list[Callable[[], list[Answer | Refusal]]] = field(default_factory=list)
    begun: int = 0  # of the swaps, how many are sent
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
        some = self.swaps[self.begun : self.begun + NAMES_A_CALL]
        if len(some) < least:
            return False
        self.sent.append(self.store.start_compare_and_set(some))
        self.begun += len(some)
        return True

    def answers(self) -> list[Answer | Refusal]:
        """What became of each swap."""
        while self.send():
            pass
        return [answer for batch in self.sent for answer in batch()]

    @property
    def busy(self) -> Refusal | None:
        """What a server said that is busy with something else, if one did."""
        every = self.refused.values()
        return next((one for one in every if one.meaning is Meaning.RETRY), None)
