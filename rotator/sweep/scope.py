"""What a sweep is asked to visit, what it may do there, and how hard it may work the server."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from enum import StrEnum


class Mode(StrEnum):
    """The three kinds of sweep; only `RUN` writes."""

    RUN = "run"
    DRY_RUN = "dry-run"
    VERIFY = "verify"


@dataclass(frozen=True, slots=True)
class Limits:
    """
    How much may be asked of a server; None and 0 are no limit.

    *rate* in visits a second, *latency* in milliseconds, *lag* in bytes, *memory* in percent of
    maxmemory; while *pause_file* exists, nothing is done.
    """

    rate: float | None = None
    latency: float | None = 2.0
    lag: int | None = None
    memory: float | None = None
    pause_file: str | None = None

    def share(self, nodes: int) -> Limits:
        """The limits for each of so many nodes that are swept at the same time."""
        return self if self.rate is None else replace(self, rate=self.rate / nodes)


@dataclass(frozen=True, slots=True)
class Scope:
    """
    The bounds of one sweep.

    *match* are glob patterns of SCAN; *databases* None means all that the server reports;
    *only_key* is the key id that alone is to be moved; *page* is the COUNT of a SCAN call, at most;
    *limits* say how hard the server may be worked.
    """

    mode: Mode
    match: tuple[str, ...] = ("*",)
    databases: tuple[int, ...] | None = None
    only_key: str | None = None
    page: int = 500
    limits: Limits = Limits()

    def digest(self, codec_digest: str) -> str:
        """
        What a saved position is bound to: this scope, the keyring and the formats.

        The page size and the limits are left out: a cursor does not depend on them.
        """
        bound = [self.mode, self.match, self.databases, self.only_key, codec_digest]
        return hashlib.sha256(json.dumps(bound).encode()).hexdigest()

    def rounds(self, databases: list[int]) -> list[tuple[int, str | None]]:
        """The scans to make, as (database, pattern); pattern None visits every name."""
        chosen = [db for db in databases if self.databases is None or db in self.databases]
        patterns = [None] if "*" in self.match else list(self.match)
        return [(db, pattern) for db in chosen for pattern in patterns]
