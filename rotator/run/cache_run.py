"""
The work on one cache: preflight, the sweep, the verifying sweep.

Nothing is written before `prepare` has come back, and nothing at all in a dry run.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from rotator.crypto.codec import Codec
from rotator.crypto.keyring import Keyring
from rotator.errors import ConfigError, ServerError
from rotator.progress import Progress
from rotator.run.preflight import Preflight
from rotator.run.surroundings import ServerObserver
from rotator.server.context import CacheContext
from rotator.server.topology import Topology
from rotator.state.state import State
from rotator.sweep.control import Stop, StopSignal
from rotator.sweep.engine import Engine, InlineEngine, ProcessEngine, RemoteWorkers
from rotator.sweep.results import CacheResult, SweepResult
from rotator.sweep.scope import RunOptions, Scope
from rotator.sweep.sweep import Sweep
from rotator.tally.tally import Mode, Outcome

log = structlog.get_logger(__name__)

_PHASES = {Mode.RUN: "rotating", Mode.DRY_RUN: "looking", Mode.VERIFY: "verifying"}


class CacheRun:
    """
    Works on one cache that has encryption on.

    *files* are those of the configuration. *progress* makes the bar of a phase of a cache, told how
    many names are expected. *machines* sweep the nodes, if there are any; else this one does.
    """

    def __init__(
        self,
        access: CacheContext,
        plan: RunOptions,
        *,
        files: tuple[Path, ...],
        state: State,
        stopper: StopSignal,
        progress: Callable[[str, str, int], Progress],
        machines: RemoteWorkers | None = None,
    ) -> None:
        self.access = access
        self._machines = machines
        self._files = files
        self._plan = plan
        self._state = state
        self._stopper = stopper
        self._progress = progress
        self._preflight = Preflight(
            context=access,
            pattern=access.settings.match[0],
            patience=plan.patience,
            should_stop=stopper.reason,
            writes=not plan.dry_run,
        )
        self._meanwhile = ServerObserver()

    def prepare(self) -> None:
        """
        Check that all of the job can be done, and keep other runs away until `close`.

        Raises:
            ConfigError: `--only-key` is none of this cache's old keys.
            ServerError: A node cannot be reached, refuses the login, or lacks rights.
            BusyError: Another run works on this cache.
        """
        self.keyring, self.codec = _require_encryption(self.access)
        only = self._plan.only_key
        if only is not None and only not in {key.id for key in self.keyring.old}:
            raise ConfigError(
                f"--only-key {only} is no old key of the cache {self.access.cache.name}",
                hint="`rotator keys` lists the key ids",
            )
        topology = self._preflight.run(None if self._plan.dry_run else self._state.path)
        self._meanwhile.note(topology)
        self._meanwhile.look_ahead(topology, self.access.connect)
        self._announce(topology)

    def close(self) -> None:
        """Let other runs have the cache again."""
        self._preflight.close()

    def run(self) -> CacheResult:
        """Sweep, and sweep again to verify if anything was rewritten."""
        result = CacheResult(self.access, self._plan)
        result.sweep = self._sweep(self._plan.mode)
        rotated = result.sweep.tally.outcomes[Outcome.ROTATED]
        if result.sweep.complete and rotated and self._plan.verify:
            result.verification = self._sweep(Mode.VERIFY)
        last = result.verification or result.sweep
        if last.complete:
            try:
                result.copies = self._meanwhile.find_copies(self._discover(), self.access.connect)
            except ServerError as error:
                last.not_looked_at.append(f"replicas and files could not be looked at: {error}")
                last.cut_short = self._stopper.reason()
        self._meanwhile.look_back(self.access.connect)
        result.evictions = self._meanwhile.evictions
        clock = self._meanwhile.clock
        result.doubt, result.latest = clock.clock_warning, clock.latest()
        return result

    def _sweep(self, mode: Mode) -> SweepResult:
        name = self.access.cache.name
        databases = self.access.settings.databases
        topology = self._discover()
        workers = self._workers(len(topology.primaries))
        scope = Scope(
            mode=mode,
            match=self.access.settings.match,
            databases=None if databases == "all" else databases,
            only_key=self._plan.only_key if mode is Mode.RUN else None,
            page=self._plan.page,
            limits=self._plan.limits.share(workers),
        )
        engine = self._engine(workers)
        with self._progress(name, _PHASES[mode], topology.names) as bar:
            control = _Control(self._state, self._stopper, bar, name, self._plan)
            result = Sweep(self._discover, engine, scope, control).run()
        result.visits_now, result.rotated_now = control.visits, control.rotated
        if result.complete:
            self._state.drop_positions(name, mode)
        log.info(
            "sweep ended",
            cache=name,
            mode=str(mode),
            complete=result.complete,
            visits=result.tally.visits,
            **{str(k): v for k, v in result.tally.outcomes.items() if v},
        )
        return result

    def _workers(self, nodes: int) -> int:
        """How many nodes are swept at once, at most; each gets its share of the limits."""
        if self._machines is None:
            return min(nodes, self._plan.workers or os.cpu_count() or 1)
        # Workers may come at any time; but a rate is shared among those that are there.
        come = self._machines.count() if self._plan.limits.rate else nodes
        return min(nodes, self._plan.workers or come)

    def _engine(self, workers: int) -> Engine:
        if self._machines is not None:
            return self._machines.engine(self._files, self.access, workers)
        if workers < 2:
            return InlineEngine(self.access)
        return ProcessEngine(self._files, self.access.cache.name, self._state.path, workers)

    def _discover(self, known: Topology | None = None) -> Topology:
        topology = self._preflight.discover(known)
        self._meanwhile.note(topology)
        return topology

    def _announce(self, topology: Topology) -> None:
        """Say what will be done, before it is."""
        for move in topology.moves:
            log.warning("the sweep cannot be complete while this lasts", move=move)
        log.info(
            "plan",
            cache=self.access.cache.name,
            mode=str(self._plan.mode),
            nodes=[str(address) for address in topology.primaries],
            names=topology.names,
            current=self.keyring.current.id,
            old=[key.id for key in self.keyring.old],
            formats=list(self.access.settings.formats),
            write=self.access.settings.write,
            match=list(self.access.settings.match),
        )


class _Control:
    """Carries the progress of one sweep to the bar, and its positions to the state."""

    def __init__(
        self, state: State, stopper: StopSignal, bar: Progress, cache: str, plan: RunOptions
    ) -> None:
        self._state = state
        self._stopper = stopper
        self._bar = bar
        self._cache = cache
        self._plan = plan
        self.visits = 0
        self.rotated = 0

    def stop(self) -> Stop | None:
        return self._stopper.reason()

    def page_done(self, node: str, visits: int, rotated: int, left: int) -> None:  # noqa: ARG002 - one bar for all nodes
        self.visits += visits
        self.rotated += rotated
        self._bar.advance(visits=visits, rotated=rotated, left=left)

    def wait(self, node: str, reason: str | None) -> None:  # noqa: ARG002 - one bar for all nodes
        self._bar.wait(reason)

    def save(self, node: str, position: dict[str, Any]) -> None:
        self._state.save_position(self._cache, self._plan.mode, node, position)

    def load(self, node: str) -> dict[str, Any] | None:
        if self._plan.fresh:
            return None
        return self._state.load_position(self._cache, self._plan.mode, node)


def _require_encryption(access: CacheContext) -> tuple[Keyring, Codec]:
    if access.keyring is None or access.codec is None:
        raise ConfigError(
            f"{access.cache.field('encryption.disabled')}: the cache {access.cache.name} is not "
            "encrypted, so there is nothing to rotate",
            hint="leave it out with --cache",
        )
    return access.keyring, access.codec
