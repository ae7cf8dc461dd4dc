"""
Application: turns errors into exit codes, prints the version.

A command parses its options, calls what does the work, renders the result and returns its exit
code, if there is another than 0. What goes wrong is a `RotatorError`. Anything else is a fault of
rotator's own: the log shows where it happened, but neither local variables nor what the exception
says, because either may hold a key or a plaintext.
"""

import errno
import os
import platform
import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

import rotator
from rotator.cli.completion import VARIABLE, complete
from rotator.cli.help import LazyGroup
from rotator.cli.options import variable
from rotator.console import internal_error, print_error, print_result
from rotator.errors import ENDINGS, ConfigError, Exit, RotatorError, StateError
from rotator.text import escape, moment, utc_now

_CODES = "\n".join(
    textwrap.fill(ending.long, 75, initial_indent=f"  {code:3}  ", subsequent_indent=" " * 7)
    for code, ending in ENDINGS.items()
)
EPILOG = f"""\b
Exit codes:
{_CODES}

\b
Every option is also an environment variable, but the command line wins:
  ROTATOR_MAX_DURATION=2h        --max-duration 2h
  ROTATOR_DRY_RUN=1              --dry-run
  ROTATOR_CACHE="one two"        --cache one --cache two
  ROTATOR_CONFIG=a.yaml:b.yaml   --config a.yaml --config b.yaml

\b
Examples:
  rotator demo                     a whole rotation on a private server
  rotator check -c maverics.yaml   is all ready for a run? if not, what to do
  rotator run --dry-run            look only, write nothing
  rotator run                      rotate, verify, judge the old keys
  rotator report                   the last verdicts, without touching Redis
"""


# They are not quoted: what is one too many may be a value, as in `rotator set KEY VALUE`.
_TOO_MANY = re.compile(r"got unexpected extra argument.*", re.DOTALL | re.IGNORECASE)
_OUTPUT_FAILS = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
_LIBRARIES = {"redis-py": "redis", "hiredis": "hiredis", "cryptography": "cryptography"}
_EXAMPLES = {
    "--max-rate": 500,
    "--max-latency": 2,
    "--max-lag": 1_000_000,
    "--max-memory": 80,
    "--workers": 4,
    "--db": 0,
}
"""Numbers that fit options without a default."""

app = typer.Typer(
    name="rotator",
    cls=LazyGroup,
    epilog=EPILOG,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print_result(version_text())
        raise typer.Exit


@app.callback()
def _main(
    context: typer.Context,
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Show the versions of rotator, of its libraries, and of the servers it last saw.",
            callback=_show_version,
            is_eager=True,
        ),
    ] = False,
) -> None:
    """
    Re-encrypt a Redis cache in place, under a new key, while applications keep using it; and say,
    with evidence, when each old key can be removed.
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(Exit.USAGE)


def run(arguments: Sequence[str], interrupts: Any = None) -> int:
    """
    Carry out one command line and return its exit code.

    *interrupts* is told when the command begins, and when its result does: see `__main__`.
    """
    try:
        command = typer.main.get_command(app)
        if instruction := os.environ.get(VARIABLE):
            return complete(command, instruction)
        # Not `app()`: that takes an EOFError for Ctrl-C, and leaves by itself when a pipe breaks.
        with command.make_context("rotator", list(arguments), obj=interrupts) as context:
            return int(command.invoke(context) or Exit.OK)
    except typer.Exit as end:
        return int(end.exit_code)
    except (typer.TyperException, RotatorError) as error:
        shown = (
            error if isinstance(error, RotatorError) else _usage_error(error, command, arguments)
        )
        print_error(shown)
        return shown.exit_code
    except KeyboardInterrupt:
        print_error(RotatorError("interrupted", hint="what was done is kept; run it again"))
        return Exit.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - Python would show what the exception says
        return _report(error, arguments)


def _usage_error(
    error: typer.TyperException, command: Any, arguments: Sequence[str]
) -> ConfigError:
    """Return what typer has to say about the *arguments* of a *command* as an error of ours."""
    context, parameter = getattr(error, "ctx", None), getattr(error, "param", None)
    # Of an option that lacks its value typer does not say whose it is.
    named = " ".join(one for one in arguments[:1] if one in command.commands)
    path = context.command_path if context else f"rotator {named}".rstrip()
    hint = f"`{path} --help` shows what there is"
    if alike := _alike(error):
        hint = f"did you mean {alike}? {hint}"
    if context and parameter:
        source = context.get_parameter_source(parameter.name)
        if source is not None and source.name == "ENVIRONMENT":
            hint = f"it comes from {variable(parameter.opts[0])} in the environment; {hint}"
    return ConfigError(_told(error, parameter), hint=hint)


def _alike(error: Any) -> str | None:
    """Return the option that was probably meant: typer offers some that are spelt otherwise."""
    from difflib import get_close_matches  # noqa: PLC0415 - only for this

    offered = getattr(error, "possibilities", None) or ()
    found = get_close_matches(getattr(error, "option_name", ""), offered, n=1, cutoff=0.7)
    return found[0] if found else None


def _told(error: Any, parameter: Any) -> str:
    """Return in our words what is wrong; *parameter*: the option or argument, if typer says it."""
    text = error.format_message().rstrip(".").partition(" (Possible")[0]
    flag = getattr(error, "option_name", None)
    if parameter is not None:
        if text.startswith("Missing"):
            return f"missing argument {parameter.display_name_raw}"
        wanted = _wanted(parameter) or error.message.rstrip(".").removeprefix("Value error, ")
        is_option = parameter.param_type_name == "option"
        return f"{_flag(parameter)}: {wanted}" if is_option else wanted
    if flag and "requires" in text:
        return f"{flag}: the value is missing"
    if flag and "does not take" in text:
        return f"{flag}: takes no value"
    text = _TOO_MANY.sub("too many arguments", text)
    return text[:1].lower() + text[1:]


def _flag(parameter: Any) -> str:
    """Return the long form of an option."""
    return str(max(parameter.opts, key=len))


def _wanted(parameter: Any) -> str | None:
    """Return what a parameter takes; None: whoever refused the value has said it."""
    kind = parameter.type_descriptor
    if kind.choices is not None:
        return f"expected one of {', '.join(map(str, kind.choices))}"
    if kind.annotation is bool:
        return "expected true or false"
    if kind.annotation not in {int, float}:
        return None
    number = "a whole number" if kind.annotation is int else "a number"
    least, most = kind.parameter_info.min, kind.parameter_info.max
    if least is not None:
        number += f" of at least {least:,}" if most is None else f" from {least:,} to {most:,}"
    known = parameter.default if parameter.default is not None else _EXAMPLES[_flag(parameter)]
    return f"expected {number}, such as {known:.15g}"


def _report(error: Exception, arguments: Sequence[str]) -> Exit:
    """Say what went wrong outside of our own code, or inside of it."""
    number = error.errno if isinstance(error, OSError) else None
    reason = os.strerror(number or 0).lower()
    # Errors of any other file than stdout are a `RotatorError` by now.
    if number in _OUTPUT_FAILS:
        if number != errno.EPIPE:  # whoever reads has had enough, and knows it
            hint = "free some disk space, then run it again"
            print_error(StateError(f"the result could not be written: {reason}", hint=hint))
        # Python tries once more when it ends, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    elif isinstance(error, OSError) and "--install-completion" in arguments:
        hint = "`rotator --show-completion` prints it, to save where your shell looks"
        print_error(StateError(f"completion cannot be installed: {reason}", hint=hint))
    else:
        print_error(internal_error(error))
    return Exit.FAILED


def version_text() -> str:
    """Return all versions, one on each line; the first line is rotator's own."""
    from importlib.metadata import version  # noqa: PLC0415 - only for this

    libraries = {name: version(package) for name, package in _LIBRARIES.items()}
    found = {"Python": platform.python_version(), **libraries}
    lines = [f"  {name:<13} {number}" for name, number in found.items()]
    return "\n".join([f"rotator {rotator.__version__}", *lines, *_servers()])


def _servers() -> list[str]:
    """Return the servers that the state knows of; none is asked, and none has to be there."""
    from rotator.protection import is_there  # noqa: PLC0415 - only for this
    from rotator.state.database import default_path  # noqa: PLC0415 - the same

    place = Path(os.environ.get("ROTATOR_STATE") or default_path())
    if not is_there(place):
        return []
    from rotator.report.archive import load_reports  # noqa: PLC0415 - takes longer
    from rotator.state.state import State  # noqa: PLC0415 - the same

    try:
        with State(place) as state:
            caches = load_reports(state, utc_now()).caches
    except StateError as error:
        return [f"servers: {error}"]
    lines = ["servers, as last seen:"]
    for cache in caches:
        seen = moment(cache.judged_at) if cache.judged_at else "unknown"
        nodes = cache.coverage.nodes if cache.coverage else ()
        name = escape(cache.name)
        lines += [f"  {name} at {one.node}: {one.version} ({seen})" for one in nodes]
    return lines
