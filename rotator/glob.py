"""
The patterns that SCAN MATCH understands, for names that do not come from SCAN.

https://redis.io/docs/latest/commands/keys/ : `?` is one byte, `*` any number of them, `[ae]`,
`[^e]` and `[a-c]` are sets, a backslash takes the next byte as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

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
