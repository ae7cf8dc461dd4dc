"""The reference of commands and options, by what `rotator --help` is made of."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import typer

from reference.markdown import code, item, listed, paragraph, prose
from rotator.cli.app import app
from rotator.cli.help import HEADINGS, heading_of, load_all

OPTIONS = "Options"
"""The heading of those that are a command's own business."""
SHARED = ("Which cache", "Results", "Messages")
"""The headings of options that are explained once if several commands have them."""
_MANY = 3  # commands that have to share an option
_FACTS = re.compile(r"  \[([^\[\]]*)\]$")
_RANGE = re.compile(r"(?:(\d+)<=)?x(?:([<>]=)(\d+))?")
_PARAGRAPH = "\n\n"


class Option(NamedTuple):
    """An option or an argument: how it is written, what it does, and under which heading."""

    flag: str
    written: str
    meaning: str
    heading: str

    @property
    def is_shared_kind(self) -> bool:
        """Whether it is explained once if several commands have it."""
        return self.heading in SHARED


class Example(NamedTuple):
    """A command line, and what it is for."""

    command: str
    purpose: str


class Command(NamedTuple):
    """A command: what it does, its usage, arguments and options, examples and exit codes."""

    name: str
    about: tuple[str, ...]
    usage: str
    arguments: tuple[Option, ...]
    options: tuple[Option, ...]
    examples: tuple[Example, ...]
    exit_codes: str


@cache
def commands() -> tuple[Command, ...]:
    """Return all commands in their order; the first one is `rotator` itself."""
    whole: Any = typer.main.get_command(app)
    return (_command("", whole), *(_command(name, one) for name, one in load_all().items()))


def _command(name: str, found: Any) -> Command:
    """Return what is known of a command."""
    context = typer.Context(found, info_name=name or "rotator")
    usage, arguments, options = [f"rotator {name}".strip()], [], []
    parameters = [one for one in found.get_params(context) if one.opts[0] != "--help"]
    flags = [one.opts[0] for one in parameters]
    for one in parameters:
        if one.param_type_name == "argument":
            usage.append(str(one.metavar) if one.required else f"[{one.metavar}]")
            arguments.append(Option(one.name, str(one.metavar), _meaning(one.help), OPTIONS))
        else:
            written, text = one.get_help_record(context)
            written = re.sub(r"<(.*)>", r"\1", written)  # choices
            heading = heading_of(one.opts[0], flags)
            options.append(Option(one.opts[0], written, _meaning(text), heading))
    epilog = inspect.cleandoc(found.epilog or "").replace("\b\n", "")
    return Command(
        name,
        tuple(inspect.cleandoc(found.help or "").split(_PARAGRAPH)),
        " ".join(usage),
        tuple(arguments),
        tuple(options),
        tuple(_examples(epilog)),
        " ".join(epilog.partition("Exit codes: ")[2].partition(_PARAGRAPH)[0].split()),
    )


def _meaning(text: str) -> str:
    """Return what an option does, with its default and its range in words."""
    facts = _FACTS.search(text)
    told = [_FACTS.sub("", text).strip()]
    for fact in facts[1].split("; ") if facts else ():
        if fact.startswith("default: "):
            told.append(f"Default: {fact.removeprefix('default: ')}.")
        elif fact not in {"required", "x>=0"}:
            told.append(_range(fact))
    return " ".join(told)


def _range(fact: str) -> str:
    """Return a range such as `1<=x<=100` in words."""
    found = _RANGE.fullmatch(fact)
    if found is None:
        raise ValueError(f"a range that is not known: {fact}")
    low, sign, number = found.groups()
    if low and number:
        return f"From {int(low):,} to {int(number):,}."
    return f"At least {int(number):,}." if sign == ">=" else f"At most {int(number):,}."


def _examples(epilog: str) -> Iterator[Example]:
    """Yield the examples of a command: each is a line, and what it is for is further in below."""
    command, purpose = "", list[str]()
    text = epilog.partition("Examples:\n")[2].partition("Exit codes: ")[0]
    for line in [*text.splitlines(), ""]:
        deep = len(line) - len(line.lstrip())
        if deep > 2:
            purpose.append(line.strip())
            continue
        if command:
            yield Example(command, " ".join(purpose))
        command, _, beside = line.strip().partition("  ") if deep else ("", "", "")
        purpose = [beside.strip()] if beside else []


@cache
def shared() -> dict[Option, tuple[str, ...]]:
    """Return the options that several commands have alike, with these commands."""
    every = [(one, command.name) for command in commands() for one in command.options]
    counts = Counter(one for one, _ in every if one.is_shared_kind)
    flags = [flag for heading in SHARED for flag in HEADINGS[heading].split()]
    known = sorted(counts, key=lambda one: flags.index(one.flag))
    return {
        one: tuple(name for other, name in every if other == one)
        for one in known
        if counts[one] >= _MANY
    }


def own(command: Command) -> dict[str, list[Option]]:
    """Return the options of a command that are explained there, by their headings."""
    found: dict[str, list[Option]] = {heading: [] for heading in (OPTIONS, *HEADINGS)}
    for one in command.options:
        if one not in shared():
            found[one.heading].append(one)
    return {heading: options for heading, options in found.items() if options}


def reference() -> str:
    """Return the reference of all commands."""
    parts = ["### Shared options"]
    for heading in SHARED:
        parts.append(f"**{heading}**")
        options = [one for one in shared() if one.heading == heading]
        parts.append("\n".join(_shared(one) for one in options))
    for command in commands():
        parts += _reference_of(command)
    return _PARAGRAPH.join(parts)


def _shared(option: Option) -> str:
    """Return an item about a shared option, with the commands that have it."""
    names = listed([code(name) for name in shared()[option]], "and")
    return item(f"**{code(option.written)}**: {prose(option.meaning)} Commands: {names}.")


def _reference_of(command: Command) -> Iterator[str]:
    """Yield the parts of the reference of one command."""
    yield f"### rotator {command.name}".rstrip()
    yield from (paragraph(prose(text)) for text in command.about)
    if command.arguments:
        yield paragraph(f"Usage: {code(command.usage)}")
    sections = own(command)
    if first := [*command.arguments, *sections.pop(OPTIONS, ())]:
        yield _items(first)
    for heading, options in sections.items():
        yield f"**{heading}**"
        yield _items(options)
    if names := [code(one.flag) for one in command.options if one in shared()]:
        yield paragraph(f"Also {listed(names, 'and')} ([shared options](#shared-options)).")
    if command.exit_codes:
        yield paragraph(f"Exit codes: {prose(command.exit_codes)}")


def _items(options: Sequence[Option]) -> str:
    """Return a list of options."""
    return "\n".join(item(f"**{code(one.written)}**: {prose(one.meaning)}") for one in options)
