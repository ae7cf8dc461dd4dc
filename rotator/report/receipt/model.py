"""Receipt model: holds the JSON contract of a receipt."""

from typing import Annotated, Literal

from pydantic import Field

from rotator.report.fields import Facts, Moment, Part, Text
from rotator.report.model import KeyPlace, Past
from rotator.retirement.places import Verdict

SCHEMA = 1
LIMITS = (
    "no cache uses the key except those that rotator was run on with this state file",
    "the state is no older copy of itself, and no other state knows of later runs",
    (
        "no old file is left on a server: of an earlier configuration (another dbfilename, an"
        " append-only file from earlier), of a crash (temp-*.rdb), of a child of a killed server"
        " that finishes an older file later, or append-only files that aof-disable-auto-gc keeps"
    ),
    "no script hid writes from replication, and no replica was writable earlier",
    "there is no replica that was neither listed nor connected each time rotator looked",
)
"""What every verdict takes for granted, because no server can say it."""

DESTROYED = "this does not show that the key was destroyed"
FOUND_NOTHING = "only that rotator found nothing that needs it"
"""What a receipt does not say, and what it says of a key that can be removed."""

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
