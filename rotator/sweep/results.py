"""What the operator asked for, and what became of it for one cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from rotator.errors import Exit
from rotator.server.context import Access
from rotator.server.copies import Copies
from rotator.server.topology import SETTLE_SECONDS
from rotator.sweep.control import Stop
from rotator.sweep.scope import Limits, Mode
from rotator.sweep.sweep import SweepResult
from rotator.tally.tally import Outcome

NOT_MOVED = (
    Outcome.CONTENDED,
    Outcome.UNDECRYPTABLE,
    Outcome.NESTED,
    Outcome.TOO_LARGE,
    Outcome.DENIED,
    Outcome.FAILED,
)
"""The outcomes that leave a value where it was although it should have been moved."""


@dataclass(frozen=True, slots=True)
class Plan:
    """
    What the operator asked for, as in the options of `run`.

    *patience* is how many seconds a cluster may take to settle.
    """

    dry_run: bool = False
    verify: bool = True
    only_key: str | None = None
    page: int = 500
    limits: Limits = field(default_factory=Limits)
    workers: int | None = None
    patience: float = SETTLE_SECONDS
    fresh: bool = False
    allow_empty: bool = False
    accept: Mapping[Outcome, int] = field(default_factory=dict)

    @property
    def mode(self) -> Mode:
        """What the first sweep does."""
        return Mode.DRY_RUN if self.dry_run else Mode.RUN


@dataclass(slots=True)
class RotationResult:
    """
    What became of one cache.

    *sweep* None: it was not begun, because of *stopped* or *error*. *verification* None: nothing
    was rewritten, or `--no-verify`. *copies* are the other copies of the data when all was done,
    *evictions* how many entries each node evicted meanwhile. *doubt* says why times are not to be
    relied on, and *latest* is the latest time that it may have been at the end by any clock.
    """

    access: Access
    plan: Plan
    sweep: SweepResult | None = None
    verification: SweepResult | None = None
    copies: list[Copies] = field(default_factory=list)
    evictions: Mapping[str, int] = field(default_factory=dict)
    doubt: str | None = None
    latest: datetime | None = None
    stopped: Stop | None = None
    error: str | None = None

    @property
    def verified(self) -> bool:
        """Whether a verifying sweep was not needed, or came to its end."""
        if self.sweep is None or self.verification is None:
            rotated = self.sweep is not None and self.sweep.tally.outcomes[Outcome.ROTATED]
            return not rotated
        return self.verification.complete

    @property
    def found_under_old_keys(self) -> int:
        """How many values the verifying sweep met that it should not have met."""
        return 0 if self.verification is None else self.verification.tally.left

    def exit_code(self) -> Exit:
        """The exit code of this cache alone."""
        if self.sweep is None:
            return self.stopped.exit_code if self.stopped else Exit.FAILED
        for sweep in (self.sweep, self.verification):
            if sweep and sweep.stopped:
                return sweep.stopped.exit_code
            if sweep and not sweep.complete:
                return Exit.FAILED
        tally = self.sweep.tally
        if not tally.keys and not self.plan.allow_empty:
            return Exit.EMPTY
        stuck = any(
            tally.outcomes[outcome] > self.plan.accept.get(outcome, 0) for outcome in NOT_MOVED
        )
        return Exit.NOT_MOVED if stuck or self.found_under_old_keys else Exit.OK
