"""Cost: says by a sample of values what a run would cost servers, before one is allowed."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from math import ceil

from rotator.crypto.codec import Codec, Opened
from rotator.diagnose.detect import stored_entries
from rotator.diagnose.steps import Advice, Next, Probe
from rotator.report.fields import cost_rows
from rotator.retirement.estimate import Terms, Work, estimate
from rotator.retirement.looks import Look, counts_subcommands
from rotator.server.context import CacheContext
from rotator.server.copies import take_look, with_settings
from rotator.server.replies import NoValue
from rotator.server.store import Store, Value
from rotator.server.topology import discover
from rotator.server.wire.versions import knows_ifeq
from rotator.sweep.node.field_reader import FieldReader, entries
from rotator.sweep.scope import Scope, matcher
from rotator.tally.tally import Mode
from rotator.text import count

SAMPLES = 1_000
"""How many values are sampled, on all nodes together."""

_PAGE = 50  # values read at a time


def cost(probe: Probe) -> str | Advice:
    """Estimate the cost of a run by a sample; how long it takes only a dry run can tell."""
    access = probe.access
    if access.codec is None:
        return "encryption is off"
    looks: dict[str, Look] = {}
    works, sampled, by_lot = [], 0, True
    primaries = discover(access.cache.addresses, access.connect).primaries
    for address in primaries:
        with access.connect(address) as store:
            store.enable_no_touch()
            looks[store.node] = _look(store)
            work, looked_at = _work(access, access.codec, store, SAMPLES // len(primaries) or 1)
            works.append(replace(work, with_old=knows_ifeq(looks[store.node].facts)))
            sampled += looked_at
            by_lot &= _may_draw(store)
    names = sum(work.visits for work in works)
    way = "" if by_lot else ", the first of a scan, as +randomkey is missing"
    basis = f"from {count(sampled, 'name')} sampled of about {count(names, 'name')}{way}"
    rows = [*cost_rows(estimate(works, looks, Terms(basis)))]
    known = [
        f"{row.what} {row.expected}" + f" ({row.where})" * bool(row.where)
        for row in rows
        if row.expected != "not known"
    ]
    notes = [row.note for row in rows if row.note]
    unknown = " and ".join(row.what for row in rows if row.expected == "not known")
    told = f"; {unknown}: a dry run tells" if unknown else ""
    detail = f"{', '.join(known)} ({basis}){told}"
    return Next(detail, "; ".join(notes)) if notes else detail


def _look(store: Store) -> Look:
    """Return a look without CONFIG before 7.0: a verdict goes by how often that was called."""
    look = take_look(store, settings=False)
    return with_settings(store, look) if counts_subcommands(look) else look


def _work(access: CacheContext, codec: Codec, store: Store, samples: int) -> tuple[Work, int]:
    """Return how much there is to rewrite at a node, as far as *samples* tell, and their number."""
    names = sum(store.databases().values())
    old, seen = list[tuple[bytes, bytes]](), 0
    for name, value in _drawn(access, store, samples):
        seen += 1
        if not isinstance(value, bytes):
            continue
        opened = codec.open(name, value)
        if isinstance(opened, Opened) and codec.needs_rewrite(opened):
            old.append((name, value))
    share = names / seen if seen else 0.0
    work = Work(
        node=store.node,
        values=round(len(old) * share),
        size=round(sum(len(value) for _, value in old) * share),
        visits=names,
        name_size=sum(len(name) for name, _ in old) / len(old) if old else 0.0,
    )
    return work, seen


def _may_draw(store: Store) -> bool:
    """Return whether the user may have names drawn by lot."""
    return not isinstance(store.connection.pipeline([("RANDOMKEY",)])[0], Exception)


def _drawn(access: CacheContext, store: Store, samples: int) -> Iterator[tuple[bytes, Value]]:
    """
    Yield names and their values as they were drawn by lot; a name out of scope has none.

    The first of a scan would not do: a run that was stopped has done just those. Where RANDOMKEY is
    refused they have to.
    """
    settings = access.settings
    held = {database: number for database, number in store.databases().items() if number}
    scope = Scope(Mode.DRY_RUN, settings.match, settings.databases, fields=settings.fields)
    matches, fields = matcher(settings.match).fullmatch, FieldReader.of(settings.fields)
    for database, number in held.items():
        store.select(database)
        wanted = ceil(samples * number / sum(held.values()))
        lot = store.connection.pipeline([("RANDOMKEY",)] * wanted)
        names = list(dict.fromkeys(name for name in lot if isinstance(name, bytes)))
        if not names:
            yield from islice(stored_entries(store, database, None, fields), wanted)
            continue
        inside = [name for name in names if scope.visits(database) and matches(name)]
        for start in range(0, len(inside), _PAGE):
            some = inside[start : start + _PAGE]
            for found, values in entries(fields, store, some, store.read(some)):
                yield from zip(found, values, strict=True)
        yield from ((name, NoValue.GONE) for name in names if name not in {*inside})
