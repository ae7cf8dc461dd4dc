"""`rotator inspect`: one entry, described."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from rotator.cli import options
from rotator.commands.common import (
    Namespace,
    open_access,
    open_cache,
    open_config,
    print_json,
    table,
)
from rotator.console import print_result
from rotator.diagnose.inspect import Entry, find
from rotator.errors import Exit
from rotator.report.model import rfc3339
from rotator.server.context import Access

_EXAMPLES = """\b
Examples:
  rotator inspect /app/oidc:3f2a9b...
  rotator inspect --namespace /app/oidc abc123
  rotator inspect --namespace /app/oidc abc123 --reveal

Exit codes: 0 done; 1 there is no such entry, or a server is at fault; 2 usage or
configuration; 3 the value opens under no configured key and format.
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("inspect", epilog=_EXAMPLES)(_inspect)


def _inspect(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="The name as Redis has it; with --namespace the key as the application has it.",
        ),
    ],
    *,
    config: options.Config = None,
    secret_provider: options.SecretProvider = None,
    cache: options.Cache = None,
    namespace: Namespace = None,
    db: Annotated[
        int | None,
        options.option("--db", "Number of the database. Default: all.", metavar="N", min=0),
    ] = None,
    reveal: Annotated[
        bool, options.option("--reveal", "Show what the entry holds, decrypted.")
    ] = False,
    output: options.Format = options.ReportFormat.TABLE,
) -> None:
    """Describe one entry: format, key id, TTL, size. Nothing of what it holds without --reveal."""
    access = open_access(open_config(config), cache, secret_provider)
    if namespace is None:
        stored = name.encode("utf-8", "surrogateescape")
    else:
        stored = open_cache(access, namespace, db or 0).stored_name(name)
    entry = find(access, stored, db)
    fields = described(access, entry, datetime.now(UTC), reveal=reveal)
    if output is options.ReportFormat.JSON:
        print_json(fields)
    else:
        print_result(table("", "", rows=_lines(fields)))
    if entry.reason is not None:
        raise typer.Exit(Exit.NOT_MOVED)


def described(access: Access, entry: Entry, now: datetime, *, reveal: bool) -> dict[str, Any]:
    """
    The description of *entry* as JSON values; *now* is what the TTL is counted from.

    Only with *reveal* are `plaintext` and `plaintext_encoding` (utf-8 or hex) there.
    """
    key = entry.key
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
        "encrypted": access.keyring is not None,
        "format": entry.format,
        "key": None if key is None else key.id,
        "role": None if key is None else _role(access, key.id),
        "field": None if key is None else key.field,
        "nested": [inner.id for inner in entry.inner],
        "reason": entry.reason,
    }
    if reveal and entry.plaintext is not None:
        fields |= _revealed(entry.plaintext)
    return fields


def _role(access: Access, key_id: str) -> str | None:
    """What the key is to this cache."""
    return None if access.keyring is None else access.keyring.role(key_id)


def _revealed(plaintext: bytes) -> dict[str, str]:
    """The plaintext as text if it is any, else in hex."""
    try:
        text, encoding = plaintext.decode(), "utf-8"
    except UnicodeDecodeError:
        text, encoding = plaintext.hex(), "hex"
    return {"plaintext": text, "plaintext_encoding": encoding}


def _lines(fields: dict[str, Any]) -> list[tuple[str, str]]:
    """The description for people: only what applies."""
    ttl = fields["ttl_seconds"]
    expires = "never" if ttl is None else f"in {ttl} s, at {fields['expires_at']}"
    lines = [(name, str(fields[name])) for name in ("name", "cache", "node", "database", "type")]
    if fields["size"] is not None:
        lines.append(("size", f"{fields['size']} bytes"))
    lines.append(("expires", expires))
    if not fields["encrypted"]:
        lines.append(("key", "none, encryption is off"))
    if fields["key"] is not None:
        lines += [
            ("format", fields["format"]),
            ("key", f"{fields['key']} ({fields['role']}, {fields['field']})"),
        ]
    if fields["nested"]:
        lines.append(("nested", f"holds a value under {', '.join(fields['nested'])}"))
    if fields["reason"] is not None:
        lines.append(("does not open", fields["reason"]))
    if "plaintext" in fields:
        lines.append((f"plaintext ({fields['plaintext_encoding']})", fields["plaintext"]))
    return lines
