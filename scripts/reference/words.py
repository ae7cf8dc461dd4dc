"""The reference of verdicts, places, outcomes, exit codes and metrics."""

from __future__ import annotations

from collections.abc import Iterator

from reference.markdown import code, item, listed, paragraph, prose, sentence, table
from rotator.crypto.format_codec import Reason
from rotator.errors import ENDINGS
from rotator.report.metrics import METRICS
from rotator.report.words import KIND_NAMES, MEANINGS, STATUS_MEANINGS
from rotator.retirement.places import Kind, Verdict
from rotator.tally.tally import OUTCOMES, Outcome

VERDICTS = {
    Verdict.UNKNOWN: (
        "a node, a replica or a file was not looked at, or values do not open",
        "keep the key; do what the report says, or declare or accept what you know",
    ),
    Verdict.IN_USE: (
        "values without a TTL are under it, or it was met again after it had been clean",
        "keep the key; rotate, or find the application that still encrypts with it",
    ),
    Verdict.DRAINING: (
        "all values under it have a TTL",
        "keep the key; wait until the time in the report, or rotate",
    ),
    Verdict.VERIFYING: (
        "no value is left, but that is not confirmed yet",
        "keep the key; run again after the time in the report",
    ),
    Verdict.HELD: (
        "no value is left, but a replica, a file or a backup may still hold old ones",
        "keep the key; do what the report says, such as `BGSAVE`, or use `--refresh-files`",
    ),
    Verdict.RETIRABLE: (
        "every place is clean, or covered by an assumption that the report names",
        "remove the key: the report names the field",
    ),
}
"""When a key has a verdict, and what to do then."""
CLEAN = {
    Kind.NAMES: (
        "a sweep that only read, in one go, met no value on any primary and proves that it saw all"
        " of them; twice, with the time of `--quiet` between, or once after the fence"
    ),
    Kind.OUTSIDE: (
        "the same sweep read the names that `match` and `databases` leave out, and the fields that"
        " `fields` leaves out, and met none"
    ),
    Kind.NOT_OPENED: "every value was opened, or those that were not are accepted by number",
    Kind.WRITERS: "a fence says since when no application encrypts with it; else it is assumed",
    Kind.REPLICA: (
        "each replica was asked: it follows the primary, and has all that was written until the"
        " names were clean"
    ),
    Kind.RDB: (
        "each server, replicas too, has written a new RDB file since the names were clean, or never"
        " had one"
    ),
    Kind.AOF: "each server that keeps an append-only file has rewritten it since then",
    Kind.BACKUP_COMMAND: "no node backup of Redis 8.10 or later is older than that",
    Kind.CACHES: "all other caches that list the key are clean, too",
    Kind.BACKUPS: "the time of `backups.retention` is over since the last of these became clean",
}
"""When a place is clean."""
MORE = {
    Outcome.WOULD_ROTATE: "With `--only-key`, a run also counts those under other old keys here",
    Outcome.CONTENDED: "There are 5 tries",
    Outcome.UNDECRYPTABLE: f"The reason is {listed([code(one) for one in Reason])}",
    Outcome.NOT_STRING: "A hash is one if it has no field that `fields` names",
}
"""What else to know about an outcome."""


def verdicts() -> str:
    """Return the table of verdicts, worst first."""
    rows = [(code(verdict), *VERDICTS[verdict]) for verdict in Verdict]
    return table(("verdict", "when", "what to do"), rows)


def places() -> str:
    """Return the places where a value may be, and what may be known of them."""
    found = [
        item(f"**{code(kind)}**: {KIND_NAMES[kind]}. Clean if {CLEAN[kind]}.") for kind in Kind
    ]
    statuses = [item(f"{code(one)}: {prose(text)}.") for one, text in STATUS_MEANINGS.items()]
    intro = paragraph("A report says of each place one of these:")
    return "\n\n".join(["\n".join(found), intro, "\n".join(statuses)])


def outcomes() -> str:
    """Return the outcomes of a visit, and what follows from each."""
    return "\n".join(item(" ".join(_outcome(one))) for one in Outcome)


def _outcome(outcome: Outcome) -> Iterator[str]:
    """Yield the sentences about an outcome."""
    yield f"**{code(outcome)}**: {prose(MEANINGS[outcome])}."
    if outcome in MORE:
        yield sentence(MORE[outcome])
    known = OUTCOMES[outcome]
    follows = ["a run ends with 3"] * (not known.moved) + ["no key is `retirable`"] * known.blocks
    if follows:
        when = "Unless you accept them with `--accept`" if known.acceptable else "With such values"
        yield f"{when}, {' and '.join(follows)}."


def exit_codes() -> str:
    """Return the table of exit codes."""
    rows = [(str(int(number)), prose(ending.long)) for number, ending in ENDINGS.items()]
    return table(("code", "meaning"), rows)


def metrics() -> str:
    """Return every metric, with its labels."""
    found = []
    for name, metric in METRICS.items():
        labels = [code(one) for one in metric.labels]
        by = f" (by {listed(labels, 'and')})" if labels else ""
        found.append(item(f"{code(name)}{by}: {prose(metric.meaning)}"))
    intro = paragraph('All are gauges. What says "whether" is 1 or 0.')
    return "\n\n".join([intro, "\n".join(found)])
