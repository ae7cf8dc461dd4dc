"""The pages that have a part made from the code, and what each part says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from reference import commands, fields, words

ROOT: Final = Path(__file__).parents[2]
PARTS: Final[dict[str, Callable[[], str]]] = {
    "config": fields.config,
    "report": fields.report,
    "metrics": words.metrics,
    "verdicts": words.verdicts,
    "places": words.places,
    "outcomes": words.outcomes,
    "exit-codes": words.exit_codes,
    "commands": commands.reference,
}
"""What makes each part, by the name in the line before it."""
PAGES: Final = (ROOT / "README.md", *sorted((ROOT / "rotator" / "docs").glob("*.md")))
_PART = re.compile(
    r"^<!-- reference: (?P<name>[\w-]+) -->\n(?P<text>.*?)^<!-- end -->$", re.DOTALL | re.MULTILINE
)


def parts_of(text: str) -> dict[str, str]:
    """Return the parts that a page has, as they stand there."""
    return {found["name"]: found["text"] for found in _PART.finditer(text)}


def renewed(text: str) -> str:
    """Return a page with its parts as they should be."""
    return _PART.sub(lambda found: _marked(found["name"]), text)


def _marked(name: str) -> str:
    """Return a part between its lines; the blank ones keep it apart from them in Markdown."""
    return f"<!-- reference: {name} -->\n\n{PARTS[name]()}\n\n<!-- end -->"
