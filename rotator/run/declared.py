"""Declared: says what the configuration tells of caches that the servers themselves cannot."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import structlog

from rotator.config.load import RotatorConfig
from rotator.config.schema import CacheConfig
from rotator.config.types import Provider
from rotator.crypto.keyring import Key
from rotator.errors import ConfigError, SourceError
from rotator.retirement.places import Declarations
from rotator.server.context import scope_digest
from rotator.sweep.scope import RunOptions
from rotator.tally.tally import ACCEPTABLE, Outcome

_OUTSIDE, _EMPTY = "outside", "empty"  # acceptable, and no outcome of a visit
_COUNT = re.compile(r"[0-9]{1,18}")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Listing:
    """
    Listing: the keys of a cache that is never swept, because of its type or with encryption off.

    *key_ids* are those of all keys that it lists; None: they cannot be known now.
    """

    reason: Literal["disabled", "cluster"]
    key_ids: tuple[str, ...] | None


def other_listings(config: RotatorConfig, provider: Provider | None) -> dict[str, Listing]:
    """Return the keys that caches list which are never swept, by the names of the caches."""
    listings = {}
    for cache in config.every:
        if isinstance(cache, CacheConfig) and not cache.encryption.disabled:
            continue
        key_ids = None
        try:
            if (refs := cache.listed_key_refs) is not None:
                keys = [Key.from_text(ref.resolve(provider), ref.field) for ref in refs]
                key_ids = tuple(key.id for key in keys)
        except (ConfigError, SourceError) as error:
            log.warning("keys of a cache that is not swept are not known", error=str(error))
        reason: Literal["disabled", "cluster"] = (
            "disabled" if isinstance(cache, CacheConfig) else "cluster"
        )
        listings[cache.name] = Listing(reason, key_ids)
    return listings


def declarations(
    config: RotatorConfig,
    cache: CacheConfig,
    *,
    accepted: Mapping[Outcome, int],
    outside: int | None = None,
    empty: bool = False,
) -> Declarations:
    """Return what the operator declares of a cache: in its configuration, and for this run."""
    settings = config.settings(cache)
    assume, only = settings.assume, settings.replicas.only
    gone, caches = assume.decommissioned, assume.caches
    return Declarations(
        retention=settings.backups.retention,
        rdb=assume.rdb.reason if assume.rdb else None,
        aof=assume.aof.reason if assume.aof else None,
        outside=assume.outside.reason if assume.outside else None,
        replicas=assume.replicas.reason if assume.replicas else None,
        only=None if only is None else tuple(map(str, (*cache.addresses, *only))),
        decommissioned=dict.fromkeys(map(str, gone.value), gone.reason) if gone else {},
        caches=dict.fromkeys(caches.value, caches.reason) if caches else {},
        identity=assume.identity.reason if assume.identity else None,
        accepted=accepted,
        outside_accepted=outside,
        empty=empty,
        scope=scope_digest(config, cache),
        addresses=tuple(map(str, cache.addresses)),
    )


def parse_accepted(given: Iterable[str]) -> dict[str, Any]:
    """
    Return the fields of `RunOptions` that say what is accepted, of `--accept` as *given*.

    Raises:
        ConfigError: One is not OUTCOME=COUNT.
    """
    found: dict[str, Any] = {"accept": {}}
    for text in given:
        outcome, _, count = text.partition("=")
        if text == _EMPTY:
            found["accept_empty"] = True
        elif outcome not in {*ACCEPTABLE, _OUTSIDE} or not _COUNT.fullmatch(count):
            raise ConfigError(
                f"--accept {text[:80]}: expected OUTCOME=COUNT, such as undecryptable=12, or empty",
                hint=f"what can be accepted: {', '.join((*ACCEPTABLE, _OUTSIDE, _EMPTY))}",
            )
        elif outcome == _OUTSIDE:
            found["accept_outside"] = int(count)
        else:
            found["accept"][Outcome(outcome)] = int(count)
    return found


def declared_of_all(config: RotatorConfig, plan: RunOptions) -> dict[str, Declarations]:
    """Return what is declared of each cache, in this run of *plan* or not, by its name."""
    given: dict[str, Any] = {"outside": plan.accept_outside, "empty": plan.accept_empty}
    return {
        cache.name: declarations(config, cache, accepted=plan.accept, **given)
        for cache in config.caches
    }
