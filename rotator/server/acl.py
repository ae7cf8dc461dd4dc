"""
ACL: finds the rights that a user lacks for the job, and the grant that mends them.

All of them are found at once, before anything is written. `ACL GETUSER` would tell, but only
administrators may ask. So each command is tried in a form that does nothing, whatever there is:
`SET name value XX NX` contradicts itself, which the server notices only after it has looked at the
rights. The name may exist: a pattern may be one name.

Not among them are the rights that only make a result better; `README.md` lists those too.
"""

import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from redis.exceptions import NoPermissionError, ResponseError

from rotator.config.types import Address
from rotator.errors import RightsError
from rotator.server.scripts import Way
from rotator.server.store import Store
from rotator.server.wire.pending import Command
from rotator.server.wire.versions import hides_names, numbers_of
from rotator.text import listing

Rules = tuple[str, ...]

READING = ("+info", "+select", "+scan", "+get", "+mget", "+pttl")
"""What a dry run needs, as ACL rules."""
WATCHING = ("+watch", "+unwatch", "+multi", "+exec")
"""What a run needs besides to exchange values in transactions."""
SCRIPTING = ("+evalsha", "+script|load")
"""What will do in place of that: values are then exchanged by a script, which costs more."""
WRITING = ("+set", *WATCHING)
"""What a run needs besides reading."""
DELETING = ("+unlink", *SCRIPTING)
"""What deleting needs besides reading; `+del` will do in place of `+unlink`."""
READING_FIELDS = ("+hmget", "+hlen", "+hscan", "+hpexpiretime")
"""What a dry run needs besides where there is `fields`; `+hpexpiretime` where it is known."""
WRITING_FIELDS = ("+hset", "+hpexpireat")
"""What a run needs besides; `+hpexpireat` where the server knows it."""
DELETING_FIELDS = ("+hdel",)
"""What deleting needs besides."""
REFRESHING = ("+bgsave",)
"""What `--refresh-files` needs besides; `+bgrewriteaof`, too, which cannot be tried."""
CLUSTERED = ("+cluster|nodes", "+cluster|countkeysinslot", "+asking")
"""What both need besides in a cluster."""
COUNTING = ("+exec", "+multi")
"""What both need besides where names in slots that are not the node's are hidden (Redis 8.4)."""
JUDGING = {
    "+cluster|myid": ("CLUSTER", "MYID"),
    "+config|get": ("CONFIG", "GET", "save"),
    "+client|tracking": ("CLIENT", "TRACKING", "OFF"),
    "+hello": ("HELLO", 2),  # the protocol in use: Redis 6.0 wants a number
    "+client|no-touch": ("CLIENT", "NO-TOUCH", "OFF"),
    "+time": ("TIME",),
    "+command|docs": ("COMMAND", "DOCS", "SET"),
    "+pubsub|numsub": ("PUBSUB", "NUMSUB"),
    "+pubsub|channels": ("PUBSUB", "CHANNELS", "rotator:none"),
}
"""What a verdict is the better for, by ACL rule, each with what tries it; all of it only reads."""
RUN_CHANNEL = "rotator:run:"
"""How the channel begins that a run holds while it goes on; the name of the cache follows."""
_SINCE = {"+client|no-touch": (7, 2), "+command|docs": (7, 0)}  # no earlier Redis can grant them
_LATE = {"+hpexpiretime", "+hpexpireat"}  # where they are not known, fields have no TTLs
_COUNTS_FAILURES = (6, 2)  # the version from which on failed calls are counted apart

# Redis 6 and 7 word it differently, both have this part; a denied *name* is another matter.
_NO_COMMAND = re.compile("to run the|^unknown command")  # the latter after `rename-command`


def missing_rights(store: Store, besides: Rules = (), pattern: str = "*") -> list[str]:
    """
    Return what the connected user may not use, as ACL rules: `["+scan", "+script|load"]`.

    *besides* are the rules that the job needs besides reading. *pattern* is one that the names to
    visit match, so that the probe is within the user's reach.
    """
    clustered = store.cluster_enabled()
    rules, info = [*READING, *besides, *(CLUSTERED if clustered else ())], _server(store)
    if "+bgsave" in rules and numbers_of(info.get("redis_version")) < _COUNTS_FAILURES:
        rules.remove("+bgsave")  # to try it would look as if there were a file
    name = _unused(pattern)
    missing = _missing(store, rules, name)
    if {*missing} & {*WATCHING} and not _missing(store, SCRIPTING, name):
        missing = [rule for rule in missing if rule not in WATCHING]
    if "+unlink" in missing and not _denied(store.connection.pipeline([_deletion("DEL")])[0]):
        missing.remove("+unlink")
    if clustered and hides_names(info):
        missing += [rule for rule in _missing(store, COUNTING, name) if rule not in missing]
    return missing


def with_fields(besides: Rules, fields: Sequence[str] | None) -> Rules:
    """Return *besides*, and what the *fields* of a configuration need, reading included."""
    if not fields:
        return besides
    return (
        *besides,
        *READING_FIELDS,
        *(WRITING_FIELDS if "+set" in besides else ()),
        *(DELETING_FIELDS if "+unlink" in besides else ()),
    )


def missing_for(store: Store, way: Way, pattern: str) -> list[str]:
    """Return what the user may not use of that by which values are replaced that *way*."""
    rules = SCRIPTING if way is Way.SCRIPT else WATCHING
    return _missing(store, rules, _unused(pattern))


def _missing(store: Store, rules: Sequence[str], name: bytes) -> list[str]:
    """Return those of *rules* that the user lacks, in their order."""
    probes = _probes(name, store.connection.db)
    replies = store.connection.pipeline([probes[rule] for rule in rules])
    missing = {rule for rule, reply in zip(rules, replies, strict=True) if _denied(reply)}
    lately = {rule: reply for rule, reply in zip(rules, replies, strict=True) if rule in _LATE}
    missing -= {rule for rule, reply in lately.items() if "unknown command" in str(reply)}
    # A transaction that could not be ended is not begun.
    if (
        "+multi" in rules
        and "+exec" not in missing
        and _denied(store.connection.pipeline([("MULTI",), ("EXEC",)])[0])
    ):
        missing.add("+multi")
    return [rule for rule in rules if rule in missing]


def _unused(pattern: str) -> bytes:
    """Return a name that *pattern* matches; random, unless the pattern is one name."""
    return pattern.replace("*", f"rotator-probe-{secrets.token_hex(8)}", 1).encode()


def _server(store: Store) -> dict[str, str]:
    """Return what INFO says of the server; nothing for a user who may not ask."""
    try:
        return store.info("server")
    except RightsError:
        return {}


def missing_for_verdict(store: Store) -> list[str]:
    """
    Return what the connected user may not use, as ACL rules, without which more stays unknown.

    A run can be done without it.
    """
    replies = store.connection.pipeline(list(JUDGING.values()))
    missing = [rule for rule, reply in zip(JUDGING, replies, strict=True) if _denied(reply)]
    version = numbers_of(_server(store).get("redis_version"))
    return [rule for rule in missing if not version or version >= _SINCE.get(rule, version)]


def missing_to_listen(listener: Store, cache: str) -> list[str]:
    """
    Return what the user may not use, as ACL rules, without which no run holds the cache's channel.

    It is tried with a channel beside that, which nobody counts. The connection is of no use then.
    """
    channel = f"{RUN_CHANNEL}{cache}:check"
    reply = listener.connection.pipeline([("SUBSCRIBE", channel)])[0]
    if _denied(reply):
        return ["+subscribe"]
    return [f"&{RUN_CHANNEL}*"] if isinstance(reply, NoPermissionError) else []


def require_rights(
    connect: Callable[[Address], Store], addresses: Iterable[Address], besides: Rules, pattern: str
) -> None:
    """
    Raise unless the user may do all that the job needs at every one of *addresses*.

    Every node has ACL users of its own, so each is asked; see `missing_rights`.

    Raises:
        RightsError: Rights are missing; the hint is the ACL rule that grants them.
    """
    lacking: dict[tuple[str, ...], list[str]] = {}
    unknown: list[str] = []
    for address in addresses:
        with connect(address) as store:
            if lacks := missing_rights(store, besides, pattern):
                lacking.setdefault(tuple(lacks), []).append(str(address))
                unknown += unknown_commands(store, lacks, pattern)
    if lacking:
        raise RightsError(
            "; ".join(
                f"{listing(nodes)}: the user lacks rights: {' '.join(rules)}"
                for rules, nodes in lacking.items()
            ),
            hint=grant_hint((rule for rules in lacking for rule in rules), unknown),
        )


def grant_hint(rules: Iterable[str], unknown: Iterable[str] = ()) -> str:
    """Return how to get *rules*, for people; *unknown* are commands that the server lacks."""
    wanted, lost = " ".join(dict.fromkeys(rules)), ", ".join(dict.fromkeys(unknown))
    told = f"; the server does not know {lost}: see `rename-command` there" if lost else ""
    return f"an administrator can grant them: ACL SETUSER <user> {wanted}{told}"


def unknown_commands(store: Store, rules: Sequence[str], pattern: str) -> list[str]:
    """Return the commands behind *rules* that the server does not know, which no grant mends."""
    probes = _probes(_unused(pattern), store.connection.db)
    tried = [probes[rule] for rule in rules if rule in probes]
    replies = store.connection.pipeline(tried)
    both = zip(tried, replies, strict=True)
    return [str(one[0]) for one, reply in both if str(reply).startswith("unknown command")]


def _probes(name: bytes, database: int) -> dict[str, Command]:
    """Return a harmless command for each rule, even if *name* is that of an entry."""
    return {
        "+info": ("INFO", "server"),
        "+select": ("SELECT", database),
        "+scan": ("SCAN", "0", "COUNT", 1),
        "+get": ("GET", name),
        "+mget": ("MGET", name),
        "+pttl": ("PTTL", name),
        "+set": ("SET", name, "", "XX", "NX"),
        "+unlink": _deletion("UNLINK"),
        "+watch": ("WATCH", name),
        "+unwatch": ("UNWATCH",),
        "+multi": ("EXEC",),  # MULTI would begin one: see `_missing`
        "+exec": ("EXEC",),  # an error without MULTI
        "+evalsha": ("EVALSHA", "0" * 40, 0),
        "+script|load": ("SCRIPT", "LOAD", "return 1"),
        "+hmget": ("HMGET", name, "data"),
        "+hlen": ("HLEN", name),
        "+hscan": ("HSCAN", name, "0"),
        "+hset": ("HSET", name, "data", "", "data"),  # a field without a value
        "+hdel": (*_deletion("HDEL"), "data"),
        "+hpexpiretime": ("HPEXPIRETIME", name, "FIELDS", 1, "data"),
        "+hpexpireat": (*_deletion("HPEXPIREAT"), 0, "FIELDS", 1, "data"),
        "+bgsave": ("BGSAVE", "ROTATOR"),  # a syntax error
        "+cluster|nodes": ("CLUSTER", "NODES"),
        "+cluster|countkeysinslot": ("CLUSTER", "COUNTKEYSINSLOT", 0),
        "+asking": ("ASKING",),
    }


def _deletion(command: str) -> Command:
    """
    Return a deletion of a name that does not exist, whatever names there are: it is random.

    The right to a command is looked at before that to a name, so it need not be within reach.
    """
    return (command, f"rotator-probe-{secrets.token_hex(16)}")


def _denied(reply: Any) -> bool:
    """Return whether the reply is that the user may not use the command."""
    return isinstance(reply, ResponseError) and bool(_NO_COMMAND.search(str(reply)))
