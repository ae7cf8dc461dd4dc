"""
Completion: finds the names of caches and the ids of keys that a shell offers when Tab is pressed.

What cannot be read gives nothing: this is not the place to complain. No secret is looked up, and no
server is asked; ids of keys come from the reports in the state file.
"""

from __future__ import annotations

import io
import json
import os
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from typer.completion import shell_complete

from rotator.errors import RotatorError
from rotator.text import escape

VARIABLE = "_ROTATOR_COMPLETE"
"""Set by the shell's script when somebody presses Tab."""

_BASH = "complete_bash"


def complete(command: Any, instruction: str) -> int:
    """
    Print what a shell asks for, its script or what may come next, and return the exit code.

    bash takes a colon for a word of its own, and puts what it is offered after the last one
    (`COMP_WORDBREAKS`). So words are put together again, and what is there already is left out.
    """
    words = os.environ.get("COMP_WORDS", "").split("\n")
    if instruction != _BASH or ":" not in words:
        return int(shell_complete(command, {}, "rotator", VARIABLE, instruction))
    joined = _join_colons(words[: int(os.environ["COMP_CWORD"]) + 1])
    os.environ |= {"COMP_WORDS": "\n".join(joined), "COMP_CWORD": str(len(joined) - 1)}
    with redirect_stdout(io.StringIO()) as said:
        code = shell_complete(command, {}, "rotator", VARIABLE, instruction)
    there = joined[-1].rfind(":") + 1
    print("\n".join(line[there:] for line in said.getvalue().splitlines()))  # noqa: T201 - the shell reads it
    return int(code)


def _join_colons(words: list[str]) -> list[str]:
    """Return the words with `a`, `:` and `b` as `a:b`."""
    joined: list[str] = []
    for word in words:
        if joined and (word == ":" or joined[-1].endswith(":")):
            joined[-1] += word
        else:
            joined.append(word)
    return joined


def complete_cache(ctx: Any, incomplete: str) -> list[str]:
    """
    Return the names of caches that begin with *incomplete*, by the configuration so far.

    What cannot be printed is not offered: a shell would show it as it is.
    """
    from rotator.config.load import load  # noqa: PLC0415 - only when somebody presses Tab

    try:
        found = load(ctx.params.get("config") or []).caches
    except RotatorError:
        return []
    names = [cache.name for cache in found if cache.name.isprintable()]
    return [name for name in names if name.startswith(incomplete)]


def complete_key(ctx: Any, incomplete: str) -> list[tuple[str, str]]:
    """Return the ids of old keys that begin with *incomplete*, each with what is known of it."""
    found = _old_keys(ctx.params.get("state"), ctx.params.get("cache"))
    return [(ident, told) for ident, told in found.items() if ident.startswith(incomplete)]


def complete_condition(ctx: Any, incomplete: str) -> list[str]:
    """Return the conditions of `report --require` that begin with *incomplete*."""
    words = ("retirable", "proven")
    found = _old_keys(ctx.params.get("state"), ctx.params.get("cache"))
    every = [*words, "in-time", *(f"{word}:{ident}" for word in words for ident in found)]
    return [one for one in every if one.startswith(incomplete)]


def _old_keys(path: Path | None, caches: Any) -> dict[str, str]:
    """Return the old keys in the last reports of *caches*, or of all, with their verdicts."""
    from rotator.state.database import default_path  # noqa: PLC0415 - see above
    from rotator.state.state import State  # noqa: PLC0415 - see above

    place = path or default_path()
    wanted = [caches] if isinstance(caches, str) else caches
    found: dict[str, str] = {}
    try:
        if not place.exists():  # to look must not leave an empty one behind
            return {}
        with State(place) as state:
            reports = [json.loads(text) for _, text in state.last_reports().values()]
    except (RotatorError, OSError, ValueError):
        return {}
    for cache in (one for report in reports for one in report.get("caches", ())):
        if wanted and cache["name"] not in wanted:
            continue
        for key in cache.get("keys", ()):
            if key["role"] == "old":
                found[key["id"]] = f"{key.get('verdict')}, {escape(cache['name'])}"
    return found
