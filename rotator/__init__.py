"""Re-encrypt a Redis cache in place, and say when each old key can go."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rotator.cache import Cache

    __version__: str

__all__ = ["DISTRIBUTION", "Cache", "__version__"]

DISTRIBUTION = "redis-rotator"
"""The name on the package index, where `rotator` is another project."""


def __getattr__(name: str) -> type[Cache] | str:
    """Import what is asked for when it is asked for: the command line need not wait for it."""
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 - see above

        return version(DISTRIBUTION)
    if name == "Cache":
        from rotator.cache import Cache  # noqa: PLC0415 - see above

        return Cache
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
