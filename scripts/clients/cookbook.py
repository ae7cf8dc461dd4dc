"""The cookbook of rotator/docs/formats.md, as data: the one table of what applications write."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

import yaml

DOCUMENT: Final = Path(__file__).parents[2] / "rotator" / "docs" / "formats.md"
_ROW: Final = re.compile(
    r"^\| (?P<name>.+?) \| `(?P<entry>\{.*\})` \| (?P<labels>.*?) \| ?(?P<notes>.*?) ?\|$",
    re.MULTILINE,
)


class Row(NamedTuple):
    """
    One row of the cookbook.

    *entry* is what a user pastes, a mapping in YAML; *labels* is "no", or says what the label is.
    """

    name: str
    entry: str
    labels: str
    notes: str

    @property
    def has_labels(self) -> bool:
        """Whether values name their key."""
        return self.labels != "no"

    @property
    def authenticated(self) -> str | None:
        """The text that is authenticated with each value, if there is one."""
        kind, _, text = str(yaml.safe_load(self.entry).get("aad")).partition(":")
        return text if kind == "text" else None


def rows() -> list[Row]:
    """All rows, in their order."""
    return [Row(**found.groupdict()) for found in _ROW.finditer(DOCUMENT.read_text())]


def row(name: str) -> Row:
    """
    The row of one application.

    Raises:
        KeyError: The cookbook has none.
    """
    return {one.name: one for one in rows()}[name]
