"""
Errors: form one tree with exit codes and hints; one table says what each code means.

    RotatorError
    ├── ConfigError           2  the configuration or the command line is wrong
    │   ├── KeyMaterialError  2  a key is not 64 hex characters, or listed twice
    │   ├── FormatError       2  a value format is described wrongly
    │   │   └── UnmetFormatError  2  a literal of a format may name another key
    │   ├── WrongKeyError     2  values have the current key's label, and it opens none
    │   └── SecretError       2  a reference cannot be resolved
    ├── ServerError           1  Redis, or the way to it
    │   ├── LostError         1  the connection, or the process behind it, is gone
    │   ├── LoginError        1  user or password refused
    │   └── RightsError       1  the user lacks a right that the job needs
    ├── SourceError           1  a secret provider could not be reached
    ├── StateError            1  the state file cannot be used
    ├── InternalError         1  something that nobody expected
    ├── SelfCheckError        1  a value does not open after encrypting
    ├── MissingError          1  there is no such entry
    ├── UnopenedError         1  an entry's value does not open
    ├── ReceiptError          1  a receipt cannot be relied on
    ├── EmptyError            5  not one value opens, where some ought to
    ├── ConditionError        6  `report --require` does not hold
    └── BusyError             7  another run on the same cache is in progress

A message is lower case, ends without a full stop and never holds a secret. The *hint* says what to
do about it. The base class is never raised.
"""

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any, ClassVar, Final, NamedTuple


class Exit(IntEnum):
    """Exit code: says how a command ended (design, section 8)."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_MOVED = 3
    TIME_UP = 4
    EMPTY = 5
    REQUIRED = 6
    BUSY = 7
    HUNG_UP = 129
    INTERRUPTED = 130
    TERMINATED = 143


# Which exit code speaks for several caches: the one that most wants a human.
_SEVERITY = (
    Exit.FAILED,
    Exit.USAGE,
    Exit.BUSY,
    Exit.INTERRUPTED,
    Exit.TERMINATED,
    Exit.HUNG_UP,
    Exit.TIME_UP,
    Exit.NOT_MOVED,
    Exit.EMPTY,
    Exit.REQUIRED,
    Exit.OK,
)


def worst(codes: Iterable[Exit]) -> Exit:
    """Return the exit code that speaks for several caches."""
    return min(codes, key=_SEVERITY.index, default=Exit.OK)


class Ending(NamedTuple):
    """Ending: says what an exit code means, *short* in a report, and *long* in the help."""

    short: str
    long: str


ENDINGS: Final[Mapping[int, Ending]] = {
    Exit.OK: Ending(
        "complete",
        "complete: every value that was met is under the current key (in a dry run: could be)",
    ),
    Exit.FAILED: Ending(
        "could not be done, or is not complete",
        "could not be done: connection, authentication, server error, incomplete coverage",
    ),
    Exit.USAGE: Ending("wrong usage or configuration", "usage or configuration"),
    Exit.NOT_MOVED: Ending(
        "complete, but some values could not be moved",
        "complete, but some values could not be moved (undecryptable, denied, too large, failed,"
        " nested, contended)",
    ),
    Exit.TIME_UP: Ending(
        "stopped by --max-duration, --until or tune --stop before the end",
        "stopped by --max-duration, --until or tune --stop before the end; the next run goes on"
        " from there;"
        " run --wait: the time is over, and an old key is not yet retirable",
    ),
    Exit.EMPTY: Ending(
        "complete, but not one value opened",
        "complete, but not one value opened: another layout (rotator detect), other keys, or the"
        " wrong database or pattern? (--allow-empty makes it 0)",
    ),
    Exit.REQUIRED: Ending(
        "all values are moved, but a key is not retirable, and waiting cannot help",
        "report --require: the condition does not hold; run --wait: all values are moved, but a key"
        " is not retirable, and waiting cannot help",
    ),
    Exit.BUSY: Ending(
        "another run on the same cache was in progress",
        "another run on the same cache is in progress",
    ),
    Exit.HUNG_UP: Ending(
        "terminal closed, position saved", "its terminal was closed (SIGHUP), position saved"
    ),
    Exit.INTERRUPTED: Ending(
        "interrupted, position saved", "interrupted (Ctrl-C, SIGINT), position saved"
    ),
    Exit.TERMINATED: Ending("terminated, position saved", "terminated (SIGTERM), position saved"),
}


class RotatorError(Exception):
    """Rotator's error: the base of the tree; *hint* is one sentence that says what to do."""

    exit_code: ClassVar[Exit] = Exit.FAILED

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(RotatorError):
    """Configuration error: file or command line is wrong; the message begins with the path."""

    exit_code = Exit.USAGE


class KeyMaterialError(ConfigError):
    """Key error: a key has the wrong length, is not hex, or is listed twice."""


class FormatError(ConfigError):
    """Format error: a value format is described wrongly."""


class UnmetFormatError(FormatError):
    """
    Unmet format error: nothing is written in a format, because a literal of it may name a key.

    No value that an application wrote in it under the current key was met; *own*: or it cannot be
    told from those that rotator has written.
    """

    def __init__(self, name: str, *, own: bool = False) -> None:
        same = f"the text is the same for every key, add constant: true to rotator.formats.{name}"
        met = (
            "rotator wrote in it under the current key before any application was seen to, so the"
            " values no longer show what applications write: is the current key right? If it is,"
            f" and {same}"
            if own
            else "no value that an application wrote in it under the current key was met: is the"
            " current key right? If it is, let an application write with it, then `rotator run"
            f" --dry-run` look at all values; or, if {same}"
        )
        super().__init__(
            f"rotator does not write in the format {name}: text in it may name the key, and {met}",
            hint="compare `rotator keys` with the key of every application; `rotator check --stage`"
            " shows how far they are",
        )
        self.name, self.own = name, own

    def __reduce__(self) -> tuple[Any, ...]:
        return _unmet, (self.name, self.own)


def _unmet(name: str, own: bool) -> UnmetFormatError:
    return UnmetFormatError(name, own=own)


class WrongKeyError(ConfigError):
    """
    Wrong key error: *number* values have the current key's label, and none of them opens with it.

    *field* is where the key is configured, *key_id* and *label* are how it is called.
    """

    def __init__(self, field: str, key_id: str, label: str, number: int) -> None:
        one = number == 1
        super().__init__(
            f"{field}: {number:,} sampled value{' names' if one else 's name'} the current key"
            f" {key_id} (label `{label}`), and {'it' if one else 'none of them'}"
            f" {'does not open' if one else 'opens'} with it: the key is probably not the one that"
            " applications use",
            hint="is it derived from a passphrase? see `rotator docs formats`; compare `rotator"
            " keys` with the key of every application",
        )


REFUSALS = (UnmetFormatError, WrongKeyError)
"""What keeps a run from writing in a cache, so that applications can read it afterwards."""


class SecretError(ConfigError):
    """Secret error: a reference cannot be resolved: no provider, or a name it does not know."""


class SourceError(RotatorError):
    """Source error: a secret provider could not be reached, or refused to answer."""


class ServerError(RotatorError):
    """Server error: Redis answered with an error, or could not be reached."""


class LostError(ServerError):
    """Loss: the pinned connection is gone; the process behind a new one may be another."""


class LoginError(ServerError):
    """Login error: the server refused the user or the password."""


class RightsError(ServerError):
    """Rights error: the user lacks rights that the job needs; the message names all of them."""


class StateError(RotatorError):
    """State error: the file cannot be read, written or understood."""


class LockedError(StateError):
    """Locked: another process keeps the state file to itself, longer than is waited for."""


class SelfCheckError(RotatorError):
    """Self-check: a value just encrypted does not open to its plaintext, and was not written."""


class InternalError(RotatorError):
    """Internal error: something that nobody expected; the message names its type only."""


class MissingError(RotatorError):
    """Missing entry: there is none of this name; the message names it as it may be shown."""


class UnopenedError(RotatorError):
    """Unopened value: no configured format and key opens an entry's value; the message says why."""


class ReceiptError(RotatorError):
    """Receipt error: it is none, is not signed, was signed by another, or was changed."""


class EmptyError(RotatorError):
    """Nothing opened: stops a purge where not one value opens; a run ends so by its result."""

    exit_code = Exit.EMPTY


class ConditionError(RotatorError):
    """Condition: `report --require` asks for what does not hold."""

    exit_code = Exit.REQUIRED


class BusyError(RotatorError):
    """Busy cache: another run on it is in progress."""

    exit_code = Exit.BUSY
