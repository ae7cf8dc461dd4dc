"""
What every section of the configuration has in common: unknown fields, and errors without values.

pydantic's own messages quote what they refuse, and that may be a key or a password. So the first
problem of a section is told again in our words, beginning with the path of the field.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic.functional_validators import ModelWrapValidatorHandler
from pydantic_core import ErrorDetails, PydanticCustomError

from rotator.config.files import shown
from rotator.document import child
from rotator.errors import ConfigError
from rotator.spelling import nearest

_OURS = "rotator"
_LISTS = {"list_type", "tuple_type"}
_TEXTS = {"string_type", "string_sub_type", "string_unicode"}


class Section(BaseModel):
    """
    A mapping of known fields; an empty one (null) has the defaults.

    An unknown field is remembered for `unknown_fields`. It is an error if it looks like a known one
    misspelled, or if the section is *strict*; with *foreign*, unknown fields are not looked at.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, alias_generator=to_camel)
    strict: ClassVar[bool] = False
    foreign: ClassVar[bool] = False
    _unknown: tuple[str, ...] = PrivateAttr(default=())

    @classmethod
    def known(cls) -> list[str]:
        """The names of the fields as the file writes them."""
        return [field.alias or name for name, field in cls.model_fields.items()]

    @model_validator(mode="wrap")
    @classmethod
    def _split(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Keep what is known and given, remember what is unknown."""
        if data is None:
            data = {}
        if not isinstance(data, dict):
            raise problem("must be a mapping of fields", f"fields are {', '.join(cls.known())}")
        known = cls.known()
        unknown = [] if cls.foreign else [name for name in data if name not in known]
        for name in unknown:
            cls._demand_harmless(name)
        section = handler({name: data[name] for name in known if data.get(name) is not None})
        section._unknown = tuple(unknown)  # noqa: SLF001 - ours, of the object just made
        return section

    @classmethod
    def _demand_harmless(cls, name: str) -> None:
        """Refuse an unknown field that may be a known one misspelled, and any if *strict*."""
        near = nearest(name, cls.known())
        if near is not None:
            raise problem("unknown field", f"did you mean {near}?", field=name)
        if cls.strict:
            raise problem("unknown field", f"known are {', '.join(cls.known())}", field=name)


SectionType = TypeVar("SectionType", bound=Section)


def problem(text: str, hint: str, *, field: str | None = None) -> PydanticCustomError:
    """An error for a validator to raise: *text* and *hint* go to the user as they are."""
    context = {"problem": text, "hint": hint, "field": field}
    return PydanticCustomError(_OURS, "{problem}", context)


def read_section(kind: type[SectionType], data: Any, path: str) -> SectionType:
    """
    *data*, found at *path*, as a section of that *kind*.

    Raises:
        ConfigError: A field is missing, wrong, misspelled, or unknown where that is an error.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False)
    raise _retold(min(details, key=_order), path)


def unknown_fields(section: Section, path: str) -> Iterator[str]:
    """The paths of the unknown fields in *section*, which stands at *path*, and in those below."""
    for name in section._unknown:  # noqa: SLF001 - ours
        yield child(path, name)
    for name, field in type(section).model_fields.items():
        inner = getattr(section, name)
        if isinstance(inner, Section):
            yield from unknown_fields(inner, child(path, field.alias or name))


def _order(detail: ErrorDetails) -> int:
    """A misspelled field comes first: it may be why another one is missing."""
    return 0 if (detail.get("ctx") or {}).get("field") else 1


def _retold(detail: ErrorDetails, path: str) -> ConfigError:
    """The problem in our words; *path* is where the section stands."""
    for part in detail["loc"]:
        path = child(path, part)
    kind, given = detail["type"], detail["input"]
    text, hint = "is not valid", "see the configuration reference in the README"
    if kind == _OURS:
        context = detail["ctx"]
        text, hint = context["problem"], context["hint"]
        path = child(path, context["field"]) if context["field"] else path
    elif kind == "missing":
        text, hint = "missing", f"add {shown(str(detail['loc'][-1]))} there"
    elif kind in _TEXTS and isinstance(given, bool | int | float):
        text, hint = "must be text", "quote the value: unquoted, JSON reads it as something else"
    elif kind in _TEXTS:
        text, hint = "must be text", "write one text value there"
    elif kind in _LISTS:
        text, hint = "must be a list", "write [one, another], or one line with a dash for each"
    elif kind == "dict_type":
        text, hint = "must be a mapping", "write name: value, one line for each"
    return ConfigError(f"{path}: {text}", hint=hint)
