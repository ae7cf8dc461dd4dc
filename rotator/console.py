r"""
The terminal, and its rules.

- stdout carries the result and nothing else, so that it can be piped and parsed.
- stderr carries everything else: log lines, the progress bar, errors.
- An error is one line, `rotator: error: ...`, and what to do about it a second one,
  `rotator: hint: ...`. No capital at the beginning, no full stop at the end.
- A bar is drawn only where stderr is a terminal, and nothing is written into it: every line goes
  through `progress.write_line`.
- A result is at most 100 columns wide, and has colours only on a terminal, never with NO_COLOR.
- Control characters are shown as `\x1b`, never sent: names and messages come from elsewhere, and
  may hold what a terminal obeys.
- No secret is ever written. Errors are made without; `masking` stands behind.
"""

from __future__ import annotations

import io
import os
import re
import sys
from typing import IO

from rich.console import Console, RenderableType

from rotator.errors import RotatorError
from rotator.masking import mask
from rotator.progress import write_line

_PADDING = re.compile(r" +$", re.MULTILINE)

COLUMNS = 100
"""How wide a result may be."""


def print_result(result: RenderableType, stream: IO[str] | None = None) -> None:
    """Write a result, text or a rendering, to *stream* (default stdout)."""
    stream = sys.stdout if stream is None else stream
    if not isinstance(result, str):
        drawer = console(stream)
        with drawer.capture() as drawn:
            drawer.print(result)
        # rich fills every line up to the width; whoever copies or compares it wants none of that.
        result = _PADDING.sub("", drawn.get())
    _tolerant(stream).write(result if result.endswith("\n") else f"{result}\n")
    stream.flush()


def print_error(error: RotatorError, stream: IO[str] | None = None) -> None:
    """Write an error and its hint to *stream* (default stderr), each on one line."""
    stream = _tolerant(sys.stderr if stream is None else stream)
    write_line(f"rotator: error: {_one_line(str(error))}", stream)
    if error.hint:
        write_line(f"rotator: hint: {_one_line(error.hint)}", stream)


def console(stream: IO[str]) -> Console:
    """What draws tables on *stream*: no wider than it is, and no wider than `COLUMNS`."""
    terminal = stream.isatty()
    return Console(
        file=_tolerant(stream),
        width=min(_columns(stream), COLUMNS) if terminal else COLUMNS,
        # Said outright, or FORCE_COLOR would put colours into a file.
        force_terminal=terminal,
        no_color=bool(os.environ.get("NO_COLOR")) or not terminal,
        highlight=False,
        markup=False,
        emoji=False,
    )


def escape(text: str) -> str:
    r"""*text* with every character that cannot be printed as `\x1b` or `\u200b`."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else _escaped(one) for one in text)


def _escaped(character: str) -> str:
    """One character as Python would write it."""
    return ascii(character)[1:-1]


def _one_line(text: str) -> str:
    """*text* as it may follow `rotator: error:`."""
    return mask(escape(" ".join(text.split())))


def _columns(stream: IO[str]) -> int:
    """How wide the terminal is, as far as it says."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or COLUMNS
    except (OSError, ValueError):
        return COLUMNS


def _tolerant(stream: IO[str]) -> IO[str]:
    """The stream, made to show what its encoding does not know instead of failing on it."""
    if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
        stream.reconfigure(errors="backslashreplace")
    return stream
