"""
One walk's work on one cache: preflight, looking, acting.

Looking comes first, so that people see what will become of which names before it does. What is then
acted on is judged anew, each value at its moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

from rotator.config.types import Address
from rotator.errors import Exit, RightsError, ServerError
from rotator.progress import Progress
from rotator.run.preflight import announced
from rotator.server.acl import demand_rights
from rotator.server.context import Access
from rotator.server.topology import SETTLE_SECONDS, Topology, discover
from rotator.state.state import State
from rotator.sweep.control import Stop, Stopper
from rotator.sweep.node.visitor import Task
from rotator.sweep.results import SweepResult
from rotator.sweep.scope import Limits, Mode, Scope
from rotator.sweep.sweep import Sweep
from rotator.sweep.walk import WalkEngine
from rotator.tally.tally import DONE, PICKED, STUCK, Count

Bar = Callable[[str, str, int], Progress]
"""Makes the bar of a phase of a cache, told how many names are expected."""


@dataclass(frozen=True, slots=True)
class Terms:
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


@dataclass(slots=True)
class Findings:
    """What one walk over a cache came to: what it covered, and what it met, also by node."""

    access: Access
    sweep: SweepResult
    count: Count
    nodes: dict[str, Count]

    @property
    def picked(self) -> int:
        """How many values were picked, and not acted on."""
        return self.count.ends[PICKED]

    @property
    def done(self) -> int:
        """How many values were acted on."""
        return self.count.ends[DONE]

    def exit_code(self) -> Exit:
        """The exit code of this cache alone."""
        if self.sweep.stopped:
            return self.sweep.stopped.exit_code
        if not self.sweep.complete:
            return Exit.FAILED
        left = any(self.count.ends[end] for end in STUCK) or self.count.troubles
        return Exit.NOT_MOVED if left else Exit.OK


class Errand:
    """Works on one cache with encryption on; *state* None is for looking only."""

    def __init__(
        self,
        access: Access,
        task: Task,
        terms: Terms,
        *,
        state: State | None,
        stopper: Stopper,
        progress: Bar,
    ) -> None:
        self.access = access
        self.task = task
        self._terms = terms
        self._state = state
        self._stopper = stopper
        self._progress = progress
        self._held = ExitStack()
        self._known: Topology | None = None

    def prepare(self) -> None:
        """
        Check that all of it can be done, and keep runs away until `close`.

        Raises:
            ServerError: A node cannot be reached, refuses the login, or lacks rights.
            BusyError: A run, or another errand, works on this cache.
        """
        topology = self._reach()
        if topology.problems:
            raise ServerError(
                f"the cluster is not whole: {topology.problems[0]}",
                hint="bring it into order first: redis-cli --cluster check",
            )
        self._demand_rights(topology.primaries)
        if self._state is not None:
            name, first = self.access.cache.name, min(topology.primaries)
            self._held.enter_context(self._state.lock(name))
            self._held.enter_context(announced(name, lambda: self.access.connect(first)))

    def close(self) -> None:
        """Let others have the cache again."""
        self._held.close()

    def look(self) -> Findings:
        """
        Walk and only look.

        Raises:
            ServerError: Who owns the data cannot be found out.
        """
        return self._walk("looking", acts=False)

    def act(self) -> Findings:
        """
        Walk, and act on what the task picks.

        Raises:
            ServerError: Who owns the data cannot be found out.
        """
        return self._walk(self._terms.phase, acts=True)

    def _walk(self, phase: str, *, acts: bool) -> Findings:
        settings, terms = self.access.settings, self._terms
        scope = Scope(
            mode=Mode.RUN if acts else Mode.DRY_RUN,
            match=terms.match or settings.match,
            databases=None if settings.databases == "all" else settings.databases,
            page=terms.page,
            limits=Limits(rate=terms.rate),
        )
        engine = WalkEngine(self.access, self.task, acts=acts)
        topology = self._discover()
        with self._progress(self.access.cache.name, phase, topology.names) as bar:
            sweep = Sweep(self._discover, engine, scope, _Control(self._stopper, bar)).run()
        owners = sweep.topology.primaries
        nodes = {str(address): count for address, count in engine.counts.items()}
        return Findings(self.access, sweep, engine.total(owners), nodes)

    def _reach(self) -> Topology:
        """Who owns the data; where a right is missing for that, all that are missing are named."""
        try:
            return self._discover()
        except RightsError:
            self._demand_rights(self.access.cache.addresses)
            raise

    def _demand_rights(self, addresses: Iterable[Address]) -> None:
        match = self._terms.match or self.access.settings.match
        acts = self._state is not None
        demand_rights(
            self.access.connect,
            addresses,
            writes=acts and self._terms.kind == "write",
            deletes=acts and self._terms.kind == "delete",
            pattern=match[0],
        )

    def _discover(self, known: Topology | None = None) -> Topology:
        self._known = discover(
            self.access.cache.addresses,
            self.access.connect,
            patience=self._terms.patience,
            known=known or self._known,
            hurry=self._stopper.reason,
        )
        return self._known


class _Control:
    """Carries the progress of a walk to the bar; nothing is saved, for a walk is not resumed."""

    def __init__(self, stopper: Stopper, bar: Progress) -> None:
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
