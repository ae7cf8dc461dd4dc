"""
The command line: its commands, and one place where every error becomes a message and an exit code.

A command parses its options, calls what does the work, renders the result and raises
`typer.Exit(code)` when that is not 0. Whatever goes wrong is a `RotatorError`; anything else is a
fault of rotator's own, and its traceback is shown without local variables, which may be keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from rotator.commands import (
    check,
    demo,
    detect,
    entries,
    inspect,
    keygen,
    keys,
    report,
    run as run_command,
)
from rotator.console import print_error
from rotator.errors import ConfigError, Exit, RotatorError

EXIT_CODES = """\b
Exit codes:
    0  the sweep is complete; every value is under the current key (dry run: could be)
    1  could not be done: connection, authentication, server error, incomplete coverage
    2  usage or configuration
    3  complete, but some values could not be moved
    4  stopped by --max-duration; the next run goes on from there
    5  complete, but not one encrypted value was found (--allow-empty makes it 0)
    6  report --require: the condition does not hold
    7  another run on the same cache is in progress
  130  interrupted, position saved (SIGINT)
  143  terminated, position saved (SIGTERM)
"""

app = typer.Typer(
    name="rotator",
    help="Re-encrypt a Redis cache in place, and say when each old key can be removed.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

for _module in (run_command, report, check, detect, inspect, entries, keys, keygen, demo):
    _module.register(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rotator {version('rotator')}")
        raise typer.Exit


@app.callback()
def _main(
    _version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    pass


def run(arguments: Sequence[str]) -> int:
    """Carry out one command line; the exit code it ends with."""
    try:
        return int(app(list(arguments), prog_name="rotator", standalone_mode=False) or Exit.OK)
    except typer.TyperException as error:
        usage = ConfigError(error.format_message().rstrip("."), hint="rotator COMMAND --help")
        print_error(usage)
        return usage.exit_code
    except RotatorError as error:
        print_error(error)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return Exit.INTERRUPTED
