"""
HTTP: session, retries and reasons that network providers share.

A busy server is asked again, a few times, when it wants to be; a request that failed on the way is
not. Redirections are followed for a vendor's library that wants it, but only to the same host, port
and scheme: tokens travel in headers that requests knows nothing of, and in bodies.
"""

import re
import ssl
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, InvalidHeader, MaxRetryError
from urllib3.response import BaseHTTPResponse
from urllib3.util.retry import Retry

from rotator.errors import SecretError, SourceError
from rotator.secrets.provider import TIMEOUT, TRIES, NetworkProvider, silence_loggers
from rotator.tls import add_trusted, client_context, reason_of, show_certificate

FIRST_PAUSE = 0.25  # seconds; doubles with each try
LONGEST_PAUSE = 15.0  # seconds; who asks for more patience is given up
_BUSY = frozenset({412, 429, 502, 503, 504})
_REDIRECTIONS = frozenset({301, 302, 303, 307, 308})

silence_loggers("urllib3", "requests")


class BusyRetry(Retry):
    """
    Retry: asks a busy server again after as long as it wants (RFC 9110, 10.2.3), else doubling.

    The last response is given back, busy or not.
    """

    @classmethod
    def limited(cls) -> Self:
        """Return one for `TRIES` requests of any method."""
        return cls(
            total=None,
            connect=0,
            read=False,
            other=0,
            status=TRIES - 1,
            status_forcelist=_BUSY,
            allowed_methods=None,
            raise_on_status=False,
        )

    def is_final(self, response: BaseHTTPResponse) -> bool:
        """Return whether it is of no use to ask again."""
        return (self.get_retry_after(response) or 0) > LONGEST_PAUSE

    def increment(self, *args: Any, **options: Any) -> Self:
        """Return what is left to try; raise MaxRetryError if that is nothing."""
        response = options.get("response")
        if response is not None and self.is_final(response):
            raise MaxRetryError(options["_pool"], "")
        return super().increment(*args, **options)

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        """Return the seconds that the server asks for; None if it says nothing, or nonsense."""
        try:
            return super().get_retry_after(response)
        except (InvalidHeader, ValueError, OverflowError):
            return None

    def sleep(self, response: BaseHTTPResponse | None = None) -> None:
        """Wait before the next try."""
        asked = None if response is None else self.get_retry_after(response)
        time.sleep(FIRST_PAUSE * 2 ** (len(self.history) - 1) if asked is None else asked)


class _Adapter(HTTPAdapter):
    """Adapter: trusts as *context* says, and as requests does, with REQUESTS_CA_BUNDLE."""

    def __init__(self, context: ssl.SSLContext, retries: Retry | int) -> None:
        self._context = context
        super().__init__(max_retries=retries)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Prepare for the connections of the session."""
        super().init_poolmanager(*args, ssl_context=self._context, **options)

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        """Return the connections of the session through a proxy."""
        return super().proxy_manager_for(*args, ssl_context=self._context, **options)


class _StrictAdapter(_Adapter):
    """Adapter: trusts as *context* says, and nobody else."""

    def cert_verify(self, conn: Any, *_: object) -> None:
        """Leave the trust of a connection to its context."""
        conn.cert_reqs = "CERT_REQUIRED"

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, *_: object
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what tells connections apart: the server alone."""
        return super().build_connection_pool_key_attributes(request, verify=True)


class _Session(requests.Session):
    """Session: connects by *adapter*, follows redirections to the same host, port and scheme."""

    def __init__(self, adapter: HTTPAdapter) -> None:
        super().__init__()
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return the address an answer redirects to, if one may go there."""
        target = super().get_redirect_target(resp)
        here, there = urlsplit(str(resp.url)), urlsplit(urljoin(str(resp.url), target or ""))
        return target if here[:2] == there[:2] else None


def library_session(context: ssl.SSLContext, retries: Retry | int = 0) -> requests.Session:
    """Return a session for a vendor's library, which tries again as *retries* say."""
    return _Session(_Adapter(context, retries))


def strict_session(context: ssl.SSLContext) -> requests.Session:
    """Return a session that trusts and sends no more than it is told, and tries again."""
    made = _Session(_StrictAdapter(context, BusyRetry.limited()))
    # else requests takes a login from ~/.netrc, in place of the one that is given
    made.auth = lambda request: request
    return made


class HttpProvider(NetworkProvider):
    """HTTP provider: asks an API below the https:// URL of *place* and *root*."""

    def __init__(self, place: str, session: requests.Session, *, root: str = "") -> None:
        super().__init__(place)
        self._base = f"https://{place}{root}"
        self._session = session

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        """
        Return the answer to a request; *path* is encoded already.

        Raises:
            SourceError: There is none.
        """
        try:
            return self._send(method, path, **options)
        except (requests.RequestException, HTTPError) as error:
            raise self.unreachable(error) from None

    def _send(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send a request; redirections are not followed: they would take the credentials along."""
        return self._session.request(
            method, f"{self._base}{path}", timeout=TIMEOUT, allow_redirects=False, **options
        )

    def document(self, response: requests.Response) -> Mapping[str, Any]:
        """
        Return the JSON object in an answer.

        Raises:
            SourceError: There is none.
        """
        found = _json(response)
        if not isinstance(found, dict):
            raise self.garbled()
        return found

    def unexpected(self, status: int, code: str | None = None) -> SourceError:
        """Return the error for an answer that no rule speaks of; *code* is the provider's own."""
        said = f"status {status} ({code})" if code else f"status {status}"
        if status in _BUSY:
            return self.failure(
                f"is too busy: {said} at every try",
                "try again later; its own log says what it is waiting for",
            )
        if status in _REDIRECTIONS:
            return self.failure(
                f"wants rotator to go to another address: {said}",
                "credentials are sent to no other: give the address that it leads to, such as that"
                " of the active node, in the provider's URL",
            )
        return self.failure(
            f"answered with {said}",
            "is the address that of the secret provider? its own log says more",
        )

    def garbled(self) -> SourceError:
        """Return the error for an answer that is not what the provider's documentation promises."""
        return self.failure(
            "gave an answer that is not understood",
            "is the address that of the secret provider, and not of a proxy or a login page?",
        )


class TokenProvider(HttpProvider, ABC):
    """Token provider: logs in for a token, before it expires and, once, when it is refused."""

    authorization: ClassVar[str]  # the header, with {} for the token
    _token = ""
    _token_until = 0.0

    def read(self, path: str, **query: str) -> requests.Response:
        """Return the answer to a request with a token."""
        response = self._read_once(path, query)
        if response.status_code == 401:
            self._token_until = 0.0  # revoked, or expired early
            response = self._read_once(path, query)
        return response

    def _read_once(self, path: str, query: Mapping[str, str]) -> requests.Response:
        """Return the answer to a request, after a login if there is no good token."""
        started = time.monotonic()
        if started >= self._token_until:
            self._token, seconds = self.log_in()
            self._token_until = started + seconds
        headers = {"Authorization": self.authorization.format(self._token)}
        return self.ask("GET", path, params=query, headers=headers)

    @abstractmethod
    def log_in(self) -> tuple[str, float]:
        """Return a new token, and for how many seconds it is to be used."""


def code_of(response: requests.Response, pattern: re.Pattern[str], field: str) -> str:
    """
    Return the provider's own code in *field* of a refusal; empty if there is none.

    Only what is in full like *pattern* is a code. Nothing else of a refusal is ever shown: its text
    may repeat what was asked.
    """
    found = _json(response)
    code = found.get(field) if isinstance(found, dict) else None
    return code if isinstance(code, str) and pattern.fullmatch(code) else ""


def _json(response: requests.Response) -> Any:
    """Return the JSON in an answer; None if it is something else."""
    try:
        return response.json()
    except ValueError:
        return None


def trusting(
    *,
    ca_file: str | None = None,
    ca_text: str | None = None,
    cert_file: str | None = None,
    key_file: str | None = None,
) -> ssl.SSLContext:
    """
    Return a TLS context with more CAs and a client certificate, as a provider's URL names them.

    Without *key_file* the private key is expected beside the certificate.

    Raises:
        SecretError: A file cannot be read, or is not what it should be.
    """
    context = client_context()
    files = f"CA certificates {ca_file or ''}".rstrip()
    try:
        if ca_file:
            context.load_verify_locations(ca_file)
        if ca_text:
            add_trusted(context, ca_text)
        if cert_file:
            files = f"client certificate {' and '.join(filter(None, (cert_file, key_file)))}"
            show_certificate(context, cert_file, key_file)
    except OSError as error:
        unknown = "not PEM" if isinstance(error, ssl.SSLError) else "unknown reason"
        raise SecretError(
            f"the secret provider's {files} cannot be used: {reason_of(error, unknown)}",
            hint="check the path, the rights of the file, and that it is PEM",
        ) from None
    except ValueError:
        raise SecretError(
            f"the secret provider's key {key_file or cert_file} is encrypted",
            hint="rotator cannot ask for its passphrase: give a key without one",
        ) from None
    return context
