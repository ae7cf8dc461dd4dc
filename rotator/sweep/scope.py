"""
Scope: says which names and databases are visited, within which limits, and by which settings.

Patterns of names mean what they mean to SCAN MATCH (https://redis.io/docs/latest/commands/keys/),
also for names that do not come from SCAN: `?` is one byte, `*` any number of them, `[ae]`, `[^e]`
and `[a-c]` are sets, a backslash takes the next byte as it stands.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Self

from rotator.crypto.codec import Codec
from rotator.server.context import CacheContext
from rotator.server.topology import SETTLE_SECONDS
from rotator.sweep.control import Orders
from rotator.tally.tally import Mode, Outcome

RESTARTS = 3
"""How often the scan of a node is begun again at most."""

# The parts of a pattern: a set, also one that is not closed, or a byte, also one after a backslash.
_PART = re.compile(rb"\[(\^?)((?:\\.|[^]]-.|[^]])*)]?|\\?(.)", re.DOTALL)
_MEMBER = re.compile(rb"\\(.)|(.)-(.)|(.)", re.DOTALL)
_SPECIAL = re.compile(rb"[*?[\\]")


@dataclass(frozen=True, slots=True)
class Limits:
    """
    Limits: say how much may be asked of a server; None and 0 are no limit.

    *rate* in visits a second, *latency* in milliseconds, *lag* in bytes, *memory* in percent of
    maxmemory; while *pause_file* exists, nothing is done. So many *lanes* at one node share them,
    and so many *workers* share the rate: *rate* is what one of them may do.
    """

    rate: float | None = None
    latency: float | None = 2.0
    lag: int | None = None
    memory: float | None = None
    pause_file: str | None = None
    lanes: int = 1
    workers: int = 1

    def share(self, workers: int, lanes: int = 1) -> Limits:
        """Return the limits for each of so many *workers* at a time, *lanes* of them at a node."""
        rate = self.rate and self.rate / workers
        return replace(self, rate=rate, lanes=lanes, workers=workers)

    def tuned(self, orders: Orders) -> Limits:
        """Return these limits, shared already, with what *orders* change."""
        return replace(
            self,
            rate=self.rate if orders.rate is None else orders.rate / self.workers,
            latency=self.latency if orders.latency is None else orders.latency,
            lag=self.lag if orders.lag is None else int(orders.lag) or None,
        )


@dataclass(frozen=True, slots=True)
class Scope:
    """
    Scope: bounds one sweep.

    *match* are glob patterns of SCAN; *databases* "all" means all that the server reports;
    *fields* are the fields of hashes to visit, "*" all of them, None those of no hash;
    *only_key* is the key id that alone is to be moved; *page* is the COUNT of a SCAN call, at most;
    *limits* say how hard the server may be worked. *outside*: a sweep that may be a proof reads
    what *match* and *databases* leave out, too. *one_server* is declared: it is never another,
    whatever it does not say of itself. *tracks*: writes are tracked also while it rewrites. Nothing
    is written in formats called as one of *forbidden*.
    """

    mode: Mode
    match: tuple[str, ...] = ("*",)
    databases: tuple[int, ...] | Literal["all"] = "all"
    only_key: str | None = None
    page: int = 500
    limits: Limits = Limits()
    outside: bool = True
    one_server: bool = False
    tracks: bool = False
    forbidden: tuple[str, ...] = ()
    fields: tuple[str, ...] | Literal["*"] | None = None

    @property
    def leaves_out(self) -> bool:
        """True if *match* or *databases* may leave something out."""
        return "*" not in self.match or self.databases != "all"

    @property
    def reads_outside(self) -> bool:
        """True if every name is asked for, and those left out are told apart here."""
        return self.outside and self.leaves_out

    @property
    def counts_outside(self) -> bool:
        """True if what is left out is counted: names, or fields of hashes that are visited."""
        return self.reads_outside or (self.outside and self.fields not in {None, "*"})

    def basis(self, codec: Codec) -> str:
        """Return what a proof is made with: the current key, the formats, and what is visited."""
        databases = None if self.databases == "all" else self.databases
        made_with: list[object] = [codec.keyring.current.id, codec.described]
        made_with += [self.match, databases]
        made_with += [self.fields] if self.fields else []  # else as earlier versions wrote it
        return hashlib.sha256(json.dumps(made_with).encode()).hexdigest()

    def digest(self, codec_digest: str) -> str:
        """
        Return what a checkpoint is bound to: this scope, the keyring and the formats.

        The page size and the limits are left out: a cursor does not depend on them.
        """
        databases = None if self.databases == "all" else self.databases
        bound: list[object] = [self.mode, self.match, databases, self.only_key, codec_digest]
        bound += [True] if self.reads_outside else []
        bound += [{"fields": self.fields}] if self.fields else []
        return hashlib.sha256(json.dumps(bound).encode()).hexdigest()

    def scans(self, databases: list[int]) -> list[tuple[int, str | None]]:
        """Return the scans to make, as (database, pattern); pattern None visits every name."""
        chosen = [db for db in databases if self.reads_outside or self.visits(db)]
        everything = "*" in self.match or self.reads_outside
        patterns = [None] if everything else list(self.match)
        return [(db, pattern) for db in chosen for pattern in patterns]

    def inside(self, db: int) -> Callable[[bytes], object] | None:
        """Return what tells names to visit from those left out; None: all are visited."""
        if not self.reads_outside:
            return None
        return matcher(self.match).fullmatch if self.visits(db) else lambda _: False

    def visits(self, db: int) -> bool:
        """Return whether names of this database are visited."""
        return self.databases == "all" or db in self.databases


@dataclass(frozen=True, slots=True)
class RunOptions:
    """
    Run options: hold what the operator asked for, as in the options of `run`.

    *patience* is how many seconds a cluster may take to settle. *accept_outside* is how many names
    that `match` and `databases` leave out may stay unopened; *accept_empty*: that nothing was ever
    opened is right. *force_lock*: it is done although another run seems to be in progress.
    """

    dry_run: bool = False
    verify: bool = True
    only_key: str | None = None
    page: int = 500
    limits: Limits = Limits()
    workers: int | None = None
    patience: float = SETTLE_SECONDS
    fresh: bool = False
    force_lock: bool = False
    allow_empty: bool = False
    accept: Mapping[Outcome, int] = field(default_factory=dict)
    accept_outside: int | None = None
    accept_empty: bool = False

    @property
    def mode(self) -> Mode:
        """The mode of the first sweep."""
        return Mode.DRY_RUN if self.dry_run else Mode.RUN


def matcher(patterns: Sequence[str]) -> re.Pattern[bytes]:
    """Return a regular expression whose `fullmatch` finds names that match one of *patterns*."""
    translated = (b"".join(map(_translate, _PART.finditer(p.encode()))) for p in patterns)
    return re.compile(b"|".join(translated), re.DOTALL)


def prefixes(patterns: Sequence[str]) -> list[bytes]:
    """
    Return the beginnings of names that match, none of them the beginning of another.

    Empty when a pattern begins with a special byte: then every name may match.
    """
    found = sorted({_SPECIAL.split(pattern.encode(), 1)[0] for pattern in patterns})
    if b"" in found:
        return []
    return [p for p in found if not any(p != q and p.startswith(q) for q in found)]


def _translate(part: re.Match[bytes]) -> bytes:
    """Return the regular expression for one part of a pattern."""
    inverted, body, byte = part.groups()
    if part[0] == b"*":
        return b".*"
    if part[0] == b"?":
        return b"."
    if byte is not None:
        return re.escape(byte)
    members: set[int] = set()
    for escaped, low, high, plain in _MEMBER.findall(body):
        ends = sorted(escaped + low + high + plain)
        members.update(range(ends[0], ends[-1] + 1))
    if not members:
        return b"." if inverted else b"(?!)"
    return b"[%s%s]" % (inverted, b"".join(b"\\x%02x" % member for member in sorted(members)))


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """
    Fingerprint: digests of a cache's keys and formats, and of all else that is configured for it.

    Two machines must agree on it before one sweeps for the other. It tells that something differs,
    not what: of the keys only what their ids say goes in, of the configuration what is not secret.
    Where a reference stands, the reference counts; that both machines find the same key behind it,
    the key ids say. What is in a TLS profile may differ: it says how this machine gets there.
    """

    cache: str
    codec: str
    settings: str

    @classmethod
    def of(cls, access: CacheContext) -> Self:
        """
        Return the fingerprint of a cache with encryption on.

        Raises:
            ValueError: It has none.
        """
        if access.codec is None:
            raise ValueError("a cache without encryption is not swept")
        configured = repr((access.cache.path, access.cache, access.settings))
        digest = hashlib.sha256(configured.encode()).hexdigest()
        return cls(access.cache.name, access.codec.digest, digest)

    def difference(
        self, other: Fingerprint, whose: str = "its", others: str = "this machine"
    ) -> str | None:
        """Say how *whose* fingerprint this is differs from that of *others*; None: not at all."""
        if self.codec != other.codec:
            return f"{whose} keys or formats of the cache {self.cache} are not those of {others}"
        if self.settings != other.settings:
            return f"{whose} configuration of the cache {self.cache} is not that of {others}"
        return None
