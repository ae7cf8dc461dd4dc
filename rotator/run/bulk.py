"""
Bulk run: selects values for purge or adopt, looks, then acts.

- Looking comes first, so that people see what will become of which names before it does. What is
  then acted on is judged anew, each value at its moment.
- It is no evidence for a verdict: what was renamed meanwhile is not read again.
- A purge deletes the values under one old key, or those that nothing opens. A value is under a key
  if authenticated decryption says so; no header is believed. One that holds another is deleted if
  its outer layer is under the key, unless the current key is inside; one that has the key inside
  only is left, and counted as nested. What opens under the current key is never picked.
- An adoption encrypts what is stored as it is: values that no configured format could have, by
  structure alone, and that do not look encrypted. Any other that does not open is left and listed:
  encrypted once more nobody could tell what it is.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from rotator.crypto.codec import Codec, Opened, Reason
from rotator.crypto.foreign import looks_encrypted
from rotator.crypto.format_search import search_formats
from rotator.crypto.keyring import Key
from rotator.crypto.layout import Format
from rotator.errors import ConfigError, EmptyError
from rotator.progress import Progress
from rotator.run.evidence import latest_history
from rotator.run.formats import Canary
from rotator.run.preflight import Preflight
from rotator.server.acl import DELETING, WRITING, with_fields
from rotator.server.context import CacheContext
from rotator.server.scripts import Replacement
from rotator.server.topology import SETTLE_SECONDS
from rotator.state.state import State
from rotator.sweep.control import ProgressControl, StopSignal
from rotator.sweep.engine import InlineEngine
from rotator.sweep.node.selector import Candidate, Deletion, Kept, Selector
from rotator.sweep.results import BulkResult
from rotator.sweep.scope import Limits, Scope, matcher
from rotator.sweep.sweep import sweep_cache
from rotator.tally.tally import BulkOutcome, Mode, Outcome, Tally
from rotator.text import count, utc_now

REASONS: Final = (Reason.UNKNOWN_KEY_ID, Reason.WRONG_NAME, Reason.BAD_TAG)
"""The reasons to delete for, unless others are named: what looks encrypted and does not open."""
KEPT: Final = 100
"""How many of the picked values are looked at more closely."""
_LARGEST_KEPT = 1 << 14  # bytes

Bar = Callable[[str, str, int], Progress]
"""Makes the bar of a phase of a cache, told how many names are expected."""


def _left(candidate: Candidate, outcome: StrEnum, why: str = "", *, listed: bool = False) -> Kept:
    """Leave a value, and count why."""
    reason = why and f"{outcome}.{why}"
    return Kept(candidate.name, outcome, (), len(candidate.value), reason, why, listed)


@dataclass(eq=False)
class PurgeKey(Selector):
    """Purge by key: picks the values under *key*, which must not be the current one."""

    deletes = True
    codec: Codec
    key: Key

    def __post_init__(self) -> None:
        if self.key is self.codec.keyring.current:
            raise ValueError("the current key is not purged")

    def judge(self, candidate: Candidate) -> Kept | Deletion:
        """Decide about one value."""
        opened = self.codec.open(candidate.name, candidate.value)
        if not isinstance(opened, Opened):
            return _left(candidate, Outcome.UNDECRYPTABLE, opened)
        current = self.codec.keyring.current
        if opened.key is self.key and current in opened.inner:
            return _left(candidate, Outcome.NESTED, "the current key is inside", listed=True)
        if opened.key is self.key and self.writes:
            return Deletion(candidate.name, candidate.value)
        if opened.key is self.key:
            return _left(candidate, BulkOutcome.PICKED)
        if self.key in opened.inner:
            why = f"the key is inside, under {opened.key.id}"
            return _left(candidate, Outcome.NESTED, why, listed=True)
        return _left(candidate, Outcome.CURRENT if opened.key is current else BulkOutcome.OTHER_KEY)


@dataclass(eq=False)
class PurgeUndecryptable(Selector):
    """
    Purge of what nothing opens: picks the values that do not open for some *reasons*.

    *others* are the codecs of other caches, which may share the server: what is theirs is left.
    Unless *allow_empty* at least one value must open. *kept* are some of the picked, by name.
    """

    deletes = True
    codec: Codec
    reasons: Collection[Reason] = REASONS
    others: Sequence[Codec] = ()
    allow_empty: bool = False
    kept: dict[bytes, bytes] = field(default_factory=dict, repr=False)

    def judge(self, candidate: Candidate) -> Kept | Deletion:
        """Decide about one value; one that was moved here is known by the names of its page."""
        name, value = candidate.name, candidate.value
        opened = self.codec.open(name, value)
        if isinstance(opened, Opened):
            current = opened.key is self.codec.keyring.current
            return _left(candidate, Outcome.CURRENT if current else BulkOutcome.OTHER_KEY)
        reason = self.codec.explain(name, value, opened, candidate.others)
        if reason not in self.reasons:
            return _left(candidate, Outcome.UNDECRYPTABLE, reason)
        if any(isinstance(other.open(name, value), Opened) for other in self.others):
            return _left(candidate, BulkOutcome.OTHER_CACHE)
        if len(self.kept) < KEPT and len(value) <= _LARGEST_KEPT:
            self.kept[name] = value
        if self.writes:
            return Deletion(name, value, reason)
        return _left(candidate, BulkOutcome.PICKED, reason)

    def require_sound(self, context: CacheContext, found: Tally) -> None:
        """Raise ConfigError if picked values open in another format, EmptyError if none opens."""
        cache = context.cache.name
        kept = {(0, name): value for name, value in self.kept.items()}
        if others := search_formats(self.codec, context.formats, kept).guesses:
            raise ConfigError(
                f"{len(others):,} of {count(len(kept), 'value')} of {cache} that were tried"
                " open under a configured key, in a format that is not configured",
                hint="put what `rotator detect` prints into the configuration, then try again",
            )
        opened = found.outcomes[Outcome.CURRENT] + found.outcomes[BulkOutcome.OTHER_KEY]
        if not opened and not self.allow_empty:
            raise EmptyError(
                f"not one value of {cache} opens, so nothing was deleted",
                hint="are keys and formats right? `rotator detect` tells; --allow-empty goes on",
            )


@dataclass(eq=False)
class Adoption(Selector):
    """
    Adoption: picks plaintext with names that `rotator run` visits too, those that match *within*.

    It is encrypted as *form*. *encryptions* counts the values that were encrypted under the current
    key, stored or not.
    """

    only_named = True
    codec: Codec
    form: Format
    within: Sequence[str] = ("*",)
    encryptions: int = 0

    def __post_init__(self) -> None:
        self._matches = matcher(self.within).fullmatch

    def judge(self, candidate: Candidate) -> Kept | Replacement:
        """Decide about one value."""
        name, value = candidate.name, candidate.value
        if not self._matches(name):
            return _left(candidate, BulkOutcome.OUTSIDE)
        opened = self.codec.open(name, value)
        if isinstance(opened, Opened):
            return _left(candidate, BulkOutcome.ENCRYPTED)
        no_format = opened is Reason.NOT_A_FORMAT
        if not no_format or looks_encrypted(value):
            why = "looks encrypted" if no_format else opened
            return _left(candidate, Outcome.UNDECRYPTABLE, why, listed=True)
        if not self.writes:
            return _left(candidate, BulkOutcome.PICKED)
        new = self.codec.seal(name, value, self.form)
        self.encryptions += 1
        if len(new) > self.largest:
            detail = f"{len(new)} bytes when encrypted, the server takes {self.largest}"
            return Kept(name, Outcome.FAILED, detail=detail)
        return Replacement(name, value, new)


def purge_key(
    contexts: Sequence[CacheContext], start: str, *, named: bool
) -> tuple[dict[CacheContext, Selector], str]:
    """
    Return what purges the key whose id has this *start*, for each cache that has it, and the id.

    ConfigError: no key or several begin so, it is current, or a *named* cache does not have it.
    """
    found = [
        (one, one.codec, key)
        for one in contexts
        for key in (one.codec.keyring.all if one.codec else ())
        if one.codec is not None and key.id.startswith(start.lower())
    ]
    ids = sorted({key.id for _, _, key in found})
    hint = "`rotator keys` lists the key ids"
    if not ids:
        raise ConfigError(f"--key {start}: no key begins so", hint=hint)
    if len(ids) > 1:
        more = f"give more of it: {', '.join(ids)}"
        raise ConfigError(f"--key {start}: several keys begin so", hint=more)
    for one, codec, key in found:
        if key is codec.keyring.current:
            raise ConfigError(
                f"--key {start}: it is the current key of the cache {one.cache.name},"
                " and that is never purged",
                hint="make another key current and rotate first; or name other caches with --cache",
            )
    selectors: dict[CacheContext, Selector] = {
        one: PurgeKey(codec, key) for one, codec, key in found
    }
    for one in contexts:
        if named and one not in selectors:
            name = one.cache.name
            raise ConfigError(f"--key {start}: the cache {name} does not have it", hint=hint)
    return selectors, ids[0]


def purge_undecryptable(
    contexts: Sequence[CacheContext],
    every: Sequence[CacheContext],
    reasons: Sequence[Reason],
    allow_empty: bool,
) -> dict[CacheContext, Selector]:
    """Return what purges values that no key of *every* cache opens, else raise ConfigError."""
    codecs = {one.cache.name: one.codec for one in every if one.codec is not None}
    selectors: dict[CacheContext, Selector] = {}
    for context in contexts:
        others = [other for name, other in codecs.items() if name != context.cache.name]
        if codec := context.codec:
            selectors[context] = PurgeUndecryptable(codec, reasons, others, allow_empty)
    if not selectors:
        raise ConfigError("the cache is not encrypted", hint="nothing of it is undecryptable")
    return selectors


@dataclass(frozen=True, slots=True)
class BulkOptions:
    """
    Bulk options: say how names are visited.

    *phase* is what the bar shows, *match* are glob patterns, None those of the configuration;
    *page* bounds names, *rate* visits a second, *patience* the seconds for a cluster to settle.
    """

    phase: str
    match: tuple[str, ...] | None = None
    page: int = 100
    rate: float | None = None
    patience: float = SETTLE_SECONDS


@dataclass(slots=True)
class BulkRun:
    """Bulk run: works on one cache with encryption on; *state* None is for looking only."""

    access: CacheContext
    selector: Selector
    options: BulkOptions
    state: State | None = field(kw_only=True)
    stopper: StopSignal = field(kw_only=True)
    progress: Bar = field(kw_only=True)
    _preflight: Preflight = field(init=False)

    def __post_init__(self) -> None:
        settings, acting = self.access.settings, DELETING if self.selector.deletes else WRITING
        besides = with_fields(acting if self.state else (), self.selector.fields(settings.fields))
        self._preflight = Preflight(
            context=self.access,
            pattern=(self.options.match or settings.match)[0],
            patience=self.options.patience,
            should_stop=self.stopper.reason,
            besides=besides,
        )

    def prepare(self) -> None:
        """Check that all of it can be done, and keep runs away until `close`: see `Preflight`."""
        self._preflight.run(None if self.state is None else self.state.path)

    def close(self) -> None:
        """Count what was encrypted, and let others have the cache again."""
        if self.state and isinstance(self.selector, Adoption) and self.selector.encryptions:
            current = self.selector.codec.keyring.current.id
            self.state.add_encryptions(current, self.selector.encryptions)
            self._canary.wrote(self.selector.form)
        self._preflight.close()

    def require_sound(self, found: BulkResult) -> None:
        """Raise if what was *found* should not be acted on: see `PurgeUndecryptable`, `Canary`."""
        if isinstance(self.selector, PurgeUndecryptable) and found.picked:
            self.selector.require_sound(self.access, found.tally)
        elif isinstance(self.selector, Adoption) and found.picked:
            self._canary.require(self.selector.form, found.sweep.topology.primaries)

    @property
    def _canary(self) -> Canary:
        history = latest_history(self.state, self.access.cache.name) if self.state else ""
        return Canary(self.access, self.state, history)

    def look(self) -> BulkResult:
        """Visit every name and only look; ServerError: who owns the data cannot be found out."""
        return self._visit("looking", Mode.DRY_RUN)

    def act(self) -> BulkResult:
        """Visit every name and act on what is picked; ServerError as for `look`."""
        phase, name = self.options.phase, self.access.cache.name
        if not (self.state and self.selector.deletes):
            return self._visit(phase, Mode.RUN)
        history = latest_history(self.state, name)
        self.state.begin_work(name, history, utc_now())
        try:
            return self._visit(phase, Mode.RUN)
        finally:  # what is deleted now may be in files that were saved meanwhile
            self.state.end_work(name, history, lost_at=utc_now())

    def _visit(self, phase: str, mode: Mode) -> BulkResult:
        settings, options, discover = self.access.settings, self.options, self._preflight.discover
        scope = Scope(
            mode=mode,
            match=options.match or settings.match,
            databases=settings.databases,
            fields=self.selector.fields(settings.fields),
            page=options.page,
            limits=Limits(rate=options.rate, latency=None),
        )
        self.selector.writes = mode is Mode.RUN
        with self.progress(self.access.cache.name, phase, discover().names) as bar:
            engine = InlineEngine(self.access, self.selector)
            control = ProgressControl(self.stopper.reason, bar)
            return BulkResult(self.access, sweep_cache(discover, engine, scope, control))
