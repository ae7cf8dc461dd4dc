"""
Telling runs on other machines that one is in progress, without leaving a trace in the data.

A run subscribes to a channel of the server and counts who else has. The subscription ends with the
connection, however the process ends, so nothing is ever left locked. The lock of the state keeps
runs with one state apart; this keeps all others apart.

One run at a time: a file lock, which the kernel releases however the process ends.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog
from redis.exceptions import ResponseError

from rotator.errors import BusyError, StateError
from rotator.server.connection import Reply
from rotator.server.store import Store

_TRIES = 5


_JITTER_MS = 500


log = structlog.get_logger(__name__)


@contextmanager
def announce_run(cache: str, connect: Callable[[], Store]) -> Iterator[None]:
    """
    Hold the channel of *cache* on the node that *connect* reaches, while the block runs.

    Two runs that begin at the same moment see each other; each withdraws, waits for a time of its
    own and tries again. A user without the rights for it is not kept from running.

    Raises:
        BusyError: Another run holds the channel.

    https://redis.io/docs/latest/commands/pubsub-numsub/
    """
    channel = f"rotator:run:{cache}"
    for _ in range(_TRIES):
        listener = connect().connection
        with listener, connect().connection as asker:
            subscribed = listener.pipeline([("SUBSCRIBE", channel)])[0]
            counted = asker.pipeline([("PUBSUB", "NUMSUB", channel)])[0]
            alone = _alone(cache, subscribed, counted)
            if alone:
                asker.close()
                yield
                return
        time.sleep((100 + secrets.randbelow(_JITTER_MS)) / 1000)
    raise BusyError(
        f"another run on the cache {cache} is in progress",
        hint="wait for it to end; it may be on another machine",
    )


def _alone(cache: str, *replies: Reply) -> bool:
    """Whether nobody else holds the channel, as far as the user may know."""
    for reply in replies:
        if isinstance(reply, ResponseError):
            log.info("runs on other machines are not seen", cache=cache, reason=str(reply))
            return True
    return bool(replies[-1][1] == 1)


@contextmanager
def run_lock(state: Path, cache: str) -> Iterator[None]:
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
