r"""
Terminal: states its rules, prints results, errors, JSON and tables, sets up the log.

- stdout carries the result and nothing else, so that it can be piped and parsed.
- stderr carries everything else: log lines, the progress bar, errors.
- An error is one line, `rotator: error: ...`, and what to do about it a second one,
  `rotator: hint: ...`. No capital at the beginning, no full stop at the end.
- A bar is drawn only where stderr is a terminal, and nothing is written into it: every line, also
  of the log, goes through `progress.write_line`.
- A result is at most 100 columns wide. Colours are for terminals alone, and neither for TERM=dumb
  nor where NO_COLOR is set.
- Control characters are shown as `\x1b`, never sent: names and messages come from elsewhere, and
  may hold what a terminal obeys.
- Times in the log are UTC. `console` is for people, `json` one object per line for machines.
- An exception in the log is shown with its chain and its source lines, never with local variables:
  those are keys and plaintexts (structlog shows them unless told otherwise, in both formats).
- What libraries log by the standard way, and Python's warnings, take the same road, from WARNING.
- No secret is ever written. Errors are made without; `text.redact` stands behind, for log lines as
  the last step before rendering. It is a net, not an excuse: nothing may be logged in the hope that
  it catches.

structlog and rich are imported when they are used: short commands would wait for them.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import IO, TYPE_CHECKING, Any

from rotator.errors import InternalError, RotatorError
from rotator.progress import write_line
from rotator.text import escape, redact

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from structlog.typing import EventDict, Processor, WrappedLogger

COLUMNS = 100  # how wide a result may be

_KEY_ID = re.compile(r"[0-9a-f]{16}")
_PADDING = re.compile(r" +$", re.MULTILINE)
_FIRST = ("timestamp", "level", "event")
_INTERNAL = ("_record", "_from_structlog")  # structlog's own, gone before the line is rendered
_MULTILINE = ("exception", "stack")
_SAY_SECONDS = 60.0  # between two lines on one wait


def print_result(result: RenderableType, stream: IO[str] | None = None) -> None:
    """Write a result, text (escaped, line by line) or a rendering, to *stream* (default stdout)."""
    stream = sys.stdout if stream is None else stream
    if isinstance(result, str):
        result = "\n".join(map(escape, result.split("\n")))
    else:
        drawer = console(stream)
        with drawer.capture() as drawn:
            drawer.print(result)
        # rich fills every line up to the width; whoever copies or compares it wants none of that.
        result = _PADDING.sub("", drawn.get())
    _tolerant(stream).write(result if result.endswith("\n") else f"{result}\n")
    stream.flush()


def print_json(data: Any) -> None:
    """Write *data* to stdout as indented JSON, ASCII only, so that nothing in it can do harm."""
    print_result(json.dumps(data, indent=2))


def print_error(error: RotatorError, stream: IO[str] | None = None) -> None:
    """Write an error and its hint to *stream* (default stderr), each on one line."""
    stream = _tolerant(sys.stderr if stream is None else stream)
    write_line(f"rotator: error: {_one_line(str(error))}", stream)
    if error.hint:
        write_line(f"rotator: hint: {_one_line(error.hint)}", stream)


def table(*columns: str, rows: Iterable[Sequence[object]]) -> Table:
    """Return a table of text; None is a dash, numbers go to the right, and key ids stay whole."""
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - see above
    from rich.table import Table  # noqa: PLC0415 - see above
    from rich.text import Text  # noqa: PLC0415 - see above

    cells = [["-" if cell is None else cell for cell in row] for row in rows]
    drawn = Table(box=SIMPLE_HEAD, show_header=any(columns))
    for index, column in enumerate(columns):
        numbers = bool(cells) and all(isinstance(row[index], int) for row in cells)
        widest = max([str(row[index]) for row in cells], key=len, default="")
        width = len(widest) if _KEY_ID.fullmatch(widest) else None
        justify: Any = "right" if numbers else "left"
        drawn.add_column(column, justify=justify, overflow="fold", width=width)
    for row in cells:
        drawn.add_row(*(Text(escape(str(cell))) for cell in row))
    return drawn


def console(stream: IO[str]) -> Console:
    """Return what draws tables on *stream*, no wider than that, and no wider than `COLUMNS`."""
    from rich.console import Console  # noqa: PLC0415 - see above

    return Console(
        file=_tolerant(stream),
        width=columns_of(stream),
        # Said outright, or FORCE_COLOR would put colours into a file.
        force_terminal=stream.isatty(),
        color_system="auto" if _has_colours(stream) else None,  # nor bold
        highlight=False,
        markup=False,
        emoji=False,
    )


def _one_line(text: str) -> str:
    """Return *text* as it may follow `rotator: error:`."""
    return redact(escape(" ".join(text.split())))


def _has_colours(stream: IO[str]) -> bool:
    """Return whether what is written there may be coloured."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return stream.isatty() and not plain


def columns_of(stream: IO[str]) -> int:
    """Return how wide a result there may be: as wide as the terminal, as far as it says."""
    try:
        return min(os.get_terminal_size(stream.fileno()).columns or COLUMNS, COLUMNS)
    except (OSError, ValueError):
        return COLUMNS


def _tolerant(stream: IO[str]) -> IO[str]:
    """Make the stream show what its encoding does not know instead of failing on it."""
    if isinstance(stream, io.TextIOWrapper) and stream.errors in {"strict", "surrogateescape"}:
        stream.reconfigure(errors="backslashreplace")
    return stream


def start_logging() -> None:
    """Send the log to stderr unless it is set up: by itself it would go among the result."""
    import structlog  # noqa: PLC0415 - see above

    if not structlog.is_configured():
        configure_logging()


def configure_logging(
    log_format: str = "console", level: str = "info", stream: IO[str] | None = None
) -> None:
    """
    Send the log to *stream* (default stderr) from *level* up; a second call replaces the first.

    *log_format* is "console" or "json"; *level* one of debug, info, warning, error, critical. Every
    process that logs calls this first: what structlog does by itself shows local variables.
    """
    import structlog  # noqa: PLC0415 - see above

    stream = sys.stderr if stream is None else stream
    least = logging.getLevelNamesMapping()[level.upper()]
    gather, render = _processors(log_format, stream)
    stdlib = structlog.stdlib
    structlog.configure(
        processors=[stdlib.add_log_level, *gather, render],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=lambda *_names: _Lines(stream),
        cache_logger_on_first_use=False,
    )
    handler = _Handler(stream)
    handler.setLevel(max(least, logging.WARNING))
    handler.setFormatter(
        stdlib.ProcessorFormatter(
            foreign_pre_chain=[stdlib.add_log_level, stdlib.add_logger_name, *gather],
            processors=[stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    logging.basicConfig(handlers=[handler], level=handler.level, force=True)
    logging.captureWarnings(True)


def _processors(log_format: str, stream: IO[str]) -> tuple[list[Processor], Processor]:
    """Return what gathers the parts of a line, and what makes text of them."""
    import structlog  # noqa: PLC0415 - see above

    make, dev, tracebacks = structlog.processors, structlog.dev, structlog.tracebacks
    start: list[Processor] = [structlog.contextvars.merge_contextvars, make.StackInfoRenderer()]
    if log_format == "json":
        transformer = tracebacks.ExceptionDictTransformer(show_locals=False)
        start += [make.TimeStamper(fmt="iso", utc=True), make.ExceptionRenderer(transformer)]
        return [*start, _clean], make.JSONRenderer()
    start += [make.TimeStamper(fmt="%Y-%m-%dT%H:%M:%SZ", utc=True), make.format_exc_info]
    plain, colours = dev.plain_traceback, _has_colours(stream)
    render = dev.ConsoleRenderer(colors=colours, exception_formatter=plain, sort_keys=False)
    return [*start, _clean, _printable], render


def _clean(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Leave only plain data that looks like no secret, and begin every line alike."""
    ordered = {name: event[name] for name in _FIRST if name in event} | dict(event)
    return {name: value if name in _INTERNAL else _plain(value) for name, value in ordered.items()}


def _plain(value: Any) -> Any:
    """Return *value* as numbers, redacted texts, lists and maps."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{len(value)} bytes"  # what they hold may be a value
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {redact(str(name)): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value]
    return redact(str(value))


def _printable(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Show control characters instead of sending them to the terminal."""
    for name, value in event.items():
        if isinstance(value, str):
            lines = value.split("\n") if name in _MULTILINE else [" ".join(value.split())]
            event[name] = "\n".join(map(escape, lines))
    return event


def internal_error(error: Exception, **where: object) -> InternalError:
    """
    Write to the log where an exception that nobody expected was raised; return the error for it.

    Neither says what the exception says: that may be a key, a password or a plaintext.
    """
    import structlog  # noqa: PLC0415 - see above

    start_logging()
    structlog.get_logger(__name__).error("internal error", **where, exception=_trace(error))
    hint = "this is a bug in rotator; please report it with the lines above"
    return InternalError(f"internal error: {type(error).__name__}", hint=hint)


def _trace(error: BaseException) -> str:
    """Return where an exception and those before it were raised, the oldest first, unquoted."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    start = f"{_trace(before)}\nthen:\n" if before else ""
    stack = "".join(traceback.format_tb(error.__traceback__))
    return f"{start}{stack}{type(error).__module__}.{type(error).__qualname__}"


@dataclass
class _Lines:
    """Logger: takes finished lines from structlog."""

    stream: IO[str]

    def msg(self, message: str) -> None:
        """Write a line."""
        write_line(message, self.stream)

    debug = info = warning = error = critical = exception = msg


class _Handler(logging.StreamHandler[IO[str]]):
    """Handler: takes records from the loggers of the standard library."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; a record that cannot be rendered must not end the run."""
        import structlog  # noqa: PLC0415 - see above

        try:
            text = self.format(record)
        except (TypeError, ValueError, KeyError):
            # The standard library would print the arguments, whatever they are.
            structlog.get_logger().warning("a log line could not be rendered", logger=record.name)
        else:
            write_line(text, self.stream)


@dataclass(slots=True)
class WaitLog:
    """
    Wait log: says that something is waited for, again each minute, and that it has ended.

    *show* is given what is waited for, in a few words, and then None.
    """

    show: Callable[[str | None], object] = lambda _: None
    _begun_at: float | None = None
    _said_at: float = 0.0

    def waits(self, event: str, **facts: Any) -> None:
        """Say it, if it is time to; *event* is "waiting for ..."."""
        self.show(event.removeprefix("waiting "))
        now = time.monotonic()
        if self._begun_at is None:
            self._begun_at = now
        elif now - self._said_at < _SAY_SECONDS:
            return
        self._said_at = now
        _log(event, **facts)

    def ended(self, *, well: bool) -> None:
        """Say that the wait is over, if there was one, and whether what was waited for came."""
        if self._begun_at is not None:
            self.show(None)
            event = "no longer waiting" if well else "gave up waiting"
            _log(event, seconds=round(time.monotonic() - self._begun_at, 1))


def _log(event: str, **facts: Any) -> None:
    import structlog  # noqa: PLC0415 - see above

    structlog.get_logger(__name__).info(event, **facts)
