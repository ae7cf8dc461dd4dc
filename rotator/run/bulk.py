"""
One walk's work on one cache: preflight, looking, acting.

Looking comes first, so that people see what will become of which names before it does. What is then
acted on is judged anew, each value at its moment.

Which values a purge deletes: those under one old key, or those that nothing opens.

- A value is under a key if authenticated decryption says so; no header is believed.
- A value that holds another one is deleted if its outer layer is under the key, unless the current
  key is inside. One that has the key inside only is left, and counted as nested.
- What opens under the current key is never picked.

Which values an adoption encrypts: those that are stored as they are, and no others.

Nothing is guessed. A value is plaintext only if no configured format could have it, by structure
alone. One that could be a format's and does not open is left and listed: its key may be lost, or it
may be plaintext that looks like a value. Encrypted once more, it would be a riddle for good.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from rotator.crypto.codec import Codec, Opened, Reason
from rotator.crypto.format_search import search_formats
from rotator.crypto.keyring import Key
from rotator.errors import ConfigError
from rotator.progress import Progress
from rotator.run.preflight import Preflight
from rotator.server.context import CacheContext
from rotator.server.replies import ErrorKind, ErrorReply
from rotator.server.store import Deletion, SetResult, Store
from rotator.server.topology import SETTLE_SECONDS
from rotator.state.state import State
from rotator.sweep.control import Stop, StopSignal
from rotator.sweep.node.visitor import Act, Entry, Selector
from rotator.sweep.results import BulkResult
from rotator.sweep.scope import Limits, Scope, matcher
from rotator.sweep.sweep import Sweep
from rotator.sweep.walk import WalkEngine
from rotator.tally.tally import PICKED, Decision, Mode
from rotator.text import count

Bar = Callable[[str, str, int], Progress]
"""Makes the bar of a phase of a cache, told how many names are expected."""


@dataclass(frozen=True, slots=True)
class BulkOptions:
    """
    How a walk goes about it.

    *kind* says which rights it needs; *match* are glob patterns, None those of the configuration;
    *page* is how many names are asked for at a time, at most; *rate* is in visits a second.
    """

    kind: Literal["delete", "write"]
    phase: str
    match: tuple[str, ...] | None = None
    page: int = 100
    rate: float | None = None
    patience: float = SETTLE_SECONDS


class BulkRun:
    """Works on one cache with encryption on; *state* None is for looking only."""

    def __init__(
        self,
        access: CacheContext,
        task: Selector,
        terms: BulkOptions,
        *,
        state: State | None,
        stopper: StopSignal,
        progress: Bar,
    ) -> None:
        self.access = access
        self.task = task
        self._terms = terms
        self._state = state
        self._stopper = stopper
        self._progress = progress
        self._preflight = Preflight(
            context=access,
            pattern=(terms.match or access.settings.match)[0],
            patience=terms.patience,
            should_stop=stopper.reason,
            writes=state is not None and terms.kind == "write",
            deletes=state is not None and terms.kind == "delete",
        )

    def prepare(self) -> None:
        """
        Check that all of it can be done, and keep runs away until `close`.

        Raises:
            ServerError: A node cannot be reached, refuses the login, or lacks rights.
            BusyError: A run, or another errand, works on this cache.
        """
        self._preflight.run(None if self._state is None else self._state.path)

    def close(self) -> None:
        """Let others have the cache again."""
        self._preflight.close()

    def look(self) -> BulkResult:
        """
        Walk and only look.

        Raises:
            ServerError: Who owns the data cannot be found out.
        """
        return self._walk("looking", acts=False)

    def act(self) -> BulkResult:
        """
        Walk, and act on what the task picks.

        Raises:
            ServerError: Who owns the data cannot be found out.
        """
        return self._walk(self._terms.phase, acts=True)

    def _walk(self, phase: str, *, acts: bool) -> BulkResult:
        settings, terms = self.access.settings, self._terms
        scope = Scope(
            mode=Mode.RUN if acts else Mode.DRY_RUN,
            match=terms.match or settings.match,
            databases=None if settings.databases == "all" else settings.databases,
            page=terms.page,
            limits=Limits(rate=terms.rate),
        )
        engine = WalkEngine(self.access, self.task, acts=acts)
        topology = self._preflight.discover()
        with self._progress(self.access.cache.name, phase, topology.names) as bar:
            sweep = Sweep(
                self._preflight.discover, engine, scope, _Control(self._stopper, bar)
            ).run()
        owners = sweep.topology.primaries
        nodes = {str(address): count for address, count in engine.counts.items()}
        return BulkResult(self.access, sweep, engine.total(owners), nodes)


class _Control:
    """Carries the progress of a walk to the bar; nothing is saved, for a walk is not resumed."""

    def __init__(self, stopper: StopSignal, bar: Progress) -> None:
        self._stopper = stopper
        self._bar = bar

    def stop(self) -> Stop | None:
        return self._stopper.reason()

    def page_done(self, node: str, visits: int, rotated: int, left: int) -> None:  # noqa: ARG002 - one bar for all nodes
        self._bar.advance(visits=visits, rotated=rotated, left=left)

    def wait(self, node: str, reason: str | None) -> None:  # noqa: ARG002 - one bar for all nodes
        self._bar.wait(reason)

    def save(self, node: str, position: dict[str, Any]) -> None:
        pass

    def load(self, node: str) -> dict[str, Any] | None:  # noqa: ARG002 - nothing is saved
        return None


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

    def judge(self, name: bytes, value: bytes, page: Sequence[bytes]) -> Decision:  # noqa: ARG002 - see `picker.Task`
        """See `picker.Task`."""
        opened = self._codec.open(name, value)
        if not isinstance(opened, Opened):
            return Decision(UNDECRYPTABLE, str(opened.reason))
        current = self._codec.keyring.current
        if opened.key is self._key:
            if current in opened.inner:
                return Decision(NESTED, "the current key is inside", problem=True)
            return Decision(PICKED)
        if self._key in opened.inner:
            return Decision(NESTED, f"the key is inside, under {opened.key.id}", problem=True)
        return Decision(CURRENT if opened.key is current else OTHER_KEY)


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

    def judge(self, name: bytes, value: bytes, page: Sequence[bytes]) -> Decision:
        """See `picker.Task`; a value that was moved here is known as such by the page's names."""
        opened = self._codec.open(name, value)
        if isinstance(opened, Opened):
            return Decision(CURRENT if opened.key is self._codec.keyring.current else OTHER_KEY)
        names = (other for other in page if other != name)
        reason = self._codec.explain(name, value, opened.reason, names)
        if reason not in self._reasons:
            return Decision(UNDECRYPTABLE, str(reason))
        if any(isinstance(other.open(name, value), Opened) for other in self._others):
            return Decision(OTHER_CACHE)
        if len(self.kept) < KEPT and len(value) <= _LARGEST_KEPT:
            self.kept[name] = value
        return Decision(PICKED, str(reason))


def refuse_other_formats(access: CacheContext, task: PurgeUndecryptable) -> None:
    """
    Refuse to delete what somebody can read: values in a format that nobody configured.

    Raises:
        ConfigError: Some of those that were picked open under a configured key in another format.
    """
    if access.keyring is None:
        return
    kept = {(0, name): value for name, value in task.kept.items()}
    found = search_formats(access.keyring, access.formats, access.settings.formats, kept)
    if found:
        raise ConfigError(
            f"{len(found):,} of {count(len(kept), 'value')} of {access.cache.name} that were tried"
            " open under a configured key, in a format that is not configured",
            hint="put what `rotator detect` prints into the configuration; it deletes none of them",
        )


ENCRYPTED: Final = "encrypted_already"


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

    def judge(self, name: bytes, value: bytes, page: Sequence[bytes]) -> Decision:  # noqa: ARG002 - see `picker.Task`
        """See `picker.Task`."""
        if not self._within.fullmatch(name):
            return Decision(OUTSIDE)
        opened = self._codec.open(name, value)
        if isinstance(opened, Opened):
            return Decision(ENCRYPTED)
        if opened.reason is not Reason.NOT_A_FORMAT:
            return Decision(UNDECRYPTABLE, str(opened.reason), problem=True)
        return Decision(PICKED)

    def actor(self, store: Store) -> Act:
        """See `picker.Task`."""
        largest = store.largest_value()

        def encrypt(entries: Sequence[Entry]) -> list[SetResult | ErrorReply]:
            answers: dict[bytes, SetResult | ErrorReply] = {}
            swaps = []
            for name, value in entries:
                new = self._codec.seal(name, value)
                self.encryptions += 1
                if len(new) > largest:
                    words = f"{len(new)} bytes when encrypted, the server takes {largest}"
                    answers[name] = ErrorReply(words, ErrorKind.FAILURE)
                else:
                    swaps.append((name, value, new))
            done = store.compare_and_set(swaps) if swaps else []
            answers |= dict(zip((name for name, _, _ in swaps), done, strict=True))
            return [answers[name] for name, _ in entries]

        return encrypt
