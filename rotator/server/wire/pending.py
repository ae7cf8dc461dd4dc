"""Pending: holds the replies to commands that were sent, and knows what these were."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hiredis import Reader
from redis.exceptions import ResponseError

Command = Sequence[Any] | bytes
"""A command by its words, or packed already."""
Reply = Any

_OPTIONS = {b"KEEPTTL", b"IFEQ"}


class Pending:
    """Pending: holds the replies to commands that were sent, on their way or here already."""

    __slots__ = ("_commands", "_receive", "replies")

    def __init__(self, receive: Callable[[Pending], None], commands: Sequence[Command]) -> None:
        self._receive = receive
        self._commands = commands
        self.replies: list[Reply | ResponseError] = []

    @property
    def missing(self) -> int:
        """The number of replies that are still on their way."""
        return len(self._commands) - len(self.replies)

    def result(self) -> list[Reply | ResponseError]:
        """
        Wait for all replies, in the order of the commands; an error reply is one of them.

        Raises:
            LostError: The connection was lost before all of them had come.
        """
        self._receive(self)
        return self.replies

    @property
    def command(self) -> str:
        """The name of the command whose reply comes next."""
        name = self._words()[0]
        return name.decode() if isinstance(name, bytes) else str(name)

    def arguments(self) -> list[str]:
        """Return the names and values in that command: no error shows them."""
        shown = (word for word in self._words()[1:] if isinstance(word, bytes))
        return [word.decode(errors="replace") for word in shown if word not in _OPTIONS]

    def _words(self) -> list[Any]:
        """Return the words of that command, packed or not."""
        command = self._commands[len(self.replies)] if self.missing else ("a command",)
        if not isinstance(command, bytes):
            return list(command)
        reader = Reader()
        reader.feed(command)
        return list(reader.gets())
