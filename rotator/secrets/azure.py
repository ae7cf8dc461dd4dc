"""
Azure Key Vault: reads a secret.

The URL is `azurekeyvault://my-vault.vault.azure.net?clientID=...&clientSecret=...&tenantID=...`.

Without the three parameters Azure's usual chain (variables, workload identity, managed identity,
Azure CLI). `entraIDHost` is the host of another cloud's Entra ID, as login.microsoftonline.us.

`<name>` is a secret of the vault, in its newest version, read when it is needed. Key Vault knows
letters, digits and dashes in a name, nothing else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from azure.core.credentials import TokenCredential
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    DecodeError,
    HttpResponseError,
    ResourceNotFoundError,
)
from azure.core.pipeline.transport import RequestsTransport
from azure.identity import ClientSecretCredential, DefaultAzureCredential
from azure.keyvault.secrets import KeyVaultSecret, SecretClient

from rotator.errors import RotatorError, SecretError, SourceError
from rotator.secrets.http import BUSY, HttpProvider, library_session, patience
from rotator.secrets.provider import ProviderUrl, silence_loggers, text_of
from rotator.tls import trusting, unreachable

if TYPE_CHECKING:
    import requests

silence_loggers("azure", "msal")

_PARAMETERS = ("clientID", "clientSecret", "tenantID", "entraIDHost")
_NAME = re.compile(r"[0-9A-Za-z-]{1,127}")
_HTTP_ERROR = re.compile(r"HTTP Error: (\d{3})")  # msal's words for what is no JSON
_ENTRA_CODE = re.compile(r"AADSTS\d{3,8}")


class KeyVault(HttpProvider):
    """
    Key vault: reads the secrets of one.

    Raises:
        SecretError: The URL gives some of clientID, clientSecret and tenantID, and not all.
    """

    title: ClassVar[str] = "key vault"
    trust: ClassVar[str] = "add its CA to the system's trust, or set SSL_CERT_FILE"

    def __init__(self, text: str) -> None:
        url = ProviderUrl(text, _PARAMETERS)
        if url.segments:
            raise url.refusal("takes no path", "the name of the secret goes between < and >")
        session = library_session(trusting())
        super().__init__(url.place, session)
        self._chain = url.get("clientID", "clientSecret", "tenantID") is None
        self._connect: Callable[[], SecretClient] = lambda: SecretClient(
            f"https://{self.place}", _credential(url), **_options(session)
        )
        self._client = self._connect()

    def get(self, name: str) -> str:
        """
        Return the newest version of the secret *name*.

        Raises:
            SecretError: There is no such secret, it is disabled, or this is not a name.
            SourceError: Key vault or Entra ID could not be reached, or refused to answer.
        """
        if _NAME.fullmatch(name) is None:
            raise SecretError(
                f"<{name}>: is not a secret name for a key vault",
                hint="use only letters, digits and dashes: redis-password, not redis.password",
            )
        secret = self._read(name)
        if not isinstance(secret.value, str):
            raise self.garbled()
        return text_of(name, secret.value, self.source, "store it as text there")

    def _read(self, name: str) -> KeyVaultSecret:
        """Ask for a secret, and tell refusals by the vault from those on the way to it."""
        try:
            with patience():
                return self._ask(name)
        except HttpResponseError as error:
            if isinstance(error, ClientAuthenticationError) and not self._is_ours(error):
                raise self._login_refusal(error) from None
            raise self._refusal(name, error) from None
        except AzureError as error:
            raise self.unreachable(error) from None
        except ValueError as error:
            if "challenge" in str(error):  # it names another resource, or nothing that is known
                raise self.failure(
                    "asks for a login that does not match its address",
                    "is the host the vault itself (name.vault.azure.net)?",
                ) from None
            raise self.garbled() from None
        except (AttributeError, KeyError, TypeError, RecursionError):
            # Azure's library stumbles over an answer of another shape
            raise self.garbled() from None

    def _ask(self, name: str) -> KeyVaultSecret:
        """Ask for a secret, once more with a new login if the vault refuses the token."""
        try:
            return self._client.get_secret(name)
        except ClientAuthenticationError as error:
            if not self._is_ours(error):
                raise
        self._client = self._connect()  # the library keeps a token until its time is over
        return self._client.get_secret(name)

    def _is_ours(self, error: HttpResponseError) -> bool:
        """Return whether the vault itself has said it."""
        asked = str(getattr(getattr(error.response, "request", None), "url", ""))
        return asked.startswith(f"https://{self.place}/secrets/")

    def _login_refusal(self, error: ClientAuthenticationError) -> SourceError:
        """Return the error for a login that failed, at Entra ID or on the way there."""
        cause = error.__cause__
        if isinstance(cause, AzureError) and not isinstance(cause, HttpResponseError):
            return unreachable("Entra ID", cause, trust=self.trust)
        told = _HTTP_ERROR.search(error.message or "")
        status = int(told[1]) if told else getattr(cause, "status_code", 0)
        if status in BUSY:
            return SourceError(
                f"Entra ID is too busy, or failed: status {status} at every try",
                hint="try again later",
            )
        if status in {200, 301, 302, 303, 307, 308} or isinstance(cause, DecodeError):
            return SourceError(
                "Entra ID gave an answer that is not understood",
                hint="is entraIDHost the host of Entra ID, and not of a proxy or a login page?",
            )
        match = _ENTRA_CODE.search(error.message or "")
        if match is None and self._chain:
            return SourceError(
                "no credentials for Azure were found, or none that are accepted",
                hint="add clientID=, clientSecret= and tenantID= to the provider's URL, or set"
                " AZURE_CLIENT_ID, AZURE_CLIENT_SECRET and AZURE_TENANT_ID, or use an identity",
            )
        return SourceError(
            f"Entra ID refused the login{f' ({match[0]})' if match else ''}",
            hint="check clientID, clientSecret (the secret's value, not its id; it expires) and"
            " tenantID, special characters as %XX",
        )

    def _refusal(self, name: str, error: HttpResponseError) -> RotatorError:
        """Return the error for a refusal by the vault; nothing of its text is shown."""
        status = error.status_code or 0
        if isinstance(error, ResourceNotFoundError) or status == 404:
            return self.unknown(
                name, "does it exist, is it not deleted, and is this the right vault?"
            )
        inner = getattr(getattr(error, "error", None), "innererror", None) or {}
        if status == 401:
            return self.failure(
                "refused the token of Entra ID", "does tenantID name the tenant of this vault?"
            )
        if status == 200:
            return self.garbled()
        if status == 403 and inner.get("code") == "SecretDisabled":
            return SecretError(
                f"<{name}>: is disabled in {self.source}", hint="enable its newest version"
            )
        if status == 403:
            return self.failure(
                f"refused to give <{name}>",
                "give the identity the role Key Vault Secrets User (or the access policy Get),"
                " and let the vault's firewall admit this machine",
            )
        return self.unexpected(status)


def _credential(url: ProviderUrl) -> TokenCredential:
    """Return a service principal if the URL names one, else Azure's usual chain."""
    host = url.get("entraIDHost")
    # a host that is named is believed: a private cloud cannot ask the public one about it
    known = host is None and "AZURE_AUTHORITY_HOST" not in os.environ
    options = _options(library_session(trusting()))
    make: Callable[..., TokenCredential] = DefaultAzureCredential
    if url.get("clientID", "clientSecret", "tenantID"):
        make = ClientSecretCredential
        options |= {
            "tenant_id": url.require("tenantID"),
            "client_id": url.require("clientID"),
            "client_secret": url.require("clientSecret"),
        }
    if host is not None:
        options["authority"] = host.removeprefix("https://").rstrip("/")
    try:
        return make(disable_instance_discovery=not known, **options)
    except ValueError:
        raise url.refusal(
            "has an invalid tenantID or entraIDHost",
            "a tenant is a UUID or a domain, and Entra ID is a host without http://",
        ) from None


def _options(session: requests.Session) -> dict[str, object]:
    """Return how requests are made: tried again by the session alone, sent nowhere else."""
    transport = RequestsTransport(session=session)
    return {"transport": transport, "retry_total": 0, "permit_redirects": False}
