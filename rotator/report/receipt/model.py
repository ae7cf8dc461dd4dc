"""Receipt model: holds the JSON contract of a receipt."""

from typing import Annotated, Literal

from pydantic import Field

from rotator.report.fields import Facts, Moment, Part, Text
from rotator.report.model import KeyPlace, Past
from rotator.retirement.places import Verdict

SCHEMA = 1
LIMITS = (
    "only caches that rotator was run on with this state file are covered",
    "no file of an earlier configuration, of a crash or of an ended rewrite is left on a server",
    "no script hid writes from replication, and no replica was writable earlier",
    "there is no replica that was neither listed nor connected when rotator looked",
)
"""What every receipt takes for granted, because nobody can be asked."""

_Verdicts = Annotated[str, Field(json_schema_extra={"enum": [str(one) for one in Verdict]})]


class Condition(Part):
    """Condition: says whether `report --require` would hold for the key, and why not."""

    holds: bool
    reasons: tuple[Text, ...] = ()


class Run(Part):
    """Run: says what one run did in the cache."""

    mode: str
    started_at: Moment
    finished_at: Moment
    visits: int
    rotated: int
    complete: bool
    stopped: str | None = None


class Sweep(Part):
    """Sweep: proves one primary: it was read in one go, and nothing was written."""

    node: str
    run_id: Text | None
    replication_id: Text | None
    version: Text | None
    begun_at: Moment
    ended_at: Moment
    under_key: int | None
    under_key_outside: int | None
    opened: int
    not_opened: int
    doubt: Text | None = None


class CacheEvidence(Part):
    """Evidence: holds what is known of the key in one cache, as the report has it."""

    name: str
    addresses: tuple[str, ...]
    history: str | None
    role: str
    field: str
    verdict: _Verdicts | None
    reasons: tuple[Text, ...]
    next_step: Text | None
    judged_at: Moment | None
    swept_at: Moment | None
    found: int
    rotated: int
    remaining: int
    at_least: bool = False
    past: Past | None
    places: tuple[KeyPlace, ...]
    assumptions: tuple[Text, ...]
    accepted: dict[str, int]
    facts: Facts | None = None
    not_looked_at: tuple[Text, ...]
    warnings: tuple[Text, ...]
    runs: tuple[Run, ...]
    sweeps: tuple[Sweep, ...]


class Receipt(Part):
    """Receipt: holds the evidence of one key."""

    schema_: int = Field(default=SCHEMA, alias="schema", le=SCHEMA)
    rotator: str
    made_at: Moment
    key_id: str
    role: str
    state: Literal["active", "deactivated"]
    state_basis: Text
    verdict: _Verdicts
    meaning: str
    max_age_seconds: int
    retirable: Condition
    proven: Condition
    not_looked_at: tuple[Text, ...] = ()
    limits: tuple[str, ...] = LIMITS
    caches: tuple[CacheEvidence, ...]
