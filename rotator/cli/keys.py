"""`rotator keys`, `keygen`, `fence`: list the keys, make one, say when the last switch was."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from rotator.cli import options
from rotator.console import print_json, print_result, table
from rotator.crypto.keyring import Keyring, generate
from rotator.errors import ConfigError
from rotator.text import rfc3339, short_id, stamp, utc_now

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rotator.config.load import RotatorConfig
    from rotator.config.schema import CacheConfig
    from rotator.retirement.places import Fence

KEYS_EXAMPLES = """\b
Examples:
  rotator keys --config maverics.yaml
  rotator keys --secret-provider secretfile:///etc/secrets.yaml --format json

Exit codes: 0 done; 1 a secret provider failed; 2 usage or configuration.
"""

KEYGEN_EXAMPLES = """\b
Examples:
  (umask 077; rotator keygen > cache_key)
      writes it into a file that nobody else can read
  rotator keygen | tr -d '\\n' | vault kv patch secret/maverics cache_key=-
      writes it into Vault through a pipe, as other users can see arguments

Exit codes: 0 done; 1 the key could not be written out.
"""

FENCE_EXAMPLES = """\b
Examples:
  rotator fence
      the last application has just switched to the current key
  rotator fence --cache shared-redis --at 14:30
      for this cache, the last application switched at 14:30
  rotator fence --show
      what is recorded, and whether it still counts
  rotator fence --cache shared-redis --remove
      undo it: an application still has only the old key

Exit codes: 0 done; 1 the state or a secret provider failed; 2 usage or
configuration.
"""


def keygen_command() -> None:
    """Make a fresh key: 64 hex characters on stdout."""
    print_result(generate())


def keys_command(
    which: options.CachesOptions, output: options.Format = options.ReportFormat.TABLE
) -> None:
    """List the keys: role, key id, where each is configured; never the key itself."""
    # keygen need not wait for these
    from rotator.secrets.provider import provider_from_url  # noqa: PLC0415
    from rotator.server.context import open_config, open_keyring  # noqa: PLC0415

    loaded = open_config(which.config)
    chosen = [loaded.cache(name) for name in which.cache or ()] or list(loaded.caches)
    provider = provider_from_url(which.secret_provider)
    keyrings = [(one, open_keyring(one, provider)) for one in chosen]
    rows = [row for one, keyring in keyrings if keyring for row in _key_rows(one, keyring)]
    if output is options.ReportFormat.JSON:
        print_json({"keys": rows})
        return
    lines: list[tuple[str | None, ...]] = [tuple(row.values()) for row in rows]
    off = [one.name for one in chosen if one.encryption.disabled]
    lines += [(name, None, None, "encryption is off", None) for name in off]
    print_result(table("cache", "role", "key id", "field", "where from", rows=lines))


def _key_rows(cache: CacheConfig, keyring: Keyring) -> list[dict[str, str]]:
    """Return the keys of *cache* as JSON has them, the current one first, never their material."""
    return [
        {
            "cache": cache.name,
            "role": keyring.role(key.id),
            "id": key.id,
            "field": key.field,
            "source": reference.display if reference.is_reference else "in the file",
        }
        for key, reference in zip(keyring.all, cache.key_refs, strict=True)
    ]


def fence_command(
    *,
    at: datetime | None = options.past(
        "--at",
        "Time of the switch: 14:30 (the last one, by the clock of this machine), or a date and time"
        " such as 2026-11-24T14:30Z. Default: now.",
    ),
    show: bool = options.option("--show", "Only show what is recorded."),
    remove: bool = options.option("--remove", "Delete the record."),
    which: options.CachesOptions,
    state: options.StatePath = None,
    output: options.Format = options.ReportFormat.TABLE,
) -> None:
    """
    Record since when no application encrypts with the keys that are old now.

    Redis cannot show whether an application still has only an old key in memory, and writes with it
    tomorrow. Without this record, a verdict rests on an assumption, and says so. The record is for
    the current key and the old keys that are listed now. It stops counting if another key becomes
    current, or if a value is met later under one of these old keys. A new record replaces it.

    Redis is not touched. `rotator run --writers-switched-at` does the same.
    """
    if (at is not None) + show + remove > 1:
        raise ConfigError(
            "--at, --show and --remove do not go together",
            hint="give only one of them",
        )
    from rotator.protection import is_there  # noqa: PLC0415 - see above
    from rotator.secrets.provider import provider_from_url  # noqa: PLC0415 - see above
    from rotator.server.context import open_config  # noqa: PLC0415 - see above
    from rotator.state.database import default_path  # noqa: PLC0415 - see above
    from rotator.state.state import State  # noqa: PLC0415 - see above

    keyrings = _keyrings(open_config(which.config), which, provider_from_url(which.secret_provider))
    fences: dict[str, Fence | None] = dict.fromkeys(keyrings)
    records = not (show or remove)
    if records:
        fences |= _new_fences(keyrings, at or utc_now(), named=bool(which.cache))
    # To look must not leave an empty one behind.
    if records or is_there(state or default_path()):
        with State(state) as opened:
            for name, fence in fences.items():
                if fence is not None:
                    opened.set_fence(name, fence)
                elif remove:
                    opened.drop_fence(name)
            fences = {name: opened.fence(name) for name in keyrings}
    _print_fences(fences, keyrings, as_json=output is options.ReportFormat.JSON)


def _keyrings(
    config: RotatorConfig, which: options.CachesOptions, provider: Any
) -> dict[str, Keyring]:
    """
    Return the keys of the caches that are asked for, of all with encryption on by default.

    Raises:
        ConfigError: There is no such cache, or encryption is off in it.
    """
    from rotator.server.context import open_keyring  # noqa: PLC0415 - see above

    chosen = [config.cache(name) for name in which.cache or ()] or config.caches
    keyrings = {cache.name: open_keyring(cache, provider) for cache in chosen}
    for name in which.cache or ():
        if keyrings[name] is None:
            raise ConfigError(
                f"{config.cache(name).field('encryption.disabled')}: encryption is off",
                hint="choose another cache: this one has no current key to switch to",
            )
    return {name: keyring for name, keyring in keyrings.items() if keyring}


def _new_fences(
    keyrings: Mapping[str, Keyring], at: datetime, *, named: bool
) -> dict[str, Fence | None]:
    """
    Return the fence of each cache that lists an old key.

    Raises:
        ConfigError: None does, or not each of those that were *named*.
    """
    from rotator.retirement.places import Fence  # noqa: PLC0415 - see above

    without = [name for name, keyring in keyrings.items() if not keyring.old]
    if len(without) == len(keyrings) or (named and without):
        raise ConfigError(
            f"no old key is listed in {', '.join(without) or 'any cache'}, so there is no switch"
            " to record",
            hint="list the former key under encryption.keys.old",
        )
    now = utc_now()
    return {
        name: Fence(at, keyring.current.id, tuple(key.id for key in keyring.old), now)
        for name, keyring in keyrings.items()
        if keyring.old
    }


def _print_fences(
    fences: Mapping[str, Fence | None], keyrings: Mapping[str, Keyring], *, as_json: bool
) -> None:
    """Print what is recorded of each cache, and whether it counts."""
    rows = [_fence_row(name, fence, keyrings[name]) for name, fence in fences.items()]
    if as_json:
        print_json({"fences": rows})
        return
    lines: list[tuple[str | None, ...]] = [
        (name, None, None, None, "none is recorded")
        if fence is None
        else (
            name,
            stamp(fence.at),
            short_id(fence.current),
            ", ".join(map(short_id, fence.old)),
            row["counts"],
        )
        for (name, fence), row in zip(fences.items(), rows, strict=True)
    ]
    print_result(table("cache", "since", "current key", "old keys", "counts", rows=lines))


def _fence_row(name: str, fence: Fence | None, keyring: Keyring) -> dict[str, Any]:
    """Return what is recorded of a cache as JSON has it."""
    if fence is None:
        return {"cache": name, "at": None}
    if fence.current != keyring.current.id:
        counts = "no longer: another key is current"
    elif fence.voided_at:
        counts = f"void: a value under an old key was met {stamp(fence.voided_at)}"
    else:
        uncovered = [short_id(key.id) for key in keyring.old if key.id not in fence.old]
        counts = f"yes, but not for {', '.join(uncovered)}" if uncovered else "yes"
    return {
        "cache": name,
        "at": rfc3339(fence.at),
        "current": fence.current,
        "old": list(fence.old),
        "declared_at": rfc3339(fence.declared_at),
        "voided_at": fence.voided_at and rfc3339(fence.voided_at),
        "counts": counts,
    }
