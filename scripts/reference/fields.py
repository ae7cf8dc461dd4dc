"""The reference of every field: of the configuration, of reports, and of receipts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml
from pydantic_core import PydanticUndefined

from reference.markdown import code, item, listed, paragraph
from reference.types import Field, class_of, fields_of, in_words, is_list
from rotator.config.schema import (
    Assumption,
    CacheConfig,
    CacheSettings,
    FormatSection,
    TlsProfile,
)
from rotator.config.types import Section
from rotator.report.fields import Part
from rotator.report.files import reference
from rotator.report.fleet.model import Fleet
from rotator.report.model import Report
from rotator.report.receipt.model import Receipt

CONFIG: dict[str, type[Section]] = {
    "caches[]": CacheConfig,
    "tls.<name>": TlsProfile,
    "rotator.formats.<name>": FormatSection,
    "rotator.caches.<name>": CacheSettings,
}
"""The sections of the configuration, by where they stand."""
REPORTS: dict[str, type[Part]] = {"": Report, "report --from": Fleet, "receipt": Receipt}
"""What is written as JSON, by what its headings begin with."""


class Setting(NamedTuple):
    """
    A field of the configuration: its place, and what is known of it.

    *required* is when it is needed, although the class has a default for it.
    """

    path: str
    field: Field
    description: str
    example: Any
    required: str | bool


def settings(path: str, kind: type[Section]) -> Iterator[Setting]:
    """Yield every field of a section of the configuration, also of those within it."""
    known = reference("rotator.config").get(kind.__name__, {})
    for field in fields_of(kind):
        inner, here = class_of(field.annotation), f"{path}.{field.name}"
        if inner and issubclass(inner, Section) and not issubclass(inner, Assumption):
            yield from settings(here, inner)
        else:
            said = known[field.name]
            needed = said.get("required", field.default is PydanticUndefined)
            yield Setting(here, field, said["description"], said["example"], needed)


def config() -> str:
    """Return the reference of the configuration."""
    parts = []
    for path, kind in CONFIG.items():
        parts += [f"### {code(path)}", "\n".join(_setting(one) for one in settings(path, kind))]
    return "\n\n".join(parts)


def _setting(one: Setting) -> str:
    """Return an item about a field of the configuration."""
    inner = class_of(one.field.annotation)
    if inner is not None and issubclass(inner, Assumption):
        value = next(fields_of(inner))
        kind = f"`is`: {in_words(value.annotation)}; `reason`: text"
    else:
        kind = in_words(one.field.annotation, one.field.words, null=False)
    what = f"{code(one.path)} ({kind}, {_default(one)}): {one.description}"
    return item(f"{what} Example: {code(flow(one.example))}.")


def _default(one: Setting) -> str:
    """Return what is said of the default of a field."""
    default = one.field.default
    if one.required:
        return f"required {one.required}" if isinstance(one.required, str) else "required"
    if isinstance(default, str):
        return f"default {code(default)}"
    if isinstance(default, bool):
        return f"default {code(flow(default))}"
    if isinstance(default, tuple) and default:
        return f"default {code(flow(list(default)))}"
    return "optional"


def flow(value: Any) -> str:
    """Return a value as YAML has it in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, sort_keys=False)
    text = text.removesuffix("...\n").strip()
    return text if '"' in text or "''" in text else text.replace("'", '"')


class Group(NamedTuple):
    """The fields of one class of a report: where they stand, and where else."""

    kind: type
    paths: list[str]


def groups(root: type) -> list[Group]:
    """Return the classes that a report is made of, those of the same depth together."""
    found: dict[type, Group] = {}
    waiting: list[tuple[type, str]] = [(root, "")]
    while waiting:
        kind, path = waiting.pop(0)
        known = kind in found
        found.setdefault(kind, Group(kind, [])).paths.append(path)
        if known:
            continue
        below = []
        for field in fields_of(kind):
            if (inner := class_of(field.annotation)) is not None:
                here = f"{path}.{field.name}".lstrip(".")
                below.append((inner, here + "[]" * is_list(field.annotation)))
        waiting += below
    return list(found.values())


def report() -> str:
    """Return the reference of reports as JSON, of many hosts' too, and of receipts."""
    intro = "A time is UTC, such as `2026-11-24T05:00:00Z`. No field is ever left out."
    parts, done = [paragraph(intro)], set[type]()
    for word, root in REPORTS.items():
        known = groups(root)
        again = [one for one in known if one.kind in done]
        for group in (one for one in known if one.kind not in done):
            parts += [f"### {_title(word, group.paths[0])}", *_group(group, word, again)]
        done |= {one.kind for one in known}
    return "\n\n".join(parts)


def _title(word: str, path: str) -> str:
    """Return the heading of a group."""
    if not word:
        return code(path) if path else "The report"
    return f"The JSON of {code(word)}" if not path and " " in word else _titled(word, path)


def _titled(word: str, path: str) -> str:
    """Return the heading of a group of another kind of JSON."""
    name = code(word) if " " in word else word.capitalize()
    return f"{name}: {code(path)}" if path else f"A {word}"


def _group(group: Group, word: str, again: list[Group]) -> Iterator[str]:
    """Yield the parts of a group: where else it stands, and its fields."""
    if group.paths[1:]:
        more = listed([code(path) for path in group.paths[1:]], "and")
        yield paragraph(f"{more} {'have' if group.paths[2:] else 'has'} the same fields.")
    if word and not group.paths[0] and again:
        where = listed([code(path) for one in again for path in one.paths], "and")
        yield paragraph(f"{where} are as in a report.")
    known = reference("rotator.report")[group.kind.__name__]
    yield "\n".join(_field(field, known[field.name]) for field in fields_of(group.kind))


def _field(field: Field, description: str) -> str:
    """Return an item about a field of a report."""
    return item(f"{code(field.name)} ({in_words(field.annotation, field.words)}): {description}")
