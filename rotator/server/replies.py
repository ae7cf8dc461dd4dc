"""
Replies: say what an error reply means for the work in progress, in one table.

None of them ever means "skip this name".
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from redis.exceptions import ResponseError

from rotator.config.types import Address
from rotator.server.cluster_nodes import redirection

# Waits before a command is sent again that met a server busy with something else: 6 seconds in all.
RETRY_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0)
WRONG_TYPE = "WRONGTYPE"
# A script reports a missing right in words of its own, without the code.
_SCRIPT_DENIALS = ("can't run this command", "ACL failure in script")
# Before Redis 7.0 it also puts the place in front: "@user_script: 14: -OOM command not allowed".
_SCRIPT_PLACE = re.compile(r"^@user_script: \d+: ")
# CLUSTERDOWN of one slot, while the others are served: waiting would be in vain.
_SLOT_NOT_SERVED = "Hash slot not served"


class ErrorKind(StrEnum):
    """Error kind: says what an error reply means for the work in progress."""

    RETRY = "retry"  # the same command, a little later
    TOPOLOGY = "topology"  # somebody else owns the data now
    DENIED = "denied"  # a right is missing
    FAILURE = "failure"  # nothing that waiting would mend


# https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors; redis-rules 4.
MEANINGS: dict[str, ErrorKind] = {
    "ASK": ErrorKind.TOPOLOGY,
    "BUSY": ErrorKind.RETRY,
    "CLUSTERDOWN": ErrorKind.RETRY,
    "LOADING": ErrorKind.RETRY,
    "MASTERDOWN": ErrorKind.RETRY,
    "MISCONF": ErrorKind.FAILURE,
    "MOVED": ErrorKind.TOPOLOGY,
    "NOPERM": ErrorKind.DENIED,
    "NOREPLICAS": ErrorKind.RETRY,
    "NOSCRIPT": ErrorKind.RETRY,
    "OOM": ErrorKind.FAILURE,
    "READONLY": ErrorKind.TOPOLOGY,
    "TRYAGAIN": ErrorKind.RETRY,
}


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """Error reply: the server's own words for refusing something, and what they mean."""

    message: str
    meaning: ErrorKind

    def elsewhere(self, asked: Address) -> Address | None:
        """Return the node that ASK, as the one at *asked* answered it, says to turn to."""
        return redirection(self.message, asked) if self.message.startswith("ASK ") else None


def error_reply(error: ResponseError | bytes) -> ErrorReply:
    """Return what an error reply says, and what it means; an unknown one is a failure."""
    if isinstance(error, ResponseError):
        text = f"{error.status_code} {error}" if error.status_code else str(error)
    else:
        text = error.decode(errors="replace")
    text = _SCRIPT_PLACE.sub("", text).lstrip("-").rstrip()
    meaning = MEANINGS.get(text.split(" ", 1)[0], ErrorKind.FAILURE)
    if any(words in text for words in _SCRIPT_DENIALS):
        meaning = ErrorKind.DENIED
    if _SLOT_NOT_SERVED in text:
        meaning = ErrorKind.TOPOLOGY
    return ErrorReply(text, meaning)
