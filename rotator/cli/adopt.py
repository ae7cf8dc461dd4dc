"""`rotator adopt`: encrypt values that are stored as they are."""

from rotator.cli import options
from rotator.cli.bulk import DEFAULT_PAGE, BulkCommand, OutputOptions, Yes
from rotator.errors import ConfigError
from rotator.report.bulk import BulkWording
from rotator.run.bulk import Adoption, BulkOptions
from rotator.tally.tally import BulkOutcome, Outcome

ADOPT_EXAMPLES = """\b
Examples:
  rotator adopt --cache shared-redis --match '/app/oidc:*' --dry-run
      which values are plaintext; sends no command that writes
  rotator adopt --cache shared-redis --match '/app/oidc:*'
      show them, ask, and encrypt them under the current key

Exit codes: 0 done; 1 could not be done; 2 usage, or nobody said yes; 3 some could
not be encrypted; 7 a run is in progress.
"""
_MEANINGS: dict[str, str] = {
    BulkOutcome.ENCRYPTED: "open under a configured key",
    Outcome.UNDECRYPTABLE: "look like an encrypted value, and do not open; left",
    BulkOutcome.OUTSIDE: "match here, but not in the configuration, so no run visits them; left",
}
_NOTES = (
    "Applications read encrypted values from then on: they must be configured for it already",
    "(README, Runbooks, From plaintext to encrypted).",
)


def adopt_command(
    *,
    match: list[str] | None = options.option(
        "--match",
        "Glob pattern of names whose values are to be encrypted; repeatable. Required.",
        metavar="PATTERN",
    ),
    which: options.CacheOptions,
    dry_run: options.DryRun = False,
    yes: Yes = False,
    max_rate: options.MaxRate = None,
    page: options.PageSize = DEFAULT_PAGE,
    state: options.StatePath = None,
    display: options.DisplayOptions,
) -> None:
    """
    Encrypt plaintext values under the current key: only names that match, never by a guess.

    A value is taken for plaintext only if it has the structure of no configured format. One that
    has, and does not open, is left and listed. The TTL is kept, and a value that an application
    writes meanwhile is not overwritten. What opens already is left as it is.

    Applications must already be able to read encrypted values.
    """
    display.start_logging()
    if not match:
        raise ConfigError(
            "--match: which names are to be encrypted has to be said",
            hint="for example --match '/app/oidc:*'; '*' is every name",
        )
    output = OutputOptions(dry_run, yes, state, display)
    access = which.open()
    codec = access.codec
    if codec is None:
        raise ConfigError(
            f"{access.cache.field('encryption.disabled')}: encryption is off",
            hint="switch it on, with a current key, at every application first",
        )
    wording = BulkWording(
        command="adopt",
        verb="encrypt",
        done="encrypted",
        what=f"plaintext; encrypted under the current key {codec.keyring.current.id}",
        meanings=_MEANINGS,
        next_step="rotator run --dry-run: it looks at everything again",
        notes=_NOTES,
    )
    bulk = BulkOptions("encrypting", match=tuple(match), page=page, rate=max_rate)
    selectors = {access: Adoption(codec, access.settings.match)}
    BulkCommand(selectors, bulk, wording, output).run()
