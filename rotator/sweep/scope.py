"""
What a sweep is asked to visit, what it may do there, and how hard it may work the server.

The patterns that SCAN MATCH understands, for names that do not come from SCAN.

https://redis.io/docs/latest/commands/keys/ : `?` is one byte, `*` any number of them, `[ae]`,
`[^e]` and `[a-c]` are sets, a backslash takes the next byte as it stands.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from rotator.server.topology import SETTLE_SECONDS
from rotator.tally.tally import Mode, Outcome


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

    def scans(self, databases: list[int]) -> list[tuple[int, str | None]]:
        """The scans to make, as (database, pattern); pattern None visits every name."""
        chosen = [db for db in databases if self.databases is None or db in self.databases]
        patterns = [None] if "*" in self.match else list(self.match)
        return [(db, pattern) for db in chosen for pattern in patterns]


_SPECIAL = frozenset(b"*?[\\")


def matcher(patterns: Sequence[str]) -> re.Pattern[bytes]:
    """A regular expression whose `fullmatch` tells whether a name matches one of *patterns*."""
    return re.compile(b"|".join(_translate(p.encode()) for p in patterns), re.DOTALL)


def prefixes(patterns: Sequence[str]) -> list[bytes]:
    """
    What names that match begin with, none of them the beginning of another.

    Empty when a pattern begins with a special byte: then every name may match.
    """
    found = sorted({_literal(pattern.encode()) for pattern in patterns})
    if b"" in found:
        return []
    return [p for p in found if not any(p != q and p.startswith(q) for q in found)]


def _literal(pattern: bytes) -> bytes:
    end = next((i for i, byte in enumerate(pattern) if byte in _SPECIAL), len(pattern))
    return pattern[:end]


def _translate(pattern: bytes) -> bytes:
    out = b""
    at = 0
    while at < len(pattern):
        byte = pattern[at : at + 1]
        at += 1
        if byte == b"*":
            out += b".*"
        elif byte == b"?":
            out += b"."
        elif byte == b"[":
            found, at = _set(pattern, at)
            out += found
        else:
            if byte == b"\\" and at < len(pattern):
                byte = pattern[at : at + 1]
                at += 1
            out += re.escape(byte)
    return out


def _set(pattern: bytes, at: int) -> tuple[bytes, int]:
    """The set that begins behind `[`, and where the pattern goes on; an open one ends with it."""
    inverted = pattern[at : at + 1] == b"^"
    at += inverted
    members: set[int] = set()
    while at < len(pattern) and pattern[at] != ord("]"):
        if pattern[at] == ord("\\") and at + 1 < len(pattern):
            members.add(pattern[at + 1])
            at += 2
        elif pattern[at + 1 : at + 2] == b"-" and at + 2 < len(pattern):
            low, high = sorted((pattern[at], pattern[at + 2]))
            members.update(range(low, high + 1))
            at += 3
        else:
            members.add(pattern[at])
            at += 1
    if not members:
        return (b"." if inverted else b"(?!)"), at + 1
    listed = b"".join(b"\\x%02x" % member for member in sorted(members))
    return b"[" + b"^" * inverted + listed + b"]", at + 1


RESTARTS = 3


@dataclass(frozen=True, slots=True)
class RunOptions:
    """
    What the operator asked for, as in the options of `run`.

    *patience* is how many seconds a cluster may take to settle.
    """

    dry_run: bool = False
    verify: bool = True
    only_key: str | None = None
    page: int = 500
    limits: Limits = field(default_factory=Limits)
    workers: int | None = None
    patience: float = SETTLE_SECONDS
    fresh: bool = False
    allow_empty: bool = False
    accept: Mapping[Outcome, int] = field(default_factory=dict)

    @property
    def mode(self) -> Mode:
        """What the first sweep does."""
        return Mode.DRY_RUN if self.dry_run else Mode.RUN
