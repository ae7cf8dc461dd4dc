"""
Public API: re-encrypt a Redis cache in place, and say when each old key can go.

Public are `Cache`, which gets, sets and deletes one entry, and the errors it raises, all of them in
`__all__`; they are imported when asked for, so that the command need not wait for them. Public are
also the command with its options and exit codes, the JSON report, the names of the metrics, the
value formats with their vectors, and the state file. All else is internal, and may change.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rotator.cache import Cache
    from rotator.errors import (
        ConfigError,
        LoginError,
        MissingError,
        RightsError,
        RotatorError,
        SecretError,
        SelfCheckError,
        ServerError,
        SourceError,
        UnopenedError,
    )

    __version__: str

__all__ = [
    "DISTRIBUTION",
    "Cache",
    "ConfigError",
    "LoginError",
    "MissingError",
    "RightsError",
    "RotatorError",
    "SecretError",
    "SelfCheckError",
    "ServerError",
    "SourceError",
    "UnopenedError",
    "__version__",
]

DISTRIBUTION = "redis-rotator"
"""The name on the package index, where `rotator` is another project."""


def __getattr__(name: str) -> object:
    """Import what is public when it is asked for."""
    if name == "__version__":
        return import_module("importlib.metadata").version(DISTRIBUTION)
    if name in __all__:
        return getattr(
            import_module("rotator.cache" if name == "Cache" else "rotator.errors"), name
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
