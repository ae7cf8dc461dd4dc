"""
Login: connects a socket, says who we are, and keeps the password out of sight.

What a server answers to AUTH may repeat the password, so of that answer only known phrases are ever
shown, in our own copy of them.
"""

import socket
import ssl
from collections.abc import Iterable
from typing import NoReturn

from rotator.config.types import Address

# What servers say; https://redis.io/docs/latest/commands/auth/ and acl.c.
_PHRASES = (
    "without any password configured",
    "invalid username-password pair or user is disabled",
    "invalid password",
    "wrong number of arguments",
    "unknown command",
    "max number of clients reached",
    "loading the dataset in memory",
    "running in protected mode",
)
_SHORT = 8
_CODES = ("WRONGPASS", "NOAUTH", "NOPERM", "DENIED", "LOADING", "BUSY", "MASTERDOWN", "MISCONF")


class Login:
    """Login: holds ACL user, password and TLS context, if any; never shown, never pickled."""

    def __init__(
        self,
        username: str | None = None,
        password: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.username = username
        self._password = password
        self._tls = tls

    def __repr__(self) -> str:
        return f"Login(username={self.username!r}, tls={self._tls is not None})"

    @property
    def has_password(self) -> bool:
        """True if a password is sent to whoever is connected to."""
        return self._password is not None

    def __getstate__(self) -> NoReturn:
        raise TypeError("a login must not be pickled")

    def command(self) -> tuple[str, ...] | None:
        """Return what logs in; None where there is neither user nor password."""
        if not (self.username or self._password):
            return None
        user = (self.username,) if self.username else ()
        return ("AUTH", *user, self._password or "")

    def hidden(self) -> tuple[str, ...]:
        """Return what no text from a server may show."""
        return (self._password,) if self._password else ()

    def hide(self, said: bytes) -> bytes:
        """Return a text of a server without the password; a short one could be any word of it."""
        password = (self._password or "").encode()
        return said.replace(password, b"***") if len(password) >= _SHORT else said

    def connect(self, address: Address, timeout: float) -> socket.socket:
        """
        Return a socket that is connected, through TLS where there is a context.

        A name with several addresses is tried at each, until one answers.

        Raises:
            OSError: Nobody answers, or TLS failed.
            UnicodeError: The host is no name.
        """
        plain = socket.create_connection(address, timeout)
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if self._tls is not None:
                return self._tls.wrap_socket(plain, server_hostname=address.host)
        except BaseException:
            plain.close()
            raise
        return plain


def login_reason(said: str) -> str:
    """Return why a login was refused, in our own copy of what the server *said*."""
    return _first(_PHRASES, said) or _first(_CODES, said) or "it does not say why"


def _first(known: Iterable[str], said: str) -> str:
    return next((one for one in known if one in said), "")
