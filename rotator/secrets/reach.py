"""Why a server could not be reached, in words that hold nothing of what was sent to it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

from rotator.errors import SourceError

# what OpenSSL calls an answer that is no TLS at all, in its versions so far
_NO_TLS = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"}
)
_DEPTH = 20


def unreachable(source: str, error: BaseException, *, trust: str, plain: str = "") -> SourceError:
    """
    The error for a request to *source* that failed on the way with *error*, of whatever library.

    *trust* is the hint that says how to make its certificate trusted, *plain* the one for a server
    that speaks no TLS.
    """
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            reason = cause.verify_message or "it could not be verified"
            return SourceError(
                f"the certificate of {source} is not trusted: {_tidy(reason)}", hint=trust
            )
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            return _no_tls(source, cause, plain)
    for kind, problem, hint in _WAYS:
        if any(isinstance(cause, kind) for cause in causes):
            return SourceError(f"{source} {problem}", hint=hint)
    return SourceError(
        f"{source} could not be asked: {type(error).__name__}",
        hint="is the address that of the secret provider, and not of something else?",
    )


_WAYS: tuple[tuple[type[BaseException], str, str], ...] = (
    (
        ConnectionRefusedError,
        "refused the connection",
        "does the server run, and is the port right?",
    ),
    (socket.gaierror, "has a name that does not resolve", "check the host in the provider's URL"),
    (
        TimeoutError,
        "did not answer in time",
        "is there a firewall or a proxy on the way? HTTPS_PROXY and NO_PROXY are followed",
    ),
    (
        ConnectionError,
        "broke the connection",
        "is the port right, and is there a proxy on the way?",
    ),
)


def _no_tls(source: str, error: ssl.SSLError, plain: str) -> SourceError:
    """The error for a handshake that failed."""
    if error.reason in _NO_TLS:
        return SourceError(
            f"{source} does not speak TLS", hint=plain or "is the port that of its HTTPS?"
        )
    code = error.reason or "unknown reason"
    reason = _tidy(code.replace("_", " "))
    if "ALERT" in code and ("CERTIFICATE" in code or "UNKNOWN_CA" in code):
        return SourceError(
            f"{source} refused the client certificate, or that there is none: {reason}",
            hint="give the client certificate that it expects, and its key, in the provider's URL",
        )
    return SourceError(
        f"{source} and rotator found no common TLS: {reason}",
        hint="does the server want a client certificate, or offer only old versions of TLS?",
    )


def _tidy(reason: str) -> str:
    """As messages are written: on one line, lower case, no full stop."""
    return " ".join(reason.lower().split()).rstrip(".")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it wraps: as cause, as context, or as an argument (requests, azure)."""
    seen: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting and len(seen) < _DEPTH:
        one = waiting.pop(0)
        if not isinstance(one, BaseException) or one in seen:
            continue
        seen.append(one)
        yield one
        wrapped = [getattr(one, name, None) for name in ("reason", "inner_exception")]
        waiting += [one.__cause__, one.__context__, *wrapped, *one.args]
