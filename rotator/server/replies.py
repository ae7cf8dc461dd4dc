"""
Replies: say what an error reply means, in one table, and read the others, if they have their shape.

- No error ever means "skip this name".
- A reply that has another shape than its command's page promises is not understood as a whole: no
  part of it is used. What reads one raises a ValueError that says the shape, never a content;
  `understood` adds the server and the command.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, StrEnum
from types import NoneType
from typing import Any, TypeVar

from redis.exceptions import ResponseError

from rotator.errors import ServerError
from rotator.text import excerpt

# Waits before a command is sent again that met a server busy with something else: 6 seconds in all.
RETRY_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0)
WRONG_TYPE = "WRONGTYPE"
# A script reports a missing right in words of its own, without the code.
_SCRIPT_DENIALS = ("can't run this command", "ACL failure in script")
# Before Redis 7.0 it also puts the place in front: "@user_script: 14: -OOM command not allowed".
_SCRIPT_PLACE = re.compile(r"^@user_script: \d+: ")
# CLUSTERDOWN of one slot, while the others are served: waiting would be in vain.
_SLOT_NOT_SERVED = "Hash slot not served"
_NUMBER = re.compile(r"-?[0-9]{1,20}")
_NIL_OR_TEXT = {bytes, NoneType}
_WORDS = {bytes: "a text", int: "a number", NoneType: "nothing", dict: "a map", list: "a list"}

Read = TypeVar("Read")


class AnswerError(ServerError):
    """Answer error: a server answers what is not understood, so that asking again will not help."""


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

    def about(self, name: bytes) -> str:
        """Return the message up to where it repeats *name*, or the field that this is."""
        words = (name, getattr(name, "field", name))
        return excerpt(self.message, [word.decode(errors="replace") for word in words])


class NoValue(Enum):
    """No value: says why a name has none to look at."""

    GONE = "gone"
    NOT_STRING = "not_string"
    DENIED = "denied"


class SetResult(Enum):
    """Set result: says what became of one name."""

    DONE = 1
    CHANGED = 0
    GONE = -1
    DENIED = -2


def error_reply(error: ResponseError | bytes) -> ErrorReply:
    """Return what an error reply says, and what it means; an unknown one is a failure."""
    if isinstance(error, ResponseError):
        text = f"{error.status_code} {error}" if error.status_code else str(error)
    else:
        text = excerpt(error.decode(errors="replace"))
    text = _SCRIPT_PLACE.sub("", text).lstrip("-").rstrip()
    meaning = MEANINGS.get(text.split(" ", 1)[0], ErrorKind.FAILURE)
    if any(words in text for words in _SCRIPT_DENIALS):
        meaning = ErrorKind.DENIED
    if _SLOT_NOT_SERVED in text:
        meaning = ErrorKind.TOPOLOGY
    return ErrorReply(text, meaning)


_ANSWERS = {answer.value: answer for answer in SetResult}


def answer_of(reply: int | bytes | ResponseError) -> SetResult | ErrorReply:
    """Return what is said of one name that was to be written."""
    if isinstance(reply, int):
        return _ANSWERS[reply]
    refused = error_reply(reply)
    if refused.message.startswith(WRONG_TYPE):  # a list took the value's place since it was read
        return SetResult.CHANGED
    return SetResult.DENIED if refused.meaning is ErrorKind.DENIED else refused


def set_answers(
    node: str, replies: Sequence[object], nothing: SetResult
) -> list[SetResult | ErrorReply]:
    """
    Return what each SET says, *nothing* where it says nil.

    Raises:
        AnswerError: One says something else than OK, nil or an error.
    """
    if replies.count(b"OK") == len(replies):  # as nearly always
        return [SetResult.DONE] * len(replies)
    answers: list[SetResult | ErrorReply] = []
    for reply in replies:
        if reply is None or reply == b"OK":
            answers.append(nothing if reply is None else SetResult.DONE)
        elif isinstance(reply, ResponseError):
            answers.append(answer_of(reply))
        else:
            raise AnswerError(f"{node} gave an answer to SET that is neither OK nor nothing")
    return answers


def understood(node: str, command: str, read: Callable[..., Read], *reply: Any) -> Read:
    """
    Return what *read* makes of the *reply* of *node* to *command*.

    Raises:
        AnswerError: It has another shape.
    """
    try:
        return read(*reply)
    except ValueError as error:
        what = f"{node} gave an answer to {command} that is not understood: {error}"
    raise AnswerError(what)


def number(text: object, what: str) -> int:
    """Return the number that a text is; *what* names it in the error."""
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    if isinstance(text, str) and _NUMBER.fullmatch(text):
        return int(text)
    raise ValueError(f"{what} is no number")


def text_of(reply: object) -> bytes:
    """Read a reply that is one text."""
    if isinstance(reply, bytes):
        return reply
    raise ValueError(f"{_word(reply)} instead of a text")


def number_of(reply: object) -> int:
    """Read a reply that is one number."""
    if type(reply) is int:
        return reply
    raise ValueError(f"{_word(reply)} instead of a number")


def names_besides(reply: Any, db: int, count: int) -> int:
    """
    Read INFO keyspace and *count* numbers of names, of one transaction.

    Gives how many names database *db* has besides.
    """
    if len(_list(reply)) != count + 1:
        raise ValueError(f"{len(reply)} parts instead of {count + 1}")
    names = counts(parse_info(text_of(reply[0])), "db", "keys").get(str(db), 0)
    besides = names - sum(map(number_of, reply[1:]))
    if besides < 0:
        raise ValueError("it has fewer names in all than in some of its slots")
    return besides


def setting_of(reply: Any) -> str:
    """Read what CONFIG GET says of one setting; empty where there is none of that name."""
    pair = [*next(iter(reply.items()), ())] if type(reply) is dict else _list(reply)
    if len(pair) not in {0, 2}:
        raise ValueError(f"{len(pair)} parts instead of 2")
    return text_of(pair[1]).decode(errors="replace") if pair else ""


def scan_page(reply: Any) -> tuple[bytes, list[bytes]]:
    """
    Read a page of SCAN: a cursor and names (https://redis.io/docs/latest/commands/scan/).

    The cursor is a token, to be sent back as it came; only `0` is the end.
    """
    if len(_list(reply)) != 2:
        raise ValueError(f"{len(reply)} parts instead of 2")
    cursor, names = reply
    if type(cursor) is not bytes or not cursor:
        raise ValueError(f"the cursor is {_word(cursor)}")
    if wrong := {*map(type, _list(names))} - {bytes}:
        raise ValueError(f"a name is {_word(wrong.pop())}")
    return cursor, names


def values_of(reply: Any, count: int) -> list[bytes | None]:
    """Read the values that MGET gives of *count* names."""
    if len(_list(reply)) != count:
        raise ValueError(f"{len(reply)} parts instead of {count}")
    if wrong := {*map(type, reply)} - _NIL_OR_TEXT:
        raise ValueError(f"a value is {_word(wrong.pop())}")
    return list(reply)


def exchanged(reply: Any, count: int) -> list[int | bytes]:
    """Read what a script answers for *count* names: 1, 0, -1 or the text of an error."""
    if len(_list(reply)) != count:
        raise ValueError(f"{len(reply)} parts instead of {count}")
    if any(type(one) is not bytes and (type(one) is not int or abs(one) > 1) for one in reply):
        raise ValueError("an element is neither 1, 0, -1 nor a text")
    return list(reply)


def clock_of(reply: Any) -> datetime:
    """Read a time: seconds and microseconds (https://redis.io/docs/latest/commands/time/)."""
    if len(_list(reply)) != 2:
        raise ValueError(f"{len(reply)} parts instead of 2")
    seconds, micros = (number(part, "a part") for part in reply)
    try:
        return datetime.fromtimestamp(seconds + micros / 1e6, UTC)
    except (OverflowError, OSError):
        raise ValueError("it is no time") from None


def parse_info(text: bytes) -> dict[str, str]:
    """Return the fields of an INFO reply (https://redis.io/docs/latest/commands/info/)."""
    lines = (line.partition(":") for line in text.decode(errors="replace").splitlines())
    said = {name: value for name, colon, value in lines if colon and not name.startswith("#")}
    if said.get("role") == "replica":  # Dragonfly's word for it
        said["role"] = "slave"
    return said


def parse_fields(text: str) -> dict[str, str]:
    """Return the parts of a value such as `calls=3,usec=12`."""
    return dict(part.split("=", 1) for part in text.split(",") if "=" in part)


def info_number(node: str, info: Mapping[str, str], name: str) -> int:
    """Return a number in INFO, 0 where it is not told; AnswerError: it is none."""
    return understood(node, "INFO", number, info.get(name, "0"), name)


def counts(info: Mapping[str, str], begin: str, part: str) -> dict[str, int]:
    """Return *part* of each field of *info* that begins so, by the rest of its name; 0 without."""
    return {
        name.removeprefix(begin): number(parse_fields(text).get(part, "0"), f"{part} of {name}")
        for name, text in info.items()
        if name.startswith(begin)
    }


def _list(reply: Any) -> Sequence[Any]:
    if type(reply) is not list:
        raise ValueError(f"{_word(reply)} instead of a list")
    return reply


def _word(reply: object) -> str:
    """Return a word for what a reply is, or for its type; never what is in it."""
    kind = reply if isinstance(reply, type) else type(reply)
    return _WORDS.get(kind, "something else")


def primary_of(info: Mapping[str, str]) -> str:
    """Return where a replica's primary is, as its INFO says."""
    host, port = info.get("master_host"), info.get("master_port")
    return excerpt(f"{host}:{port}") if host and port else "a primary that it does not name"


def mentions(reply: Any, token: bytes) -> bool:
    """Return whether *token* is somewhere in a nested reply."""
    parts = [reply]
    while parts:
        part = parts.pop()
        if isinstance(part, bytes) and part.upper() == token:
            return True
        parts += part.values() if isinstance(part, dict) else part if type(part) is list else ()
    return False
