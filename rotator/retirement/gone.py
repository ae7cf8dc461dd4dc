"""
Gone: says since when a key is proven to be gone from each primary.

A proof counts if the data that it read lives on, and nothing met the key since (verdict 1).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.retirement.lineage import Ancestry, ancestry
from rotator.retirement.looks import Look, Proof, number
from rotator.retirement.places import Evidence
from rotator.tally.tally import BLOCKING
from rotator.text import add_clamped


@dataclass(frozen=True, slots=True)
class Gone:
    """
    Gone: says since when a key is proven to be gone from one primary, and how that began.

    *now* is the last look at the primary, if there is one; *ancestry* those whose data it still
    has. Of the proofs that count, *again* is one that began after the quiet time.
    """

    now: Look | None
    ancestry: Ancestry
    first: Proof | None = None
    last: Proof | None = None
    again: Proof | None = None

    @property
    def offset(self) -> int | None:
        """The length of the primary's stream of writes when the key was gone, in bytes."""
        return number(self.first.after, "master_repl_offset") if self.first else None

    @property
    def same_process(self) -> bool:
        """True if the process that answers now is the one that the last proof found."""
        if self.now is None or self.last is None:
            return False
        ids = {one.facts.get("run_id") for one in (self.now, self.last.after)}
        return len(ids) == 1  # without one, as is declared, it is taken for the same


def gone_from(case: Evidence, quiet: timedelta) -> dict[str, Gone]:
    """Return since when the key is gone from each primary, by its address."""
    fence, found = case.in_force, {}
    met_at = _last_met(case)
    for address in case.primaries:
        looks = [one for one in case.looks if one.address == address]
        if not looks or looks[-1].facts.get("role") != "master":  # it did not answer, or follows
            found[address] = Gone(None, Ancestry())
            continue
        line = ancestry(case.looks, looks[-1], one_server=case.declared.identity is not None)
        proofs = [one for one in case.proofs if line.has(one.after)]
        good = [
            one
            for place, one in enumerate(proofs)
            if case.key_id in one.met
            and one.basis == case.basis
            and not one.doubt
            and (met_at is None or one.begun_at > met_at)
            and (fence is None or one.begun_at >= fence.at)
            and _stands_for(proofs[place:], case)
        ]
        first, last = (good[0], good[-1]) if good else (None, None)
        calm_at = add_clamped(first.ended_at, quiet) if first else None
        again = [one for one in good[1:] if calm_at is not None and one.begun_at >= calm_at]
        found[address] = Gone(looks[-1], line, first, last, again[0] if again else None)
    return found


def gone_since(gone: Mapping[str, Gone]) -> datetime | None:
    """Return since when the key is gone from all primaries; None: it is not known to be."""
    ends = [one.first.ended_at if one.first else None for one in gone.values()]
    known = [at for at in ends if at]
    return max(known) if known and len(known) == len(ends) else None


def _last_met(case: Evidence) -> datetime | None:
    """Return when anything met the key last, within the scope or outside of it, or may have."""
    proofs = [
        one.ended_at
        for one in case.proofs
        if one.met.get(case.key_id) or one.outside.under_old_keys.get(case.key_id)
    ]
    return max((at for at in (case.last_seen_at, case.lost_at, *proofs) if at), default=None)


def _stands_for(proofs: Sequence[Proof], case: Evidence) -> bool:
    """
    Return whether the first of *proofs* looked at all that the last one did, and no less later.

    What could not be opened, and is not there now, may be in files that were saved meanwhile: it
    counts as open until as many are accepted (verdict 1).
    """
    first, last = proofs[0], proofs[-1]
    accepted = case.latest.accepted if case.latest else {}
    known = [
        ([one.open_items.get(outcome, 0) for one in proofs], accepted.get(outcome, 0))
        for outcome in BLOCKING
    ]
    if last.outside.visits is not None:
        if first.outside.visits is None:  # as was declared then
            return False
        shut = [one.outside.not_opened + one.outside.denied for one in proofs]
        known.append((shut, case.declared.outside_accepted or 0))
    if not last.hidden and any(one.hidden for one in proofs):
        return False
    return all(
        counts[-1] <= counts[0] and max(counts) <= max(counts[-1], most) for counts, most in known
    )
