"""`rotator get`, `set` and `delete`: the cache client on the command line."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import structlog
import typer

from rotator.cache import Cache
from rotator.cli import options
from rotator.commands.common import Namespace, open_access, open_cache, open_config
from rotator.errors import ConfigError, MissingError, StateError
from rotator.state.state import State, default_path

log = structlog.get_logger(__name__)

_GET_EXAMPLES = """\b
Examples:
  rotator get --namespace /app/oidc abc123
  rotator get --cache shared-redis --namespace /app/oidc abc123 > value.bin

Exit codes: 0 done; 1 there is no such entry, it does not open, or a server is at
fault; 2 usage or configuration.
"""
_SET_EXAMPLES = """\b
Examples:
  printf %s hello | rotator set --namespace /app/oidc --ttl 1h abc123
  rotator set --namespace /app/oidc --value-file value.bin abc123

Exit codes: 0 done; 1 a server is at fault; 2 usage or configuration.
"""
_DELETE_EXAMPLES = """\b
Examples:
  rotator delete --namespace /app/oidc abc123

Exit codes: 0 done; 1 there is no such entry, or a server is at fault; 2 usage or
configuration.
"""

LogicalKey = Annotated[
    str, typer.Argument(metavar="KEY", help="The key as the application has it, not hashed.")
]
Database = Annotated[int, options.option("--db", "Number of the database.", metavar="N", min=0)]


def register(app: typer.Typer) -> None:
    """Add the three commands."""
    app.command("get", epilog=_GET_EXAMPLES)(_get)
    app.command("set", epilog=_SET_EXAMPLES)(_set)
    app.command("delete", epilog=_DELETE_EXAMPLES)(_delete)


def _get(
    key: LogicalKey,
    *,
    config: options.Config = None,
    secret_provider: options.SecretProvider = None,
    cache: options.Cache = None,
    namespace: Namespace = None,
    db: Database = 0,
) -> None:
    """Write a value to stdout, decrypted: its bytes and nothing else. Exit 1 if there is none."""
    with _client(config, secret_provider, cache, namespace, db) as client:
        value = client.get(key)
    sys.stdout.buffer.write(value)
    sys.stdout.buffer.flush()


def _set(
    key: LogicalKey,
    *,
    config: options.Config = None,
    secret_provider: options.SecretProvider = None,
    cache: options.Cache = None,
    namespace: Namespace = None,
    db: Database = 0,
    value_file: Annotated[
        Path | None,
        options.option(
            "--value-file",
            "File that holds the value. Default: stdin, to its end.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    ttl: Annotated[
        timedelta | None,
        options.duration("--ttl", "How long the entry is kept. Default: for good."),
    ] = None,
    state: options.StatePath = None,
) -> None:
    """Store a value, encrypted under the current key. It is read from stdin or from a file."""
    value = sys.stdin.buffer.read() if value_file is None else _content(value_file)
    with _client(config, secret_provider, cache, namespace, db) as client:
        client.set(key, value, ttl)
        _count(client, state)


def _delete(
    key: LogicalKey,
    *,
    config: options.Config = None,
    secret_provider: options.SecretProvider = None,
    cache: options.Cache = None,
    namespace: Namespace = None,
    db: Database = 0,
) -> None:
    """Remove an entry. Exit 1 if there is none."""
    with _client(config, secret_provider, cache, namespace, db) as client:
        if not client.delete(key):
            name = client.shown(client.stored_name(key))
            raise MissingError(
                f"there is no entry {name} in database {db}",
                hint="is the namespace right? it may also have expired",
            )


def _client(
    files: list[Path] | None,
    provider_url: str | None,
    cache_name: str | None,
    namespace: str | None,
    database: int,
) -> Cache:
    """The client that the options describe."""
    access = open_access(open_config(files), cache_name, provider_url)
    return open_cache(access, namespace, database)


def _count(client: Cache, path: Path | None) -> None:
    """
    Count the encryption, for the nonce budget of the key, where runs have a state.

    The value is stored by now, so what fails here is only a warning.
    """
    place, keyring = path or default_path(), client.access.keyring
    if keyring is None or not place.exists():
        return
    try:
        with State(place) as state:
            state.add_encryptions(keyring.current.id, 1)
    except StateError as error:
        log.warning("the encryption was not counted", error=str(error))


def _content(path: Path) -> bytes:
    """What the file at *path* holds."""
    try:
        return path.read_bytes()
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise ConfigError(
            f"--value-file {path}: cannot be read: {reason}", hint="give a file that holds a value"
        ) from None
