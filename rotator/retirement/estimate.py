"""
Estimate: says what rewriting values costs servers, replicas, files and memory, and on what basis.

It goes by counts of a sweep or a sample, and by what servers say of themselves in looks. What is
not known stays None, with the reason as its basis: nothing is made up.

- Replicas and the append-only file get `SET name value KEEPTTL`, with IFEQ the old value, too.
- A replica that is further behind than `repl_backlog_size` when it comes back copies everything;
  one that is further behind than its output buffer limit allows is dropped.
- A process forked to save shares its memory, until the server writes to a page of it: then that
  page is copied (https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Literal

from rotator.retirement.looks import Look, number, same_process
from rotator.text import count, elapsed, size

LIMIT_SETTINGS = (
    *("client-output-buffer-limit", "auto-aof-rewrite-percentage", "auto-aof-rewrite-min-size"),
)
"""What CONFIG GET is asked for the estimate, as far as the user may."""
MEASURES = (
    *("repl_backlog_size", "used_memory", "maxmemory", "used_cpu_sys", "used_cpu_user"),
    *("rdb_last_cow_size", "aof_last_cow_size"),
)
"""The fields of INFO that a look keeps for the estimate; no verdict goes by them."""

_AROUND = 41, 59  # bytes of SET and KEEPTTL, and of IFEQ with them, besides name and values
_PAGE_BYTES, _PROCESSES = 4096, 4  # so many processes sweep one node, at most
# Microseconds of server CPU a rewritten value of 1 kB: of prototypes on two cores, and 4 for SCAN.
_REWRITE_MICROSECONDS = {"ifeq": 5.5, "transaction": 7.0, "script": 11.5}
_READ_MICROSECONDS = 4.0
_BENCH = "a rough figure, for values of 1 kB"
_ROOM = 0.9  # of a core of a server, at most

Unit = Literal["values", "bytes", "seconds", "share"]


@dataclass(frozen=True, slots=True)
class Item:
    """Item: says of one thing what it is expected to be, and what it was; None: not known."""

    what: str
    unit: Unit
    expected: float | None
    basis: str
    measured: float | None = None
    limit: float | None = None
    node: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """Plan: says with how many processes, on how many machines, all servers would be busy."""

    nodes: int
    processes_a_node: int
    cores_a_machine: int
    machines: int
    basis: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """Estimate: holds what a run over a cache costs; reports hold it as it is."""

    basis: str
    items: tuple[Item, ...] = ()
    plan: Plan | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """
    Work: says how much there is to rewrite at one node, or was.

    *size* is of all *values*, in bytes, *name_size* of a name. *visits* are of one sweep, *seconds*
    its time, *way* how values are replaced; None: not known. *with_old*: replicas get old ones.
    """

    node: str
    values: int
    size: int
    visits: int
    name_size: float = 0.0
    seconds: float | None = None
    way: str | None = None
    with_old: bool = False


@dataclass(frozen=True, slots=True)
class Terms:
    """
    Terms: say how the work is done: at most *rate* visits a second, and *verifying* it or not.

    *basis* is where counts come from, *cores* this machine has, *lanes* processes swept a node.
    """

    basis: str
    rate: float | None = None
    verifying: bool = True
    cores: int | None = None
    lanes: int = 1


@dataclass(frozen=True, slots=True)
class Done:
    """Done: says what came of it: the *works* that were done, looks after, the seconds it took."""

    works: Sequence[Work]
    looks: Mapping[str, Look]
    seconds: float


def estimate(
    works: Sequence[Work], looks: Mapping[str, Look], terms: Terms, done: Done | None = None
) -> Estimate:
    """Return what *works* cost, with *looks* at their nodes before; what was *done* is beside."""
    seconds, took = _seconds(works, terms), done.seconds if done else None
    expected, was = sums(works), sums(done.works) if done else (None, None)
    items = [
        Item("values to rewrite", "values", expected[0], terms.basis, was[0]),
        Item("their size", "bytes", expected[1], terms.basis, was[1]),
        Item("time", "seconds", seconds, _basis_of_time(works, terms), took),
    ]
    for work in works:
        items += _of_node(work, looks.get(work.node), terms, seconds)
    if done:
        items = [_measured(one, looks, done) for one in items]
    return Estimate(terms.basis, tuple(items), _plan(works, terms))


def stream(work: Work) -> int:
    """Return how many bytes a replica and an append-only file get of a node's work."""
    around = round(work.values * (_AROUND[work.with_old] + work.name_size))
    return (1 + work.with_old) * work.size + around


def sums(works: Sequence[Work]) -> tuple[int, int]:
    """Return how many values there are at all nodes, and their size."""
    return sum(work.values for work in works), sum(work.size for work in works)


def _seconds(works: Sequence[Work], terms: Terms) -> float | None:
    """Return how long it takes at the limits, as far as that is known."""
    sweeps = 2 if terms.verifying and any(work.values for work in works) else 1
    known = [work.seconds for work in works if work.seconds is not None]
    slowest = max(known) if known and len(known) == len(works) else None
    if terms.rate:
        return sweeps * max(sum(work.visits for work in works) / terms.rate, slowest or 0.0)
    return None if slowest is None else sweeps * slowest


def _basis_of_time(works: Sequence[Work], terms: Terms) -> str:
    """Return what the time goes by."""
    verified = terms.verifying and any(work.values for work in works)
    sweeps = "two sweeps, the second verifies" if verified else "one sweep"
    measured = works and all(work.seconds is not None for work in works)
    paces = ["about as fast as this one"] if measured else []
    if terms.rate:
        paces.append(f"at most {terms.rate:,.0f} visits a second")
    return f"{sweeps}, {' and '.join(paces)}" if paces else "the pace was not measured"


def _of_node(work: Work, look: Look | None, terms: Terms, seconds: float | None) -> Iterator[Item]:
    """Yield what the work costs one node."""
    if look is None or look.missing:
        yield _bytes(work, "load of the server", None, "it was not looked at")
        return
    yield from _of_replicas(work, look, seconds)
    yield _of_file(work, look)
    yield _of_fork(work, look)
    yield _of_cpu(work, terms, seconds)


def _of_replicas(work: Work, look: Look, seconds: float | None) -> Iterator[Item]:
    """Yield what goes to each replica, against the backlog and the output buffer limit."""
    what, bytes_ = "traffic to each replica", float(stream(work))
    if not (replicas := number(look, "connected_slaves")):
        told = (None, "INFO does not say") if replicas is None else (0.0, "it has no replica")
        yield _bytes(work, what, *told)
        return
    backlog, most = _measure(look, "repl_backlog_size"), _output_limit(look)
    limits = [one for one in (backlog, most) if one]
    notes = [] if backlog is not None else ["the size of the backlog is not known"]
    if backlog is not None and bytes_ > backlog:
        lasts = f" for {elapsed(t)}" if (t := backlog * (seconds or 0) / bytes_) >= 0.1 else ""
        notes.append(
            f"more than the backlog of {size(round(backlog))}: a replica that is away{lasts} copies"
            " everything again"
        )
    if most is None:
        notes.append("the output buffer limit is not known")
    elif most and bytes_ > most:
        notes.append(
            f"a replica that gets {size(round(most))} behind is dropped: avoid that with"
            f" --max-lag {round(min(limits) / 2)}"
        )
    old, around = ", old value" * work.with_old, _AROUND[work.with_old]
    basis = f"{count(replicas, 'replica')}, {around} bytes a value besides name{old} and value"
    limit = min(limits, default=None)
    yield Item(what, "bytes", bytes_, basis, limit=limit, node=work.node, note="; ".join(notes))


def _bytes(work: Work, what: str, expected: float | None, basis: str, note: str = "") -> Item:
    """Return an item of a node."""
    return Item(what, "bytes", expected, basis, node=work.node, note=note)


def _output_limit(look: Look) -> float | None:
    """Return how far behind a replica may be before it is dropped; 0: no limit, None: not known."""
    words = look.settings.get("client-output-buffer-limit", "").split()
    for name, hard, soft in zip(words, words[1:], words[2:], strict=False):
        if name in {"slave", "replica"} and hard.isdecimal() and soft.isdecimal():
            limits = [float(one) for one in (hard, soft) if int(one)]
            return min(limits, default=0.0)
    return None


def _of_file(work: Work, look: Look) -> Item:
    """Return by how much the append-only file grows, against what it grows to before a rewrite."""
    what = "growth of the append-only file"
    enabled = look.facts.get("aof_enabled")
    if enabled != "1":
        told = (None, "INFO does not say if there is one") if enabled is None else (0.0, "none")
        return _bytes(work, what, *told)
    grows = float(stream(work))
    current, base = number(look, "aof_current_size"), number(look, "aof_base_size")
    percent, least = (look.settings.get(name, "") for name in LIMIT_SETTINGS[1:])
    if current is None or base is None or not (percent.isdecimal() and least.isdecimal()):
        note = "it is not known when the server rewrites it"
        return _bytes(work, what, grows, "as much as replicas get", note)
    basis = f"as much as replicas get; it has {size(current)}"
    if not int(percent):
        note = "the server never rewrites it: auto-aof-rewrite-percentage is 0"
        return _bytes(work, what, grows, basis, note)
    left = max(base * (1 + int(percent) / 100), float(least)) - current
    note = "the server rewrites it during the run, with a fork" if grows > left else ""
    return Item(what, "bytes", grows, basis, limit=max(left, 0.0), node=work.node, note=note)


def _of_fork(work: Work, look: Look) -> Item:
    """Return how much memory is copied at most if the server saves or rewrites meanwhile."""
    what = "memory that a fork copies, at most"
    used, most = _measure(look, "used_memory"), _measure(look, "maxmemory")
    touched = float(2 * work.values * _PAGE_BYTES + 2 * work.size)
    if used is None:
        return _bytes(work, what, None, "INFO does not say how much is used")
    basis = f"two pages of memory a value, at most the {size(round(used))} in use"
    note = f"maxmemory is {size(round(most))}, and does not count this" if most and touched else ""
    return _bytes(work, what, min(touched, used), basis, note)


def _of_cpu(work: Work, terms: Terms, seconds: float | None) -> Item:
    """Return which share of a core of the server it takes."""
    what = "share of the server's core"
    if not seconds:
        return Item(what, "share", None, "it is not known how long it takes", node=work.node)
    most, way = ("", work.way) if work.way else ("at most ", "script")
    micros = (1 + (terms.verifying and work.values > 0)) * work.visits * _READ_MICROSECONDS
    micros += work.values * (_REWRITE_MICROSECONDS[way] - _READ_MICROSECONDS)
    basis = f"{most}{_REWRITE_MICROSECONDS[way]} us a value by {way}, {_BENCH}"
    return Item(what, "share", min(micros / 1e6 / seconds, 1.0), basis, node=work.node)


def _measure(look: Look, name: str) -> float | None:
    """Return a measure of a look as a number; None where it is missing or none."""
    try:
        return float(look.measures[name])
    except (KeyError, ValueError):
        return None


def _measured(item: Item, before: Mapping[str, Look], done: Done) -> Item:
    """Return an item with what was measured; what applications did meanwhile is in it."""
    first, last = before.get(item.node or ""), done.looks.get(item.node or "")
    if first is None or last is None or first is last or not same_process(first, last):
        return item  # a server that was away in the end was looked at once
    grown = {
        "traffic to each replica": _grown(first, last, "master_repl_offset"),
        "growth of the append-only file": _grown(first, last, "aof_current_size"),
    }
    value = grown.get(item.what) if item.expected else None
    if item.unit == "share" and done.seconds:
        cpu = [_measure(one, name) for one in (first, last) for name in MEASURES[3:5]]
        known = [one for one in cpu if one is not None]
        value = (sum(known[2:]) - sum(known[:2])) / done.seconds if len(known) == len(cpu) else None
    marks = ("rdb_saves", "aof_rewrites")
    saves = any(first.facts.get(one) != last.facts.get(one) for one in marks)
    if item.what.startswith("memory") and saves:
        value = max(_measure(last, name) or 0.0 for name in MEASURES[5:7])
    return replace(item, measured=value)


def _grown(first: Look, last: Look, fact: str) -> float | None:
    """Return by how much a number has grown; None if it was begun anew."""
    before, now = number(first, fact), number(last, fact)
    return None if before is None or now is None or now < before else float(now - before)


def _plan(works: Sequence[Work], terms: Terms) -> Plan | None:
    """Return with how many processes and machines all servers would be busy; None: not known."""
    paces = [work.visits / work.seconds / terms.lanes for work in works if work.seconds]
    if not paces or len(paces) < len(works) or not terms.cores or not min(paces):
        return None
    server = _ROOM * 1e6 / _REWRITE_MICROSECONDS[works[0].way or "script"]
    processes = min(max(ceil(server / min(paces)), 1), _PROCESSES)
    machines = ceil(len(works) * processes / terms.cores)
    basis = f"{min(paces):,.0f} visits/s a process, a server takes {server:,.0f}: {_BENCH}"
    return Plan(len(works), processes, terms.cores, machines, basis)
