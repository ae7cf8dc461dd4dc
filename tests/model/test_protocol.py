"""
The protocol behind a verdict as a small model: all histories of it are tried.

Small worlds of servers, files, an application and the tool; each event happens at most once or
twice. Whenever the product's own `judge` says `retirable`, and what it names as an assumption
holds, no place has a value under the key. For each guard there is a mutant without it, and a
history that catches the mutant. Guards that no mutant needs, because others stand behind them:

- The quiet time, and the second proof after it: the sentence names the begin of the first proof as
  the moment since which no application has written with the key, and with that assumption the
  first proof is enough. They make the assumption likely.
- A proof must have begun after the key was last met: in one lineage a value can only come back if
  somebody writes it, against the same assumption. It turns a false assumption into a fact.
- The process that answers now is the one that was proven: the lineage alone is sound, as the
  history of a restart or a promotion must begin beyond what was noted. It costs a run.
- Link, synchronization and loading of a replica: its history and its offset already exclude what
  it shows then. They are kept, for an offset is passed on before memory is what it says.
- What a primary read from another server: no world has two primaries, between which slots move.
What no server can say is no event of these worlds: DEBUG RELOAD in a process that ends before
anybody looks, an append-only file that was switched off before, and what verdict.md names besides.

- A rewrite under way at the first look, from 7.0 on: the counter rises when one begins.
- The counter of rewrites beside the sizes: only a rewrite moves those as they have to move.
"""

from collections import deque
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from unittest.mock import patch

import pytest

from rotator.retirement import copies, judge, lineage, looks, persistence, replicas
from rotator.retirement.lineage import Ancestry
from rotator.retirement.looks import number
from rotator.retirement.places import Declarations, Kind, Verdict
from support.looks import REPLICA, at
from support.moves import (
    moves_of_caches,
    moves_of_counters,
    moves_of_files,
    moves_of_names,
    moves_of_replica_files,
    moves_of_replicas,
)
from support.world import Rules, Saved, World, alone, pair

NO_FILES = Declarations(rdb="the model", aof="the model")


@dataclass(frozen=True)
class Small:
    """Small world: how it begins, what may happen, and an ordinary history of it."""

    begins: World
    moves: object
    ordinary: tuple[str, ...]


LEADER, FOLLOWER = pair()
SERVING = World((LEADER, FOLLOWER), files=False, declared=NO_FILES)
ALONE = World((alone(saves=0),), files=False, declared=NO_FILES)
ON_DISK = World(
    (alone(backlog=True, file=Saved((True, True), 1, 10)),),
    fence=0,
    declared=Declarations(aof="the model"),
)
# Its counters were reset once: that hides what comes later.
RESET = replace(ON_DISK, most=4, servers=(ON_DISK.servers[0].reset(),))
NEVER_SAVED = replace(LEADER, backlog=True)
SWEEP = ("sweep begins", "page 0", "page 1", "sweep ends")
SAVE = ("BGSAVE begins", "BGSAVE ends")
WORLDS = {
    "names": Small(ALONE, moves_of_names, SWEEP * 3),
    "counters": Small(RESET, moves_of_counters, ("run", "BGSAVE", "run")),
    "caches": Small(
        replace(ALONE, other=True),
        moves_of_caches,
        ("run", "run", *("run over the other cache",) * 3),
    ),
    "replicas": Small(
        replace(SERVING, fence=0), moves_of_replicas, ("run", f"{REPLICA} catches up", "run")
    ),
    "files": Small(ON_DISK, moves_of_files, ("run", *SAVE, "run")),
    "files before 7.0": Small(
        replace(ON_DISK, servers=(replace(ON_DISK.servers[0], version="6.2.14"),)),
        moves_of_files,
        ("run", *SAVE, "run"),
    ),
    "append-only file": Small(
        World((alone(file=None, saves=0, aof=True, log=True),), fence=0,
              declared=Declarations(rdb="the model")),
        moves_of_files,
        ("run", "BGREWRITEAOF begins", "BGREWRITEAOF ends", "run"),
    ),
    "append-only file before 7.0": Small(
        World((alone(file=None, saves=0, aof=True, log=True, version="6.2.14"),), fence=0,
              declared=Declarations(rdb="the model")),
        moves_of_files,
        ("run", "BGREWRITEAOF begins", "BGREWRITEAOF ends", "run"),
    ),
    "never saved": Small(
        World((alone(file=None, saves=0),), fence=0), moves_of_files, ("run",)
    ),
    "files of a replica": Small(
        World((NEVER_SAVED, replace(FOLLOWER, file=Saved((True, True), 1, 5))), fence=0),
        moves_of_replica_files,
        ("run", "catches up", "run", "replica saves", "run"),
    ),
    "files of a replica before 7.0": Small(
        World(
            tuple(replace(one, version="6.2.14", file=Saved((True, True)), stamp=-50).reset()
                  for one in (NEVER_SAVED, FOLLOWER)),
            fence=0,
        ),
        moves_of_replica_files,
        ("run", "catches up", "primary saves", "run", "replica saves", "run"),
    ),
}  # fmt: skip


def explore(small, most=10**6):
    """Return the shortest history that makes a verdict false, None if there is none; and states."""
    states = {small.begins: None}
    waiting = deque([small.begins])
    while waiting:
        world = waiting.popleft()
        for label, after in small.moves(world):
            if after in states:
                continue
            states[after] = (world, label)
            if after.judged and (why := after.wrong()):
                return f"{' > '.join(history(states, after))}: {why}", len(states)
            if after.times("run") < 3 or not after.judged:
                waiting.append(after)
            assert len(states) < most
    return None, len(states)


def history(states, world):
    """The labels of the steps that led to a state."""
    steps = []
    while states[world]:
        world, label = states[world]
        steps.append(label)
    return steps[::-1]


@pytest.mark.parametrize("name", WORLDS)
def test_no_history_makes_a_verdict_false(name):
    """Whatever happens, what is said to be retirable is nowhere."""
    found, states = explore(WORLDS[name])
    assert found is None
    assert states > 50


@pytest.mark.parametrize("name", WORLDS)
def test_an_ordinary_history_ends(name):
    """Where nothing odd happens the key is said to be retirable in the end."""
    world = WORLDS[name].begins
    for step in WORLDS[name].ordinary:
        world = dict(WORLDS[name].moves(world))[step]
    said = world.judgement()
    assert said.verdict is Verdict.RETIRABLE, said.reasons
    assert not world.holding()


# What is left out, and the world in which that shows.


def _all_looks(looks, now, **_):
    """A lineage without a break, whatever happened."""
    mine = tuple(one for one in looks if one.address == now.address and one.at <= now.at)
    return Ancestry(tuple(one for one in looks if one.at <= now.at), mine)


def _saved_by_clock(good):
    """A save counts if its time is later than the first look."""
    for one in good:
        minutes = (good[0].at - at(0)).total_seconds() // 60
        if (number(one, "rdb_last_save_time") or 0) >= minutes * 2:
            return one.at
    return None


def _rises(fact):
    """What counts where only a counter is asked."""

    def seen(good):
        for one in good:
            if (number(one, fact) or 0) > (number(good[0], fact) or 0):
                return one.at
        return None

    return seen


def _without_commands(*left_out):
    """The rule that does not ask for these commands."""
    real = lineage.called_between

    def called(before, after, *commands):
        return real(before, after, *(one for one in commands if one not in left_out))

    return called


def _without_fence(case, quiet):
    """Proofs that began before the fence count, too."""
    return REAL_GONE(replace(case, fence=None), quiet)


REAL_GONE, REAL_FOLLOWS = lineage.gone_from, replicas.why_not_follows


def _follows(**instead):
    """A replica is believed to be as it should be, in these fields."""

    def why(look, primary_look, offset):
        facts = {**look.facts, **{name: text(primary_look) for name, text in instead.items()}}
        return REAL_FOLLOWS(replace(look, facts=facts), primary_look, offset)

    return why


def _any_offset(look, primary_look, _offset):
    """A replica is believed to have all, however far it is."""
    return REAL_FOLLOWS(look, primary_look, 0)


def _by_its_primary(server, primary_look, _offset):
    """A replica is believed to be what its primary says."""
    everything = replace(server, good=(server.last,))
    return REAL_PLACE(everything, primary_look, 0)


REAL_PLACE = replicas.replica_place


def _history_only(noted, now):
    """Rule 3 without offsets."""
    history = now.facts.get("master_replid2")
    return history == noted.facts.get("master_replid")


def _not_told(real):
    """An append-only file is only where one is kept now."""

    def place(server, declared, gone_at):
        last = replace(server.last, calls={})
        return real(replace(server, looks=(last,)), declared, gone_at)

    return place


REAL_SERVER = copies.Server


def _begun_clean(looks, good=(), _=False):
    """A process is believed to have begun with clean data."""
    return REAL_SERVER(looks, good, began_clean=True)


@dataclass(frozen=True)
class Mutant:
    """Mutant: what is patched or left out of the tool, and in which worlds that has to show."""

    worlds: tuple[str, ...]
    patches: tuple[tuple[object, str, object], ...] = ()
    rules: Rules = field(default_factory=Rules)


def no(*_, **__):
    """Never."""
    return False


MUTANTS = {
    "no tracking of writes during a sweep": Mutant(("names",), rules=Rules(tracking=False)),
    "a resumed sweep proves": Mutant(("names",), rules=Rules(resumed_proves=True)),
    "no identity before and after a sweep": Mutant(("names",), rules=Rules(identity=False)),
    "proofs from before the fence": Mutant(("names",), ((judge, "gone_from", _without_fence),)),
    "verdict not tied to the lineage": Mutant(("counters",), ((lineage, "ancestry", _all_looks),)),
    "no canary": Mutant(("counters",), ((looks, "CANARY_CALLS", 0),), Rules(canary=False)),
    "resets are not asked for": Mutant(
        ("counters",), ((lineage, "reset_between", lambda *_: None),)
    ),
    "DEBUG is not asked for": Mutant(
        ("counters",), ((lineage, "called_between", _without_commands("debug")),)
    ),
    "another history is as good": Mutant(
        ("counters",), ((lineage, "_history_changed", lambda *_: None),)
    ),
    "the other cache is not asked": Mutant(("caches",), rules=Rules(other_cache=False)),
    "rule 3 without an offset": Mutant(
        ("replicas", "files"), ((lineage, "goes_on_from", _history_only),)
    ),
    "a promoted replica may have been written to": Mutant(
        ("replicas",), ((lineage, "_followed_only", lambda *_: True),)
    ),
    "replicas are not asked": Mutant(("replicas",), rules=Rules(looks_at_replicas=False)),
    "a replica is as its primary says": Mutant(
        ("replicas",), ((copies, "replica_place", _by_its_primary),)
    ),
    "a replica's offset is not asked": Mutant(
        ("replicas",), ((replicas, "why_not_follows", _any_offset),)
    ),
    "a replica's history is not asked": Mutant(
        ("replicas",),
        ((replicas, "why_not_follows",
          _follows(master_replid=lambda one: one.facts["master_replid"])),),
    ),
    "a replica may be writable": Mutant(
        ("replicas",),
        (
            (replicas, "why_not_follows", _follows(slave_read_only=lambda _: "1")),
            (replicas, "seen_writable", no),
            (copies, "seen_writable", no),
        ),
    ),
    "a replica that was interrupted": Mutant(
        ("files of a replica",), ((replicas, "_interrupted", no),)
    ),
    "a replica's reset is not asked for": Mutant(
        ("files of a replica before 7.0",), ((replicas, "reset_between", lambda *_: None),)
    ),
    "a replica's file from before it caught up": Mutant(
        ("files of a replica",), ((copies, "caught_up", lambda looks, *_: list(looks)),)
    ),
    "a save by its time": Mutant(("files",), ((persistence, "saved_at", _saved_by_clock),)),
    "a save by its counter": Mutant(("files",), ((persistence, "saved_at", _rises("rdb_saves")),)),
    "a save that was under way": Mutant(("files",), ((persistence, "_quiet", lambda _: True),)),
    "a save elsewhere": Mutant(("files",), ((persistence, "config_set_between", no),)),
    "a save elsewhere, before 7.0": Mutant(
        ("files before 7.0",), ((persistence, "config_set_between", no),)
    ),
    "a file that was loaded is clean": Mutant(
        ("files",),
        ((persistence, "_restarted_clean", lambda server: number(server.last, "loaded") != 0),),
    ),
    "a process that began before the key was gone": Mutant(
        ("files",), ((copies, "Server", _begun_clean),)
    ),
    "no RDB file where none was saved": Mutant(
        ("files", "never saved"), ((persistence, "never_saved", lambda _: True),)
    ),
    "no RDB file where the counter says so": Mutant(
        ("files",),
        ((persistence, "never_saved", lambda looks: number(looks[-1], "rdb_saves") == 0),),
    ),
    "a rewrite by its counter": Mutant(
        ("append-only file",), ((persistence, "rewritten_at", _rises("aof_rewrites")),)
    ),
    "a rewrite that was under way": Mutant(
        ("append-only file before 7.0",), ((persistence, "_at_rest", lambda _: True),)
    ),
    "an append-only file only where one is kept": Mutant(
        ("append-only file",), ((persistence, "aof_place", _not_told(persistence.aof_place)),)
    ),
}  # fmt: skip


@contextmanager
def left_out(mutant):
    """The product without a guard."""
    with ExitStack() as stack:
        for module, name, instead in mutant.patches:
            stack.enter_context(patch.object(module, name, instead))
        yield


@pytest.mark.parametrize("name", MUTANTS)
def test_every_guard_is_needed(name, record_property):
    """Without the guard there is a history that makes a verdict false; the report has it."""
    mutant = MUTANTS[name]
    for small in (WORLDS[world] for world in mutant.worlds):
        with left_out(mutant):
            found, states = explore(
                replace(small, begins=replace(small.begins, rules=mutant.rules))
            )
        assert found, f"no history of {states:,} states catches: {name}"
        record_property("history", found)


def test_places():
    """The kinds of places that the model has no part of are those that a server says outright."""
    world = replace(WORLDS["files"].begins, fence=None).run()
    shown = {place.kind for place in world.judgement().places}
    assert set(Kind) - shown == {Kind.BACKUP_COMMAND, Kind.REPLICA, Kind.CACHES}
