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
from typing import ClassVar

import requests
from azure.core.credentials import TokenCredential
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
)
from azure.core.pipeline.transport import RequestsTransport
from azure.identity import ClientSecretCredential, DefaultAzureCredential
from azure.keyvault.secrets import KeyVaultSecret, SecretClient

from rotator.errors import RotatorError, SecretError, SourceError
from rotator.secrets.http import BusyRetry, HttpProvider, library_session, trusting
from rotator.secrets.provider import TIMEOUT, ProviderUrl, silence_loggers
from rotator.tls import unreachable

silence_loggers("azure", "msal")

_PARAMETERS = ("clientID", "clientSecret", "tenantID", "entraIDHost")
_NAME = re.compile(r"[0-9A-Za-z-]{1,127}")
_ENTRA_CODE = re.compile(r"AADSTS\d{3,8}")


class KeyVault(HttpProvider):
    """Key vault: reads the secrets of the one at *place* with *credential*."""

    title: ClassVar[str] = "key vault"
    trust: ClassVar[str] = "add its CA to the system's trust, or set SSL_CERT_FILE"

    def __init__(self, place: str, credential: TokenCredential) -> None:
        session = library_session(trusting(), BusyRetry.limited())
        super().__init__(place, session)
        self._chain = isinstance(credential, DefaultAzureCredential)
        self._base = f"https://{place}/secrets/"
        self._client = SecretClient(f"https://{place}", credential, **_options(session))

    def get(self, name: str) -> str:
        """
        Return the newest version of the secret *name*.

        Raises:
            SecretError: There is no such secret, it is disabled, or this is not a name.
            SourceError: Key vault or Entra ID could not be reached, or refused to answer.
        """
        if _NAME.fullmatch(name) is None:
            raise SecretError(
                f"<{name}>: is no name of a secret in a key vault",
                hint="it has letters, digits and dashes only: redis-password, not redis.password",
            )
        secret = self._read(name)
        if secret.value is None:
            raise self.garbled()
        return secret.value

    def _read(self, name: str) -> KeyVaultSecret:
        """Ask for a secret, and tell refusals by the vault from those on the way to it."""
        try:
            return self._client.get_secret(name)
        except HttpResponseError as error:
            if isinstance(error, ClientAuthenticationError) and not _asked(error).startswith(
                self._base
            ):
                raise self._login_refusal(error) from None
            raise self._refusal(name, error) from None
        except AzureError as error:
            raise self.unreachable(error) from None
        except ValueError as error:
            if "challenge" in str(error):  # it names another resource, or nothing that is known
                raise SourceError(
                    f"{self.source} asks for a login that does not fit its address",
                    hint="is the host that of the vault itself (name.vault.azure.net)?",
                ) from None
            raise self.garbled() from None
        except (AttributeError, KeyError, TypeError):
            # Azure's library stumbles over an answer of another shape
            raise self.garbled() from None

    def _login_refusal(self, error: ClientAuthenticationError) -> SourceError:
        """Return the error for a login that failed, at Entra ID or on the way there."""
        cause = error.__cause__
        if isinstance(cause, AzureError) and not isinstance(cause, HttpResponseError):
            return unreachable("Entra ID", cause, trust=self.trust)
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
            return self.unknown(name, "is it there, not deleted, and is this the right vault?")
        inner = getattr(getattr(error, "error", None), "innererror", None) or {}
        if status == 401:
            return SourceError(
                f"{self.source} refused the token of Entra ID",
                hint="does tenantID name the tenant of this vault?",
            )
        if status == 200:
            return self.garbled()
        if status == 403 and inner.get("code") == "SecretDisabled":
            return SecretError(
                f"<{name}>: is disabled in {self.source}", hint="enable its newest version"
            )
        if status == 403:
            return SourceError(
                f"{self.source} refused to give <{name}>",
                hint="give the identity the role Key Vault Secrets User (or the access policy Get),"
                " and let the vault's firewall admit this machine",
            )
        return self.unexpected(status)


def from_url(url: str) -> KeyVault:
    """
    Return the provider for `azurekeyvault://`; nothing is asked yet.

    Raises:
        SecretError: The URL gives some of clientID, clientSecret and tenantID, and not all.
    """
    locator = ProviderUrl(url, _PARAMETERS)
    if locator.segments:
        raise locator.refusal("takes no path", "the name of the secret goes between < and >")
    return KeyVault(locator.place, _credential(locator))


def _credential(locator: ProviderUrl) -> TokenCredential:
    """Return a service principal if the URL names one, else Azure's usual chain."""
    host = locator.get("entraIDHost")
    # a host that is named is believed: a private cloud cannot ask the public one about it
    known = host is None and "AZURE_AUTHORITY_HOST" not in os.environ
    options = _options(library_session(trusting()))  # a login is not tried again
    make: Callable[..., TokenCredential] = DefaultAzureCredential
    identity: dict[str, str] = {}
    if any(locator.get(name) for name in ("clientID", "clientSecret", "tenantID")):
        make = ClientSecretCredential
        identity = {
            "tenant_id": locator.require("tenantID"),
            "client_id": locator.require("clientID"),
            "client_secret": locator.require("clientSecret"),
        }
    if host is not None:
        identity["authority"] = host.removeprefix("https://").rstrip("/")
    try:
        return make(**identity, disable_instance_discovery=not known, **options)
    except ValueError:
        raise locator.refusal(
            "has a tenantID or an entraIDHost that cannot be one",
            "a tenant is a UUID or a domain, and Entra ID is a host without http://",
        ) from None


def _asked(error: HttpResponseError) -> str:
    """Return the URL that was answered with this error; empty if none was."""
    request = getattr(error.response, "request", None)
    return str(getattr(request, "url", ""))


def _options(session: requests.Session) -> dict[str, object]:
    """Return how requests are made: finite, and tried again by the session alone."""
    transport = RequestsTransport(session=session, connection_timeout=TIMEOUT, read_timeout=TIMEOUT)
    return {"transport": transport, "retry_total": 0}
