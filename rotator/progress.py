"""
The progress bar: how far a sweep is, how fast, what it has moved, and what it waits for.

- `Progress` does nothing, so that whoever reports progress never asks whether anyone watches;
  `start_progress` gives one that draws, if stderr is a terminal or the user wants it.
- While a bar is up nothing else may write to the terminal but `write_line`, which takes the bar
  away, writes, and puts it back, all under one lock.
- The total is an estimate (DBSIZE), and a sweep may visit a name twice: when visits pass it, the
  bar says `visits (expected N)` instead of more than 100 %.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from math import inf
from typing import IO, Self

from tqdm import tqdm
from tqdm.utils import disp_len, disp_trim

_REDRAW_SECONDS = 0.1
_LONGEST = 30 * 86_400  # seconds; what would take longer is too slow to be foreseen
_COLUMNS = 100  # when the width is not known
_BAR = (8, 24)  # a shorter bar says nothing, a longer one is no clearer
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_ASCII = " .:#"


class Progress:
    """Takes note of nothing; the default wherever progress may be reported."""

    def advance(self, visits: int = 0, rotated: int = 0, left: int = 0) -> None:
        """So many more visits; *left* are those that stay under an old key. From any thread."""

    def wait(self, reason: str | None) -> None:
        """The sweep waits, for a *reason* of a few words, or with None no longer does."""

    def close(self) -> None:
        """Take the bar away; more calls do nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def start_progress(
    cache: str,
    phase: str,
    *,
    total: int | None = None,
    progress: bool | None = None,
    done: str = "rotated",
    stream: IO[str] | None = None,
) -> Progress:
    """
    Progress of one *phase* ("rotating", "verifying", "looking") of one cache.

    *total* is how many visits are expected, *done* what became of those counted as rotated. With
    *progress* None a bar is drawn if *stream* (default stderr) is a terminal; True draws it anyway,
    False never.
    """
    stream = sys.stderr if stream is None else stream
    wanted = stream.isatty() if progress is None else progress
    return _Drawn(_Bar(f"{cache}: {phase}", total, done, stream)) if wanted else Progress()


def write_line(text: str, stream: IO[str]) -> None:
    """
    Write whole lines to a terminal on which a bar may be up.

    A terminal that is gone is no fault. Nor is a line lost because a signal arrived in the middle
    of another one, which Python answers with a RuntimeError.
    """
    with suppress(OSError, RuntimeError), _Bar.external_write_mode(file=stream):
        # In one piece: other processes may write to the same terminal.
        stream.write(f"{text}\n")
        stream.flush()


class _Bar(tqdm):  # type: ignore[type-arg]  # not generic at run time
    """The bar itself; tqdm keeps time, measures the rate, finds the width and owns the line."""

    # tqdm's monitor thread is not wanted: with miniters=0 a bar cannot fall asleep, and a thread
    # that holds a lock while a process forks would leave the child without a way to log.
    monitor_interval = 0

    def __init__(self, title: str, total: int | None, done: str, stream: IO[str]) -> None:
        self.title = title
        self.done = done
        self.rotated = 0
        self.left = 0
        self.waits_for: str | None = None
        self.shown: str | None = None
        super().__init__(
            total=total,
            file=stream,
            leave=False,
            mininterval=_REDRAW_SECONDS,
            miniters=0,
            smoothing=0.1,
            dynamic_ncols=True,
        )

    def lock(self) -> AbstractContextManager[object]:
        """The lock that all bars share; the thread that holds it may take it again."""
        lock: AbstractContextManager[object] = self.get_lock()  # type: ignore[no-untyped-call]
        return lock

    def __str__(self) -> str:
        self.shown = self.waits_for
        now = self.format_dict
        ended = [f"waiting: {self.waits_for}"] if self.waits_for else []
        ended += [f"{self.rotated:,} {self.done}"] if self.rotated else []
        ended += [f"{self.left:,} left"] if self.left else []
        ascii_only = not (getattr(self.fp, "encoding", None) or "").lower().startswith("utf")
        return line(
            self.title,
            visits=int(self.n),
            total=None if self.total is None else int(self.total),
            elapsed=now["elapsed"],
            rate=now["rate"],
            ended=ended,
            # The last column stays free: some terminals go to the next line when it is filled.
            columns=(now["ncols"] or _COLUMNS) - 1,
            ascii_only=ascii_only,
        )


class _Drawn(Progress):
    """Progress that is drawn; tqdm's lock keeps threads and log lines apart."""

    def __init__(self, bar: _Bar) -> None:
        self._bar = bar

    def advance(self, visits: int = 0, rotated: int = 0, left: int = 0) -> None:
        """Count, and draw if the last time is long enough ago."""
        with self._drawing():
            self._bar.rotated += rotated
            self._bar.left += left
            self._bar.update(visits)

    def wait(self, reason: str | None) -> None:
        """Draw a new reason at once."""
        with self._drawing():
            self._bar.waits_for = reason
            # The end of a wait is drawn by the next page: many short waits must not flicker.
            if reason is not None and reason != self._bar.shown and not self._bar.disable:
                self._bar.refresh()

    def close(self) -> None:
        """Leave the line empty."""
        with self._drawing():
            self._bar.close()

    @contextmanager
    def _drawing(self) -> Iterator[None]:
        """Hold the lock; a terminal that is gone ends the bar, not the sweep."""
        with self._bar.lock():
            try:
                yield
            except OSError:
                self._bar.disable = True


def line(
    title: str,
    *,
    visits: int,
    total: int | None,
    elapsed: float,
    rate: float | None,
    ended: Sequence[str],
    columns: int,
    ascii_only: bool = False,
) -> str:
    """
    The bar as text, never longer than *columns*.

    *elapsed* is in seconds, *rate* in visits per second, *ended* what became of the visits and what
    they wait for, in a few words each. What does not fit is left out: the percentage, the bar, the
    speed, the time.
    """
    share = visits / total if total and visits <= total else None
    speed = rate or (visits / elapsed if elapsed else 0)
    if share is not None:
        counted = f"{visits:,} of {total:,} visits"
    else:
        counted = f"{visits:,} visits" + (f" (expected {total:,})" if total else "")
    pace = [f"{speed:,.0f}/s"] if speed >= 1 else []
    to_go = (total - visits) / speed if total and share is not None and speed else inf
    time = [f"{clock(to_go)} to go"] if to_go < _LONGEST else [clock(elapsed)] * (elapsed >= 1)
    for parts in ((*pace, *time, *ended), (*time, *ended), ended, ended[:1], ()):
        text = ", ".join((counted, *parts))
        if disp_len(title) + 2 + disp_len(text) <= columns:
            break
    room = columns - disp_len(title) - disp_len(text) - 2
    drawn = "" if share is None else _drawn(share, room, _ASCII if ascii_only else _EIGHTHS)
    return str(disp_trim(f"{title}  {drawn}{text}", columns))


def clock(seconds: float) -> str:
    """A number of seconds as `0:07`, `12:34` or `1:02:03`."""
    minutes, second = divmod(int(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02d}:{second:02d}" if hour else f"{minute}:{second:02d}"


def _drawn(share: float, room: int, ramp: str) -> str:
    """A bar and a percentage, or one of them, or none, in at most *room* columns."""
    # Never 100 % before the end: the last value is the one that is waited for.
    percent = f"{int(share * 100):3d} %  "
    width = min(room - 2, _BAR[1])
    if width < _BAR[0]:
        return percent if room >= len(percent) else ""
    if room - len(percent) - 2 >= _BAR[0]:
        width = min(room - len(percent) - 2, _BAR[1])
    else:
        percent = ""
    steps = len(ramp) - 1
    full, rest = divmod(int(share * width * steps), steps)
    bar = ramp[-1] * full + (ramp[rest] if full < width else "")
    return f"{bar:<{width}}  {percent}"
