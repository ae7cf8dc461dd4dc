"""The man page `rotator(1)`, from what the commands and options say of themselves."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from reference.commands import Command, Option, commands, own, shared
from reference.markdown import sentence
from rotator.cli.app import EPILOG
from rotator.cli.help import FILES, VARIABLES
from rotator.errors import ENDINGS

FOLDER: Final = Path(__file__).parent
MAN_PAGE: Final = FOLDER / "rotator.1"
DOCUMENTS: Final = FOLDER.parents[1] / "rotator" / "docs"
_WIDTH = 100
# Without these groff prints a typographic sign, which cannot be pasted into a shell.
_SIGNS = str.maketrans(
    {
        "\\": r"\e",
        "-": r"\-",
        "'": r"\(aq",
        "`": r"\(ga",
        "^": r"\(ha",
        "~": r"\(ti",
        '"': r"\(dq",
    }
)
_CODE = re.compile(r"`([^`]+)`|(?<![\w-])(--[a-z][a-z-]+)")


def manual() -> str:
    """Return the man page."""
    whole, *each = commands()
    lines = ['.TH ROTATOR 1 "" rotator "User Commands"', ".nh", ".ad l"]  # no word is broken
    lines += _section("NAME", [r"rotator \- replace the key of an encrypted Redis cache in place"])
    lines += _section("SYNOPSIS", [r"\fBrotator\fR \fICOMMAND\fR [\fIOPTION\fR]..."])
    lines += _section("DESCRIPTION", _description(whole))
    lines += _section("COMMANDS", (line for one in each for line in _command(one)))
    lines += _section("OPTIONS", _options(whole.options))
    lines += [".SS Options of several commands", *_options(shared())]
    lines += _section("EXIT STATUS", _list((str(int(n)), one.long) for n, one in ENDINGS.items()))
    lines += _section("ENVIRONMENT", _environment())
    lines += _section("FILES", _list(FILES.values()))
    lines += _section("EXAMPLES", _examples())
    lines += _section("SEE ALSO", _see_also())
    return "\n".join(lines) + "\n"


def _section(name: str, lines: Iterable[str]) -> Iterator[str]:
    """Yield a section."""
    yield f".SH {name}"
    yield from lines


def escaped(text: str) -> str:
    """Return text as roff has it, without markup."""
    return text.translate(_SIGNS)


def marked(text: str) -> str:
    """Return a paragraph in lines of roff, with commands and options in bold."""
    parts, at = [], 0
    for found in _CODE.finditer(text := " ".join(text.split())):
        parts += [escaped(text[at : found.start()]), _bold(found[1] or found[2])]
        at = found.end()
    whole = "".join([*parts, escaped(text[at:])])
    lines = textwrap.wrap(whole, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return "\n".join(rf"\&{line}" if line.startswith((".", "'")) else line for line in lines)


def _bold(text: str) -> str:
    """Return text in bold."""
    return rf"\fB{escaped(text)}\fR"


def _italic(text: str) -> str:
    """Return text in italics, or underlined."""
    return rf"\fI{escaped(text)}\fR"


def written(option: str) -> str:
    """Return an option in bold, and what it takes in italics."""
    flags, _, value = option.rpartition(" ")
    if not flags or value.startswith("-"):
        return _bold(option)
    return f"{_bold(flags)} {_italic(value)}"


def _list(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield a list of words and what they mean."""
    for word, meaning in rows:
        yield from (".TP", _bold(word), marked(meaning))


def _options(options: Iterable[Option]) -> Iterator[str]:
    """Yield a list of options; of shared ones with the commands that have them."""
    for one in options:
        names = shared().get(one)
        of = f" Commands: {', '.join(names)}." if names else ""
        yield from (".TP", written(one.written), marked(one.meaning + of))


def _description(whole: Command) -> Iterator[str]:
    """Yield what rotator is, and where more is to be read."""
    yield from (marked(text) for text in whole.about)
    yield ".PP"
    yield marked(
        "Results go to stdout, the log, progress and errors to stderr. `rotator COMMAND --help`"
        " shows the options of one command, `rotator docs` lists the documents."
    )


def _command(command: Command) -> Iterator[str]:
    """Yield what a command does, and its options."""
    arguments = command.usage.removeprefix(f"rotator {command.name}").strip()
    taken = f" {_italic(arguments)}" if arguments else ""
    yield f".SS {_bold(f'rotator {command.name}')}{taken}"
    for number, text in enumerate(command.about):
        yield from (*[".PP"] * (number > 0), marked(text))
    for one in command.arguments:
        yield from (".TP", _italic(one.written), marked(one.meaning))
    for options in own(command).values():
        yield from _options(options)
    if flags := [one.flag for one in command.options if one in shared()]:
        yield ".PP"
        yield marked(f"Also {', '.join(f'`{flag}`' for flag in flags)}.")
    if command.exit_codes:
        yield ".PP"
        yield marked(f"Exit status: {command.exit_codes}")


def _environment() -> Iterator[str]:
    """Yield the rule for variables, and those with names of their own."""
    rule, *lines = EPILOG.partition("Every option")[2].partition("\n\n")[0].splitlines()
    yield marked(f"Every option{rule}")
    yield from (".PP", ".nf")
    yield from (escaped(line) for line in lines)
    yield ".fi"
    yield from _list(VARIABLES.values())


def _examples() -> Iterator[str]:
    """Yield the examples of all commands, each once."""
    known = {one.command: one for command in commands() for one in command.examples}
    for one in known.values():
        if one.purpose:
            yield from (".TP", _bold(one.command), marked(sentence(one.purpose)))
        else:
            yield from (".PP", _bold(one.command))


def _see_also() -> Iterator[str]:
    """Yield the other documents."""
    names = sorted(path.stem for path in DOCUMENTS.glob("*.md"))
    yield marked(f"{', '.join(f'`rotator docs {name}`' for name in names)}.")
    yield from (".PP", r"\fBredis\-cli\fR(1), \fBopenssl\fR(1)")
