"""`rotator get`, `set`, `delete`, `inspect`: the cache client on the command line."""

import sys
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer

from rotator.cache import Cache, open_cache
from rotator.cli import options
from rotator.console import print_json, print_result, table
from rotator.crypto.layout import FieldName, Format
from rotator.diagnose.inspect import Entry, find
from rotator.errors import ConfigError, Exit, MissingError, StateError
from rotator.protection import is_there
from rotator.run.evidence import latest_history
from rotator.run.formats import Canary, format_of_new_values
from rotator.server.context import CacheContext
from rotator.server.topology import discover
from rotator.state.database import default_path
from rotator.state.state import State
from rotator.text import rfc3339, utc_now

GET_EXAMPLES = """\b
Examples:
  rotator get --namespace /app/oidc abc123
  rotator get --cache shared-redis --namespace /app/oidc abc123 > value.bin

Exit codes: 0 done; 1 there is no such entry, it does not open, or a server
failed; 2 usage or configuration.
"""

SET_EXAMPLES = """\b
Examples:
  printf %s hello | rotator set --namespace /app/oidc --ttl 1h abc123
  rotator set --namespace /app/oidc --value-file value.bin abc123

Exit codes: 0 done; 1 a server failed; 2 usage or configuration.
"""

DELETE_EXAMPLES = """\b
Examples:
  rotator delete --namespace /app/oidc abc123

Exit codes: 0 done; 1 there is no such entry, or a server failed; 2 usage or
configuration.
"""

INSPECT_EXAMPLES = """\b
Examples:
  rotator inspect /app/oidc:3f2a9b...
  rotator inspect --namespace /app/oidc abc123
  rotator inspect --namespace /app/oidc abc123 --reveal
  rotator inspect --field data app:session:1

Exit codes: 0 done; 1 there is no such entry, or a server failed; 2 usage or
configuration; 3 the value opens under no configured key and format.
"""

log = structlog.get_logger(__name__)


LogicalKey = Annotated[
    str, typer.Argument(metavar="KEY", help="The key as the application uses it, not hashed.")
]
Namespace = Annotated[
    str | None,
    options.shared(
        "--namespace", "What stands before the key, for example /app/oidc.", metavar="NAMESPACE"
    ),
]


@dataclass(frozen=True)
class ClientOptions(options.CacheOptions):
    """Client options: name a cache, and where in it the keys are."""

    namespace: Namespace = None
    db: int = options.option("--db", "Number of the database.", metavar="N", min=0, default=0)

    def client(self, state: Path | None = None) -> Cache:
        """Return the client that the options describe; *state* is where runs keep theirs."""
        access = self.open()
        choose = partial(format_of_new_values, access)
        check = partial(_require_met, access, state or default_path())
        return open_cache(access, self.namespace, self.db, choose, check)


def get_command(key: LogicalKey, where: ClientOptions) -> None:
    """Write a value to stdout, decrypted: its bytes and nothing else. Exit 1 if there is none."""
    with where.client() as client:
        value = client.get(key)
    sys.stdout.buffer.write(value)
    sys.stdout.buffer.flush()


def set_command(
    key: LogicalKey,
    *,
    where: ClientOptions,
    value_file: Path | None = options.option(
        "--value-file", "File that holds the value. Default: stdin.", metavar="FILE"
    ),
    ttl: timedelta | None = options.duration(
        "--ttl", "How long the entry is kept. Default: forever."
    ),
    state: options.StatePath = None,
) -> None:
    """Store a value, encrypted under the current key. It is read from stdin or from a file."""
    value = sys.stdin.buffer.read() if value_file is None else _content(value_file)
    with where.client(state) as client:
        client.access.require_labels()
        client.set(key, value, ttl)
        _count(client, state)


def delete_command(key: LogicalKey, where: ClientOptions) -> None:
    """Remove an entry. Exit 1 if there is none."""
    with where.client() as client:
        if not client.delete(key):
            name = client.shown(client.stored_name(key))
            raise MissingError(
                f"there is no entry {name} in database {where.db}",
                hint="is the namespace right? it may also have expired",
            )


def _require_met(access: CacheContext, state: Path, form: Format) -> None:
    """Demand that applications can read what is written, as a run does: see `Canary`."""
    if not form.has_literals and not (access.codec and access.codec.labelled):
        return
    primaries = discover(access.cache.addresses, access.connect).primaries
    # The state is about text in formats; where there is none it need not be readable.
    with State(state) if form.has_literals and is_there(state) else nullcontext() as kept:
        history = latest_history(kept, access.cache.name) if kept else ""
        Canary(access, kept, history).require(form, primaries)


def _count(client: Cache, path: Path | None) -> None:
    """
    Count the encryption, for the nonce budget of the key, where runs have a state.

    The value is stored by now, so what fails here is only a warning.
    """
    place, keyring = path or default_path(), client.access.keyring
    if keyring is None or not is_there(place):
        return
    try:
        with State(place) as state:
            state.add_encryptions(keyring.current.id, 1)
    except StateError as error:
        log.warning("the encryption was not counted", error=str(error))


def _content(path: Path) -> bytes:
    """Return what the file at *path* holds."""
    try:
        return path.read_bytes()
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise ConfigError(
            f"--value-file {path}: cannot be read: {reason}",
            hint="check the path and the rights of the file",
        ) from None


def inspect_command(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="The name in Redis; with --namespace, the key as the application uses it.",
        ),
    ],
    *,
    which: options.CacheOptions,
    namespace: Namespace = None,
    field: str | None = options.option(
        "--field", "Describe this field of a hash.", metavar="FIELD"
    ),
    db: int | None = options.option(
        "--db", "Number of the database. Default: all.", metavar="N", min=0
    ),
    reveal: bool = options.option("--reveal", "Show the value, decrypted."),
    output: options.Format = options.ReportFormat.TABLE,
) -> Exit:
    """Describe one entry: format, key id, TTL, size. Its value is shown only with --reveal."""
    access = which.open()
    if namespace is None:
        stored = name.encode("utf-8", "surrogateescape")
    else:
        stored = open_cache(access, namespace, db or 0).stored_name(name)
    if field is not None:
        stored = FieldName(stored, field.encode("utf-8", "surrogateescape"))
    entry = find(access, stored, db)
    fields = described(access, entry, utc_now(), reveal=reveal)
    if output is options.ReportFormat.JSON:
        print_json(fields)
    else:
        print_result(table("", "", rows=_lines(fields)))
    return Exit.OK if entry.reason is None else Exit.NOT_MOVED


def described(access: CacheContext, entry: Entry, now: datetime, *, reveal: bool) -> dict[str, Any]:
    """
    Return the description of *entry* as JSON values; the TTL is counted from *now*.

    Only with *reveal* are `plaintext` and `plaintext_encoding` (utf-8 or hex) there, and
    `hash_field` only for a field of a hash.
    """
    key, keyring = entry.key, access.keyring
    left = None if entry.expires_at is None else (entry.expires_at - now).total_seconds()
    fields = {
        "name": entry.name.decode(errors="backslashreplace"),
        "cache": access.cache.name,
        "node": entry.node,
        "database": entry.database,
        "type": entry.type,
        "size": entry.size,
        "ttl_seconds": None if left is None else max(0, round(left)),
        "expires_at": None if entry.expires_at is None else rfc3339(entry.expires_at),
        "encrypted": keyring is not None,
        "format": entry.format,
        "key": None if key is None else key.id,
        "role": None if key is None or keyring is None else keyring.role(key.id),
        "field": None if key is None else key.field,
        "nested": [inner.id for inner in entry.inner],
        "reason": entry.reason,
    }
    if isinstance(entry.name, FieldName):
        fields["hash_field"] = entry.name.field.decode(errors="backslashreplace")
    if reveal and entry.plaintext is not None:
        try:
            fields |= {"plaintext": entry.plaintext.decode(), "plaintext_encoding": "utf-8"}
        except UnicodeDecodeError:
            fields |= {"plaintext": entry.plaintext.hex(), "plaintext_encoding": "hex"}
    return fields


def _lines(fields: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the description for people: only what applies."""
    ttl = fields["ttl_seconds"]
    expires = "never" if ttl is None else f"in {ttl} s, at {fields['expires_at']}"
    lines = [(name, fields[name]) for name in ("name", "cache", "node", "database", "type")]
    if "hash_field" in fields:
        lines.insert(1, ("field", fields["hash_field"]))
    if fields["size"] is not None:
        lines.append(("size", f"{fields['size']} bytes"))
    lines.append(("expires", expires))
    if not fields["encrypted"]:
        lines.append(("key", "none, encryption is off"))
    if fields["key"] is not None:
        lines.append(("format", fields["format"]))
        lines.append(("key", f"{fields['key']} ({fields['role']}, {fields['field']})"))
    if fields["nested"]:
        lines.append(("nested", f"holds a value under {', '.join(fields['nested'])}"))
    if fields["reason"] is not None:
        lines.append(("does not open", fields["reason"]))
    if "plaintext" in fields:
        lines.append((f"plaintext ({fields['plaintext_encoding']})", fields["plaintext"]))
    return lines
