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
from rotator.history import ACCEPTABLE
from rotator.tally import Outcome


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


def _duration(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError:
        raise typer.BadParameter("expected a duration such as 90s, 15m, 2h or 30d") from None


def option(flag: str, help_text: str, *more: str, **settings: Any) -> Any:
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
    option("--cache", "Name of a cache; repeatable. Default: every one with encryption on."),
]
Cache = Annotated[
    str | None, option("--cache", "Name of the cache; may be left out if there is only one.")
]
StatePath = Annotated[
    Path | None,
    option("--state", "State file: positions, history, last reports.", show_default=False),
]
Format = Annotated[ReportFormat, option("--format", "What to print on stdout.")]
ShowNames = Annotated[
    bool, option("--show-names", "Show names as stored even where hashing is off.")
]
LogFormatOption = Annotated[LogFormat, option("--log-format", "Form of the log on stderr.")]
LogLevelOption = Annotated[LogLevel, option("--log-level", "Least important log line to print.")]
Progress = Annotated[
    bool | None,
    option("--progress/--no-progress", "Draw a progress bar. Default: only on a terminal."),
]


def duration(flag: str, help_text: str) -> Any:
    """An option that takes a duration such as `90s` or `2h`."""
    return option(flag, help_text, parser=_duration, metavar="DURATION", show_default=False)


def parse_accept(items: list[str] | None) -> dict[Outcome, int]:
    """
    Read `--accept undecryptable=12` into a map of outcome to count.

    Raises:
        ConfigError: An outcome that cannot be accepted, or no count.
    """
    accepted = {}
    for item in items or []:
        outcome, _, count = item.partition("=")
        if outcome not in ACCEPTABLE or not (count.isascii() and count.isdigit()):
            raise ConfigError(
                f"--accept {item}: expected OUTCOME=COUNT",
                hint=f"outcomes that can be accepted: {', '.join(ACCEPTABLE)}",
            )
        accepted[Outcome(outcome)] = int(count)
    return accepted
