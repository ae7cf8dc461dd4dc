"""
The options that commands share, each also as an environment variable `ROTATOR_<OPTION>`.

One place, so that an option means the same wherever it stands.

What several commands need: options of their own, opening a cache, writing JSON and tables.

What the shell offers for the value of an option when somebody presses Tab.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from rotator.errors import ConfigError, RotatorError
from rotator.tally.tally import ACCEPTABLE, Outcome
from rotator.text import parse_deadline, parse_duration


def caches(ctx: Any, incomplete: str) -> list[str]:
    """
    The names of the caches that begin with *incomplete*, by the configuration that is named so far.

    A configuration that cannot be read gives none: this is not the place to complain.
    """
    from rotator.config.load import load  # noqa: PLC0415 - takes a while

    files: list[Path] = ctx.params.get("config") or []
    try:
        found = load(files).caches
    except RotatorError:
        return []
    return [cache.name for cache in found if cache.name.startswith(incomplete)]


_COUNT = re.compile(r"[0-9]{1,18}")


class ReportFormat(StrEnum):
    """What stdout carries."""

    TABLE = "table"
    JSON = "json"


class LogFormat(StrEnum):
    """What a log line on stderr looks like."""

    CONSOLE = "console"
    JSON = "json"


class Engine(StrEnum):
    """Who sweeps."""

    LOCAL = "local"
    DASK = "dask"


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


def _deadline(text: str) -> datetime:
    try:
        return parse_deadline(text, datetime.now(UTC))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def variable(name: str) -> str:
    """The environment variable of an option such as `--max-duration`."""
    return f"ROTATOR_{name.lstrip('-').replace('-', '_').upper()}"


def option(flag: str, help_text: str, *more: str, **settings: Any) -> Any:
    """
    A typer option with its environment variable.

    Help does not show the variable at each option: `rotator --help` tells the rule, and options are
    easier to read without.
    """
    name = variable(flag.partition("/")[0])
    settings = {"envvar": name, "show_envvar": False, **settings}
    if "min" in settings:
        settings.setdefault("metavar", "N")
    return typer.Option(flag, *more, help=help_text, **settings)


def duration(flag: str, help_text: str) -> Any:
    """An option that takes a duration such as `90s` or `2h`."""
    return option(flag, help_text, parser=_duration, metavar="DURATION", show_default=False)


def deadline(flag: str, help_text: str) -> Any:
    """An option that takes a point in time such as `05:00` or `2026-11-24T05:00Z`."""
    return option(flag, help_text, parser=_deadline, metavar="TIME", show_default=False)


Config = Annotated[
    list[Path] | None,
    option(
        "--config",
        "Configuration file (YAML, JSON or .tar.gz bundle); repeatable, merged in order."
        " Default: MAVERICS_CONFIG, else /etc/maverics/maverics.yaml.",
        "-c",
        metavar="FILE",
        show_default=False,
    ),
]


SecretProvider = Annotated[
    str | None,
    option(
        "--secret-provider",
        "Where references such as <name> are looked up, for example env:// or"
        " secretfile:///etc/maverics/secrets.yaml. Default: MAVERICS_SECRET_PROVIDER.",
        envvar=["ROTATOR_SECRET_PROVIDER", "MAVERICS_SECRET_PROVIDER"],
        metavar="URL",
    ),
]


Caches = Annotated[
    list[str] | None,
    option(
        "--cache",
        "Name of a cache; repeatable. Default: every one with encryption on.",
        metavar="NAME",
        autocompletion=caches,
    ),
]


Cache = Annotated[
    str | None,
    option(
        "--cache",
        "Name of the cache; may be left out if there is only one.",
        metavar="NAME",
        autocompletion=caches,
    ),
]


StatePath = Annotated[
    Path | None,
    option(
        "--state",
        "State file: positions, history, last reports. Default: in the user's state directory.",
        metavar="PATH",
        show_default=False,
    ),
]


Format = Annotated[ReportFormat, option("--format", "What to print on stdout.")]


ShowNames = Annotated[
    bool,
    option("--show-names", "Show names as stored even where hashing is off; else their SHA-256."),
]


LogFormatOption = Annotated[LogFormat, option("--log-format", "Form of the log on stderr.")]


LogLevelOption = Annotated[LogLevel, option("--log-level", "Least important log line to print.")]


Progress = Annotated[
    bool | None,
    option("--progress/--no-progress", "Draw a progress bar. Default: only on a terminal."),
]


# Options of `run`

DryRun = Annotated[bool, option("--dry-run", "Look only: no command that writes is sent.")]


NoVerify = Annotated[
    bool,
    option(
        "--no-verify",
        "Do not sweep again after rewriting; then no key gets better than verifying.",
    ),
]


Quiet = Annotated[
    timedelta | None,
    duration(
        "--quiet", "How long a key must not have been met before it is retirable. Default: 1h."
    ),
]


OnlyKey = Annotated[
    str | None,
    option("--only-key", "Move only what is under the old key with this id.", metavar="ID"),
]


MaxDuration = Annotated[
    timedelta | None,
    duration(
        "--max-duration",
        "Stop after this long, when the page in hand is done; the next run goes on from there.",
    ),
]


Until = Annotated[
    datetime | None,
    deadline(
        "--until",
        "Stop like that at this time: 05:00, the next one by the clock of this machine, or a date"
        " and time such as 2026-11-24T05:00Z. With --max-duration the earlier counts.",
    ),
]


MaxRate = Annotated[
    float | None,
    option("--max-rate", "Visits a second, at most.", metavar="N", min=1),
]


MaxLatency = Annotated[
    float,
    option(
        "--max-latency",
        "What other clients may feel, in milliseconds: pages shrink above it. 0: no goal.",
        metavar="MS",
        min=0,
    ),
]


MaxLag = Annotated[
    int | None,
    option("--max-lag", "Wait while a replica is more bytes behind.", metavar="BYTES", min=0),
]


MaxMemory = Annotated[
    float | None,
    option(
        "--max-memory",
        "Wait while more of maxmemory is used.",
        metavar="PERCENT",
        min=1,
        max=100,
    ),
]


PauseFile = Annotated[
    Path | None,
    option("--pause-file", "Wait while this file exists.", metavar="PATH"),
]


Workers = Annotated[
    int | None,
    option(
        "--workers",
        "Processes, where there are several nodes. Default: one a core, or one a dask worker.",
        min=1,
    ),
]


EngineOption = Annotated[
    Engine,
    option(
        "--engine",
        "Who sweeps: processes of this machine, or the workers of a dask cluster"
        " (needs redis-rotator[dask]).",
    ),
]


Scheduler = Annotated[
    str | None,
    option(
        "--scheduler",
        "The dask cluster's scheduler, tcp://host:8786 or tls://host:8786.",
        metavar="ADDRESS",
    ),
]


Page = Annotated[int, option("--page", "Names to ask for at a time, at most.", min=1, max=10_000)]


Accept = Annotated[
    list[str] | None,
    option(
        "--accept",
        "Up to COUNT values of this outcome are known and shall not block a verdict;"
        f" repeatable. Outcomes: {', '.join(ACCEPTABLE)}.",
        metavar="OUTCOME=COUNT",
    ),
]


AllowEmpty = Annotated[bool, option("--allow-empty", "To find no encrypted value is no failure.")]


Fresh = Annotated[
    bool, option("--fresh", "Begin anew, whatever position an earlier run has saved.")
]


ReportFile = Annotated[
    Path | None,
    option("--report", "Write the report as JSON, whole or not at all.", metavar="FILE"),
]


HtmlFile = Annotated[
    Path | None,
    option(
        "--html",
        "Write the report as one HTML page, whole or not at all; needs redis-rotator[html].",
        metavar="FILE",
    ),
]


OnChange = Annotated[
    str | None,
    option(
        "--on-change",
        "Run this command, without a shell, when a verdict is another than before, or a run fails;"
        " it gets the facts as ROTATOR_EVENT, ROTATOR_SUMMARY and others (see README).",
        metavar="COMMAND",
    ),
]


MetricsFile = Annotated[
    Path | None,
    option(
        "--metrics-file",
        "Write the numbers of the run for the textfile collector of Prometheus' node_exporter.",
        metavar="FILE",
    ),
]


# Options of `report`

Require = Annotated[
    str | None,
    option(
        "--require",
        "For scripts: exit with 6 unless every old key, or the one with this id, is retirable; or"
        " unless every cache will be done by the time of --by.",
        metavar="retirable[:ID]|in-time",
    ),
]


By = Annotated[
    datetime | None,
    deadline(
        "--by",
        "Say whether each cache will be done by this time, such as 05:00 or 2026-11-24T05:00Z, and"
        " how fast it would have to be.",
    ),
]


MaxAge = Annotated[
    timedelta | None,
    duration(
        "--max-age", "How old the last complete sweep may be for --require to hold. Default: 24h."
    ),
]


def parse_accept(items: list[str] | None) -> dict[Outcome, int]:
    """
    Read `--accept undecryptable=12` into a map of outcome to count.

    Raises:
        ConfigError: An outcome that cannot be accepted, or no count.
    """
    accepted = {}
    for item in items or []:
        outcome, _, count = item.partition("=")
        if outcome not in ACCEPTABLE or not _COUNT.fullmatch(count):
            raise ConfigError(
                f"--accept {item[:80]}: expected OUTCOME=COUNT, such as undecryptable=12",
                hint=f"outcomes that can be accepted: {', '.join(ACCEPTABLE)}",
            )
        accepted[Outcome(outcome)] = int(count)
    return accepted


Namespace = Annotated[
    str | None,
    option(
        "--namespace",
        "What stands before the key, for example /app/oidc.",
        metavar="NAMESPACE",
        show_default=False,
    ),
]
