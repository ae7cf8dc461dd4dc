"""What `rotator check` knows while it goes from step to step."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rotator.config.load import Config
from rotator.config.schema import CacheConfig
from rotator.config.types import Address
from rotator.diagnose.network import Greeting
from rotator.secrets.provider import provider_from_url
from rotator.server.context import Access
from rotator.server.store import Store


@dataclass(frozen=True)
class Advice:
    """What a step saw that works, but may not for long, and what to do about it."""

    detail: str
    remedy: str


@dataclass(frozen=True)
class Next(Advice):
    """What a step saw where nothing is wrong, and what comes next."""


@dataclass
class Probe:
    """What is being looked at, and what earlier steps found out about it."""

    config: Config
    cache: CacheConfig
    provider_url: str | None = field(repr=False)  # it may hold a token
    state: Path | None = None
    address: Address | None = None
    opened: Access | None = None
    greeting: Greeting | None = None
    store: Store | None = None
    infos: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def access(self) -> Access:
        """The cache with its secrets resolved; there once the step `key material` is through."""
        if self.opened is None:
            self.opened = Access(self.config, self.cache, provider_from_url(self.provider_url))
        return self.opened

    @property
    def reached(self) -> Address:
        """Where the node is reached."""
        if self.address is None:
            raise ValueError("a step of a node was tried without one")
        return self.access.settings.address_map.get(self.address, self.address)

    @property
    def node(self) -> Store:
        """The node, connected to and logged in."""
        if self.store is None:
            if self.address is None:
                raise ValueError("a step of a node was tried without one")
            self.store = self.access.connect(self.address)
        return self.store

    def info(self, section: str) -> dict[str, str]:
        """One section of INFO, asked for once."""
        if section not in self.infos:
            self.infos[section] = self.node.info(section)
        return self.infos[section]

    def at(self, address: Address) -> Probe:
        """The same for one address."""
        known = (self.config, self.cache, self.provider_url, self.state)
        return Probe(*known, address, self.opened)
