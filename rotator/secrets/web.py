"""A provider that is asked over HTTPS without a library of its vendor's."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from typing import Any

import httpx

from rotator.secrets import http
from rotator.secrets.http import Remote, hush, patiently

hush("httpx", "httpcore")


class Web(Remote):
    """
    A provider whose API is below the https:// URL of *place* and *root*.

    Redirections are not followed: they would take the credentials along.
    """

    def __init__(self, place: str, trusted: ssl.SSLContext, *, root: str = "") -> None:
        super().__init__(place)
        self._client = httpx.Client(
            base_url=f"https://{place}{root}", verify=trusted, timeout=http.TIMEOUT
        )

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """
        The answer to a request; *path* is encoded already.

        Raises:
            SourceError: There is none.
        """

        def once() -> httpx.Response:
            return self._client.request(method, path, **options)

        try:
            return patiently(once)
        except httpx.HTTPError as error:
            raise self.unreachable(error) from None

    def document(self, response: httpx.Response) -> Mapping[str, Any]:
        """
        The JSON object in an answer.

        Raises:
            SourceError: There is none.
        """
        try:
            found = response.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise self.garbled() from None
        return found


def code_of(response: httpx.Response, pattern: re.Pattern[str], *path: str) -> str:
    """
    The provider's own code in the JSON object of a refusal, along *path*; empty if there is none.

    Only what is in full like *pattern* is a code. Nothing else of a refusal is ever shown: its text
    may repeat what was asked.
    """
    try:
        found = response.json()
    except ValueError:
        return ""
    for step in path:
        found = found.get(step) if isinstance(found, dict) else None
    return found if isinstance(found, str) and pattern.fullmatch(found) else ""
