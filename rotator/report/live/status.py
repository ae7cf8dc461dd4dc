"""
Status: renders what runs now, and how each cache stood at the end of the last run.

It is made for a terminal of any width, and for a pipe: plain words, no lines and frames.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from rotator.errors import Exit
from rotator.progress import clock
from rotator.report import words
from rotator.report.layout import grid, indented, text
from rotator.report.live.progress import DONE
from rotator.report.model import Cache, Report
from rotator.state.live import RunStatus
from rotator.text import ago, count, elapsed, rfc3339, short_id, stamp

_WAITING = "waiting"  # the phase in which `run --wait` sleeps
_UNITS = {"max-rate": " a second", "max-latency": " ms", "max-lag": " bytes"}


@dataclass(frozen=True, slots=True)
class Overview:
    """Overview: holds all *runs* and the *last* reports, as of *now*; None: there is none yet."""

    runs: Sequence[RunStatus]
    last: Report | None
    now: datetime

    def of_caches(self, names: Sequence[str]) -> "Overview":
        """Return what it says of these caches alone; of all, if there are no *names*."""
        if not names:
            return self
        runs = [run for run in self.runs if set(names) & set(run.caches)]
        caches = self.last.caches if self.last else ()
        kept = tuple(cache for cache in caches if cache.name in names)
        last = self.last.model_copy(update={"caches": kept}) if self.last else None
        return Overview(runs, last, self.now)

    @property
    def at_work(self) -> list[RunStatus]:
        """The runs that are not dead."""
        return [run for run in self.runs if not run.is_dead(self.now)]

    @property
    def caches(self) -> list[Cache]:
        """The caches as they were last seen, those that are still there."""
        return [one for one in (self.last.caches if self.last else ()) if not one.superseded]

    def exit_code(self) -> int:
        """Return 3 where somebody has to look, 4 where something runs, else 0."""
        if len(self.at_work) < len(self.runs):
            return Exit.NOT_MOVED
        if self.at_work:
            return Exit.TIME_UP
        well = self.caches and not any(map(_wants_attention, self.caches))
        return Exit.OK if well else Exit.NOT_MOVED


def _wants_attention(cache: Cache) -> bool:
    """Return whether somebody has to look: one that was stopped goes on by itself."""
    failed = cache.attempt is not None and cache.attempt.error is not None
    return failed or (words.headline(cache)[1] != "good" and not cache.stopped)


def as_data(seen: Overview) -> dict[str, Any]:
    """Return it as plain JSON values."""
    return {
        "at": rfc3339(seen.now),
        "exit_code": int(seen.exit_code()),
        "runs": [_run_data(run, seen.now) for run in seen.runs],
        "last": [
            {
                "cache": cache.name,
                "result": words.headline(cache)[0],
                "judged_at": cache.judged_at and rfc3339(cache.judged_at),
                "needs_attention": _wants_attention(cache),
                "keys": {key.id: key.verdict for key in cache.keys if key.verdict},
            }
            for cache in seen.caches
        ],
    }


def _run_data(run: RunStatus, now: datetime) -> dict[str, Any]:
    """Return one run as plain JSON values."""
    times = {"began_at": run.began_at, "at": run.at, "since": run.since}
    said = {name: at and rfc3339(at) for name, at in times.items()}
    owner = {name: one for name, one in asdict(run.owner).items() if name != "started"}
    dead = run.is_dead(now)
    pace = {"rate": 0.0, "seconds_left": None} if dead else {}
    return {**asdict(run), **said, **pace, "owner": owner, "dead": dead}


def render(seen: Overview) -> RenderableType:
    """Return all of it, for `console.print_result`."""
    parts: list[RenderableType] = []
    for run in seen.runs:
        parts += [*_run(run, seen.now), Text()]
    if not seen.runs:
        parts += [text("nothing runs", "bold"), Text()]
    for cache in seen.caches:
        parts += _last(cache, seen.now)
    if not seen.caches:
        parts.append(text("no run has ended yet"))
    return Group(*parts)


def _run(run: RunStatus, now: datetime) -> Iterator[RenderableType]:
    """Yield one run: a title, and a line for each thing that is known."""
    dead = run.is_dead(now)
    title = f"{run.command} {run.run}: " + (
        "killed, or no longer reporting" if dead else _doing(run)
    )
    yield text(title, "bold red" if dead else "bold")
    lines = grid("left", "left", gap=2)
    for name, said in (*_figures(run, dead=dead), *_circumstances(run, now, dead=dead)):
        lines.add_row(text(name, "dim"), text(said))
    yield indented(lines)
    if len(run.nodes) > 1:
        nodes = grid("left", "left", "right", gap=2)
        for node in run.nodes:
            of = "" if node.expected is None else f" of about {node.expected:,}"
            visits = f"{node.visits:,}{of}"
            nodes.add_row(*map(text, (node.node, node.state, visits)))
        yield indented(indented(nodes))


def _doing(run: RunStatus) -> str:
    """Return what a run does, in a few words."""
    doing = f"{run.phase} {run.cache}" if run.cache else run.phase
    if run.phase == _WAITING:
        doing = f"{run.phase} ({run.cache})"
    if run.stopping:
        return f"{doing}, stopping after this page ({run.stopping})"
    return f"{doing}, paused" if run.paused else doing


def _figures(run: RunStatus, *, dead: bool) -> Iterator[tuple[str, str]]:
    """Yield how far a run is, and how fast."""
    if len(run.caches) > 1:
        at = f"{run.caches.index(run.cache) + 1} of " if run.cache in run.caches else ""
        yield "caches", f"{at}{len(run.caches)}: {', '.join(run.caches)}"
    if not run.cache:
        return
    if run.phase == _WAITING:
        yield "waits", run.reason or ""
        return
    visited = f"{run.visits:,} visits"
    if run.expected:
        share = f"{int(100 * run.visits / run.expected)}%, " * (run.visits <= run.expected)
        visited = f"{share}{run.visits:,} of about {run.expected:,} visits"
    before = f" ({run.visits_before:,} by earlier runs)" if run.visits_before else ""
    yield "visited", visited + before
    to_go = "" if run.seconds_left is None or run.paused else f", {clock(run.seconds_left)} to go"
    if not dead:
        yield "rate", f"{run.rate:,.0f} a second{to_go}"
    if values := _values(run):
        yield "values", values
    reason = "paused" if run.paused else run.reason
    if reason and not dead:
        yield "waits", reason
    if len(run.nodes) > 1:
        states = [node.state for node in run.nodes]
        said = (f"{states.count(one)} {one}" for one in ("done", "under way", "waiting"))
        yield "nodes", ", ".join(said)


def _values(run: RunStatus) -> str:
    """Return what became of values so far; a phase that only looks changes none."""
    said = []
    if run.rotated or run.phase in DONE:
        earlier = f" ({run.rotated_before:,} by earlier runs)" if run.rotated_before else ""
        said.append(f"{run.rotated:,} {DONE.get(run.phase, 'rotated')}{earlier}")
    if run.left:
        left = "left " if run.phase in DONE else ""
        said.append(f"{run.left:,} {left}under old keys")
    return ", ".join(said)


def _circumstances(run: RunStatus, now: datetime, *, dead: bool) -> Iterator[tuple[str, str]]:
    """Yield since when it runs, with which limits, and where."""
    lasted = elapsed((now - run.began_at).total_seconds())
    yield "began", stamp(run.began_at) + ("" if dead else f", {lasted} ago")
    if run.since:
        yield "phase", f"{run.phase} since {stamp(run.since)}"
    limits = [f"{name} {n:,.16g}{_UNITS[name]}" for name, n in run.limits.items() if n]
    yield "limits", ", ".join(limits) or "none"
    owner = run.owner
    yield "process", f"{owner.pid} of {owner.user} on {owner.host}"
    yield "last heard", f"{elapsed((now - run.at).total_seconds())} ago"
    if dead:
        yield "next", f"see why, then run again: it goes on from there ({', '.join(run.caches)})"


def _last(cache: Cache, now: datetime) -> Iterator[RenderableType]:
    """Yield how a cache stood at the end of the last run, and a line for each old key."""
    said, look = words.headline(cache)
    style = {"good": "green", "doubtful": "yellow", "bad": "red"}[look]
    when = f", {ago(cache.judged_at, now)}" if cache.judged_at else ""
    line = text(f"last run of {cache.name}{when}: ", "bold").append_text(text(said, style))
    yield line
    if cache.attempt:
        yield indented(text(words.missed(cache.attempt), "yellow"))
    for key in cache.keys:
        if key.verdict:
            remain = f", {count(key.remaining, 'value')} remain" if key.remaining else ""
            yield indented(text(f"{short_id(key.id)} {key.verdict}{remain}"))
