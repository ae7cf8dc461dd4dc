"""
Options: declare what commands share.

One place, so that an option means the same wherever it stands. Options that always come together
are the fields of a dataclass; a command has one parameter for all of them, which `expanded` turns
into the options. Each option is also an environment variable `ROTATOR_<OPTION>`.

Nothing here imports the configuration or pydantic before an option is used: `--help` and short
commands would wait for them.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from rotator.cli.completion import complete_cache, complete_key
from rotator.console import configure_logging
from rotator.progress import Progress, ProgressFormat, start_progress
from rotator.text import parse_deadline, parse_duration, parse_past, utc_now

if TYPE_CHECKING:
    from rotator.server.context import CacheContext


class ReportFormat(StrEnum):
    """Report format: what stdout carries."""

    TABLE = "table"
    JSON = "json"


class LogFormat(StrEnum):
    """Log format: the form of a line on stderr."""

    CONSOLE = "console"
    JSON = "json"


class LogLevel(StrEnum):
    """Log level: the least important line to print."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Engine(StrEnum):
    """Engine: says who sweeps."""

    LOCAL = "local"
    DASK = "dask"


# Making options


def variable(flag: str) -> str:
    """Return the environment variable of an option such as `--max-duration`."""
    return f"ROTATOR_{flag.lstrip('-').replace('-', '_').upper()}"


def option(flag: str, help_text: str, *more: str, default: Any = None, **settings: Any) -> Any:
    """
    Return a typer option with its environment variable and its *default*; that of a flag is False.

    Help does not show the variable at each option: `rotator --help` tells the rule, and options are
    easier to read without.
    """
    name = variable(flag.partition("/")[0])
    settings = {"envvar": name, "show_envvar": False, **settings}
    if "min" in settings:
        settings.setdefault("metavar", "N")
    given = (flag, *more) if default is ... else (default, flag, *more)
    return typer.Option(*given, help=help_text, **settings)


def shared(flag: str, help_text: str, *more: str, **settings: Any) -> Any:
    """Return an option for `Annotated`: each command gives its own default."""
    return option(flag, help_text, *more, default=..., **settings)


def old_key(flag: str, help_text: str) -> Any:
    """Return an option that takes the id of an old key, which a shell can complete."""
    return option(flag, help_text, metavar="ID", autocompletion=complete_key)


def duration(flag: str, help_text: str, **settings: Any) -> Any:
    """Return an option that takes a duration such as `90s` or `2h`."""
    settings |= {"parser": _parser(parse_duration), "metavar": "DURATION"}
    return option(flag, help_text, **settings)


def deadline(flag: str, help_text: str, **settings: Any) -> Any:
    """Return an option that takes a point in time such as `05:00` or `2026-11-24T05:00Z`."""
    parse = _parser(lambda text: parse_deadline(text, utc_now()))
    settings |= {"parser": parse, "metavar": "TIME"}
    return option(flag, help_text, **settings)


def past(flag: str, help_text: str, **settings: Any) -> Any:
    """Return an option that takes a time that is past, such as `14:30` or `2026-11-24T14:30Z`."""
    parse = _parser(lambda text: parse_past(text, utc_now()))
    settings |= {"parser": parse, "metavar": "TIME"}
    return option(flag, help_text, **settings)


def _parser(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return *parse* as typer wants it."""

    def read(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    return read


def expanded(command: Callable[..., int | None]) -> Callable[..., int | None]:
    """Return *command* with the fields of each parameter that is a dataclass as its parameters."""
    groups: dict[str, Any] = {}
    parameters = []
    for one in inspect.signature(command, eval_str=True).parameters.values():
        if not is_dataclass(one.annotation):
            parameters.append(one)
            continue
        groups[one.name] = one.annotation
        hints = get_type_hints(one.annotation, include_extras=True)
        parameters += [
            one.replace(name=given.name, default=given.default, annotation=hints[given.name])
            for given in fields(one.annotation)
        ]

    @wraps(command)
    def call(**given: Any) -> int | None:
        for name, group in groups.items():
            given[name] = group(**{one.name: given.pop(one.name) for one in fields(group)})
        return command(**given)

    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {one.name: one.annotation for one in parameters}
    return call


# Options of several commands

Caches = Annotated[
    list[str] | None,
    shared(
        "--cache",
        "Name of a cache; repeatable. Default: all; of a configuration, those with encryption on.",
        metavar="NAME",
        autocompletion=complete_cache,
    ),
]
StatePath = Annotated[
    Path | None,
    shared(
        "--state",
        "State file: positions, history, last reports. Default: in the user's state directory.",
        metavar="PATH",
    ),
]
HtmlFile = Annotated[
    Path | None,
    shared(
        "--html",
        "Write the report as one HTML page, whole or not at all; needs redis-rotator[html].",
        metavar="FILE",
    ),
]
Format = Annotated[ReportFormat, shared("--format", "What to print on stdout.")]
DryRun = Annotated[bool, shared("--dry-run", "Look only: no command that writes is sent.", "-n")]
MaxRate = Annotated[
    float | None,
    shared("--max-rate", "At most this many visits per second.", metavar="N", min=1, max=10**7),
]
ForceLock = Annotated[
    bool,
    shared(
        "--force-lock",
        "Start even if a run on another machine seems to be in progress. Use it only if you know"
        " that the run named in the error has ended.",
    ),
]
PageSize = Annotated[
    int, shared("--page", "At most this many names per request.", min=1, max=10_000)
]


@dataclass(frozen=True)
class _Configured:
    """Configuration: the files, and where secrets are looked up."""

    config: list[Path] | None = option(
        "--config",
        "Configuration file (YAML, JSON or .tar.gz bundle); repeatable, merged in order."
        " Default: MAVERICS_CONFIG, else /etc/maverics/maverics.yaml.",
        "-c",
        metavar="FILE",
    )
    secret_provider: str | None = option(
        "--secret-provider",
        "Where references such as <name> are looked up, for example env:// or"
        " secretfile:///etc/maverics/secrets.yaml. Default: MAVERICS_SECRET_PROVIDER.",
        envvar=["ROTATOR_SECRET_PROVIDER", "MAVERICS_SECRET_PROVIDER"],
        metavar="URL",
    )


@dataclass(frozen=True)
class CacheOptions(_Configured):
    """Cache options: name one cache of a configuration."""

    cache: str | None = option(
        "--cache",
        "Name of the cache; may be left out if there is only one.",
        metavar="NAME",
        autocompletion=complete_cache,
    )

    def open(self) -> CacheContext:
        """
        Return the cache, ready for use.

        Raises:
            ConfigError: There is no such cache, several to choose from, or it is wrong.
            SourceError: The secret provider cannot be reached.
        """
        from rotator.server.context import CacheContext, open_config  # noqa: PLC0415 - see above

        return CacheContext.open(open_config(self.config), self.cache, self.secret_provider)


@dataclass(frozen=True)
class CachesOptions(_Configured):
    """Caches options: name some caches of a configuration, or all."""

    cache: Caches = None


@dataclass(frozen=True)
class TargetOptions:
    """Target options: name the files that the report is left in."""

    report: Path | None = option(
        "--report",
        "Write the report as JSON, whole or not at all. -: to stdout, and the table to stderr.",
        metavar="FILE",
    )
    html: HtmlFile = None
    metrics_file: Path | None = option(
        "--metrics-file",
        "Write the numbers of the run for the textfile collector of Prometheus' node_exporter.",
        metavar="FILE",
    )


@dataclass(frozen=True)
class DisplayOptions:
    """Display options: say what is printed while caches are worked on, and in the end."""

    output: Format = ReportFormat.TABLE
    show_names: bool = option(
        "--show-names", "Show names as stored even if hashing is off. Default: their SHA-256."
    )
    log_format: LogFormat = option(
        "--log-format", "Form of the log on stderr.", default=LogFormat.CONSOLE
    )
    log_level: LogLevel = option("--log-level", "Lowest level to log.", default=LogLevel.INFO)
    verbose: bool = option("-v", "Log more: --log-level debug.", envvar=None)
    brief: bool = option("-q", "Log less: --log-level warning.", envvar=None)
    progress: bool | None = option(
        "--progress/--no-progress",
        "Show progress on stderr. Default: a bar on a terminal, else a log line every minute.",
    )
    progress_format: ProgressFormat | None = option(
        "--progress-format", "How to show it: a bar, log lines, or JSON lines (the log as well)."
    )

    @property
    def progress_lines(self) -> ProgressFormat | None:
        """The form in which progress is shown; None: it is not."""
        drawn = self.progress or sys.stderr.isatty()
        chosen = self.progress_format or (ProgressFormat.BAR if drawn else ProgressFormat.LOG)
        return None if self.progress is False else chosen

    @property
    def as_json(self) -> bool:
        """True for `--format json`."""
        return self.output is ReportFormat.JSON

    def start_logging(self) -> None:
        """Set up the log; -v and -q win over a level from the environment."""
        short = LogLevel.DEBUG if self.verbose else LogLevel.WARNING
        level = short if self.verbose or self.brief else self.log_level
        as_json = self.progress_format is ProgressFormat.JSON  # the log is in between
        configure_logging(LogFormat.JSON if as_json else self.log_format, level)

    def bar(self, done: str = "rotated") -> Callable[[str, str, int], Progress]:
        """Return a function that starts the bar of a phase; *done* says what values become."""
        drawn = self.progress_lines is ProgressFormat.BAR
        return partial(start_progress, progress=drawn, done=done)
