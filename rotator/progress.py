"""
Progress bar: draws visits, rate and time left; the default draws nothing.

- `Progress` does nothing, so that whoever reports progress never asks whether anyone watches;
  `start_progress` gives one that draws, if stderr is a terminal or the user wants it.
- While a bar is up nothing else may write to the terminal but `write_line`, which takes the bar
  away, writes, and puts it back, all under one lock.
- The total is an estimate (DBSIZE), and a sweep may visit a name twice: when visits pass it, the
  bar says `visits (expected N)` instead of more than 100%.
- A terminal that becomes narrower wraps the line that stands there: all of its rows are taken away.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from locale import getencoding
from math import inf
from threading import RLock
from typing import IO, Any, Self

from rotator.text import escape

_REDRAW_SECONDS = 0.1
_LONGEST = 30 * 86_400  # seconds; what would take longer is too slow to be foreseen
_COLUMNS = 100  # when the width is not known
_TITLE = 14  # columns of a title that is cut off, at least
_BAR = (8, 24)  # a shorter bar says nothing, a longer one is no clearer
_LOCK = RLock()  # of the terminal; the thread that holds it may take it again


class ProgressFormat(StrEnum):
    """Progress format: a bar, log lines, or JSON objects, on stderr."""

    BAR = "bar"
    LOG = "log"
    JSON = "json"


class Progress:
    """Progress: takes note of nothing; the default wherever it may be reported."""

    def begin_nodes(self, names: Mapping[str, int]) -> None:
        """Note which nodes are swept, and how many names each has."""

    def resume(self, visits: int, rotated: int, left: int, node: str = "") -> None:
        """Count what an earlier run did of the same sweep: the rate and the time left are ours."""

    def advance(self, visits: int = 0, rotated: int = 0, left: int = 0, node: str = "") -> None:
        """Count more visits; *left* are those that stay under an old key. From any thread."""

    def wait(self, reason: str | None, node: str = "") -> None:
        """Note that the sweep waits, for a *reason* of a few words, or with None no longer does."""

    def end_node(self, node: str) -> None:
        """Note that a node is done."""

    def close(self) -> None:
        """Take the bar away; more calls do nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def start_progress(
    cache: str,
    phase: str,
    total: int | None = None,
    *,
    progress: bool | None = None,
    done: str = "rotated",
    stream: IO[str] | None = None,
) -> Progress:
    """
    Return the progress of one *phase* ("rotating", "verifying", "looking") of one cache.

    *total* is how many visits are expected, *done* what became of those counted as rotated. With
    *progress* None a bar is drawn if *stream* (default stderr) is a terminal; True draws it anyway,
    False never.
    """
    stream = sys.stderr if stream is None else stream
    wanted = stream.isatty() if progress is None else progress
    return _Bar(escape(f"{cache}: {phase}"), total, done, stream) if wanted else Progress()


def write_line(text: str, stream: IO[str]) -> None:
    """
    Write whole lines to a terminal on which a bar may be up.

    A terminal that is gone is no fault. Nor is a line lost because a signal arrived in the middle
    of another one, which Python answers with a RuntimeError.
    """
    bars = _Bar.tqdm.external_write_mode(file=stream) if _Bar.tqdm else nullcontext()
    with suppress(OSError, RuntimeError), _LOCK, bars:
        # In one piece: other processes may write to the same terminal.
        stream.write(f"{text}\n")
        stream.flush()


class _NoLock(nullcontext[None]):
    """No lock: is tqdm's, which it would keep where a write fails; `_LOCK` is held around it."""

    acquire = release = staticmethod(lambda *_, **__: True)


class _Bar(Progress):
    """Bar: is drawn by tqdm, which keeps time, measures the rate and owns the line."""

    tqdm: Any = None  # the class, once there is a bar: whoever draws none need not wait for it

    def __init__(self, title: str, total: int | None, done: str, stream: IO[str]) -> None:
        from tqdm.std import tqdm  # noqa: PLC0415 - see above

        # In the C locale Python writes UTF-8 all the same, and the terminal may not know it.
        encodings = (getattr(stream, "encoding", None) or "", getencoding())
        self._meter = Meter(title, done, not all(e.lower().startswith("utf") for e in encodings))
        tqdm.set_lock(_NoLock())
        # tqdm's monitor thread is not wanted: with miniters=0 a bar cannot fall asleep, and a
        # thread that holds a lock while a process forks would leave the child without one to log.
        tqdm.monitor_interval = 0
        with _LOCK:
            bar: Any = tqdm(
                total=total,
                file=stream,
                leave=False,
                mininterval=_REDRAW_SECONDS,
                miniters=0,
                smoothing=0.1,
                dynamic_ncols=True,
                delay=1e-9,  # it would draw at once, and before it has our meter
            )
        bar.format_meter = self._meter.text
        bar.sp = _LastLine(bar.fp)
        self._bar = bar
        _Bar.tqdm = tqdm
        with self._drawing():
            self._bar.refresh()

    def begin_nodes(self, names: Mapping[str, int]) -> None:
        """Draw how many of them are done, if there are several."""
        self._meter.nodes, self._meter.ended = set(names), set()

    def end_node(self, node: str) -> None:
        """Count it, once: a node is swept again where slots have moved."""
        self._meter.ended |= {node} & self._meter.nodes

    def resume(self, visits: int, rotated: int, left: int, node: str = "") -> None:  # noqa: ARG002 - one bar for all nodes
        """Begin where an earlier run was."""
        with self._drawing():
            self._meter.rotated += rotated
            self._meter.left += left
            for count in ("n", "initial", "last_print_n"):
                setattr(self._bar, count, getattr(self._bar, count) + visits)

    def advance(self, visits: int = 0, rotated: int = 0, left: int = 0, node: str = "") -> None:  # noqa: ARG002 - one bar for all nodes
        """Count, and draw if the last time is long enough ago."""
        with self._drawing():
            self._meter.rotated += rotated
            self._meter.left += left
            self._bar.update(visits)

    def wait(self, reason: str | None, node: str = "") -> None:  # noqa: ARG002 - one bar for all nodes
        """Draw a new reason at once."""
        with self._drawing():
            self._meter.reason = reason
            # The end of a wait is drawn by the next page: many short waits must not flicker.
            if reason is not None and reason != self._meter.shown and not self._bar.disable:
                self._bar.refresh()

    def close(self) -> None:
        """Leave the line empty."""
        with self._drawing():
            self._bar.close()

    @contextmanager
    def _drawing(self) -> Iterator[None]:
        """Hold the lock; a terminal that is gone ends the bar, not the sweep."""
        with _LOCK:
            try:
                yield
            except OSError:
                self._bar.disable = True


class _LastLine:
    """Last line: writes over what it wrote before, whatever became of the terminal's width."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._length = self._reach = 0  # of the text, and with the spaces behind it
        self._obeys = os.environ.get("TERM") != "dumb"

    def __call__(self, text: str) -> None:
        from tqdm.utils import disp_len  # noqa: PLC0415 - see above

        columns, wiped = self._columns(), ""
        if columns and self._reach > columns:
            # As terminals do it, what was there goes on in the rows below; the cursor is in the
            # last one.
            rows = (self._reach - 1) // columns
            wiped = f"\x1b[{rows}A\r\x1b[J" if self._obeys else ""
            self._length = 0
        padding = " " * (self._length - disp_len(text))
        self._stream.write(f"{wiped}\r{text}{padding}")
        self._stream.flush()
        self._length = disp_len(text)
        self._reach = self._length + len(padding) if text else 0

    def _columns(self) -> int:
        """Return how wide the terminal is now; 0: it is none, or does not say."""
        try:
            return os.get_terminal_size(self._stream.fileno()).columns
        except (OSError, ValueError):
            return 0


@dataclass
class Meter:
    """Meter: says what tqdm draws; knows no bar, or one that nobody closes would never go."""

    title: str
    done: str
    ascii_only: bool
    rotated: int = 0
    left: int = 0
    reason: str | None = None
    shown: str | None = None
    nodes: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)

    def text(
        self, *, n: float, total: float | None, elapsed: float, rate: float | None, **more: Any
    ) -> str:
        """
        Return the bar as text, no longer than the terminal is wide; it is given tqdm's format_dict.

        *elapsed* is in seconds, *rate* in visits per second. Percentage, speed and time are kept
        for as long as anything is; words and sums go first.
        """
        from tqdm.utils import disp_len, disp_trim  # noqa: PLC0415 - see above

        # The last column stays free: some terminals go to the next line when it is filled.
        columns = (more["ncols"] or _COLUMNS) - 1
        visits, expected = int(n), int(total or 0)
        share = visits / expected if expected and visits <= expected else None
        here = visits - int(more.get("initial", 0))
        speed = rate or (here / elapsed if elapsed else 0)
        # Never 100% before the end: the last value is the one that is waited for.
        percent = "" if share is None else f"{int(share * 100):3d}%  "
        pace = [f"{speed:,.0f}/s"] if speed >= 1 else []
        to_go = (expected - visits) / speed if share is not None and speed else inf
        time = [f"{clock(to_go)} to go"] if to_go < _LONGEST else [clock(elapsed)] * (elapsed >= 1)
        self.shown = self.reason
        title, room = f"{self.title}  ", 0
        for counted, ended in self._wordings(visits, expected, share):
            text = percent + ", ".join((*counted, *pace, *time, *ended))
            room = columns - disp_len(title) - disp_len(text)
            if room >= 0:
                break
            if not counted and columns - disp_len(text) >= _TITLE:  # it is cut off then
                title = f"{disp_trim(self.title, columns - disp_len(text) - 2)}  "
                break
        else:
            title = ""
        drawn = "" if share is None else _meter(share, room, ascii_only=self.ascii_only)
        return str(disp_trim(f"{title}{drawn}{text}", columns))

    def _wordings(
        self, visits: int, expected: int, share: float | None
    ) -> Iterator[tuple[list[str], list[str]]]:
        """Yield what stands before the speed and after the time, the longest first."""
        if share is not None:
            counted = [f"{visits:,} of {expected:,} visits"]
        else:
            counted = [f"{visits:,} visits" + (f" (expected {expected:,})" if expected else "")]
        waits = [f"waiting: {self.reason}"] if self.reason else []
        nodes = [f"{len(self.ended)} of {len(self.nodes)} nodes"] if len(self.nodes) > 1 else []
        rotated = [f"{self.rotated:,} {self.done}"] if self.rotated else []
        left = [f"{self.left:,} left under old keys"] if self.left else []
        yield counted, [*nodes, *waits, *rotated, *left]
        counted = [f"{visits:,} of {expected:,}" if share is not None else f"{visits:,} visits"]
        left = [f"{self.left:,} under old keys"] if self.left else []
        yield counted, [*nodes, *waits, *rotated, *left]
        yield counted, [*nodes, *waits, *left]
        if share is None:
            yield counted, waits
        else:  # the percentage says it already
            yield [], [*nodes, *waits, *left]
        yield [], [*nodes, *waits]
        yield [], waits
        yield [], []


def clock(seconds: float) -> str:
    """Return a number of seconds as `0:07`, `12:34` or `1:02:03`."""
    minutes, second = divmod(int(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02d}:{second:02d}" if hour else f"{minute}:{second:02d}"


def _meter(share: float, room: int, *, ascii_only: bool) -> str:
    """Return a bar in at most *room* columns, or nothing."""
    from tqdm.std import Bar  # type: ignore[attr-defined]  # noqa: PLC0415 - see above

    if room - 2 < _BAR[0]:
        return ""
    bar = Bar(share, charset=Bar.ASCII if ascii_only else Bar.UTF)
    return f"{bar:{min(room - 2, _BAR[1])}}  "
