"""What may happen next in a world: each step by its name, and the world after it."""

from dataclasses import replace

from support.looks import PRIMARY, REPLICA
from support.world import Saved


def unseen_debug(world):
    """Whether DEBUG was called since the last look: a restart takes that away for ever."""
    seen = dict(world.looks[-1][1].calls) if world.looks else {}
    return dict(world.leader.calls).get("debug", 0) != seen.get("debug", 0)


def moves_of_names(world):
    """A sweep page by page, and an application that writes and renames meanwhile."""
    yield from moves_of_a_sweep(world)
    if world.fence is None and world.may("old write"):
        for place in (0, 1):
            yield f"old value at {place}", world.counted("old write").write_old(place)
    if world.fence is None and world.cursor < 0 and world.may("fence"):
        yield "fence", replace(world.counted("fence"), fence=world.clock, judged=True)
    if world.may("rename"):
        yield "rename to the first region", world.counted("rename").rename()
    if world.may("reload"):
        yield "DEBUG RELOAD NOSAVE", world.counted("reload").reload()


def moves_of_a_sweep(world):
    """What a sweep can do next."""
    if world.cursor < 0 and world.may("sweep", 3):
        yield "sweep begins", world.counted("sweep").begin()
        if world.stopped:
            yield "sweep goes on", world.counted("sweep").begin(resumed=True)
    if world.cursor in {0, 1}:
        yield f"page {world.cursor}", world.page()
    if world.cursor == 1 and not world.resumed and world.may("stop"):
        yield "sweep is stopped", world.counted("stop").stop()
    if world.cursor == 2:
        yield "sweep ends", world.finish()


def moves_of_counters(world):
    """Whole runs, old data that a DEBUG brings back, and counters that are reset."""
    if world.may("run", 3):
        yield "run", world.counted("run").run()
    if world.may("reload"):
        yield "DEBUG RELOAD NOSAVE", world.counted("reload").reload()
    if world.may("reset", 2):
        yield "CONFIG RESETSTAT", world.counted("reset").put(world.leader.reset())
    if world.may("stray"):
        yield "REPLICAOF other, NO ONE", world.counted("stray").astray(PRIMARY)
    if world.may("free"):
        yield "backlog freed", world.counted("free").backlog_freed()
    if world.may("restart") and not unseen_debug(world):
        yield "restart", world.counted("restart").restart(PRIMARY)
    if world.may("save"):
        yield "BGSAVE", world.counted("save").put(world.saved(world.leader))
    if any(world.leader.old) and world.may("anew"):
        yield "values are written anew", world.counted("anew").renew()


def moves_of_caches(world):
    """Whole runs over one cache, and over another that lists the key."""
    if world.may("run", 3):
        yield "run", world.counted("run").run()
    if world.may("other", 3):
        yield "run over the other cache", world.counted("other").sweep_other()


def moves_of_replicas(world):
    """Whole runs, a replica that lags, and what becomes of both."""
    if world.may("run", 3):
        yield "run", world.counted("run").run()
    yield from moves_of_writes(world)
    for one in world.servers:
        if one.role == "slave":
            yield from moves_of_a_replica(world, one)
    if world.may("stray"):
        yield "REPLICAOF other, NO ONE", world.counted("stray").astray(world.leader.name)
    if world.may("free"):
        yield "backlog freed", world.counted("free").backlog_freed()


def moves_of_writes(world):
    """What an application that has the current key may write."""
    one = world.leader
    if world.may("more"):
        yield "another write", world.counted("more").put(one.wrote(one.old))
    if any(one.old) and world.may("anew"):
        yield "values are written anew", world.counted("anew").renew()


def moves_of_a_replica(world, one):
    """What may become of a replica."""
    yield f"{one.name} catches up", world.replicate(one.name)
    if one.link and world.may("down"):
        down = replace(one, link=False)
        yield f"{one.name} loses its link", world.counted("down").put(down)
    if world.may("promoted", 2):
        promoted = world.counted("promoted")
        yield f"{one.name} promoted", promoted.promote(one.name, dead=False)
        yield f"{one.name} promoted, the other dead", promoted.promote(one.name, dead=True)
    if world.may("own"):
        own = world.own_write(one)
        yield f"{one.name} takes a write of its own", world.counted("own").put(own)
    if world.may("reload"):
        old = replace(one, old=(True, True)).called("debug")
        yield f"DEBUG RELOAD on {one.name}", world.counted("reload").put(old)


def moves_of_files(world):
    """Whole runs, and all that happens to files of one server."""
    one = world.leader
    if world.may("run", 3):
        yield "run", world.counted("run").run()
    yield from moves_of_writes(world)
    if world.declared.rdb is None:
        yield from moves_of_saves(world, one)
    if one.log is not None:
        yield from moves_of_a_log(world, one)
    if world.may("restart") and (one.aof or one.log is None or world.looks):
        yield "restart", world.counted("restart").restart(PRIMARY)
    if world.may("reset"):
        yield "CONFIG RESETSTAT", world.counted("reset").put(one.reset())


def moves_of_saves(world, one):
    """What a server's child, and the settings, may do to its RDB file."""
    if one.saving is None and world.may("save", 2):
        yield "BGSAVE begins", world.counted("save").put(world.save_begun(one))
    if one.saving is not None:
        yield "BGSAVE ends", world.put(world.save_ended(one))
        yield "BGSAVE is ended by SIGUSR1", world.put(replace(one, saving=None))
    if world.may("elsewhere"):
        yield "BGSAVE elsewhere", world.counted("elsewhere").put(world.saved_elsewhere(one))


def moves_of_a_log(world, one):
    """
    What may become of an append-only file.

    One that was switched off before it was ever seen is an assumption of every verdict; before 7.0
    also if this process did it, for its CONFIG SET cannot be told from a CONFIG GET.
    """
    if one.aof and one.rewriting is None and world.may("rewrite", 2):
        begun = replace(one, rewriting=any(one.old), rewrites=one.rewrites + 1)
        yield "BGREWRITEAOF begins", world.counted("rewrite").put(begun)
    if one.rewriting is not None:
        size = one.base + 1
        done = replace(one, log=one.rewriting, rewriting=None, base=size, size=size)
        yield "BGREWRITEAOF ends", world.put(done)
        yield "BGREWRITEAOF is ended by SIGUSR1", world.put(replace(one, rewriting=None))
    if one.aof and world.may("off") and (world.looks or one.version >= "7"):
        off = replace(one, aof=False, rewriting=None).called("config|set")
        yield "appendonly no", world.counted("off").put(off)
    if one.aof and world.may("restart") and world.looks:
        off = world.counted("restart").restart(PRIMARY, aof=False)
        yield "restart without the append-only file", off


def moves_of_replica_files(world):
    """Whole runs, and all that happens to the file of a replica."""
    one = world.server(REPLICA)
    if world.may("run", 3):
        yield "run", world.counted("run").run()
    if world.may("more"):
        yield "another write", world.counted("more").put(world.leader.wrote(world.leader.old))
    yield "catches up", world.replicate(REPLICA)
    if world.may("save", 2):
        yield "replica saves", world.counted("save").put(world.saved(one))
    if world.leader.file and world.may("saved"):
        yield "primary saves", world.counted("saved").put(world.saved(world.leader))
    if world.may("stray"):
        yield "replica follows another, and comes back", world.counted("stray").astray(REPLICA)
    if world.may("reset", 2):
        yield "CONFIG RESETSTAT on the replica", world.counted("reset").put(one.reset())
    if world.may("restart"):
        file = one.file or Saved((False, False))
        begun = replace(one, old=file.old, offset=file.offset, run=world.fresh, calls=(), netin=0,
                        link=False, saves=0, stamp=world.clock * 2)  # fmt: skip
        yield (
            "replica restarts",
            replace(world.counted("restart").put(begun), fresh=world.fresh + 1),
        )


def moves_of_everything(world):
    """Whatever may happen at all, to any server."""
    if world.cursor < 0 and world.may("run", 5):
        yield "run", world.counted("run").run()
    yield from moves_of_names(world)
    yield from moves_of_writes(world)
    if world.may("free"):
        yield "backlog freed", world.counted("free").backlog_freed()
    for one in world.servers:
        if one.role != "dead":
            yield from moves_of_a_server(world, one)
    one = world.leader
    if world.may("restart") and not unseen_debug(world) and not unseen_log(world):
        yield "restart", world.counted("restart").restart(one.name)
        if one.aof and world.looks:
            off = world.counted("restart").restart(one.name, aof=False)
            yield "restart without the append-only file", off


def moves_of_a_server(world, one):
    """What may happen to any server that runs, each step with its name."""
    found = list(moves_of_saves(world, one)) if world.declared.rdb is None else []
    if one.log is not None:
        found += moves_of_a_log(world, one)
    # Before 7.0 a reset hides that DEBUG was called, and cannot be told: an assumption.
    hides = one.version < "7" and dict(one.calls).get("debug")
    if world.may("reset") and not hides:
        found.append(("CONFIG RESETSTAT", world.counted("reset").put(one.reset())))
    if one.role == "slave":
        found += moves_of_a_replica(world, one)
    if world.may("stray"):
        found.append(("follows another", world.counted("stray").astray(one.name)))
    for label, after in found:
        yield f"{label} ({one.name})", after


def unseen_log(world):
    """Whether an append-only file was switched off that nobody has seen: an assumption."""
    one = world.leader
    seen = any(known.aof or known.calls for _, known in world.looks if known.name == one.name)
    return one.log is not None and not one.aof and not seen
