"""A secret as the configuration gives it: a reference, or the value itself."""

from __future__ import annotations

import re
from typing import Any

from rotator.errors import SecretError
from rotator.secrets.interface import Provider

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
