"""
Names: says what reports call an entry or a field of one, and sums up problems and what is left out.

A name that is not hashed may hold what only applications should know, and so may a field.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rotator.crypto.layout import FieldName
from rotator.report.model import Cache, Outside, Problem, ProblemSum
from rotator.retirement.looks import Proof
from rotator.tally.tally import PROBLEMATIC, Tally

if TYPE_CHECKING:  # the library for Redis comes with it, and renderings need none
    from rotator.server.context import CacheContext

_SUMS = 10  # of problems, that people are told of


def display_name(name: bytes, *, plain: bool) -> str:
    """Return what reports call *name*; with *plain* as it is stored, else its SHA-256."""
    if plain:
        return name.decode("utf-8", "backslashreplace")
    return f"sha256:{hashlib.sha256(name).hexdigest()}"


class Plain(NamedTuple):
    """Plain: says whether names, and fields of hashes, may be shown as they are stored."""

    names: bool
    fields: bool


def display_field(name: bytes, *, plain: bool) -> str | None:
    """Return what reports call the field of a hash, in the same way; None: *name* has none."""
    return display_name(name.field, plain=plain) if isinstance(name, FieldName) else None


def with_field(name: str, field: str | None) -> str:
    """Return a name and its field, as they may be shown, in one."""
    return name if field is None else f"{name}, field {field}"


def display_entry(name: bytes, *, plain: Plain) -> str:
    """Return what reports call an entry, or a field of one."""
    field = display_field(name, plain=plain.fields)
    return with_field(display_name(name, plain=plain.names), field)


def shown_as_stored(access: CacheContext, *, show_names: bool) -> Plain:
    """
    Return what may be shown of a cache: hashed names, and fields that the configuration names.

    Other names, and fields where all are visited, only if somebody asks for it.
    """
    hashed = not access.cache.hashing.keys.disabled
    return Plain(show_names or hashed, show_names or access.settings.fields != "*")


def problems_of(tally: Tally, *, plain: Plain) -> Iterator[Problem]:
    """Yield the problems that were kept, their names as they may be shown."""
    for problem in tally.samples():
        yield Problem(
            name=display_name(problem.name, plain=plain.names),
            field=display_field(problem.name, plain=plain.fields),
            node=problem.node,
            outcome=str(problem.outcome),
            reason=str(problem.reason),
            detail=problem.detail,
        )


def sums_of(tally: Tally) -> Iterator[ProblemSum]:
    """Yield the sums of all problems by outcome, reason and prefix, the largest first."""
    told = [one for one in tally.sums if one.outcome in PROBLEMATIC]
    for outcome, reason, prefix, number in told:
        yield ProblemSum(outcome=outcome, reason=reason, prefix=prefix, count=number)
    for outcome in PROBLEMATIC:  # a checkpoint of an earlier version has no sums
        known = sum(one.number for one in told if one.outcome == outcome)
        if (left := tally.outcomes[outcome] - known) > 0:
            yield ProblemSum(outcome=str(outcome), count=left)


def outside_of(made: Sequence[Proof]) -> Outside | None:
    """Return the sums over all primaries of what is left out, if anything is."""
    parts = [proof.outside for proof in made]
    if not any(p.visits is None or p.visits or p.names or p.under_old_keys for p in parts):
        return None
    read = [part.visits for part in parts if part.visits is not None]
    under = sum((Counter(part.under_old_keys) for part in parts), Counter[str]())
    return Outside(
        visits=sum(read) if len(read) == len(parts) else None,
        names=sum(part.names for part in parts),
        under_old_keys=under,
        not_opened=sum(part.not_opened for part in parts),
        denied=sum(part.denied for part in parts),
    )


def problem_lines(cache: Cache) -> Iterator[str]:
    """Yield the sums of all problems by what went wrong and what names begin with."""
    for one in cache.problem_sums[:_SUMS]:
        what = f"{one.outcome}, {one.reason}" if one.reason else one.outcome
        yield f"{one.count:,} {what}: names {f'begin with {one.prefix}' if one.prefix else 'vary'}"
    if more := sum(one.count for one in cache.problem_sums[_SUMS:]):
        yield f"{more:,} others"
