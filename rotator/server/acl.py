"""
ACL: finds the rights that a user lacks for the job, and the grant that mends them.

All of them are found at once, before anything is written. `ACL GETUSER` would tell, but only
administrators may ask. So each command is tried in a form that does nothing, whatever there is:
`SET name value XX NX` contradicts itself, which the server notices only after it has looked at the
rights. The name may exist: a pattern may be one name.

What is answered counts as the right only if it shows that the command was looked into: a reply, an
error that comes after rights are looked at, or the one that the form of the command is made for
(the same on Redis 6.0 to 8.6, Valkey 8.0 to 9.1 and Redict). Any other error is a refusal, be it in
words that nobody knows, as proxies and managed services have them: then these are shown.

Not among the rights are those that only make a result better; the page `configuration` has them.
"""

import re
import secrets
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from redis.exceptions import NoPermissionError, ResponseError

from rotator.errors import RightsError
from rotator.server.replies import MEANINGS, WRONG_TYPE, ErrorKind, error_reply
from rotator.server.scripts import Way
from rotator.server.store import Store
from rotator.server.wire.pending import Command
from rotator.server.wire.versions import hides_names, knows_ifeq, numbers_of

Rules = tuple[str, ...]
Lacking = dict[str, str]
"""ACL rules, each with what the server says if no grant ends that; else with nothing."""

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
"""What `--refresh-files` needs besides; `+bgrewriteaof`, too, where there is such a file."""
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
BY_OTHERS = "have the service or an administrator write the files, or wait until the server does"
"""What is left where the user may not have files written."""
_SINCE = {"+client|no-touch": (7, 2)}  # no earlier Redis can grant it
_LATE = {"+hpexpiretime", "+hpexpireat"}  # where they are not known, fields have no TTLs
_COUNTS_FAILURES = (6, 2)  # the version from which on failed calls are counted apart

# Redis 6 and 7 word it differently, both have this part; a denied *name* is another matter.
_NO_COMMAND, _NO_NAME = "to run the", "to access "
_UNKNOWN = re.compile(r"^(ERR )?unknown command", re.IGNORECASE)  # as after `rename-command`
# Rights are looked at before any of these.
_LATER = {code for code, meaning in MEANINGS.items() if meaning is not ErrorKind.DENIED}
_LATER |= {WRONG_TYPE}
_OUTSIDE_MULTI, _MALFORMED = "EXEC without MULTI", "syntax error"
_EXPECTED = {
    "+set": _MALFORMED,
    "+bgsave": _MALFORMED,
    "+multi": _OUTSIDE_MULTI,
    "+exec": _OUTSIDE_MULTI,
    "+hset": "wrong number of arguments",
    "+cluster|myid": "cluster support disabled",  # it is counted all the same
}
"""What is in the error that a probe gets from a server that would carry out the command."""


def missing_rights(store: Store, besides: Rules = (), pattern: str = "*") -> Lacking:
    """
    Return what the connected user may not use, as ACL rules: `+scan`, `+script|load`.

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
        missing = {rule: said for rule, said in missing.items() if rule not in WATCHING}
    if "+unlink" in missing:
        reply = store.connection.pipeline([_deletion("DEL")])[0]
        if _refusal("+del", reply) is None:
            del missing["+unlink"]
    if clustered and hides_names(info):
        missing = _missing(store, COUNTING, name) | missing
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


def missing_for(store: Store, way: Way, pattern: str) -> Lacking:
    """Return what the user may not use of that by which values are replaced that *way*."""
    rules = SCRIPTING if way is Way.SCRIPT else WATCHING
    return _missing(store, rules, _unused(pattern))


def _missing(store: Store, rules: Sequence[str], name: bytes) -> Lacking:
    """Return those of *rules* that the user lacks, in their order."""
    probes = _probes(name, store.connection.db)
    found = _refusals(store, {rule: probes[rule] for rule in rules})
    missing = {
        rule: said for rule, said in found.items() if not (rule in _LATE and _UNKNOWN.search(said))
    }
    # A transaction that could not be ended is not begun.
    if "+multi" in rules and "+exec" not in missing:
        said = _refusal("+multi", store.connection.pipeline([("MULTI",), ("EXEC",)])[0])
        missing |= {} if said is None else {"+multi": said}
    return {rule: missing[rule] for rule in rules if rule in missing}


def _refusals(store: Store, tried: Mapping[str, Command]) -> Lacking:
    """Return the rules of the commands *tried* that are refused."""
    replies = store.connection.pipeline(list(tried.values()))
    said = {rule: _refusal(rule, reply) for rule, reply in zip(tried, replies, strict=True)}
    return {rule: text for rule, text in said.items() if text is not None}


def _unused(pattern: str) -> bytes:
    """Return a name that *pattern* matches; random, unless the pattern is one name."""
    return pattern.replace("*", f"rotator-probe-{secrets.token_hex(8)}", 1).encode()


def _server(store: Store) -> dict[str, str]:
    """Return what INFO says of the server; nothing for a user who may not ask."""
    try:
        return store.info("server")
    except RightsError:
        return {}


def missing_for_verdict(store: Store) -> Lacking:
    """
    Return what the connected user may not use, as ACL rules, without which more stays unknown.

    A run can be done without it.
    """
    missing, info = _refusals(store, JUDGING), _server(store)
    version = numbers_of(info.get("redis_version"))
    if version and not knows_ifeq(info):  # else replicas are asked whether they know it
        missing.pop("+command|docs", None)
    return {
        rule: said
        for rule, said in missing.items()
        if not version or version >= _SINCE.get(rule, version)
    }


def missing_to_listen(listener: Store, cache: str) -> Lacking:
    """
    Return what the user may not use, as ACL rules, without which no run holds the cache's channel.

    It is tried with a channel beside that, which nobody counts. The connection is of no use then.
    """
    channel = f"{RUN_CHANNEL}{cache}:check"
    reply = listener.connection.pipeline([("SUBSCRIBE", channel)])[0]
    if (said := _refusal("+subscribe", reply)) is not None:
        return {"+subscribe": said}
    return {f"&{RUN_CHANNEL}*": ""} if isinstance(reply, NoPermissionError) else {}


def missing_to_refresh(store: Store) -> Lacking:
    """
    Return what the user may not use, as ACL rules, to have a server write its files again.

    The right to rewrite an append-only file is tried where there is one, if the user may begin a
    transaction: see `_queued`. The connection may be of no use then.
    """
    told = numbers_of(_server(store).get("redis_version"))
    missing = {} if told < _COUNTS_FAILURES else _missing(store, REFRESHING, b"")
    if store.info("persistence").get("aof_enabled") != "1":
        return missing
    return missing | (_queued(store, {"+bgrewriteaof": ("BGREWRITEAOF",)}) or {})


def _queued(store: Store, tried: Mapping[str, Command]) -> Lacking | None:
    """
    Return the rules of the commands *tried* that are refused; none of them is carried out.

    Rights are looked at when a transaction takes a command. This one is dropped, and the connection
    with it. None: the user may not begin one.
    """
    if store.connection.pipeline([("MULTI",)])[0] != b"OK":
        return None
    missing = _refusals(store, tried)
    store.connection.close()
    return missing


def missing_to_delete(store: Store, fields: Sequence[str] | None) -> Lacking | None:
    """
    Return what the user may not use of that by which values are deleted; None: it cannot be tried.

    Nothing is carried out: see `_queued`. The connection is of no use then.
    """
    probes = _probes(_unused("*"), store.connection.db) | {"+del": _deletion("DEL")}
    rules = (*DELETING, *(DELETING_FIELDS if fields else ()))
    missing = _queued(store, {rule: probes[rule] for rule in (*rules, "+del")})
    if missing is not None and missing.pop("+del", None) is None:  # it will do
        missing.pop("+unlink", None)
    return missing


def grant_hint(lacking: Lacking, user: str, servers: int = 1) -> str:
    """
    Return how *user* gets what is *lacking* on so many *servers*, and of what no grant ends why.

    What a shell would take for something else is quoted.
    """
    wanted = shlex.join(rule for rule, said in lacking.items() if not said)
    where = " on each of these servers" if servers > 1 else ""
    names = {rule: rule.lstrip("+").replace("|", " ").upper() for rule in lacking}
    lost = ", ".join(names[rule] for rule, said in lacking.items() if _UNKNOWN.search(said))
    grant = f"ACL SETUSER {shlex.quote(user)} {wanted}{where}"
    ways = [f"an administrator can grant them: {grant}"] if wanted else []
    ways += [f"the server does not know {lost}: see `rename-command` there"] if lost else []
    ways += [
        f"the server says to {names[rule]}: {said}"
        for rule, said in lacking.items()
        if said and not _UNKNOWN.search(said)
    ]
    if lacking.keys() & {*REFRESHING, "+bgrewriteaof"}:
        ways.append(f"otherwise leave --refresh-files out, and {BY_OTHERS}")
    return "; ".join(ways)


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


def _refusal(rule: str, reply: Any) -> str | None:
    """
    Return what a server says that refuses the command of a rule; None: it would carry it out.

    Nothing is returned of a user who lacks the right, which a grant ends.
    """
    if not isinstance(reply, ResponseError):
        return None
    said = error_reply(reply).message
    if _NO_COMMAND in said:
        return ""
    named = isinstance(reply, NoPermissionError) and _NO_NAME in said
    expected = rule in _EXPECTED and _EXPECTED[rule].lower() in said.lower()
    return None if named or expected or said.partition(" ")[0] in _LATER else said
