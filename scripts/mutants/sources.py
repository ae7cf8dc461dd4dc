"""
Sources: a copy of the project in which modules hold each of their mutants beside the original.

mutmut writes the mutants. It leaves out what has a decorator; properties and caches are rewritten
as plain functions that are wrapped afterwards, so that they are mutated like the others.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import libcst
from libcst import matchers
from mutmut.mutation.file_mutation import mutate_file_contents
from mutmut.mutation.trampoline_templates import CLASS_NAME_SEPARATOR

ROOT: Final = Path(__file__).parents[2]
COPY: Final = ROOT / ".mutants"
"""Where the copy is made, and what came of it written."""
_COPIED: Final = ("rotator", "scripts", "tests")
_LINKED: Final = ("pyproject.toml", "README.md", "CHANGELOG.md", "Makefile", ".cache")
_WRAPPERS: Final = ("property", "cached_property", "lru_cache", "cache")


@dataclass(frozen=True)
class Mutant:
    """Mutant: one change of one function; *diff* shows it."""

    name: str
    path: str
    diff: str


_WRAPPED: Final = matchers.FunctionDef(
    decorators=[
        matchers.Decorator(
            matchers.Name(matchers.MatchIfTrue(_WRAPPERS.__contains__))
            | matchers.Call(matchers.Name(matchers.MatchIfTrue(_WRAPPERS.__contains__)))
        )
    ]
)


def _unwrapped(node: Any, _: Any) -> Any:
    """Have `def a` and `a = property(a)` instead of `@property def a`."""
    wrapper = libcst.Module([]).code_for_node(node.decorators[0].decorator)
    after = libcst.parse_statement(f"{node.name.value} = {wrapper}({node.name.value})\n")
    return libcst.FlattenSentinel([node.with_changes(decorators=[]), after])


def copied() -> None:
    """Copy the project anew; no file of it is a mutant yet."""
    for name in _COPIED:
        shutil.rmtree(COPY / name, ignore_errors=True)
        shutil.copytree(ROOT / name, COPY / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in _LINKED:
        if (ROOT / name).exists() and not (COPY / name).exists():
            (COPY / name).symlink_to(ROOT / name)


def mutated(paths: Sequence[str]) -> Iterator[Mutant]:
    """Write the mutants of these modules into the copy, and list them."""
    for path in paths:
        made = _made(path)
        (COPY / path).write_text(made["code"])
        module = path.removesuffix(".py").replace("/", ".")
        for name in made["names"]:
            yield Mutant(f"{module}.{name}", path, _diff(made, name))


def _made(path: str) -> dict[str, Any]:
    """A module with all of its mutants; kept, for it takes long to make."""
    text = (ROOT / path).read_text()
    kept = COPY / "made" / f"{sha256((version('mutmut') + path + text).encode()).hexdigest()}.json"
    if not kept.exists():
        source: Any = matchers.replace(libcst.parse_module(text), _WRAPPED, _unwrapped)
        made = mutate_file_contents(path, source.code)
        spans = {name: (at.start, at.end) for name, at in made.line_span_by_function_name.items()}
        found = {"code": made.code, "names": list(made.mutant_names), "spans": spans}
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(json.dumps(found))
    return dict(json.loads(kept.read_text()))


def _diff(made: dict[str, Any], name: str) -> str:
    """What a mutant does not have in common with its function."""
    begun, lines = name.rpartition("__mutmut_")[0], made["code"].splitlines()
    plain = begun.rpartition(CLASS_NAME_SEPARATOR)[2].removeprefix("x_")
    before, after = (
        [line.replace(one, plain) for line in lines[start - 1 : end] if line.strip()]
        for one in (f"{begun}__mutmut_orig", name)
        for start, end in [made["spans"][one]]
    )
    return "\n".join(list(unified_diff(before, after, lineterm="", n=1))[2:])
