"""
Report: holds the JSON contract.

It is what `--format json` prints and every rendering is made from (design 9).

- A field of the design keeps its name and its place; fields that came later stand behind them.
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
    """Problem: shows a visit that did not end well; *name*, *field* (of a hash) as shown."""

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
    """
    Node: holds what was seen of one node.

    *reasons* says why it is not *complete*, *unproven* why no sweep of it is a proof. *evictions*
    counts those during the run, None: not known; *exchange* is the last way to replace values, and
    *exchanged* counts those replaced by each. *latency*, *pages* and *waited_seconds*, by reason,
    are of this run; those waits of processes side by side count once.
    """

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
    """
    Coverage: says what was looked at, and what was not.

    *mode* is how the server runs ("standalone", "cluster", ...), *not_looked_at* holds sentences.
    """

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
    """
    Past: holds what all sweeps of a cache saw of an old key, by the state.

    *swept_at* is the end of the last complete sweep for it, *clean_since* that of the first one
    that no longer met it, and *clean_sweeps* says how many have not met it since. It was met again
    at *returned_at* although it had been clean. *verdicts* says when the verdict became what.
    """

    first_seen_at: Moment | None = None
    last_seen_at: Moment | None = None
    swept_at: Moment | None = None
    clean_since: Moment | None = None
    clean_sweeps: int = 0
    returned_at: Moment | None = None
    verdicts: tuple[tuple[Moment, Annotated[str, one_of(*VERDICTS)]], ...] = ()


class KeyPlace(Part):
    """
    Place: says of one place where a value under a key may be what is known of it.

    *where* is a server, a cache, or empty. It is so *since* then, by the *evidence*; *remedy* ends
    it, and by itself it ends at *until*. *verdict* is what this place alone makes of the key.
    """

    kind: Annotated[str, one_of(*KINDS)]
    where: Text
    status: Annotated[str, one_of(*STATUSES)]
    since: Moment | None = None
    evidence: Text
    remedy: Text = ""
    until: Deadline | None = None
    verdict: Annotated[str, one_of(*VERDICTS)] = str(Verdict.RETIRABLE)


class Key(Part):
    """
    Key: holds what was met under one key, and for an old key the verdict.

    *bytes* is the size of all values found. *drain* says how many remain at each time. *prefixes*
    counts name prefixes; those of names without one, and the rare ones, stand under "". *samples*
    are names that remain. *verdict* and *next_step* are None for a current key. *encryptions* are
    those by rotator, in all runs; *nonce_budget_used* is 1 when all 2^32 are used up. *past* is
    None for a current key, and where no state was asked. *places* are those of an old key, worst
    first, *assumptions* what its verdict takes for granted: "no disk is attached". *at_least*: the
    sweep was not complete, so there may be more than was counted.
    """

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
    """Outside: counts names that `match` and `databases` leave out; *visits* None: not read."""

    visits: int | None = 0
    names: int = 0
    under_old_keys: dict[str, int] = Field(default_factory=dict)
    not_opened: int = 0
    denied: int = 0


class Cache(Part):
    """
    Cache: holds what a run found in one cache.

    *stopped* says why the sweep ended before its last page ("interrupted", "max-duration", ...),
    *error* why the cache could not be worked on at all. *accepted* is how many of an outcome the
    operator knows of. *waited_seconds* maps a reason to wait to how long it lasted.
    *sweep_seconds* is what the visits of this run took, *visits_now*, which are fewer where it went
    on from where another one was stopped. *progress* is that of a sweep that was stopped.
    *attempt* is the last run, if it was to look at the cache later than all of this and did not.
    *outlook* says whether it will be done by a time that was asked for. *judged_at* is when this
    was reported, *swept_at* the end of the last complete sweep there ever was. *outside* is None
    where nothing is left out. *history* is what the state calls it: the name, or `box#2` for a
    second server; *superseded*: another one took its place. *outdated*: an earlier version of
    rotator judged it, without places. *redis_user* is who logged in. *problem_sums* are of all
    problems, the largest first, where *problems* are samples. *estimate* says what a run costs.
    *facts* are those of the run that found all of this, if it is not that of the report;
    *exit_code* is what this cache alone ends with.
    """

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
    """
    Report: holds a run over some caches; *error* says why the run as a whole failed.

    *facts* say who made it, where and how, None: an earlier version did. *changes* were made by
    `rotator tune` while it went on.
    """

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
