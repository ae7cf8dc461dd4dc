"""
HashiCorp Vault: `hashivault://host:8200/secret/data/maverics?token=...`.

Schemes: `hashivault`, `hashivaults` and `hashivault+https` are HTTPS, `hashivault+http` is plain
HTTP. Older documentation of the Orchestrator has `hashivault` as plain HTTP; rotator does not send
a token in clear unless the URL says so, and names the other scheme when the server speaks no TLS.

The path is the one of Vault's HTTP API without `/v1`: for a KV version 2 engine it holds `data/`.

Log in with `token`, with `role_id` and `secret_id` (AppRole), or with `client_cert` and
`client_key` (the cert method; `client_cert_file` and `client_key_file` are accepted too); without
any of them with the variable VAULT_TOKEN. `namespace` (or VAULT_NAMESPACE) chooses a namespace,
`ca_cert` (or VAULT_CACERT) is a file with more CAs.

`<name>` is a key in the entry at the path. A name with dots is that key as it stands, else, as the
documentation describes it, what stands before the first dot is the entry (the one at the path, or
one below it) and the rest the key in it. Each entry is read once.
"""

from __future__ import annotations

import os

import hvac
from hvac.adapters import RawAdapter

from rotator.errors import SecretError, SourceError
from rotator.secrets import http
from rotator.secrets.http import trusting
from rotator.secrets.locator import Locator
from rotator.secrets.session import session
from rotator.secrets.vaultapi import DeniedError, VaultApi, versioned_hint

_CERT = ("client_cert", "client_cert_file")
_KEY = ("client_key", "client_key_file")
_CA = ("ca_cert", "ca_cert_file", "caFile")
_PARAMETERS = ("token", "role_id", "secret_id", *_CERT, *_KEY, *_CA, "namespace")


class Vault(VaultApi):
    """The entry at *path*, and those below it; the rest is as for `VaultApi`."""

    def __init__(
        self, client: hvac.Client, place: str, path: str, login: tuple[str, dict[str, str]] | None
    ) -> None:
        super().__init__(client, place, login)
        self._path = path

    def get(self, name: str) -> str:
        """
        The secret called *name*.

        Raises:
            SecretError: No entry has such a key, or its value is not text.
            SourceError: The vault could not be reached, refused to answer, or is sealed.
        """
        denied: DeniedError | None = None
        looked: list[str] = []
        for path, key in self._candidates(name):
            try:
                entry = self.entry(path)
            except DeniedError as error:
                denied = denied or error
                looked.append(f"the entry {path} (no right to read it)")
                continue
            if entry is not None and key in entry:
                return self._text(name, entry[key])
            looked.append(f"the key {key} in {path}{'' if entry else ' (no such entry)'}")
        if denied is not None and not any(self._entries.values()):
            # a policy forbids what it does not name: with an entry at hand this means little
            raise SourceError(str(denied), hint=denied.hint) from None
        raise self.unknown(name, f"looked for {', then '.join(looked)}{versioned_hint(self._path)}")

    def _candidates(self, name: str) -> list[tuple[str, str]]:
        """Which entry and key *name* can mean, likeliest first."""
        found = [(self._path, name)]
        entry, dot, key = name.partition(".")
        if dot and entry and key:
            if self._path.rpartition("/")[2] == entry:
                found.append((self._path, key))
            found.append((f"{self._path}/{entry}", key))
        return found

    def _text(self, name: str, found: object) -> str:
        """What a key holds, if it is text."""
        if not isinstance(found, str):
            raise SecretError(
                f"<{name}>: is not text in {self.source}", hint="store the value as a string there"
            )
        return found


def from_url(url: str) -> Vault:
    """
    The provider for `hashivault://` and its sisters; nothing is asked yet.

    Raises:
        SecretError: The URL lacks the path or a way to log in, or a certificate cannot be used.
    """
    locator = Locator(url, _PARAMETERS)
    path = "/".join(locator.segments).removeprefix("v1/")
    if not path:
        raise locator.refusal("needs a path", "for example /secret/data/maverics after the host")
    plain = locator.scheme.endswith("+http")
    cert = locator.get(*_CERT)
    trusted = trusting(
        ca_file=locator.get(*_CA) or os.environ.get("VAULT_CACERT"),
        cert_file=cert,
        key_file=locator.get(*_KEY),
    )
    token, login = _credentials(locator, cert)
    client = hvac.Client(
        url=f"{'http' if plain else 'https'}://{locator.place}",
        token=token,
        verify=True,  # else hvac takes VAULT_CACERT for all there is to trust
        timeout=http.TIMEOUT,
        session=session(trusted),
        namespace=locator.get("namespace") or os.environ.get("VAULT_NAMESPACE"),
        adapter=RawAdapter,
    )
    return Vault(client, locator.place, path, login)


def _credentials(
    locator: Locator, cert: str | None
) -> tuple[str, tuple[str, dict[str, str]] | None]:
    """A token, or an empty one and how to get it."""
    token = locator.get("token")
    role = locator.pair("role_id", "secret_id")
    if token and role:
        raise locator.refusal("has two ways to log in", "give token, or role_id and secret_id")
    if role:
        return "", ("auth/approle/login", {"role_id": role[0], "secret_id": role[1]})
    if cert and not token:
        return "", ("auth/cert/login", {})
    token = token or os.environ.get("VAULT_TOKEN", "")
    if not token:
        raise locator.refusal(
            "has no way to log in",
            "add token=, or role_id= and secret_id=, or client_cert= and client_key=,"
            " or set VAULT_TOKEN",
        )
    if not (token.isascii() and token.isprintable()):
        raise locator.refusal("has a token that cannot be one", "it is printable ASCII")
    return token, None
