"""
Help: loads commands lazily and lays out their pages.

A command's module is imported when the command is asked for. So `--help`, `--version` and every
short command answer at once, and no command waits for what another one needs.

A page has, as a manual page does: what the command does, options by what they are for, the
environment, the files, and last the examples. The command says what it does in its docstring, and
gives examples and exit codes as its epilog; the rest follows from its options.
"""

from collections.abc import Collection, Iterable
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from rotator.cli.options import expanded, variable
from rotator.errors import ConfigError

HELP_EXAMPLES = """\b
Examples:
  rotator help
      what commands there are
  rotator help run
      what a run does, and its options
  rotator help verdicts
      what a verdict means; the same as `rotator docs verdicts`

Exit codes: 0 done; 2 usage: there is no such topic.
"""

# command -> its module and the first sentence of its help, in the order in which help lists them.
# The module has the function `<command>_command` and the epilog `<COMMAND>_EXAMPLES`.
COMMANDS = {
    "run": (
        "run",
        "Re-encrypt what is under old keys, verify it, and say which keys can be removed.",
    ),
    "report": (
        "report",
        "Show the last verdicts, reasons and history, from the state file, without touching Redis.",
    ),
    "status": ("status", "Show what runs now, and how the last runs ended, from the state file."),
    "tune": ("status", "Change a run that is under way: its limits, pause, resume, stop."),
    "check": (
        "diagnose",
        "Try the connection, TLS, login, rights, keys and formats; say what to do about failures.",
    ),
    "detect": ("diagnose", "Say which format and key open the stored values."),
    "inspect": ("entries", "Describe one entry: format, key id, TTL, size."),
    "get": ("entries", "Write a value to stdout, decrypted: its bytes and nothing else."),
    "set": ("entries", "Store a value, encrypted under the current key."),
    "delete": ("entries", "Remove an entry."),
    "keys": (
        "keys",
        "List the keys: role, key id, where each is configured; never the key itself.",
    ),
    "fence": ("keys", "Record since when no application encrypts with the keys that are old now."),
    "keygen": ("keys", "Make a fresh key: 64 hex characters on stdout."),
    "purge": ("purge", "Delete the values under an old key, or those that nothing opens."),
    "adopt": (
        "purge",
        "Encrypt plaintext values under the current key: only names that match, never by a guess.",
    ),
    "help": ("help", "Show the help of a command, or a document."),
    "schema": ("docs", "Print the JSON Schema of the configuration, of reports, or of receipts."),
    "docs": ("docs", "Show a document: how to rotate, configure, read verdicts, and more."),
    "demo": ("docs", "Rotate a cache on a private server, step by step; nothing is left behind."),
}

TOPICS = (
    *("rotation", "configuration", "verdicts", "commands", "formats", "operating", "reports"),
    *("what-if", "performance", "servers", "managed-services", "orchestrator", "security"),
    *("library", "upgrading", "developing"),
)
"""The documents below `rotator/docs`, in the order in which people need them."""

# heading -> the options below it; what is in none is the command's own business, and comes first
HEADINGS = {
    "Which cache": "--config --secret-provider --cache --namespace --db --state",
    "Load limits": """
        --max-duration --until --max-rate --max-latency --max-lag --max-memory --pause-file --page
        --workers --engine --scheduler
    """,
    "Results": "--format --report --html --metrics-file --show-names",
    "Messages": "--log-format --log-level -v -q --progress --progress-format",
    "Receipts": "--receipt --key --sign --verify-receipt --public",
}
_HEADING = {option: name for name, options in HEADINGS.items() for option in options.split()}


# An option brings its variables and files into the help of every command that has it.
VARIABLES = {
    "--config": ("MAVERICS_CONFIG", "the configuration, if --config is not given"),
    "--secret-provider": ("MAVERICS_SECRET_PROVIDER", "if --secret-provider is not given"),
    "--format": ("NO_COLOR", "no colours, whatever it is set to; nor with TERM=dumb"),
}
FILES = {
    "--config": ("/etc/maverics/maverics.yaml", "the configuration, if nothing names another"),
    "--state": (
        "~/.local/state/rotator/state.db",
        "the state, if nothing names another ($XDG_STATE_HOME in place of ~/.local/state)",
    ),
}


_MEANT = dict.fromkeys(("rotate", "reencrypt", "re-encrypt", "migrate"), "run")
"""Words that other tools have for commands of ours."""
_MEANT |= dict.fromkeys(("verify", "validate", "test", "doctor"), "check")
_MEANT |= {"list": "keys", "history": "report", "encrypt": "adopt", "generate": "keygen"}


def heading_of(flag: str, flags: Collection[str]) -> str:
    """Return the heading that an option stands below in the help of a command with such *flags*."""
    found = _HEADING.get(flag, "Options")
    return "Options" if found == "Receipts" and "--receipt" not in flags else found  # purge --key


class _PlainFlags:
    """Flags: are False where typer has None, which it would import pydantic to convert."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return options and arguments."""
        found: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for one in found:
            if getattr(one, "is_flag", False) and not one.secondary_opts and one.default is None:
                one.default = False
        return found


class HelpCommand(_PlainFlags, TyperCommand):
    """Command: lays out its help like a manual page."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words of the usage line, arguments without brackets: each is needed."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, options by what they are for, and what else has a say."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        sections |= {heading: [] for heading in HEADINGS}
        flags = []
        parameters: list[Any] = list(self.get_params(ctx))
        known = [one.opts[0] for one in parameters]
        for one in parameters:
            name, text = one.get_help_record(ctx)
            if one.param_type_name == "argument":
                sections["Arguments"].append((one.display_name_raw, one.help or ""))
            else:
                flags.append(one.opts[0])
                sections[heading_of(one.opts[0], known)].append((name, text))
        sections["Environment"] = [VARIABLES[flag] for flag in flags if flag in VARIABLES]
        if len(flags) > 1:  # more than --help
            example = f"{variable(flags[0])} for {flags[0]}"
            sections["Environment"].append(("ROTATOR_<OPTION>", f"every option, as {example}"))
        sections["Files"] = [FILES[flag] for flag in flags if flag in FILES]
        for heading, rows in sections.items():
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)

    def invoke(self, ctx: Any) -> Any:
        """
        Run the command; from here on Ctrl-C is an exception, and closes what is open.

        Raises:
            ConfigError: The level of the log is given more than once.
        """
        source = ctx.get_parameter_source("log_level")
        levels = [ctx.params.get("verbose"), ctx.params.get("brief")]
        levels += [source is not None and source.name == "COMMANDLINE"]
        if sum(map(bool, levels)) > 1:
            raise ConfigError(
                "-v, -q and --log-level do not go together", hint="give one of them, once"
            )
        if ctx.obj is not None:
            ctx.obj.begin_command()
        return super().invoke(ctx)


class LazyGroup(_PlainFlags, TyperGroup):
    """Group: has all commands, and imports one when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - typer's signature
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - typer's signature
        """Return the command of that name, or None."""
        if cmd_name in COMMANDS and cmd_name not in self.commands:
            self.commands[cmd_name] = load(cmd_name)
        return self.commands.get(cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        """
        Return the command that is asked for, and what follows it.

        Raises:
            ConfigError: There is none of that name.
        """
        if args[0] not in COMMANDS and not ctx.resilient_parsing:
            raise unknown("no such command: ", args[0], "rotator", COMMANDS)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - typer's signature
        """List each command with a whole sentence, however narrow the terminal is."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, sentence) for name, (_, sentence) in COMMANDS.items()])


def help_command(
    context: typer.Context,
    topic: Annotated[
        str | None,
        typer.Argument(
            metavar="TOPIC",
            help="A command, or a document. Default: what commands there are.",
            autocompletion=lambda incomplete: [
                one for one in (*COMMANDS, *TOPICS) if one.startswith(incomplete)
            ],
        ),
    ] = None,
) -> None:
    """
    Show the help of a command, or a document.

    `rotator help run` is `rotator run --help`; `rotator help formats` is `rotator docs formats`.
    """
    group: Any = context.parent
    if topic is None:
        typer.echo(group.get_help())
    elif topic in COMMANDS:
        command = group.command.get_command(group, topic)
        typer.echo(command.get_help(typer.Context(command, parent=group, info_name=topic)))
    elif topic in TOPICS:
        from rotator.cli.docs import print_document  # noqa: PLC0415 - only for this

        print_document(topic)
    else:
        raise unknown("there is no help on ", topic, "rotator help", (*COMMANDS, *TOPICS))


def unknown(problem: str, word: str, before: str, known: Iterable[str]) -> ConfigError:
    """Return the error of a *word* that is not *known*, with the one that is probably meant."""
    from difflib import get_close_matches  # noqa: PLC0415 - only for this

    names = list(known)
    alike = [one for one in names if one == _MEANT.get(word)]
    alike = alike or get_close_matches(word, names, n=1)
    guess = f"did you mean `{before} {alike[0]}`? " if alike else ""
    shows = before if " " in before else f"{before} help"
    return ConfigError(f"{problem}{word[:80]}", hint=f"{guess}`{shows}` shows what there is")


def load(name: str) -> Any:
    """Return the command of that name, with all that its module imports."""
    module = import_module(f"rotator.cli.{COMMANDS[name][0]}")
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    epilog = getattr(module, f"{name.upper()}_EXAMPLES")
    app.command(name, cls=HelpCommand, epilog=epilog)(expanded(getattr(module, f"{name}_command")))
    return typer.main.get_command(app)


def load_all() -> dict[str, Any]:
    """Return all commands by their names."""
    return {name: load(name) for name in COMMANDS}
