"""
Copies: takes a look at one server: itself, its files, its replicas, its calls; has files rewritten.

All that counts comes from INFO, so that managed services can be judged too. CONFIG is asked only
where the user may ask: which `save`, `dir` and `dbfilename` the server has. What a server leaves
out is left out of the look, and what is not as documented is an error: nothing is guessed.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import structlog
from redis.exceptions import ResponseError

from rotator.config.types import Address
from rotator.errors import RightsError, ServerError
from rotator.retirement.estimate import LIMIT_SETTINGS, MEASURES
from rotator.retirement.looks import (
    CANARY_CALLS,
    DATA_MOVING_COMMANDS,
    FACTS,
    Listed,
    Look,
    is_writing,
)
from rotator.retirement.replicas import NO_PORT, NOT_LISTED, has_caught_up
from rotator.server.acl import BY_OTHERS
from rotator.server.cluster_nodes import myself, ranges
from rotator.server.replies import AnswerError, parse_fields
from rotator.server.store import Store
from rotator.text import utc_now

CANARY = "cluster|myid"
"""A command that nobody else uses: while it is still counted, no counter was reset."""
WATCHED = frozenset(
    (
        *DATA_MOVING_COMMANDS,
        *("debug", "replicaof", "slaveof", "failover", "scan", "bgsave", "save", "bgrewriteaof"),
        *("cluster", "cluster|failover", "cluster|replicate", "cluster|reset"),
        *("cluster|flushslot", CANARY, "config", "config|set", "config|resetstat"),
    )
)
"""The commands whose calls a look counts; before 7.0 `cluster` and `config` as a whole."""
_STATES = ("stats", "commandstats", "persistence", "cluster", "memory", "cpu")
SECTIONS = ("server", "replication", *_STATES)
SETTINGS = ("save", "dir", "dbfilename", *LIMIT_SETTINGS)

_TEXTS = frozenset(
    (
        *("run_id", "redis_version", "valkey_version", "role", "master_replid", "master_replid2"),
        *("master_link_status", "master_host", "rdb_last_bgsave_status"),
        "aof_last_bgrewrite_status",
    )
)
_NUMBER = re.compile(r"-?\d{1,20}")
_VERSION = re.compile(r"(\d{1,9})\.(\d{1,9})")
_WITH_BACKUP = (8, 10)  # the version of Redis that brought BACKUP
_CATCH_UP_SECONDS, _POLL_SECONDS = 3.0, 0.1  # replicas acknowledge once a second
_COMMANDS = {"rdb": "BGSAVE", "aof": "BGREWRITEAOF"}

log = structlog.get_logger(__name__)


def take_look(store: Store, *, canary: bool = False, settings: bool = True) -> Look:
    """
    Return what the server says of itself now.

    With *canary*, a command that nobody else uses is called until it was called 20 times: later
    looks can tell whether counters were reset. Without *settings* CONFIG is asked for them later.

    Raises:
        LostError: The connection broke.
        RightsError: The user may not ask for INFO.
        ServerError: What the server says is not as documented.
    """
    found = _call_canary(store) if canary else None
    at, info = utc_now(), store.info(*SECTIONS)
    facts = {name: _checked(store, name, info[name]) for name in FACTS if info.get(name)}
    look = Look(
        address=store.node,
        at=at,
        facts=facts,
        calls=_calls(store, info),
        listed=_listed(info),
        backups=_backups(store, info),
        canary_found=found,
        measures={name: info[name][:30] for name in MEASURES if info.get(name)},
    )
    look = _with_place(store, look) if facts.get("cluster_enabled") == "1" else look
    return with_settings(store, look) if settings else look


def with_settings(store: Store, look: Look) -> Look:
    """
    Return *look* with the settings, as far as the user may ask for them.

    These calls are counted by the server, after what *look* holds: `own_config` says how many. One
    that was refused is not counted (info-facts: rejected).
    """
    replies = store.connection.pipeline([("CONFIG", "GET", name) for name in SETTINGS])
    answered = {
        name: reply
        for name, reply in zip(SETTINGS, replies, strict=True)
        if not isinstance(reply, ResponseError)
    }
    pairs = {
        name: [*next(iter(reply.items()), ())] if isinstance(reply, dict) else reply
        for name, reply in answered.items()
    }
    found = {
        name: pair[1].decode(errors="replace")
        for name, pair in pairs.items()
        if isinstance(pair, list) and len(pair) == 2 and pair[0] == name.encode()
        if isinstance(pair[1], bytes)
    }
    return replace(look, settings=found, own_config=look.own_config + len(answered))


def missing_look(address: str, reason: str, named_by: str = "") -> Look:
    """Return the look at a server that was not asked, or did not answer, for this *reason*."""
    return Look(address=address, at=utc_now(), missing=reason, named_by=named_by)


def not_listed_look(address: str, by: str) -> Look:
    """Return the look at a server that *by* names only, and so is not asked."""
    why = NO_PORT if address.endswith(":0") else NOT_LISTED
    return missing_look(address, f"{by} {why}", by)


def _call_canary(store: Store) -> int:
    """
    Call the canary until it was called 20 times in all; return how often it was counted before.

    That tells whether the counters were reset since an earlier look, which a call would hide.
    A call that is an error counts, as outside of a cluster; one that is denied does not.
    """
    calls = _calls(store, store.info("commandstats")) or {}
    # Before 7.0 the command is counted without its second word.
    found = calls.get(CANARY, calls.get("cluster", 0))
    if found < CANARY_CALLS:
        store.connection.pipeline([("CLUSTER", "MYID")] * CANARY_CALLS)
    return found


def _checked(store: Store, name: str, value: str) -> str:
    """Return the *value* of a field of INFO; it is a number unless it is known as a text."""
    if name not in _TEXTS and not _NUMBER.fullmatch(value):
        raise _odd(store, f"{name} is no number")
    return value


def _calls(store: Store, info: Mapping[str, str]) -> dict[str, int] | None:
    """Return how often each watched command was called; None if there is no such section."""
    lines = {
        name.removeprefix("cmdstat_").lower(): parse_fields(value)
        for name, value in info.items()
        if name.startswith("cmdstat_")
    }
    found: dict[str, int] = {}
    for name in WATCHED & lines.keys():
        # A BGSAVE that failed, as one that tries the right to it does, has made no file.
        failed = lines[name].get("failed_calls", "0") if name == "bgsave" else "0"
        counts = lines[name].get("calls", ""), failed
        if not all(one.isascii() and one.isdigit() for one in counts):
            raise _odd(store, f"the calls of {name} are no number")
        found[name] = int(counts[0]) - int(counts[1])
    return {name: calls for name, calls in found.items() if calls} if lines else None


def _listed(info: Mapping[str, str]) -> tuple[Listed, ...]:
    """Return the replicas as the server lists them; one without a port has port 0."""
    lines = [parse_fields(value) for name, value in info.items() if re.fullmatch(r"slave\d+", name)]
    return tuple(
        Listed(
            address=f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}",
            state=line.get("state", ""),
            type=line.get("type", ""),
        )
        for line in lines
        for ip, port in [(line.get("ip", "")[:255], line.get("port", "0")[:5])]
    )


def _with_place(store: Store, look: Look) -> Look:
    """Return *look* with the node's own line of CLUSTER NODES, if the user may ask for it."""
    try:
        own = myself(store.members())
    except RightsError:
        return look
    return replace(look, node_id=own.id, epoch=own.epoch, slots=ranges(own.slots))


def _backups(store: Store, info: Mapping[str, str]) -> int | None:
    """
    Return how many sealed backups the server holds; None: it has no such command.

    -1 stands for what cannot be told, a denied command included (redis-rules, Redis 8.10).
    """
    version = _VERSION.match(info.get("redis_version", ""))
    known = None if version is None else (int(version[1]), int(version[2]))
    if "valkey_version" in info or (known is not None and known < _WITH_BACKUP):
        return None
    reply: Any = store.connection.pipeline([("BACKUP", "LIST")])[0]
    if known is None and "unknown command" in str(reply):
        return None
    return len(reply) if isinstance(reply, list) else -1


def _odd(store: Store, what: str) -> ServerError:
    """Return the error that what the server answers to INFO is not understood."""
    return AnswerError(
        f"{store.node} gave an answer to INFO that is not understood: {what}",
        hint="is there a proxy or another program than Redis or Valkey at this address?",
    )


def refresh_files(
    tasks: Sequence[tuple[str, str]],
    connect: Callable[[Address], Store],
    *,
    primaries: Sequence[Address],
    touch: Callable[[], Mapping[str, int]],
    waiting: Callable[[str | None], None],
    refused: Callable[[str], object],
    should_stop: Callable[[], object],
) -> list[Look]:
    """
    Have servers write files anew, one at a time, replicas first; return looks before and after.

    *tasks* are addresses, each with `rdb` or `aof`. *touch* writes one value on each primary: a
    rewrite of unchanged data cannot be seen (info-facts B2); it returns how far their streams are
    then, by replication id, for replicas to reach that. *waiting* is told what for, *refused* what
    was not written and why, in a sentence: the files of that server stay as they are.
    """
    goals = touch() if any(kind == "aof" for _, kind in tasks) else {}
    looks: list[Look] = []
    for address, kind in sorted(tasks, key=lambda one: (one[0] in map(str, primaries), one)):
        if should_stop():
            break
        waiting(f"for {_COMMANDS[kind]} on {address}")
        try:
            with connect(Address.parse(address)) as store:
                both = _refresh(store, kind, goals, should_stop)
                looks += [replace(look, address=address) for look in both]
        except (ServerError, ValueError) as error:  # or it is no address
            log.warning("a file was not rewritten", node=address, error=str(error))
            refused(f"{_COMMANDS[kind]} on {address} was not done: {error}")
    waiting(None)
    return looks


def _refresh(
    store: Store, kind: str, goals: Mapping[str, int], should_stop: Callable[[], object]
) -> list[Look]:
    """
    Return a look at a server at rest, and one when it has written a file that it was asked for.

    Before 7.0 our own calls of CONFIG are counted with those of others, so looks that are not kept
    do not ask for settings. A save in the second of the last one could not be told from it.
    """
    before = _at_rest(store, should_stop)
    deadline = time.monotonic() + _CATCH_UP_SECONDS
    while before.facts.get("role") == "slave" and not has_caught_up(before, goals, told=False):
        if time.monotonic() > deadline:
            raise ServerError(f"{store.node} has not caught up with its primary")
        time.sleep(_POLL_SECONDS)
        before = _at_rest(store, should_stop)
    if kind == "aof" and before.facts.get("aof_enabled") != "1":
        return []  # asked for, it would make a file
    while kind == "rdb" and _server_second(store) == before.facts.get("rdb_last_save_time"):
        time.sleep(_POLL_SECONDS)
    before = _at_rest(store, should_stop)
    if should_stop():
        return []
    before = with_settings(store, before)
    _write_file(store, _COMMANDS[kind])
    return [before, with_settings(store, _at_rest(store, should_stop))]


def _at_rest(store: Store, should_stop: Callable[[], object]) -> Look:
    """Return a look at a server once no file is being written."""
    while is_writing(look := take_look(store, settings=False)) and not should_stop():
        time.sleep(_POLL_SECONDS)
    return look


def _server_second(store: Store) -> str:
    """Return the server's clock in whole seconds, as INFO has times."""
    return str(int((store.time() or utc_now()).timestamp()))


def _write_file(store: Store, command: str) -> None:
    """
    Have a server write a file anew: *command* is BGSAVE or BGREWRITEAOF.

    Raises:
        RightsError: The user may not ask for it; the message names the right.
        ServerError: There is too little memory for a fork, as far as INFO tells; or it refused.
    """
    info = store.info("memory")
    total, used = (_fact(info, name) for name in ("total_system_memory", "used_memory_rss"))
    if total is not None and used is not None and used > total - used:
        raise ServerError(
            f"{store.node}: a fork may need up to {used:,} bytes more, but of {total:,} only"
            f" {total - used:,} are left: {command} was not sent"
        )
    try:
        store.ask(command)
    except RightsError:
        grant = f"grant +{command.lower()} there, then run again; otherwise {BY_OTHERS}"
        raise RightsError(f"the user lacks the right; {grant}") from None


def _fact(info: Mapping[str, str], name: str) -> int | None:
    """Return a field of INFO as a number; None where it is missing or none."""
    text = info.get(name, "")
    return int(text) if text.isdecimal() else None
