"""
Report: holds the JSON contract.

It is what `--format json` prints and every rendering is made from (design 9).

- A field of the design keeps its name and its place; fields that came later stand behind them.
- `reference.yaml` says what each field means; `rotator schema report` and the documents show it.
- Times are UTC and whole seconds. A time that has passed is cut off and a deadline is rounded up,
  so that nothing is ever promised a moment too early.
- Every outcome is always there, zero or not, so that readers need not know which may be missing.
- Plain data: no key material, no password and no plaintext has a field here, and names arrive as
  they may be shown.
- A report that a later version saved can be read: fields that are not known are passed over. So can
  one of an earlier schema; its caches are marked as *outdated*.
"""

from typing import Annotated, Self

from pydantic import Field, ValidationInfo, computed_field, field_validator, model_validator

from rotator.errors import ENDINGS
from rotator.report.fields import (
    OUTCOMES,
    Deadline,
    Facts,
    Moment,
    NodeLatency,
    Outcomes,
    Pages,
    Part,
    Text,
    one_of,
)
from rotator.retirement.estimate import Estimate
from rotator.retirement.forecast import Progress, Schedule
from rotator.retirement.places import Kind, Status, Verdict
from rotator.server.scripts import Way
from rotator.sweep.control import Change

SCHEMA = 2
"""The version of the JSON, kept in its field `schema`; 1.0.0 wrote 1, without places."""
VERDICTS = tuple(str(verdict) for verdict in Verdict)
"""The verdicts, in the order of the design, section 7."""
KINDS, EXCHANGES = (tuple(str(one) for one in words) for words in (Kind, Way))
STATUSES = tuple(str(status) for status in Status)
"""What may be known of a place, the worst first."""
MODES, ROLES = ("run", "dry-run"), ("current", "old")
METHODS = ("tracking", "scan")
"""How a run was verified: the server told which names were written, or a second sweep looked."""


class Problem(Part):
    """Problem: shows a visit that did not end well; names are as they may be shown."""

    name: Text
    node: str
    outcome: Annotated[str, one_of(*OUTCOMES)]
    reason: str = ""
    detail: Text = ""
    field: Text | None = None


class ProblemSum(Part):
    """Problem sum: counts visits that did not end well, by how and by what names begin with."""

    outcome: Annotated[str, one_of(*OUTCOMES)]
    reason: str = ""
    prefix: Text = ""
    count: int = 0


class Node(Part):
    """Node: holds what was seen of one node."""

    node: str
    run_id: str | None = None
    version: str | None = None
    visits: int = 0
    complete: bool = False
    restarts: int = 0
    reasons: tuple[Text, ...] = ()
    evictions: int | None = None
    exchange: Annotated[str, one_of(*EXCHANGES)] | None = None
    proven: bool = False
    unproven: tuple[Text, ...] = ()
    latency: NodeLatency | None = None
    pages: Pages | None = None
    waited_seconds: dict[str, float] = Field(default_factory=dict)
    exchanged: dict[str, int] = Field(default_factory=dict)


class Coverage(Part):
    """Coverage: says what was looked at, and what was not."""

    mode: str
    slots_covered: int | None = None
    topology_changed: bool = False
    restarts: int = 0
    orphans: int = 0
    databases: tuple[int, ...] = ()
    nodes: tuple[Node, ...] = ()
    not_looked_at: tuple[Text, ...] = ()


class Verification(Part):
    """Verification: holds what came of looking again after something was rewritten."""

    visits: int
    found_under_old_keys: int
    complete: bool
    method: Annotated[str, one_of(*METHODS)] = "scan"


class Attempt(Part):
    """Attempt: says when a run was to look at a cache and did not, and why not."""

    at: Moment
    stopped: str | None = None
    error: Text | None = None


class Past(Part):
    """Past: holds what all sweeps of a cache saw of an old key; None where no state was asked."""

    first_seen_at: Moment | None = None
    last_seen_at: Moment | None = None
    swept_at: Moment | None = None
    clean_since: Moment | None = None
    clean_sweeps: int = 0
    returned_at: Moment | None = None
    verdicts: tuple[tuple[Moment, Annotated[str, one_of(*VERDICTS)]], ...] = ()


class KeyPlace(Part):
    """Place: says of one place where a value under a key may be what is known of it."""

    kind: Annotated[str, one_of(*KINDS)]
    where: Text
    status: Annotated[str, one_of(*STATUSES)]
    since: Moment | None = None
    evidence: Text
    remedy: Text = ""
    until: Deadline | None = None
    verdict: Annotated[str, one_of(*VERDICTS)] = str(Verdict.RETIRABLE)


class Key(Part):
    """Key: holds what was met under one key, and for an old key the verdict."""

    id: str
    role: Annotated[str, one_of(*ROLES)]
    field: str
    found: int = 0
    rotated: int = 0
    remaining: int = 0
    remaining_without_ttl: int = 0
    bytes: int = 0
    drains_at: Deadline | None = None
    drain: tuple[tuple[Deadline, int], ...] = ()
    last_seen_at: Moment | None = None
    verdict: Annotated[str, one_of(*VERDICTS)] | None = None
    ready_at: Deadline | None = None
    held_until: Deadline | None = None
    reasons: tuple[Text, ...] = ()
    next_step: Text | None = None
    first_seen_at: Moment | None = None
    prefixes: dict[Text, int] = Field(default_factory=dict)
    samples: tuple[Text, ...] = ()
    encryptions: int = 0
    nonce_budget_used: float = 0.0
    past: Past | None = None
    places: tuple[KeyPlace, ...] = ()
    assumptions: tuple[Text, ...] = ()
    at_least: bool = False

    @model_validator(mode="after")
    def _judged(self) -> Self:
        """No old key without a verdict: not having judged one must not look like a good sign."""
        if (self.role == "old") == (self.verdict is None):
            raise ValueError("an old key has a verdict and a current key has none")
        return self


class Outside(Part):
    """Outside: counts names that `match` and `databases` leave out."""

    visits: int | None = 0
    names: int = 0
    under_old_keys: dict[str, int] = Field(default_factory=dict)
    not_opened: int = 0
    denied: int = 0


class Cache(Part):
    """Cache: holds what a run found in one cache."""

    name: str
    complete: bool = False
    stopped: str | None = None
    visits: int = 0
    outcomes: Outcomes = Field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    verification: Verification | None = None
    coverage: Coverage | None = None
    keys: tuple[Key, ...] = ()
    problems: tuple[Problem, ...] = ()
    problems_total: int = 0
    accepted: dict[str, int] = Field(default_factory=dict)
    waited_seconds: dict[str, float] = Field(default_factory=dict)
    sweep_seconds: float | None = None
    warnings: tuple[Text, ...] = ()
    error: Text | None = None
    judged_at: Moment | None = None
    swept_at: Moment | None = None
    visits_now: int | None = None
    progress: Progress | None = None
    attempt: Attempt | None = None
    outlook: Schedule | None = None
    outside: Outside | None = None
    addresses: tuple[str, ...] = ()
    history: str | None = None
    superseded: bool = False
    outdated: bool = False
    redis_user: Text | None = None
    problem_sums: tuple[ProblemSum, ...] = ()
    estimate: Estimate | None = None
    facts: Facts | None = None
    exit_code: int | None = None

    @field_validator("keys")
    @classmethod
    def _bound(cls, keys: tuple[Key, ...], known: ValidationInfo) -> tuple[Key, ...]:
        """Mark what a sweep counted that did not come to its end: there may be more."""
        if known.data.get("complete"):
            return keys
        return tuple(key.model_copy(update={"at_least": True}) for key in keys)


class Report(Part):
    """Report: holds a run over some caches."""

    schema_: int = Field(default=SCHEMA, alias="schema")
    rotator: str
    mode: Annotated[str, one_of(*MODES)]
    started_at: Moment
    finished_at: Moment
    exit_code: int
    caches: tuple[Cache, ...] = ()
    error: Text | None = None
    facts: Facts | None = None
    changes: tuple[Change, ...] = ()

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorated property
    @property
    def exit_meaning(self) -> str:
        """The meaning of the exit code, in words."""
        ending = ENDINGS.get(self.exit_code)
        return ending.short if ending else "unknown"

    @field_validator("caches")
    @classmethod
    def _mark(cls, caches: tuple[Cache, ...], known: ValidationInfo) -> tuple[Cache, ...]:
        """Mark what was judged without places, in a report that an earlier version wrote."""
        if known.data.get("schema_", SCHEMA) >= SCHEMA:
            return caches
        return tuple(cache.model_copy(update={"outdated": True}) for cache in caches)
