"""
Cache run: sweeps one cache, verifies, looks around.

Nothing is written before `prepare` has come back, and nothing at all in a dry run.
"""

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import partial
from pathlib import Path

import structlog

from rotator.crypto.keyring import Keyring
from rotator.errors import ConfigError, ServerError
from rotator.progress import Progress
from rotator.retirement.looks import Look, number
from rotator.retirement.places import Declarations
from rotator.run.evidence import find_history, latest_history
from rotator.run.formats import Canary
from rotator.run.planner import Planner, write_one_anew
from rotator.run.preflight import Preflight
from rotator.run.surroundings import Observation, ServerObserver
from rotator.server.acl import REFRESHING, WRITING, with_fields
from rotator.server.context import CacheContext
from rotator.server.copies import refresh_files, take_look
from rotator.server.topology import Topology
from rotator.server.wire.stream import Patience
from rotator.state.state import State
from rotator.sweep.control import PositionSaver, ProgressControl, StopSignal
from rotator.sweep.engine import Engine, InlineEngine, ProcessEngine, RemoteWorkers
from rotator.sweep.results import CacheResult, SweepResult
from rotator.sweep.scope import RunOptions, Scope
from rotator.sweep.sweep import sweep_cache
from rotator.tally.tally import Mode, Outcome
from rotator.text import utc_now

log = structlog.get_logger(__name__)

_PHASES = {Mode.RUN: "rotating", Mode.DRY_RUN: "looking", Mode.VERIFY: "verifying"}


@dataclass(slots=True)
class CacheRun:
    """
    Cache run: works on one cache that has encryption on.

    *files* are those of the configuration, *declared* is what the operator knows. *progress* makes
    the bar of a phase of a cache, told how many names are expected. *refreshes*: servers may be
    asked to write files anew. *machines* sweep the nodes, if there are any; else this one does.
    *history* is what the state calls that of the data, *looked_at* are the looks before the work.
    """

    access: CacheContext
    options: RunOptions
    _: KW_ONLY
    files: tuple[Path, ...]
    state: State
    stopper: StopSignal
    progress: Callable[[str, str, int], Progress]
    declared: Declarations = field(default_factory=Declarations)
    refreshes: bool = False
    machines: RemoteWorkers | None = None
    _preflight: Preflight = field(init=False)
    _observer: ServerObserver = field(init=False, default_factory=ServerObserver)
    history: str = field(init=False, default="")
    looked_at: list[Look] = field(init=False, default_factory=list)
    _basis: str = field(init=False, default="")
    _forbidden: tuple[str, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        self.access.patience = Patience(self.stopper.reason)
        writing = () if self.options.dry_run else WRITING
        refreshing = REFRESHING if self.refreshes else ()
        self._preflight = Preflight(
            context=self.access,
            pattern=self.access.settings.match[0],
            patience=self.options.patience,
            should_stop=self.stopper.reason,
            besides=(*with_fields(writing, self.access.settings.fields), *refreshing),
            replicas=self._known_servers(),
            force=self.options.force_lock,
        )

    def prepare(self) -> None:
        """
        Check that all of the job can be done, and keep other runs away until `close`.

        Raises:
            ConfigError: No encryption, `--only-key` is no old key, or the current one has no label.
            UnmetFormatError, WrongKeyError: Applications might not be able to read what it writes.
            ServerError: A node cannot be reached, refuses the login, or lacks rights.
            BusyError: Another run works on this cache.
        """
        keyring, cache = self.require_keys(), self.access.cache
        with self.progress(cache.name, "preparing", 0) as bar:
            self._preflight.waiting = bar.wait
            topology = self._preflight.run(None if self.options.dry_run else self.state.path)
        self._observer.note(topology)
        self.looked_at = self._observer.look_ahead(topology, self.access.connect)
        given = map(str, cache.addresses)
        self.history = find_history(self.state, cache.name, given, self.looked_at)
        if not self.options.dry_run:
            self._forbidden = self._canary.guard(topology.primaries)
        self._announce(topology, keyring)

    def require_keys(self) -> Keyring:
        """Return the keys, if there are any; raise ConfigError as `prepare` says."""
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
                f"--only-key {only} is not an old key of the cache {cache.name}",
                hint="`rotator keys` lists the key ids",
            )
        self.access.require_labels()
        return keyring

    @property
    def _canary(self) -> Canary:
        return Canary(self.access, self.state, self.history)

    def _known_servers(self) -> set[str]:
        """Return the addresses that were seen in the data's latest history."""
        history = latest_history(self.state, self.access.cache.name)
        return {look.address for look in self.state.looks(history)}

    def close(self) -> None:
        """Let other runs have the cache again."""
        self._preflight.close()

    def run(self) -> CacheResult:
        """Sweep, and sweep again, only reading, unless the first sweep proves what it saw."""
        result = CacheResult(self.access, self.options, history=self.history, looks=self.looked_at)
        if self.options.mode is Mode.RUN:
            self.state.begin_work(self.access.cache.name, self.history, utc_now())
            self.state.drop_positions(self.access.cache.name, Mode.DRY_RUN)
        sweep = result.sweep = self._sweep(self.options.mode)
        if self._wants_proof(sweep):
            result.verification = self._sweep(Mode.VERIFY)
            result = self._after_moves(result)
        result.basis = self._basis
        for one in filter(None, (result.sweep, result.verification)):
            proofs = [node.proof for node in one.nodes if node.proof]
            result.looks += [look for proof in proofs for look in (proof.before, proof.after)]
        result.looks += self.look_again(result)
        if sweep.rotated_now and sweep.complete and _hides_rewrites(result.looks):
            self._touch()
            result.looks += self.look_again(result)
        self._observer.look_back(self.access.connect)
        clock, result.evictions = self._observer.clock, self._observer.evictions
        result.doubt, result.latest = clock.clock_warning, clock.latest()
        return result

    def keep(self, result: CacheResult) -> None:
        """Take down in which formats values were met and written, and if a run would be refused."""
        for sweep in filter(None, (result.sweep, result.verification)):
            result.refusal = self._canary.keep(sweep) or result.refusal

    def _after_moves(self, result: CacheResult) -> CacheResult:
        """Rewrite what was moved past the first sweep, if any was, and look for old keys again."""
        sweep, found = result.sweep, result.verification
        moved = sweep and any(node.moved for node in sweep.nodes)
        left = found.tally.outcomes[Outcome.WOULD_ROTATE] if found and found.complete else 0
        if sweep is None or not moved or not left:
            return result
        log.info("values were moved meanwhile", cache=self.access.cache.name, left=left)
        work = self._sweep(Mode.RUN, tracks=True)
        again = replace(result, sweep=work, verification=None)
        if self._wants_proof(work):
            again.verification = self._sweep(Mode.VERIFY)
        if (work.complete and again.verified) or self.stopper.reason():
            return again.after(result)
        # Somebody goes on with it: what was found stands, and what was rewritten counts.
        sweep.nodes[0].tally.merge(work.tally.only_rotated())
        return result

    def _wants_proof(self, sweep: SweepResult) -> bool:
        """Return whether a sweep that only reads is to follow: one that worked proves nothing."""
        works = self.options.mode is Mode.RUN and self.options.verify and sweep.complete
        return works and not sweep.proven

    def look_again(self, result: CacheResult) -> list[Look]:
        """Return looks at all servers of the cache as they are now."""
        try:
            topology = self._discover()
        except ServerError as error:
            log.warning("servers could not be looked at", error=str(error))
            return []
        result.primaries = topology.primaries
        return Observation(
            topology=topology,
            connect=self.access.connect,
            addresses=self.access.cache.addresses,
            replicas=self.access.settings.replicas,
            declared=self.declared,
            known=self.state.looks(result.history),
            recent=result.looks,
            has_password=self.access.login.has_password,
            should_stop=self.stopper.reason,
        ).run()

    def refresh_files(self, tasks: Sequence[tuple[str, str]], result: CacheResult) -> list[Look]:
        """Have servers write files anew, each an address and `rdb` or `aof`; return the looks."""
        result.not_written.clear()
        with self.progress(self.access.cache.name, "refreshing files", len(tasks)) as bar:
            return refresh_files(
                tasks,
                self.access.connect,
                primaries=self._discover().primaries,
                touch=self._touch,
                waiting=bar.wait,
                refused=result.not_written.append,
                should_stop=self.stopper.reason,
            )

    def _touch(self) -> dict[str, int]:
        """
        Encrypt one current value anew on every primary: only then a rewrite can be seen.

        Return how far the stream of each is then, in bytes, by its replication id.
        """
        codec, settings, goals = self.access.codec, self.access.settings, {}
        visited = (settings.match, settings.databases)
        scope = Scope(Mode.RUN, *visited, outside=False, fields=settings.fields)
        for address in self._discover().primaries:
            with self.access.connect(address) as store:
                if codec and not write_one_anew(store, codec, scope):
                    log.info("no value to rewrite", node=store.node)
                look = take_look(store, settings=False)
                goals[look.facts.get("master_replid", "")] = number(look, "master_repl_offset") or 0
        return goals

    def _sweep(self, mode: Mode, *, tracks: bool = False) -> SweepResult:
        """Sweep all nodes; *tracks*: what is moved meanwhile is found, at a cost to the server."""
        name, kept_as = self.access.cache.name, self.options.mode
        topology = self._discover()
        scope = Scope(
            mode=mode,
            match=self.access.settings.match,
            databases=self.access.settings.databases,
            fields=self.access.settings.fields,
            only_key=self.options.only_key if mode is Mode.RUN else None,
            page=self.options.page,
            outside=self.declared.outside is None,
            one_server=self.declared.identity is not None,
            tracks=tracks,
            forbidden=self._forbidden,
        )
        plan = Planner(self.access, self.options, self.state, self.machines).plan(topology, scope)
        engine, scope = self._engine(plan.workers), replace(scope, limits=plan.limits)
        self._basis = scope.basis(self.access.codec) if self.access.codec else ""
        with self.progress(name, _PHASES[mode], topology.names) as bar:
            control = ProgressControl(self.stopper.reason, bar, orders=self.stopper.ordered)
            self._preflight.waiting = bar.wait
            control.save = PositionSaver(partial(self.state.save_position, name, kept_as)).save
            if not self.options.fresh:
                control.load = partial(self.state.load_position, name, kept_as)
            result = sweep_cache(self._discover, engine, scope, control, plan.node)
        result.visits_now, result.rotated_now = control.visits, control.rotated
        if result.complete:
            self.state.drop_positions(name, mode)
        log.info(
            "sweep ended",
            cache=name,
            mode=str(mode),
            complete=result.complete,
            visits=result.tally.visits,
            visits_now=result.visits_now,
            **{str(k): v for k, v in result.tally.outcomes.items() if v},
        )
        return result

    def _engine(self, workers: int) -> Engine:
        if self.machines is not None:
            return self.machines.engine(self.files, self.access, workers)
        shared = (self.files, self.access, self.state.path, workers)
        return ProcessEngine(*shared) if workers > 1 else InlineEngine(self.access)

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


def _hides_rewrites(looks: Sequence[Look]) -> bool:
    """
    Return whether an append-only file has just been rewritten, so that no later rewrite would show.

    One more write, and BGREWRITEAOF alone ends the hold (info-facts B2: unchanged data).
    """
    latest = {look.address: look.facts for look in looks}
    return any(
        facts.get("aof_enabled") == "1" and facts["aof_base_size"] == facts.get("aof_current_size")
        for facts in latest.values()
        if "aof_base_size" in facts
    )
