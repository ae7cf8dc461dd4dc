"""
Fields: hold the types of a report's fields, and the facts of a run: who, where, how, how it felt.

Times are UTC and whole seconds; text may be anything that a server says.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, NamedTuple

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
)

from rotator.retirement.estimate import Estimate, Item, Plan
from rotator.retirement.forecast import Progress, Schedule
from rotator.tally.load import Latency, NodeLoad
from rotator.tally.tally import Outcome
from rotator.text import add_clamped, count, elapsed, moment, percent, rfc3339, size, stamp

OUTCOMES = tuple(str(outcome) for outcome in Outcome)
QUIET = "1h"
"""The quiet time of a run without `--quiet`."""
_SHORTEST = 0.1  # seconds that are shown as a number
_ASSUMING = "assuming that "
_NOT_KNOWN = "not known"
_SHOWN_DIGEST = 12  # characters of a SHA-256 that people compare


def one_of(*words: str) -> Any:
    """Return what lets a field take only some words, and says so in the JSON Schema."""
    return Field(pattern=f"^({'|'.join(words)})$", json_schema_extra={"enum": list(words)})


def _writable(value: object) -> object:
    """Spell out a half of a surrogate pair, Python's way to keep a byte that is not UTF-8."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _cut_off(at: datetime) -> datetime:
    """Return the last whole second, in UTC; ValueError: UTC has no such year."""
    try:
        return at.astimezone(UTC).replace(microsecond=0)
    except OverflowError:
        raise ValueError("a time before the year 1 or after 9999") from None


def _round_up(at: datetime) -> datetime:
    """Return the next whole second, in UTC; the last one of all has none."""
    whole = _cut_off(at)
    return whole if whole == at else add_clamped(whole, timedelta(seconds=1))


def every_outcome(counts: dict[str, int]) -> dict[str, int]:
    """Return the counts of all outcomes, in the design's order."""
    if strangers := [name for name in counts if name not in OUTCOMES]:
        raise ValueError(f"not an outcome: {', '.join(strangers)}")
    return {name: counts.get(name, 0) for name in OUTCOMES}


_SHAPE = WithJsonSchema({"type": "string", "format": "date-time"})
Moment = Annotated[AwareDatetime, AfterValidator(_cut_off), PlainSerializer(rfc3339), _SHAPE]
"""A time that has passed."""
Deadline = Annotated[AwareDatetime, AfterValidator(_round_up), PlainSerializer(rfc3339), _SHAPE]
"""A time before which something must not be relied on."""
Text = Annotated[str, BeforeValidator(_writable)]
"""What comes from a server: any text, made such that every encoder can write it."""
Outcomes = Annotated[dict[str, int], AfterValidator(every_outcome)]


_REQUIRED: ConfigDict = {"json_schema_serialization_defaults_required": True}


class Part(BaseModel):
    """Part: cannot be changed once it is made; all parts of a report are such."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, **_REQUIRED)


class File(Part):
    """File: says which file of the configuration it was."""

    path: Text
    sha256: str


class Facts(Part):
    """Facts: say who made a run, where and how; None in a report of an earlier version."""

    host: Text = ""
    user: Text = ""
    options: tuple[Text, ...] = ()
    files: tuple[File, ...] = ()
    assumptions: tuple[Text, ...] = ()


class Pages(Part):
    """Pages: say how many there were, and how many names they had."""

    count: int
    smallest: int
    median: int
    largest: int


class NodeLatency(Part):
    """Latency: says what other clients of a node waited for it, by PINGs; None: not measured."""

    before: Latency | None = None
    during: Latency | None = None
    goal_ms: float | None = None
    seconds_above_goal: float = 0.0


def latency_of(load: NodeLoad, goal: float | None) -> NodeLatency | None:
    """Return what a report says of the latency of a node; None if it was not measured."""
    before, during = load.before.summary(), load.during.summary()
    if before is None and during is None:
        return None
    above = round(load.above, 3)
    return NodeLatency(before=before, during=during, goal_ms=goal or None, seconds_above_goal=above)


def pages_of(load: NodeLoad) -> Pages | None:
    """Return what a report says of the pages of a node; None if there were none."""
    if (sizes := load.page_sizes()) is None:
        return None
    smallest, median, largest = sizes
    return Pages(count=load.pages.total(), smallest=smallest, median=median, largest=largest)


def left(number: int, *, at_least: bool) -> str:
    """Return a number of values that are left; *at_least*: not everything was looked at."""
    if not at_least:
        return f"{number:,}"
    return f"at least {number:,}" if number else "not known"


def who(facts: Facts) -> Iterator[str]:
    """Yield who made a run, where and how, in sentences without an end."""
    if facts.host or facts.user:
        yield f"by {facts.user or 'an unknown user'} on {facts.host or 'an unknown host'}"
    yield f"options: {' '.join(facts.options)}" if facts.options else "options: the defaults"
    for file in facts.files:
        yield f"configuration {file.path}, SHA-256 {file.sha256[:_SHOWN_DIGEST]}"


def quiet_time(facts: Facts | None) -> str | None:
    """Return the quiet time of a run, if it was given as an option."""
    options = (one.partition(" ") for one in facts.options) if facts else ()
    given = next((value for flag, _, value in options if flag == "--quiet"), None)
    return given and f"{given} (the default{'' if given == QUIET else f' is {QUIET}'})"


def took(seconds: float) -> str:
    """Return how long something took; a time that would be shown as none is said to be short."""
    return elapsed(seconds) if seconds >= _SHORTEST else f"less than {elapsed(_SHORTEST)}"


def felt(latency: NodeLatency) -> Iterator[str]:
    """Yield what other clients waited, before and during a run, and how that is to the goal."""
    for when, found in (("before", latency.before), ("during", latency.during)):
        if found is None:
            yield f"{when} not measured"
            continue
        known = (("p50", found.p50_ms), ("p99", found.p99_ms), ("max", found.max_ms))
        times = ", ".join(f"{name} {taken:.2f}" for name, taken in known)
        yield f"{when} {times} ms ({count(found.count, 'PING')})"
    if latency.goal_ms is not None:
        above = elapsed(latency.seconds_above_goal) if latency.seconds_above_goal else "never"
        yield f"{above} above the goal of {latency.goal_ms:g} ms plus network"


def bore(
    latency: NodeLatency | None,
    pages: Pages | None,
    exchanged: Mapping[str, int],
    waited: Mapping[str, float],
    evictions: int | None,
) -> Iterator[str]:
    """Yield what a node had to bear."""
    if latency:
        yield from felt(latency)
    if pages:
        sizes = f"{pages.smallest:,} to {pages.largest:,} names, median {pages.median:,}"
        yield f"{count(pages.count, 'page')} of {sizes}"
    yield from (f"{number:,} replaced by {way}" for way, number in exchanged.items())
    yield from (f"waited {elapsed(took)} for {why}" for why, took in waited.items())
    yield "evictions not known" if evictions is None else f"{evictions:,} evicted"


def longest(latency: NodeLatency | None) -> float:
    """Return the 99th percentile of PINGs during a run, in ms; 0 where it was not measured."""
    return latency.during.p99_ms if latency and latency.during else 0.0


def is_work(estimate: Estimate) -> bool:
    """Return whether there is anything to rewrite, or was: else a run costs what reading does."""
    return any(item.unit == "values" and item.expected for item in estimate.items)


class CostRow(NamedTuple):
    """Row: says as text of one thing what a run costs: expected and measured, and at which node."""

    what: str
    where: str
    expected: str
    measured: str
    basis: str
    note: str


def cost_rows(estimate: Estimate) -> Iterator[CostRow]:
    """Yield what a run costs; of several nodes the one that has most to bear."""
    most: dict[str, Item] = {}
    for item in estimate.items:
        known = most.get(item.what)
        if known is None or _weight(item) > _weight(known):
            most[item.what] = item
    nodes = len({item.node for item in estimate.items if item.node})
    for item in most.values():
        one = item.node and nodes > 1 and (item.expected != 0 or item.measured)
        where = f"{item.node}, the most of {nodes:,} nodes" if one else ""
        amounts = (_amount(item.expected, item.unit), _amount(item.measured, item.unit))
        basis = "" if estimate.basis.startswith(item.basis) else item.basis
        yield CostRow(item.what, where, *amounts, basis, item.note)


def _weight(item: Item) -> float:
    """Return how much an item is; one that is not known is more than any that is."""
    return float("inf") if item.expected is None else item.expected


def _amount(number: float | None, unit: str) -> str:
    """Return an amount as people read it."""
    if number is None:
        return _NOT_KNOWN
    shown = {"values": f"{number:,.0f}", "bytes": size(round(number)), "share": percent(number)}
    return shown.get(unit) or elapsed(number)


def cost_lines(estimate: Estimate) -> Iterator[str]:
    """Yield what a run costs, in sentences, and what growth would need."""
    measured = any(item.measured is not None for item in estimate.items)
    for row in cost_rows(estimate):
        was = f", measured {row.measured}" if measured and row.measured != _NOT_KNOWN else ""
        known = "; ".join(filter(None, (row.where, row.basis)))
        basis = f" ({known})" if known else ""
        note = f"; {row.note}" if row.note else ""
        yield f"{row.what}: {row.expected}{was}{basis}{note}"
    if estimate.plan:
        yield plan_line(estimate.plan)


def plan_line(plan: Plan) -> str:
    """Return what it takes to keep all servers busy: growth beyond this machine."""
    processes = f"{count(plan.processes_a_node, 'process', 'processes')} a node"
    machines = f"{count(plan.machines, 'machine')} of {count(plan.cores_a_machine, 'core')}"
    return f"the fastest way: {processes}, on {machines} ({plan.basis})"


def how_far(progress: Progress) -> str:
    """Return how far a sweep is that was stopped, and when it will be done."""
    names = "" if progress.names is None else f" of {count(progress.names, 'name')}"
    share = "" if progress.fraction is None else f" ({percent(progress.fraction)})"
    pace = progress.visits_per_second
    speed = f" at {pace:,.0f} a second" if pace else ""
    done = f"{progress.visited:,}{names} visited{share}{speed}"
    if progress.phase == "verification":
        done = f"all values moved; verifying sweep: {done}"
    runs = f"{progress.rotated:,} rotated in {count(progress.runs, 'run')} so far"
    by = f"done by {moment(progress.done_by)}, " if progress.done_by else ""
    return f"{done}; {runs}; {by}{progress.basis}"


def schedule(outlook: Schedule) -> str:
    """Return whether a cache will be done by a time, and what would make it so."""
    parts = [f"by {stamp(outlook.by)}: {outlook.advice}"]
    if outlook.names_left:
        parts.append(count(outlook.names_left, "name to visit", "names to visit"))
    if outlook.values_left:
        parts.append(count(outlook.values_left, "value under an old key", "values under old keys"))
    if outlook.visits_per_second:
        parts.append(f"{outlook.visits_per_second:,.0f} visits a second so far")
    return "; ".join(parts)


def changes(points: Sequence[tuple[datetime, int]]) -> list[tuple[datetime, int]]:
    """Return the points of a curve at which another number is reached, and the first one."""
    return [
        point
        for before, point in zip((None, *points), points, strict=False)
        if before is None or before[1] != point[1]
    ]


def clause(said: str) -> str:
    """Return an assumption without the words that it may begin with."""
    return said.removeprefix(_ASSUMING)


def visits(made: int, now: int | None) -> str:
    """Return how many visits a sweep made, and how many of them *now*, if not all by this run."""
    by_this_run = f", {now:,} of them by this run," if now is not None and now < made else ""
    return count(made, "visit") + by_this_run
