"""
`rotator keys`: which keys the configuration has, by their ids.

`rotator keygen`: a fresh key.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import typer

from rotator.cli import options
from rotator.config.schema import CacheConfig
from rotator.config.types import Provider, SecretRef
from rotator.console import print_json, print_result, table
from rotator.secrets.provider import provider_from_url
from rotator.server.context import open_config, open_keyring

_EXAMPLES = """\b
Examples:
  rotator keys --config maverics.yaml
  rotator keys --secret-provider secretfile:///etc/secrets.yaml --format json

Exit codes: 0 done; 1 a secret provider is at fault; 2 usage or configuration.
"""


_OFF = "encryption is off"


@dataclass(frozen=True)
class KeyRow:
    """One key of one cache: never its material."""

    cache: str
    role: str
    id: str
    field: str
    source: str


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("keys", epilog=_EXAMPLES)(_keys)


def _keys(
    config: options.Config = None,
    secret_provider: options.SecretProvider = None,
    cache: options.Caches = None,
    output: options.Format = options.ReportFormat.TABLE,
) -> None:
    """List the keys: role, key id, where each is configured; never the key itself."""
    loaded = open_config(config)
    chosen = [loaded.cache(name) for name in cache or ()] or list(loaded.caches)
    provider = provider_from_url(secret_provider)
    rows = [row for one in chosen for row in key_rows(one, provider)]
    if output is options.ReportFormat.JSON:
        print_json({"keys": [asdict(row) for row in rows]})
        return
    lines: list[tuple[str | None, ...]] = [
        (row.cache, row.role, row.id, row.field, row.source) for row in rows
    ]
    lines += [(one.name, None, None, _OFF, None) for one in chosen if one.encryption.disabled]
    print_result(table("cache", "role", "key id", "field", "where from", rows=lines))


def key_rows(cache: CacheConfig, provider: Provider | None) -> list[KeyRow]:
    """
    The keys of *cache*, the current one first; none where encryption is off.

    Raises:
        KeyMaterialError: A key is wrong, or listed twice.
        SecretError: A reference cannot be resolved.
        SourceError: The secret provider cannot be reached.
    """
    keyring = open_keyring(cache, provider)
    if keyring is None:
        return []
    return [
        KeyRow(cache.name, keyring.role(key.id), key.id, key.field, _source(reference))
        for key, reference in zip(keyring.all, cache.key_refs, strict=True)
    ]


def _source(reference: SecretRef) -> str:
    """Where the material comes from."""
    return reference.display if reference.is_reference else "in the file"
