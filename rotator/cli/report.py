"""`rotator report`: show the last verdicts and what came before them, from the state alone."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from rotator.cli import options
from rotator.cli.completion import complete_condition
from rotator.console import print_result
from rotator.errors import ConditionError, ConfigError, StateError
from rotator.report import table
from rotator.report.archive import (
    IN_TIME,
    PROVEN,
    RETIRABLE,
    add_schedule,
    late_caches,
    load_reports,
    unmet_conditions,
)
from rotator.report.files import Targets, json_text
from rotator.report.model import Report
from rotator.state.database import default_path
from rotator.state.state import State
from rotator.text import SHORT_ID, utc_now

REPORT_EXAMPLES = """\b
Examples:
  rotator report
      the last verdicts, how old they are, and the history of each key
  rotator report --cache shared-redis --format json
      those of one cache, as JSON
  rotator report --html keys.html
      the same as a page, to print or to send
  rotator report --require retirable:9f2c41d0 && remove-the-key
      go on only if this key can be removed, by a sweep of the last 24 hours
  rotator report --require proven:9f2c41d0
      the same, and nothing that speaks for it is only assumed
  rotator report --by 2026-11-30T05:00Z
      whether the rotation will be done by then, and how fast it has to be

Exit codes: 0 done; 1 there is no state, or it cannot be read; 2 usage;
6 what --require asks for does not hold: in any cache that lists the key the verdict
is another, or the last complete sweep is older than --max-age.
"""

_DAY = timedelta(days=1)


def report_command(
    *,
    cache: options.Caches = None,
    require: str | None = options.option(
        "--require",
        "For scripts: exit with 6 unless every old key, or the one with this id, is retirable;"
        " or proven, which is the same with nothing assumed: no declaration, nothing accepted, a"
        " fence, and a retention of backups that is over; or unless every cache will be done by"
        " the time of --by.",
        metavar="retirable[:ID]|proven[:ID]|in-time",
        autocompletion=complete_condition,
    ),
    max_age: timedelta | None = options.duration(
        "--max-age", "How old the last complete sweep may be for --require to hold. Default: 24h."
    ),
    by: datetime | None = options.deadline(
        "--by",
        "Say whether each cache will be done by this time, such as 05:00 or 2026-11-24T05:00Z,"
        " and how fast it would have to be.",
    ),
    state: options.StatePath = None,
    html: options.HtmlFile = None,
    output: options.Format = options.ReportFormat.TABLE,
) -> None:
    """
    Show the last verdicts, reasons and history, from the state file, without touching Redis.

    It tells how old its knowledge is. What several caches say of one key is put together: the worst
    verdict counts.
    """
    targets = Targets(html=html)
    targets.check((), state)
    now = utc_now()
    with _open_existing(state) as opened:
        everything = load_reports(opened, now)
        if by is not None:
            everything = add_schedule(everything, opened, by, now)
    shown = _select(everything, cache or ())
    if require == IN_TIME and by is None:
        raise ConfigError("--require in-time: by when?", hint="name a time: --by 05:00")
    wanted = None if require in {None, IN_TIME} else _required_keys(str(require), everything, shown)
    targets.write(shown, now)
    as_json = output is options.ReportFormat.JSON
    print_result(json_text(shown) if as_json else table.render(shown, now))
    if wanted is not None:
        max_age = _DAY if max_age is None else max_age
        condition = str(require).partition(":")[0]
        proven = condition == PROVEN
        unmet = unmet_conditions(everything, wanted, now=now, max_age=max_age, proven=proven)
        _require(condition, unmet)
    if require == IN_TIME:
        hint = "`rotator report --by` says how fast each cache would have to be"
        _require(IN_TIME, [(reason, hint) for reason in late_caches(shown)])


def _open_existing(path: Path | None) -> State:
    """Open the state if there is one: a report must not leave an empty one behind."""
    place = path or default_path()
    if not place.exists():
        raise StateError(
            f"there is no state file {place}",
            hint="`rotator run --dry-run` makes one; or name that of the runs with --state",
        )
    return State(place)


def _select(everything: Report, names: Sequence[str]) -> Report:
    """Return the report on the caches called *names*, or on all."""
    known = list(dict.fromkeys(one.name for one in everything.caches))
    for name in names:
        if name not in known:
            raise ConfigError(
                f"--cache {name}: the state holds no report on it",
                hint=f"it holds reports on {', '.join(known)}",
            )
    # Several servers may have answered to one name.
    wanted = dict.fromkeys(names or known)
    caches = tuple(one for name in wanted for one in everything.caches if one.name == name)
    return everything.model_copy(update={"caches": caches})


def _required_keys(require: str, everything: Report, shown: Report) -> list[str]:
    """
    Return the ids of the old keys that are asked for: all that are shown, or the one named.

    Raises:
        ConfigError: It is not written like that, or no key, or more than one, has this id.
    """
    word, colon, ident = require.partition(":")
    if word not in {RETIRABLE, PROVEN} or (colon and len(ident) < SHORT_ID):
        raise ConfigError(
            f"--require {require[:80]}: expected retirable or proven, or one of them with :ID",
            hint="ID is a key id, or its first 8 characters; or with --by: --require in-time",
        )
    living = [one for one in shown.caches if not one.superseded]
    old = {key.id for one in living for key in one.keys if key.role == "old"}
    if not colon:
        return sorted(old)
    known = {key.id for one in everything.caches for key in one.keys}
    found = sorted(one for one in known if one.startswith(ident.lower()))
    if len(found) != 1:
        what = "several keys begin with" if found else "no key has"
        raise ConfigError(
            f"--require {require[:80]}: {what} this id",
            hint=f"the state knows the old keys {', '.join(sorted(old)) or '(none)'}",
        )
    return found


def _require(condition: str, reasons: Sequence[tuple[str, str]]) -> None:
    """
    Raise unless there are no *reasons*, each with what to do, why *condition* does not hold.

    Raises:
        ConditionError: There is one.
    """
    if reasons:
        reason, hint = reasons[0]
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        raise ConditionError(f"--require {condition} does not hold: {reason}{more}", hint=hint)
