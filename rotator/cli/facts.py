"""Facts of a run: who gave the command, where, with which options; what it means to end empty."""

import shlex
import socket
from collections.abc import Iterator
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

import typer

from rotator.config.load import RotatorConfig
from rotator.errors import EmptyError, Exit
from rotator.report.fields import Facts, File
from rotator.report.model import Cache, Report
from rotator.state.live import user_name
from rotator.tally.tally import Outcome
from rotator.text import count, digits, duration, redact, rfc3339

_TOLD_ELSEWHERE = ("config",)
_GIVEN = ("COMMANDLINE", "ENVIRONMENT")


def facts_of(context: typer.Context) -> Facts:
    """Return who gave the command of *context*, where, and with which options."""
    return Facts(host=socket.gethostname(), user=user_name(), options=tuple(_options(context)))


def with_files(facts: Facts, config: RotatorConfig) -> Facts:
    """Return the facts of a run with the files that its *config* was read from."""
    files = zip(config.files, config.digests, strict=True)
    told = (File(path=str(path.absolute()), sha256=digest) for path, digest in files)
    return facts.model_copy(update={"files": tuple(told)})


def _options(context: typer.Context) -> Iterator[str]:
    """Yield the options that were given and are not as by default, each as it may be written."""
    for option in context.command.params:
        name = option.name or ""
        source, value = context.get_parameter_source(name), context.params.get(name)
        given = source is not None and source.name in _GIVEN and value != option.default
        if option.param_type_name != "option" or name in _TOLD_ELSEWHERE or not given:
            continue
        flags = option.opts if value is not False else option.secondary_opts or option.opts
        flag = next((one for one in flags if one.startswith("--")), flags[0])
        for one in value if isinstance(value, list | tuple) else (value,):
            yield flag if isinstance(one, bool) else f"{flag} {_shown(name, one)}"


def _shown(name: str, value: Any) -> str:
    """
    Return a value as it may be shown.

    The URL of a secret provider may hold a token anywhere, and so may the arguments of a command:
    of the one the scheme is shown, of the other the program.
    """
    if name == "secret_provider":
        return f"{str(value).partition('://')[0]}://***" if "://" in str(value) else "***"
    if name == "on_change":
        program, *arguments = shlex.split(value) or [""]
        return f"'{redact(program)} ***'" if arguments else redact(program)
    if isinstance(value, timedelta):
        return duration(value)
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, float):
        return digits(value)
    return redact(str(value.value if isinstance(value, Enum) else value))


def nothing_found(report: Report) -> EmptyError:
    """Return the error that says of a run that not one value opened, and what to look at."""
    cache = next(one for one in report.caches if one.exit_code == Exit.EMPTY)
    message, hint = _emptiness(cache)
    return EmptyError(message, hint=hint)


def _emptiness(cache: Cache) -> tuple[str, str]:
    """Return that not one value of a cache opened, and what to look at."""
    where = f"{cache.name}: not one encrypted value was found"
    if cache.outside and (cache.outside.visits or cache.outside.names):
        return f"{where}", "match, databases or fields leave names out: widen them"
    if not cache.visits:
        hint = "is it the right server, database and pattern? `rotator check` counts names"
        return f"{where}, and no name at all", hint
    if cache.outcomes[Outcome.UNDECRYPTABLE]:
        hint = "is a format or a key missing? `rotator detect` says what opens them"
    else:
        hint = "is it the right database and pattern? if it is, add --allow-empty"
    return f"{where} in {count(cache.visits, 'visit')}", hint
