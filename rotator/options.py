"""
The options that commands share, each also as an environment variable `ROTATOR_<OPTION>`.

One place, so that an option means the same wherever it stands.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from rotator.duration import parse_duration
from rotator.errors import ConfigError


class ReportFormat(StrEnum):
    """What stdout carries."""

    TABLE = "table"
    JSON = "json"


class LogFormat(StrEnum):
    """What a log line on stderr looks like."""

    CONSOLE = "console"
    JSON = "json"


class LogLevel(StrEnum):
    """The least important log line to print."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def _duration(text: str | timedelta) -> timedelta:
    if isinstance(text, timedelta):
        return text
    try:
        return parse_duration(text)
    except ValueError:
        raise typer.BadParameter("expected a duration such as 90s, 15m, 2h or 30d") from None


def _option(flag: str, help_text: str, *more: str, **settings: Any) -> Any:
    """A typer option with its environment variable."""
    name = flag.partition("/")[0].lstrip("-").replace("-", "_").upper()
    return typer.Option(flag, *more, help=help_text, envvar=f"ROTATOR_{name}", **settings)


Config = Annotated[
    list[Path] | None,
    typer.Option(
        "--config",
        "-c",
        help="Configuration file (YAML, JSON or .tar.gz bundle); repeatable, merged in order."
        " Default: MAVERICS_CONFIG, else /etc/maverics/maverics.yaml.",
        envvar="ROTATOR_CONFIG",
        show_default=False,
    ),
]
SecretProvider = Annotated[
    str | None,
    typer.Option(
        "--secret-provider",
        help="Where references such as <name> are looked up, for example"
        " secretfile:///etc/maverics/secrets.yaml or env://.",
        envvar=["ROTATOR_SECRET_PROVIDER", "MAVERICS_SECRET_PROVIDER"],
        show_envvar=True,
    ),
]
Caches = Annotated[
    list[str] | None,
    _option("--cache", "Name of a cache; repeatable. Default: every one with encryption on."),
]
Cache = Annotated[
    str | None, _option("--cache", "Name of the cache; may be left out if there is only one.")
]
StatePath = Annotated[
    Path | None,
    _option("--state", "State file: positions, history, last reports.", show_default=False),
]
Format = Annotated[ReportFormat, _option("--format", "What to print on stdout.")]
ShowNames = Annotated[
    bool, _option("--show-names", "Show names as stored even where hashing is off.")
]
LogFormatOption = Annotated[LogFormat, _option("--log-format", "Form of the log on stderr.")]
LogLevelOption = Annotated[LogLevel, _option("--log-level", "Least important log line to print.")]
Progress = Annotated[
    bool | None,
    _option("--progress/--no-progress", "Draw a progress bar. Default: only on a terminal."),
]
Duration = Annotated[timedelta, typer.Option(parser=_duration)]


def duration(flag: str, help_text: str) -> Any:
    """An option that takes a duration."""
    return _option(flag, help_text, parser=_duration, metavar="DURATION")


ACCEPTABLE = ("undecryptable", "not_string", "too_large")


def parse_accept(items: list[str] | None) -> dict[str, int]:
    """
    Read `--accept undecryptable=12` into a map of outcome to count.

    Raises:
        ConfigError: An outcome that cannot be accepted, or no count.
    """
    accepted = {}
    for item in items or []:
        outcome, equals, count = item.partition("=")
        if outcome not in ACCEPTABLE or not equals or not count.isdigit():
            raise ConfigError(
                f"--accept {item}: expected OUTCOME=COUNT",
                hint=f"outcomes that can be accepted: {', '.join(ACCEPTABLE)}",
            )
        accepted[outcome] = int(count)
    return accepted
