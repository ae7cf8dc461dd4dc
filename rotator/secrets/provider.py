"""
Where secrets come from: one module per kind of provider, chosen by the scheme of its URL.

A provider's URL may hold a token, so no message ever shows more of it than the scheme. A provider's
module is imported only when its scheme is asked for: most need a library that few users install.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module

from rotator.config.types import Provider
from rotator.errors import SecretError

PROVIDER_VARIABLE = "MAVERICS_SECRET_PROVIDER"
"""The environment variable with the provider's URL, the Orchestrator's own."""

_VAULT = ("rotator.secrets.vault", "from_url", "vault")

# scheme -> module, the function in it that takes the URL and gives the provider, and the extra that
# brings the library it needs
PROVIDERS: dict[str, tuple[str, str, str]] = {
    "env": ("rotator.secrets.env", "from_url", ""),
    "secretfile": ("rotator.secrets.secretfile", "from_url", ""),
    "hashivault": _VAULT,
    "hashivaults": _VAULT,
    "hashivault+https": _VAULT,
    "hashivault+http": _VAULT,
    "awssecretsmanager": ("rotator.secrets.aws", "from_url", "aws"),
    "azurekeyvault": ("rotator.secrets.azure", "from_url", "azure"),
    "conjur": ("rotator.secrets.cyberark", "from_url", "conjur"),
    "delinea": ("rotator.secrets.delinea", "from_url", "delinea"),
    "cyberarkccp": ("rotator.secrets.ccp", "from_url", "ccp"),
}

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,31})://.*", re.DOTALL)


def provider_from_url(url: str | None) -> Provider | None:
    """
    The provider that *url* names; None if there is no URL.

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
        raise SecretError("the secret provider is not a URL", hint=f"it begins with {known}")
    scheme = match[1].lower()
    if scheme not in PROVIDERS:
        raise SecretError(
            f"the secret provider's scheme {scheme}:// is unknown", hint=f"known are {known}"
        )
    make = _factory(scheme)
    return make(url.strip())


def _factory(scheme: str) -> Callable[[str], Provider]:
    """The function that makes the provider for *scheme*; its library may be missing."""
    module, factory, extra = PROVIDERS[scheme]
    try:
        found: Callable[[str], Provider] = getattr(import_module(module), factory)
    except ModuleNotFoundError as error:
        missing = error.name or "a library"
        if missing.startswith("rotator"):
            raise
        raise SecretError(
            f"the secret provider {scheme}:// needs {missing}, which is not installed",
            hint=f"pip install 'redis-rotator[{extra}]'",
        ) from None
    return found
