"""`rotator report`: show the last verdicts and what came before them, from the state alone."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import typer

from rotator.cli import options
from rotator.cli.completion import complete_condition, complete_key
from rotator.console import print_result, start_logging
from rotator.errors import ConditionError, ConfigError, Exit
from rotator.protection import check_targets
from rotator.report import table
from rotator.report.archive import (
    IN_TIME,
    PROVEN,
    add_schedule,
    find_key_id,
    late_caches,
    load_reports,
    old_key_ids,
    required_keys,
    select_caches,
    unmet_conditions,
)
from rotator.report.files import Targets, existing_state, files_of_state, json_text, write_whole
from rotator.report.model import Report
from rotator.state.state import State
from rotator.text import listing, short_id, utc_now

REPORT_EXAMPLES = """\b
Examples:
  rotator report
      the last verdicts, how old they are, and the history of each key
  rotator report --cache shared-redis --format json
      those of one cache, as JSON
  rotator report --html keys.html
      the same as a page, to print or to send
  rotator report --require retirable:9f2c41d0 && remove-the-key
      go on only if this key can be removed, by a sweep in the last 24 hours
  rotator report --require proven:9f2c41d0
      the same, with nothing in its evidence assumed
  rotator report --by 2026-11-30T05:00Z
      will the rotation be done by then, and how fast does it have to be?
  rotator report --from reports/ --require retirable
      the worst verdict over many hosts, from what `run --report` wrote

\b
Receipts, to file when a key is destroyed:
  openssl genpkey -algorithm ed25519 -out audit.pem
  openssl pkey -in audit.pem -pubout -out audit.pub.pem
      a pair of keys, once: one signs and stays secret, the other verifies
  rotator report --receipt 9f2c41d0.json --key 9f2c41d0 --sign audit.pem
      the evidence on one key, over all caches that list it
  rotator report --verify-receipt 9f2c41d0.json --public audit.pub.pem
      is it unchanged since it was signed? Needs neither state nor network

Exit codes: 0 done; 1 there is no state, or it cannot be read; a file under
--from is not a report; the receipt is not signed, was signed with another key, or
was changed; 2 usage; 6 the condition of --require does not hold: a cache that
lists the key has another verdict, or its last complete sweep is older than
--max-age.
"""

_VERIFYING = ("--verify-receipt", "--public", "--format")
_DAY = timedelta(days=1)
_NO_STATE = "`rotator run --dry-run` creates one; or give the file of your runs with --state"


@dataclass(frozen=True)
class ReceiptOptions:
    """Receipt options: say which receipt to write, or which to verify."""

    receipt: Path | None = options.option(
        "--receipt",
        "Write the evidence on one old key, whole or not at all, for an auditor's files; needs"
        " redis-rotator[receipt]. If the key cannot be removed yet, the receipt says so.",
        metavar="FILE",
    )
    key: str | None = options.option(
        "--key",
        "Id of the key of --receipt, or its first 8 characters. Default: the only old one.",
        metavar="ID",
        autocompletion=complete_key,
    )
    sign: Path | None = options.option(
        "--sign", "Private ed25519 key (PEM, no passphrase) to sign it with.", metavar="KEY.pem"
    )
    verify_receipt: Path | None = options.option(
        "--verify-receipt",
        "Say whether this receipt is unchanged since it was signed, and show it; do nothing else.",
        metavar="FILE",
    )
    public: Path | None = options.option(
        "--public", "Public ed25519 key (PEM) of the signer.", metavar="KEY.pem"
    )

    def check(
        self, typed: Sequence[str], *, fleet: bool, others: Sequence[tuple[str, Path | None]]
    ) -> None:
        """
        Raise unless they fit together, and with all options *typed*; *fleet*: reports are of files.

        Raises:
            ConfigError: One needs another one, or is without effect, a receipt cannot be written,
                or it would replace the key that signs or one of the *others*.
        """
        if (self.verify_receipt is None) != (self.public is None):
            raise ConfigError("--verify-receipt and --public go together", hint="give both")
        if self.verify_receipt and (idle := [one for one in typed if one not in _VERIFYING]):
            said = f"--verify-receipt does nothing else: it has no use for {listing(idle)}"
            raise ConfigError(said, hint="leave out what it does not use")
        if self.receipt is None:
            if self.sign or self.key:
                said = "--sign and --key go with --receipt"
                raise ConfigError(said, hint="add --receipt")
            return
        if fleet or self.verify_receipt:
            said = "--receipt does not go with --from or --verify-receipt"
            raise ConfigError(said, hint="a receipt is made from the state: leave them out")
        check_targets({"receipt": self.receipt}, [("the key that signs", self.sign), *others])

    def verify(self, *, as_json: bool) -> bool:
        """Show what a receipt says, if it is unchanged; return whether that was asked."""
        if self.verify_receipt is None or self.public is None:
            return False
        from rotator.report.receipt import envelope, receipt  # noqa: PLC0415 - few ask for it

        envelope.require_libraries()
        found, signed_by = receipt.open_receipt(self.verify_receipt, self.public)
        shown = signed_by[: envelope.SHOWN_ID]
        said = f"{self.verify_receipt} is unchanged since it was signed with key {shown}"
        said = f"{said}; that does not say who holds this key\n"
        if as_json:
            said = f"{said}{receipt.not_shown(found)}"
        print_result(said, sys.stderr if as_json else None)
        print_result(json_text(found) if as_json else receipt.render(found))
        return True

    def write(
        self,
        everything: Report,
        old: Sequence[str],
        state: State,
        *,
        now: datetime,
        max_age: timedelta,
    ) -> str | None:
        """
        Write the receipt, if one is wanted; return what is to be said of it.

        Raises:
            ConfigError: None of the *old* keys is meant, there is no key to sign with, or a library
                is not installed.
        """
        if self.receipt is None:
            return None
        from rotator.report.receipt import envelope, receipt  # noqa: PLC0415 - few ask for it

        envelope.require_libraries()
        start_logging()
        key_id = self._key_id(everything, old)
        signer = envelope.read_signer(self.sign) if self.sign else None
        found = receipt.build_receipt(everything, key_id, state, now=now, max_age=max_age)
        write_whole(self.receipt, receipt.seal(found, signer))
        signed = "not signed: anybody could have written it"
        if signer:
            signed = f"signed with key {signer.public_key.keyid[: envelope.SHOWN_ID]}"
        unmet = found.retirable.reasons
        against = f"; the key must not be removed yet: {unmet[0]}" if unmet else ""
        said = f"{self.receipt}: receipt of key {short_id(key_id)}, {found.verdict}, {signed}"
        return f"{said}{against}\n{receipt.not_shown(found)}"

    def _key_id(self, everything: Report, old: Sequence[str]) -> str:
        """Return the id of the key that the receipt is to be on."""
        if self.key:
            return find_key_id("--key", self.key, everything)  # not quoted: it may be a key itself
        if len(old) != 1:
            hint = f"name it with --key: {', '.join(old)}" if old else "there is no key to remove"
            raise ConfigError(f"a receipt is for one old key, and there are {len(old)}", hint=hint)
        return old[0]


def report_command(
    context: typer.Context,
    *,
    cache: options.Caches = None,
    require: str | None = options.option(
        "--require",
        "For scripts: exit with 6 unless the condition holds. retirable: every old key, or the one"
        " with this id, is. proven: that with nothing assumed (no declaration, nothing accepted,"
        " a fence, and a retention of backups that is over). in-time: every cache will be done by"
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
    reports: Path | None = options.option(
        "--from",
        "Read the reports of many hosts instead of the state: DIR/HOST/*.json, as `run --report`"
        " wrote them. The last one of each host and cache counts.",
        metavar="DIR",
    ),
    receipts: ReceiptOptions,
    state: options.StatePath = None,
    html: options.HtmlFile = None,
    output: options.Format = options.ReportFormat.TABLE,
) -> Exit | None:
    """
    Show the last verdicts, reasons and history, from the state file, without touching Redis.

    It says how old its information is. If several caches list a key, the worst verdict counts.
    """
    receipts.check(
        _typed(context),
        fleet=reports is not None,
        others=(("the page", html), *files_of_state(state)),
    )
    as_json = output is options.ReportFormat.JSON
    if receipts.verify(as_json=as_json):
        return None
    targets, now = Targets(html=html), utc_now()
    targets.check((), state)
    asked = _Asked(require, _DAY if max_age is None else max_age, now)
    if reports is not None:
        if by is not None or require == IN_TIME:
            text = "--by and --require in-time do not go with --from"
            raise ConfigError(text, hint="they need the state of one host: leave --from out")
        return _fleet(reports, cache or (), asked, targets, as_json=as_json)
    with State(existing_state(state, _NO_STATE)) as opened:
        everything = load_reports(opened, now)
        if by is not None:
            everything = add_schedule(everything, opened, by, now)
        shown = select_caches(everything, cache or ())
        if require == IN_TIME and by is None:
            raise ConfigError("--require in-time needs --by", hint="add a time: --by 05:00")
        wanted = asked.keys(everything, shown)
        said = receipts.write(
            everything, old_key_ids(shown), opened, now=now, max_age=asked.max_age
        )
    targets.write(shown, now)
    print_result(json_text(shown) if as_json else table.render(shown, now))
    if said:
        print_result(f"\n{said}", sys.stderr if as_json else None)
    asked.check(everything, wanted)
    if require == IN_TIME:
        hint = "`rotator report --by` says how fast each cache would have to be"
        _require(IN_TIME, [(reason, hint) for reason in late_caches(shown)])
    return None


def _typed(context: typer.Context) -> list[str]:
    """Return the options that stand on the command line, not those of the environment."""
    told = [(one, context.get_parameter_source(one.name or "")) for one in context.command.params]
    return [one.opts[0] for one, source in told if source and source.name == "COMMANDLINE"]


@dataclass(frozen=True)
class _Asked:
    """Condition: holds what `--require` asks for, as of *now*."""

    require: str | None
    max_age: timedelta
    now: datetime

    def keys(self, everything: Report, shown: Report) -> list[str] | None:
        """Return the ids of the keys that are asked for; None: nothing is asked of keys."""
        if self.require in {None, IN_TIME}:
            return None
        return required_keys(str(self.require), everything, shown)

    def check(self, everything: Report, wanted: Sequence[str] | None) -> None:
        """Raise ConditionError unless it holds for the keys that are *wanted*."""
        if wanted is not None:
            condition = str(self.require).partition(":")[0]
            check = partial(unmet_conditions, now=self.now, max_age=self.max_age)
            _require(condition, check(everything, wanted, proven=condition == PROVEN))


def _fleet(
    folder: Path, names: Sequence[str], asked: _Asked, targets: Targets, *, as_json: bool
) -> Exit:
    """Show what the reports of many hosts come to; 1: a file among them is none."""
    from rotator.report.fleet import collection  # noqa: PLC0415 - only where it is asked for
    from rotator.report.fleet import table as fleet_table  # noqa: PLC0415 - the same

    fleet, everything = collection.load_fleet(folder, asked.now, names)
    wanted = asked.keys(everything, everything)
    if targets.html:
        from rotator.report.html import render_fleet  # noqa: PLC0415 - the same

        write_whole(targets.html, render_fleet(fleet))
    print_result(json_text(fleet) if as_json else fleet_table.render(fleet))
    asked.check(everything, wanted)
    return Exit.FAILED if any(one.kind == "unread" for one in fleet.findings) else Exit.OK


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
