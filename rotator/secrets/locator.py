"""The URL of a secret provider, taken apart. It may hold a token, so nothing here ever shows it."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NoReturn
from urllib.parse import parse_qsl, unquote, urlsplit

from rotator.errors import SecretError

_ENCODE = "write special characters of a value as %XX: # as %23, & as %26, + as %2B, / as %2F"
_HOST = re.compile(r"[A-Za-z0-9._:-]*")


class Locator:
    """
    Scheme, host, port, path and parameters of the provider's URL *url*.

    *allowed* are the parameters that the provider knows: another one is refused without its name,
    which may be the second half of a password with an & in it.

    Raises:
        SecretError: It is malformed, names no host, or has a parameter that is unknown, empty or
            given twice.
    """

    __slots__ = ("_parameters", "host", "path", "port", "scheme")

    def __init__(
        self, url: str, allowed: Collection[str] = (), *, host_required: bool = True
    ) -> None:
        self.scheme = url.partition("://")[0].lower()
        try:
            parts = urlsplit(url)
            self.port = parts.port
            pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        except ValueError:
            raise self.refusal("is malformed", _ENCODE) from None
        if "@" in parts.netloc:
            raise self.refusal(
                "takes no user and password before the host", "give them as parameters, after the ?"
            )
        if parts.fragment:
            raise self.refusal("has a # in it", _ENCODE)
        self.host = parts.hostname or ""
        if _HOST.fullmatch(self.host) is None:
            raise self.refusal("names a host that cannot be one", _ENCODE)
        if host_required and not self.host:
            raise self.refusal("names no host", f"it begins with {self.scheme}://host")
        self.path = parts.path
        self._parameters = self._checked(pairs, allowed)

    @property
    def place(self) -> str:
        """`host` or `host:port`, which may be shown; an IPv6 address is in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    @property
    def segments(self) -> list[str]:
        """The parts of the path between the slashes, decoded; empty ones are left out."""
        return [unquote(part) for part in self.path.split("/") if part]

    def get(self, *spellings: str) -> str | None:
        """The parameter of that name, or of the first of its spellings that is given."""
        return next(
            (self._parameters[name] for name in spellings if name in self._parameters), None
        )

    def require(self, name: str) -> str:
        """
        The parameter *name*.

        Raises:
            SecretError: It is not given.
        """
        if name not in self._parameters:
            raise self.refusal(f"needs the parameter {name}", f"add {name}=... after the ?")
        return self._parameters[name]

    def pair(self, first: str, second: str) -> tuple[str, str] | None:
        """
        Two parameters that only make sense together; None if neither is given.

        Raises:
            SecretError: One is given and the other is not.
        """
        if first not in self._parameters and second not in self._parameters:
            return None
        return self.require(first), self.require(second)

    def refusal(self, problem: str, hint: str) -> SecretError:
        """The error that says what is wrong with the URL, and nothing of what it holds."""
        return SecretError(f"the secret provider {self.scheme}:// {problem}", hint=hint)

    def _checked(self, pairs: list[tuple[str, str]], allowed: Collection[str]) -> dict[str, str]:
        """The parameters by name, if each is known, filled in and given once."""
        parameters: dict[str, str] = {}
        known = ", ".join(allowed) or "none"
        for position, (name, value) in enumerate(pairs, 1):
            if name not in allowed:
                raise self.refusal(
                    f"does not know parameter number {position} of its URL",
                    f"known are: {known}; {_ENCODE}",
                )
            if name in parameters:
                raise self.refusal(f"has the parameter {name} twice", "leave one of them out")
            if not value:
                raise self.refusal(
                    f"has an empty parameter {name}", "give it a value or leave it out"
                )
            parameters[name] = value
        return parameters

    def __repr__(self) -> str:
        return f"Locator({self.scheme}://{self.place})"

    def __getstate__(self) -> NoReturn:
        raise TypeError("the URL of a secret provider must not be pickled")
