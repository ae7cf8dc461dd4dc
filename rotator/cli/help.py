"""
Which commands there are, and where; a command's module is imported when the command is asked for.

So `--version`, completion and every short command answer at once, and no command waits for what
another one needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from rotator.__main__ import ends_at_once
from rotator.manual import Manual

# command -> its module, in the order in which help lists them
MODULES = {
    "run": "cli.run",
    "report": "cli.report",
    "check": "commands.check",
    "detect": "cli.diagnose",
    "inspect": "commands.inspect",
    "get": "cli.entries",
    "set": "cli.entries",
    "delete": "cli.entries",
    "keys": "cli.keys",
    "keygen": "commands.keygen",
    "purge": "cli.purge",
    "adopt": "cli.adopt",
    "demo": "cli.docs",
}


class Menu(TyperGroup):
    """All commands, each as `Manual`."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - typer's signature
        """The names of all commands."""
        return list(MODULES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - typer's signature
        """The command of that name, or None."""
        if cmd_name not in MODULES:
            self.commands.update(everything())  # typer looks there for one that is spelt alike
        elif cmd_name not in self.commands:
            self.commands.update(_load(MODULES[cmd_name]))
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List each command with a whole sentence, however narrow the terminal is."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, one.get_short_help_str(limit=200)) for name, one in found])


def everything() -> dict[str, Any]:
    """All commands by their names, whatever their modules import."""
    return {name: _load(module)[name] for name, module in MODULES.items()}


class _Shelf(typer.Typer):
    """What the modules register their commands with."""

    def command(self, name: str | None = None, **settings: Any) -> Any:
        """Typer's own decorator, with our help."""
        settings.setdefault("cls", Manual)
        return super().command(name, **settings)


def _load(module: str) -> dict[str, Any]:
    """The commands of a module, by name."""
    with ends_at_once():
        shelf = _Shelf(add_completion=False, rich_markup_mode=None)
        import_module(f"rotator.{module}").register(shelf)
        return dict(typer.main.get_group(shelf).commands)
