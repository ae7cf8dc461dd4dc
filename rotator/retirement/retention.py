"""
Retention: says which looks and proofs are worth keeping, so that the state does not grow for ever.

What may still count for a key that is listed is kept, once a day at least. What is older only says
where servers, files and processes are or were: of all that say the same, the last one is kept. To
leave a record out never makes a verdict better, and none worse.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Generic, NamedTuple, TypeVar

from rotator.retirement.lineage import broken_between
from rotator.retirement.looks import Look, Proof, calls
from rotator.retirement.persistence import MAY_KEEP_AOF, NOTHING_THERE
from rotator.retirement.places import Fence

T = TypeVar("T")

_LATEST = 20  # looks at a server, and proofs of a node, that are kept in any case
_APART = timedelta(days=1)


def moments(
    proofs: Sequence[Proof],
    seen_at: Mapping[str, datetime | None],
    fence: Fence | None,
    lost_at: datetime | None = None,
) -> list[datetime]:
    """
    Return from when on records count: for each of the keys in *seen_at*, and for the fence.

    A key is proven to be gone by proofs that began after anything met it, *seen_at* by a sweep, or
    may have, up to *lost_at* (verdict 2). Whether a fence holds is seen from its moment on
    (verdict 5).
    """
    found = []
    for key_id, at in seen_at.items():
        met = [one.ended_at for one in proofs if _met(one, key_id)]
        last = max((time for time in (at, lost_at, *met) if time), default=None)
        if last is not None:
            found.append(last + timedelta.resolution)
        else:
            found += [one.begun_at for one in proofs if key_id in one.met][:1]
    if fence is not None and fence.voided_at is None:
        found.append(fence.at)
    return found


def _met(proof: Proof, key_id: str) -> bool:
    return bool(proof.met.get(key_id) or proof.outside.under_old_keys.get(key_id))


def thinned(
    proofs: Sequence[Proof], looks: Sequence[Look], since: Iterable[datetime]
) -> tuple[list[Proof], list[Look]]:
    """
    Return what is worth keeping of proofs and looks, in their order; *since* are the `moments`.

    Of what counts, that goes which is like the record before it, but for one a day, the first after
    each moment and the last ones.
    """
    lives = _lives(looks)
    kind: _Kind[Proof] = _Kind(
        lambda one: one.node,
        lambda one: one.begun_at,
        lambda one: (_shows(one), lives.get((one.node, one.before.at))),
    )
    first = _first(kind, proofs, since)
    begin = min((one.begun_at for one in first), default=None)
    few = _differing(kind, proofs, first)
    opened = [one for one in few if one.opened][-1:]  # that any value ever opened
    kept = _with_meetings(few, _counting(kind, few, begin, opened))
    ends = {(look.address, look.at) for one in kept for look in (one.before, one.after)}
    needed = [one for one in looks if (one.address, one.at) in ends]
    needed += _first(_LOOKS, looks, [one.ended_at for one in kept])
    said = _differing(_LOOKS, looks, needed)
    return kept, _counting(_LOOKS, said, begin, [*needed, *_telling(said)])


class _Kind(NamedTuple, Generic[T]):
    """Kind of record: says whose and of what time one is, and what it says besides."""

    owner: Callable[[T], str]
    at: Callable[[T], datetime]
    content: Callable[[T], object]


def _first(kind: _Kind[T], records: Iterable[T], since: Iterable[datetime]) -> list[T]:
    """Return the first record of each owner at or after each of the moments *since*."""
    ordered, found = sorted(since), dict[tuple[str, int], T]()
    for one in records:
        if passed := bisect_right(ordered, kind.at(one)):
            found.setdefault((kind.owner(one), passed), one)
    return list(found.values())


def _last(kind: _Kind[T], records: Sequence[T]) -> Iterator[T]:
    """Yield the last records of each owner."""
    left = Counter(map(kind.owner, records))
    for one in records:
        left[kind.owner(one)] -= 1
        if left[kind.owner(one)] < _LATEST:
            yield one


def _differing(kind: _Kind[T], records: Sequence[T], kept: Iterable[T]) -> list[T]:
    """
    Return the records without those that say what the one before and the next one say.

    Those *kept* stay, one a day, and the last ones of each owner.
    """
    before, following = dict[str, T](), _following(kind, records)
    alive, found = set(map(id, (*kept, *_last(kind, records)))), []
    for one in records:
        last, after = before.get(kind.owner(one)), following.get(id(one))
        alike = last and after and kind.content(last) == kind.content(one) == kind.content(after)
        apart = last is not None and abs(kind.at(one) - kind.at(last)) >= _APART
        if not alike or apart or id(one) in alive:
            found.append(one)
            before[kind.owner(one)] = one
    return found


def _with_meetings(proofs: Sequence[Proof], kept: Iterable[Proof]) -> list[Proof]:
    """
    Return those *kept* of proofs, and those without which one would count for a key too early.

    That is the last one that met the key, at whichever server. What was met outside of the scope,
    or is too large to be moved, is written down nowhere else.
    """
    last = {
        key_id: one
        for one in sorted(proofs, key=lambda one: one.ended_at)
        for key_id in {*one.met, *one.outside.under_old_keys}
        if _met(one, key_id)
    }
    waiting = list(kept)
    found = set(map(id, waiting))
    while waiting:
        one = waiting.pop()
        for meeting in filter(None, map(last.get, one.met)):
            if meeting.ended_at >= one.begun_at and id(meeting) not in found:
                found.add(id(meeting))
                waiting.append(meeting)
    return [one for one in proofs if id(one) in found]


def _following(kind: _Kind[T], records: Sequence[T]) -> dict[int, T]:
    """Return the next record of the same owner, by the identity of each."""
    later, found = dict[str, T](), dict[int, T]()
    for one in reversed(records):
        if kind.owner(one) in later:
            found[id(one)] = later[kind.owner(one)]
        later[kind.owner(one)] = one
    return found


def _counting(
    kind: _Kind[T], records: Sequence[T], begin: datetime | None, kept: Iterable[T]
) -> list[T]:
    """
    Return the records that may count: from the first one of *begin* on, and the last of each owner.

    The others are left out, unless they are *kept*. Clocks may have been set: only what came
    earlier is older.
    """
    since = (n for n, one in enumerate(records) if begin is not None and kind.at(one) >= begin)
    old = next(since, len(records))
    alive = set(map(id, (*kept, *_last(kind, records))))
    return [one for number, one in enumerate(records) if number >= old or id(one) in alive]


def _telling(looks: Sequence[Look]) -> list[Look]:
    """
    Return the looks that tell what no later one does, of files, roles and names a server had.

    Of each process also the first in each role: what was called since is counted from there.
    """
    first = {(one.facts.get("run_id"), one.facts.get("role")): one for one in reversed(looks)}
    last = {(one.address, trace): one for one in looks for trace in _traces(one)}
    return [*first.values(), *last.values()]


def _traces(look: Look) -> Iterator[Hashable]:
    """Yield what a look tells of its server that counts however old it is (verdict 4)."""
    if look.missing:
        yield "missing"
        return
    fact = look.facts.get
    yield "process", fact("run_id"), look.node_id
    yield "history", fact("master_replid"), fact("master_replid2")
    yield "role", fact("run_id"), fact("role"), fact("slave_read_only")
    yield "file", look.settings.get("dir"), look.settings.get("dbfilename")
    yield from (("counted", name) for name in NOTHING_THERE if fact(name) != "0")
    yield from (("called", name) for name in MAY_KEEP_AOF if calls(look, name) != 0)
    yield "rewrite", fact("aof_last_rewrite_time_sec") not in {None, "-1"}


def _lives(looks: Iterable[Look]) -> dict[tuple[str, datetime], int]:
    """Return to which life of its server's data each look belongs: a break begins a new one."""
    last, found = dict[str, Look](), dict[tuple[str, datetime], int]()
    for one in looks:
        if one.missing:
            continue
        before = last.get(one.address)
        life = found[before.address, before.at] if before else 0
        broken = before is not None and broken_between(before, one) is not None
        found[one.address, one.at] = life + broken
        last[one.address] = one
    return found


def _shows(proof: Proof) -> object:
    """Return what a proof says besides its times."""
    met, items = dict(proof.met), dict(proof.open_items)
    return proof.basis, met, items, proof.outside, proof.hidden, proof.doubt


_PASSING = {
    *("uptime_in_seconds", "total_commands_processed", "master_repl_offset", "slave_repl_offset"),
    *("expired_keys", "evicted_keys", "rdb_changes_since_last_save", "aof_current_size"),
}


def _says(look: Look) -> object:
    """Return what a look says besides what changes all the time."""
    facts = {name: fact for name, fact in look.facts.items() if name not in _PASSING}
    counted = {name: n for name, n in (look.calls or {}).items() if name != "scan"}
    return (
        facts,
        counted,
        look.settings,
        look.node_id,
        look.slots,
        look.epoch,
        look.listed,
        look.missing,
        look.canary_found,
    )


_LOOKS: Final[_Kind[Look]] = _Kind(lambda one: one.address, lambda one: one.at, _says)
