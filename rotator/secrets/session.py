"""The HTTP session of vendors' libraries that are built on requests."""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter


class _Adapter(HTTPAdapter):
    """Uses the given TLS context, and with it the system's trust, which requests does not."""

    def __init__(self, trusted: ssl.SSLContext) -> None:
        self._trusted = trusted
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Connections of the session."""
        super().init_poolmanager(*args, ssl_context=self._trusted, **options)

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        """Connections of the session through a proxy."""
        return super().proxy_manager_for(*args, ssl_context=self._trusted, **options)


class _Session(requests.Session):
    """Does not follow a redirection from HTTPS to plain HTTP: tokens travel in headers."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Where an answer redirects to, if one may go there."""
        target = super().get_redirect_target(resp)
        if target is None or urlsplit(urljoin(str(resp.url), target)).scheme == "https":
            return target
        return None if str(resp.url).startswith("https:") else target


def session(trusted: ssl.SSLContext) -> requests.Session:
    """A session that trusts as *trusted* says."""
    made = _Session()
    made.mount("https://", _Adapter(trusted))
    return made
