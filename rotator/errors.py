"""
Everything that can go wrong, and the exit code it leads to.

    RotatorError
    ├── ConfigError           2  the configuration or the command line is wrong
    │   ├── KeyMaterialError  2  a key is not 64 hex characters, or listed twice
    │   ├── FormatError       2  a value format is described wrongly
    │   └── SecretError       2  a reference cannot be resolved
    ├── ServerError           1  Redis, or the way to it
    │   ├── LostError         1  the connection, or the process behind it, is gone
    │   ├── LoginError        1  user or password refused
    │   └── RightsError       1  the user lacks a right that the job needs
    ├── SourceError           1  a secret provider could not be reached
    ├── StateError            1  the state file cannot be used
    ├── SelfCheckError        1  a value does not open after encrypting
    ├── MissingError          1  there is no such entry
    ├── UnopenedError         1  an entry's value does not open
    ├── EmptyError            5  not one value opens, where some ought to
    ├── ConditionError        6  `report --require` does not hold
    └── BusyError             7  another run on the same cache is in progress

A message is lower case, ends without a full stop and never holds a secret. The *hint* says what to
do about it. The base class is never raised.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class Exit(IntEnum):
    """The exit codes of every command (design, section 8)."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_MOVED = 3
    TIME_UP = 4
    EMPTY = 5
    REQUIRED = 6
    BUSY = 7
    INTERRUPTED = 130
    TERMINATED = 143


class RotatorError(Exception):
    """The base of the tree; *hint* is one sentence that says what to do."""

    exit_code: ClassVar[Exit] = Exit.FAILED

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(RotatorError):
    """The configuration or the command line is wrong; the message begins with the field's path."""

    exit_code = Exit.USAGE


class KeyMaterialError(ConfigError):
    """A key has the wrong length, is not hex, or is listed twice."""


class FormatError(ConfigError):
    """A value format is described wrongly."""


class SecretError(ConfigError):
    """A secret reference cannot be resolved: no provider, or a name it does not know."""


class SourceError(RotatorError):
    """A secret provider could not be reached, or refused to answer."""


class ServerError(RotatorError):
    """Redis answered with an error, or could not be reached."""


class LostError(ServerError):
    """The pinned connection is gone; the process behind a new one may be another."""


class LoginError(ServerError):
    """The server refused the user or the password."""


class RightsError(ServerError):
    """The user lacks rights that the job needs; the message names all of them."""


class StateError(RotatorError):
    """The state file cannot be read, written or understood."""


class SelfCheckError(RotatorError):
    """A value that was just encrypted does not open to the same plaintext; it was not written."""


class MissingError(RotatorError):
    """There is no such entry; the message names it as it may be shown."""


class UnopenedError(RotatorError):
    """No configured format and key opens an entry's value; the message says why."""


class EmptyError(RotatorError):
    """Not one value opens, where some ought to."""

    exit_code = Exit.EMPTY


class ConditionError(RotatorError):
    """What `report --require` asks for does not hold."""

    exit_code = Exit.REQUIRED


class BusyError(RotatorError):
    """Another run on the same cache is in progress."""

    exit_code = Exit.BUSY
