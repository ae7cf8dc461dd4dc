"""
Types: section, address and secret reference, with errors that never show a value.

pydantic's own messages quote what they refuse, and that may be a key or a password. So the first
problem of a section is told again in our words, beginning with the path of the field.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import zip_longest
from typing import Any, ClassVar, NamedTuple, Protocol, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, core_schema

from rotator.errors import ConfigError, SecretError

_FIELD_NAME = re.compile(r"[A-Za-z0-9_][\w.:-]{0,39}", re.ASCII)
_REFERENCE = re.compile(r"<[^<>\n]+>")
_QUOTED = re.compile("'([^']*)'")

_OURS = "rotator"
_UNKNOWN = "unknown field"

_NO_TEXT = "must be text", "write one text value there"
_NO_LIST = "must be a list", "write [one, another], or one line with a dash for each"
_WORDS = {
    "string_type": _NO_TEXT,
    "string_sub_type": _NO_TEXT,
    "string_unicode": _NO_TEXT,
    "list_type": _NO_LIST,
    "tuple_type": _NO_LIST,
    "dict_type": ("must be a mapping", "write name: value, one line for each"),
}


def shown(name: str) -> str:
    """Return a field's name for a message, unless it looks like a secret gone astray."""
    return name if _FIELD_NAME.fullmatch(name) else "(a name not shown)"


def child(path: str, name: str | int) -> str:
    """Return the path of a field under *path*: `caches` and 0 give `caches[0]`."""
    if isinstance(name, int):
        return f"{path}[{name}]"
    return f"{path}.{shown(name)}" if path else shown(name)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """
    Return the *known* word that *word* is most likely a misspelling of.

    Case, `_` and `-` do not count. Swapped letters, or one that is wrong, are a slip even in `tls`,
    where difflib's ratio is low. `passwordFile` is too long to be `password`.
    """
    word = _plain(word)
    likely = {_plain(one): one for one in known if abs(len(_plain(one)) - len(word)) <= 2}
    swapped = [one for one in likely if sorted(one) == sorted(word)]
    wrong = [one for one in likely if sum(a != b for a, b in zip_longest(one, word)) == 1]
    near = swapped or wrong or get_close_matches(word, likely, n=1, cutoff=0.8)
    return likely[near[0]] if near else None


def _plain(word: str) -> str:
    """Return the letters that count."""
    return word.lower().replace("_", "").replace("-", "")


@dataclass
class Reading:
    """
    Reading: says to validators where they are, and collects what the user is to be warned of.

    *path* is that of the section being read; of one in a list or mapping, that of the list or
    mapping, unless it is read by `read_section`.
    """

    path: str = ""
    warnings: list[str] = field(default_factory=list)

    def path_of(self, info: ValidationInfo) -> str:
        """Return the path of the field that a validator is called for; without one, our own."""
        return child(self.path, to_camel(info.field_name)) if info.field_name else self.path


class Section(BaseModel):
    """
    Section: holds known fields; an empty one (null) has the defaults.

    An unknown field gives a warning, but is refused if it looks like a known one misspelled, or if
    the section is *strict*; with *foreign*, unknown fields are not looked at.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, alias_generator=to_camel)
    strict: ClassVar[bool] = False
    foreign: ClassVar[bool] = False
    _path: str = PrivateAttr(default="")

    @property
    def path(self) -> str:
        """Return where the section stands in the configuration."""
        return self._path

    def field(self, suffix: str) -> str:
        """Return the path of a field below: `redis.tls` gives `caches[0].redis.tls`."""
        return f"{self._path}.{suffix}"

    @model_validator(mode="wrap")
    @classmethod
    def _read(
        cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo
    ) -> Self:
        """Read what is known and given, and say what is unknown."""
        known = [one.alias or name for name, one in cls.model_fields.items()]
        if data is None:
            data = {}
        if not isinstance(data, dict):
            raise problem("must be a mapping of fields", f"fields are {', '.join(known)}")
        reading = info.context or Reading()  # a default is made without one
        above, reading.path = reading.path, reading.path_of(info)
        for name in [] if cls.foreign else [one for one in data if one not in known]:
            if (meant := nearest(name, known)) is not None:
                raise problem(_UNKNOWN, f"did you mean {meant}?", name)
            if cls.strict:
                raise problem(_UNKNOWN, f"fields are {', '.join(known)}", name)
            reading.warnings.append(f"{child(reading.path, name)}: {_UNKNOWN}, ignored")
        section = handler({name: data[name] for name in known if data.get(name) is not None})
        section._path, reading.path = reading.path, above  # noqa: SLF001 - ours, just made
        return section


SectionType = TypeVar("SectionType", bound=Section)


def problem(text: str, hint: str, *at: str | int) -> PydanticCustomError:
    """
    Return an error for a validator to raise: *text* and *hint* go to the user as they are.

    *at* leads from what is validated to the field that is wrong.
    """
    return PydanticCustomError(_OURS, "{problem}", {"problem": text, "hint": hint, "at": at})


def read_section(kind: type[SectionType], data: Any, reading: Reading) -> SectionType:
    """
    Read *data*, found at the path of *reading*, as a section of that *kind*.

    Raises:
        ConfigError: A field is missing, wrong, misspelled, or unknown where that is an error.
    """
    path = reading.path
    try:
        return kind.model_validate(data, context=reading)
    except ValidationError as error:
        details = error.errors(include_url=False)
    # A misspelled field comes first: it may be why another one is missing.
    first = min(details, key=lambda one: one.get("ctx", {}).get("problem") != _UNKNOWN)
    raise _retold(first, path)


def _retold(detail: ErrorDetails, path: str) -> ConfigError:
    """Return the problem in our words; *path* is where the section stands."""
    kind, at = detail["type"], detail["loc"]
    text, hint = _WORDS.get(kind, ("is not valid", "`rotator docs configuration` says what is"))
    if kind == _OURS:
        ours = detail["ctx"]
        text, hint, at = ours["problem"], ours["hint"], (*at, *ours["at"])
    elif kind == "missing":
        text, hint = "missing", f"add {shown(str(at[-1]))} there"
    elif kind == "literal_error":
        known = _QUOTED.findall(detail["ctx"]["expected"])
        text = "is not known" if detail["input"] else "missing"
        hint = f"write one of {', '.join(known)}" if known[1:] else f"write {known[0]}"
    elif text == _NO_TEXT[0] and isinstance(detail["input"], bool | int | float):
        hint = "quote the value: unquoted, JSON reads it as something else"
    for part in at:
        path = child(path, part)
    return ConfigError(f"{path}: {text}", hint=hint)


class Provider(Protocol):
    """Provider: knows secrets by name."""

    def get(self, name: str) -> str:
        """
        Return the secret called *name*: the text between `<` and `>` in the configuration.

        Raises:
            SecretError: The provider does not know the name; the message names it.
            SourceError: The provider could not be reached, or refused to answer.
        """
        ...


class SecretRef:
    """
    Secret reference: `<name>` as the whole scalar; any other text is the secret itself.

    *field* is the path in the configuration. With *plain* a value that stands in the file is no
    secret (a path, a user name): it may be shown and pickled. Any other value is never shown, and
    an object that holds one refuses to be pickled, or unfolded as a dataclass would be.
    """

    __slots__ = ("_text", "field", "plain")

    def __init__(self, text: str, field: str, plain: bool = False) -> None:
        self._text, self.field, self.plain = text, field, plain

    @classmethod
    def __get_pydantic_core_schema__(cls, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_after_validator_function(cls._from_field, handler(str))

    @classmethod
    def _from_field(cls, text: str, info: ValidationInfo[Reading]) -> Self | None:
        """Make one of a field's *text*; None of an empty one."""
        return cls(text, info.context.path_of(info)) if text else None

    def at(self, index: int) -> Self:
        """Return the same at a place of the list that the field holds."""
        return type(self)(self._text, child(self.field, index), self.plain)

    def as_plain(self) -> Self:
        """Return the same in a field that holds no secret; PEM is one wherever it stands."""
        return type(self)(self._text, self.field, "-----BEGIN" not in self._text)

    @property
    def is_reference(self) -> bool:
        """Say whether a provider is needed."""
        return _REFERENCE.fullmatch(self._text) is not None

    @property
    def display(self) -> str:
        """Return `<name>`, a plain value, or `***`."""
        return self._text if self.is_reference or self.plain else "***"

    def resolve(self, provider: Provider | None) -> str:
        """
        Return the secret itself, from *provider* if this is a reference; never empty then.

        Raises:
            SecretError: There is no provider, it does not know the name, or the secret is empty.
            SourceError: The provider could not be reached.
        """
        if not self.is_reference:
            return self._text
        if provider is None:
            raise SecretError(
                f"{self.field}: {self.display} refers to a secret, and there is no secret provider",
                hint="give --secret-provider URL or set MAVERICS_SECRET_PROVIDER",
            )
        try:
            secret = provider.get(self._text[1:-1])
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
        return type(self), (self._text, self.field, self.plain)


class Address(NamedTuple):
    """Address: a host name or IP address, and a port."""

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
