"""`rotator check`, `rotator detect`: try what a run needs, and name format and key of values."""

import sys
import textwrap
from dataclasses import asdict
from typing import Any

from rotator.cli import options
from rotator.console import columns_of, print_json, print_result, start_logging, table
from rotator.diagnose.check import StepResult, check, exit_code
from rotator.diagnose.detect import SAMPLES, Detection, Hits, detect
from rotator.diagnose.entry import as_configured, as_yaml, configuration, notes
from rotator.errors import ConfigError, Exit
from rotator.retirement.places import MOST_SAMPLES
from rotator.server.context import CacheContext
from rotator.text import count, escape, listing

CHECK_EXAMPLES = """\b
Examples:
  rotator check --config maverics.yaml
  rotator check --cache shared-redis --format json
  rotator check --stage
      the same, and how far the rotation is, with the next step

Exit codes: 0 nothing failed; 1 a server failed; 2 usage or configuration.
"""

DETECT_EXAMPLES = """\b
Examples:
  rotator detect --config maverics.yaml
  rotator detect --cache shared-redis --samples 1000 --format json
  rotator detect --aad sessions
      if applications authenticate this text with each value

Exit codes: 0 every sampled value opens; 1 a server failed; 2 usage or
configuration; 3 some values do not open; 5 nothing encrypted was found.
"""

_STEP = 21  # columns, the longest name and a gap
_RESULT = 11
_OTHER = {"not_string": "of another type"}
_ADVICE = {
    "unknown_key_id": "it names a key that is not configured: add that key under old",
    "wrong_name": "it was written for another name and moved here",
    "bad_tag": "its key is not configured, or its format is not one that detect knows",
    "not_a_format": "it does not look encrypted",
}


def check_command(
    *,
    which: options.CachesOptions,
    stage: bool = options.option(
        "--stage", "Say which stage of a rotation a cache is in, and what to do next."
    ),
    state: options.StatePath = None,
    output: options.Format = options.ReportFormat.TABLE,
) -> Exit:
    """Try the connection, TLS, login, rights, keys and formats; say what to do about failures."""
    start_logging()
    findings: list[StepResult] = []
    files, names = which.config or (), which.cache or ()
    for finding in check(files, names, which.secret_provider, with_stage=stage, state=state):
        if output is options.ReportFormat.TABLE:
            _print_step(finding, findings[-1] if findings else None)
        findings.append(finding)
    code = exit_code(findings)
    if output is options.ReportFormat.JSON:
        print_json({"exit_code": code, "steps": list(map(asdict, findings))})
    return code


def _print_step(finding: StepResult, previous: StepResult | None) -> None:
    """Print one step, below a heading if it is of another cache or node than the one before."""
    place = (finding.cache, finding.node)
    before = (None, None) if previous is None else (previous.cache, previous.node)
    if finding.cache is not None and place != before:
        whole = " as a whole" if finding.cache == before[0] else ""
        at = f" at {finding.node}" if finding.node else whole
        print_result("\n" + _wrapped("", f"{finding.cache}{at}"))
    start = f"  {finding.result:<{_RESULT}}{finding.step:<{_STEP}}"
    print_result(_wrapped(start, finding.detail))
    if finding.remedy is not None:
        print_result(_wrapped(" " * (_RESULT + 2) + "-> ", finding.remedy))


def _wrapped(start: str, text: str) -> str:
    """Return *start* and *text*, in lines that fit."""
    return textwrap.fill(
        escape(text),
        columns_of(sys.stdout),
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_on_hyphens=False,
    )


def detect_command(
    *,
    which: options.CacheOptions,
    samples: int = options.option(
        "--samples", "How many values to look at.", min=1, max=MOST_SAMPLES, default=SAMPLES
    ),
    aad: list[str] | None = options.option(
        "--aad",
        "Text that applications may authenticate with each value; repeatable. rotator tries what it"
        " finds in values and names anyway.",
        metavar="TEXT",
    ),
    output: options.Format = options.ReportFormat.TABLE,
) -> Exit:
    """
    Say which format and key open the stored values. Reads only; prints what to configure.

    Everything from the line `rotator:` on is YAML that you can paste into a configuration.
    """
    access = which.open()
    for text in aad or ():
        if text.encode("utf-8", "ignore").decode() != text:
            hint = "for other bytes, write aad: hex:<bytes> in the configuration"
            raise ConfigError("--aad: is not UTF-8 text", hint=hint)
    found = detect(access, samples, aad or ())
    if output is options.ReportFormat.JSON:
        print_json(as_data(access, found))
    else:
        _print(access, found)
    return found.exit_code


def as_data(access: CacheContext, found: Detection) -> dict[str, Any]:
    """Return what was found as JSON values; `configuration` is what to add there."""
    return {
        "cache": access.cache.name,
        "databases": list(found.databases),
        "sampled": found.names,
        "strings": found.strings,
        "nested": found.nested,
        "opened": _hits(access, found.opened),
        "detected": _hits(access, found.guessed),
        "refused": {str(reason): number for reason, number in found.refused.most_common()},
        "unknown_keys": dict(found.unknown_keys.most_common()),
        "foreign": [
            {"count": number, **one._asdict()} for one, number in found.foreign.most_common()
        ],
        "other": dict(found.other.most_common()),
        "configuration": configuration(access, found),
        "notes": [*_doubts(found), *notes(access, found)],
        "exit_code": int(found.exit_code),
    }


def _hits(access: CacheContext, hits: Hits) -> list[dict[str, Any]]:
    """Return hits as JSON values, the most frequent first."""
    return [
        {
            "format": form.name,
            **as_configured(form),
            "key": key.id,
            "role": None if access.keyring is None else access.keyring.role(key.id),
            "field": key.field,
            "count": number,
        }
        for (form, key), number in hits.most_common()
    ]


def _print(access: CacheContext, found: Detection) -> None:
    """Print what was found, for people."""
    print_result(f"{escape(access.cache.name)}: {_sampled(found)}")
    for doubt in _doubts(found):
        print_result(_wrapped("", doubt))
    rows = [
        (hit["format"], configured, hit["key"], hit["role"], hit["field"], hit["count"])
        for configured, hits in (("yes", found.opened), ("no", found.guessed))
        for hit in _hits(access, hits)
    ]
    if rows:
        columns = ("format", "configured", "key id", "role", "field", "values")
        print_result(table(*columns, rows=rows))
    if found.refused:
        closed = [(n, reason, _ADVICE[reason]) for reason, n in found.refused.most_common()]
        print_result(table("values", "do not open", "which means", rows=closed))
    for key_id, number in found.unknown_keys.most_common():
        print_result(f"{count(number, 'value')} under the unknown key {key_id}")
    if found.foreign:
        others = [(n, one.name, one.instead) for one, n in found.foreign.most_common()]
        print_result(table("values", "written by", "instead of rotator", rows=others))
    proposal = configuration(access, found)
    if proposal is not None:
        print_result(
            "Add this to the configuration, and the values that are not configured open too:\n\n"
        )
        width = columns_of(sys.stdout) - 1
        print_result(as_yaml(proposal, list(notes(access, found)), width))


def _doubts(found: Detection) -> list[str]:
    """Return that the current key is probably another one than applications use, if it seems so."""
    return [f"{found.wrong_key}; {found.wrong_key.hint}"] if found.wrong_key else []


def _sampled(found: Detection) -> str:
    """Return what was looked at, in a sentence."""
    if not found.names:
        return "nothing is stored there"
    parts = [f"{count(found.strings, 'value')} sampled"]
    parts += [f"{number:,} {_OTHER.get(kind, kind)}" for kind, number in found.other.most_common()]
    parts += [f"{found.nested:,} nested"] if found.nested else []
    where = "database" if len(found.databases) == 1 else "databases"
    return f"{', '.join(parts)}, from {where} {listing(map(str, found.databases))}"
