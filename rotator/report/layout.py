"""Layout: sets words, lists and grids for a terminal, without markup, lines or frames."""

from collections.abc import Iterable
from typing import Literal

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rotator.text import escape

_VERDICT_STYLES = {
    "unknown": "bold red",
    "in-use": "bold red",
    "draining": "yellow",
    "verifying": "yellow",
    "held": "cyan",
    "retirable": "bold green",
}


def text(said: str, style: str = "") -> Text:
    """Return words as they are: no markup or control characters, folded where without spaces."""
    return Text(escape(said), style=style, overflow="fold")


def verdict_text(verdict: str) -> Text:
    """Return a verdict in its colour."""
    return text(verdict, _VERDICT_STYLES.get(verdict, ""))


def heading(title: str, rest: str = "") -> Text:
    """Return a title, and what can be said in the same line."""
    return text(title, "bold").append_text(text(f": {rest}" if rest else ":"))


def indented(body: RenderableType) -> Padding:
    """Return *body*, two columns to the right."""
    return Padding(body, (0, 0, 0, 2))


def grid(*justify: Literal["left", "right"], gap: int = 2) -> Table:
    """Return columns without lines; the last one wraps under itself."""
    table = Table.grid(padding=(0, gap, 0, 0))
    for side in justify:
        table.add_column(justify=side, overflow="fold")
    return table


def bullets(items: Iterable[str], style: str = "") -> RenderableType:
    """Return a list, each item wrapped under its own beginning."""
    table = grid("left", "left", gap=1)
    for item in items:
        table.add_row(text("-", "dim"), text(item, style))
    return indented(table)


def listed(title: str, items: Iterable[str], style: str = "") -> RenderableType:
    """Return a list under its title."""
    return Group(heading(title), bullets(items, style))
