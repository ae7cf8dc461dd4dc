"""
Dask worker: sweeps a node on another machine.

- The configuration and the secrets are this machine's own; see `NodeTask`.
- Progress, log lines and positions go back as events of the dask cluster, pages together. The
  wish to stop is a dask variable, looked at now and then.
- A machine that sends tasks and then is not heard of any more counts as gone: what nobody waits
  for is stopped.
"""

import json
import time
from operator import add
from typing import Any

import structlog
from distributed import Variable, get_client, get_worker

from rotator.sweep.control import Stop, WorkerChannel
from rotator.sweep.engine import NodeTask, init_worker, run_node_task, send_log
from rotator.sweep.results import NodeResult

TOPIC = "rotator"
"""The topic of all events of all runs; each names its run. A topic stays for good: one will do."""

GONE = list(Stop).index(Stop.TERMINATED) + 1
"""The number of the `Stop` of a worker whose run is gone; nobody will see it."""

_SEND_SECONDS = 0.1  # what happens meanwhile is told together
_ASK_SECONDS = 0.25  # how soon a wish to stop is heard
_REPLY_SECONDS = 5.0  # how long the scheduler may take to answer


def run_dask_task(task: NodeTask, run: str, silence: float) -> NodeResult | str:
    """
    Sweep a node for a *run*, of which nothing may be heard for *silence* seconds at most.

    A text says why this worker must not.
    """
    try:
        events = EventChannel(run, silence)
    except OSError as error:
        return f"it cannot reach its own scheduler: {error}"
    init_worker(WorkerChannel(events, events))
    structlog.configure(processors=[send_log], cache_logger_on_first_use=False)
    try:
        return run_node_task(task)
    finally:
        events.flush()


def stop_variable(run: str) -> str:
    """Return the name of the variable that tells the workers of a run to stop: [beat, stop]."""
    return f"rotator-{run}"


class EventChannel:
    """
    Event channel: stands for both ends of a `WorkerChannel` between machines.

    Messages go with `put`, `value` is the wish to stop. It is for one thread of a dask worker.
    """

    def __init__(self, run: str, silence: float) -> None:
        self._run = run
        self._silence = silence
        self._worker = get_worker()
        self._variable = Variable(stop_variable(run), client=get_client())
        self._pages: list[Any] = []
        self._wait: tuple[Any, ...] = ()
        self._sent_at = self._heard_at = time.monotonic()
        self._asked_at = 0.0
        self._beat = -1
        self._stop = 0

    def put(self, message: tuple[str, tuple[Any, ...]]) -> None:
        """Send a message; pages are put together, and of waits only the last one is told."""
        method, arguments = message
        if method == "page_done":
            node, *numbers = arguments
            self._pages = [node, *map(add, self._pages[1:] or (0, 0, 0), numbers)]
        elif method == "wait":
            self._wait = arguments
        else:
            self.flush()
            self._send(method, arguments)
        self._flush_in_time()

    @property
    def value(self) -> int:
        """The number of a `Stop`, from 1; 0 to go on."""
        self._flush_in_time()
        now = time.monotonic()
        if not self._stop and now - self._asked_at > _ASK_SECONDS:
            self._asked_at = now
            self._ask(now)
        return self._stop

    def flush(self) -> None:
        """Send what was held back."""
        if self._pages:
            self._send("page_done", self._pages)
        if self._wait:
            self._send("wait", self._wait)
        self._pages, self._wait = [], ()
        self._sent_at = time.monotonic()

    def _flush_in_time(self) -> None:
        if time.monotonic() - self._sent_at > _SEND_SECONDS:
            self.flush()

    def _ask(self, now: float) -> None:
        try:
            beat, self._stop = self._variable.get(
                timeout=_ASK_SECONDS, callback_timeout=_REPLY_SECONDS
            )
        except (OSError, RuntimeError, AttributeError):
            self._stop = GONE  # the variable was deleted, or there is no way to the scheduler
            return
        if beat != self._beat:
            self._beat, self._heard_at = beat, now
        elif now - self._heard_at > self._silence:
            self._stop = GONE

    def _send(self, method: str, arguments: object) -> None:
        # As JSON: a text of a server may hold what dask's own encoding does not take.
        self._worker.log_event(TOPIC, [self._run, json.dumps([method, arguments])])
