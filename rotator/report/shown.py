"""How names are shown: as stored where they are hashes anyway, else as their SHA-256."""

from __future__ import annotations

import hashlib


class Shown:
    """Shows names; with *plain* as they are stored."""

    def __init__(self, *, plain: bool) -> None:
        self._plain = plain

    def __call__(self, name: bytes) -> str:
        """What reports call *name*."""
        if self._plain:
            return name.decode("utf-8", "backslashreplace")
        return f"sha256:{hashlib.sha256(name).hexdigest()}"
