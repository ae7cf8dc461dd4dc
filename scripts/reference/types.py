"""The types of fields, in words, and what classes of the configuration and of reports hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import datetime, timedelta
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from pydantic import AwareDatetime, BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from reference.markdown import code, listed
from rotator.config.fields import ReplicaSettings
from rotator.config.types import Address, SecretRef

_LEAVES: dict[Any, tuple[str, ...]] = {
    str: ("text",),
    bytes: ("text",),
    bool: ("true", "false"),
    int: ("number",),
    float: ("number",),
    datetime: ("time",),
    AwareDatetime: ("time",),
    timedelta: ("duration",),
    NoneType: ("null",),
    Address: ("host:port",),
    SecretRef: ("text", "`<secret>`"),
    ReplicaSettings: ("list of host:port", "`announced`", "`{only: [host:port]}`"),
}
"""What a type is called; some are written in several ways."""
_LISTED = {"number": "numbers", "time": "times", "duration": "durations", "object": "objects"}
"""What things are called if there are many."""


class Field(NamedTuple):
    """A field: its name in the file, its type, the words it may be, and its default."""

    name: str
    annotation: Any
    words: tuple[str, ...] = ()
    default: Any = PydanticUndefined


def fields_of(kind: type) -> Iterator[Field]:
    """Yield the fields of a class, in their order."""
    if not issubclass(kind, BaseModel):
        hints = get_type_hints(kind, include_extras=True)
        for one in dataclasses.fields(kind):  # type: ignore[arg-type]
            yield Field(one.name, hints[one.name])
        return
    for name, info in kind.model_fields.items():
        factory = info.default_factory
        default = info.default if factory is None else factory()  # type: ignore[call-arg]
        yield Field(info.alias or name, info.annotation, _words(info), default)
    for name, computed in kind.model_computed_fields.items():
        yield Field(name, computed.return_type)


def class_of(annotation: Any) -> type | None:
    """Return the class with fields that a type is made of, alone, in a list or in a mapping."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        known = annotation in _LEAVES
        mine = issubclass(annotation, BaseModel) or dataclasses.is_dataclass(annotation)
        return annotation if mine and not known else None
    found = [class_of(one) for one in get_args(annotation)]
    return next((one for one in found if one is not None), None)


def is_list(annotation: Any) -> bool:
    """Return whether a type is a list of one kind of things, or nothing."""
    inner = [one for one in _options(annotation) if one is not NoneType]
    return any(get_origin(one) is tuple for one in inner)


def in_words(annotation: Any, words: tuple[str, ...] = (), *, null: bool = True) -> str:
    """Return what a type is called; *words* are those that a text may be; *null* is told, too."""
    told = [code(word) for word in words] if words else list(_alternatives(annotation))
    found = [one for one in dict.fromkeys(told) if null or one != "null"]
    if words and null and NoneType in _options(annotation):
        found.append("null")
    return listed(sorted(found, key=lambda one: one.startswith(("list", "mapping"))))


def _alternatives(annotation: Any) -> Iterator[str]:
    """Yield what something of this type may be, in words."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        infos = [one for one in inner[1:] if isinstance(one, FieldInfo)]
        words = next(map(_words, infos), ())
        yield from map(code, words) if words else _alternatives(inner[0])
    elif origin in {Union, UnionType}:
        for one in inner:
            yield from _alternatives(one)
    elif origin is Literal:
        yield from map(code, inner)
    elif origin is dict:
        yield f"mapping of {_many(inner[0])} to {_many(inner[1])}"
    elif origin is tuple and inner[-1] is Ellipsis:
        yield f"list of {_many(inner[0])}"
    elif origin is tuple:
        yield f"pair of {' and '.join(in_words(one) for one in inner)}"
    else:
        yield from _LEAVES.get(annotation, ("object",))


def _many(annotation: Any) -> str:
    """Return what many things of a type are called."""
    name = in_words(annotation)
    return name.replace("pair of", "pairs of") if "pair" in name else _LISTED.get(name, name)


def _options(annotation: Any) -> tuple[Any, ...]:
    """Return the types of a union, or the only one."""
    union = get_origin(annotation) in {Union, UnionType}
    return get_args(annotation) if union else (annotation,)


def _words(info: FieldInfo) -> tuple[str, ...]:
    """Return the words that a text may be, if it may not be any."""
    extra = info.json_schema_extra
    words = extra.get("enum") if isinstance(extra, dict) else None
    return tuple(map(str, words)) if isinstance(words, list) else ()
