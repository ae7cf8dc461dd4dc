"""
Fields: hold the types of a report's fields, and the facts of a run: who, where, how, how it felt.

Times are UTC and whole seconds; text may be anything that a server says.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

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

from rotator.tally.load import Latency, NodeLoad
from rotator.tally.tally import Outcome
from rotator.text import count, elapsed, rfc3339

OUTCOMES = tuple(str(outcome) for outcome in Outcome)
_SHOWN_DIGEST = 12  # characters of a SHA-256 that people compare


def one_of(*words: str) -> Any:
    """Return what lets a field take only some words, and says so in the JSON Schema."""
    return Field(pattern=f"^({'|'.join(words)})$", json_schema_extra={"enum": list(words)})


def _writable(value: object) -> object:
    """Spell out a half of a surrogate pair, Python's way to keep a byte that is not UTF-8."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _cut_off(at: datetime) -> datetime:
    """Return the last whole second, in UTC."""
    return at.astimezone(UTC).replace(microsecond=0)


def _round_up(at: datetime) -> datetime:
    """Return the next whole second, in UTC."""
    whole = _cut_off(at)
    return whole if whole == at else whole + timedelta(seconds=1)


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
    """File: says which file of the configuration it was, by its path and the SHA-256 of it."""

    path: Text
    sha256: str


class Facts(Part):
    """
    Facts: say who made a run, on which *host*, as which *user* of the system, and how.

    *options* are those that differ from their defaults, each as it may be written; what may hold a
    secret is left out of them. *files* are the configuration as it was read. *assumptions* are
    those of all verdicts of the run together.
    """

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
    """
    Latency: says what other clients of a node waited for it, by PINGs *before* and *during* a run.

    The way there and back is in it. *goal_ms* is what `--max-latency` allowed on top of that, None
    where there was no goal, and *seconds_above_goal* how long it was more.
    """

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


def who(facts: Facts) -> Iterator[str]:
    """Yield who made a run, where and how, in sentences without an end."""
    if facts.host or facts.user:
        yield f"by {facts.user or 'an unknown user'} on {facts.host or 'an unknown host'}"
    yield f"options: {' '.join(facts.options)}" if facts.options else "options: all as by default"
    for file in facts.files:
        yield f"configuration {file.path}, SHA-256 {file.sha256[:_SHOWN_DIGEST]}"


def felt(latency: NodeLatency) -> Iterator[str]:
    """Yield what other clients waited, before and during a run, and how that is to the goal."""
    for when, found in (("before", latency.before), ("during", latency.during)):
        if found:
            known = (("p50", found.p50_ms), ("p99", found.p99_ms), ("max", found.max_ms))
            times = ", ".join(f"{name} {taken:.2f} ms" for name, taken in known)
            yield f"{when}: {times} ({count(found.count, 'PING')})"
        else:
            yield f"{when}: not measured"
    if latency.goal_ms is not None:
        above = elapsed(latency.seconds_above_goal) if latency.seconds_above_goal else "never"
        yield f"goal: {latency.goal_ms:g} ms more than the way there and back; above it {above}"
