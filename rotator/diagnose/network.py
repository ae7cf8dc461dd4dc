"""
The way to a server, one step at a time: its name, a TCP connection, TLS, the first words.

A client library does all of it at once and reports what it last saw: a plain server that is spoken
to with TLS is a timeout to it. Here every step fails by itself, with its cause and its remedy. No
login is sent, so nothing secret goes to a server that is not what it should be.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass

from rotator.config.types import Address
from rotator.errors import ServerError

TIMEOUT_SECONDS = 3.0

_PING = b"PING\r\n"
# X509_V_ERR_...: https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/
_EXPIRED, _MISMATCHES = 10, (62, 64)


@dataclass(frozen=True)
class PingReply:
    """The server's answer to a PING before login, and the TLS version, or None without TLS."""

    reply: bytes
    tls: str | None


def resolve_host(address: Address) -> list[str]:
    """
    The IP addresses of the host.

    Raises:
        ServerError: There are none.
    """
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ServerError(
            f"{address.host} does not resolve: {_reason(error)}",
            hint="check the name in redis.addresses, and name resolution on this machine",
        ) from None
    return list(dict.fromkeys(str(place[4][0]) for place in found))


def check_tcp(address: Address) -> None:
    """
    Open a TCP connection and close it.

    Raises:
        ServerError: It is refused, or nobody answers.
    """
    try:
        _connected(address).close()
    except ConnectionRefusedError:
        raise ServerError(
            f"connection refused: nothing listens on port {address.port} of {address.host}",
            hint="start the server, or correct the port in redis.addresses; does the server's"
            " `bind` setting let this machine in?",
        ) from None
    except OSError as error:
        raise ServerError(
            f"no TCP connection to {address}: {_reason(error)}",
            hint="check the address, the route and the firewalls on the way",
        ) from None


def check_tls(address: Address, context: ssl.SSLContext | None, field: str) -> PingReply:
    """
    Say PING, through TLS if there is a *context*; *field* is where TLS is configured.

    Raises:
        ServerError: TLS fails, or one side speaks it and the other does not.
    """
    return _greet_plainly(address, field) if context is None else _greet(address, context, field)


def _greet_plainly(address: Address, field: str) -> PingReply:
    """PING without TLS."""
    reply = _say_ping(address)
    if reply[:1] in {b"+", b"-"}:
        return PingReply(reply, None)
    if _speaks_tls(address):
        raise ServerError(
            f"{address} speaks TLS, and this cache is configured without",
            hint=f"name a profile of the tls section in {field}",
        )
    raise ServerError(
        f"{address} does not answer as Redis does", hint="is it the right port in redis.addresses?"
    )


def _greet(address: Address, context: ssl.SSLContext, field: str) -> PingReply:
    """PING through TLS."""
    try:
        with (
            _connected(address) as plain,
            context.wrap_socket(plain, server_hostname=address.host) as wrapped,
        ):
            return _ping_through(wrapped, address, field)
    except ssl.SSLCertVerificationError as error:
        raise ServerError(
            f"the certificate of {address} is not trusted: {error.verify_message}",
            hint=_certificate_remedy(error.verify_code, field),
        ) from None
    except OSError as error:
        if _say_ping(address)[:1] in {b"+", b"-"}:
            raise ServerError(
                f"{address} does not speak TLS, and this cache is configured with it",
                hint=f"remove {field}, or give the server's TLS port in redis.addresses",
            ) from None
        fields = (
            "minVersion" if "PROTOCOL" in str(error) else "minVersion, enabledCiphers, certFile"
        )
        raise ServerError(
            f"the TLS handshake with {address} failed: {_reason(error)}",
            hint=f"see {fields} in the profile that {field} names, and the server's log",
        ) from None


def _ping_through(wrapped: ssl.SSLSocket, address: Address, field: str) -> PingReply:
    """
    PING after the handshake: with TLS 1.3 only now a server refuses a client certificate, or that
    there is none.
    """
    reply, fault = b"", "it hung up"
    try:
        wrapped.sendall(_PING)
        reply = wrapped.recv(256)
    except OSError as error:
        fault = _reason(error)
    if not reply:
        raise ServerError(
            f"{address} refused us after the TLS handshake: {fault}",
            hint="it may want a client certificate that it trusts: certFile and keyFile in the"
            f" profile that {field} names",
        )
    return PingReply(reply, wrapped.version())


def _certificate_remedy(code: int, field: str) -> str:
    """What to do about a certificate that OpenSSL refuses with *code*."""
    if code == _EXPIRED:
        return "renew the server's certificate"
    if code in _MISMATCHES:
        return "write a name that is in the certificate into redis.addresses"
    return f"name the certificate of its CA as caFile in the profile that {field} names"


def _say_ping(address: Address) -> bytes:
    """What comes back for a plain PING; nothing if the server hangs up."""
    try:
        with _connected(address) as plain:
            plain.sendall(_PING)
            return plain.recv(256)
    except OSError:
        return b""


def _speaks_tls(address: Address) -> bool:
    """Whether a TLS handshake gets anywhere; whom it is with does not matter here."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with _connected(address) as plain, context.wrap_socket(plain):
            return True
    except ssl.SSLError as error:
        return "ALERT" in str(error)  # it refused us in the words of TLS
    except OSError:
        return False


def _connected(address: Address) -> socket.socket:
    """A TCP connection."""
    return socket.create_connection(address, TIMEOUT_SECONDS)


def _reason(error: Exception) -> str:
    """What went wrong, in a few words."""
    if isinstance(error, TimeoutError):
        return f"no answer in {TIMEOUT_SECONDS:g} seconds"
    if isinstance(error, ssl.SSLEOFError):
        return "it hung up"
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return (getattr(error, "strerror", None) or str(error)).lower()
