"""Re-encrypt a Redis cache in place, and say when each old key can go."""

from rotator.cache import Cache

__all__ = ["Cache"]
