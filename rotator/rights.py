"""
Which rights a user lacks for the job, all of them at once and before anything is written.

`ACL GETUSER` would tell, but only administrators may ask. So each command is tried in a form that
does nothing, whatever there is: `SET name value XX NX` contradicts itself, which the server notices
only after it has looked at the rights. The name may exist: a pattern may be one name.
"""

from __future__ import annotations

import secrets
from typing import Any

from redis.exceptions import ResponseError

from rotator.errors import RightsError
from rotator.store import Store

# Redis 6 and 7 word it differently, both have this part; a denied *name* is another matter.
_NO_COMMAND = "to run the"


def missing_rights(store: Store, *, writes: bool, pattern: str = "*") -> list[str]:
    """
    The commands that the connected user may not use, as ACL rules: `["+scan", "+script|load"]`.

    *pattern* is one that the names to visit match, so that the probe is within the user's reach.
    """
    probe = pattern.replace("*", f"rotator-probe-{secrets.token_hex(8)}", 1).encode()
    commands: list[tuple[str, tuple[Any, ...]]] = [
        ("+ping", ("PING",)),
        ("+info", ("INFO", "server")),
        ("+select", ("SELECT", store.connection.db)),
        ("+scan", ("SCAN", "0", "COUNT", 1)),
        ("+mget", ("MGET", probe)),
        ("+get", ("GET", probe)),
        ("+pttl", ("PTTL", probe)),
    ]
    if writes:
        commands += [
            ("+set", ("SET", probe, "", "XX", "NX")),
            ("+script|load", ("SCRIPT", "LOAD", "return 1")),
            ("+evalsha", ("EVALSHA", "0" * 40, 0)),
        ]
    if store.clustered:
        commands += [
            ("+cluster|nodes", ("CLUSTER", "NODES")),
            ("+cluster|countkeysinslot", ("CLUSTER", "COUNTKEYSINSLOT", 0)),
            ("+asking", ("ASKING",)),
        ]
    replies = store.connection.pipeline([command for _, command in commands])
    return [
        rule
        for (rule, _), reply in zip(commands, replies, strict=True)
        if isinstance(reply, ResponseError) and _NO_COMMAND in str(reply)
    ]


def demand_rights(store: Store, *, writes: bool, pattern: str = "*") -> None:
    """
    Raise unless the user may do all that the job needs.

    Raises:
        RightsError: Rights are missing; the hint is the ACL rule that grants them.
    """
    missing = missing_rights(store, writes=writes, pattern=pattern)
    if missing:
        raise RightsError(
            f"{store.node}: the user lacks rights: {' '.join(missing)}",
            hint=f"an administrator can grant them: ACL SETUSER <user> {' '.join(missing)}",
        )
