"""
Which values an adoption encrypts: those that are stored as they are, and no others.

Nothing is guessed. A value is plaintext only if no configured format could have it, by structure
alone. One that could be a format's and does not open is left and listed: its key may be lost, or it
may be plaintext that looks like a value. Encrypted once more, it would be a riddle for good.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from rotator.crypto.codec import Codec, Opened, Reason
from rotator.server.replies import Meaning, Refusal
from rotator.server.store import Answer, Store
from rotator.sweep.node.visitor import Act, Entry
from rotator.sweep.scope import matcher
from rotator.tally.tally import PICKED, Judged

ENCRYPTED: Final = "encrypted_already"
UNDECRYPTABLE: Final = "undecryptable"
OUTSIDE: Final = "outside"  # the patterns of the configuration leave it out


class Adoption:
    """
    Picks the plaintext values whose names `rotator run` visits too: those that match *within*.

    *encryptions* counts the values that were encrypted under the current key, stored or not.
    """

    def __init__(self, codec: Codec, within: Sequence[str] = ("*",)) -> None:
        self.encryptions = 0
        self._codec = codec
        self._within: re.Pattern[bytes] = matcher(within)

    def judge(self, name: bytes, value: bytes, page: Sequence[bytes]) -> Judged:  # noqa: ARG002 - see `picker.Task`
        """See `picker.Task`."""
        if not self._within.fullmatch(name):
            return Judged(OUTSIDE)
        opened = self._codec.open(name, value)
        if isinstance(opened, Opened):
            return Judged(ENCRYPTED)
        if opened.reason is not Reason.NOT_A_FORMAT:
            return Judged(UNDECRYPTABLE, str(opened.reason), problem=True)
        return Judged(PICKED)

    def actor(self, store: Store) -> Act:
        """See `picker.Task`."""
        largest = store.largest_value()

        def encrypt(entries: Sequence[Entry]) -> list[Answer | Refusal]:
            answers: dict[bytes, Answer | Refusal] = {}
            swaps = []
            for name, value in entries:
                new = self._codec.seal(name, value)
                self.encryptions += 1
                if len(new) > largest:
                    words = f"{len(new)} bytes when encrypted, the server takes {largest}"
                    answers[name] = Refusal(words, Meaning.FAILURE)
                else:
                    swaps.append((name, value, new))
            done = store.compare_and_set(swaps) if swaps else []
            answers |= dict(zip((name for name, _, _ in swaps), done, strict=True))
            return [answers[name] for name, _ in entries]

        return encrypt
