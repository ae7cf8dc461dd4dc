"""Costs: takes the counts and looks of a run to an estimate of what a run costs."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from rotator.report.model import Report
from rotator.retirement.estimate import Done, Estimate, Terms, Work, estimate, sums
from rotator.retirement.looks import Look
from rotator.server.scripts import Way
from rotator.server.wire.versions import knows_ifeq
from rotator.state.state import State
from rotator.sweep.results import CacheResult, NodeResult, SweepResult
from rotator.tally.tally import Mode
from rotator.text import count, moment

Looks = Mapping[str, Look]
"""Looks at servers, by their addresses."""


def estimates_of(results: Iterable[CacheResult], state: State) -> dict[str, Estimate]:
    """Return the estimate of each cache that was swept, by its name."""
    found, reports = {}, state.last_reports()
    for result in results:
        if (now := estimate_of(result)) is not None:
            kept = reports.get(result.history or result.access.cache.name)
            found[result.access.cache.name] = _as_expected(now, kept[1] if kept else "")
    return found


def _as_expected(now: Estimate, text: str) -> Estimate:
    """Return an estimate with what a dry run before it expected: *text* is the last report."""
    try:
        report = Report.model_validate_json(text)
    except ValueError:  # there is none, or it is damaged: whoever reads it is told
        return now
    before = report.caches[0].estimate if report.caches else None
    looked = report.mode == Mode.DRY_RUN
    goes_on = bool(report.caches) and not report.caches[0].complete
    done = any(item.measured is not None for item in now.items)
    if before is None or not done or not (looked or goes_on):
        return now
    known = {(item.what, item.node): item for item in before.items}
    dry = f" by the dry run of {moment(report.finished_at)}" if looked else ""
    basis = f"{before.basis}{dry}"
    items = [
        replace(item, expected=then.expected, basis=then.basis, limit=then.limit, note=then.note)
        if item.measured is not None and (then := known.get((item.what, item.node)))
        else item
        for item in now.items
    ]
    return replace(now, basis=basis, items=tuple(items))


def estimate_of(result: CacheResult) -> Estimate | None:
    """
    Return what a run over a cache costs, by the values that the sweep met under old keys.

    After a run what it did cost stands beside. Of a sweep that was stopped the part that was met is
    taken for the rest, too; None if that is no name at all.
    """
    sweep = result.sweep
    if sweep is None or not (sweep.complete or sweep.tally.visits):
        return None
    done = sweep.scope.mode is Mode.RUN
    before, after = _looks(result, last=False), _looks(result, last=True)
    met = [_work(result, node, before.get(node.node)) for node in sweep.nodes]
    works, basis = _whole(sweep, met)
    terms = Terms(
        basis=basis,
        rate=result.plan.limits.rate,
        verifying=result.plan.verify,
        cores=os.cpu_count(),
        lanes=max((node.lanes for node in sweep.nodes), default=1),
    )
    if not done:
        return estimate(works, before, terms)
    known = _both(before, after, sweep.begun_at)
    return estimate(works, before, terms, Done(met, known, _seconds(sweep, result.verification)))


def _whole(sweep: SweepResult, met: Sequence[Work]) -> tuple[list[Work], str]:
    """Return the works of whole nodes, by what was *met* of them, and what they go by."""
    basis = f"from {count(sweep.tally.visits, 'name')} met"
    if sweep.complete:
        return [*met], basis
    basis = f"{basis} of about {sweep.topology.names:,}"
    if sweep.scope.leaves_out:  # nobody knows how many of the others are in scope
        return [*met], f"{basis}; the others are not counted"
    known = {work.node: work for work in met}
    nodes = {str(address): names for address, names in sweep.topology.names_of.items()}
    visits = sum(work.visits for work in met)
    values, size = sums(met)
    works, unmet = [], replace(met[0], values=0, size=0, visits=0, seconds=None)
    for node in {**nodes, **known}:
        work = known.get(node) or replace(unmet, node=node)
        rest = max(nodes.get(node, 0) - work.visits, 0)
        whole = replace(
            work,
            values=work.values + round(values * rest / visits),
            size=work.size + round(size * rest / visits),
            visits=work.visits + rest,
            seconds=work.seconds * (1 + rest / work.visits) if work.seconds else None,
        )
        works.append(whole)
    return works, f"{basis}, assuming that the others are alike"


def _seconds(sweep: SweepResult, verification: SweepResult | None) -> float:
    return sweep.seconds + (verification.seconds if verification else 0.0)


def _looks(result: CacheResult, *, last: bool) -> Looks:
    """Return the first or last look at each server that answered."""
    answered = [look for look in result.looks if not look.missing]
    return {look.address: look for look in (answered if last else reversed(answered))}


def _both(before: Looks, after: Looks, begun: datetime) -> dict[str, Look]:
    """Return the looks *after* at servers that were looked at *before* the work began, too."""
    return {one: look for one, look in after.items() if one in before and before[one].at <= begun}


def _work(result: CacheResult, node: NodeResult, look: Look | None) -> Work:
    """Return what there is to rewrite at a node, or was: its values under old keys."""
    keyring = result.access.keyring
    old = {key.id for key in keyring.old} if keyring else set()
    met = [tally for key_id, tally in node.tally.keys.items() if key_id in old]
    names = [len(name) for tally in met for name in tally.samples]
    ways = [way for way, number in node.load.exchanged.most_common() if number]
    paced = node.tally.visits and (node.complete or node.stopped) and not node.resumed
    return Work(
        node=node.node,
        values=sum(tally.found for tally in met),
        size=sum(tally.size for tally in met),
        visits=node.tally.visits,
        name_size=sum(names) / len(names) if names else 0.0,
        seconds=node.seconds if paced else None,
        way=str(ways[0]) if ways else None,
        with_old=ways[0] == Way.IFEQ if ways else look is not None and knows_ifeq(look.facts),
    )
