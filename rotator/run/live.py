"""
Live run: tells what a run does now, and hears what is to be changed.

A thread of the parent writes the run's row in the state, a log line a minute where no bar is drawn,
and the metrics file, and reads what `rotator tune` has left in the state. It takes a hundredth of
the time, at most; a state that cannot be used for a moment fails no run.
"""

import signal
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Self

import structlog

from rotator.errors import RotatorError, StateError
from rotator.progress import Progress, ProgressFormat
from rotator.report.files import write_whole
from rotator.report.live.progress import metrics_text, read_metrics, say
from rotator.state.live import LiveRuns, NodeStatus, Order, Owner, RunStatus
from rotator.sweep.control import Change, Orders, Stop, StopSignal
from rotator.sweep.node.throttle import Reason
from rotator.sweep.scope import Limits
from rotator.text import digits, utc_now

_TICK_SECONDS, _WRITE_SECONDS = 0.5, 1.0  # `tune` is heard within 2 s
_SAY_SECONDS, _METRICS_SECONDS = 60.0, 15.0
_SHARE, _LOCKED = 100, 10  # so many times as long as it worked, and as it lasted, nothing is done
_LOCK_SECONDS = 0.05  # how long a lock of somebody else is waited for
_PACE_SECONDS = 30.0  # what the rate is of

log = structlog.get_logger(__name__)

MakeProgress = Callable[[str, str, int], Progress]


class _Phase(Progress):
    """Phase: counts what one phase of one cache does, and passes it on to what draws it."""

    def __init__(self, drawn: Progress, cache: str, name: str, total: int) -> None:
        self._drawn = drawn
        self.cache, self.name = cache, name
        self.expected, self.since = total or None, utc_now()
        self.visits = self.before = self.rotated = self.rotated_before = self.left = 0
        self.reason: str | None = None
        self._reasons: set[str] = set()
        self.news = False  # it waits for what it has not waited for before
        self._nodes: dict[str, list[int]] = {}
        self._done: set[str] = set()
        self._pace = deque([(time.monotonic(), 0)])

    def begin_nodes(self, names: Mapping[str, int]) -> None:
        """See `Progress`."""
        self._nodes = {node: [0, expected] for node, expected in names.items()}
        self._drawn.begin_nodes(names)

    def resume(self, visits: int, rotated: int, left: int, node: str = "") -> None:
        """See `Progress`."""
        self.before += visits
        self._nodes.get(node, [0])[0] += visits
        self.rotated += rotated
        self.rotated_before += rotated
        self.left += left
        self._drawn.resume(visits, rotated, left, node)

    def advance(self, visits: int = 0, rotated: int = 0, left: int = 0, node: str = "") -> None:
        """See `Progress`."""
        self.visits += visits
        self.rotated += rotated
        self.left += left
        if node:
            self._nodes.setdefault(node, [0, 0])[0] += visits
        self._drawn.advance(visits, rotated, left, node)

    def wait(self, reason: str | None, node: str = "") -> None:
        """See `Progress`."""
        self.reason = reason
        if reason and reason not in self._reasons:
            self._reasons.add(reason)
            self.news = True
        self._drawn.wait(reason, node)

    def end_node(self, node: str) -> None:
        """See `Progress`."""
        self._done.add(node)
        self._drawn.end_node(node)

    def close(self) -> None:
        """See `Progress`."""
        self._drawn.close()

    def measure(self, *, paused: bool) -> None:
        """Note how many visits there are by now, for the rate; starts and pauses do not count."""
        now = time.monotonic()
        if paused or not self.visits or self.reason == Reason.PAUSED:
            self._pace.clear()
        self._pace.append((now, self.visits))
        while now - self._pace[0][0] > _PACE_SECONDS and len(self._pace) > 2:
            self._pace.popleft()

    def figures(self) -> dict[str, Any]:
        """Return what a `RunStatus` says of a phase."""
        (first, visits), (last, now) = self._pace[0], self._pace[-1]
        rate = (now - visits) / (last - first) if last > first else 0.0
        done = self.before + self.visits
        to_go = ((self.expected or 0) - done) / rate if rate else -1.0
        return {
            "cache": self.cache,
            "phase": self.name,
            "since": self.since,
            "visits": done,
            "visits_before": self.before,
            "expected": self.expected,
            "rate": round(rate, 1),
            "seconds_left": None if to_go < 0 else round(to_go, 1),
            "rotated": self.rotated,
            "rotated_before": self.rotated_before,
            "left": self.left,
            "reason": self.reason,
            "nodes": tuple(self._node_states()),
        }

    def _node_states(self) -> Iterator[NodeStatus]:
        """Yield how far each node is."""
        for node, (visits, expected) in list(self._nodes.items()):
            state = "done" if node in self._done else "under way" if visits else "waiting"
            yield NodeStatus(node, state, visits, expected)


@dataclass(slots=True)
class _Turn:
    """Turn: comes every so many *seconds*, at the *most*, or less often where it is costly."""

    seconds: float
    most: float
    _next: float = 0.0

    @contextmanager
    def taking(self) -> Iterator[None]:
        """Take the turn; the next one comes later where it takes long."""
        begun, worked = time.monotonic(), time.thread_time()
        try:
            yield
        finally:
            lasted, worked = time.monotonic() - begun, time.thread_time() - worked
            least = max(self.seconds, worked * _SHARE, lasted * _LOCKED)
            self._next = begun + min(least, self.most)

    @property
    def due(self) -> bool:
        """True if it is time."""
        return time.monotonic() >= self._next


@dataclass(slots=True, kw_only=True)
class LiveRun:
    """
    Live run: shows a run of *command* over *caches*, while the block goes on.

    *state* is the path of the state. What `tune` orders goes to *stopper*; *limits* are those that
    the run began with. *lines* says in which form a line a minute is written, None: none is.
    *metrics* is the file for Prometheus, if there is one.
    """

    state: Path
    command: str
    caches: Sequence[str]
    stopper: StopSignal
    limits: Limits
    lines: ProgressFormat | None = None
    metrics: Path | None = None
    _status: RunStatus = field(init=False)
    _phase: _Phase | None = field(init=False, default=None)
    _runs: LiveRuns | None = field(init=False, default=None)
    _asked: SimpleQueue[bool] = field(init=False, default_factory=SimpleQueue)
    _thread: Thread = field(init=False)
    _writing: _Turn = field(init=False, default_factory=lambda: _Turn(_WRITE_SECONDS, 10.0))
    _hearing: _Turn = field(init=False, default_factory=lambda: _Turn(_TICK_SECONDS, 1.5))
    _saying: _Turn = field(init=False, default_factory=lambda: _Turn(_SAY_SECONDS, 60.0))
    _measuring: _Turn = field(init=False, default_factory=lambda: _Turn(_METRICS_SECONDS, 15.0))
    _metrics_before: str = field(init=False, default="")
    _handler: Any = field(init=False, default=None)

    def __enter__(self) -> Self:
        now, run = utc_now(), uuid.uuid4().hex[:12]
        self._status = RunStatus(run, Owner.here(), self.command, tuple(self.caches), now, now)
        self._open()
        if self.metrics is not None:
            self._metrics_before = read_metrics(self.metrics)
        self._saying.taking().__enter__()
        self._thread = Thread(target=self._work, daemon=True)
        self._thread.start()
        self._handler = signal.signal(signal.SIGUSR1, lambda *_: self._asked.put(True))
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGUSR1, self._handler)
        self._asked.put(False)
        self._thread.join()
        self._write_metrics(running=False)
        if self._runs is not None:
            with suppress(StateError), self._runs as runs:
                runs.end(self._status.run, self._status.heard)

    def watching(self, make: MakeProgress) -> MakeProgress:
        """Return what makes the progress of a phase, so that it is seen here, too."""

        def begin(cache: str, name: str, total: int) -> Progress:
            self._phase = _Phase(make(cache, name, total), cache, name, total)
            return self._phase

        return begin

    def _work(self) -> None:
        """Do what is due, until the block ends."""
        while True:
            asked = None
            with suppress(Empty):
                asked = self._asked.get(timeout=_TICK_SECONDS)
            if asked is False:
                return
            if self._phase:
                self._phase.measure(paused=self.stopper.orders.paused)
            self._hear()
            self._write()
            self._say(asked=bool(asked))
            if self._measuring.due:
                with self._measuring.taking():
                    self._write_metrics(running=True)

    def _now(self) -> RunStatus:
        """Return what the run does now."""
        orders, stop = self.stopper.orders, self.stopper.signalled
        self._status = replace(
            self._status,
            at=utc_now(),
            limits=self._limits(orders),
            paused=orders.paused,
            stopping=None if stop is None else str(stop),
            **(self._phase.figures() if self._phase else {}),
        )
        return self._status

    def _limits(self, orders: Orders) -> dict[str, float | None]:
        """Return the limits in force, of all workers together."""
        tuned = self.limits.tuned(orders)
        found = {"max-rate": tuned.rate, "max-latency": tuned.latency, "max-lag": tuned.lag}
        return {name: number or None for name, number in found.items()}

    def _open(self) -> None:
        """Begin the row of this run; where the state cannot be used now, that is tried again."""
        with suppress(StateError):
            runs = LiveRuns(self.state, wait=_LOCK_SECONDS)
            runs.begin(self._now(), self._status.began_at)
            self._runs = runs

    def _write(self) -> None:
        if self._writing.due:
            with suppress(StateError), self._writing.taking():
                self._runs.put(self._now()) if self._runs else self._open()

    def _hear(self) -> None:
        """Carry out the orders that are new."""
        if self._runs is None or not self._hearing.due:
            return
        with suppress(StateError), self._hearing.taking():
            for number, order in self._runs.orders(self._status.run, self._status.heard):
                self._status = replace(self._status, heard=number)
                self._carry_out(order)

    def _carry_out(self, order: Order) -> None:
        before = self.stopper.orders
        given = {"rate": order.rate, "latency": order.latency, "lag": order.lag}
        wanted: dict[str, Any] = {**given, "paused": order.pause}
        orders = replace(before, **{name: one for name, one in wanted.items() if one is not None})
        old, new = self._limits(before), self._limits(orders)
        said = [(name, _shown(old[name]), _shown(new[name])) for name in new]
        words, at = ("going on", "paused"), utc_now().replace(microsecond=0)
        said.append(("pause", words[before.paused], words[orders.paused]))
        if order.stop:
            said.append(("stop", "going on", "stopping after this page"))
        for what, was, becomes in said:
            if was != becomes:
                who = {"user": order.user, "host": order.host}
                log.info("changed by tune", what=what, before=was, after=becomes, **who)
                change = Change(at, what, was, becomes, order.user, order.host)
                self.stopper.changes = (*self.stopper.changes, change)
        self.stopper.orders = orders
        if order.stop:
            self.stopper.ask(Stop.ORDERED)

    def _say(self, *, asked: bool) -> None:
        """Write a line if it is time to, if somebody *asked*, or for a new reason to wait."""
        as_json = self.lines is ProgressFormat.JSON
        due = self._saying.due and (as_json or self.lines is ProgressFormat.LOG)
        if not (asked or due or (as_json and self._phase and self._phase.news)):
            return
        if self._phase:
            self._phase.news = False
        with self._saying.taking():
            say(self._now(), as_json=as_json)

    def _write_metrics(self, *, running: bool) -> None:
        """Renew the file; that it cannot be written, the end of the run will say."""
        if self.metrics is not None:
            with suppress(RotatorError):
                text = metrics_text(self._now() if running else None)
                write_whole(self.metrics, self._metrics_before + text)


def _shown(number: float | None) -> str:
    """Return a limit as a word."""
    return digits(number) if number else "no limit"
