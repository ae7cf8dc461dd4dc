"""The cookbook of rotator/docs/formats.md, as data: the one list of what applications write."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

import yaml

DOCUMENT: Final = Path(__file__).parents[2] / "rotator" / "docs" / "formats.md"
_ROW: Final = re.compile(
    r"""
    ^-\ \*\*(?P<name>[^\n]+?)\*\*  # in bold
    (?:\.\ (?P<about>\S[^\n]*(?:\n\ \ \S[^\n]*)*))?\n  # what is to be known, on a few lines
    \n
    \ \ `(?P<entry>\{[^\n]*\})`$  # in a paragraph of its own
    """,
    re.MULTILINE | re.VERBOSE,
)


class Row(NamedTuple):
    """
    One row of the cookbook: an item of its lists.

    *entry* is what a user pastes, a mapping in YAML; *about* says what the label is and how the key
    is made, and more.
    """

    name: str
    entry: str
    about: str

    @property
    def has_labels(self) -> bool:
        """Whether values name their key."""
        return re.search(r"(?:^|\. )Label: ", self.about) is not None

    @property
    def authenticated(self) -> str | None:
        """The text that is authenticated with each value, if there is one."""
        kind, _, text = str(yaml.safe_load(self.entry).get("aad")).partition(":")
        return text if kind == "text" else None


def rows() -> list[Row]:
    """All rows, in their order."""
    return [
        Row(found["name"], found["entry"], " ".join((found["about"] or "").split()))
        for found in _ROW.finditer(DOCUMENT.read_text())
    ]


def row(name: str) -> Row:
    """
    The row of one application.

    Raises:
        KeyError: The cookbook has none.
    """
    return {one.name: one for one in rows()}[name]
