"""
Which values a purge deletes: those under one old key, or those that nothing opens.

- A value is under a key if authenticated decryption says so; no header is believed.
- A value that holds another one is deleted if its outer layer is under the key, unless the current
  key is inside. One that has the key inside only is left, and counted as nested.
- What opens under the current key is never picked.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from rotator.codec import Codec, Opened
from rotator.count import PICKED, Judged
from rotator.deletion import Deletion
from rotator.keyring import Key
from rotator.picker import Act
from rotator.reader import Reason
from rotator.store import Store

CURRENT: Final = "current"
OTHER_KEY: Final = "other_key"  # an old key that is not to be purged
NESTED: Final = "nested"
UNDECRYPTABLE: Final = "undecryptable"

REASONS: Final = (Reason.UNKNOWN_KEY_ID, Reason.WRONG_NAME, Reason.BAD_TAG)
"""
The reasons for which a value that does not open is deleted unless others are named: `not_a_format`
is not among them, for what does not even look encrypted is likely to be somebody's.
"""


class _Deleting:
    """The part that both kinds of purge share."""

    @staticmethod
    def actor(store: Store, *, asking: bool) -> Act:
        """See `picker.Task`."""
        return Deletion(store, asking=asking).compare_and_delete


class PurgeKey(_Deleting):
    """Picks the values under *key*, which must not be the current one."""

    def __init__(self, codec: Codec, key: Key) -> None:
        if key is codec.keyring.current:
            raise ValueError("the current key is not purged")
        self._codec = codec
        self._key = key

    def judge(self, name: bytes, value: bytes, page: Sequence[bytes]) -> Judged:  # noqa: ARG002 - see `picker.Task`
        """See `picker.Task`."""
        opened = self._codec.open(name, value)
        if not isinstance(opened, Opened):
            return Judged(UNDECRYPTABLE, str(opened.reason))
        current = self._codec.keyring.current
        if opened.key is self._key:
            if current in opened.inner:
                return Judged(NESTED, "the current key is inside", problem=True)
            return Judged(PICKED)
        if self._key in opened.inner:
            return Judged(NESTED, f"the key is inside, under {opened.key.id}", problem=True)
        return Judged(CURRENT if opened.key is current else OTHER_KEY)


class PurgeUndecryptable(_Deleting):
    """Picks the values that no configured format and key opens, for some *reasons*."""

    def __init__(self, codec: Codec, reasons: Collection[Reason] = REASONS) -> None:
        self._codec = codec
        self._reasons = frozenset(reasons)

    def judge(self, name: bytes, value: bytes, page: Sequence[bytes]) -> Judged:
        """See `picker.Task`; a value that was moved here is known as such by the page's names."""
        opened = self._codec.open(name, value)
        if isinstance(opened, Opened):
            return Judged(CURRENT if opened.key is self._codec.keyring.current else OTHER_KEY)
        others = (other for other in page if other != name)
        reason = self._codec.explain(name, value, opened.reason, others)
        return Judged(PICKED if reason in self._reasons else UNDECRYPTABLE, str(reason))
