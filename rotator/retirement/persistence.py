"""
Persistence: says of RDB files, append-only files and sealed backups whether they are clean.

Each rule is a function of the looks at one server, from the moment that matters on. INFO dates
little, so what counts is seen from two sides: a server was looked at, and then it shows something
else (verdict 3; info-facts B). Whatever cannot be told is unknown.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from rotator.retirement.lineage import ORIGIN, restarted_only
from rotator.retirement.looks import (
    Look,
    calls,
    config_set_between,
    counts_subcommands,
    is_valkey,
    number,
    same_process,
    version,
)
from rotator.retirement.places import Declarations, Kind, Place, Status, Verdict
from rotator.retirement.replicas import Server
from rotator.text import moment

_ANY_FILE = ("replicaof", "slaveof", "bgsave", "save", "debug")
_ANY_FILE_7 = ("config|set", "config|resetstat", "cluster|replicate")
_LOADED = ("rdb_last_load_keys_loaded", "rdb_last_load_keys_expired")
NOTHING_THERE = (*_LOADED, "rdb_saves", "total_net_repl_input_bytes", "aof_enabled")
"""The fields of INFO that are 0 in a process that never had a file (info-facts B3)."""
_TOLD, _RESET = ("bgrewriteaof", "config|set"), "config|resetstat"
MAY_KEEP_AOF = (*_TOLD, _RESET)
"""The commands after which there may be an append-only file: one of them hides the others."""

# RDB files


def saved_at(good: Sequence[Look]) -> datetime | None:
    """
    Return when a save was seen that had begun after a look at which none was under way.

    No clock is compared: `rdb_last_save_time` is another than it was, whatever it says.
    """
    for number_, before in enumerate(good):
        if not _quiet(before):
            continue
        for after in good[number_ + 1 :]:
            stamps = [one.facts.get("rdb_last_save_time") for one in (before, after)]
            if None in stamps or stamps[0] == stamps[1] or config_set_between(before, after):
                continue
            if after.facts.get("rdb_last_bgsave_status") == "ok":
                return after.at
    return None


def _quiet(look: Look) -> bool:
    """Return whether no save is under way."""
    return look.facts.get("rdb_bgsave_in_progress") == "0"


def never_saved(looks: Sequence[Look]) -> bool:
    """Return whether this process provably never had an RDB file (info-facts B3); from 7.0 on."""
    last = looks[-1]
    if not counts_subcommands(last) or not _is_blank(last):
        return False
    if last.facts.get("master_replid2") != ORIGIN:
        return False
    if calls(last, *_ANY_FILE, *_ANY_FILE_7) != 0:
        return False
    return not any(_had_file(one, last) for one in looks)


def _had_file(look: Look, last: Look) -> bool:
    """Return whether an earlier look at the address showed that there is a file."""
    if look.missing:
        return False
    loaded = (number(look, "rdb_last_load_keys_loaded") or 0) > 0
    other = not same_process(look, last) and not _is_blank(look)
    saved = (number(look, "rdb_saves") or 0) > 0
    return other or loaded or saved or look.facts.get("role") != "master"


def _is_blank(look: Look) -> bool:
    """Return whether a look shows a primary that neither loaded, read nor saved anything."""
    return look.facts.get("role") == "master" and all(
        look.facts.get(one) == "0" for one in NOTHING_THERE
    )


def _restarted_clean(server: Server) -> bool:
    """Return whether the process began with a file that is clean: see rule 3 of verdict 4."""
    if not server.began_clean or server.is_replica:
        return False
    mine = [one for one in server.looks if same_process(one, server.last)]
    loaded = (number(mine[0], "rdb_last_load_keys_loaded") or 0) > 0
    without_aof = all(one.facts.get("aof_enabled") == "0" for one in mine)
    return (
        loaded
        and without_aof
        and restarted_only(mine[0])
        and not any(config_set_between(mine[0], one) for one in mine)
    )


def rdb_place(server: Server, declared: Declarations, gone_at: datetime | None) -> Place:
    """Return the place that a server's RDB file is; the key was gone there *gone_at*."""
    where, looks, last = server.name, server.looks, server.last
    saves = _saved_ever(looks) or last.facts.get("rdb_bgsave_in_progress") == "1"
    if declared.rdb is not None and not saves:
        return _assumed(Kind.RDB, where, f"{where} has no RDB file: {declared.rdb}")
    if not {"rdb_last_save_time", "rdb_bgsave_in_progress"} <= set(last.facts):
        remedy = f"grant +info to the user at {where}, or declare assume.rdb"
        return _unknown(Kind.RDB, where, f"{where} says nothing about persistence", remedy)
    moved = _elsewhere(looks)
    if moved and declared.rdb is None:
        evidence = f"{where} had another dir or dbfilename earlier: that file may still be there"
        return _unknown(Kind.RDB, where, evidence, "remove it, and declare assume.rdb")
    clean = _clean_rdb(server, gone_at)
    if clean and moved:
        evidence = f"{clean.evidence}, and there is none where it was saved earlier: {declared.rdb}"
        clean = replace(clean, status=Status.ASSUMED, evidence=evidence)
    if clean:
        return clean
    if _likely(server):
        return _held_rdb(server, declared, gone_at)
    evidence = f"it is not known whether {where} has an RDB file"
    remedy = "declare assume.rdb if there is none"
    if "save" not in last.settings:
        remedy = f"{remedy}; with the right +config|get rotator can tell more"
    return _unknown(Kind.RDB, where, evidence, remedy)


def _clean_rdb(server: Server, gone_at: datetime | None) -> Place | None:
    """Return why the RDB file is clean; None: it is not, or nobody knows."""
    where, since = server.name, gone_at
    if never_saved(server.looks):
        evidence = f"the process at {where} never had an RDB file"
    elif server.clean and _restarted_clean(server):
        # Before saves: those that come later find it clean, and must not make that later.
        evidence = f"{where} was started from an RDB file that was saved after the key was gone"
        since = server.good[0].at
    elif server.clean and (since := saved_at(_same_file(server.good))):
        evidence = f"the RDB file of {where} was begun after the key was gone"
    else:
        return None
    return Place(Kind.RDB, where, Status.CLEAN, evidence, since=since)


def _same_file(good: Sequence[Look]) -> list[Look]:
    """Return those at which the file was where it is at the last one: no other is that one."""
    return [one for one in good if _location(one) == _location(good[-1])]


def _location(look: Look) -> tuple[str | None, ...]:
    return tuple(look.settings.get(name) for name in ("dir", "dbfilename"))


def _likely(server: Server) -> bool:
    """Return whether there is an RDB file, or most likely one: else BGSAVE would only plant one."""
    last = server.last
    counted = (*_LOADED, "rdb_saves", "total_net_repl_input_bytes")
    return (
        server.is_replica
        or _saved_ever(server.looks)
        or bool(last.settings.get("save"))
        or last.facts.get("aof_enabled") == "1"
        or any((number(one, name) or 0) > 0 for one in server.looks for name in counted)
        or bool(calls(last, "bgsave", "save"))
    )


def _held_rdb(server: Server, declared: Declarations, gone_at: datetime | None) -> Place:
    """Return the place of an RDB file that is there, or may be, and is older than the key's end."""
    where = server.name
    since = f"since {moment(gone_at)}, when the key was gone" if gone_at else "yet"
    evidence = f"the RDB file of {where} has not been saved again {since}"
    if declared.rdb is not None:
        evidence = f"{evidence}; assume.rdb says that there is none, but a save was seen"
    remedy = f"BGSAVE on {where}, then run again"
    passes = bool(server.last.settings.get("save")) and _changed(server.last)
    return Place(
        Kind.RDB, where, Status.HOLDING, evidence, Verdict.HELD, gone_at, remedy, passes=passes
    )


def _changed(look: Look) -> bool:
    """Return whether there is something to save, so that the server will save by itself."""
    return (number(look, "rdb_changes_since_last_save") or 0) > 0


def _saved_ever(looks: Iterable[Look]) -> bool:
    """Return whether a process was seen to have saved."""
    stamps: dict[str, set[str]] = {}
    for one in looks:
        stamps.setdefault(one.facts.get("run_id", ""), set()).add(
            one.facts.get("rdb_last_save_time", "")
        )
    counted = any((number(one, "rdb_saves") or 0) > 0 for one in looks)
    return counted or any(len(times - {""}) > 1 for times in stamps.values())


def _elsewhere(looks: Sequence[Look]) -> bool:
    """Return whether the RDB file was at another place at an earlier look."""
    places = {_location(one) for one in looks}
    return len([one for one in places if None not in one]) > 1


# Append-only files


def rewritten_at(good: Sequence[Look]) -> datetime | None:
    """Return when a rewrite was seen to have ended well that began after a quiet look."""
    for number_, before in enumerate(good):
        if not _at_rest(before):
            continue
        for after in good[number_ + 1 :]:
            if _at_rest(after) and _rewritten(before, after):
                return after.at
    return None


def _at_rest(look: Look) -> bool:
    """Return whether no rewrite is under way or to come."""
    names = ("aof_rewrite_in_progress", "aof_rewrite_scheduled")
    return all(look.facts.get(name) == "0" for name in names)


def _rewritten(before: Look, after: Look) -> bool:
    """Return whether the file is another one; the counter alone counts what came to nothing."""
    base = [number(one, "aof_base_size") for one in (before, after)]
    size = [number(one, "aof_current_size") for one in (before, after)]
    if None in base or None in size or after.facts.get("aof_last_bgrewrite_status") != "ok":
        return False
    if config_set_between(before, after):  # with another dir the old file stays where it is
        return False
    moved = base[0] != base[1] or (size[1] or 0) < (size[0] or 0)
    follows = after.facts.get("role") == "slave"
    if not counts_subcommands(after) or (is_valkey(after) and version(after) >= (9, 1) and follows):
        return moved
    counted = [number(one, "aof_rewrites") for one in (before, after)]
    return moved and None not in counted and (counted[1] or 0) > (counted[0] or 0)


def aof_place(server: Server, declared: Declarations, gone_at: datetime | None) -> Place:
    """Return the place that a server's append-only file is; the key was gone there *gone_at*."""
    where, last = server.name, server.last
    on = last.facts.get("aof_enabled")
    if declared.aof is not None and on != "1":
        return _assumed(Kind.AOF, where, f"{where} has no append-only file: {declared.aof}")
    if on is None:
        remedy = f"grant +info to the user at {where}, or declare assume.aof"
        return _unknown(Kind.AOF, where, f"{where} does not say whether it keeps an AOF", remedy)
    if on == "1":
        return _kept_aof(server, declared, gone_at)
    told = _TOLD if counts_subcommands(last) else _TOLD[:1]
    asked = [one for one in server.looks if not one.missing]
    if any(_kept_one(one) for one in asked):
        evidence = f"{where} kept an append-only file earlier, which may still be there"
    elif any(calls(one, *told) != 0 for one in asked):
        evidence = f"{where} may have been told to keep an append-only file ({' or '.join(told)})"
    elif any(counts_subcommands(one) and calls(one, _RESET) for one in asked):
        evidence = f"it is no longer known whether {where} was told to keep an append-only file"
    else:
        return Place(Kind.AOF, where, Status.CLEAN, f"{where} keeps no AOF", since=gone_at)
    remedy = "remove the file if there is one, and declare assume.aof"
    return _unknown(Kind.AOF, where, evidence, remedy)


def _kept_one(look: Look) -> bool:
    """Return whether the server keeps an append-only file, or has written one in this process."""
    lasted = number(look, "aof_last_rewrite_time_sec")
    return look.facts.get("aof_enabled") == "1" or (lasted is not None and lasted >= 0)


def _kept_aof(server: Server, declared: Declarations, gone_at: datetime | None) -> Place:
    """Return the place of an append-only file that is kept."""
    where = server.name
    if ended := rewritten_at(server.good) if server.clean else None:
        evidence = f"the append-only file of {where} was rewritten after the key was gone"
        return Place(Kind.AOF, where, Status.CLEAN, evidence, since=ended)
    since = f"since {moment(gone_at)}, when the key was gone" if gone_at else "yet"
    evidence = f"the append-only file of {where} has not been rewritten {since}"
    if declared.aof is not None:
        evidence = f"{evidence}; assume.aof says that there is none, but one is kept"
    idle = number(server.last, "aof_base_size") == number(server.last, "aof_current_size")
    remedy = f"{'one write, then ' if idle else ''}BGREWRITEAOF on {where}, then run again"
    return Place(Kind.AOF, where, Status.HOLDING, evidence, Verdict.HELD, gone_at, remedy)


def backup_command_place(server: Server, gone_at: datetime | None) -> Place | None:
    """Return the place that backups by the command BACKUP are; None: it has no such command."""
    where, last = server.name, server.last
    if last.backups is None:
        return None
    if last.backups == 0:
        evidence = f"{where} holds no sealed backup"
        return Place(Kind.BACKUP_COMMAND, where, Status.CLEAN, evidence, since=gone_at)
    evidence = f"{where} holds sealed backups, or does not say; it is not known when they began"
    remedy = f"BACKUP CLEANUP on {where}, then run again"
    return _unknown(Kind.BACKUP_COMMAND, where, evidence, remedy)


def file_places(
    server: Server, declared: Declarations, gone_at: datetime | None
) -> Iterator[Place]:
    """Yield the places that the files of a server are."""
    yield rdb_place(server, declared, gone_at)
    yield aof_place(server, declared, gone_at)
    if sealed := backup_command_place(server, gone_at):
        yield sealed


def _unknown(kind: Kind, where: str, evidence: str, remedy: str) -> Place:
    return Place(kind, where, Status.UNKNOWN, evidence, Verdict.UNKNOWN, None, remedy)


def _assumed(kind: Kind, where: str, evidence: str) -> Place:
    return Place(kind, where, Status.ASSUMED, evidence)
