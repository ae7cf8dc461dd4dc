"""
`rotator purge`, `rotator adopt`: delete what an old key or nothing opens; encrypt plaintext.

Both look at everything first, show what would be done, and ask.
"""

import re
from collections.abc import Sequence

from rotator.cli import options
from rotator.cli.bulk import DEFAULT_PAGE, BulkCommand, OutputOptions, Yes
from rotator.crypto.codec import Reason
from rotator.errors import ConfigError
from rotator.report.bulk import BulkWording
from rotator.run.bulk import BulkOptions
from rotator.run.formats import format_of_new_values
from rotator.run.picking import REASONS, Adoption, purge_key, purge_undecryptable
from rotator.secrets.provider import provider_from_url
from rotator.server.context import open_config, select
from rotator.tally.tally import BulkOutcome, Outcome

PURGE_EXAMPLES = """\b
Examples:
  rotator purge --key 9f2c41d0 --dry-run
      which values are still under this old key; sends no command that writes
  rotator purge --key 9f2c41d0
      show them, ask, and delete them for good
  rotator purge --undecryptable --reason bad_tag --yes
      delete what opens under no key, without asking

Exit codes: 0 done; 1 could not be done; 2 usage, or not confirmed; 3 some could
not be deleted; 5 not one value opens (--allow-empty); 7 a run is in progress.
"""
ADOPT_EXAMPLES = """\b
Examples:
  rotator adopt --cache shared-redis --match '/app/oidc:*' --dry-run
      which values are plaintext; sends no command that writes
  rotator adopt --cache shared-redis --match '/app/oidc:*'
      show them, ask, and encrypt them under the current key

Exit codes: 0 done; 1 could not be done; 2 usage, or not confirmed; 3 some could
not be encrypted; 7 a run is in progress.
"""
_REASONS = ", ".join(Reason)
_KEY_ID = re.compile(r"[0-9A-Fa-f]{4,16}")
_PURGE_MEANINGS: dict[str, str] = {
    Outcome.CURRENT: "under the current key",
    BulkOutcome.OTHER_KEY: "under an old key, and left",
    BulkOutcome.OTHER_CACHE: "another cache of the configuration reads them; left",
    Outcome.NESTED: "encrypted twice, and left",
    Outcome.UNDECRYPTABLE: "no configured format and key opens them, so they may be under this one;"
    " left",
}
_ADOPT_MEANINGS: dict[str, str] = {
    BulkOutcome.ENCRYPTED: "open under a configured key",
    Outcome.UNDECRYPTABLE: "look encrypted, but do not open; left. Try `rotator detect`; if they"
    " are plaintext with random bytes, such as tokens, add --allow-random",
    BulkOutcome.OUTSIDE: "match here, but not in the configuration, so no run visits them; left",
}
_ADOPT_NOTES = (
    "Applications must be configured to read encrypted values before you do this:",
    "see `rotator docs rotation`.",
)


def purge_command(
    *,
    key: str | None = options.old_key(
        "--key",
        "Delete the values under the old key with this id, or the only one that begins like this.",
    ),
    undecryptable: bool = options.option(
        "--undecryptable",
        "Delete the values that no configured format and key opens.",
        default=False,
    ),
    reason: list[Reason] | None = options.option(
        "--reason",
        "With --undecryptable: only values that do not open for this reason; repeatable."
        f" One of {_REASONS}. Default: all but the last.",
        metavar="REASON",
        show_default=False,
    ),
    which: options.CachesOptions,
    dry_run: options.DryRun = False,
    yes: Yes = False,
    allow_empty: bool = options.option(
        "--allow-empty", "With --undecryptable: go on even if not one value opens.", default=False
    ),
    max_rate: options.MaxRate = None,
    page: options.PageSize = DEFAULT_PAGE,
    force_lock: options.ForceLock = False,
    state: options.StatePath = None,
    display: options.DisplayOptions,
) -> None:
    """
    Delete the values under an old key, or those that nothing opens. For good.

    First it looks at everything and shows what it would delete; then it asks. A value is deleted
    only if it has not changed since it was read. Values under the current key are never deleted.
    Only `rotator run` can say whether a key can be removed afterwards.
    """
    display.start_logging()
    _require_one(key, undecryptable=undecryptable, reasons=reason)
    output = OutputOptions(dry_run, yes, state, display)
    loaded, provider = open_config(which.config), provider_from_url(which.secret_provider)
    contexts = select(loaded, which.cache or (), provider)
    if key is not None:
        selectors, key_id = purge_key(contexts, key, named=bool(which.cache))
        what, meanings = f"under the key {key_id}", _PURGE_MEANINGS
    else:
        every = select(loaded, (), provider)
        selectors = purge_undecryptable(contexts, every, reason or REASONS, allow_empty)
        what = "no configured format and key opens them"
        meanings = _PURGE_MEANINGS | {
            Outcome.UNDECRYPTABLE: "do not open for another reason; left",
        }
    wording = BulkWording(
        command="purge",
        verb="delete",
        done="deleted",
        what=what,
        meanings=meanings,
        next_step="rotator run: it looks again, and judges the key",
    )
    bulk = BulkOptions("deleting", page=page, rate=max_rate, force_lock=force_lock)
    BulkCommand(selectors, bulk, wording, output).run()


def adopt_command(
    *,
    match: list[str] | None = options.option(
        "--match",
        "Glob pattern of names whose values are to be encrypted; repeatable. Required.",
        metavar="PATTERN",
    ),
    allow_random: bool = options.option(
        "--allow-random",
        "Also encrypt values that hold random bytes, such as tokens and session ids. They may be"
        " encrypted already.",
    ),
    which: options.CacheOptions,
    dry_run: options.DryRun = False,
    yes: Yes = False,
    max_rate: options.MaxRate = None,
    page: options.PageSize = DEFAULT_PAGE,
    force_lock: options.ForceLock = False,
    state: options.StatePath = None,
    display: options.DisplayOptions,
) -> None:
    """
    Encrypt plaintext values under the current key: only names that match, never by a guess.

    A value counts as plaintext only if it has the structure of no configured format and does not
    look encrypted. Other values that do not open are left and listed. The TTL is kept, and a value
    that an application writes at the same time is not overwritten. Values that open are left alone.

    Values are encrypted in the format to write (`write`); without one, in the format of most
    sampled values under the current key. Applications must already read encrypted values.
    """
    display.start_logging()
    if not match:
        raise ConfigError(
            "--match is missing: say which names to encrypt",
            hint="for example --match '/app/oidc:*'; '*' is every name",
        )
    output = OutputOptions(dry_run, yes, state, display)
    access = which.open()
    access.require_labels()
    codec = access.codec
    if codec is None:
        raise ConfigError(
            f"{access.cache.field('encryption.disabled')}: encryption is off",
            hint="switch it on, with a current key, at every application first",
        )
    form, current = format_of_new_values(access), codec.keyring.current.id
    wording = BulkWording(
        command="adopt",
        verb="encrypt",
        done="encrypted",
        how=f" as {form.name}",
        what=f"plaintext; encrypted as {form.name}, under the current key {current}",
        meanings=_ADOPT_MEANINGS,
        next_step="rotator run --dry-run: it looks at everything again",
        notes=_ADOPT_NOTES,
    )
    bulk = BulkOptions(
        "encrypting", match=tuple(match), page=page, rate=max_rate, force_lock=force_lock
    )
    adoption = Adoption(codec, form, access.settings.match, allow_random)
    BulkCommand({access: adoption}, bulk, wording, output).run()


def _require_one(key: str | None, *, undecryptable: bool, reasons: Sequence[Reason] | None) -> None:
    """Raise unless what to delete is said, and only once."""
    if (key is None) is not undecryptable:
        raise ConfigError(
            "give either --key or --undecryptable",
            hint="--key ID: the values under an old key; --undecryptable: those that nothing opens",
        )
    if reasons and key is not None:
        raise ConfigError("--reason goes with --undecryptable", hint="leave it out with --key")
    if key is not None and not _KEY_ID.fullmatch(key):
        # Not quoted: it may be the key itself.
        raise ConfigError(
            "--key: this is not a key id: 16 hex characters, or at least the first 4",
            hint="`rotator keys` lists the key ids",
        )
