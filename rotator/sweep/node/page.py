"""
Page: decides what is rewritten, settles what became of it; pure.

- What is met nearly always opens and is not nested. `decide` deals with that in one go, with little
  work for each value, and leaves the others undecided; `look` takes them one by one.
- A page that breaks off is visited anew and must not count twice: `settle` counts into a
  `PageTally`, which is merged into the node's tally when all names are done.
- A value that stays under an old key is tallied last, with its expiry: that decides when its keys
  drain.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import compress
from typing import Any, NamedTuple

from rotator.crypto.codec import Codec
from rotator.crypto.keyring import Key
from rotator.crypto.layout import FieldName
from rotator.server.replies import ErrorKind, ErrorReply, NoValue, SetResult
from rotator.server.scripts import Replacement
from rotator.server.store import GONE, Value
from rotator.sweep.node.selector import Candidate, Deletion, Kept, Recorded, Selector
from rotator.tally.tally import MET, SAMPLES, WRITTEN, BulkOutcome, Outcome, Problem, Tally

TRIES = 5
"""How often a value that changes meanwhile is read, at most."""

RECORDS = 10_000
"""How many names are remembered of those that were not under the current key in the end."""


class Page(NamedTuple):
    """
    Page: holds names with their values, or a part of them.

    *others* are names under which a value may have been written before it was moved, *closer_looks*
    bounds how many undecryptable values are tried under those. *tried* names were acted on already.
    """

    names: Sequence[bytes]
    values: Sequence[Value]
    others: Sequence[bytes] = ()
    closer_looks: int = SAMPLES
    tried: Collection[bytes] = ()


@dataclass(slots=True)
class PageDecision:
    """
    Page decision: says what is to be done with each name of a page.

    *current* values, of *current_size* bytes together, are under *current_key*. *undecided* are the
    indices of those to look at one by one. *encryptions* counts the nonces that were used,
    *closer_looks* what is left of those of the page. *formats* are as in `Tally`.
    """

    current_key: Key
    closer_looks: int = SAMPLES
    current: int = 0
    current_size: int = 0
    rewrites: list[Replacement] = field(default_factory=list)
    deletions: list[Deletion] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    refused: list[tuple[bytes, ErrorReply]] = field(default_factory=list)
    undecided: list[int] = field(default_factory=list)
    encryptions: int = 0
    formats: set[tuple[str, str]] = field(default_factory=set)

    def extend(self, other: PageDecision) -> None:
        """Add what was decided about the next part of the page."""
        self.closer_looks = other.closer_looks
        self.current += other.current
        self.current_size += other.current_size
        self.rewrites += other.rewrites
        self.deletions += other.deletions
        self.kept += other.kept
        self.refused += other.refused


def decide(page: Page, codec: Codec, selector: Selector) -> PageDecision:
    """
    Open the values of a page, and re-encrypt those under a key that the selector moves.

    Raises:
        SelfCheckError: A new value does not open to the same plaintext.
    """
    current, movable, new_record = codec.keyring.current, selector.movable, tuple.__new__
    decision, used, sizes, count = PageDecision(current, page.closer_looks), 0, 0, 0
    if movable is None:
        decision.undecided = list(range(len(page.names)))
        return decision
    fast_path, nested, write = codec.fast_path, codec.nested_keys, codec.write
    least, letters, watched = codec.min_random_size, codec.letters, codec.watched
    largest, rewrites, undecided = selector.largest, decision.rewrites, decision.undecided
    # Asked for at once: a call to the operating system costs as much as half an encryption.
    nonces = os.urandom(len(page.names) * codec.nonce_size) if movable else b""
    values: Sequence[Any] = page.values
    for index, (name, value) in enumerate(zip(page.names, values, strict=True)):
        read = fast_path.get(value[:1]) if type(value) is bytes else None
        found = None if read is None else read(name, value)
        if read is not None and type(found) is not tuple:
            found = codec.read(name, value)
        if type(found) is not tuple:
            undecided.append(index)
            continue
        plaintext, key, reader = found
        plain = len(plaintext) >= least and plaintext[0] not in letters and plaintext.isascii()
        other = write is not None and write is not reader.format
        if other or (not plain and nested(name, plaintext)) or len(value) > largest:
            undecided.append(index)
        elif key is current:
            count += 1
            sizes += len(value)
            if watched and reader in watched:
                decision.formats.add((MET, reader.format.name))
        elif key in movable:
            new = reader.seal(name, plaintext, nonces[used : used + reader.nonce_size], value)
            used += reader.nonce_size
            rewrites.append(new_record(Replacement, (name, value, new, key)))
            if watched and reader in watched:
                decision.formats.add((WRITTEN, reader.format.name))
        else:
            decision.kept.append(Kept(name, Outcome.WOULD_ROTATE, (key,), len(value), listed=False))
    decision.current, decision.current_size = count, sizes
    decision.encryptions = len(rewrites)
    return decision


def look(page: Page, decision: PageDecision, selector: Selector) -> None:
    """
    Decide about what `decide` has left undecided.

    Raises:
        SelfCheckError: A new value does not open to the same plaintext.
    """
    for index in decision.undecided:
        name, value = page.names[index], page.values[index]
        if isinstance(value, ErrorReply):
            decision.refused.append((name, value))
        elif isinstance(value, NoValue):
            outcome = Outcome(value.value)
            detail = selector.not_readable if value is NoValue.DENIED else ""
            listed = outcome in selector.lists
            decision.kept.append(Kept(name, outcome, detail=detail, listed=listed))
        else:
            closely = decision.closer_looks > 0
            judged = selector.judge(Candidate(name, value, page.others, closely))
            if isinstance(judged, Kept) and name in page.tried:
                judged = Kept(name, BulkOutcome.CHANGED, listed=False)
            _put(decision, judged, selector)


def _put(decision: PageDecision, judged: Kept | Replacement | Deletion, by: Selector) -> None:
    """Put a decision where it belongs."""
    if isinstance(judged, Replacement):
        decision.rewrites.append(judged)
        decision.encryptions += 1
    elif isinstance(judged, Deletion):
        decision.deletions.append(judged)
    elif judged.outcome is Outcome.CURRENT and judged.keys:
        decision.current += 1
        decision.current_size += judged.size
    else:
        decision.kept.append(judged)
        decision.encryptions += by.writes and judged.outcome is Outcome.TOO_LARGE
        decision.closer_looks -= judged.outcome is Outcome.UNDECRYPTABLE


class Again(NamedTuple):
    """Again: a visit that goes on, for *reply* or a changed value; else it ends as *otherwise*."""

    reply: ErrorReply | None
    otherwise: Kept


@dataclass(slots=True)
class PageTally:
    """
    Page tally: counts what became of the names of a page of *node*, met *at* a moment.

    *rewritten* are the names whose values were replaced, or those of hashes, *remaining* the values
    whose expiry is still to be asked for. *tried* names were acted on, *moved* ones sent on by
    MOVED. *records* say how names were tallied, if not as current, rotated or gone.
    *topology_error* is whether the node answered MOVED or READONLY.
    """

    node: str
    at: datetime
    tally: Tally = field(default_factory=Tally)
    rewritten: set[bytes] = field(default_factory=set)
    remaining: list[Kept] = field(default_factory=list)
    tried: set[bytes] = field(default_factory=set)
    moved: set[bytes] = field(default_factory=set)
    records: dict[bytes, Recorded] = field(default_factory=dict)
    topology_error: bool = False

    def keep(self, kept: Kept) -> None:
        """Count a visit that writes nothing; if keys are to be tallied `commit` does."""
        if kept.keys:
            self.remaining.append(kept)
            return
        self.tally.add(kept.outcome, kept.reason)
        if kept.outcome is BulkOutcome.PICKED:
            self.tally.selected.stay(kept.size, self.at, kept.name, None, too_large=False)
        if kept.listed:
            self._record(kept, kept.outcome)

    def commit(self, expiries: Sequence[int | None]) -> None:
        """Count what remains; *expiries* are in Unix ms, as `Store.expiries` gives them."""
        for kept, expires_at in zip(self.remaining, expiries, strict=True):
            if expires_at == GONE:
                self.count_gone(kept.keys, kept.size)
                continue
            self.tally.add(kept.outcome)
            too_large = kept.outcome is Outcome.TOO_LARGE
            for key in kept.keys:
                self.tally.count_remaining(
                    key.id, kept.size, self.at, kept.name, expires_at, too_large=too_large
                )
            self._record(kept, tuple([key.id for key in kept.keys]))
        self.remaining.clear()

    def count_gone(self, keys: Sequence[Key], size: int) -> None:
        """Count a name that is not there any more; its value was met under *keys*."""
        self.tally.add(Outcome.GONE)
        for key in keys:
            self.tally.count_moved(key.id, size, self.at)

    def count_rewritten(self, key: Key | None, swaps: Sequence[Replacement]) -> None:
        """Count values that were under *key*, or plaintext, and now are under the current one."""
        names = [swap.name for swap in swaps]
        self.rewritten.update(map(bytes, names) if names and type(names[0]) is FieldName else names)
        if key is None:
            self.tally.add(BulkOutcome.DONE, count=len(names))
        elif names:
            self.tally.add(Outcome.ROTATED, count=len(names))
            size = sum([len(swap.old) for swap in swaps])
            self.tally.count_many_moved(
                key.id, len(names), size, self.at, rotated=True, names=names
            )

    def may_go_on(self, name: bytes, reply: ErrorReply) -> bool:
        """Return whether another try may help: a little later, or at another node."""
        self.topology_error |= reply.meaning is ErrorKind.TOPOLOGY
        if reply.message.startswith("MOVED "):
            # With ASKING before it there is no second chance: the slot is not on its way here.
            return name not in self.moved
        return reply.meaning is ErrorKind.RETRY or reply.message.startswith("ASK ")

    def _record(self, kept: Kept, record: Recorded) -> None:
        if len(self.records) < RECORDS:
            self.records[kept.name] = record
        if kept.listed:
            problem = Problem(kept.name, self.node, kept.outcome, kept.reason, kept.detail)
            self.tally.problem(problem)


def settle(
    decision: PageDecision, answers: Sequence[SetResult | ErrorReply], page: PageTally
) -> list[Again]:
    """
    Count into *page* what is known of the visits; return those that go on.

    *answers* are to the rewrites, then to the deletions.
    """
    tally, again = page.tally, list[Again]()
    if decision.current:
        key, count, size = decision.current_key, decision.current, decision.current_size
        tally.add(Outcome.CURRENT, count=count)
        tally.count_many_moved(key.id, count, size, page.at)
    for kept in decision.kept:
        page.keep(kept)
    for name, reply in decision.refused:
        again += _refused(page, reply, Kept(name, Outcome.FAILED, detail=reply.about(name)))
    rewrites, deletions = decision.rewrites, decision.deletions
    done = [answer is SetResult.DONE for answer in answers]
    for old_key in {swap.key for swap in rewrites}:
        of_key = [one and swap.key is old_key for swap, one in zip(rewrites, done, strict=False)]
        page.count_rewritten(old_key, list(compress(rewrites, of_key)))
    for deletion in compress(deletions, done[len(rewrites) :]):
        tally.add(BulkOutcome.DONE, deletion.reason and f"{BulkOutcome.DONE}.{deletion.reason}")
    if not all(done):
        changes: list[Replacement | Deletion] = [*rewrites, *deletions]
        for change, answer in zip(changes, answers, strict=True):
            if answer is not SetResult.DONE:
                again += _undone(page, change, answer)
    return again


def _undone(
    page: PageTally, change: Replacement | Deletion, answer: SetResult | ErrorReply
) -> list[Again]:
    """Count a visit that did not write, or return it if it goes on."""
    key = change.key if isinstance(change, Replacement) else None
    keys = () if key is None else (key,)
    kept = Kept(change.name, Outcome.DENIED, keys, len(change.old))
    if isinstance(answer, ErrorReply):
        failed = kept._replace(outcome=Outcome.FAILED, detail=answer.about(change.name))
        return _refused(page, answer, failed)
    if answer is SetResult.CHANGED:
        detail = f"changed at each of {TRIES} tries"
        return [Again(None, kept._replace(outcome=Outcome.CONTENDED, detail=detail))]
    if answer is SetResult.GONE:
        page.count_gone(keys, kept.size)
    else:
        page.keep(kept._replace(detail="" if keys else "the user may not write it"))
    return []


def _refused(page: PageTally, reply: ErrorReply, failed: Kept) -> list[Again]:
    """Count a visit as *failed*, or return it if it goes on in spite of *reply*."""
    if page.may_go_on(failed.name, reply):
        return [Again(reply, failed)]
    page.keep(failed)
    return []
