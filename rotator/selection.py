"""Which caches of a configuration a run works on, and the keys of all of them."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from rotator.config.load import Config
from rotator.config.types import Provider
from rotator.crypto.keyring import Keyring
from rotator.errors import ConfigError, SourceError
from rotator.server.context import Access, open_keyring

log = structlog.get_logger(__name__)


def select(config: Config, names: Sequence[str], provider: Provider | None) -> list[Access]:
    """
    The caches called *names*, else every one with encryption on, ready to be used.

    Raises:
        ConfigError: There is no such cache, none is left, or a key or format is wrong.
        SourceError: The secret provider cannot be reached.
    """
    if names:
        chosen = [config.cache(name) for name in dict.fromkeys(names)]
    else:
        chosen = [cache for cache in config.caches if not cache.encryption_disabled]
        for cache in config.caches:
            if cache.encryption_disabled:
                log.info("cache is not encrypted, nothing to rotate", cache=cache.name)
    if not chosen:
        raise ConfigError(
            "caches: every cache has encryption disabled, so there is nothing to rotate",
            hint="is this the right configuration?",
        )
    return [Access(config, cache, provider) for cache in chosen]


def all_keyrings(
    config: Config, selected: Sequence[Access], provider: Provider | None
) -> dict[str, Keyring | None]:
    """
    The keys of every encrypted cache by its name; None where they cannot be known now.

    Those that are not *selected* count too: a key may be shared with one of them.
    """
    keyrings = {access.cache.name: access.keyring for access in selected}
    for cache in config.caches:
        if cache.encryption_disabled or cache.name in keyrings:
            continue
        try:
            keyrings[cache.name] = open_keyring(cache, provider)
        except (ConfigError, SourceError) as error:
            log.warning("keys of a cache that is not in this run are not known", error=str(error))
            keyrings[cache.name] = None
    return keyrings
