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

from rotator.crypto.codec import Codec, Opened, Reason
from rotator.crypto.format_search import guess
from rotator.crypto.keyring import Key
from rotator.errors import ConfigError
from rotator.server.context import Access
from rotator.server.store import Deletion, Store
from rotator.sweep.node.visitor import Act
from rotator.tally.tally import PICKED, Judged
from rotator.wording import count

CURRENT: Final = "current"
OTHER_KEY: Final = "other_key"  # an old key that is not to be purged
OTHER_CACHE: Final = "other_cache"  # another cache of the configuration reads it
NESTED: Final = "nested"
UNDECRYPTABLE: Final = "undecryptable"

KEPT: Final = 100
"""How many of the picked values are looked at more closely."""
_LARGEST_KEPT = 1 << 14  # bytes

REASONS: Final = (Reason.UNKNOWN_KEY_ID, Reason.WRONG_NAME, Reason.BAD_TAG)
"""
The reasons for which a value that does not open is deleted unless others are named: `not_a_format`
is not among them, for what does not even look encrypted is likely to be somebody's.
"""


class _Deleting:
    """The part that both kinds of purge share."""

    @staticmethod
    def actor(store: Store) -> Act:
        """See `picker.Task`."""
        return Deletion(store).compare_and_delete


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
    """
    Picks the values that no configured format and key opens, for some *reasons*.

    *others* are the codecs of other caches, which may share the server: what is theirs is left.
    *kept* are some of those that were picked, by name.
    """

    def __init__(
        self,
        codec: Codec,
        reasons: Collection[Reason] = REASONS,
        others: Sequence[Codec] = (),
    ) -> None:
        self.kept: dict[bytes, bytes] = {}
        self._codec = codec
        self._reasons = frozenset(reasons)
        self._others = tuple(others)

    def judge(self, name: bytes, value: bytes, page: Sequence[bytes]) -> Judged:
        """See `picker.Task`; a value that was moved here is known as such by the page's names."""
        opened = self._codec.open(name, value)
        if isinstance(opened, Opened):
            return Judged(CURRENT if opened.key is self._codec.keyring.current else OTHER_KEY)
        names = (other for other in page if other != name)
        reason = self._codec.explain(name, value, opened.reason, names)
        if reason not in self._reasons:
            return Judged(UNDECRYPTABLE, str(reason))
        if any(isinstance(other.open(name, value), Opened) for other in self._others):
            return Judged(OTHER_CACHE)
        if len(self.kept) < KEPT and len(value) <= _LARGEST_KEPT:
            self.kept[name] = value
        return Judged(PICKED, str(reason))


def demand_strange(access: Access, task: PurgeUndecryptable) -> None:
    """
    Refuse to delete what somebody can read: values in a format that nobody configured.

    Raises:
        ConfigError: Some of those that were picked open under a configured key in another format.
    """
    if access.keyring is None:
        return
    kept = {(0, name): value for name, value in task.kept.items()}
    found = guess(access.keyring, access.formats, access.settings.formats, kept)
    if found:
        raise ConfigError(
            f"{len(found)} of {count(len(kept), 'value')} of {access.cache.name} that were tried"
            " open under a configured key, in a format that is not configured",
            hint="put what `rotator detect` prints into the configuration; it deletes none of them",
        )
