"""
What every section of the configuration has in common: unknown fields, and errors without values.

pydantic's own messages quote what they refuse, and that may be a key or a password. So the first
problem of a section is told again in our words, beginning with the path of the field.

A secret as the configuration gives it: a reference, or the value itself.

Which known word a misspelled one was meant to be.

Where a node listens: host and port, as `redis.addresses` writes them.

What a secret provider does.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, NamedTuple, Protocol, Self, TypeVar

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic.functional_validators import ModelWrapValidatorHandler
from pydantic_core import ErrorDetails, PydanticCustomError

from rotator.errors import ConfigError, SecretError


def nearest(word: str, known: Iterable[str]) -> str | None:
    """
    The *known* word that *word* is most likely a misspelling of, or None.

    Case, `_` and `-` do not count. One slip is forgiven, two in a word of 8 letters or more: short
    words are too often one letter away from another real one (`tls` and `ttl`).
    """
    best: tuple[int, str] | None = None
    for candidate in known:
        slips = _slips(_plain(word), _plain(candidate))
        if slips <= (2 if len(candidate) >= 8 else 1) and (best is None or slips < best[0]):
            best = slips, candidate
    return None if best is None else best[1]


def _plain(word: str) -> str:
    """The letters that count."""
    return word.lower().replace("_", "").replace("-", "")


def _slips(a: str, b: str) -> int:
    """Letters added, left out, exchanged, or swapped with their neighbour (Damerau, 1964)."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        before, last, row = row, before, [i]
        for j, right in enumerate(b, 1):
            slips = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (left != right))
            if i > 1 and j > 1 and left == b[j - 2] and a[i - 2] == right:
                slips = min(slips, last[j - 2] + 1)
            row.append(slips)
    return row[-1]


_FIELD_NAME = re.compile(r"[A-Za-z0-9_][\w.:-]{0,39}", re.ASCII)


def shown(field: str) -> str:
    """A field's name for a message; what does not look like a name may be a secret gone astray."""
    return field if _FIELD_NAME.fullmatch(field) else "(a name not shown)"


_VARIABLE = re.compile(r"\{\{\s*env\.([^\s{}]+)\s*\}\}")


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
            cls._require_harmless(name)
        section = handler({name: data[name] for name in known if data.get(name) is not None})
        section._unknown = tuple(unknown)  # noqa: SLF001 - ours, of the object just made
        return section

    @classmethod
    def _require_harmless(cls, name: str) -> None:
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


class Provider(Protocol):
    """A place that knows secrets by name."""

    def get(self, name: str) -> str:
        """
        The secret called *name*: the text between `<` and `>` in the configuration.

        Raises:
            SecretError: The provider does not know the name; the message names it.
            SourceError: The provider could not be reached, or refused to answer.
        """
        ...


_REFERENCE = re.compile(r"<([^<>\n]+)>")


class SecretRef:
    """
    `<name>` as the whole scalar refers to a secret of the provider; anything else is the value.

    *field* is the path in the configuration. With *plain* a value that stands in the file is no
    secret (a path, a user name): it may be shown and pickled. Any other value is never shown, and
    an object that holds one refuses to be pickled.
    """

    __slots__ = ("_name", "_text", "field", "plain")

    def __init__(self, text: str, field: str, *, plain: bool = False) -> None:
        match = _REFERENCE.fullmatch(text)
        self._text = text
        self._name = match[1] if match else None
        self.field = field
        self.plain = plain

    @property
    def is_reference(self) -> bool:
        """Whether a provider is needed."""
        return self._name is not None

    @property
    def display(self) -> str:
        """What may be shown: `<name>`, a plain value, or `***`."""
        return self._text if self.is_reference or self.plain else "***"

    def resolve(self, provider: Provider | None) -> str:
        """
        The secret itself, from *provider* if this is a reference; never empty then.

        Raises:
            SecretError: There is no provider, it does not know the name, or the secret is empty.
            SourceError: The provider could not be reached.
        """
        if self._name is None:
            return self._text
        if provider is None:
            raise SecretError(
                f"{self.field}: {self.display} refers to a secret, and there is no secret provider",
                hint="give --secret-provider URL or set MAVERICS_SECRET_PROVIDER",
            )
        try:
            secret = provider.get(self._name)
        except SecretError as error:
            raise SecretError(f"{self.field}: {error}", hint=error.hint) from None
        if not secret:
            raise SecretError(
                f"{self.field}: the secret {self.display} is empty",
                hint="give it a value in the secret provider",
            )
        return secret

    def __repr__(self) -> str:
        return f"SecretRef({self.display}, {self.field})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretRef):
            return NotImplemented
        return self._text == other._text and self.field == other.field

    def __hash__(self) -> int:
        return hash((self._text, self.field))

    def __reduce__(self) -> tuple[Any, ...]:
        if not self.is_reference and not self.plain:
            raise TypeError(f"{self.field} holds a secret and must not be pickled")
        return _again, (self._text, self.field, self.plain)


def _again(text: str, field: str, plain: bool) -> SecretRef:
    """What a pickle calls: it cannot give keyword arguments."""
    return SecretRef(text, field, plain=plain)


class Address(NamedTuple):
    """A host name or IP address, and a port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """
        Read `host:port`, or `[v6]:port`.

        Raises:
            ValueError: There is no port, it is no number from 1 to 65535, or there is no host.
        """
        host, colon, port = text.strip().rpartition(":")
        if not colon or not host or not port.isascii() or not port.isdigit():
            raise ValueError("expected host:port")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            raise ValueError("an IPv6 address is written as [address]:port")
        if not 0 < int(port) < 65536 or not host:
            raise ValueError("expected a port from 1 to 65535")
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
