"""Addresses: tell which of them are those of one server."""

import socket
from collections.abc import Iterable
from dataclasses import dataclass, field

from rotator.config.types import Address


@dataclass(slots=True)
class AddressBook:
    """Address book: tells which addresses are those of one server, as far as names resolve."""

    _known: dict[str, frozenset[str]] = field(default_factory=dict)

    def numeric(self, address: str) -> frozenset[str]:
        """Return `ip:port` for each IP address of a `host:port`; none if it does not resolve."""
        if address not in self._known:
            try:
                host, port = Address.parse(address)
                found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except (OSError, ValueError):
                self._known[address] = frozenset()
            else:
                self._known[address] = frozenset(
                    str(Address(str(place[0]), port)) for *_, place in found
                )
        return self._known[address]

    def alone(self, address: str, other: str) -> bool:
        """Return whether both are the one address of the same server."""
        here = self.numeric(address)
        return len(here) == 1 and here == self.numeric(other)

    def same(self, address: str, others: Iterable[str]) -> bool:
        """Return whether *address* is, or reaches, one of *others*."""
        here = self.numeric(address)
        return any(other == address or here & self.numeric(other) for other in others)
