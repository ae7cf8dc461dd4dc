"""
Whether an old key can be removed, and why not.

Evidence in, a judgement out; nothing is read and no clock is asked.

- Every cache that lists the key is a case of its own; the key is as far as the worst of them.
- All reasons that apply are given, the worst first. The worst one is the verdict, and the next step
  is about that.
- Not having looked is never a reason to remove a key: what is missing in the evidence makes the
  verdict worse, never better.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.retirement.judge import CLOCKS, Finding, Verdict, accepted, cut_short, findings
from rotator.retirement.places import Evidence, after
from rotator.wording import clock, listing

_ORDER = list(Verdict)


@dataclass(frozen=True, slots=True)
class Judgement:
    """
    A verdict, why, and what to do next; times are UTC.

    *drains_at* is set when all that remains has a TTL, *ready_at* when the verdict is `verifying`,
    *held_until* when it is `verifying` or `held` and a hold ends by itself. *first_seen_at* and
    *last_seen_at* are of all sweeps of all caches.
    """

    key_id: str
    verdict: Verdict
    reasons: tuple[str, ...]
    next_step: str
    drains_at: datetime | None = None
    ready_at: datetime | None = None
    held_until: datetime | None = None
    first_seen_at: datetime | None = None
    last_seen_at: datetime | None = None


def judge(
    key_id: str,
    evidence: Sequence[Evidence],
    *,
    now: datetime,
    quiet: timedelta,
    current_in: Iterable[str] = (),
    doubt: str | None = None,
) -> Judgement:
    """
    Judge an old key.

    *evidence* is that of every cache that lists the key, whether it was swept in this run or not;
    *current_in* are the fields where it is the current key of a cache. *doubt* says why *now* is
    not to be relied on.
    """
    found = [
        Finding(Verdict.IN_USE, f"it is the current key at {field}", f"give {field} another key")
        for field in current_in
    ]
    for case in evidence:
        label = f"{case.cache}: " if len(evidence) > 1 else ""
        found += [one._replace(reason=f"{label}{one.reason}") for one in findings(case, now, quiet)]
    if doubt:
        found.append(Finding(Verdict.VERIFYING, doubt, CLOCKS))
    if not evidence:
        found.append(Finding(Verdict.UNKNOWN, "no cache that lists it was swept", "run again"))
    verdict = min((one.verdict for one in found), key=_ORDER.index)
    against = [one for one in found if one.verdict is not Verdict.RETIRABLE] or found
    against.sort(key=lambda one: _ORDER.index(one.verdict))
    notes = [sentence for case in evidence for sentence in (*accepted(case), *cut_short(case))]
    ready_at = _ready_at(evidence, now, quiet) if verdict is Verdict.VERIFYING else None
    return Judgement(
        key_id=key_id,
        verdict=verdict,
        reasons=tuple(dict.fromkeys([*(one.reason for one in against), *notes])),
        next_step=_next_step([one for one in found if one.verdict is verdict], ready_at, now),
        drains_at=_drains_at(evidence),
        ready_at=ready_at,
        held_until=_held_until(evidence, verdict, now),
        first_seen_at=min(_known(case.first_seen_at for case in evidence), default=None),
        last_seen_at=max(_known(case.last_seen_at for case in evidence), default=None),
    )


def _next_step(worst: Sequence[Finding], ready_at: datetime | None, now: datetime) -> str:
    """What to do about the worst findings."""
    steps = list(dict.fromkeys(one.step for one in worst))
    if worst[0].verdict is Verdict.RETIRABLE:
        fields = [step.removeprefix("remove ") for step in steps]
        return f"remove {listing(fields)}"
    if ready_at is None:
        return "; ".join(steps)
    # The longest says most: "run again without --no-verify" more than "run again".
    step = max(steps, key=len)
    return f"{step} after {clock(ready_at, now)}" if ready_at > now else step


def _drains_at(evidence: Sequence[Evidence]) -> datetime | None:
    """When the last value expires, if every value that remains does."""
    if any(case.remaining_without_ttl for case in evidence):
        return None
    ends = (case.drains_at for case in evidence if case.remaining)
    return max((at for at in ends if at), default=None)


def _ready_at(evidence: Sequence[Evidence], now: datetime, quiet: timedelta) -> datetime:
    """When the next sweep can find that it was quiet for long enough."""
    return max(now, *(after(case.quiet_since or now, quiet) for case in evidence))


def _held_until(evidence: Sequence[Evidence], verdict: Verdict, now: datetime) -> datetime | None:
    """When the last of the holds that end by themselves does."""
    if verdict not in {Verdict.VERIFYING, Verdict.HELD}:
        return None
    holds = (hold for case in evidence for hold in case.holds if hold.open(now))
    return max((hold.until for hold in holds if hold.until), default=None)


def _known(times: Iterable[datetime | None]) -> list[datetime]:
    return [at for at in times if at is not None]
