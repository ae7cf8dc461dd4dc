"""
Layout: `Format` describes a value format as data, and takes its values apart.

- A *layout*: a list of parts in bytes (`bytes_layout`), or a text with parts in it (`text_layout`).
- An *encoding*, `raw`, `hex`, `base64` or `base64url`: of the whole value where the layout is a
  list, of each piece where it is a text. *within* is one around the whole text.
- What is authenticated with the value (*aad*): `none`, `name` (the stored name; of a field of a
  hash, that of the hash), `name-without:<prefix>`, `field` (the name of the field), `label`,
  `header+name` (all laid-out bytes before the nonce, then the stored name), `hex:<literal>`,
  `text:<literal>`.

Limit: text that happens to have neither `+` nor `/` nor `-` nor `_` is base64 and base64url at
once, so configure only the one that applications read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Self

from rotator.crypto.bytes_layout import LITERAL, BytesLayout, Parts
from rotator.crypto.encoding import Encoding
from rotator.crypto.text_layout import TextLayout
from rotator.errors import FormatError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_AADS = (
    "it is none, name, name-without:<prefix>, field, label, header+name, hex:<literal> or"
    " text:<literal>"
)


class FieldName(bytes):
    """
    Field name: names a field of a hash; as bytes it is the name of the hash.

    Two are equal if hash and field are.
    """

    field: bytes

    def __new__(cls, name: bytes, field: bytes) -> Self:
        """Name the *field* of the hash that is stored as *name*."""
        made = super().__new__(cls, name)
        made.field = field
        return made

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, FieldName) and other.field == self.field
        return same and bytes.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other  # bytes would compare the names of the hashes

    def __hash__(self) -> int:
        return hash((bytes(self), self.field))

    def __reduce__(self) -> tuple[type[FieldName], tuple[bytes, bytes]]:
        return type(self), (bytes(self), self.field)


@dataclass(frozen=True)
class Format:
    """
    Format: describes one value format, and takes its values apart.

    *layout*, *aad*, *within* and *constant* are as in the configuration: *constant* says that no
    literal names a key. Everything else follows from these.

    Raises:
        FormatError: The description is wrong; the message begins with the field.
    """

    name: str
    encoding: Encoding
    layout: tuple[str, ...] | str
    aad: str
    within: Encoding | None = None
    constant: bool = False

    def __post_init__(self) -> None:
        """Check the description, and work out once what every value needs."""
        self.cutter, self.associated  # noqa: B018 - for what they raise

    @cached_property
    def cutter(self) -> TextLayout | BytesLayout:
        """The layout, which takes values apart and puts them together."""
        path = f"rotator.formats.{self.name}"
        if isinstance(self.layout, str):
            return TextLayout(f"{path}.layout", self.layout, self.encoding, self.within)
        if self.within is not None:
            hint = "write the layout as a text, such as '{nonce}{ciphertext}{tag}'"
            raise FormatError(f"{path}.within: goes with a layout that is a text", hint=hint)
        return BytesLayout(f"{path}.layout", self.layout, self.encoding)

    @cached_property
    def associated(self) -> Callable[[bytes, Parts], bytes | None]:
        """A function: of a stored name and the parts of a value, the data that is authenticated."""
        return _associated(f"rotator.formats.{self.name}.aad", self.aad, self.cutter)

    @classmethod
    def parse(
        cls,
        name: str,
        encoding: str,
        layout: Sequence[str] | str,
        aad: str = "none",
        **more: Any,
    ) -> Format:
        """
        Return the format that the configuration describes as *name*; *more*: within and constant.

        Raises:
            FormatError: The description is wrong, or *name* is taken.
        """
        path = f"rotator.formats.{name}"
        if not _NAME.fullmatch(name):
            hint = "use letters, digits, dots, dashes and underscores"
            raise FormatError(f"{path}: not a name for a format", hint=hint)
        if name in BUILTIN or name == "same":
            raise FormatError(f"{path}: the name is taken", hint="choose another name")
        used, within = _encoding(f"{path}.encoding", encoding), more.get("within")
        around = None if within is None else _encoding(f"{path}.within", within)
        if around is Encoding.RAW:
            hint = "leave it out, or write hex, base64 or base64url"
            raise FormatError(f"{path}.within: raw cannot be around a text", hint=hint)
        if not isinstance(layout, str):
            layout = tuple("nonce:12" if part == "nonce" else part.lower() for part in layout)
        for field, text in (("aad", aad), ("layout", layout)):
            if not _is_text(text):
                hint = "use only characters that UTF-8 has"
                raise FormatError(f"{path}.{field}: is not text", hint=hint)
        kind, colon, rest = aad.partition(":")
        aad = kind.lower() + colon + (rest.lower() if kind.lower() == "hex" else rest)
        return cls(name, used, layout, aad, around, bool(more.get("constant")))

    @property
    def binds_name(self) -> bool:
        """True if a value opens only under the name that it was written for."""
        return _kind(self.aad) in {"name", "name-without", "field", "header+name"}

    @property
    def has_literals(self) -> bool:
        """True if it is not built in, and something in it is the same in every value."""
        fixed = bool(self.cutter.literals) or _kind(self.aad) in {"text", "hex"}
        return fixed and self.name not in BUILTIN

    @property
    def min_random_size(self) -> int:
        """The size in bytes from which on a raw value that is all ASCII does not fit."""
        return self.cutter.min_random_size if isinstance(self.cutter, BytesLayout) else 0

    def new_nonce(self) -> bytes:
        """Return a random nonce from the operating system, of this format's size."""
        return os.urandom(self.cutter.nonce_size)

    @property
    def description(self) -> str:
        """All of it but the name, as one text."""
        layout = self.layout if isinstance(self.layout, str) else " ".join(self.layout)
        within = f", within {self.within}" if self.within else ""
        return f"encoding {self.encoding}, layout {layout}, aad {self.aad}{within}"

    def __str__(self) -> str:
        return f"{self.name} ({self.description})"

    def __reduce__(self) -> tuple[type[Format], tuple[object, ...]]:
        fields = (self.name, self.encoding, self.layout, self.aad, self.within, self.constant)
        return type(self), fields


def _is_text(text: str | Sequence[str]) -> bool:
    """Return whether *text* is UTF-8: half a pair of surrogates is not."""
    return "".join(text).encode("utf-8", "ignore").decode() == "".join(text)


def _kind(aad: str) -> str:
    """Return the word that *aad* begins with."""
    return aad.partition(":")[0]


def _encoding(path: str, given: str) -> Encoding:
    """Return the encoding that *given* names."""
    if given not in set(Encoding):
        hint = f"write one of {', '.join(Encoding)}"
        raise FormatError(f"{path}: {given!r} is not known", hint=hint)
    return Encoding(given)


def _associated(
    path: str, aad: str, cutter: TextLayout | BytesLayout
) -> Callable[[bytes, Parts], bytes | None]:
    """Return what tells the data that *aad* has authenticated."""
    kind, colon, rest = aad.partition(":")
    if kind == "label" and not cutter.labelled:
        hint = "put {label}, or label:<n>, into the layout"
        raise FormatError(f"{path}: the layout has no label", hint=hint)
    if kind == "header+name" and not (isinstance(cutter, BytesLayout) and cutter.has_header):
        hint = "put the nonce before ciphertext and tag, or authenticate the name alone"
        raise FormatError(f"{path}: the layout has no header before the nonce", hint=hint)
    if not colon and kind in _OF_A_VALUE:
        return _OF_A_VALUE[kind]
    if kind == "name-without" and rest:
        prefix = rest.encode()
        return lambda name, _: name.removeprefix(prefix)
    fixed = rest.encode() if kind == "text" else b""
    if kind == "hex" and LITERAL.fullmatch(rest):
        fixed = bytes.fromhex(rest)
    if not fixed:
        raise FormatError(f"{path}: {aad!r} is not known", hint=_AADS)
    return lambda _, __: fixed


_OF_A_VALUE: Final[dict[str, Callable[[bytes, Parts], bytes | None]]] = {
    "none": lambda _, __: None,
    "name": lambda name, _: name,
    "field": lambda name, _: name.field if isinstance(name, FieldName) else None,
    "label": lambda _, parts: parts.label,
    "header+name": lambda name, parts: parts.header + name,
}

_GCM = ("nonce:12", "ciphertext", "tag:16")
_SEALED = ("hex:524f5401", "key-id:8", *_GCM)

BUILTIN: Final = {
    built_in.name: built_in
    for built_in in (
        Format("sealed", Encoding.RAW, _SEALED, "header+name"),
        Format("gcm", Encoding.RAW, _GCM, "none"),
        Format("gcm-base64", Encoding.BASE64, _GCM, "none"),
    )
}
