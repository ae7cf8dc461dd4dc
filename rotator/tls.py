"""
TLS context: builds the client side, for Redis and for secret providers alike.

It also knows why a connection fails: one table of causes says it of a provider, and `reason_of`
says it in a few words of anything. Nothing of what was sent to a server is ever repeated.
"""

from __future__ import annotations

import os
import socket
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rotator.errors import SourceError

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
# what OpenSSL calls an answer that is no TLS at all, in its versions so far
_NO_TLS = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"}
)
# the first that an error is, or wraps, counts: what a provider did, and what to look at
_CAUSES: tuple[tuple[type[BaseException], str, str], ...] = (
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
_DEPTH = 20  # errors looked at, of those that wrap each other


def client_context(min_version: str = "1.2", *, verified: bool = True) -> ssl.SSLContext:
    """
    Return a context that trusts the system, and checks the host name.

    An intermediate CA that is trusted is enough by itself, as in the Orchestrator's Go. Not
    *verified* it takes any server, which is good for nothing but to see whether one speaks TLS.
    """
    context = ssl.create_default_context()
    context.minimum_version = _VERSIONS[min_version]
    # Python 3.13 sets both by itself; the same trust for the same file on every Python.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def add_trusted(context: ssl.SSLContext, pem: str) -> None:
    """
    Add the certificates in *pem* to what *context* trusts.

    Raises:
        ssl.SSLError: There are none.
    """
    # Comments between the certificates may be in any language; ssl takes ASCII only.
    context.load_verify_locations(cadata=pem.encode("ascii", "ignore").decode())


def show_certificate(context: ssl.SSLContext, cert_file: str, key_file: str | None = None) -> None:
    """
    Show the certificate to servers that ask for one; without *key_file* it holds its key too.

    Raises:
        OSError: A file cannot be read, or (as ssl.SSLError) it is no PEM, or the two do not match.
        ValueError: The key is under a pass phrase.
    """
    # Without a password here, OpenSSL would ask for one on the terminal.
    context.load_cert_chain(cert_file, key_file, password=_refuse_password)
    # TLS 1.3 servers that ask for the certificate late (IIS does) need this.
    context.post_handshake_auth = True


@contextmanager
def pem_file(pem: str) -> Iterator[str]:
    """Keep *pem* in a file for as long as OpenSSL reads it, for our own eyes only."""
    handle, path = tempfile.mkstemp(prefix="rotator-")
    try:
        with os.fdopen(handle, "w") as file:
            # Comments may be in any language, and the locale know ASCII only.
            file.write(pem.encode("ascii", "ignore").decode())
        yield path
    finally:
        Path(path).unlink()


def openssl_cipher(cipher: str) -> str | None:
    """
    Return OpenSSL's name of a suite, which the Orchestrator calls as the IANA does.

    None for those of TLS 1.3, which are not chosen (nor are they in Go). Names are those of
    https://docs.openssl.org/3.0/man1/openssl-ciphers/#cipher-suite-names
    """
    if not cipher.startswith("TLS_"):
        return cipher
    if "_WITH_" not in cipher:
        return None
    name = cipher.removeprefix("TLS_").replace("_WITH_", "_").replace("AES_", "AES")
    name = name.replace("_CBC_", "_").replace("CHACHA20_POLY1305_SHA256", "CHACHA20_POLY1305")
    return name.removeprefix("RSA_").replace("_", "-")


def reason_of(error: BaseException, unknown: str = "unknown reason") -> str:
    """Return the reason that OpenSSL or the system gives for *error*, in a few words."""
    if isinstance(error, ssl.SSLError):
        return _tidy((error.reason or unknown).replace("_", " "))
    return _tidy(getattr(error, "strerror", None) or unknown)


def unreachable(source: str, error: BaseException, *, trust: str, plain: str = "") -> SourceError:
    """
    Return the error for a request to *source* that failed with *error*, of whatever library.

    *trust* is the hint that says how to make its certificate trusted, *plain* the one for a server
    that speaks no TLS.
    """
    causes = list(_causes_of(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            reason = _tidy(cause.verify_message or "it could not be verified")
            return SourceError(f"the certificate of {source} is not trusted: {reason}", hint=trust)
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            return _no_handshake(source, cause, plain)
    for kind, problem, hint in _CAUSES:
        if any(isinstance(cause, kind) for cause in causes):
            return SourceError(f"{source} {problem}", hint=hint)
    return SourceError(
        f"{source} could not be asked: {type(error).__name__}",
        hint="is the address that of the secret provider, and not of something else?",
    )


def _no_handshake(source: str, error: ssl.SSLError, plain: str) -> SourceError:
    """Return the error for a handshake that failed."""
    code = error.reason or ""
    if code in _NO_TLS:
        return SourceError(
            f"{source} does not speak TLS", hint=plain or "is the port that of its HTTPS?"
        )
    if "ALERT" in code and ("CERTIFICATE" in code or "UNKNOWN_CA" in code):
        return SourceError(
            f"{source} refused the client certificate, or that there is none: {reason_of(error)}",
            hint="give the client certificate that it expects, and its key, in the provider's URL",
        )
    return SourceError(
        f"{source} and rotator found no common TLS: {reason_of(error)}",
        hint="does the server want a client certificate, or offer only old versions of TLS?",
    )


def _causes_of(error: BaseException) -> Iterator[BaseException]:
    """Yield *error* and all it wraps: as cause, context or argument (requests, azure)."""
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


def _tidy(reason: str) -> str:
    """Return it as messages are written: on one line, lower case, no full stop."""
    return " ".join(reason.lower().split()).rstrip(".")


def _refuse_password() -> str:
    """Keep OpenSSL from asking for a pass phrase."""
    raise ValueError("the private key is protected by a pass phrase")
