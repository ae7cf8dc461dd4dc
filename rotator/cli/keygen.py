"""`rotator keygen`: a fresh key."""

from __future__ import annotations

import typer

from rotator.console import print_result
from rotator.crypto.keyring import generate

_KEYGEN_EXAMPLES = """\b
Examples:
  rotator keygen
  vault kv patch secret/maverics cache_key_2026_11="$(rotator keygen)"

Exit codes: 0 done; 1 the key could not be written out.
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("keygen", epilog=_KEYGEN_EXAMPLES)(_keygen)


def _keygen() -> None:
    """Make a fresh key: 64 hex characters on stdout."""
    print_result(generate())
