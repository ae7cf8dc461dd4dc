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
- A rewrite under way at the first look, from 7.0 on: the counter rises when one begins.
- The counter of rewrites beside the sizes: only a rewrite moves those as they have to move.
"""

from collections import deque
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from unittest.mock import patch

import pytest

from rotator.retirement import judge, lineage, names, persistence, replicas
from rotator.retirement.lineage import Ancestry, number
from rotator.retirement.places import Declarations, Kind, Verdict
from support.looks import PRIMARY, REPLICA, at
from support.world import Rules, Saved, World, alone, pair

NO_FILES = Declarations(rdb="the model", aof="the model")


def once(world, event, times=1):
    """Whether an event may still happen."""
    return world.times(event) < times


def moves_of_names(world):
    """A sweep page by page, and an application that writes and renames meanwhile."""
    yield from moves_of_a_sweep(world)
    if world.fence is None and once(world, "old write"):
        for place in (0, 1):
            yield f"old value at {place}", world.counted("old write").write_old(place)
    if world.fence is None and world.cursor < 0 and once(world, "fence"):
        yield "fence", replace(world.counted("fence"), fence=world.clock, judged=True)
    if once(world, "rename"):
        yield "rename to the first region", world.counted("rename").rename()
    if once(world, "reload"):
        yield "DEBUG RELOAD NOSAVE", world.counted("reload").reload()


def moves_of_a_sweep(world):
    """What a sweep can do next."""
    if world.cursor < 0 and once(world, "sweep", 3):
        yield "sweep begins", world.counted("sweep").begin()
        if world.stopped:
            yield "sweep goes on", world.counted("sweep").begin(resumed=True)
    if world.cursor in {0, 1}:
        yield f"page {world.cursor}", world.page()
    if world.cursor == 1 and not world.resumed and once(world, "stop"):
        yield "sweep is stopped", world.counted("stop").stop()
    if world.cursor == 2:
        yield "sweep ends", world.finish()


def moves_of_counters(world):
    """Whole runs, old data that a DEBUG brings back, and counters that are reset."""
    if once(world, "run", 3):
        yield "run", world.counted("run").run()
    if once(world, "reload"):
        yield "DEBUG RELOAD NOSAVE", world.counted("reload").reload()
    if once(world, "reset", 2):
        yield "CONFIG RESETSTAT", world.counted("reset").put(world.leader.reset())
    if once(world, "stray"):
        yield "REPLICAOF other, NO ONE", world.counted("stray").astray(PRIMARY)
    if once(world, "free"):
        yield "backlog freed", world.counted("free").backlog_freed()
    if once(world, "restart"):
        yield "restart", world.counted("restart").restart(PRIMARY)
    if once(world, "save"):
        yield "BGSAVE", world.counted("save").put(world.saved(world.leader))
    if any(world.leader.old) and once(world, "anew"):
        yield "values are written anew", world.counted("anew").renew()


def moves_of_caches(world):
    """Whole runs over one cache, and over another that lists the key."""
    if once(world, "run", 3):
        yield "run", world.counted("run").run()
    if once(world, "other", 3):
        yield "run over the other cache", world.counted("other").sweep_other()


def moves_of_replicas(world):
    """Whole runs, a replica that lags, and what becomes of both."""
    if once(world, "run", 3):
        yield "run", world.counted("run").run()
    yield from moves_of_writes(world)
    for one in world.servers:
        if one.role == "slave":
            yield from moves_of_a_replica(world, one)
    if once(world, "stray"):
        yield "REPLICAOF other, NO ONE", world.counted("stray").astray(world.leader.name)
    if once(world, "free"):
        yield "backlog freed", world.counted("free").backlog_freed()


def moves_of_writes(world):
    """What an application that has the current key may write."""
    one = world.leader
    if once(world, "more"):
        yield "another write", world.counted("more").put(one.wrote(one.old))
    if any(one.old) and once(world, "anew"):
        yield "values are written anew", world.counted("anew").renew()


def moves_of_a_replica(world, one):
    """What may become of a replica."""
    yield f"{one.name} catches up", world.replicate(one.name)
    if one.link and once(world, "down"):
        down = replace(one, link=False)
        yield f"{one.name} loses its link", world.counted("down").put(down)
    if once(world, "promoted", 2):
        promoted = world.counted("promoted")
        yield f"{one.name} promoted", promoted.promote(one.name, dead=False)
        yield f"{one.name} promoted, the other dead", promoted.promote(one.name, dead=True)
    if once(world, "own"):
        own = world.own_write(one)
        yield f"{one.name} takes a write of its own", world.counted("own").put(own)
    if once(world, "reload"):
        old = replace(one, old=(True, True)).called("debug")
        yield f"DEBUG RELOAD on {one.name}", world.counted("reload").put(old)


def moves_of_files(world):
    """Whole runs, and all that happens to files of one server."""
    one = world.leader
    if once(world, "run", 3):
        yield "run", world.counted("run").run()
    yield from moves_of_writes(world)
    if world.declared.rdb is None:
        yield from moves_of_saves(world, one)
    if one.log is not None:
        yield from moves_of_a_log(world, one)
    if once(world, "restart") and (one.aof or one.log is None or world.looks):
        yield "restart", world.counted("restart").restart(PRIMARY)
    if once(world, "reset"):
        yield "CONFIG RESETSTAT", world.counted("reset").put(one.reset())


def moves_of_saves(world, one):
    """What a server's child, and the settings, may do to its RDB file."""
    if one.saving is None and once(world, "save", 2):
        yield "BGSAVE begins", world.counted("save").put(world.save_begun(one))
    if one.saving is not None:
        yield "BGSAVE ends", world.put(world.save_ended(one))
        yield "BGSAVE is ended by SIGUSR1", world.put(replace(one, saving=None))
    if once(world, "elsewhere"):
        yield "BGSAVE elsewhere", world.counted("elsewhere").put(world.saved_elsewhere(one))


def moves_of_a_log(world, one):
    """
    What may become of an append-only file.

    One that was switched off before it was ever seen is an assumption of every verdict; before 7.0
    also if this process did it, for its CONFIG SET cannot be told from a CONFIG GET.
    """
    if one.aof and one.rewriting is None and once(world, "rewrite", 2):
        begun = replace(one, rewriting=any(one.old), rewrites=one.rewrites + 1)
        yield "BGREWRITEAOF begins", world.counted("rewrite").put(begun)
    if one.rewriting is not None:
        size = one.base + 1
        done = replace(one, log=one.rewriting, rewriting=None, base=size, size=size)
        yield "BGREWRITEAOF ends", world.put(done)
        yield "BGREWRITEAOF is ended by SIGUSR1", world.put(replace(one, rewriting=None))
    if one.aof and once(world, "off") and (world.looks or one.version >= "7"):
        off = replace(one, aof=False, rewriting=None).called("config|set")
        yield "appendonly no", world.counted("off").put(off)
    if one.aof and once(world, "restart") and world.looks:
        off = world.counted("restart").restart(PRIMARY, aof=False)
        yield "restart without the append-only file", off


def moves_of_replica_files(world):
    """Whole runs, and all that happens to the file of a replica."""
    one = world.server(REPLICA)
    if once(world, "run", 3):
        yield "run", world.counted("run").run()
    if once(world, "more"):
        yield "another write", world.counted("more").put(world.leader.wrote(world.leader.old))
    yield "catches up", world.replicate(REPLICA)
    if once(world, "save", 2):
        yield "replica saves", world.counted("save").put(world.saved(one))
    if world.leader.file and once(world, "saved"):
        yield "primary saves", world.counted("saved").put(world.saved(world.leader))
    if once(world, "stray"):
        yield "replica follows another, and comes back", world.counted("stray").astray(REPLICA)
    if once(world, "reset", 2):
        yield "CONFIG RESETSTAT on the replica", world.counted("reset").put(one.reset())
    if once(world, "restart"):
        file = one.file or Saved((False, False))
        begun = replace(one, old=file.old, offset=file.offset, run=world.fresh, calls=(), netin=0,
                        link=False, saves=0, stamp=world.clock * 2)  # fmt: skip
        yield (
            "replica restarts",
            replace(world.counted("restart").put(begun), fresh=world.fresh + 1),
        )


@dataclass(frozen=True)
class Small:
    """Small world: how it begins, what may happen (*odd* of it at once), and a good history."""

    begins: World
    moves: object
    ordinary: tuple[str, ...]
    odd: int = 3


LEADER, FOLLOWER = pair()
SERVING = World((LEADER, FOLLOWER), files=False, declared=NO_FILES)
ALONE = World((alone(saves=0),), files=False, declared=NO_FILES)
ON_DISK = World(
    (alone(backlog=True, file=Saved((True, True), 1, 10)),),
    fence=0,
    declared=Declarations(aof="the model"),
)
# Its counters were reset once: that hides what comes later.
RESET = replace(ON_DISK, servers=(ON_DISK.servers[0].reset(),))
NEVER_SAVED = replace(LEADER, backlog=True)
SWEEP = ("sweep begins", "page 0", "page 1", "sweep ends")
SAVE = ("BGSAVE begins", "BGSAVE ends")
WORLDS = {
    "names": Small(ALONE, moves_of_names, SWEEP * 3),
    "counters": Small(RESET, moves_of_counters, ("run", "BGSAVE", "run"), 4),
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
            if after in states or after.odd > small.odd:
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


REAL_GONE, REAL_FOLLOWS = names.gone_from, replicas.why_not_follows


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


REAL_SERVER = judge.Server


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
    "verdict not tied to the lineage": Mutant(("counters",), ((names, "ancestry", _all_looks),)),
    "no canary": Mutant(("counters",), ((lineage, "CANARY_CALLS", 0),), Rules(canary=False)),
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
        ("replicas",), ((judge, "replica_place", _by_its_primary),)
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
        ((replicas, "why_not_follows", _follows(slave_read_only=lambda _: "1")),),
    ),
    "a replica that was interrupted": Mutant(
        ("files of a replica",), ((replicas, "_interrupted", no),)
    ),
    "a replica's reset is not asked for": Mutant(
        ("files of a replica before 7.0",), ((replicas, "reset_between", lambda *_: None),)
    ),
    "a replica's file from before it caught up": Mutant(
        ("files of a replica",), ((judge, "caught_up", lambda looks, *_: list(looks)),)
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
        ("files",), ((judge, "Server", _begun_clean),)
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
def test_every_guard_is_needed(name):
    """Without the guard there is a history that makes a verdict false; CAUGHT keeps it."""
    mutant = MUTANTS[name]
    for small in (WORLDS[world] for world in mutant.worlds):
        with left_out(mutant):
            found, states = explore(
                replace(small, begins=replace(small.begins, rules=mutant.rules))
            )
        assert found, f"no history of {states:,} states catches: {name}"
        CAUGHT[name] = found


def test_places():
    """The kinds of places that the model has no part of are those that a server says outright."""
    world = replace(WORLDS["files"].begins, fence=None).run()
    shown = {place.kind for place in world.judgement().places}
    assert set(Kind) - shown == {Kind.BACKUP_COMMAND, Kind.REPLICA, Kind.CACHES}
