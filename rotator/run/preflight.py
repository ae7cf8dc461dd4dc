"""
Preflight: proves topology, rights and that no other run goes on, before anything is written.

Two locks keep other runs away. A file beside the state holds off those that use the same state; the
kernel releases it however the process ends. A channel of the server holds off all others: a run
subscribes to it and counts who else has. The subscription ends with the connection, so neither
leaves a trace in the data.
"""

import fcntl
import hashlib
import os
import re
import secrets
import socket
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from rotator.config.types import Address
from rotator.errors import BusyError, RightsError, ServerError, StateError
from rotator.protection import open_own
from rotator.server.acl import (
    REFRESHING,
    RUN_CHANNEL,
    Lacking,
    Rules,
    grant_hint,
    missing_rights,
    missing_to_refresh,
)
from rotator.server.context import CacheContext
from rotator.server.replies import number_of, understood
from rotator.server.store import Store
from rotator.server.topology import Topology, discover
from rotator.server.wire.pending import Reply
from rotator.text import excerpt, listing

_TRIES = 5
_BY = ":by:"  # between the channel of a cache and whoever holds it
_JITTER_MS = 500

log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Preflight:
    """
    Preflight: proves that a run over a cache can be done, and keeps other runs away until `close`.

    *pattern* is a glob that names to be visited match; *besides* are the rights that are needed
    besides reading, as ACL rules. A cluster is given *patience* seconds to settle, or less if
    *should_stop* gives something true. *replicas* are addresses that earlier runs met as those of
    replicas or former primaries: they may be silent. *topology* is the last one that was found.
    *waiting* is given what is waited for.
    *force*: another run that seems to be in progress on another machine keeps nobody away.
    """

    context: CacheContext
    pattern: str
    patience: float
    should_stop: Callable[[], object]
    besides: Rules = ()
    replicas: Collection[str] = ()
    topology: Topology | None = None
    force: bool = False
    waiting: Callable[[str | None], object] = lambda _: None
    _locks: ExitStack = field(default_factory=ExitStack, repr=False)

    def run(self, state: Path | None) -> Topology:
        """
        Prove all of it; with *state*, the path of the state, other runs are kept away from now on.

        Raises:
            ServerError: A node cannot be reached, refuses the login, or lacks rights; or the
                cluster is not whole.
            BusyError: Another run works on this cache.
        """
        connect, addresses = self.context.connect, self.context.cache.addresses
        try:
            topology = self.discover()
        except RightsError:  # one right is missing for that: name all that are
            require_rights(connect, addresses, self.besides, self.pattern)
            raise
        if topology.problems:
            raise ServerError(
                f"the cluster is not whole: {topology.problems[0]}",
                hint="repair it first: redis-cli --cluster check says what is wrong",
            )
        writers = self._others_with_files(topology) if {*REFRESHING} & {*self.besides} else ()
        require_rights(connect, topology.primaries, self.besides, self.pattern, writers)
        if state is not None:
            name, first = self.context.cache.name, min(topology.primaries)
            self._locks.enter_context(run_lock(state, name))
            self._locks.enter_context(announce_run(name, lambda: connect(first), force=self.force))
        return topology

    def _others_with_files(self, topology: Topology) -> list[Address]:
        """Return the servers beside the primaries whose files a run looks at."""
        replicas, given = self.context.settings.replicas, self.context.cache.addresses
        own = [address for address in given if address not in topology.seeds]
        others = [*topology.replicas, *own, *replicas.listed, *(replicas.only or ())]
        return [one for one in dict.fromkeys(others) if one not in topology.primaries]

    def discover(self) -> Topology:
        """
        Find the nodes that own the data now.

        Raises:
            ServerError: Who owns the data cannot be found out.
        """
        self.topology = discover(
            self.context.cache.addresses,
            self.context.connect,
            settle_timeout=self.patience,
            known=self.topology,
            should_stop=self.should_stop,
            replicas=self.replicas,
            waiting=self.waiting,
        )
        return self.topology

    def close(self) -> None:
        """Let other runs have the cache again."""
        self._locks.close()


def require_rights(
    connect: Callable[[Address], Store],
    addresses: Iterable[Address],
    besides: Rules,
    pattern: str,
    others: Iterable[Address] = (),
) -> None:
    """
    Raise unless the user may do all that the job needs at every one of *addresses*.

    Every node has ACL users of its own, so each is asked; see `missing_rights`. At *others*, those
    that answer, the user only needs the right to have files written: `missing_to_refresh`.

    Raises:
        RightsError: Rights are missing; the hint is the ACL rule that grants them.
    """
    lacking: dict[tuple[str, ...], list[str]] = {}
    every: Lacking = {}
    user = ""

    def note(address: Address, store: Store, lacks: Lacking) -> None:
        nonlocal user
        user = store.connection.user
        if lacks:
            lacking.setdefault(tuple(lacks), []).append(str(address))
            every.update({rule: said for rule, said in lacks.items() if said or rule not in every})

    for address in addresses:
        with connect(address) as store:
            lacks = missing_rights(store, besides, pattern)
            if {*REFRESHING} & {*besides} and "+info" not in lacks:
                lacks |= missing_to_refresh(store)
            note(address, store, lacks)
    for address in others:
        with suppress(ServerError), connect(address) as store:  # the report says what is silent
            note(address, store, missing_to_refresh(store))
    if lacking:
        raise RightsError(
            "; ".join(
                f"{listing(nodes)}: the user lacks rights: {' '.join(rules)}"
                for rules, nodes in lacking.items()
            ),
            hint=grant_hint(every, user, sum(map(len, lacking.values()))),
        )


@contextmanager
def announce_run(
    cache: str, connect: Callable[[], Store], *, force: bool = False
) -> Iterator[None]:
    """
    Hold the channel of *cache* on the node that *connect* reaches, while the block runs.

    Two runs that begin at the same moment see each other; each withdraws, waits for a time of its
    own and tries again. A user without the rights for it is not kept from running, and so is nobody
    with *force*: whoever may subscribe could keep all runs out. A second channel names the holder.

    Raises:
        AnswerError: The answers are not understood.
        BusyError: Another run holds the channel.

    https://redis.io/docs/latest/commands/pubsub-numsub/
    """
    channel = f"{RUN_CHANNEL}{cache}"
    who = f"{socket.gethostname()} process {os.getpid()}"
    own = f"{channel}{_BY}{who}:{secrets.token_hex(4)}"
    for left in range(_TRIES, 0, -1):
        with connect() as listener, connect() as asker:
            listening = listener.connection.pipeline([("SUBSCRIBE", channel), ("SUBSCRIBE", own)])
            counted = asker.connection.pipeline([("PUBSUB", "NUMSUB", channel)])[0]
            alone = _alone(cache, asker.node, listening[0], counted)
            holder = "" if alone else _holder(asker, channel, own)
            if alone or (force and left == 1):
                if not alone:
                    log.warning("goes on although another run is in progress", holder=holder)
                asker.connection.close()
                yield
                return
        time.sleep((100 + secrets.randbelow(_JITTER_MS)) / 1000)
    raise BusyError(
        f"another run on the cache {cache} is in progress: {holder}",
        hint="wait for it to end; if you know that there is none, --force-lock goes on",
    )


def _alone(cache: str, node: str, subscribed: Reply, counted: Reply) -> bool:
    """Tell if nobody else holds the channel, as far as the user may know and the server tells."""
    for reply in (subscribed, counted):
        if isinstance(reply, Exception):  # an error answer: a right is missing
            log.info("runs on other machines are not seen", cache=cache, reason=str(reply))
            return True
    understood(node, "SUBSCRIBE", _last_number, subscribed, 3)
    number = understood(node, "PUBSUB", _last_number, counted, 2)
    if number == 0:  # our own is not counted: a proxy, or a node of several
        log.info("runs on other machines are not seen", cache=cache, reason="NUMSUB is 0")
    return number < 2


def _last_number(reply: Reply, parts: int) -> int:
    """Read an answer of so many *parts*, the last of which is a number."""
    if type(reply) is not list or len(reply) != parts:
        raise ValueError(f"no list of {parts}")
    return number_of(reply[-1])


def _holder(asker: Store, channel: str, own: str) -> str:
    """Return who else holds *channel*, as that says itself."""
    reply = asker.connection.pipeline([("PUBSUB", "CHANNELS", f"{_escaped(channel)}{_BY}*")])[0]
    found = [one for one in reply if type(one) is bytes] if type(reply) is list else []
    others = [one.decode(errors="replace") for one in found if one != own.encode()]
    said = [excerpt(one.rpartition(_BY)[2].rpartition(":")[0]) for one in others]
    return ", ".join(said[:3]) or f"an unknown process holds the channel {channel}"


def _escaped(channel: str) -> str:
    """Return a glob pattern that only *channel* matches."""
    return re.sub(r"([\\*?\[\]])", r"\\\1", channel)


@contextmanager
def run_lock(state: Path, cache: str) -> Iterator[None]:
    """
    Hold the lock on a cache, kept in a file beside the *state*.

    The file stays: if it were removed, one process could lock the old one and another a new one.

    Raises:
        BusyError: Another process holds it.
        StateError: The lock file cannot be made, or is another's.
    """
    digest = hashlib.sha256(cache.encode()).hexdigest()[:16]
    path = state.with_name(f"{state.name}.{digest}.lock")
    try:
        handle = open_own(path, StateError)
    except OSError as error:
        raise StateError(
            f"the lock file {path} cannot be opened ({error.strerror})",
            hint="make it and its folder readable and writable, or choose another with --state",
        ) from error
    with os.fdopen(handle, "r+b", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = file.read(20).decode("ascii", "replace").strip()
            raise BusyError(
                f"another run on {cache} is in progress",
                hint=f"wait until it ends; it is process {owner or 'unknown'} and has {path} open",
            ) from None
        # Whose it is helps others and nobody else: where there is no room for it, it goes unsaid.
        with suppress(OSError):
            file.truncate(0)
            file.write(b"%d\n" % os.getpid())
        yield
