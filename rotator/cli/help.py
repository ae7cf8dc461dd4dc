"""
Which commands there are, and where; a command's module is imported when the command is asked for.

So `--version`, completion and every short command answer at once, and no command waits for what
another one needs.

The help of a command, as a manual page has it: what it does, options by what they are for, the
environment, the files, and last the examples.

A command says what it does in its docstring, and gives examples and exit codes as its epilog. The
rest follows from its options.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from rotator.__main__ import ends_at_once

# heading -> the options below it; what is in none is the command's own business, and comes first
_HEADINGS = {
    "Which cache": "--config --secret-provider --cache --namespace --db --state",
    "Manners": """
        --max-duration --until --max-rate --max-latency --max-lag --max-memory --pause-file --page
        --workers --engine --scheduler
    """,
    "Results": "--format --report --html --metrics-file --show-names",
    "Messages": "--log-format --log-level --progress",
}


_HEADING = {option: name for name, options in _HEADINGS.items() for option in options.split()}


# An option brings its variables and files into the help of every command that has it.
_VARIABLES = {
    "--config": ("MAVERICS_CONFIG", "the configuration, where --config is not given"),
    "--secret-provider": ("MAVERICS_SECRET_PROVIDER", "where --secret-provider is not given"),
    "--format": ("NO_COLOR", "no colours, whatever it is set to"),
}


_FILES = {
    "--config": ("/etc/maverics/maverics.yaml", "the configuration, if nothing names another"),
    "--state": (
        "~/.local/state/rotator/state.db",
        "the state, if nothing names another ($XDG_STATE_HOME in place of ~/.local/state)",
    ),
}


class HelpCommand(TyperCommand):
    """A command whose help is laid out like this."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The words of the usage line, arguments without brackets: each of them is needed."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments, options by what they are for, and what else has a say."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        sections |= {heading: [] for heading in _HEADINGS}
        flags = []
        parameters: list[Any] = list(self.get_params(ctx))
        for one in parameters:
            name, text = one.get_help_record(ctx)
            if one.param_type_name == "argument":
                sections["Arguments"].append((one.display_name_raw, one.help or ""))
            else:
                flags.append(one.opts[0])
                sections[_HEADING.get(one.opts[0], "Options")].append((name, text))
        sections["Environment"] = [_VARIABLES[flag] for flag in flags if flag in _VARIABLES]
        if len(flags) > 1:  # more than --help
            every = ("ROTATOR_<OPTION>", f"every option, as {_example(flags[0])}")
            sections["Environment"].append(every)
        sections["Files"] = [_FILES[flag] for flag in flags if flag in _FILES]
        for heading, rows in sections.items():
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)


def _example(flag: str) -> str:
    """The variable of an option, beside it."""
    return f"ROTATOR_{flag.lstrip('-').replace('-', '_').upper()} for {flag}"


# command -> its module and what registers it, in the order in which help lists them
MODULES = {
    "run": ("run", "register"),
    "report": ("report", "register"),
    "check": ("diagnose", "register_check"),
    "detect": ("diagnose", "register"),
    "inspect": ("entries", "register_inspect"),
    "get": ("entries", "register"),
    "set": ("entries", "register"),
    "delete": ("entries", "register"),
    "keys": ("keys", "register"),
    "keygen": ("keygen", "register"),
    "purge": ("purge", "register"),
    "adopt": ("adopt", "register"),
    "demo": ("docs", "register"),
}


class LazyGroup(TyperGroup):
    """All commands, each as `Manual`."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - typer's signature
        """The names of all commands."""
        return list(MODULES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - typer's signature
        """The command of that name, or None."""
        if cmd_name not in MODULES:
            self.commands.update(everything())  # typer looks there for one that is spelt alike
        elif cmd_name not in self.commands:
            self.commands.update(_load(*MODULES[cmd_name]))
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List each command with a whole sentence, however narrow the terminal is."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, one.get_short_help_str(limit=200)) for name, one in found])


def everything() -> dict[str, Any]:
    """All commands by their names, whatever their modules import."""
    return {name: _load(*found)[name] for name, found in MODULES.items()}


class _Shelf(typer.Typer):
    """What the modules register their commands with."""

    def command(self, name: str | None = None, **settings: Any) -> Any:
        """Typer's own decorator, with our help."""
        settings.setdefault("cls", HelpCommand)
        return super().command(name, **settings)


def _load(module: str, register: str) -> dict[str, Any]:
    """The commands of a module, by name."""
    with ends_at_once():
        shelf = _Shelf(add_completion=False, rich_markup_mode=None)
        getattr(import_module(f"rotator.cli.{module}"), register)(shelf)
        return dict(typer.main.get_group(shelf).commands)
