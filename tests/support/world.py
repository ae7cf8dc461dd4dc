"""
The world behind a verdict: servers, files, an application and the tool, as small as can be.

Every state is hashable, every step gives a new state, and the truth of every place is known. What
the tool sees of a server, and all that it concludes, are the product's own records and rules.
Steps take no time; a look takes a minute.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache

from rotator.retirement import judge as judging
from rotator.retirement.history import KeyHistory, KeySeen, SweepRecord, fold
from rotator.retirement.lineage import broken_between
from rotator.retirement.looks import CANARY_CALLS
from rotator.retirement.places import Declarations, Fence, Kind, Status, Verdict
from rotator.tally.tally import Mode
from support.looks import (
    FIELD,
    KEY,
    NONE,
    PRIMARY,
    REPLICA,
    at,
    away,
    evidence,
    primary,
    proof,
    replica,
)

OWN = {"run", "sweep", "other"}
"""Events that are the tool's own; of the others there are not too many in one history."""
QUIET = timedelta(0)
"""Two proofs that follow one another are apart enough: what counts is what lies between them."""


class State:
    """State: computes its hash once; `replace` copies it faster than that of dataclasses."""

    def __hash__(self):
        """Return the hash of what can be compared."""
        known = self.__dict__.get("_hash")
        if known is None:
            known = hash(tuple(v for k, v in self.__dict__.items() if k != "declared"))
            self.__dict__["_hash"] = known
        return known


def replace(one, **more):
    """Return a state with other values in some of its fields."""
    new = object.__new__(type(one))
    new.__dict__.update(one.__dict__, **more)
    new.__dict__.pop("_hash", None)
    return new


@dataclass(frozen=True, slots=True)
class Saved:
    """Saved: what a file holds, or a child that writes one will write."""

    old: tuple[bool, ...]
    replid: int = 0
    offset: int = 0


@dataclass(frozen=True)
class Server(State):
    """
    Server: one Redis; *old* says of each name whether its value is under the key.

    *file* is its RDB file and *saving* what a child writes. *log* says whether a value under the
    key is in its append-only file, None if there is no file; *rewriting* what a rewrite will hold.
    *own* are values that were written to a replica itself.
    """

    name: str
    old: tuple[bool, ...] = (True, True)
    __hash__ = State.__hash__
    role: str = "master"
    run: int = 1
    replid: int = 1
    replid2: int = 0
    offset: int = 10
    begins: int = -1
    netin: int = 0
    link: bool = True
    writable: bool = False
    own: bool = False
    calls: tuple[tuple[str, int], ...] = ()
    backlog: bool = False
    file: Saved | None = None
    saving: Saved | None = None
    stamp: int = -100
    skew: int = 0
    saves: int = 0
    loaded: int = 0
    aof: bool = False
    log: bool | None = None
    rewriting: bool | None = None
    base: int = 50
    size: int = 60
    rewrites: int = 0
    version: str = "7.0.15"

    def called(self, *commands):
        """The server after these commands were counted; before 7.0 without their second word."""
        counted = dict(self.calls)
        for command in commands:
            name = command if self.version >= "7" else command.partition("|")[0]
            counted[name] = counted.get(name, 0) + 1
        return replace(self, calls=tuple(sorted(counted.items())))

    def reset(self):
        """The server after CONFIG RESETSTAT."""
        one = replace(self, calls=(), saves=0, rewrites=0, netin=0)
        return one.called("config|resetstat")

    def watched(self):
        """The server after the canary was called, if it was not counted often enough."""
        name = "cluster|myid" if self.version >= "7" else "cluster"
        counted = dict(self.calls)
        if counted.get(name, 0) >= CANARY_CALLS:
            return self
        counted[name] = counted.get(name, 0) + CANARY_CALLS
        return replace(self, calls=tuple(sorted(counted.items())))

    def wrote(self, old):
        """The server after a write that leaves these values."""
        one = replace(self, old=old)
        if self.backlog:
            one = replace(one, offset=self.offset + 1)
        if self.aof:
            grown = {"log": self.log or any(old), "size": self.size + 10}
            grown["rewriting"] = None if self.rewriting is None else self.rewriting or any(old)
            one = replace(one, **grown)
        return one

    @property
    def snapshot(self):
        """What a save that begins now will hold; without a backlog it does not say whose it is."""
        if not self.backlog:
            return Saved(self.old)
        return Saved(self.old, self.replid, self.offset)


@cache
def look(minutes, server):
    """The look at a server at that time."""
    if server.role == "dead":
        return away(minutes, server.name)
    make = primary if server.role == "master" else replica
    counted = dict(server.calls)
    name = "cluster|myid" if server.version >= "7" else "cluster"
    counted.setdefault(name, 0)
    facts = {
        "run_id": f"run-{server.run}",
        "master_replid": f"id-{server.replid}",
        "master_replid2": f"id-{server.replid2}" if server.replid2 else NONE,
        "master_repl_offset": server.offset,
        "second_repl_offset": server.begins,
        "slave_repl_offset": server.offset,
        "slave_read_only": int(not server.writable),
        "master_link_status": "up" if server.link else "down",
        "rdb_last_save_time": server.stamp,
        "rdb_bgsave_in_progress": int(server.saving is not None),
        "aof_enabled": int(server.aof),
    }
    if server.aof:
        facts |= {
            "aof_base_size": server.base,
            "aof_current_size": server.size,
            "aof_rewrite_in_progress": int(server.rewriting is not None),
        }
    if server.version >= "7":
        facts |= {
            "total_net_repl_input_bytes": server.netin,
            "rdb_saves": server.saves,
            "rdb_last_load_keys_loaded": server.loaded,
            "aof_rewrites": server.rewrites,
        }
    return make(minutes, server.name, server.version, calls=counted, **facts)


@dataclass(frozen=True, slots=True)
class Sweep:
    """Sweep: what one sweep of a cache did; *proof* are the looks before and after, if it is."""

    begun: int
    ended: int
    met: int
    complete: bool = True
    resumed: bool = False
    proof: tuple | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules: what the tool does; a mutant leaves one of them out."""

    tracking: bool = True
    identity: bool = True
    resumed_proves: bool = False
    canary: bool = True
    other_cache: bool = True
    looks_at_replicas: bool = True


@dataclass(frozen=True)
class World(State):
    """
    World: the servers, what the tool has kept, and what happened.

    *looks* are pairs of minute and server. *wrote* is when an application last wrote with the key.
    *fence* is when it was declared that none does. *odd* events have happened, *most* may, each
    *more* often than in a small world. *cursor* is where a sweep is, -1: there is none. *other*
    says of the second cache whether it has values under the key, None: there is none.
    """

    servers: tuple[Server, ...]
    __hash__ = State.__hash__
    rules: Rules = Rules()
    files: bool = True
    declared: Declarations = field(default=Declarations(), compare=False)
    clock: int = 1
    fresh: int = 100
    looks: tuple = ()
    sweeps: tuple[Sweep, ...] = ()
    wrote: int = 0
    fence: int | None = None
    done: tuple[tuple[str, int], ...] = ()
    regions: tuple[int, ...] = (0, 1)
    cursor: int = -1
    stopped: bool = False
    resumed: bool = False
    met: int = 0
    begun: tuple | None = None
    touched: frozenset = frozenset()
    other: bool | None = None
    other_sweeps: tuple[Sweep, ...] = ()
    judged: bool = False
    odd: int = 0
    most: int = 3
    more: int = 0

    # What happens

    def server(self, name):
        """The server of that name."""
        return next(one for one in self.servers if one.name == name)

    @property
    def leader(self):
        """The primary that owns the data."""
        return next(one for one in self.servers if one.role == "master")

    def put(self, *changed, **more):
        """The world with these servers instead of those of their names."""
        names = {one.name: one for one in changed}
        servers = tuple(names.get(one.name, one) for one in self.servers)
        return replace(self, servers=servers, judged=False, **more)

    def counted(self, event):
        """The world, in which that event has happened once more."""
        done = dict(self.done)
        done[event] = done.get(event, 0) + 1
        odd = self.odd + (event not in OWN)
        return replace(self, done=tuple(sorted(done.items())), odd=odd)

    def may(self, event, times=1):
        """Whether an event may still happen."""
        if event not in OWN and self.odd >= self.most:
            return False
        return self.times(event) < times + self.more

    def times(self, event):
        """How often that event has happened."""
        return dict(self.done).get(event, 0)

    def write_old(self, number):
        """An application that still has the old key writes the value of a name."""
        one = self.leader
        old = tuple(value or place == number for place, value in enumerate(one.old))
        touched = self.touched | {number} if self.cursor >= 0 else self.touched
        return self.put(one.wrote(old), wrote=self.clock, touched=touched)

    def renew(self):
        """An application writes all values anew, with the current key."""
        return self.put(self.leader.wrote((False, False)))

    def rename(self):
        """The value of the second region gets a name in the first one."""
        touched = self.touched | {1} if self.cursor >= 0 else self.touched
        return self.put(self.leader.wrote(self.leader.old), regions=(0, 0), touched=touched)

    def reload(self):
        """DEBUG RELOAD NOSAVE: the file is loaded again."""
        one = self.leader
        back = one.file.old if one.file else (False, False)
        return self.put(replace(one, old=back).called("debug"))

    def restart(self, name, *, aof=None):
        """A primary is started again, from its append-only file if it keeps one, else the RDB."""
        one, aof = self.server(name), self.server(name).aof if aof is None else aof
        saved = one.file or Saved((False, False))
        old = one.old if aof else saved.old
        known = saved.replid if one.version >= "7" and not aof else 0
        log = one.log
        if aof and log is None:
            log = any(old)
        begun = Server(
            one.name, old, run=self.fresh, replid=self.fresh + 1, replid2=known,
            offset=saved.offset if known else 0, begins=saved.offset + 1 if known else -1,
            backlog=bool(known), file=one.file, stamp=self.clock + one.skew, skew=one.skew,
            loaded=5 if aof or one.file else 0, aof=aof, log=log, base=one.base, size=one.size,
            version=one.version,
        )  # fmt: skip
        return self.put(begun, fresh=self.fresh + 2)

    def replicate(self, name):
        """A replica gets all that its primary has: the rest of the stream, or a full sync."""
        one, leader, fresh = self.server(name), self.leader, self.fresh
        if not leader.backlog:  # its first replica: there is a backlog, and a new history
            leader, fresh = replace(leader, backlog=True, replid=fresh), fresh + 1
        if one.replid == leader.replid:
            old = tuple(value or (one.own and not place) for place, value in enumerate(leader.old))
            one = one.wrote(old)
        else:
            one = replace(one, old=leader.old, own=False, file=leader.snapshot, loaded=5,
                          replid=leader.replid, replid2=0)  # fmt: skip
        one = replace(one, offset=leader.offset, netin=10, link=True)
        return self.put(one, leader, fresh=fresh)

    def promote(self, name, *, dead):
        """A replica becomes the primary; the one before is dead, or follows it."""
        before, one = self.leader, self.server(name)
        new = replace(one, role="master", replid=self.fresh, replid2=one.replid, backlog=True,
                      begins=one.offset + 1).called("replicaof")  # fmt: skip
        if dead:
            return self.put(new, replace(before, role="dead"), fresh=self.fresh + 1)
        old = replace(before, role="slave", link=False).called("replicaof")
        return self.put(new, old, fresh=self.fresh + 1)

    def astray(self, name):
        """A server follows one with older data for a while, has it saved, and comes back."""
        one = replace(self.server(name), old=(True, True), netin=self.server(name).netin + 10)
        one = one.called("replicaof", "replicaof")
        if one.role == "slave":
            return self.put(self.saved(one)).replicate(name)
        known = {"replid": self.fresh, "replid2": self.fresh + 1, "begins": 5, "offset": 5}
        return self.put(replace(one, backlog=True, **known), fresh=self.fresh + 2)

    def backlog_freed(self):
        """The last replica is long gone, or the first one comes: the history has a new name."""
        one = replace(self.leader, replid=self.fresh, replid2=0, begins=-1)
        return self.put(one, fresh=self.fresh + 1)

    def saved(self, one):
        """A server after a save from beginning to end."""
        return self.save_ended(self.save_begun(one))

    def save_begun(self, one):
        """A server whose child has begun to save."""
        return replace(one, saving=one.snapshot, saves=one.saves + 1)

    def save_ended(self, one):
        """A server whose child has saved; the time of it is that of the server's own clock."""
        return replace(one, file=one.saving, saving=None, stamp=self.clock * 2 + one.skew)

    def own_write(self, one):
        """A replica that was made writable, and has taken a value under the key."""
        own = replace(one.wrote((True, *one.old[1:])), writable=True, own=True)
        return own.called("config|set")

    def children_end(self, name):
        """Whatever a server's children are writing is written."""
        one = self.server(name)
        one = self.save_ended(one) if one.saving else one
        if one.rewriting is not None:
            size = one.base + 1
            one = replace(one, log=one.rewriting, rewriting=None, base=size, size=size)
        return self.put(one)

    def files_anew(self, name):
        """A server saves, and rewrites its append-only file after one more write."""
        one = self.children_end(name).server(name)
        one = self.saved(one)
        if one.aof:
            one = replace(one, log=any(one.old), base=one.base + 1,
                          size=one.base + 1, rewrites=one.rewrites + 1)  # fmt: skip
        return self.put(one)

    def saved_elsewhere(self, one):
        """A server that was told to save to a file of another name, and told back."""
        one = replace(one, saves=one.saves + 1, stamp=self.clock * 2 + one.skew)
        return one.called("config|set", "bgsave", "config|set")

    # What the tool does

    def see(self, *names):
        """The world after a look at these servers."""
        looks, clock = self.looks, self.clock
        for name in names:
            looks, clock = (*looks, (clock, self.server(name))), clock + 1
        return replace(self, looks=looks, clock=clock)

    def see_all(self):
        """
        The world after a look at every server, the primary last; then the canary is called.

        Not before: it would hide that it was gone.
        """
        names = [one.name for one in self.servers if one.role != "master"]
        if not self.rules.looks_at_replicas:
            names = []
        world = self.see(*names, self.leader.name)
        return world.put(*map(Server.watched, world.servers)) if world.rules.canary else world

    def run(self):
        """The world after a whole run: what is under the key is moved, and then it is proven."""
        world, sweeps = self.see_all(), list(self.sweeps)
        if met := sum(world.leader.old):
            moved = world.leader.wrote((False,) * len(world.leader.old))
            sweeps.append(Sweep(world.clock, world.clock, met))
            world = replace(world.put(moved), clock=world.clock + 1)
        world = world.see(world.leader.name)
        before = world.looks[-1]
        world = world.see(*(one.name for one in world.servers if one.role == "master"))
        sweeps.append(Sweep(before[0], world.clock, 0, proof=world.proven(before)))
        if world.rules.looks_at_replicas:
            world = world.see(*(one.name for one in world.servers if one.role != "master"))
        return replace(world, sweeps=tuple(sweeps), judged=True)

    def proven(self, before):
        """The looks before and after, if the server was one and the same in between."""
        after = self.looks[-1]
        if self.rules.identity and broken_between(look(*before), look(*after)):
            return None
        return before, after

    def begin(self, *, resumed=False):
        """A sweep begins, or goes on where the last one was stopped."""
        world = self.see_all().see(self.leader.name)
        return replace(
            world, cursor=1 if resumed else 0, resumed=resumed, met=0, touched=frozenset(),
            begun=world.looks[-1], stopped=False, judged=False,
        )  # fmt: skip

    def page(self):
        """A page is read: what is under the key is moved."""
        here = [place for place, region in enumerate(self.regions) if region == self.cursor]
        return replace(self.moved(here), cursor=self.cursor + 1)

    def moved(self, places):
        """The world after the values at these places were moved, if they were under the key."""
        met = [place for place in places if self.leader.old[place]]
        if not met:
            return self
        old = tuple(value and place not in met for place, value in enumerate(self.leader.old))
        return self.put(self.leader.wrote(old), met=self.met + len(met))

    def stop(self):
        """A sweep is stopped after its first page."""
        swept = Sweep(self.begun[0], self.clock, self.met, complete=False, resumed=self.resumed)
        return replace(
            self, cursor=-1, stopped=True, clock=self.clock + 1, sweeps=(*self.sweeps, swept)
        )

    def finish(self):
        """A sweep ends: what was written meanwhile is read again, and the key is judged."""
        world = self.moved(self.touched) if self.rules.tracking else self
        world = world.see(world.leader.name)
        proven = None
        if not world.met and (world.rules.resumed_proves or not world.resumed):
            proven = world.proven(world.begun)
        if world.rules.looks_at_replicas:
            world = world.see(*(one.name for one in world.servers if one.role != "master"))
        swept = Sweep(world.begun[0], world.clock, world.met, resumed=world.resumed, proof=proven)
        return replace(
            world, cursor=-1, clock=world.clock + 1, sweeps=(*world.sweeps, swept), judged=True
        )

    def sweep_other(self):
        """The second cache is swept: what is under the key there is moved."""
        swept = Sweep(self.clock, self.clock + 1, int(self.other))
        return replace(self, other=False, other_sweeps=(*self.other_sweeps, swept),
                       clock=self.clock + 2, judged=True)  # fmt: skip

    # What is true, and what is said

    def holding(self):
        """The places that have a value under the key, as they are."""
        found = []
        for one in self.servers:
            if any(one.old) and one.role != "dead":
                found.append(f"memory of {one.name}")
            if not self.files:
                continue
            if any(any(file.old) for file in (one.file, one.saving) if file):
                found.append(f"RDB file of {one.name}")
            if one.log or one.rewriting:
                found.append(f"append-only file of {one.name}")
        return found + ["the second cache"] * bool(self.other)

    def judgement(self):
        """What the product says of the key."""
        cases = [self.evidence()]
        if self.other is not None and self.rules.other_cache:
            cases.append(self._other_evidence())
        said = judging.judge(cases, now=at(self.clock), quiet=QUIET)
        return said["shared-redis"]

    def wrong(self):
        """Why what is said is false; None: it is not, or what it assumes does not hold."""
        holding = self.holding()
        if not holding:
            return None
        said = self.judgement()
        if said.verdict is not Verdict.RETIRABLE:
            return None
        for place in said.places:
            if place.kind is Kind.WRITERS and place.status is Status.ASSUMED:
                since = datetime.fromisoformat(f"{place.evidence[-20:-4]}+00:00")
                if at(self.wrote) > since:
                    return None
        return f"said to be retirable, and it is in {', '.join(holding)}"

    def evidence(self):
        """All that the product knows of the cache."""
        records = [_record(one) for one in self.sweeps]
        history = KeyHistory()
        for record in records:
            history = fold(history, record, KEY)
        complete = [one for one in records if one.complete]
        sweep, check = (*complete[-1:], None)[0], None
        if len(complete) > 1 and complete[-1].mode is Mode.VERIFY and complete[-2].keys[KEY].found:
            sweep, check = complete[-2:]
        proofs = [one.proof for one in self.sweeps if one.proof]
        fence = None
        if self.fence is not None:
            fence = Fence(at(self.fence), "0" * 16, (KEY,), at(self.fence))
        return evidence(
            proofs=[proof(look(*before), look(*after)) for before, after in proofs],
            looks=[look(*one) for one in self.looks],
            sweep=sweep, verification=check, history=history, fence=fence, declared=self.declared,
            primaries=(self.leader.name,),
        )  # fmt: skip

    def _other_evidence(self):
        """All that the product knows of the second cache, a server without a replica or a file."""
        name = "other-redis:6379"
        looks, proofs, records = [], [], []
        for swept in self.other_sweeps:
            pair = [primary(one, name, run_id="run-o") for one in (swept.begun, swept.ended)]
            looks += pair
            proofs += [] if swept.met else [proof(*pair)]
            records.append(_record(swept))
        history = KeyHistory()
        for record in records:
            history = fold(history, record, KEY)
        return evidence(proofs=proofs, looks=looks, sweep=(records or [None])[-1], history=history,
                        cache="other-redis", primaries=(name,))  # fmt: skip


@cache
def _record(swept):
    """The record of a sweep; one that proves is told from one that worked."""
    times = {"first_seen_at": at(swept.begun), "last_seen_at": at(swept.ended)}
    return SweepRecord(
        cache="shared-redis", mode=Mode.RUN if swept.met else Mode.VERIFY,
        started_at=at(swept.begun), finished_at=at(swept.ended), complete=swept.complete,
        current="0" * 16, keys={KEY: KeySeen(swept.met, **times) if swept.met else KeySeen()},
        proven=swept.proof is not None, resumed=swept.resumed, opened=5, primaries=(PRIMARY,),
    )  # fmt: skip


def alone(**more):
    """A primary without a replica, with an RDB file that has values under the key."""
    known = {"file": Saved((True, True)), "saves": 1}
    return Server(PRIMARY, **{**known, **more})


def pair(**more):
    """A primary and a replica that has caught up, both without files."""
    leader = Server(PRIMARY, backlog=True, **more)
    return leader, Server(REPLICA, role="slave", run=2, netin=10, loaded=5, **more)


__all__ = ["FIELD", "Rules", "Saved", "Server", "World", "alone", "look", "pair"]
