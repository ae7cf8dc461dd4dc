"""
What two machines must agree on before one sweeps for the other, in a form that may travel.

Digests tell that something differs, not what: of the keys only what their ids say goes in, of the
configuration only what is not secret. Where a reference stands, the reference counts; that both
machines find the same key behind it, the key ids say. What is in a TLS profile may differ: it says
how this machine gets there.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Self

from rotator.config.types import SecretRef
from rotator.server.context import Access


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Digests of a cache's keys and formats, and of everything else that is configured for it."""

    cache: str
    codec: str
    settings: str

    @classmethod
    def of(cls, access: Access) -> Self:
        """
        The fingerprint of a cache with encryption on.

        Raises:
            ValueError: It has none.
        """
        if access.codec is None:
            raise ValueError("a cache without encryption is not swept")
        cache = access.cache
        secrets = (cache.current, *cache.old, cache.username, cache.password)
        said = [
            cache.index,
            [str(address) for address in cache.addresses],
            [_shown(secret) for secret in secrets],
            cache.tls,
            [cache.disable_prefix, cache.hashing_disabled],
            repr(access.settings),
        ]
        digest = hashlib.sha256(json.dumps(said).encode()).hexdigest()
        return cls(cache.name, access.codec.digest, digest)

    def difference(self, other: Fingerprint) -> str | None:
        """How this machine's differs from that of the *other*, in a few words; None: not at all."""
        if self.codec != other.codec:
            return f"its keys or formats of the cache {self.cache} are not those of this machine"
        if self.settings != other.settings:
            return f"its configuration of the cache {self.cache} is not that of this machine"
        return None


def _shown(secret: SecretRef | None) -> str | None:
    """What may be said of a secret: the reference, or that there is a value."""
    return None if secret is None else secret.display
