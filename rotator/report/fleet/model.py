"""Fleet: holds the JSON contract of `report --from`."""

from typing import Annotated, Literal

from pydantic import Field

from rotator import __version__
from rotator.report.fields import Moment, Part, Text
from rotator.report.model import VERDICTS

SCHEMA = 1
FINDINGS = {
    "unread": "not read, and so not counted",
    "unknown": "not judged, and so not counted",
    "failed": "the last run did not end well",
    "clock": "clocks",
    "difference": "hosts that say different things about one cache",
}
"""The titles of findings, by their kind."""
GAPS = "not everything could be read or judged, so do not remove a key because of this"

_Verdict = Annotated[str, Field(json_schema_extra={"enum": list(VERDICTS)})]


class Listing(Part):
    """Listing: says what one cache of one host makes of a key."""

    host: Text
    cache: Text
    role: str
    verdict: _Verdict | None
    remaining: int
    at_least: bool = False
    swept_at: Moment | None
    reported_at: Moment
    reason: Text | None
    next_step: Text | None


class FleetKey(Part):
    """Key: holds the verdict on one key over all caches, and what each makes of it."""

    id: str
    verdict: _Verdict
    hosts: int
    remaining: int
    at_least: bool = False
    swept_at: Moment | None
    caches: tuple[Listing, ...]


class Finding(Part):
    """Finding: names what keeps the sums from being all there is to say."""

    kind: Literal["unread", "unknown", "failed", "clock", "difference"]
    where: Text
    what: Text


class Fleet(Part):
    """Fleet: holds the verdict on each old key over all reports."""

    schema_: int = Field(default=SCHEMA, alias="schema")
    rotator: str = __version__
    made_at: Moment
    reports: int
    hosts: int
    replaced: int
    oldest_at: Moment
    oldest_host: Text
    keys: tuple[FleetKey, ...]
    findings: tuple[Finding, ...]

    @property
    def gaps(self) -> int:
        """The number of files and caches that nothing is known of: they may list any key."""
        return sum(one.kind in {"unread", "unknown"} for one in self.findings)
