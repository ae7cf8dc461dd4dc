"""
TLS context: builds the client side, for Redis and for secret providers alike.

It also knows why a connection fails: one table of causes says it of a provider, and `reason_of`
says it in a few words of anything. Nothing of what was sent to a server is ever repeated.
"""

import os
import re
import socket
import ssl
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.client import HTTPException, IncompleteRead
from typing import IO, Any, NamedTuple

from rotator.errors import ConfigError, SecretError, SourceError

# RFC 8446, appendix B.4
_SUITES_OF_1_3 = {
    *("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"),
    *("TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"),
}
_CERTIFICATES = {"auth-rsa", "auth-ecdsa"}
_EXCHANGES = {"kx-rsa", "kx-dhe", "kx-ecdhe"}
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_ADDRESS = "is this the address of the secret provider, and not of something else?"
_DEPTH = 20  # errors looked at, of those that wrap each other


class OversizeError(OSError):
    """Oversize: an answer is larger than any secret."""


class Cause(NamedTuple):
    """Cause: tells an error by its type and its own words, and says what a provider did."""

    kind: type[BaseException] | tuple[type[BaseException], ...]
    sentence: str
    hint: str
    code: str = ""


_NOT_TRUSTED = "the certificate of {source} is not trusted: {reason}"
# The first row counts that an error is, or wraps.
_CAUSES = (
    Cause(
        OSError,
        "the proxy on the way to {source} refused to connect",
        "does the proxy need a login, and does it allow this address? see HTTPS_PROXY and NO_PROXY",
        "Tunnel connection failed",
    ),
    Cause(OversizeError, "{source} sent more than any secret holds", _ADDRESS),
    Cause(
        ssl.SSLCertVerificationError,
        *(_NOT_TRUSTED, "use the name or the address that its certificate is for", "mismatch"),
    ),
    Cause(
        ssl.SSLCertVerificationError,
        _NOT_TRUSTED,
        "have its certificate renewed; is this machine's clock right?",
        "expired|not yet valid",
    ),
    Cause(ssl.SSLCertVerificationError, _NOT_TRUSTED, "{trust}"),
    Cause(
        ssl.SSLError,
        "{source} does not speak TLS",
        "{plain}",
        # OpenSSL's words for an answer that is no TLS at all, in its versions so far
        "WRONG_VERSION_NUMBER|HTTP_REQUEST|RECORD_LAYER_FAILURE|PACKET_LENGTH_TOO_LONG",
    ),
    Cause(
        ssl.SSLError,
        "{source} refused the client certificate, or that there is none: {reason}",
        "give the client certificate that it expects, and its key, in the provider's URL",
        "ALERT.*CERTIFICATE|ALERT.*UNKNOWN_CA",
    ),
    Cause(
        ssl.SSLError,
        "the TLS handshake with {source} failed: {reason}",
        "does the server need a client certificate, or offer only old versions of TLS?",
    ),
    Cause(
        ConnectionRefusedError,
        "{source} refused the connection",
        "does the server run, and is the port right?",
    ),
    Cause(
        socket.gaierror,
        "the name of {source} does not resolve",
        "check the host in the provider's URL",
    ),
    Cause(
        TimeoutError,
        "{source} did not answer in time",
        "is there a firewall or a proxy on the way? see HTTPS_PROXY and NO_PROXY",
    ),
    Cause(
        (ConnectionError, IncompleteRead),
        "{source} closed the connection",
        "is the port right, and is there a proxy on the way?",
    ),
    Cause(HTTPException, "{source} gave an answer that is not understood", _ADDRESS),
)


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
    """
    Give *pem* a path for as long as OpenSSL reads it; no folder holds it, whatever ends us.

    In memory where the system can do that, else in a file that has lost its name already.
    """
    # Comments may be in any language, and the locale know ASCII only.
    with _nameless() as file:
        file.write(pem.encode("ascii", "ignore"))
        file.seek(0)
        yield f"/dev/fd/{file.fileno()}"


def _nameless() -> IO[bytes]:
    """Return a new file without a name, unbuffered."""
    if sys.platform == "linux":
        return os.fdopen(os.memfd_create("rotator-pem"), "w+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)


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


def suite_name(cipher: str) -> str | None:
    """
    Return OpenSSL's name of a suite, which the Orchestrator calls as the IANA does.

    None for those of TLS 1.3, which are not chosen (nor are they in Go). Names are those of
    https://docs.openssl.org/3.0/man1/openssl-ciphers/#cipher-suite-names

    Raises:
        ValueError: It is none of TLS 1.2 that encrypts and authenticates by a certificate.
    """
    if cipher in _SUITES_OF_1_3:
        return None
    name = cipher if not cipher.startswith("TLS_") else _renamed(cipher)
    if name not in _suites():
        raise ValueError("it is not a TLS 1.2 suite with encryption and a certificate")
    return name


@cache
def _suites() -> frozenset[str]:
    """Return OpenSSL's names of the suites that can be chosen, whatever its security level."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("ALL:@SECLEVEL=0")  # without those that do not encrypt
    return frozenset(
        str(one["name"])
        for one in map(dict[str, Any], context.get_ciphers())
        if one["auth"] in _CERTIFICATES and one["kea"] in _EXCHANGES
    )


def _renamed(cipher: str) -> str:
    """Return OpenSSL's name for one of the IANA's."""
    name = cipher.removeprefix("TLS_").replace("_WITH_", "_").replace("AES_", "AES")
    name = name.replace("_CBC_", "_").replace("CHACHA20_POLY1305_SHA256", "CHACHA20_POLY1305")
    return name.removeprefix("RSA_").replace("_", "-")


def reason_of(error: BaseException, unknown: str = "unknown reason") -> str:
    """Return the reason that OpenSSL or the system gives for *error*, in a few words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = error.verify_message or "it could not be verified"
    elif isinstance(error, ssl.SSLError):
        reason = (error.reason or unknown).replace("_", " ")
    else:
        reason = getattr(error, "strerror", None) or unknown
    return " ".join(reason.lower().split()).rstrip(".")


def unreachable(source: str, error: BaseException, *, trust: str, plain: str = "") -> SourceError:
    """
    Return the error for a request to *source* that failed with *error*, of whatever library.

    *trust* is the hint that says how to make its certificate trusted, *plain* the one for a server
    that speaks no TLS.
    """
    causes = list(_causes_of(error))
    plain = plain or "is this its HTTPS port?"
    for row in _CAUSES:
        for one in causes:
            if isinstance(one, row.kind) and re.search(row.code, str(one)):
                return SourceError(
                    row.sentence.format(source=source, reason=reason_of(one)),
                    hint=row.hint.format(trust=trust, plain=plain),
                )
    return SourceError(
        f"the request to {source} failed: {type(error).__name__}",
        hint=_ADDRESS,
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


def _refuse_password() -> str:
    """Keep OpenSSL from asking for a pass phrase."""
    raise ValueError("the private key is protected by a pass phrase")


@contextmanager
def usable(field: str, hint: str) -> Iterator[None]:
    """
    Name the field of the configuration in whatever goes wrong with it in the block.

    OpenSSL's own words quote nothing secret.

    Raises:
        ConfigError: Something did.
    """
    try:
        yield
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(f"{field}: cannot be used: {error}", hint=f"it is {hint}") from None
    except OSError as error:
        raise ConfigError(
            f"{field}: cannot be read: {reason_of(error)}", hint=f"it is {hint}"
        ) from None
