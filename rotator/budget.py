"""
How much of what a key may safely encrypt is used up.

With random nonces a key must not encrypt more than 2^32 messages, whatever their size, or the odds
that a nonce comes twice become too good (NIST SP 800-38D, 8.3). Nobody counts what applications
encrypt; what is known is what rotator encrypted, and how many values it met under the key at one
time. Their sum is the careful side of what is known: values that rotator encrypted and met again
count twice. What was overwritten before any sweep saw it does not count at all.
"""

from __future__ import annotations

LIMIT = 2**32
WARN_AT = 0.1


def used(encryptions: int, seen: int) -> float:
    """The part of the budget that is known to be used up, 0 to 1 and beyond."""
    return (encryptions + seen) / LIMIT


def warning(key_id: str, role: str, encryptions: int, seen: int) -> str | None:
    """What to tell an operator, or None while it is not much."""
    part = used(encryptions, seen)
    if part < WARN_AT:
        return None
    advice = (
        "make a new key current before it is used up"
        if role == "current"
        else "do not make it current again"
    )
    return (
        f"the {role} key {key_id[:8]} has used {part:.0%} of the 2^32 encryptions that are safe"
        f" with random nonces ({encryptions:,} by rotator, {seen:,} values met under it): {advice}"
    )
