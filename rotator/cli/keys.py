"""`rotator keys`, `rotator keygen`: list the keys of the configuration, or make one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotator.cli import options
from rotator.console import print_json, print_result, table
from rotator.crypto.keyring import Keyring, generate

if TYPE_CHECKING:
    from rotator.config.schema import CacheConfig

KEYS_EXAMPLES = """\b
Examples:
  rotator keys --config maverics.yaml
  rotator keys --secret-provider secretfile:///etc/secrets.yaml --format json

Exit codes: 0 done; 1 a secret provider is at fault; 2 usage or configuration.
"""

KEYGEN_EXAMPLES = """\b
Examples:
  rotator keygen
  vault kv patch secret/maverics cache_key_2026_11="$(rotator keygen)"

Exit codes: 0 done; 1 the key could not be written out.
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
