"""
Where secrets come from: one module per kind of provider, chosen by the scheme of its URL.

A provider's URL may hold a token, so no message ever shows more of it than the scheme. A provider's
module is imported only when its scheme is asked for: most need a library that few users install.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module

from rotator.errors import SecretError
from rotator.secrets.interface import Provider
from rotator.secrets.reference import SecretRef

__all__ = ["PROVIDERS", "Provider", "SecretRef", "provider_from_url"]

# scheme -> module, and the function in it that takes the URL and gives the provider
PROVIDERS: dict[str, tuple[str, str]] = {
    "env": ("rotator.secrets.env", "from_url"),
    "secretfile": ("rotator.secrets.secretfile", "from_url"),
}

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,31})://.*", re.DOTALL)


def provider_from_url(url: str | None) -> Provider | None:
    """
    The provider that *url* names; None if there is no URL.

    Raises:
        SecretError: It is not a URL, the scheme is unknown, or what follows it is wrong.
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
    module, factory = PROVIDERS[scheme]
    make: Callable[[str], Provider] = getattr(import_module(module), factory)
    return make(url.strip())
