"""
Table: renders a report for a terminal: what happened, and what can be done about each old key.

Every cache is told in the same order: the result in a line, what became of the visits, the keys,
each old key's verdict with every reason and the next step, what was covered, what went wrong. Lines
that would say nothing are left out. All text from elsewhere is escaped, and nothing is markup. It
is calm: without lines and frames.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import groupby

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rotator.report import fields, words
from rotator.report.layout import bullets, grid, heading, indented, listed, text, verdict_text
from rotator.report.model import Cache, Coverage, Key, KeyPlace, Problem, Report, Verification
from rotator.report.names import problem_lines, with_field
from rotator.retirement.places import FILES, Status
from rotator.text import count, listing, short_id, size, stamp

PROBLEMS = 10
"""How many problems are shown; the JSON has more."""

_STYLES = {"good": "bold green", "doubtful": "bold yellow", "bad": "bold red"}


def render(report: Report, now: datetime | None = None) -> RenderableType:
    """
    Return the whole report, for `console.print_result`.

    With *now* it is one of the past: it says how old it is, and gives the history of each key.
    """
    mode = "dry run (nothing was written)" if report.mode == "dry-run" else "run"
    parts: list[RenderableType] = [
        Text(f"rotator {report.rotator}, {mode} of {stamp(report.started_at)}", style="dim")
    ]
    if report.facts:
        parts += [indented(text(line, "dim")) for line in words.run_facts(report)]
    if report.error:
        parts += [Text(), text(f"failed: {report.error}", "bold red")]
    if not report.caches and not report.error:
        parts += [Text(), text("no cache was looked at")]
    for cache in report.caches:
        parts += [Text(), *_cache(cache, words.title(report, cache), now)]
    if report.changes:
        parts += [Text(), listed("changed while it ran", map(words.change, report.changes))]
    return Group(*parts)


def _cache(cache: Cache, title: str, now: datetime | None) -> Iterator[RenderableType]:
    """Yield all there is to say about one cache: sections under it, each after an empty line."""
    yield from _headline(cache, title, now)
    for section in _sections(cache, now):
        yield Text()
        yield indented(section)


def _sections(cache: Cache, now: datetime | None) -> Iterator[RenderableType]:
    """Yield what can be told of a cache, as far as there is anything."""
    if cache.visits:
        yield _outcomes(cache)
    if cache.keys:
        yield _keys(cache.keys)
    yield from _verdicts(cache, now)
    if cache.verification:
        yield _verified(cache.verification)
    if cache.coverage:
        yield _coverage(cache.coverage, cache.redis_user)
    if cache.outside:
        yield heading("left out by match, databases or fields", words.left_out(cache.outside))
    if cache.problems_total:
        yield _problems(cache)
    for title, lines in words.measures(cache):
        yield listed(title, lines)
    if cache.waited_seconds:
        waits = [
            f"{fields.took(lasted)}: {reason}" for reason, lasted in cache.waited_seconds.items()
        ]
        nodes = words.waiting_nodes(cache)
        yield listed("waited" if nodes < 2 else f"waited, the sum of {nodes} nodes", waits)
    if cache.warnings:
        yield listed("warnings", cache.warnings, "yellow")


def _verdicts(cache: Cache, now: datetime | None) -> Iterator[RenderableType]:
    """Yield what is said of each old key, after what is so for all of them."""
    if cache.outdated or cache.superseded:
        yield text(words.OUTDATED if cache.outdated else words.SUPERSEDED, "yellow")
    if shared := _shared_places(cache.keys):
        yield listed("for every old key", _place_lines(shared))
    for key in (key for key in cache.keys if key.verdict):
        yield _verdict(key, shared, now)


def _headline(cache: Cache, title: str, now: datetime | None) -> Iterator[RenderableType]:
    """Yield the name and whether all is done; below it the sums, and how old all of it is."""
    state, look = words.headline(cache)
    yield text(f"{title}: ", "bold").append_text(text(state, _STYLES[look]))
    for line, style in _known(cache, now):
        yield indented(text(line, style))


def _known(cache: Cache, now: datetime | None) -> Iterator[tuple[str, str]]:
    """Yield the sums, how far it is, and how old all of it is: lines and their styles."""
    if cache.visits or not cache.error:
        sums = fields.visits(cache.visits, cache.visits_now)
        if cache.sweep_seconds is not None:
            sums += f" in {fields.took(cache.sweep_seconds)}"
        if cache.sweep_seconds and cache.visits:
            now_visited = cache.visits if cache.visits_now is None else cache.visits_now
            sums += f" ({now_visited / cache.sweep_seconds:,.0f} a second)"
        yield sums, ""
    if cache.progress:
        yield fields.how_far(cache.progress), "yellow"
    if now is not None:
        yield words.age(cache, now), ""
    if cache.outlook:
        yield fields.schedule(cache.outlook), "" if cache.outlook.in_time else "yellow"
    if cache.facts:
        yield from ((f"in a run {line}", "") for line in fields.who(cache.facts))
    if any(key.at_least for key in cache.keys):
        yield words.STOPPED_SHORT, "yellow"
    if cache.attempt:
        yield words.missed(cache.attempt), "yellow"


def _outcomes(cache: Cache) -> Table:
    """Return what became of the visits; outcomes that did not occur are left out."""
    table = grid("right", "left", "left")
    for outcome, number, meaning, look in words.outcome_rows(cache):
        style = "" if look == "good" else "yellow"
        if number:
            table.add_row(text(f"{number:,}", style), text(outcome, style), text(meaning))
    return table


def _keys(keys: Iterable[Key]) -> Table:
    """Return every key in a line."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for title in ("key", "role"):
        table.add_column(title, no_wrap=True)
    for title in ("found", "rotated", "remaining", "size"):
        table.add_column(title, justify="right", no_wrap=title != "remaining")
    table.add_column("verdict", no_wrap=True)
    for key in keys:
        counts = (f"{key.found:,}", f"{key.rotated:,}", words.remaining(key), size(key.bytes))
        if not key.verdict:
            counts = (counts[0], "", "", counts[3])
        verdict = verdict_text(key.verdict or "")
        table.add_row(text(short_id(key.id)), text(key.role), *map(text, counts), verdict)
    return table


def _verdict(key: Key, shared: Sequence[KeyPlace], now: datetime | None) -> RenderableType:
    """Return an old key's verdict, every reason for it, what else is known, and what to do."""
    verdict = key.verdict or ""
    title = text(f"{short_id(key.id)} ", "bold")
    title.append_text(verdict_text(verdict))
    title.append_text(text(f": {words.VERDICT_MEANINGS.get(verdict, '')}"))
    ends = grid("left", "left", gap=1)
    if key.next_step:
        ends.add_row(text("next:", "dim"), text(key.next_step, "bold"))
    ends.add_row(text("field:", "dim"), text(key.field))
    known = [*_reasons(key, shared), *words.facts(key), *words.deadlines(key)]
    if key.past and now is not None:
        known += words.history(key.past)
    return Group(title, bullets(dict.fromkeys(known)), indented(ends))


def _reasons(key: Key, shared: Sequence[KeyPlace]) -> Iterator[str]:
    """
    Yield why the verdict on a key is what it is: each place that is not clean, and the sums.

    *shared* places were told before, for every old key.
    """
    known, told = list(_open_places(key)), {_said(place) for place in shared}
    yield from _place_lines(place for place in known if _said(place) not in told)
    if told:
        yield "and what is listed above for every old key"
    yield from words.remarks(key)
    if number := sum(place.status == Status.CLEAN for place in key.places):
        yield f"{count(number, 'place')} clean"
    if assumed := words.assumption(key):
        yield assumed


def _open_places(key: Key) -> Iterator[KeyPlace]:
    """Yield the places of a key that are not clean, worst first, without what is assumed anyway."""
    said = {fields.clause(one) for one in key.assumptions}
    for place in key.places:
        assumed = place.status == Status.ASSUMED and place.evidence in said
        if place.status != Status.CLEAN and not assumed:
            yield place


def _shared_places(keys: Iterable[Key]) -> tuple[KeyPlace, ...]:
    """Return the places that are not clean for the same reason for every old key of a cache."""
    first, *others = [list(_open_places(key)) for key in keys if key.verdict] or [[]]
    known = [{_said(place) for place in places} for places in others]
    return tuple(place for place in first if others and all(_said(place) in one for one in known))


def _place_lines(places: Iterable[KeyPlace]) -> Iterator[str]:
    """Yield a line for each place, and one for files of which the same is said but for servers."""
    alike: dict[tuple[str, ...], list[KeyPlace]] = {}
    for place in places:
        alike.setdefault(_without_server(place), []).append(place)
    for first, *others in alike.values():
        line, servers = _place_line(first), dict.fromkeys(one.where for one in (first, *others))
        if len(servers) > 1:
            begin, rest = line.split(first.where, 1)
            rest = rest.replace(first.where, "each of them")
            line = f"{begin}each of {listing(servers)}{rest}"
        yield line


def _without_server(place: KeyPlace) -> tuple[str, ...]:
    """Return what is said of a file without its server, if that can be left out; else all of it."""
    if place.kind not in FILES or not place.where:
        return _said(place)
    parts = f"{place.evidence}; {place.remedy}".split(place.where)
    named = [part.endswith((" of ", " on ")) for part in parts[:-1]]
    if not named or not all(named):
        return _said(place)
    return (place.kind, place.status, place.verdict or "", *parts)


def _place_line(place: KeyPlace) -> str:
    """Return what keeps one place from being clean, and what ends it."""
    word = "assumed" if place.status == Status.ASSUMED else place.verdict
    remedy = f"; {place.remedy}" if place.remedy else ""
    return f"{word}: {place.evidence}{remedy}"


def _said(place: KeyPlace) -> tuple[str, ...]:
    """Return what makes two places of different keys the same to a reader."""
    return (place.kind, place.where, place.status, place.verdict, place.evidence, place.remedy)


def _verified(verification: Verification) -> Text:
    """Return what looking again came to, in one line."""
    bad = verification.found_under_old_keys or not verification.complete
    line = heading("verified", f"{words.verified(verification)}: ")
    return line.append_text(text(words.findings(verification), "yellow" if bad else ""))


def _coverage(coverage: Coverage, user: str | None) -> RenderableType:
    """Return what was looked at, a line for each node, and a line for all that was not."""
    said = [coverage.mode, *([f"as Redis user {user}"] if user else [])]
    if coverage.slots_covered is not None:
        said.append(f"{coverage.slots_covered:,} of 16,384 slots")
    if coverage.databases:
        databases = ", ".join(map(str, coverage.databases))
        said.append(f"database{'s' * (len(coverage.databases) > 1)} {databases}")
    if coverage.topology_changed:
        said.append("the topology changed")
    if coverage.orphans:
        said.append(f"{count(coverage.orphans, 'name')} on a node that does not own the slot")
    nodes = grid("left", "left", "right", "left")
    for node in coverage.nodes:
        visits = count(node.visits, "visit")
        way = f", {node.exchange}" if node.exchange else ""
        cells = (node.node, node.version or "", visits + way)
        good = node.complete and not node.unproven
        nodes.add_row(*map(text, cells), text(words.node_state(node), "" if good else "yellow"))
    parts: list[RenderableType] = [heading("covered", ", ".join(said))]
    if coverage.nodes:
        parts.append(indented(nodes))
    if coverage.not_looked_at:
        parts.append(listed("not looked at", coverage.not_looked_at, "yellow"))
    return Group(*parts)


def _problems(cache: Cache) -> RenderableType:
    """Return some problems of every kind, those of one kind together."""
    parts: list[RenderableType] = [heading("problems", f"{cache.problems_total:,}")]
    parts += [bullets(problem_lines(cache), "yellow")] if cache.problem_sums else []
    shown = _some(cache.problems)
    for (kind, node), same in groupby(shown, lambda problem: (_kind(problem), problem.node)):
        parts.append(indented(text(f"{kind}, on {node}:", "yellow")))
        parts.append(indented(bullets(with_field(one.name, one.field) for one in same)))
    if more := cache.problems_total - len(shown):
        # What the JSON keeps is bounded as well, so it is not promised that all are there.
        parts.append(indented(text(f"and {more:,} more; the JSON report shows more of them")))
    return Group(*parts)


def _kind(problem: Problem) -> str:
    """Return what went wrong, without the place."""
    return ", ".join(filter(None, (problem.outcome, problem.reason, problem.detail)))


def _some(problems: Sequence[Problem]) -> list[Problem]:
    """Return the first few, but no kind is crowded out by another that came before it."""
    seen: Counter[str] = Counter()
    ranked = []
    for place, problem in enumerate(problems):
        seen[_kind(problem)] += 1
        ranked.append((seen[_kind(problem)], place))
    return [problems[place] for place in sorted(place for _, place in sorted(ranked)[:PROBLEMS])]
