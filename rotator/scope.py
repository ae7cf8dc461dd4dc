"""What a sweep is asked to visit, and what it may do there."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum


class Mode(StrEnum):
    """The three kinds of sweep; only `RUN` writes."""

    RUN = "run"
    DRY_RUN = "dry-run"
    VERIFY = "verify"


@dataclass(frozen=True, slots=True)
class Scope:
    """
    The bounds of one sweep.

    *match* are glob patterns of SCAN; *databases* None means all that the server reports;
    *only_key* is the key id that alone is to be moved; *page* is the COUNT of a SCAN call.
    """

    mode: Mode
    match: tuple[str, ...] = ("*",)
    databases: tuple[int, ...] | None = None
    only_key: str | None = None
    page: int = 500

    def digest(self, codec_digest: str) -> str:
        """
        What a saved position is bound to: this scope, the keyring and the formats.

        The page size is left out: a cursor does not depend on it.
        """
        bound = [self.mode, self.match, self.databases, self.only_key, codec_digest]
        return hashlib.sha256(json.dumps(bound).encode()).hexdigest()

    def rounds(self, databases: list[int]) -> list[tuple[int, str | None]]:
        """The scans to make, as (database, pattern); pattern None visits every name."""
        chosen = [db for db in databases if self.databases is None or db in self.databases]
        patterns = [None] if "*" in self.match else list(self.match)
        return [(db, pattern) for db in chosen for pattern in patterns]
