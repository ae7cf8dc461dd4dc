"""One run at a time: a file lock, which the kernel releases however the process ends."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rotator.errors import BusyError, StateError


@contextmanager
def lock(state: Path, cache: str) -> Iterator[None]:
    """
    Hold the lock on a cache, kept in a file beside the *state*.

    The file stays: if it were removed, one process could lock the old one and another a new one.

    Raises:
        BusyError: Another process holds it.
        StateError: The lock file cannot be made.
    """
    digest = hashlib.sha256(cache.encode()).hexdigest()[:16]
    path = state.with_name(f"{state.name}.{digest}.lock")
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StateError(
            f"the lock file {path} cannot be opened ({error.strerror})",
            hint="make it and its folder readable and writable, or choose another with --state",
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(handle, 20, 0).decode("ascii", "replace").strip()
            raise BusyError(
                f"another run on {cache} is in progress",
                hint=f"wait until it ends; it is process {owner or 'unknown'} and has {path} open",
            ) from None
        # Whose it is helps others and nobody else: where there is no room for it, it goes unsaid.
        with suppress(OSError):
            os.ftruncate(handle, 0)
            os.pwrite(handle, b"%d\n" % os.getpid(), 0)
        yield
    finally:
        os.close(handle)
