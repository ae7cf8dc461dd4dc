"""`rotator status`, `tune`: show what runs now, and change it, by the state file alone."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from rich.live import Live

from rotator.cli import options
from rotator.console import COLUMNS, console, print_json, print_result
from rotator.errors import ConfigError, StateError
from rotator.report.archive import load_reports
from rotator.report.files import existing_state
from rotator.report.live.status import Overview, as_data, render
from rotator.state.live import LiveRuns, Order, Owner, RunStatus
from rotator.state.state import State
from rotator.text import digits, escape, utc_now

STATUS_EXAMPLES = """\b
Examples:
  rotator status
      what runs now, how far it is, and how the last runs ended
  rotator status --watch
      the same, refreshed every second until nothing runs any more
  rotator status --cache shared-redis --format json
      for a script

Exit codes: 0 nothing runs and all is well; 4 something runs; 3 please look:
a run was killed, the last one failed or left values, or there was none yet; 1 there
is no state, or it cannot be read; 2 usage.
"""
TUNE_EXAMPLES = """\b
Examples:
  rotator tune --max-rate 500
      slower, from the next page on; 0 is no limit
  rotator tune --pause
  rotator tune --resume
      nothing is done in between, and the position is kept
  rotator tune --cache shared-redis --stop
      stop after the current page: exit code 4; the next run goes on there

Exit codes: 0 the run has picked it up; 1 nothing runs, or it does not answer; 2 usage.
"""

_NO_STATE = "give the file of your runs with --state"
_ANSWER_SECONDS = 10.0
_POLL_SECONDS = 0.2
_WATCH_SECONDS, _PLAIN_SECONDS = 1.0, 60.0


def status_command(
    *,
    watch: bool = options.option(
        "--watch", "Refresh it every second until nothing runs; without a terminal, every minute."
    ),
    cache: options.Caches = None,
    state: options.StatePath = None,
    output: options.Format = options.ReportFormat.TABLE,
) -> int:
    """
    Show what runs now, and how the last runs ended, from the state file.

    It does not touch Redis. For each run it shows the start, the phase, how far each node is, the
    rate, the time left, what it waits for, and the limits in force, as of a few seconds ago.
    """
    as_json = output is options.ReportFormat.JSON
    path = existing_state(state, _NO_STATE)
    with State(path) as opened, LiveRuns(path) as runs:

        def look() -> Overview:
            last = load_reports(opened, utc_now()) if opened.last_reports() else None
            seen = Overview(runs.all(), last, utc_now())
            _require_known(seen, cache or ())
            return seen.of_caches(cache or ())

        seen = _watch(look, as_json=as_json) if watch else look()
    _print(seen, as_json=as_json)
    return seen.exit_code()


def tune_command(
    *,
    max_rate: float | None = options.option(
        "--max-rate",
        "At most this many visits per second, of all workers together.",
        metavar="N",
        min=0,
        max=10**7,
    ),
    max_latency: float | None = options.option(
        "--max-latency",
        "Delay that other clients may see, in milliseconds.",
        metavar="MS",
        min=0,
        max=10**5,
    ),
    max_lag: int | None = options.option(
        "--max-lag",
        "Wait while a replica lags more than this.",
        metavar="BYTES",
        min=0,
        max=10**15,
    ),
    pause: bool = options.option("--pause", "Do nothing until --resume."),
    resume: bool = options.option("--resume", "Go on after --pause."),
    stop: bool = options.option("--stop", "Stop after the current page, and keep the position."),
    run: str | None = options.option(
        "--run", "Id of the run, or the beginning of it.", metavar="ID"
    ),
    cache: options.Caches = None,
    state: options.StatePath = None,
) -> None:
    """
    Change a run that is under way: its limits, pause, resume, stop.

    The run may be on any machine that uses the same state file. It picks up the change within two
    seconds, says so in its log, and lists it in its report. 0 removes a limit. A change holds until
    the run ends.
    """
    asked = {"--max-rate": max_rate, "--max-latency": max_latency, "--max-lag": max_lag}
    said = [f"{name} {digits(number)}" for name, number in asked.items() if number is not None]
    switches = {"--pause": pause, "--resume": resume, "--stop": stop}
    said += [name for name, given in switches.items() if given]
    if not said:
        raise ConfigError(
            "there is nothing to change", hint=f"give one of {', '.join(asked | switches)}"
        )
    if pause and resume:
        raise ConfigError("--pause and --resume are opposites", hint="leave one of them out")
    here = Owner.here()
    order = Order(
        utc_now(),
        here.user,
        here.host,
        rate=max_rate,
        latency=max_latency,
        lag=max_lag,
        pause=pause if pause or resume else None,
        stop=stop,
    )
    with LiveRuns(existing_state(state, _NO_STATE)) as runs:
        chosen = _choose(runs.all(), run, cache or ())
        number = runs.give(chosen.run, order)
        heard = _wait_until_heard(runs, chosen, number)
    if not heard and not stop:
        raise StateError(
            f"the run {chosen.run} ended before it picked up the change",
            hint="`rotator status` shows how it ended",
        )
    names = ", ".join(map(escape, chosen.caches))
    print_result(f"{chosen.command} {chosen.run} ({names}): {', '.join(said)}")


def _require_known(seen: Overview, names: Sequence[str]) -> None:
    """
    Raise unless the state knows of these caches, or of none at all yet.

    Raises:
        ConfigError: It knows of others: a name is likely to be misspelt.
    """
    known = dict.fromkeys(cache.name for cache in (seen.last.caches if seen.last else ()))
    known |= dict.fromkeys(name for run in seen.runs for name in run.caches)
    for name in names if known else ():
        if name not in known:
            raise ConfigError(
                f"--cache {name}: the state file has no run on this cache",
                hint=f"it has runs on {', '.join(known)}",
            )


def _choose(runs: Sequence[RunStatus], run: str | None, caches: Sequence[str]) -> RunStatus:
    """
    Return the only run that is meant, and not dead.

    Raises:
        StateError: There is none, or there are several.
    """
    now = utc_now()
    found = [
        one
        for one in runs
        if not one.is_dead(now)
        and one.run.startswith(run or "")
        and (not caches or set(caches) & set(one.caches))
    ]
    if not found:
        which = "such run" if run or caches else "run"
        text = f"no {which} is in progress with this state file"
        raise StateError(text, hint="`rotator status` shows what runs")
    if len(found) > 1:
        names = ", ".join(f"{one.run} ({', '.join(one.caches)})" for one in found)
        text = f"several runs are in progress: {names}"
        raise ConfigError(text, hint="choose one with --cache or --run")
    return found[0]


def _wait_until_heard(runs: LiveRuns, chosen: RunStatus, number: int) -> bool:
    """Wait until the run has heard an order; return False if it has ended before."""
    deadline = time.monotonic() + _ANSWER_SECONDS
    while time.monotonic() < deadline:
        now = next((one for one in runs.all() if one.run == chosen.run), None)
        if now is None:
            return not runs.withdraw(chosen.run, number)
        if now.heard >= number:
            return True
        time.sleep(_POLL_SECONDS)
    raise StateError(
        f"the run {chosen.run} has not answered for {_ANSWER_SECONDS:g} s",
        hint="it picks up the change when it can; `rotator status` shows when it last reported",
    )


def _print(seen: Overview, *, as_json: bool) -> None:
    if as_json:
        print_json(as_data(seen))
    else:
        print_result(render(seen))


def _watch(look: Callable[[], Overview], *, as_json: bool) -> Overview:
    """Show what runs until nothing does, or until Ctrl-C; return what is to be shown at last."""
    redraws = sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and not as_json
    seen = look()
    with suppress(KeyboardInterrupt):
        if not redraws:
            while seen.at_work:
                _print(seen, as_json=as_json)
                seen = _look_for(look, _PLAIN_SECONDS)
            return seen
        drawer = console(sys.stdout)
        with Live(console=drawer, auto_refresh=False, transient=True) as live:
            while seen.at_work:
                columns = min(os.get_terminal_size(sys.stdout.fileno()).columns, COLUMNS)
                if columns < drawer.width:  # what stands there goes on in more rows now
                    drawer.clear()
                drawer.width = columns
                live.update(render(seen), refresh=True)
                time.sleep(_WATCH_SECONDS)
                seen = look()
    return seen


def _look_for(look: Callable[[], Overview], seconds: float) -> Overview:
    """Look each second, for so many or until nothing runs any more."""
    deadline, seen = time.monotonic() + seconds, look()
    while seen.at_work and time.monotonic() < deadline:
        time.sleep(_WATCH_SECONDS)
        seen = look()
    return seen
