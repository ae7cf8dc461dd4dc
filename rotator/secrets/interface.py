"""What a secret provider does."""

from __future__ import annotations

from typing import Protocol


class Provider(Protocol):
    """A place that knows secrets by name."""

    def get(self, name: str) -> str:
        """
        The secret called *name*: the text between `<` and `>` in the configuration.

        Raises:
            SecretError: The provider does not know the name; the message names it.
            SourceError: The provider could not be reached, or refused to answer.
        """
        ...
