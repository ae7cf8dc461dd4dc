"""
Cache run: sweeps one cache, verifies, looks around.

Nothing is written before `prepare` has come back, and nothing at all in a dry run.
"""

import os
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from pathlib import Path

import structlog

from rotator.crypto.keyring import Keyring
from rotator.errors import ConfigError, ServerError
from rotator.progress import Progress
from rotator.run.preflight import Preflight
from rotator.run.surroundings import ServerObserver
from rotator.server.acl import WRITING
from rotator.server.context import CacheContext
from rotator.server.topology import Topology
from rotator.state.state import State
from rotator.sweep.control import ProgressControl, StopSignal
from rotator.sweep.engine import Engine, InlineEngine, ProcessEngine, RemoteWorkers
from rotator.sweep.results import CacheResult, SweepResult
from rotator.sweep.scope import RunOptions, Scope
from rotator.sweep.sweep import sweep_cache
from rotator.tally.tally import Mode, Outcome

log = structlog.get_logger(__name__)

_PHASES = {Mode.RUN: "rotating", Mode.DRY_RUN: "looking", Mode.VERIFY: "verifying"}


@dataclass(slots=True)
class CacheRun:
    """
    Cache run: works on one cache that has encryption on.

    *files* are those of the configuration. *progress* makes the bar of a phase of a cache, told how
    many names are expected. *machines* sweep the nodes, if there are any; else this one does.
    """

    access: CacheContext
    options: RunOptions
    _: KW_ONLY
    files: tuple[Path, ...]
    state: State
    stopper: StopSignal
    progress: Callable[[str, str, int], Progress]
    machines: RemoteWorkers | None = None
    _preflight: Preflight = field(init=False)
    _observer: ServerObserver = field(init=False, default_factory=ServerObserver)

    def __post_init__(self) -> None:
        self._preflight = Preflight(
            context=self.access,
            pattern=self.access.settings.match[0],
            patience=self.options.patience,
            should_stop=self.stopper.reason,
            besides=() if self.options.dry_run else WRITING,
        )

    def prepare(self) -> None:
        """
        Check that all of the job can be done, and keep other runs away until `close`.

        Raises:
            ConfigError: It has no encryption, or `--only-key` is none of its old keys.
            ServerError: A node cannot be reached, refuses the login, or lacks rights.
            BusyError: Another run works on this cache.
        """
        cache, keyring = self.access.cache, self.access.keyring
        if keyring is None:
            raise ConfigError(
                f"{cache.field('encryption.disabled')}: the cache {cache.name} is not encrypted, "
                "so there is nothing to rotate",
                hint="leave it out with --cache",
            )
        only = self.options.only_key
        if only is not None and only not in {key.id for key in keyring.old}:
            raise ConfigError(
                f"--only-key {only} is no old key of the cache {cache.name}",
                hint="`rotator keys` lists the key ids",
            )
        topology = self._preflight.run(None if self.options.dry_run else self.state.path)
        self._observer.note(topology)
        self._observer.look_ahead(topology, self.access.connect)
        self._announce(topology, keyring)

    def close(self) -> None:
        """Let other runs have the cache again."""
        self._preflight.close()

    def run(self) -> CacheResult:
        """Sweep, and sweep again to verify if anything was rewritten."""
        result = CacheResult(self.access, self.options)
        result.sweep = self._sweep(self.options.mode)
        rotated = result.sweep.tally.outcomes[Outcome.ROTATED]
        if result.sweep.complete and rotated and self.options.verify:
            result.verification = self._sweep(Mode.VERIFY)
        last = result.verification or result.sweep
        if last.complete:
            try:
                result.copies = self._observer.find_copies(self._discover(), self.access.connect)
            except ServerError as error:
                last.not_looked_at.append(f"replicas and files could not be looked at: {error}")
                last.cut_short = self.stopper.reason()
        self._observer.look_back(self.access.connect)
        result.evictions = self._observer.evictions
        clock = self._observer.clock
        result.doubt, result.latest = clock.clock_warning, clock.latest()
        return result

    def _sweep(self, mode: Mode) -> SweepResult:
        name, kept_as = self.access.cache.name, self.options.mode
        topology = self._discover()
        workers = self._workers(len(topology.primaries))
        scope = Scope(
            mode=mode,
            match=self.access.settings.match,
            databases=self.access.settings.databases,
            only_key=self.options.only_key if mode is Mode.RUN else None,
            page=self.options.page,
            limits=self.options.limits.share(workers),
        )
        engine = self._engine(workers)
        with self.progress(name, _PHASES[mode], topology.names) as bar:
            control = ProgressControl(self.stopper.reason, bar)
            control.save = partial(self.state.save_position, name, kept_as)
            if not self.options.fresh:
                control.load = partial(self.state.load_position, name, kept_as)
            result = sweep_cache(self._discover, engine, scope, control)
        result.visits_now, result.rotated_now = control.visits, control.rotated
        if result.complete:
            self.state.drop_positions(name, mode)
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
        """Return how many nodes are swept at once; each gets its share of the limits."""
        if self.machines is None:
            return min(nodes, self.options.workers or os.cpu_count() or 1)
        # Workers may come at any time; but a rate is shared among those that are there.
        come = self.machines.count() if self.options.limits.rate else nodes
        return min(nodes, self.options.workers or come)

    def _engine(self, workers: int) -> Engine:
        if self.machines is not None:
            return self.machines.engine(self.files, self.access, workers)
        if workers < 2:
            return InlineEngine(self.access)
        return ProcessEngine(self.files, self.access, self.state.path, workers)

    def _discover(self) -> Topology:
        topology = self._preflight.discover()
        self._observer.note(topology)
        return topology

    def _announce(self, topology: Topology, keyring: Keyring) -> None:
        """Say what will be done, before it is."""
        for move in topology.moves:
            log.warning("the sweep cannot be complete while this lasts", move=move)
        log.info(
            "plan",
            cache=self.access.cache.name,
            mode=str(self.options.mode),
            nodes=[str(address) for address in topology.primaries],
            names=topology.names,
            current=keyring.current.id,
            old=[key.id for key in keyring.old],
            formats=list(self.access.settings.formats),
            write=self.access.settings.write,
            match=list(self.access.settings.match),
        )
