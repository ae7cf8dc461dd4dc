"""
Azure Key Vault: `azurekeyvault://my-vault.vault.azure.net?clientID=...&clientSecret=...&tenantID=...`.

Without the three parameters Azure's usual chain (variables, workload identity, managed identity,
Azure CLI). `entraIDHost` is the host of another cloud's Entra ID, as login.microsoftonline.us.

`<name>` is a secret of the vault, in its newest version, read when it is needed. Key Vault knows
letters, digits and dashes in a name, nothing else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import ClassVar

from azure.core.credentials import TokenCredential
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
)
from azure.core.pipeline.transport import RequestsTransport
from azure.identity import (
    ClientSecretCredential,
    DefaultAzureCredential,
)
from azure.keyvault.secrets import KeyVaultSecret, SecretClient

from rotator.errors import RotatorError, SecretError, SourceError
from rotator.secrets import http
from rotator.secrets.http import Remote, hush, patiently, trusting
from rotator.secrets.locator import Locator
from rotator.secrets.session import session
from rotator.tls import unreachable

hush("azure", "msal", "urllib3", "requests")

_PARAMETERS = ("clientID", "clientSecret", "tenantID", "entraIDHost")
_NAME = re.compile(r"[0-9A-Za-z-]{1,127}")
_ENTRA_CODE = re.compile(r"AADSTS\d{3,8}")


class _Answer:
    """One answer of Key Vault, as the patience with busy servers wants it."""

    def __init__(self, secret: KeyVaultSecret | None, error: HttpResponseError | None) -> None:
        self.secret = secret
        self.error = error
        self.status_code = 200 if error is None else error.status_code or 0
        response = getattr(error, "response", None)
        self.headers: Mapping[str, str] = getattr(response, "headers", {})


class KeyVault(Remote):
    """The secrets of the key vault at *place*, read with *credential*."""

    title: ClassVar[str] = "key vault"
    trust: ClassVar[str] = "add its CA to the system's trust, or set SSL_CERT_FILE"

    def __init__(self, place: str, credential: TokenCredential) -> None:
        super().__init__(place)
        self._chain = isinstance(credential, DefaultAzureCredential)
        self._base = f"https://{place}/secrets/"
        self._client = SecretClient(f"https://{place}", credential, **_options())

    def get(self, name: str) -> str:
        """
        The newest version of the secret *name*.

        Raises:
            SecretError: There is no such secret, it is disabled, or this is not a name.
            SourceError: Key vault or Entra ID could not be reached, or refused to answer.
        """
        if _NAME.fullmatch(name) is None:
            raise SecretError(
                f"<{name}>: is no name of a secret in a key vault",
                hint="it has letters, digits and dashes only: redis-password, not redis.password",
            )
        answer = patiently(lambda: self._ask(name))
        if answer.error is not None:
            raise self._refusal(name, answer.error)
        if answer.secret is None or answer.secret.value is None:
            raise self.garbled()
        return answer.secret.value

    def _ask(self, name: str) -> _Answer:
        """One request; a refusal by the vault itself is an answer, anything else an error."""
        try:
            return _Answer(self._client.get_secret(name), None)
        except ClientAuthenticationError as error:
            if _asked(error).startswith(self._base):
                return _Answer(None, error)
            raise self._login_refusal(error) from None
        except HttpResponseError as error:
            return _Answer(None, error)
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
        """The error for a login that failed, at Entra ID or on the way there."""
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
        """The error for a refusal by the vault; nothing of its text is shown."""
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
    The provider for `azurekeyvault://`; nothing is asked yet.

    Raises:
        SecretError: The URL gives some of clientID, clientSecret and tenantID, and not all.
    """
    locator = Locator(url, _PARAMETERS)
    if locator.segments:
        raise locator.refusal("takes no path", "the name of the secret goes between < and >")
    return KeyVault(locator.place, _credential(locator))


def _credential(locator: Locator) -> TokenCredential:
    """A service principal if the URL names one, else Azure's usual chain."""
    host = locator.get("entraIDHost")
    # a host that is named is believed: a private cloud cannot ask the public one about it
    known = host is None and "AZURE_AUTHORITY_HOST" not in os.environ
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
        return make(**identity, disable_instance_discovery=not known, **_options())
    except ValueError:
        raise locator.refusal(
            "has a tenantID or an entraIDHost that cannot be one",
            "a tenant is a UUID or a domain, and Entra ID is a host without http://",
        ) from None


def _asked(error: HttpResponseError) -> str:
    """The URL that was answered with this error; empty if none was."""
    request = getattr(error.response, "request", None)
    return str(getattr(request, "url", ""))


def _options() -> dict[str, object]:
    """How requests are made: finite, trusting the system, tried again by rotator alone."""
    transport = RequestsTransport(
        session=session(trusting()),
        connection_timeout=http.TIMEOUT,
        read_timeout=http.TIMEOUT,
    )
    return {"transport": transport, "retry_total": 0}
