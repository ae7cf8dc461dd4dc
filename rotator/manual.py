"""
The help of a command, as a manual page has it: what it does, options by what they are for, the
environment, the files, and last the examples.

A command says what it does in its docstring, and gives examples and exit codes as its epilog. The
rest follows from its options.
"""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

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


class Manual(TyperCommand):
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
