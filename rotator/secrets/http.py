"""
HTTP: session, limits, retries and reasons that network providers share.

A server that is busy or has failed is asked again, a few times, when it wants to be; a request that
failed on the way is not. An answer may take some time and have some size, whatever drips in or is
unpacked. Redirections are followed for a vendor's library that wants it, but only to the same host,
port and scheme: tokens travel in headers that requests knows nothing of, and in bodies.
"""

import io
import json
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import DecodeError, HTTPError, InvalidHeader
from urllib3.util.retry import Retry

from rotator.errors import SourceError
from rotator.secrets.provider import NetworkProvider, silence_loggers
from rotator.tls import OversizeError

TIMEOUT = 10.0  # seconds without a byte
PATIENCE = 60.0  # seconds for an answer, with all that is asked again or on the way to it
LARGEST = 4 << 20  # bytes of an answer, packed or not
TRIES = 4
FIRST_PAUSE = 0.25  # seconds; doubles with each try
LONGEST_PAUSE = 15.0  # seconds; who asks for more patience is given up
BUSY = frozenset({412, 429, 500, 502, 503, 504})
_REDIRECTIONS = frozenset({301, 302, 303, 307, 308})

silence_loggers("urllib3", "requests")

_until: ContextVar[float] = ContextVar("until")


@contextmanager
def patience() -> Iterator[None]:
    """Give all that is asked in the block `PATIENCE` seconds together."""
    token = _until.set(time.monotonic() + PATIENCE)
    try:
        yield
    finally:
        _until.reset(token)


def _seconds_left() -> float:
    """Return how long to wait for the next byte; raise TimeoutError if it is too late."""
    left = _until.get() - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return min(TIMEOUT, left)


def is_busy(response: requests.Response) -> bool:
    """Return whether the same request may do better a little later."""
    return response.status_code in BUSY


class _Reader(io.RawIOBase):
    """Reader: gives what a server sends, until it is too late or too much (OversizeError)."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._source = connection.makefile("rb", buffering=0)
        self._size = 0

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read what has arrived, or wait for it."""
        self._connection.settimeout(_seconds_left())
        size: int | None = self._source.readinto(buffer)
        self._size += size or 0
        if self._size > LARGEST:
            raise OversizeError
        return size

    def close(self) -> None:
        """Leave the connection to its owner."""
        self._source.close()
        super().close()


class _Response(HTTPResponse):
    """Response: reads all that a server, or a proxy, sends by a `_Reader`."""

    def __init__(self, sock: Any, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp.close()
        self.fp = io.BufferedReader(_Reader(sock))


def _limited(pool: Any, connection: Any) -> Any:
    """Return the class of connections like *pool*, each a *connection* with limited answers."""
    made = type(connection.__name__, (connection,), {"response_class": _Response})
    return type(pool.__name__, (pool,), {"ConnectionCls": made})


_POOLS = {
    "http": _limited(urllib3.HTTPConnectionPool, HTTPConnection),
    "https": _limited(urllib3.HTTPSConnectionPool, HTTPSConnection),
}


class _Adapter(HTTPAdapter):
    """
    Adapter: trusts as *context* says; unless *strict*, as requests does too, REQUESTS_CA_BUNDLE.

    It asks again after as long as a busy server wants (RFC 9110, 10.2.3), else doubling. The last
    response is given back, busy or not.
    """

    def __init__(
        self, context: ssl.SSLContext, busy: Callable[[requests.Response], bool], *, strict: bool
    ) -> None:
        self._context, self._busy, self._strict = context, busy, strict
        super().__init__(max_retries=Retry(0, read=False))

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Prepare for the connections of the session."""
        super().init_poolmanager(*args, ssl_context=self._context, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        """Return the connections of the session through a proxy."""
        manager = super().proxy_manager_for(*args, ssl_context=self._context, **options)
        if type(manager) is urllib3.ProxyManager:  # one for SOCKS has connections of its own
            manager.pool_classes_by_scheme = _POOLS
        return manager

    def cert_verify(self, conn: Any, *arguments: Any) -> None:
        """Add what requests trusts, or leave the trust of a connection to its context."""
        conn.cert_reqs = "CERT_REQUIRED"
        if not self._strict:
            super().cert_verify(conn, *arguments)

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, *rest: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what tells connections apart; strict ones the server alone."""
        trusted = self._strict or verify
        return super().build_connection_pool_key_attributes(request, trusted, *rest)

    def send(self, request: requests.PreparedRequest, *_: Any, **options: Any) -> requests.Response:
        """Return the whole answer; the library's own *options* for time do not count."""
        for number in range(TRIES):
            response = self._answer(request, options)
            pause = _pause(response, number)
            if pause is None or number + 1 == TRIES or not self._busy(response):
                break
            time.sleep(pause)
        return response

    def _answer(
        self, request: requests.PreparedRequest, options: Mapping[str, Any]
    ) -> requests.Response:
        """Return one answer, read to its end."""
        try:
            timeout = _seconds_left()
            response = super().send(request, **{**options, "stream": True, "timeout": timeout})
            with response.raw as raw:
                body = raw.read(LARGEST + 1, decode_content=True)
        except DecodeError:
            raise requests.ConnectionError(HTTPException()) from None
        except (HTTPError, OversizeError, TimeoutError) as error:
            raise requests.ConnectionError(error) from None
        if len(body) > LARGEST:  # now that it is unpacked
            raise requests.ConnectionError(OversizeError())
        response.raw = urllib3.HTTPResponse(io.BytesIO(body), preload_content=False)
        return response


def _pause(response: requests.Response, number: int) -> float | None:
    """Return the seconds before the next try, None if the server asks for too many."""
    pause = FIRST_PAUSE * 2**number
    with suppress(KeyError, InvalidHeader, ValueError, OverflowError):  # nothing, or nonsense
        pause = Retry().parse_retry_after(response.headers["Retry-After"])
    return None if pause > min(LONGEST_PAUSE, _until.get() - time.monotonic()) else pause


class _Session(requests.Session):
    """Session: connects by *adapter*, follows redirections to the same host, port and scheme."""

    def __init__(self, adapter: HTTPAdapter) -> None:
        super().__init__()
        self.mount("https://", adapter)
        self.mount("http://", adapter)
        self.headers["Accept-Encoding"] = "identity"  # nothing asked for is worth packing
        # else requests takes a login from ~/.netrc, in place of the one that is given
        self.auth = lambda request: request

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return the address an answer redirects to, if one may go there."""
        with suppress(ValueError):  # it is no address, or no text
            target, here = super().get_redirect_target(resp), str(resp.url)
            if urlsplit(here)[:2] == urlsplit(urljoin(here, target or ""))[:2]:
                return target
        return None

    def rebuild_auth(self, *_: Any) -> None:
        """Leave the login as it is: it is for this server, and ~/.netrc has none to put there."""


def library_session(
    context: ssl.SSLContext, busy: Callable[[requests.Response], bool] = is_busy
) -> requests.Session:
    """Return a session for a vendor's library; *busy* says which answers are not the last."""
    return _Session(_Adapter(context, busy, strict=False))


def strict_session(context: ssl.SSLContext) -> requests.Session:
    """Return a session that trusts and sends no more than it is told."""
    return _Session(_Adapter(context, is_busy, strict=True))


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
            with patience():
                return self._send(method, path, **options)
        except (requests.RequestException, HTTPError) as error:
            raise self.unreachable(error) from None

    def _send(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send a request; redirections are not followed: they would take the credentials along."""
        return self._session.request(
            method, f"{self._base}{path}", allow_redirects=False, **options
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

    def raw(self, response: requests.Response) -> bytes:
        """Return an answer that is the secret itself; raise SourceError if it is a page, or cut."""
        told = response.headers
        whole = "Content-Length" in told or "Transfer-Encoding" in told
        if not whole or "html" in told.get("Content-Type", "").lower():
            raise self.garbled()
        return response.content

    def unexpected(self, status: int, code: str | None = None) -> SourceError:
        """Return the error for an answer that no rule speaks of; *code* is the provider's own."""
        said = f"status {status} ({code})" if code else f"status {status}"
        if status in BUSY:
            return self.failure(
                f"{'failed' if status == 500 else 'is too busy'}: {said} at every try",
                "try again later; its log says why",
            )
        if status in _REDIRECTIONS:
            return self.failure(
                f"wants rotator to go to another address: {said}",
                "rotator sends credentials only to the address in the provider's URL: put the right"
                " one there, such as that of the active node",
            )
        return self.failure(
            f"answered with {said}",
            "is this the address of the secret provider? its log says more",
        )

    def garbled(self) -> SourceError:
        """Return the error for an answer that is not what the provider's documentation promises."""
        return self.failure(
            "gave an answer that is not understood",
            "is this the address of the secret provider, not of a proxy or a login page?",
        )


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
        return json.loads(response.content)
    except (ValueError, RecursionError):
        return None
