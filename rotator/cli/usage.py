"""Usage: says in our own words what is wrong with a command line, and what would be right."""

import re
from collections.abc import Sequence
from typing import Any

import typer

from rotator.cli.options import variable
from rotator.errors import ConfigError

# They are not quoted: what is one too many may be a value, as in `rotator set KEY VALUE`.
_TOO_MANY = re.compile(r"got unexpected extra argument.*", re.DOTALL | re.IGNORECASE)
_EXAMPLES = {
    "--max-rate": 500,
    "--max-latency": 2,
    "--max-lag": 1_000_000,
    "--max-memory": 80,
    "--workers": 4,
    "--db": 0,
}
"""Numbers that fit options without a default."""


def usage_error(error: typer.TyperException, command: Any, arguments: Sequence[str]) -> ConfigError:
    """Return what typer has to say about the *arguments* of a *command* as an error of ours."""
    context, parameter = getattr(error, "ctx", None), getattr(error, "param", None)
    # Of an option that lacks its value typer does not say whose it is.
    named = " ".join(one for one in arguments[:1] if one in command.commands)
    path = context.command_path if context else f"rotator {named}".rstrip()
    hint = f"`{path} --help` shows what there is"
    if alike := getattr(error, "possibilities", None):
        hint = f"did you mean {alike[0]}? {hint}"
    if context and parameter:
        source = context.get_parameter_source(parameter.name)
        if source is not None and source.name == "ENVIRONMENT":
            hint = f"it comes from {variable(parameter.opts[0])} in the environment; {hint}"
    return ConfigError(_told(error, parameter), hint=hint)


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
