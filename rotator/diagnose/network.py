"""
Network: tries DNS, TCP, TLS and the first reply.

A client library does all of it at once and reports what it last saw: a plain server that is spoken
to with TLS is a timeout to it. Here every step fails by itself, with its cause and its remedy. No
login is sent, so nothing secret goes to a server that is not what it should be.
"""

import socket
import ssl
from dataclasses import dataclass

from rotator.config.types import Address
from rotator.errors import ServerError
from rotator.tls import client_context, reason_of

TIMEOUT_SECONDS = 3.0

_PING = b"*1\r\n$4\r\nPING\r\n"  # proxies do not take it without its length
_NAME_REMEDY = "write a name that is in the certificate into redis.addresses"
# by X509_V_ERR_...: https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/
_REMEDIES = {10: "renew the server's certificate", 62: _NAME_REMEDY, 64: _NAME_REMEDY}


@dataclass(frozen=True)
class PingReply:
    """Ping reply: holds the answer to a PING before login, and the TLS version (None: plain)."""

    reply: bytes
    tls: str | None

    @property
    def of_redis(self) -> bool:
        """Return whether it is of the kind that Redis gives, a welcome or an error."""
        return self.reply[:1] in {b"+", b"-"}


def resolve_host(address: Address) -> list[str]:
    """
    Return the IP addresses of the host.

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
    if context is not None:
        return _ping_with_tls(address, context, field)
    reply = _ping(address)
    if reply.of_redis:
        return reply
    if _speaks_tls(address):
        raise ServerError(
            f"{address} speaks TLS, but this cache is configured without it",
            hint=f"name a profile of the tls section in {field}",
        )
    raise ServerError(
        f"{address} does not answer as Redis does", hint="is it the right port in redis.addresses?"
    )


def _ping_with_tls(address: Address, context: ssl.SSLContext, field: str) -> PingReply:
    """Say PING through TLS, and tell in which way it fails."""
    try:
        with (
            _connected(address) as plain,
            context.wrap_socket(plain, server_hostname=address.host) as wrapped,
        ):
            return _ping_through(wrapped, address, field)
    except ssl.SSLCertVerificationError as error:
        name_ca = f"name the certificate of its CA as caFile in the profile that {field} names"
        raise ServerError(
            f"the certificate of {address} is not trusted: {error.verify_message}",
            hint=_REMEDIES.get(error.verify_code, name_ca),
        ) from None
    except OSError as error:
        if _ping(address).of_redis:
            raise ServerError(
                f"{address} does not speak TLS, but this cache is configured with it",
                hint=f"remove {field}, or give the server's TLS port in redis.addresses",
            ) from None
        fields = "minVersion" + ("" if "PROTOCOL" in str(error) else ", enabledCiphers, certFile")
        raise ServerError(
            f"the TLS handshake with {address} failed: {_reason(error)}",
            hint=f"check {fields} in the profile that {field} names, and the server's log",
        ) from None


def _ping_through(wrapped: ssl.SSLSocket, address: Address, field: str) -> PingReply:
    """
    Say PING after the handshake.

    With TLS 1.3 only now a server refuses a client certificate, or that there is none.
    """
    reply, fault = b"", "it closed the connection"
    try:
        wrapped.sendall(_PING)
        reply = wrapped.recv(256)
    except OSError as error:
        fault = _reason(error)
    if not reply:
        raise ServerError(
            f"{address} refused the connection after the TLS handshake: {fault}",
            hint="it may require a client certificate: set certFile and keyFile in the"
            f" profile that {field} names",
        )
    return PingReply(reply, wrapped.version())


def _ping(address: Address) -> PingReply:
    """Say PING without TLS; the reply is empty if the server hangs up."""
    try:
        with _connected(address) as plain:
            plain.sendall(_PING)
            return PingReply(plain.recv(256), None)
    except OSError:
        return PingReply(b"", None)


def _speaks_tls(address: Address) -> bool:
    """Return whether a TLS handshake gets anywhere, with whomever."""
    try:
        with (
            _connected(address) as plain,
            client_context(verified=False).wrap_socket(plain),
        ):
            return True
    except ssl.SSLError as error:
        return "ALERT" in str(error)  # it refused us in the words of TLS
    except OSError:
        return False


def _connected(address: Address) -> socket.socket:
    """Open a TCP connection."""
    return socket.create_connection(address, TIMEOUT_SECONDS)


def _reason(error: OSError | UnicodeError) -> str:
    """Return in a few words why a step failed."""
    if isinstance(error, TimeoutError):
        return f"no answer in {TIMEOUT_SECONDS:g} seconds"
    if isinstance(error, ssl.SSLEOFError):
        return "it closed the connection"
    return reason_of(error, getattr(error, "strerror", None) or str(error))
