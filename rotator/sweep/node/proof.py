"""
Proof: takes what one node's sweep proves: looks before and after, and counts that must fit.

A sweep is a proof only if it was made in one go and only read, by a server that says who it is, and
whose counters hold our own calls and shrank nowhere (verdict 2). It reads what `match`, `databases`
and `fields` leave out, too, which may be of other caches of the configuration (verdict 2.10).
"""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rotator.config.types import Address
from rotator.crypto.codec import Codec, Opened
from rotator.crypto.layout import FieldName
from rotator.errors import ServerError
from rotator.retirement.looks import Look, Outside, Proof, calls, number
from rotator.server.cluster_nodes import SLOTS, foreign_slots, myself
from rotator.server.copies import take_look
from rotator.server.node import Identity
from rotator.server.replies import RETRY_SECONDS, ErrorKind, ErrorReply, NoValue
from rotator.server.store import Store, Value
from rotator.server.wire.versions import hides_names
from rotator.sweep.scope import Scope
from rotator.tally.tally import BLOCKING, Tally
from rotator.text import count

_FEW = 100  # names that may be missing anyway: they come and go
_SHARE = 10  # and one of so many
_AT_A_TIME = 100  # names that are left out


@dataclass(slots=True)
class OutsideTally:
    """
    Outside tally: counts names that `match` and `databases` leave out, and fields, by `fields`.

    *under_old_keys* counts values by the id of the key. *behind* counts names that were written
    during the sweep and do not open: the scan counts them, unless they came from elsewhere.
    """

    visits: int = 0
    under_old_keys: Counter[str] = field(default_factory=Counter)
    not_opened: int = 0
    denied: int = 0
    behind: int = 0

    def add(self, page: "OutsideTally") -> None:
        """Add what was counted on a page."""
        self.visits += page.visits
        self.under_old_keys.update(page.under_old_keys)
        self.not_opened += page.not_opened
        self.denied += page.denied
        self.behind += page.behind

    def counted(self, *, moved: bool) -> Outside:
        """Return the counts, to be kept; *moved* is whether values may have come from elsewhere."""
        shut = self.not_opened + (self.behind if moved else 0)
        return Outside(self.visits, dict(self.under_old_keys), shut, self.denied)


@dataclass(slots=True)
class OutsideReader:
    """
    Outside reader: counts names that are left out, opened by *codec*, or else by *neighbours*.

    *tally* has the sums; None: they are not read, or no longer.
    """

    store: Store
    codec: Codec
    neighbours: Sequence[Codec] = ()
    tally: OutsideTally | None = None

    def read(self, names: Sequence[bytes], *, written: bool = False) -> OutsideTally:
        """
        Return the counts of *names* that are left out, on a page, or *written* meanwhile.

        Raises:
            ServerError: The node cannot be worked with.
            LostError: The connection broke.
        """
        page = OutsideTally()
        for start in range(0, len(names), _AT_A_TIME):
            some = names[start : start + _AT_A_TIME]
            for name, value in zip(some, self._values(some), strict=True):
                if value is not NoValue.GONE:
                    self._count(page, name, value, written=written)
        return page

    @property
    def wants_fields(self) -> bool:
        """True if fields that are not visited are to be counted, if they are under old keys."""
        return self.tally is not None

    def take_fields(self, found: Sequence[tuple[FieldName, bytes]]) -> None:
        """Count fields under old keys; what does not open is no value, as `fields` declares."""
        old = {key.id for key in self.codec.keyring.old}
        opened = [self.codec.open(name, value) for name, value in found]
        keys = [{key.id for key in one.keys} for one in opened if isinstance(one, Opened)]
        if self.tally is not None:
            self.tally.under_old_keys.update(one for under in keys for one in under & old)

    def _values(self, names: Sequence[bytes]) -> list[Value]:
        """Return the values of *names*, waited for while the server is busy."""
        for pause in (0.0, *RETRY_SECONDS):
            time.sleep(pause)
            values = self.store.read(names)
            errors = [value for value in values if isinstance(value, ErrorReply)]
            busy = [error.message for error in errors if error.meaning is ErrorKind.RETRY]
            if not busy:
                return values
        raise ServerError(f"{self.store.node} refuses to work: {busy[0]}")

    def _count(self, page: OutsideTally, name: bytes, value: Value, *, written: bool) -> None:
        """Count one name that is left out."""
        codecs = (self.codec, *self.neighbours)
        opened = [codec.open(name, value) for codec in codecs] if isinstance(value, bytes) else []
        keys = {key.id for one in opened if isinstance(one, Opened) for key in one.keys}
        old = {key.id for key in self.codec.keyring.old}
        page.under_old_keys.update(keys & old)
        if written:
            page.behind += not keys
        else:
            page.visits += 1
            page.denied += value is NoValue.DENIED
            page.not_opened += not keys and value is not NoValue.DENIED


@dataclass(slots=True)
class ProofBuilder:
    """
    Proof builder: holds what is known of the sweep of one node while it goes on.

    *shown* counts the names that SCAN showed, by database, and *expected* those that INFO told of
    at the beginning. *moving* are the slots that are on the move: names may be at either node.
    """

    scope: Scope
    codec: Codec
    before: Look | None = None
    after: Look | None = None
    shown: Counter[int] = field(default_factory=Counter)
    expected: dict[int, int] = field(default_factory=dict)
    found: dict[int, int] = field(default_factory=dict)
    orphans: int = 0
    not_counted: bool = False
    moving: str = ""
    left_out: list[bool] = field(default_factory=list)

    def begin(self, store: Store) -> None:
        """Look at the server before the first page."""
        self.before, self.after = take_look(store, canary=True), None
        self.left_out = [leaves_out_names(store)]
        self.expected = store.databases()
        self.shown.clear()
        store.pages = 0

    def end(self, store: Store, databases: Sequence[int]) -> None:
        """Look at the server after the last page."""
        counts = count_orphans(store, databases) if store.clustered else [0]
        self.moving = " ".join(myself(store.members()).moving) if store.clustered else ""
        self.not_counted = None in counts
        self.orphans = sum(filter(None, counts))
        self.after, self.found = take_look(store, canary=True), store.databases()
        self.left_out.append(leaves_out_names(store))

    def doubts(self, before: Identity, now: Identity, pages: int, *, partly: bool) -> list[str]:
        """
        Return why the node cannot be vouched for, which doing it again would not mend.

        *partly*: not all of its names were shown to this sweep.
        """
        doubts = []
        missing = dict.fromkeys([*before.unnamed, *now.unnamed])
        if missing and not self.scope.one_server:
            doubts.append(
                f"the server does not say who it is (no {', '.join(missing)} in INFO); declare"
                " assume.identity if it is one server that was not restarted"
            )
        if all(self.left_out):
            doubts.append("the server has names in database 0, and INFO shows none (keyspace)")
        if self.not_counted:
            doubts.append("names in slots of other nodes are hidden there: grant +multi +exec")
        if self.before and self.after and not partly:
            strict = not self.scope.one_server
            doubts += counters_doubts(self.before, self.after, pages, strict=strict)
            doubts += self._names_doubts(self.before, self.after)
        return doubts

    def _names_doubts(self, before: Look, after: Look) -> list[str]:
        """Return whether SCAN showed fewer names than there must be (verdict 2.7)."""
        gone = sum(
            max((number(after, name) or 0) - (number(before, name) or 0), 0)
            for name in ("expired_keys", "evicted_keys")
        )
        whole = "*" in self.scope.match or self.scope.reads_outside
        doubts = []
        for db in self.expected if whole else ():
            if not (self.scope.reads_outside or self.scope.visits(db)):
                continue
            said = min(self.expected[db], self.found.get(db, 0)) - gone
            missing = said - self.shown[db]
            if missing > _FEW and missing * _SHARE > said:
                doubts.append(
                    f"the server says that it has {count(said, 'name')} in database {db}, SCAN"
                    f" showed {self.shown[db]:,}"
                )
        return doubts

    def appeared(
        self, databases: Iterable[int], scanned: Iterable[int], *, every: bool
    ) -> list[str]:
        """Return which *databases* were not *scanned*; *every*: also those that are not visited."""
        new = {db for db, _ in self.scope.scans(list(databases))} - set(scanned)
        return [f"database {db} appeared" for db in sorted(new) if every or self.scope.visits(db)]

    def proof(
        self, address: Address, tally: Tally, seen: OutsideTally | None, *, moved: bool
    ) -> Proof | None:
        """Return the proof, of a sweep that was made to the end and only read."""
        outside = seen.counted(moved=moved) if seen else None
        if self.before is None or self.after is None or self.moving:
            return None
        if outside is None and self.scope.reads_outside:
            return None  # it was to be read, and was not
        left = max(sum(self.expected.values()) - self.shown.total(), 0)
        unread = Outside(visits=None, names=left) if self.scope.leaves_out else Outside()
        keys = {key.id: tally.keys.get(key.id) for key in self.codec.keyring.old}
        return Proof(
            node=str(address),
            before=self.before,
            after=self.after,
            basis=self.scope.basis(self.codec),
            met={key_id: key.found if key else 0 for key_id, key in keys.items()},
            opened=sum(key.found for key in tally.keys.values()),
            open_items={outcome: tally.outcomes[outcome] for outcome in BLOCKING},
            outside=unread if outside is None else outside,
            hidden=self.orphans,
        )


def leaves_out_names(store: Store) -> bool:
    """Return whether INFO shows no names in database 0, and DBSIZE does, if one may ask that."""
    if store.databases().get(0):
        return False
    store.select(0)
    return bool(store.size())


def databases_with_names(store: Store) -> list[int]:
    """Return the databases that INFO shows, and the first one, too, where INFO leaves it out."""
    return sorted({*store.databases(), *([0] if leaves_out_names(store) else [])})


def count_orphans(store: Store, databases: Sequence[int]) -> list[int | None]:
    """
    Return how many names each database holds in slots that are not the node's: out of reach.

    Redis 8.4 and later hide them (redis-rules 8); None: the user may not count what is hidden.
    """
    own, hides = myself(store.members()), hides_names(store.info("server"))
    foreign = set(foreign_slots(own))
    counts: list[int | None] = []
    for db in sorted({0, *databases}):
        store.select(db)
        if hides:
            counts.append(store.names_outside([one for one in range(SLOTS) if one not in foreign]))
        else:
            counts.append(store.names_in_slots(sorted(foreign)))
    return counts


def counters_doubts(before: Look, after: Look, pages: int, *, strict: bool = True) -> list[str]:
    """
    Return why the counters between two looks are not to be relied on (verdict 2.3).

    *pages* is how often we called SCAN in between. *strict*: what is missing is a reason, too.
    """
    doubts = []
    scans = [calls(one, "scan") for one in (before, after)]
    if scans[0] is not None and scans[1] is not None and scans[1] - scans[0] < pages:
        doubts.append("its counters do not show rotator's own calls of SCAN")
    if before.calls is not None and after.calls is not None:
        shrunk = [name for name, times in before.calls.items() if after.calls.get(name, 0) < times]
        doubts += [f"its counter of {name} went down during the sweep" for name in shrunk]
    for name in ("uptime_in_seconds", "master_repl_offset", "total_commands_processed"):
        earlier, later = number(before, name), number(after, name)
        if earlier is None or later is None:
            doubts += [f"the server does not say {name} in INFO"] if strict else []
        elif later < earlier:
            doubts.append(f"{name} went down during the sweep")
    return doubts
