"""
CyberArk Central Credential Provider: `cyberarkccp://host?appID=...&safe=...`.

`certFile` and `keyFile` are the client certificate (left out where the provider knows the
application by its address), `caFile` more CAs, `folder` the folder in the safe (Root unless said).
`newLineDelim` stands for a new line in the stored passwords, which cannot hold one.

`<name>` is the name of the account object. Asked is `/AIMWebService/api/Accounts`, as the vendor's
documentation of the web service's REST interface has it, once for each name.
"""

from __future__ import annotations

import re
from typing import ClassVar

import httpx

from rotator.errors import SourceError
from rotator.secrets.http import trusting
from rotator.secrets.locator import Locator
from rotator.secrets.web import Web, code_of

_PARAMETERS = ("appID", "safe", "folder", "certFile", "keyFile", "caFile", "newLineDelim")
_ERROR_CODE = re.compile(r"[A-Z]{4,6}\d{3}[A-Z]")
_NOT_FOUND = frozenset({"APPAP004E", "APPAP249E", "APPAP324E"})
_AMBIGUOUS = frozenset({"APPAP227E", "APPAP228E", "APPAP229E"})
_DENIED = frozenset({"APPAP008E", "APPAP087E", "APPAP132E", "APPAP133E", "APPAP306E"})
_CHANGING = "APPAP282E"


class CentralCredentialProvider(Web):
    """
    The account objects of one safe.

    *criteria* are the parts of the query that are the same for each of them.
    """

    title: ClassVar[str] = "the credential provider"
    trust: ClassVar[str] = "give its CA with caFile=/path/ca.pem in the provider's URL"

    def __init__(
        self, locator: Locator, criteria: dict[str, str], *, new_line: str | None = None
    ) -> None:
        trusted = trusting(
            ca_file=locator.get("caFile"),
            cert_file=locator.get("certFile"),
            key_file=locator.get("keyFile"),
        )
        super().__init__(locator.place, trusted)
        self._criteria = criteria
        self._new_line = new_line

    def get(self, name: str) -> str:
        """
        The password of the account object *name*.

        Raises:
            SecretError: The safe has no such object, or the application may not see it.
            SourceError: The provider could not be reached, or refused to answer.
        """
        response = self.ask(
            "GET", "/AIMWebService/api/Accounts", params={**self._criteria, "Object": name}
        )
        if response.status_code != 200:
            self._refuse(name, response)
        content = self.document(response).get("Content")
        if not isinstance(content, str):
            raise self.garbled()
        return content if self._new_line is None else content.replace(self._new_line, "\n")

    def _refuse(self, name: str, response: httpx.Response) -> None:
        """Raise the error for a refusal; of its text only the code is shown."""
        code = code_of(response, _ERROR_CODE, "ErrorCode")
        safe = self._criteria["Safe"]
        if code in _NOT_FOUND:
            raise self.unknown(
                name,
                f"is it the name of an account object in safe {safe}, and is the application (and"
                f" the provider's own user) a member of that safe? ({code})",
            )
        if code in _AMBIGUOUS:
            raise self.unknown(name, f"more than one object fits: give the folder ({code})")
        if code in _DENIED or response.status_code in {401, 403}:
            raise SourceError(
                f"{self.source} refused the application {self._criteria['AppID']}"
                f"{f' ({code})' if code else ''}",
                hint="is the appID registered, and does its authentication (client certificate,"
                " allowed machines) fit certFile and this machine?",
            )
        if code == _CHANGING:
            raise SourceError(
                f"{self.source} is changing the password of <{name}> ({code})",
                hint="run again in a few minutes",
            )
        raise self.unexpected(response.status_code, code)


def from_url(url: str) -> CentralCredentialProvider:
    """
    The provider for `cyberarkccp://`; nothing is asked yet.

    Raises:
        SecretError: The URL lacks something, or a certificate cannot be used.
    """
    locator = Locator(url, _PARAMETERS)
    if locator.segments:
        raise locator.refusal("takes no path", "safe and folder are parameters, after the ?")
    if locator.get("keyFile") and not locator.get("certFile"):
        raise locator.refusal("has keyFile without certFile", "add certFile=/path/cert.pem")
    criteria = {"AppID": locator.require("appID"), "Safe": locator.require("safe")}
    if folder := locator.get("folder"):
        criteria["Folder"] = folder
    return CentralCredentialProvider(locator, criteria, new_line=locator.get("newLineDelim"))
