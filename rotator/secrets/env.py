"""`env://`: `<NAME>` is an environment variable."""

from __future__ import annotations

import os

from rotator.errors import SecretError


class Environment:
    """The variables of this process."""

    def get(self, name: str) -> str:
        """
        The value of the variable *name*.

        Raises:
            SecretError: The variable is not set.
        """
        secret = os.environ.get(name)
        if secret is None:
            raise SecretError(
                f"<{name}>: the environment variable is not set", hint=f"set {name} for rotator"
            )
        return secret


def from_url(url: str) -> Environment:
    """
    The provider for `env://`.

    Raises:
        SecretError: Something follows.
    """
    if url.partition("://")[2].strip("/"):
        raise SecretError(
            "the secret provider env:// takes nothing after it",
            hint="write env://, and <NAME> in the configuration",
        )
    return Environment()
