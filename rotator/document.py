"""
The configuration as plain data: found, read, merged. What the fields mean is `config`'s part.

A later file wins. Mappings merge field by field, `caches` by the name of the cache; any other list,
and every scalar, replaces what was there. An empty section takes nothing away. Only the sections
that rotator reads are built, so whatever else the files hold cannot fail here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rotator.config.files import Document, read, shown
from rotator.errors import ConfigError

SECTIONS = ("caches", "tls", "rotator")
DEFAULT_PLACE = Path("/etc/maverics/maverics.yaml")

_VARIABLE = re.compile(r"\{\{\s*env\.([^\s{}]+)\s*\}\}")


def locate(files: Sequence[Path]) -> tuple[Path, ...]:
    """The files to read: *files*, else MAVERICS_CONFIG, else the Orchestrator's default."""
    if files:
        return tuple(files)
    named = os.environ.get("MAVERICS_CONFIG")
    return (Path(named) if named else DEFAULT_PLACE,)


def read_all(files: Sequence[Path]) -> Document:
    """
    Read *files* and merge them in order.

    Raises:
        ConfigError: A file cannot be read or is broken; see `datafile.read`.
    """
    merged: Document = {}
    for path in files:
        merged = merge(merged, read(path, SECTIONS))
    return merged


def merge(base: Document, over: Document) -> Document:
    """*base* with *over* on top; neither is changed."""
    merged = dict(base)
    for field, value in over.items():
        old = merged.get(field)
        if field == "caches" and isinstance(old, list) and isinstance(value, list | None):
            merged[field] = _merge_caches(old, value or [])
        else:
            merged[field] = _merge_values(old, value)
    return merged


def expand(value: Any, path: str) -> Any:
    """
    Replace every `{{ env.NAME }}` in the strings of *value*, which stands at *path*.

    Raises:
        ConfigError: A variable is not set.
    """
    return _expanded(value, path, {})


def _expanded(value: Any, path: str, done: dict[str, str]) -> Any:
    """*value* with its variables replaced; a text that aliases repeat stays one, in *done*."""
    if isinstance(value, dict):
        return {name: _expanded(inner, child(path, name), done) for name, inner in value.items()}
    if isinstance(value, list):
        return [_expanded(inner, child(path, index), done) for index, inner in enumerate(value)]
    if not isinstance(value, str):
        return value
    if value not in done:
        done[value] = _replaced(value, path)
    return done[value]


def _replaced(text: str, path: str) -> str:
    """*text*, which stands at *path*, with its variables replaced."""

    def lookup(match: re.Match[str]) -> str:
        if (found := os.environ.get(match[1])) is None:
            raise ConfigError(
                f"{path}: the environment variable {match[1]} is not set",
                hint=f"set {match[1]}, or replace {{{{ env.{match[1]} }}}} in the file",
            )
        return found

    return _VARIABLE.sub(lookup, text)


def child(path: str, field: str | int) -> str:
    """The path of *field* under *path*: `caches` and 0 give `caches[0]`."""
    if isinstance(field, int):
        return f"{path}[{field}]"
    return f"{path}.{shown(field)}" if path else shown(field)


def _merge_values(old: Any, new: Any) -> Any:
    """*new* on top of *old*: field by field if both are mappings."""
    if not isinstance(old, dict):
        return new
    if isinstance(new, dict):
        return old | {field: _merge_values(old.get(field), value) for field, value in new.items()}
    return old if new is None else new


def _merge_caches(old: list[Any], new: list[Any]) -> list[Any]:
    """Each old cache takes at most one new one, so that a name given twice in a file stays two."""
    merged = list(old)
    free = {_name_of(cache): index for index, cache in reversed(list(enumerate(old)))}
    for cache in new:
        index = free.pop(name, None) if (name := _name_of(cache)) is not None else None
        if index is None:
            merged.append(cache)
        else:
            merged[index] = _merge_values(merged[index], cache)
    return merged


def _name_of(cache: Any) -> str | None:
    """The name of a cache, if it has one that is text."""
    name = cache.get("name") if isinstance(cache, dict) else None
    return name if isinstance(name, str) else None
