"""Markdown that reads well on GitHub, in a terminal of 80 columns, and as it is."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence

from rotator.cli.help import COMMANDS

WIDTH = 100
_SPAN = re.compile(r"(`[^`]+`)")
_WHOLE = re.compile(r"`[^`]+`|\[[^]]+\]\([^)]+\)")  # code and links are not broken
_COMMAND = "|".join(COMMANDS)
_CODE = re.compile(
    rf"\brotator (?:{_COMMAND})\b(?: --[a-z][a-z-]+)?|\b(?:{_COMMAND}) --[a-z][a-z-]+"
    r"|(?<![\w-])--[a-z][a-z-]+|<[a-z._-]+>"
)
"""Commands, options, and what looks like HTML."""
_BLANK = "\N{NO-BREAK SPACE}"  # in the place of a blank that is no place to break a line


def prose(text: str) -> str:
    """Return plain text as Markdown: options and `<words>` are code, and nothing else is markup."""
    parts = _SPAN.split(" ".join(text.split()))
    return "".join(part if part.startswith("`") else _plain(part) for part in parts)


def _plain(text: str) -> str:
    """Return text outside of code, with what would be markup escaped."""
    return _CODE.sub(lambda found: f"`{found[0]}`", text.replace("*", r"\*"))


def item(text: str) -> str:
    """Return an item of a list; code is not broken, because a line break in it is no blank."""
    return _filled(text, "- ", "  ")


def paragraph(text: str) -> str:
    """Return a paragraph."""
    return _filled(text, "", "")


def _filled(text: str, first: str, other: str) -> str:
    """Return Markdown in lines that are not too long."""
    kept = _WHOLE.sub(lambda span: span[0].replace(" ", _BLANK), text)
    lines = textwrap.fill(
        kept,
        WIDTH,
        initial_indent=first,
        subsequent_indent=other,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines.replace(_BLANK, " ")


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a table."""
    lines = [head, ("---",) * len(head), *rows]
    marked = [f"| {' | '.join(row)} |" for row in lines]
    marked[1] = f"|{'|'.join(lines[1])}|"
    return "\n".join(marked)


def sentence(text: str) -> str:
    """Return text as a sentence: with a capital letter and a full stop."""
    text = text if text.startswith("`") else text[:1].upper() + text[1:]
    return text if text.endswith((".", "?", "!")) else f"{text}."


def code(text: str) -> str:
    """Return text as code."""
    return f"`{text}`"


def listed(words: Sequence[str], last: str = "or") -> str:
    """Return words with commas between them, and another word before the last one."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"
