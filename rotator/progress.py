"""
Progress bar: draws visits, rate and time left; the default draws nothing.

- `Progress` does nothing, so that whoever reports progress never asks whether anyone watches;
  `start_progress` gives one that draws, if stderr is a terminal or the user wants it.
- While a bar is up nothing else may write to the terminal but `write_line`, which takes the bar
  away, writes, and puts it back, all under one lock.
- The total is an estimate (DBSIZE), and a sweep may visit a name twice: when visits pass it, the
  bar says `visits (expected N)` instead of more than 100 %.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from math import inf
from threading import RLock
from typing import IO, Any, Self

from rotator.text import escape

_REDRAW_SECONDS = 0.1
_LONGEST = 30 * 86_400  # seconds; what would take longer is too slow to be foreseen
_COLUMNS = 100  # when the width is not known
_BAR = (8, 24)  # a shorter bar says nothing, a longer one is no clearer
_LOCK = RLock()  # of the terminal; the thread that holds it may take it again


class Progress:
    """Progress: takes note of nothing; the default wherever it may be reported."""

    def advance(self, visits: int = 0, rotated: int = 0, left: int = 0) -> None:
        """Count more visits; *left* are those that stay under an old key. From any thread."""

    def wait(self, reason: str | None) -> None:
        """Note that the sweep waits, for a *reason* of a few words, or with None no longer does."""

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


class _Bar(Progress):
    """Bar: is drawn by tqdm, which keeps time, measures the rate and owns the line."""

    tqdm: Any = None  # the class, once there is a bar: whoever draws none need not wait for it

    def __init__(self, title: str, total: int | None, done: str, stream: IO[str]) -> None:
        from tqdm.std import tqdm  # noqa: PLC0415 - see above

        encoding = getattr(stream, "encoding", None) or ""
        self._meter = Meter(title, done, not encoding.lower().startswith("utf"))
        tqdm.set_lock(_LOCK)
        # tqdm's monitor thread is not wanted: with miniters=0 a bar cannot fall asleep, and a
        # thread that holds a lock while a process forks would leave the child without one to log.
        tqdm.monitor_interval = 0
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
        self._bar = bar
        _Bar.tqdm = tqdm
        with self._drawing():
            self._bar.refresh()

    def advance(self, visits: int = 0, rotated: int = 0, left: int = 0) -> None:
        """Count, and draw if the last time is long enough ago."""
        with self._drawing():
            self._meter.rotated += rotated
            self._meter.left += left
            self._bar.update(visits)

    def wait(self, reason: str | None) -> None:
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

    def text(
        self, *, n: float, total: float | None, elapsed: float, rate: float | None, **more: Any
    ) -> str:
        """
        Return the bar as text, no longer than the terminal is wide; it is given tqdm's format_dict.

        *elapsed* is in seconds, *rate* in visits per second. What does not fit is left out: the
        percentage, the bar, the speed, the time.
        """
        from tqdm.utils import disp_len, disp_trim  # noqa: PLC0415 - see above

        # The last column stays free: some terminals go to the next line when it is filled.
        columns = (more["ncols"] or _COLUMNS) - 1
        visits, expected = int(n), int(total or 0)
        share = visits / expected if expected and visits <= expected else None
        speed = rate or (visits / elapsed if elapsed else 0)
        if share is not None:
            counted = f"{visits:,} of {expected:,} visits"
        else:
            counted = f"{visits:,} visits" + (f" (expected {expected:,})" if expected else "")
        pace = [f"{speed:,.0f}/s"] if speed >= 1 else []
        to_go = (expected - visits) / speed if share is not None and speed else inf
        time = [f"{clock(to_go)} to go"] if to_go < _LONGEST else [clock(elapsed)] * (elapsed >= 1)
        ended = self._ended()
        for parts in ((*pace, *time, *ended), (*time, *ended), ended, ended[:1], ()):
            text = ", ".join((counted, *parts))
            room = columns - disp_len(self.title) - 2 - disp_len(text)
            if room >= 0:
                break
        drawn = "" if share is None else _meter(share, room, ascii_only=self.ascii_only)
        return str(disp_trim(f"{self.title}  {drawn}{text}", columns))

    def _ended(self) -> list[str]:
        """Return what the visits wait for and what became of them, in a few words each."""
        self.shown = self.reason
        ended = [f"waiting: {self.reason}"] if self.reason else []
        ended += [f"{self.rotated:,} {self.done}"] if self.rotated else []
        return ended + ([f"{self.left:,} left"] if self.left else [])


def clock(seconds: float) -> str:
    """Return a number of seconds as `0:07`, `12:34` or `1:02:03`."""
    minutes, second = divmod(int(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02d}:{second:02d}" if hour else f"{minute}:{second:02d}"


def _meter(share: float, room: int, *, ascii_only: bool) -> str:
    """Return a bar and a percentage, or one of them, or none, in at most *room* columns."""
    from tqdm.std import Bar  # type: ignore[attr-defined]  # noqa: PLC0415 - see above

    # Never 100 % before the end: the last value is the one that is waited for.
    percent = f"{int(share * 100):3d} %  "
    if room - 2 < _BAR[0]:
        return percent if room >= len(percent) else ""
    if room - 2 - len(percent) < _BAR[0]:
        percent = ""
    bar = Bar(share, charset=Bar.ASCII if ascii_only else Bar.UTF)
    return f"{bar:{min(room - 2 - len(percent), _BAR[1])}}  {percent}"
