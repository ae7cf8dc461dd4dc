"""Where a node listens: host and port, as `redis.addresses` writes them."""

from __future__ import annotations

from typing import NamedTuple


class Address(NamedTuple):
    """A host name or IP address, and a port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """
        Read `host:port`, or `[v6]:port`.

        Raises:
            ValueError: There is no port, it is no number from 1 to 65535, or there is no host.
        """
        host, colon, port = text.strip().rpartition(":")
        if not colon or not host or not port.isascii() or not port.isdigit():
            raise ValueError("expected host:port")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            raise ValueError("an IPv6 address is written as [address]:port")
        if not 0 < int(port) < 65536 or not host:
            raise ValueError("expected a port from 1 to 65535")
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
