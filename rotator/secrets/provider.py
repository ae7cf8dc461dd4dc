"""
Provider: found by the scheme of its URL; `env` and `secretfile` resolve without a network.

A provider's URL may hold a token, so no message ever shows more of it than the scheme. A provider's
module is imported only when its scheme is asked for: most need a library that few users install.

`env://` takes `<NAME>` for an environment variable; `secretfile:///abs/path.yaml` is a file with a
`secrets:` mapping of name to text. A name with dots is looked up there as it stands, then level by
level (`secrets: {ns: {key: ...}}`), then from the top of the file: all of them are documented.
"""

import logging
import os
import re
import stat
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import cache
from importlib import import_module
from multiprocessing import parent_process
from pathlib import Path
from typing import Any, ClassVar, NoReturn
from urllib.parse import parse_qsl, unquote, urlsplit

from rotator.config.bundle import read_limited
from rotator.config.files import parse
from rotator.config.types import Provider
from rotator.errors import SecretError, SourceError
from rotator.tls import reason_of, unreachable

PROVIDER_VARIABLE = "MAVERICS_SECRET_PROVIDER"
"""The environment variable with the provider's URL, the Orchestrator's own."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,31})://.*", re.DOTALL)
_HOST = re.compile(r"[A-Za-z0-9._:-]*")
_ENCODE = "write special characters of a value as %XX: # as %23, & as %26, + as %2B, / as %2F"
_VAULT = ("rotator.secrets.vault", "Vault", "vault")

# scheme -> module, the provider in it (made of the URL, nothing is asked yet), and the extra that
# brings the library it needs
PROVIDERS: dict[str, tuple[str, str, str]] = {
    "env": ("rotator.secrets.provider", "Environment", ""),
    "secretfile": ("rotator.secrets.provider", "SecretFile", ""),
    **dict.fromkeys(("hashivault", "hashivaults", "hashivault+https", "hashivault+http"), _VAULT),
    "awssecretsmanager": ("rotator.secrets.aws", "SecretsManager", "aws"),
    "azurekeyvault": ("rotator.secrets.azure", "KeyVault", "azure"),
    "conjur": ("rotator.secrets.cyberark", "Conjur", "conjur"),
    "delinea": ("rotator.secrets.delinea", "SecretServer", "delinea"),
    "cyberarkccp": ("rotator.secrets.cyberark", "CentralCredentialProvider", "ccp"),
}


def provider_from_url(url: str | None) -> Provider | None:
    """
    Return the provider that *url* names; None if there is no URL.

    Raises:
        SecretError: It is not a URL, the scheme is unknown, what follows it is wrong, or the
            library that the provider needs is not installed.
        SourceError: The provider could not be reached.
    """
    if not url:
        return None
    known = ", ".join(f"{scheme}://" for scheme in PROVIDERS)
    match = _SCHEME.fullmatch(url.strip())
    if match is None:
        raise SecretError("the secret provider is not a URL", hint=f"it begins with one of {known}")
    scheme = match[1].lower()
    if scheme not in PROVIDERS:
        raise SecretError(
            f"the secret provider's scheme {scheme}:// is unknown", hint=f"it is one of {known}"
        )
    module, factory, extra = PROVIDERS[scheme]
    try:
        make: Callable[[str], Provider] = getattr(import_module(module), factory)
    except ModuleNotFoundError as error:
        missing = error.name or "a library"
        if missing.startswith("rotator"):
            raise
        raise SecretError(
            f"the secret provider {scheme}:// needs {missing}, which is not installed",
            hint=f"pip install 'redis-rotator[{extra}]'",
        ) from None
    return make(url.strip())


def silence_loggers(*libraries: str) -> None:
    """
    Keep the loggers of *libraries* quiet, whatever the level of the program's own log.

    At DEBUG they write URLs, headers and whole answers, secrets included; at WARNING some still
    write the text of a refusal. What matters of it is in the errors raised here.
    """
    for library in libraries:
        logging.getLogger(library).setLevel(logging.CRITICAL)


def text_of(
    name: str, found: object, source: object, hint: str, *, problem: str = "is not text"
) -> str:
    """Return the text that *source* holds for *name*, bytes as UTF-8; raise SecretError if none."""
    with suppress(UnicodeError):
        text = found.decode() if isinstance(found, bytes) else found
        if isinstance(text, str):
            text.encode()  # JSON and the environment can hold halves of a character
            return text
    raise SecretError(f"<{name}>: {problem} in {source}", hint=hint)


class Unpicklable:
    """Unpicklable: holds secrets, and must not travel."""

    def __getstate__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds secrets and must not be pickled")


class NetworkProvider(Unpicklable):
    """Network provider: words errors of a server, shown by its *place* (host and port) alone."""

    title: ClassVar[str]
    trust: ClassVar[str]  # the hint for a certificate that is not trusted
    plain: ClassVar[str] = ""  # the hint for a server that speaks no TLS

    def __init__(self, place: str) -> None:
        self.place = place

    @property
    def source(self) -> str:
        """Return its name for messages."""
        return f"{self.title} at {self.place}"

    def unreachable(self, error: BaseException) -> SourceError:
        """Return the error for a request that failed on the way."""
        return unreachable(self.source, error, trust=self.trust, plain=self.plain)

    def failure(self, problem: str, hint: str) -> SourceError:
        """Return the error that says what the server did."""
        return SourceError(f"{self.source} {problem}", hint=hint)

    def unknown(self, name: str, hint: str) -> SecretError:
        """Return the error for a name that the provider does not know."""
        return SecretError(f"<{name}>: {self.source} has no such secret", hint=hint)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.place})"


class ProviderUrl(Unpicklable):
    """
    Provider's URL: holds its scheme, host, port, path and parameters, and never shows them.

    *allowed* are the parameters that the provider knows: another one is refused without its name,
    which may be the second half of a password with an & in it.

    Raises:
        SecretError: It is malformed, names no host, or has a parameter that is unknown, empty or
            given twice.
    """

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
            raise self.refusal("has an invalid host name", _ENCODE)
        if host_required and not self.host:
            raise self.refusal("names no host", f"it begins with {self.scheme}://host")
        self.path = parts.path
        self._parameters = self._checked(pairs, allowed)

    @property
    def place(self) -> str:
        """Return `host` or `host:port`, which may be shown; an IPv6 address is in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    @property
    def segments(self) -> list[str]:
        """Return the parts of the path between the slashes, decoded; empty ones are left out."""
        return [unquote(part) for part in self.path.split("/") if part]

    def get(self, *spellings: str) -> str | None:
        """Return the parameter of that name, or of the first of its *spellings* that is given."""
        return next(filter(None, map(self._parameters.get, spellings)), None)

    def require(self, name: str) -> str:
        """Return the parameter *name*; raise SecretError if it is not given."""
        if name not in self._parameters:
            raise self.refusal(f"needs the parameter {name}", f"add {name}=... after the ?")
        return self._parameters[name]

    def pair(self, first: str, second: str) -> tuple[str, str] | None:
        """Return two parameters, None if neither is given; raise SecretError if only one is."""
        if self.get(first, second) is None:
            return None
        return self.require(first), self.require(second)

    def refusal(self, problem: str, hint: str) -> SecretError:
        """Return the error that says what is wrong with the URL, and nothing of what it holds."""
        return SecretError(f"the secret provider {self.scheme}:// {problem}", hint=hint)

    def _checked(self, pairs: list[tuple[str, str]], allowed: Collection[str]) -> dict[str, str]:
        """Return the parameters by name, if each is known, filled in and given once."""
        parameters: dict[str, str] = {}
        for position, (name, value) in enumerate(pairs, 1):
            if name not in allowed:
                raise self.refusal(
                    f"does not know parameter number {position} of its URL",
                    f"its parameters are: {', '.join(allowed) or 'none'}; {_ENCODE}",
                )
            if name in parameters:
                raise self.refusal(f"has the parameter {name} twice", "leave one of them out")
            if not value:
                raise self.refusal(
                    f"has an empty parameter {name}", "give it a value or leave it out"
                )
            parameters[name] = value
        return parameters


class Environment:
    """
    Environment: takes secrets from the variables of this process.

    Raises:
        SecretError: Something follows `env://` in *url*.
    """

    def __init__(self, url: str = "env://") -> None:
        if url.partition("://")[2].strip("/"):
            raise SecretError(
                "the secret provider env:// takes nothing after it",
                hint="write env://, and <NAME> in the configuration",
            )

    def get(self, name: str) -> str:
        """Return the value of the variable *name*; raise SecretError if it is not set."""
        secret = os.environ.get(name)
        if secret is None:
            raise SecretError(
                f"<{name}>: the environment variable is not set", hint=f"set {name} for rotator"
            )
        return text_of(name, secret, "the environment", "give it as UTF-8")


class SecretFile(Unpicklable):
    """
    Secret file: holds the secrets of the file that its URL names, read once.

    Raises:
        SecretError: The path in *url* is not absolute.
        SourceError: The file cannot be opened.
        ConfigError: It is not YAML, or not a mapping.
    """

    def __init__(self, url: str) -> None:
        self.path = Path(unquote(url.partition("://")[2]))
        if not self.path.is_absolute():
            raise SecretError(
                "the secret provider secretfile:// needs an absolute path",
                hint="three slashes: secretfile:///etc/maverics/secrets.yaml",
            )
        try:
            content = read_limited(self.path)
            _warn_of_readers(self.path)
        except OSError as error:
            raise SourceError(
                f"the secret file {self.path} cannot be read: {reason_of(error)}",
                hint="check the path after secretfile:// and the rights of the file",
            ) from None
        self._root = parse(content, str(self.path))

    def get(self, name: str) -> str:
        """Return the secret called *name*; raise SecretError if it is not there, or not text."""
        found = _lookup(self._root.get("secrets"), name)
        if found is None and "." in name:
            found = _lookup(self._root, name)
        if found is None:
            raise SecretError(
                f"<{name}>: {self.path} has no such secret", hint="add it under secrets:"
            )
        return text_of(name, found, self.path, "quote the value there")

    def __repr__(self) -> str:
        return f"SecretFile({self.path})"


@cache
def _warn_of_readers(path: Path) -> None:
    """Say, once and not in each worker process, that a file is for everybody to read."""
    if path.stat().st_mode & stat.S_IROTH and parent_process() is None:
        said = "every user of this machine can read the secret file %s: run chmod o-r on it"
        logging.getLogger(__name__).warning(said, path)


def _lookup(values: Any, name: str) -> Any:
    """Return the value of *name* as it stands, else level by level along its dots."""
    if not isinstance(values, dict):
        return None
    if name in values:
        return values[name]
    first, dot, rest = name.partition(".")
    return _lookup(values.get(first), rest) if dot else None
