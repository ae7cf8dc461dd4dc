"""
Stage: places a cache in the steps of a rotation (the safe order in README.md).

A new key goes through four stages: every reader gets it (distribute), every writer takes it
(switch), what is stored is moved (rotate), and the former key goes (retire). What tells the stage
is which of the configured keys a sample of the stored values is under, and what earlier sweeps met.

Limits: a configuration shows one reader, so whether the others have the same keys is not known; and
a sample shows that values are under a key, never that none is. That is what `rotator run` is for.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from enum import StrEnum

from rotator.crypto.codec import Reason
from rotator.crypto.keyring import Key, Keyring
from rotator.diagnose.detect import Detection, detect
from rotator.diagnose.steps import Advice, Next, Probe
from rotator.state.database import default_path
from rotator.state.state import State
from rotator.text import count, listing

SAMPLES = 500

_OTHERS = "this shows one configuration: run `rotator keys` with that of every application"


class Stage(StrEnum):
    """Stage: says what is being done, in the order in which it is done."""

    UNCLEAR = "unclear"
    ONE_KEY = "one key"
    DISTRIBUTE = "distribute"
    SWITCH = "switch"
    ROTATE = "rotate"
    RETIRE = "retire"


def stage(probe: Probe) -> str | Advice:
    """Find the stage, for `rotator check --stage`."""
    access = probe.access
    if access.keyring is None:
        return "encryption is off"
    found = detect(access, SAMPLES)
    path = probe.state or default_path()
    history = {}
    if path.exists():
        with State(path) as state:
            for key in access.keyring.old:
                last_seen_at = state.history(access.cache.name, key.id).last_seen_at
                history[key.id] = last_seen_at is not None
    return judge(access.keyring, found, lambda key: history.get(key.id, False))


def judge(keyring: Keyring, found: Detection, met: Callable[[Key], bool]) -> Advice:
    """
    Return the stage that a sample of values shows, and what comes next.

    *met* says whether an earlier sweep met a value under a key.
    """
    under: Counter[str] = Counter()
    for (_, key), number in (*found.opened.items(), *found.guessed.items()):
        under[key.id] += number
    closed = found.refused[Reason.BAD_TAG] + found.refused[Reason.UNKNOWN_KEY_ID]
    if closed:
        return _without_key(found, closed)
    if not under:
        return Advice(
            f"{Stage.UNCLEAR}: no encrypted value is stored, so nothing shows the stage",
            "check again when applications have written something",
        )
    old = [key for key in keyring.old if under[key.id]]
    if old:
        return _with_old(keyring, under, old, [key for key in old if not met(key)])
    if not keyring.old:
        sampled = count(under.total(), "sampled value")
        return Next(
            f"{Stage.ONE_KEY}: all {sampled} under the only key",
            "to replace it: `rotator keygen`, then list the new key under old at every application",
        )
    return _unused(keyring, under, met)


def _without_key(found: Detection, closed: int) -> Advice:
    """Place a reader that cannot read values: it was left out when a key was given to all."""
    ids = "".join(f", {number:,} of them under {key}" for key, number in found.unknown_keys.items())
    values = f"{closed:,} of {count(found.strings, 'sampled value')}"
    return Advice(
        f"{Stage.UNCLEAR}: {values} open under no configured key{ids}",
        "another application writes with a key, or in a format, that is missing here: add the key"
        " under old, here and wherever it is missing (`rotator detect` tells more)",
    )


def _with_old(
    keyring: Keyring, under: Counter[str], old: Sequence[Key], new: Sequence[Key]
) -> Advice:
    """
    Place a cache whose values are under old keys, with or without some under the current one.

    *new* are those that no sweep has met: what is old here may be current elsewhere already.
    """
    number = sum(under[key.id] for key in old)
    ids = listing(f"{under[key.id]:,} under {key.id}" for key in old)
    seen = f"{number:,} of {count(under.total(), 'sampled value')} under old keys: {ids}"
    if under[keyring.current.id]:
        step = "when every writer has switched: `rotator run`"
        if new:
            ids = listing(key.id for key in new)
            step += f"; but is {ids} the new key? Then make it current here first"
        return Next(f"{Stage.ROTATE}: {seen}", f"{step}; {_OTHERS}")
    return Next(
        f"{Stage.SWITCH}: {seen}; none under the current key {keyring.current.id}",
        "if every application already lists the current key, under old, make it current at each of"
        f" them, then `rotator run`; if not, list it there first; {_OTHERS}",
    )


def _unused(keyring: Keyring, under: Counter[str], met: Callable[[Key], bool]) -> Advice:
    """Place a cache whose old keys are not in use: they are former ones, or the next one."""
    sampled = f"all {count(under.total(), 'sampled value')} under the current key"
    former = [key for key in keyring.old if met(key)]
    ids = [key.id for key in keyring.old if key not in former]
    if not ids:
        gone = listing(key.id for key in former)
        return Next(
            f"{Stage.RETIRE}: {sampled}; earlier sweeps met {gone}",
            "`rotator run` looks at every value; when its verdict is retirable, remove"
            f" {listing(key.field for key in former)} at every application",
        )
    return Next(
        f"{Stage.DISTRIBUTE}: {sampled}; no sweep has met {listing(ids)}",
        "if that is the new key: when every application lists it under old, make it current"
        f" everywhere; if it is a former one: `rotator run`, then `rotator report`; {_OTHERS}",
    )
