"""`rotator purge`: delete the values under an old key, or those that nothing opens."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial

import structlog

from rotator.cli import options
from rotator.cli.bulk import DEFAULT_PAGE, BulkCommand, OutputOptions, Yes, require_yes
from rotator.crypto.codec import Codec, Reason
from rotator.crypto.keyring import Key
from rotator.errors import ConfigError, EmptyError
from rotator.report.bulk import BulkWording
from rotator.run.bulk import (
    CURRENT,
    NESTED,
    OTHER_CACHE,
    OTHER_KEY,
    REASONS,
    UNDECRYPTABLE,
    BulkOptions,
    BulkRun,
    PurgeKey,
    PurgeUndecryptable,
    refuse_other_formats,
)
from rotator.secrets.provider import provider_from_url
from rotator.server.context import CacheContext, open_config, select
from rotator.state.state import State
from rotator.sweep.control import StopSignal
from rotator.sweep.node.visitor import Selector
from rotator.sweep.results import BulkResult
from rotator.tally.tally import PICKED

PURGE_EXAMPLES = """\b
Examples:
  rotator purge --key 9f2c41d0 --dry-run
      which values are still under this old key; sends no command that writes
  rotator purge --key 9f2c41d0
      show them, ask, and delete them for good
  rotator purge --undecryptable --reason bad_tag --yes
      delete what opens under no key, without asking

Exit codes: 0 done; 1 could not be done; 2 usage, or nobody said yes; 3 some could
not be deleted; 5 not one value opens (--allow-empty); 7 a run is in progress.
"""
_REASONS = ", ".join(Reason)
_KEY_ID = re.compile(r"[0-9A-Fa-f]{4,16}")
_MEANINGS = {
    CURRENT: "under the current key",
    OTHER_KEY: "under an old key, and left",
    OTHER_CACHE: "another cache of the configuration reads them; left",
    NESTED: "encrypted twice, and left",
    UNDECRYPTABLE: "no configured format and key opens them, so they may be under this one; left",
}

log = structlog.get_logger(__name__)


def purge_command(
    *,
    key: str | None = options.option(
        "--key",
        "Delete what is under the old key with this id, or with the only id that begins so.",
        metavar="ID",
    ),
    undecryptable: bool = options.option(
        "--undecryptable", "Delete what no configured format and key opens.", default=False
    ),
    reason: list[Reason] | None = options.option(
        "--reason",
        "With --undecryptable: only what does not open for this reason; repeatable."
        f" One of {_REASONS}; default: all but the last.",
        metavar="REASON",
        show_default=False,
    ),
    which: options.CachesOptions,
    dry_run: options.DryRun = False,
    yes: Yes = False,
    allow_empty: bool = options.option(
        "--allow-empty", "With --undecryptable: go on although nothing opens.", default=False
    ),
    max_rate: options.MaxRate = None,
    page: options.PageSize = DEFAULT_PAGE,
    state: options.StatePath = None,
    display: options.DisplayOptions,
) -> None:
    """
    Delete the values under an old key, or those that nothing opens. For good.

    First it looks at everything and shows what would go; then it asks. A value is deleted only if
    it still is what was read a moment before. What is under the current key is never deleted.
    Whether a key can be removed afterwards, only `rotator run` can say.
    """
    display.start_logging()
    manner = OutputOptions(dry_run, yes, display.output, display.show_names)
    _require_one(key, undecryptable=undecryptable, reasons=reason)
    require_yes(manner)
    loaded, provider = open_config(which.config), provider_from_url(which.secret_provider)
    accesses = select(loaded, which.cache or (), provider)
    tasks, what = (
        _undecryptable(accesses, select(loaded, (), provider), reason or REASONS)
        if key is None
        else _under(accesses, key, named=bool(which.cache))
    )
    told = BulkWording(
        "purge",
        "delete",
        "deleted",
        what,
        _MEANINGS if key else {**_MEANINGS, UNDECRYPTABLE: "do not open for another reason; left"},
        "rotator run: it looks again, and judges the key",
    )
    stopper = StopSignal()
    with ExitStack() as stack:
        opened = None if dry_run else stack.enter_context(State(state))
        terms = BulkOptions("delete", "deleting", page=page, rate=max_rate)
        errands = [
            BulkRun(
                access,
                task,
                terms,
                state=opened,
                stopper=stopper,
                progress=display.bar("deleted"),
            )
            for access, task in tasks
        ]
        check = partial(_check, dict(tasks), allow_empty=allow_empty)
        BulkCommand(errands, told, manner, stopper, check).run()


def _require_one(key: str | None, *, undecryptable: bool, reasons: Sequence[Reason] | None) -> None:
    """What to delete has to be said, and only once."""
    if (key is None) is not undecryptable:
        raise ConfigError(
            "give either --key or --undecryptable",
            hint="--key ID deletes what is under an old key, --undecryptable what nothing opens",
        )
    if reasons and key is not None:
        raise ConfigError("--reason goes with --undecryptable", hint="leave it out with --key")
    if key is not None and not _KEY_ID.fullmatch(key):
        # Not quoted: it may be the key itself.
        raise ConfigError(
            "--key: this is no key id, which has 16 hex characters; the first 4 may do",
            hint="`rotator keys` lists the key ids",
        )


def _under(
    accesses: Sequence[CacheContext], start: str, *, named: bool
) -> tuple[list[tuple[CacheContext, Selector]], str]:
    """What picks the values under the key whose id has this *start*, in every cache that has it."""
    found = _keys(accesses, start.lower())
    ids = sorted({key.id for _, _, key in found})
    if len(ids) != 1:
        raise ConfigError(
            f"--key {start}: {'several keys begin' if ids else 'no key begins'} so",
            hint=f"give more of it: {', '.join(ids)}"
            if ids
            else "`rotator keys` lists the key ids",
        )
    for access, codec, key in found:
        if key is codec.keyring.current:
            raise ConfigError(
                f"--key {start}: it is the current key of the cache {access.cache.name},"
                " and that is never purged",
                hint="make another key current and rotate first; or name other caches with --cache",
            )
    lacking = [one.cache.name for one in accesses if one not in [access for access, _, _ in found]]
    if named and lacking:
        raise ConfigError(
            f"--key {start}: the cache {lacking[0]} does not have it",
            hint="`rotator keys` lists the key ids",
        )
    return [
        (access, PurgeKey(codec, key)) for access, codec, key in found
    ], f"under the key {ids[0]}"


def _keys(accesses: Sequence[CacheContext], start: str) -> list[tuple[CacheContext, Codec, Key]]:
    """The keys whose ids begin with *start*, with the caches that have them."""
    return [
        (access, access.codec, key)
        for access in accesses
        if access.codec is not None
        for key in access.codec.keyring.all
        if key.id.startswith(start)
    ]


def _undecryptable(
    accesses: Sequence[CacheContext], every: Sequence[CacheContext], reasons: Sequence[Reason]
) -> tuple[list[tuple[CacheContext, Selector]], str]:
    """What picks the values that nothing opens: no key of the cache, and of no other of *every*."""
    codecs = {one.cache.name: one.codec for one in every if one.codec is not None}
    tasks: list[tuple[CacheContext, Selector]] = []
    for access in accesses:
        if access.codec is not None:
            others = [codec for name, codec in codecs.items() if name != access.cache.name]
            tasks.append((access, PurgeUndecryptable(access.codec, reasons, others)))
    if not tasks:
        raise ConfigError("the cache is not encrypted", hint="nothing of it is undecryptable")
    return tasks, "no configured format and key opens them"


def _check(tasks: Mapping[CacheContext, Selector], found: BulkResult, *, allow_empty: bool) -> None:
    """Refuse to delete what is not read for the configuration's fault, not the values'."""
    task, ends = tasks[found.access], found.count.ends
    if not isinstance(task, PurgeUndecryptable) or not ends[PICKED]:
        return
    refuse_other_formats(found.access, task)
    if not allow_empty and not ends[CURRENT] + ends[OTHER_KEY]:
        raise EmptyError(
            f"not one value of {found.access.cache.name} opens, so nothing was deleted",
            hint="are keys and formats right? `rotator detect` tells; --allow-empty goes on",
        )
