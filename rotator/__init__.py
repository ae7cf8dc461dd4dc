"""Re-encrypt a Redis cache in place, and say when each old key can go."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rotator.cache import Cache

__all__ = ["Cache"]


def __getattr__(name: str) -> type[Cache]:
    """Import `Cache` when it is asked for: the command line need not wait for it."""
    if name == "Cache":
        from rotator.cache import Cache  # noqa: PLC0415 - see above

        return Cache
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
