"""Receipt options: say which receipt `rotator report` is to write, or to verify, and do it."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from rotator.cli import options
from rotator.console import print_result, start_logging
from rotator.errors import ConfigError
from rotator.protection import check_targets
from rotator.report.archive import find_key_id
from rotator.report.files import json_text, write_whole
from rotator.report.model import Report
from rotator.state.state import State
from rotator.text import short_id


@dataclass(frozen=True)
class ReceiptOptions:
    """Receipt options: say which receipt to write, or which to verify."""

    receipt: Path | None = options.option(
        "--receipt",
        "Write the evidence of one old key, whole or not at all, as an auditor files it; needs"
        " redis-rotator[receipt]. Also where the key cannot be removed yet: it says so.",
        metavar="FILE",
    )
    key: str | None = options.option(
        "--key",
        "Id of the key of --receipt, or its first 8 characters. Default: the only old one.",
        metavar="ID",
    )
    sign: Path | None = options.option(
        "--sign", "Private ed25519 key (PEM, no passphrase) to sign it with.", metavar="KEY.pem"
    )
    verify_receipt: Path | None = options.option(
        "--verify-receipt",
        "Say whether this receipt is as it was signed, and what it says; nothing else is done.",
        metavar="FILE",
    )
    public: Path | None = options.option(
        "--public", "Public ed25519 key (PEM) of who is to have signed it.", metavar="KEY.pem"
    )

    def check(self, *, fleet: bool, others: Sequence[tuple[str, Path | None]]) -> None:
        """
        Raise unless they fit together; *fleet*: reports are read from files.

        Raises:
            ConfigError: One needs another one, a receipt cannot be written, or it would replace the
                key that signs or one of the *others*.
        """
        if (self.verify_receipt is None) != (self.public is None):
            raise ConfigError("--verify-receipt and --public go together", hint="give both")
        if self.receipt is None:
            if self.sign or self.key:
                said = "--sign and --key say how to write a receipt"
                raise ConfigError(said, hint="add --receipt")
            return
        if fleet or self.verify_receipt:
            hint = "leave out --from and --verify-receipt"
            raise ConfigError("--receipt is made from the state", hint=hint)
        check_targets({"receipt": self.receipt}, [("the key that signs", self.sign), *others])

    def verify(self, *, as_json: bool) -> bool:
        """Show what a receipt says, if it is as it was signed; return whether that was asked."""
        if self.verify_receipt is None or self.public is None:
            return False
        from rotator.report.receipt import envelope, receipt  # noqa: PLC0415 - few ask for it

        envelope.require_libraries()
        found, signed_by = receipt.open_receipt(self.verify_receipt, self.public)
        shown = signed_by[: envelope.SHOWN_ID]
        said = f"{self.verify_receipt} is as it was signed, with key {shown}"
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
        return said + against

    def _key_id(self, everything: Report, old: Sequence[str]) -> str:
        """Return the id of the key that the receipt is to be on."""
        if self.key:
            return find_key_id("--key", self.key, everything)  # not quoted: it may be a key itself
        if len(old) != 1:
            hint = f"name it with --key: {', '.join(old)}" if old else "nothing is to be removed"
            raise ConfigError(f"a receipt is on one old key, and there are {len(old)}", hint=hint)
        return old[0]
