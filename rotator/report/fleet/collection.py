"""
Collection: reads the reports of many hosts, and tells which count.

- A later report of the same host on the same cache replaces the earlier one. The host is what the
  report says, else the folder that holds the file, else the file's name. Hosts may have one name,
  such as `localhost`: of two folders only what one process of a server answered is of one host.
- Of several hosts that look after one cache, known by its name, its databases and the run ids of
  its servers, the newest counts for each key that it lists. Addresses do not tell: `127.0.0.1:6379`
  is another server on every host.
- What remains is added up, and the worst verdict on a key counts. What cannot be read is named, and
  so is a report of a time to come: it neither replaces another one nor is replaced.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from operator import attrgetter
from pathlib import Path

from pydantic import ValidationError

from rotator.errors import ENDINGS, ConfigError, StateError
from rotator.report.agreement import worst_verdict
from rotator.report.fleet.model import Finding, Fleet, FleetKey, Listing
from rotator.report.model import SCHEMA, Attempt, Cache, Key, Report
from rotator.report.words import OUTDATED
from rotator.retirement.places import SEVERITY, Verdict
from rotator.text import moment, short_id, stamp

_SKEW = timedelta(minutes=5)  # by which clocks of hosts may differ
_LARGEST = 64 * 1024 * 1024  # bytes
_finished = attrgetter("report.finished_at")


@dataclass(frozen=True, slots=True)
class Known:
    """Known: one cache as the report of a *host* has it."""

    host: str
    at: datetime
    cache: Cache
    folder: str = ""


@dataclass(frozen=True, slots=True)
class _File:
    """File: a report that was read, the host that it is of, and the folder that holds it."""

    host: str
    report: Report
    folder: str


def load_fleet(folder: Path, now: datetime, names: Sequence[str] = ()) -> tuple[Fleet, Report]:
    """
    Return what the reports under *folder* come to, and all caches that count as one report.

    With *names* only caches that are called so are looked at.

    Raises:
        ConfigError: There is no such folder, or no report has a cache of such a name.
        StateError: There is no report in it.
    """
    files, unread = _read_all(folder)
    known, replaced = _counting(files, now)
    known, differences = _one_of_each_server(known, now)
    if not known:
        raise StateError(f"--from {folder}: no report in it covers a cache", hint="run again")
    if names:
        known = [one for one in known if one.cache.name in names]
        if missing := set(names) - {one.cache.name for one in known}:
            hint = f"look at the files in {folder}"
            raise ConfigError(f"--cache {min(missing)}: no report covers it", hint=hint)
    oldest = min(known, key=lambda one: one.at)
    fleet = Fleet(
        made_at=now,
        reports=len(files),
        hosts=len({(one.host, one.folder) for one in files}),
        replaced=replaced,
        oldest_at=oldest.at,
        oldest_host=oldest.host,
        keys=tuple(_keys(known)),
        findings=(
            *unread,
            *_unjudged(known),
            *_failures(files),
            *_clocks(files, now),
            *differences,
        ),
    )
    caches = tuple(
        one.cache.model_copy(update={"name": f"{one.cache.name} of {one.host}"}) for one in known
    )
    return fleet, max(files, key=_finished).report.model_copy(update={"caches": caches})


def _read_all(folder: Path) -> tuple[list[_File], list[Finding]]:
    """Return the reports under a folder, and the files that are none."""
    if not folder.is_dir():
        raise ConfigError(f"--from {folder}: there is no such folder", hint="name one with reports")
    files, unread = [], []
    for path in _files_under(folder):
        place = path.relative_to(folder)
        try:
            report = _read(path)
        except ValueError as error:
            unread.append(Finding(kind="unread", where=str(place), what=str(error)))
        else:
            top = place.parts[0] if len(place.parts) > 1 else ""
            host = (report.facts and report.facts.host) or top or path.stem
            files.append(_File(host, report, top))
    if not files:
        bad = f"; {unread[0].where}: {unread[0].what}" if unread else ""
        hint = "`rotator run --report FILE.json` writes one: a folder for each host"
        raise StateError(f"--from {folder}: there is no report in it{bad}", hint=hint)
    return files, unread


def _files_under(folder: Path) -> list[Path]:
    """Return the JSON files under a folder, and the folders that are not looked into."""
    closed, found = list[OSError](), list[Path]()
    for top, folders, names in os.walk(folder, onerror=closed.append):
        found += (Path(top, name) for name in names if name.endswith(".json"))
        found += (one for one in map(Path(top).joinpath, folders) if one.is_symlink())
    return sorted([*found, *(Path(error.filename) for error in closed)])


def _read(path: Path) -> Report:
    """Return the report in a file; ValueError says why there is none."""
    try:
        if path.is_dir():
            linked = "links to folders are not followed"
            raise ValueError(linked if path.is_symlink() else "the folder cannot be looked into")
        if not path.is_file() or path.stat().st_size > _LARGEST:  # a pipe would be waited for
            raise ValueError("not a file, or too large to be a report")
        report = Report.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ValueError((error.strerror or "it cannot be read").lower()) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        why = ": ".join(filter(None, (place, first["msg"])))
        raise ValueError(f"not a report of a run: {why[:200]}") from None
    if report.schema_ > SCHEMA:
        raise ValueError(f"schema {report.schema_} is from a later version of rotator")
    return report


def _counting(files: Sequence[_File], now: datetime) -> tuple[list[Known], int]:
    """Return the caches that count of each host, and how many earlier ones were replaced."""
    known: list[Known] = []
    places: dict[tuple[str, str], list[int]] = {}
    replaced = 0
    for file in sorted(files, key=_finished, reverse=True):
        for cache in file.report.caches:
            mine = Known(file.host, file.report.finished_at, cache, file.folder)
            own = places.setdefault((mine.host, cache.name), [])
            later = [place for place in own if _replaces(known[place], mine, now)]
            if not later:
                own.append(len(known))
                known.append(mine)
                continue
            replaced += 1
            if known[later[-1]].cache.coverage is None and cache.coverage is not None:
                known[later[-1]] = _attempted(mine, known[later[-1]])
    hosts = {(one.host, one.folder) for one in known}
    for file in files:
        if not file.report.caches and (file.host, file.folder) not in hosts:  # nothing is known
            failed = Cache(name="every cache", error=file.report.error or "none was looked at")
            known.append(Known(file.host, file.report.finished_at, failed, file.folder))
    return [one for one in known if not one.cache.superseded], replaced


def _replaces(later: Known, earlier: Known, now: datetime) -> bool:
    """Return whether a later report of a host, on a cache of that name, is on the same one."""
    if later.folder != earlier.folder and _run_ids(later).isdisjoint(_run_ids(earlier)):
        return False
    first, second = set(later.cache.addresses), set(earlier.cache.addresses)
    return later.at <= now + _SKEW and not (first and second and first.isdisjoint(second))


def _attempted(earlier: Known, later: Known) -> Known:
    """Return what an earlier run found, where a later one did not look: it only gets older."""
    attempt = Attempt(at=later.at, stopped=later.cache.stopped, error=later.cache.error)
    return replace(earlier, cache=earlier.cache.model_copy(update={"attempt": attempt}))


def _one_of_each_server(known: Sequence[Known], now: datetime) -> tuple[list[Known], list[Finding]]:
    """
    Return the caches without the keys that a newer report of another host judges.

    Where the two do not say the same, that is returned as well.
    """
    kept: list[Known] = []
    differences = []
    by_run: dict[str, list[Known]] = {}
    for one in sorted(known, key=lambda one: one.at, reverse=True):
        others = [other for run_id in _run_ids(one) for other in by_run.get(run_id, ())]
        newer = {
            key.id: (other, key)
            for other in others
            if _same(other, one) and other.at <= now + _SKEW
            for key in other.cache.keys
        }
        for key in one.cache.keys:
            if key.id in newer and newer[key.id][1].verdict != key.verdict:
                other, theirs = newer[key.id]
                what = (
                    f"{other.host} judged {short_id(key.id)} {theirs.verdict or 'current'}"
                    f" ({moment(other.at)}), which counts; {one.host} judged it"
                    f" {key.verdict or 'current'} ({moment(one.at)})"
                )
                differences.append(Finding(kind="difference", where=one.cache.name, what=what))
        keys = tuple(key for key in one.cache.keys if key.id not in newer)
        if keys or not one.cache.keys:
            kept.append(replace(one, cache=one.cache.model_copy(update={"keys": keys})))
            for run_id in _run_ids(one):
                by_run.setdefault(run_id, []).append(kept[-1])
    return sorted(kept, key=lambda one: (one.host, one.cache.name, one.at)), differences


def _run_ids(one: Known) -> set[str]:
    """Return what the servers of a cache say of themselves: a restart makes another one."""
    nodes = one.cache.coverage.nodes if one.cache.coverage else ()
    return {node.run_id for node in nodes if node.run_id}


def _same(newer: Known, older: Known) -> bool:
    """Return whether two hosts look after one cache, if one of its servers is the same process."""
    first, second = newer.cache.coverage, older.cache.coverage
    named = newer.cache.name == older.cache.name
    others = (newer.host, newer.folder) != (older.host, older.folder)
    return bool(named and others and first and second and first.databases == second.databases)


def _keys(known: Sequence[Known]) -> Iterator[FleetKey]:
    """Yield the keys that are old somewhere, the worst first."""
    listed: dict[str, list[tuple[Known, Key]]] = {}
    for one in known:
        for key in one.cache.keys:
            listed.setdefault(key.id, []).append((one, _as_it_counts(one.cache, key)))
    found = [
        (worst_verdict(key for _, key in own), key_id, own)
        for key_id, own in listed.items()
        if any(key.role == "old" for _, key in own)
    ]
    for verdict, key_id, own in sorted(found, key=lambda one: (_rank(one[0]), one[1])):
        swept = [one.cache.swept_at for one, _ in own]
        caches = sorted(own, key=lambda pair: _rank(pair[1].verdict))
        yield FleetKey(
            id=key_id,
            verdict=verdict,
            hosts=len({(one.host, one.folder) for one, _ in own}),
            remaining=sum(key.remaining for _, key in own),
            at_least=any(key.at_least for _, key in own),
            swept_at=min((at for at in swept if at), default=None) if all(swept) else None,
            caches=tuple(_listing(one, key) for one, key in caches),
        )


def _as_it_counts(cache: Cache, key: Key) -> Key:
    """Return a key, unknown where an earlier version of rotator judged it to be any better."""
    if not cache.outdated or _rank(key.verdict) <= _rank(Verdict.UNKNOWN):
        return key
    update = {"verdict": str(Verdict.UNKNOWN), "reasons": (OUTDATED,), "next_step": "run again"}
    return key.model_copy(update=update)


def _rank(verdict: str | None) -> int:
    """Return the place of a verdict, the worst first; where a key is current it is in use."""
    return SEVERITY.index(Verdict(verdict)) if verdict else -1


def _listing(one: Known, key: Key) -> Listing:
    """Return what one cache makes of a key."""
    current = f"it is the current key of {one.cache.name}" if key.role == "current" else None
    return Listing(
        host=one.host,
        cache=one.cache.name,
        role=key.role,
        verdict=key.verdict,
        remaining=key.remaining,
        at_least=key.at_least,
        swept_at=one.cache.swept_at,
        reported_at=one.at,
        reason=current or next(iter(key.reasons), None),
        next_step=key.next_step,
    )


def _unjudged(known: Iterable[Known]) -> Iterator[Finding]:
    """Yield the caches that may list any key, because none of theirs is known."""
    for one in known:
        if not one.cache.keys:
            why = one.cache.error or one.cache.stopped or "nothing was looked at"
            yield Finding(kind="unknown", where=f"{one.cache.name} of {one.host}", what=why)


def _failures(files: Iterable[_File]) -> Iterator[Finding]:
    """Yield the hosts whose last run did not end with 0, and why."""
    last = {(one.host, one.folder): one.report for one in sorted(files, key=_finished)}
    for (host, _), report in sorted(last.items()):
        if report.exit_code:
            ending = ENDINGS.get(report.exit_code)
            said = f"{ending.short if ending else 'unknown'} (exit code {report.exit_code})"
            why = [
                report.error or "",
                *(f"{one.name}: {one.error}" for one in report.caches if one.error),
            ]
            what = "; ".join(filter(None, (said, *why, stamp(report.finished_at))))
            yield Finding(kind="failed", where=host, what=what)


def _clocks(files: Iterable[_File], now: datetime) -> Iterator[Finding]:
    """Yield the reports of a time to come: a clock is wrong, there or here."""
    for one in files:
        if one.report.finished_at > now + _SKEW:
            what = f"its report is from {stamp(one.report.finished_at)}: a clock is wrong"
            yield Finding(kind="clock", where=one.host, what=what)
