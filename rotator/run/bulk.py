"""
Bulk run: looks at values for purge or adopt, then acts on those that are picked.

- Looking comes first, so that people see what will become of which names before it does. What is
  then acted on is judged anew, each value at its moment.
- It is no evidence for a verdict: what was renamed meanwhile is not read again.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from rotator.progress import Progress
from rotator.run.evidence import latest_history
from rotator.run.formats import Canary
from rotator.run.picking import Adoption, PurgeUndecryptable
from rotator.run.preflight import Preflight
from rotator.server.acl import DELETING, WRITING, grant_hint, missing_to_delete, with_fields
from rotator.server.context import CacheContext
from rotator.server.topology import SETTLE_SECONDS, Topology
from rotator.server.wire.stream import Patience
from rotator.state.state import State
from rotator.sweep.control import ProgressControl, StopSignal
from rotator.sweep.engine import InlineEngine
from rotator.sweep.node.selector import Selector
from rotator.sweep.results import BulkResult
from rotator.sweep.scope import Limits, Scope
from rotator.sweep.sweep import sweep_cache
from rotator.tally.tally import Mode
from rotator.text import utc_now

log = structlog.get_logger(__name__)

Bar = Callable[[str, str, int], Progress]
"""Makes the bar of a phase of a cache, told how many names are expected."""


@dataclass(frozen=True, slots=True)
class BulkOptions:
    """
    Bulk options: say how names are visited.

    *phase* is what the bar shows, *match* are glob patterns, None those of the configuration;
    *page* bounds names, *rate* visits a second, *patience* the seconds for a cluster to settle;
    *force_lock*: it is done although another run seems to be in progress.
    """

    phase: str
    match: tuple[str, ...] | None = None
    page: int = 100
    rate: float | None = None
    patience: float = SETTLE_SECONDS
    force_lock: bool = False


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
        self.access.patience = Patience(self.stopper.reason)
        settings, acting = self.access.settings, DELETING if self.selector.deletes else WRITING
        besides = with_fields(acting if self.state else (), self.selector.fields(settings.fields))
        self._preflight = Preflight(
            context=self.access,
            pattern=(self.options.match or settings.match)[0],
            patience=self.options.patience,
            should_stop=self.stopper.reason,
            besides=besides,
            force=self.options.force_lock,
        )

    def prepare(self) -> None:
        """Check that all of it can be done, and keep runs away until `close`: see `Preflight`."""
        topology = self._preflight.run(None if self.state is None else self.state.path)
        if self.state is None and self.selector.deletes:
            self._warn_of_rights(topology)

    def _warn_of_rights(self, topology: Topology) -> None:
        """Say what the user may not do that deleting needs: a dry run goes on without it."""
        fields = self.selector.fields(self.access.settings.fields)
        for address in topology.primaries:
            with self.access.connect(address) as store:
                missing = missing_to_delete(store, fields)
            if missing is None:
                log.warning(
                    "the rights to delete cannot be tried without +multi",
                    node=str(address),
                    needs=" ".join(DELETING),
                )
            elif missing:
                log.warning(
                    "without --dry-run this is refused",
                    reason=f"{address}: the user lacks rights: {' '.join(missing)}",
                    hint=grant_hint(missing, store.connection.user),
                )

    def close(self) -> None:
        """Count what was encrypted, and let others have the cache again."""
        if self.state and isinstance(self.selector, Adoption) and self.selector.encryptions:
            current = self.selector.codec.keyring.current.id
            self.state.add_encryptions(current, self.selector.encryptions)
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
            control = ProgressControl(self.stopper.reason, bar, orders=self.stopper.ordered)
            return BulkResult(self.access, sweep_cache(discover, engine, scope, control))
