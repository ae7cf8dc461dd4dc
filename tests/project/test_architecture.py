"""The house: how many files there are, how large they are, and how they introduce themselves."""

import ast
import re
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

import pytest

import rotator

PACKAGE = Path(rotator.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = [path for path in FILES if path.name != "__init__.py"]
ROOT = PACKAGE.parent
TOP = {".ci", ".gitignore", "CHANGELOG.md", "LICENSE", "Makefile", "README.md"} | {
    *("pyproject.toml", "rotator", "scripts", "tests")
}
FOLDERS = sorted({path.parent for path in FILES} - {PACKAGE})

# "Noun: verb phrase." A command of the command line is its own noun.
NOUN = re.compile(r"[A-Z`][^.:]*: \S.*\.", re.DOTALL)
COMMAND = re.compile(r"`rotator [a-z]+`.*\.", re.DOTALL)
QUESTION = re.compile(r"(What|Who|Whose|Where|When|Which|Whether|How)\b")


def name(path):
    """A path as test ids have it."""
    return str(path.relative_to(PACKAGE))


def first(node):
    """The first paragraph of the docstring of a module, class or function, on one line."""
    return " ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split())


def parts(path, *kinds):
    """The classes or functions of a file."""
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)]


def test_the_top_level():
    """Beside what git leaves out nothing lies at the top level that does not belong there."""
    ignored = [".git", *(one.rstrip("/") for one in (ROOT / ".gitignore").read_text().split())]
    there = {path.name for path in ROOT.iterdir()}
    left_out = {name for name in there if any(fnmatch(name, one) for one in ignored)}
    assert there - left_out == TOP


def test_files():
    """There are at most 153 files besides those that introduce a package."""
    assert len(MODULES) <= 153


def test_files_of_a_folder():
    """A folder can be taken in at a glance: it has at most 14 files."""
    counts = Counter(path.parent for path in MODULES)
    assert {name(folder): count for folder, count in counts.items() if count > 14} == {}


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_lines(path):
    """A file has at most 320 lines."""
    assert path.read_text().count("\n") <= 320


@pytest.mark.parametrize("folder", FOLDERS, ids=name)
def test_charter(folder):
    """A package says what belongs into it and what does not, and holds nothing else."""
    tree = ast.parse((folder / "__init__.py").read_text())
    assert [type(node) for node in tree.body] == [ast.Expr]
    assert NOUN.fullmatch(first(tree))
    assert "\n\nNot here: " in ast.get_docstring(tree)


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_first_lines(path):
    """A module and each of its classes begin with a noun and what it does."""
    tree = ast.parse(path.read_text())
    told = first(tree)
    assert NOUN.fullmatch(told) or COMMAND.fullmatch(told)
    classes = [node for node in parts(path, ast.ClassDef) if ast.get_docstring(node)]
    assert [node.name for node in classes if not NOUN.fullmatch(first(node))] == []


@pytest.mark.parametrize("path", FILES, ids=name)
def test_no_questions(path):
    """No docstring begins with a question word: it names the thing instead of describing it."""
    nodes = parts(path, ast.Module, ast.ClassDef, ast.FunctionDef)
    assert [first(node) for node in nodes if QUESTION.match(first(node))] == []


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_functions(path):
    """A function has at most 40 lines between its signature and its end, its docstring apart."""
    long = []
    for node in parts(path, ast.FunctionDef):
        body = node.body[ast.get_docstring(node) is not None :]
        if body and body[-1].end_lineno - body[0].lineno >= 40:
            long.append(node.name)
    assert long == []
