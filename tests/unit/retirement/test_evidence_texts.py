"""What a place says: the whole of it, for operators act upon each word."""

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.report.agreement import assumed_of
from rotator.retirement.history import KeyHistory, KeySeen
from rotator.retirement.lineage import gone_from
from rotator.retirement.looks import Outside
from rotator.retirement.names import (
    names_places,
    not_opened_places,
    outside_place,
    trusted_places,
    writers_place,
)
from rotator.retirement.persistence import aof_place, rdb_place
from rotator.retirement.places import Declarations, Fence, Kind, Status
from rotator.retirement.replicas import (
    LOGIN_REFUSED,
    NO_PORT,
    NOT_LISTED,
    Server,
    replica_place,
)
from rotator.tally.tally import Mode, Outcome
from support.looks import KEY, PRIMARY, REPLICA, at, away, evidence, primary, proof, replica, sweep

QUIET = timedelta(hours=1)
SAVED = {"rdb_saves": 1}


def case(*begun, facts=None, then=None, **known):
    """Evidence with a proof of one minute from each of these minutes on, the first one of 0."""
    parts = {name: known.pop(name) for name in ("outside", "hidden", "opened") if name in known}
    facts, pairs = facts or {}, begun or (0,)
    found = [proof(primary(one, **facts), primary(one + 1, **facts)) for one in pairs]
    found = [replace(one, **parts) for one in found]
    looks = [look for one in found for look in (one.before, one.after)]
    return evidence(**{"proofs": found, "looks": [*looks, *(then or ())], **known})


def seen(number, without_ttl=0, **more):
    """A sweep that left so many values under the key, some of them without a TTL."""
    key = KeySeen(number, number, without_ttl, first_seen_at=at(100), last_seen_at=at(101))
    return sweep(100, 101, keys={KEY: replace(key, **more)}, mode=Mode.RUN)


def names(known, now=150):
    """What is said of the names in scope."""
    return names_places(known, gone_from(known, QUIET), at(now), QUIET)


def outside(known):
    """What is said of the names that are left out."""
    return [outside_place(known, gone_from(known, QUIET))]


def writers(known, now=150):
    """What is said of those who write."""
    return [writers_place(known, gone_from(known, QUIET), at(now))]


def trusted(known):
    """What is taken for true."""
    return list(trusted_places(known, gone_from(known, QUIET)))


def opened(known):
    """What is said of entries that were not opened."""
    return list(not_opened_places(known))


def rdb(*looks, gone_at=1, **declared):
    """What is said of the RDB file."""
    good = looks if declared.pop("good", True) else ()
    return [rdb_place(Server(looks, good), Declarations(**declared), gone_at and at(gone_at))]


def follows(*looks, good=(), offset=100):
    """What is said of a replica's memory; its primary was at *offset* when the key was gone."""
    return [replica_place(Server(looks, good), primary(0), offset)]


def aof(*looks, gone_at=1, **declared):
    """What is said of the append-only file."""
    good = looks if declared.pop("good", True) else ()
    return [aof_place(Server(looks, good), Declarations(**declared), gone_at and at(gone_at))]


def fenced(minutes):
    """A fence at that minute."""
    return Fence(at(minutes), "0" * 16, (KEY,), at(0))


def returned(number=1, last=101, **more):
    """A key that came back at minute 50, and was met last at that minute."""
    told = {"clean_before": at(1), "returned_at": at(50), "returned": number}
    return KeyHistory(last_seen_at=at(last), **{**told, **more})


CAUGHT_UP = replica(1)
RETENTION = {"declared": Declarations(identity="pinned", empty=True)}
LOADED = {"aof_enabled": 1, "aof_base_size": 9, "aof_current_size": 9}
CASES = {
    "clean": lambda: names(case(0, 100)),
    "clean, met earlier": lambda: names(case(0, 100, history=KeyHistory(last_seen_at=at(-30)))),
    "clean, fenced": lambda: names(case(0, fence=fenced(-5))),
    "without a TTL": lambda: names(case(sweep=seen(3, 2, prefixes=("/a",)))),
    "without a TTL, seen never": lambda: names(
        case(sweep=seen(1, 1, first_seen_at=None, last_seen_at=None))
    ),
    "with a TTL": lambda: names(case(sweep=seen(1, drains_at=at(900)))),
    "met again": lambda: names(
        case(
            sweep=sweep(90, 91, mode=Mode.RUN),
            verification=sweep(100, 101, met=2),
        )
    ),
    "came back": lambda: names(case(history=returned())),
    "came back, is calm at last": lambda: names(
        case(history=returned(last=90, clean_since=at(92))), now=149
    ),
    "came back, is calm": lambda: names(
        case(0, 100, history=returned(last=90, clean_since=at(92)))
    ),
    "two came back": lambda: names(case(history=returned(2, prefixes=("/a", "/b")))),
    "never swept": lambda: names(case(sweep=None)),
    "a node was down": lambda: names(
        case(sweep=sweep(0, 1, complete=False, not_looked_at=("a node was down",)))
    ),
    "stopped": lambda: names(case(sweep=sweep(0, 1, complete=False))),
    "nothing opened": lambda: names(case(opened=0, sweep=sweep(0, 1, opened=0))),
    "hidden": lambda: names(case(0, 100, hidden=2)),
    "a clock in doubt": lambda: names(case(sweep=sweep(0, 1, doubt="a clock was set"))),
    "a clock is wrong": lambda: names(case(), now=-5),
    "not verified": lambda: names(case(sweep=sweep(0, 1, verified=False))),
    "working": lambda: names(case(working_since=at(5))),
    "not proven": lambda: names(case(proofs=[])),
    "unproven": lambda: names(case(proofs=[], sweep=sweep(0, 1, unproven=("a save was lost",)))),
    "unproven, stopped": lambda: names(
        case(proofs=[], sweep=sweep(0, 1, complete=False, unproven=("it was stopped",)))
    ),
    "unproven at the second look": lambda: names(
        case(
            proofs=[],
            sweep=sweep(0, 1, mode=Mode.RUN),
            verification=sweep(2, 3, complete=False, unproven=("it was stopped",)),
        )
    ),
    "another configuration": lambda: names(case(basis="")),
    "restarted": lambda: names(case(then=[primary(5, run_id="run-x")])),
    "too early": lambda: names(case(0), now=30),
    "just in time": lambda: names(case(0), now=61),
    "not confirmed": lambda: names(case(0), now=90),
    "outside: not looked at": lambda: outside(case(proofs=[])),
    "outside: declared": lambda: outside(
        case(outside=Outside(None, names=7), declared=Declarations(outside="another's"))
    ),
    "outside: one declared": lambda: outside(
        case(outside=Outside(None, names=1), declared=Declarations(outside="another's"))
    ),
    "outside: under it": lambda: outside(case(outside=Outside(5, {KEY: 2}))),
    "outside: clean": lambda: outside(case(outside=Outside(5))),
    "outside: not opened": lambda: outside(case(outside=Outside(5, {}, 1, 2))),
    "outside: one not opened": lambda: outside(case(outside=Outside(5, {}, 1))),
    "outside: accepted": lambda: outside(
        case(outside=Outside(5, {}, 1), declared=Declarations(outside_accepted=1))
    ),
    "writers": lambda: writers(case(10, 100)),
    "writers, nothing proven": lambda: writers(case(proofs=[])),
    "writers, a fence to come": lambda: writers(case(fence=fenced(200))),
    "writers, a fence": lambda: writers(case(fence=fenced(50))),
    "trusted: none": lambda: trusted(case(opened=0, sweep=sweep(0, 1, opened=0))),
    "trusted: empty": lambda: trusted(case(opened=0, sweep=sweep(0, 1, opened=0), **RETENTION)),
    "trusted: silent": lambda: trusted(
        case(then=[primary(5, calls=False)], **RETENTION)
    ),
    "trusted: nameless": lambda: trusted(
        case(then=[primary(5, master_replid=None)], **RETENTION)
    ),
    "trusted: it says who it is": lambda: trusted(case(**RETENTION)),
    "all opened": lambda: opened(case()),
    "not opened": lambda: opened(
        case(
            sweep=sweep(
                0, 1, open_items=dict.fromkeys(Outcome, 1), accepted={Outcome.NOT_STRING: 1}
            )
        )
    ),
    "not opened, many": lambda: opened(
        case(sweep=sweep(0, 1, open_items={Outcome.UNDECRYPTABLE: 1200, Outcome.TOO_LARGE: 2,
                                           Outcome.NOT_STRING: 2, Outcome.DENIED: 2,
                                           Outcome.FAILED: 2}, accepted={Outcome.TOO_LARGE: 2}))
    ),
    "nothing opens": lambda: opened(
        case(opened=0, sweep=sweep(0, 1, opened=0, open_items={Outcome.UNDECRYPTABLE: 2,
                                                               Outcome.NOT_STRING: 1}))
    ),
    "rdb: none": lambda: rdb(primary(2), rdb="a cache only"),
    "rdb: said none, saved": lambda: rdb(primary(2, **SAVED), rdb="a cache only"),
    "rdb: saving now": lambda: rdb(primary(2, rdb_bgsave_in_progress=1), rdb="a cache only"),
    "rdb: silent": lambda: rdb(primary(2, rdb_last_save_time=None)),
    "rdb: elsewhere": lambda: rdb(
        primary(0, settings={"dir": "/a", "dbfilename": "d"}),
        primary(2, settings={"dir": "/b", "dbfilename": "d"}),
    ),
    "rdb: saved": lambda: rdb(primary(2), primary(3, rdb_last_save_time=60, **SAVED)),
    "rdb: never": lambda: rdb(primary(2)),
    "rdb: held": lambda: rdb(primary(2, **SAVED, settings={"save": "60 1"},
                                     rdb_changes_since_last_save=1)),
    "rdb: held, not yet gone": lambda: rdb(primary(2, **SAVED), gone_at=None),
    "rdb: called": lambda: rdb(primary(2, calls={"bgsave": 1})),
    "rdb: called in full": lambda: rdb(primary(2, calls={"save": 1})),
    "rdb: save points": lambda: rdb(primary(2, calls={"debug": 1}, settings={"save": "60 1"})),
    "rdb: may be": lambda: rdb(primary(2, calls={"debug": 1})),
    "rdb: may be, save known": lambda: rdb(primary(2, calls={"debug": 1}, settings={"save": ""})),
    "replica: clean": lambda: follows(CAUGHT_UP, good=(CAUGHT_UP,)),
    "replica: away": lambda: follows(away(5)),
    "replica: away, seen earlier": lambda: follows(replica(1), away(5)),
    "replica: wrong password": lambda: follows(away(5, why=f"{REPLICA} {LOGIN_REFUSED}: invalid")),
    "replica: without rights": lambda: follows(away(5, why=f"{REPLICA}: INFO failed: NOPERM no")),
    "replica: full": lambda: follows(away(5, why=f"{REPLICA} {LOGIN_REFUSED}: max number of")),
    "replica: not listed": lambda: follows(away(5, why=f"{PRIMARY} {NOT_LISTED}")),
    "replica: no port": lambda: follows(away(5, "redis-1:0", why=f"{PRIMARY} {NO_PORT}")),
    "replica: a primary of its own": lambda: follows(replica(1, role="master")),
    "replica: behind": lambda: follows(replica(1, slave_repl_offset=60)),
    "replica: not yet": lambda: follows(CAUGHT_UP),
    "replica: was writable": lambda: follows(replica(0, slave_read_only=0), CAUGHT_UP),
    "replica: not known to be gone": lambda: follows(CAUGHT_UP, offset=None),
    "aof: none": lambda: aof(primary(2), aof="a cache only"),
    "aof: silent": lambda: aof(primary(2, aof_enabled=None)),
    "aof: off": lambda: aof(primary(2)),
    "aof: kept earlier": lambda: aof(primary(0, aof_enabled=1), primary(2)),
    "aof: told": lambda: aof(primary(2, calls={"config|set": 1})),
    "aof: told before 7.0": lambda: aof(primary(2, version="6.2.14", calls={"bgrewriteaof": 1})),
    "aof: not counted": lambda: aof(primary(2, calls={"config|resetstat": 1})),
    "aof: held": lambda: aof(primary(2, **LOADED)),
    "aof: held, written": lambda: aof(
        primary(2, **{**LOADED, "aof_current_size": 10}), gone_at=None
    ),
    "aof: said none": lambda: aof(primary(2, **LOADED), aof="a cache only"),
    "aof: rewritten": lambda: aof(
        primary(2, **LOADED), primary(3, **{**LOADED, "aof_base_size": 5, "aof_rewrites": 1})
    ),
}  # fmt: skip


def written(place):
    """A place as the table has it: what is as usual left out."""
    told = [place.kind, place.status, place.verdict, place.where, place.evidence, place.remedy]
    more = [f"{place.since:since %H:%M}"] if place.since else []
    more += [f"{place.until:until %H:%M}"] if place.until else []
    return " | ".join([*told, *more, *(["passes"] if place.passes else [])])


SAYS = {
    "clean": [
        (
            "names | clean | retirable |  | never met; no sweep since 2026-11-23 02:00 UTC "
            "met it |  | since 02:01"
        ),
    ],
    "clean, met earlier": [
        (
            "names | clean | retirable |  | last met 2026-11-23 01:30 UTC; no sweep since "
            "2026-11-23 02:00 UTC met it |  | since 02:01"
        ),
    ],
    "clean, fenced": [
        (
            "names | clean | retirable |  | never met; no sweep since 2026-11-23 02:00 UTC "
            "met it |  | since 02:01"
        ),
    ],
    "without a TTL": [
        (
            "names | holding | in-use |  | 2 values without a TTL remain under it, first "
            "seen 2026-11-23 03:40 UTC (names begin with /a) | run again to move what "
            "remains"
        ),
    ],
    "without a TTL, seen never": [
        (
            "names | holding | in-use |  | 1 value without a TTL remains under it | run "
            "again to move what remains"
        ),
    ],
    "with a TTL": [
        (
            "names | holding | draining |  | 1 value with a TTL remains under it; it "
            "expires at 2026-11-23 17:00 UTC | run again to move what remains, or wait "
            "until it has expired and run again | until 17:00"
        ),
    ],
    "met again": [
        (
            "names | holding | in-use |  | the verifying sweep still met 2 values under it: "
            "something still encrypts with it | find what still encrypts with it and give it"
            " the current key, then run again"
        ),
        (
            "names | unknown | verifying |  | no sweep that only reads has shown yet that "
            "none is left | run again | passes"
        ),
    ],
    "came back": [
        (
            "names | holding | in-use |  | 1 value was encrypted with it after it had been "
            "clean since 2026-11-23 02:01 UTC: something still writes with it | find what "
            "still encrypts with it and give it the current key, then run again"
        ),
        (
            "names | unknown | verifying |  | no sweep that only reads has shown yet that "
            "none is left | run again | passes"
        ),
    ],
    "came back, is calm at last": [
        (
            "names | holding | in-use |  | 1 value was encrypted with it after it had been "
            "clean since 2026-11-23 02:01 UTC: something still writes with it | find what "
            "still encrypts with it and give it the current key, then run again"
        ),
        (
            "names | unknown | verifying |  | no sweep that only reads has shown yet that "
            "none is left | run again | passes"
        ),
    ],
    "came back, is calm": [
        (
            "names | unknown | verifying |  | no value left under it at 03:41 UTC; a sweep "
            "1h later must confirm it | run again after 04:41 UTC | until 04:41 | passes"
        ),
    ],
    "two came back": [
        (
            "names | holding | in-use |  | 2 values were encrypted with it after it had been"
            " clean since 2026-11-23 02:01 UTC: something still writes with it (names begin "
            "with /a, /b) | find what still encrypts with it and give it the current key, "
            "then run again"
        ),
        (
            "names | unknown | verifying |  | no sweep that only reads has shown yet that "
            "none is left | run again | passes"
        ),
    ],
    "never swept": [
        ("names | unknown | unknown |  | never swept to the end | run rotator for shared-redis"),
    ],
    "a node was down": [
        ("names | unknown | unknown |  | a node was down | fix that, then run again"),
    ],
    "stopped": [
        ("names | unknown | unknown |  | no complete sweep | run again until one is complete"),
    ],
    "nothing opened": [
        (
            "names | unknown | unknown |  | no value of this cache was ever opened here; is "
            "it the right server? | check redis.addresses, match, databases and formats; if "
            "right, --accept empty"
        ),
    ],
    "hidden": [
        (
            "names | unknown | unknown |  | redis-0:6379 holds 2 names of slots that it does"
            " not own | finish the move (first MIGRATE what the owner still has of these "
            "slots, or it is lost; then CLUSTER SETSLOT <slot> NODE <id> on both nodes) or "
            "delete the names, then run again"
        ),
    ],
    "a clock in doubt": [
        (
            "names | unknown | verifying |  | a clock was set | set the clocks right (NTP), "
            "then run again"
        ),
    ],
    "a clock is wrong": [
        (
            "names | unknown | verifying |  | last looked at 2026-11-23 02:01 UTC, which is "
            "later than now: a clock is wrong | set the clock right, then run again; if it "
            "is right, an earlier run had a wrong one: move the state file away, then run "
            "again"
        ),
    ],
    "not verified": [
        (
            "names | unknown | verifying |  | the sweep was not verified (--no-verify) | "
            "run again without --no-verify"
        ),
    ],
    "working": [
        (
            "names | unknown | verifying |  | a run or purge that began 2026-11-23 02:05 "
            "UTC has not ended: what it met is not known | run again | passes"
        ),
    ],
    "not proven": [
        (
            "names | unknown | verifying |  | no sweep that only reads has shown yet that "
            "none is left | run again | passes"
        ),
    ],
    "unproven": [
        ("names | unknown | unknown |  | a save was lost | fix that, then run again"),
    ],
    "unproven, stopped": [
        ("names | unknown | unknown |  | no complete sweep | run again until one is complete"),
    ],
    "unproven at the second look": [
        "names | unknown | verifying |  | it was stopped | run again | passes",
    ],
    "another configuration": [
        (
            "names | unknown | verifying |  | its configuration has changed since it was "
            "last looked at | run again | passes"
        ),
    ],
    "restarted": [
        (
            "names | unknown | verifying |  | what was known of redis-0:6379 no longer "
            "counts: another process answers, and its data may be older | run again; if this"
            " happens every night, use `run --wait` or `rotator fence` | passes"
        ),
    ],
    "too early": [
        (
            "names | unknown | verifying |  | no value left under it at 02:01 UTC; a sweep "
            "1h later must confirm it | run again after 03:01 UTC | until 03:01 | passes"
        ),
    ],
    "just in time": [
        (
            "names | unknown | verifying |  | no value left under it at 02:01 UTC; another "
            "sweep must confirm it | run again | until 03:01 | passes"
        ),
    ],
    "not confirmed": [
        (
            "names | unknown | verifying |  | no value left under it at 02:01 UTC; another "
            "sweep must confirm it | run again | until 03:30 | passes"
        ),
    ],
    "outside: not looked at": [
        (
            "outside | unknown | verifying |  | names outside `match` and `databases` were "
            "not yet looked at | run again | passes"
        ),
    ],
    "outside: declared": [
        (
            "outside | assumed | retirable |  | 7 names outside `match` and `databases` "
            "hold no value under it: another's | "
        ),
    ],
    "outside: one declared": [
        (
            "outside | assumed | retirable |  | 1 name outside `match` and `databases` "
            "holds no value under it: another's | "
        ),
    ],
    "outside: under it": [
        (
            "outside | holding | in-use |  | 2 values under it outside `match`, `databases` "
            "or `fields` | widen match, databases or fields, then run again"
        ),
    ],
    "outside: clean": [
        (
            "outside | clean | retirable |  | no value outside `match` and `databases` is "
            "under it |  | since 02:01"
        ),
    ],
    "outside: not opened": [
        (
            "outside | unknown | unknown |  | 3 entries outside `match` or `databases` not "
            "opened | widen match or databases, declare assume.outside, or --accept "
            "outside=3"
        ),
    ],
    "outside: one not opened": [
        (
            "outside | unknown | unknown |  | 1 entry outside `match` or `databases` not "
            "opened | widen match or databases, declare assume.outside, or --accept "
            "outside=1"
        ),
    ],
    "outside: accepted": [
        (
            "outside | assumed | retirable |  | 1 entry outside `match` or `databases` not "
            "opened, and accepted |  | since 02:01"
        ),
    ],
    "writers": [
        (
            "writers | assumed | retirable |  | no application of shared-redis has written "
            "with it since 2026-11-23 02:10 UTC | "
        ),
    ],
    "writers, nothing proven": [
        (
            "writers | assumed | retirable |  | no application of shared-redis has written "
            "with it | "
        ),
    ],
    "writers, a fence to come": [
        (
            "writers | unknown | verifying |  | applications use the current key from "
            "2026-11-23 05:20 UTC on (`rotator fence`) | run again after 2026-11-23 05:20 "
            "UTC | until 05:20"
        ),
    ],
    "writers, a fence": [
        (
            "writers | clean | retirable |  | no application has encrypted with it since "
            "2026-11-23 02:50 UTC (`rotator fence`) |  | since 02:50"
        ),
    ],
    "trusted: none": [],
    "trusted: empty": [
        (
            "names | assumed | retirable |  | it is right that no value of shared-redis was "
            "ever opened | "
        ),
    ],
    "trusted: silent": [
        ("names | assumed | retirable |  | shared-redis is always the same server: pinned | "),
    ],
    "trusted: nameless": [
        ("names | assumed | retirable |  | shared-redis is always the same server: pinned | "),
    ],
    "trusted: it says who it is": [],
    "all opened": [
        "not-opened | clean | retirable |  | every entry in scope was opened | ",
    ],
    "not opened": [
        (
            "not-opened | unknown | unknown |  | 1 value opens under no known key and "
            "format, and may be under this one | see what they are with `rotator detect "
            "--samples 100000`, and `rotator inspect NAME` for those under problems, or "
            "accept them with --accept undecryptable=1"
        ),
        "not-opened | assumed | retirable |  | 1 not_string was accepted | ",
        (
            "not-opened | unknown | unknown |  | 1 value would be too large for the server "
            "once it is re-encrypted | have them rewritten or deleted, or accept them "
            "with --accept too_large=1"
        ),
        (
            "not-opened | unknown | unknown |  | 1 entry could not be read or written: the "
            "ACL forbids it | give the user the rights that `rotator check` names, then run "
            "again"
        ),
        (
            "not-opened | unknown | unknown |  | 1 entry could not be read or written: the "
            "server answered with an error | see the errors in the report's problems, then "
            "run again"
        ),
    ],
    "not opened, many": [
        (
            "not-opened | unknown | unknown |  | 1,200 values open under no known key and "
            "format, and may be under this one | see what they are with `rotator detect "
            "--samples 100000`, and `rotator inspect NAME` for those under problems, or "
            "accept them with --accept undecryptable=1200"
        ),
        (
            "not-opened | unknown | unknown |  | 2 entries are of another Redis type and "
            "were not looked into | the report's problems show what they are; for hashes, "
            "say in `fields` where values are, or accept them with --accept not_string=2"
        ),
        ("not-opened | assumed | retirable |  | 2 too_large were accepted | "),
        (
            "not-opened | unknown | unknown |  | 2 entries could not be read or written: the"
            " ACL forbids it | give the user the rights that `rotator check` names, then run"
            " again"
        ),
        (
            "not-opened | unknown | unknown |  | 2 entries could not be read or written: the"
            " server answered with an error | see the errors in the report's problems, then "
            "run again"
        ),
    ],
    "nothing opens": [
        (
            "not-opened | unknown | unknown |  | 2 values open under no known key and "
            "format, and may be under this one | no value opened, so the keys may be right "
            "and the format wrong: run `rotator detect`, correct the format or add the "
            "missing key, then run again"
        ),
        (
            "not-opened | unknown | unknown |  | 1 entry is of another Redis type and was "
            "not looked into | the report's problems show what they are; for hashes, say in "
            "`fields` where values are"
        ),
    ],
    "rdb: none": [
        (
            "rdb | assumed | retirable | redis-0:6379 | redis-0:6379 has no RDB file: a "
            "cache only | "
        ),
    ],
    "rdb: said none, saved": [
        (
            "rdb | holding | held | redis-0:6379 | the RDB file of redis-0:6379 has not "
            "been saved again since 2026-11-23 02:01 UTC, when the key was gone; assume.rdb "
            "says that there is none, but a save was seen | BGSAVE on redis-0:6379, then "
            "run again | since 02:01"
        ),
    ],
    "rdb: saving now": [
        (
            "rdb | clean | retirable | redis-0:6379 | the process at redis-0:6379 never had "
            "an RDB file |  | since 02:01"
        ),
    ],
    "rdb: silent": [
        (
            "rdb | unknown | unknown | redis-0:6379 | redis-0:6379 says nothing about "
            "persistence | grant +info to the user at redis-0:6379, or declare assume.rdb"
        ),
    ],
    "rdb: elsewhere": [
        (
            "rdb | unknown | unknown | redis-0:6379 | redis-0:6379 had another dir or "
            "dbfilename earlier: that file may still be there | remove it, and declare "
            "assume.rdb"
        ),
    ],
    "rdb: saved": [
        (
            "rdb | clean | retirable | redis-0:6379 | the RDB file of redis-0:6379 was "
            "begun after the key was gone |  | since 02:03"
        ),
    ],
    "rdb: never": [
        (
            "rdb | clean | retirable | redis-0:6379 | the process at redis-0:6379 never had "
            "an RDB file |  | since 02:01"
        ),
    ],
    "rdb: held": [
        (
            "rdb | holding | held | redis-0:6379 | the RDB file of redis-0:6379 has not "
            "been saved again since 2026-11-23 02:01 UTC, when the key was gone | BGSAVE on "
            "redis-0:6379, then run again | since 02:01 | passes"
        ),
    ],
    "rdb: held, not yet gone": [
        (
            "rdb | holding | held | redis-0:6379 | the RDB file of redis-0:6379 has not "
            "been saved again yet | BGSAVE on redis-0:6379, then run again"
        ),
    ],
    "rdb: called": [
        (
            "rdb | holding | held | redis-0:6379 | the RDB file of redis-0:6379 has not "
            "been saved again since 2026-11-23 02:01 UTC, when the key was gone | BGSAVE on "
            "redis-0:6379, then run again | since 02:01"
        ),
    ],
    "rdb: called in full": [
        (
            "rdb | holding | held | redis-0:6379 | the RDB file of redis-0:6379 has not "
            "been saved again since 2026-11-23 02:01 UTC, when the key was gone | BGSAVE on "
            "redis-0:6379, then run again | since 02:01"
        ),
    ],
    "rdb: save points": [
        (
            "rdb | holding | held | redis-0:6379 | the RDB file of redis-0:6379 has not "
            "been saved again since 2026-11-23 02:01 UTC, when the key was gone | BGSAVE on "
            "redis-0:6379, then run again | since 02:01"
        ),
    ],
    "rdb: may be": [
        (
            "rdb | unknown | unknown | redis-0:6379 | it is not known whether redis-0:6379 "
            "has an RDB file | declare assume.rdb if there is none; with the right "
            "+config|get rotator can tell more"
        ),
    ],
    "rdb: may be, save known": [
        (
            "rdb | unknown | unknown | redis-0:6379 | it is not known whether redis-0:6379 "
            "has an RDB file | declare assume.rdb if there is none"
        ),
    ],
    "replica: clean": [
        (
            "replica | clean | retirable | redis-1:6379 | replica redis-1:6379 has all that "
            "its primary had when the key was gone |  | since 02:01"
        ),
    ],
    "replica: away": [
        (
            "replica | unknown | unknown | redis-1:6379 | redis-1:6379 was not looked at: it "
            "could not be reached | run again when it can be reached, or declare it "
            "decommissioned"
        ),
    ],
    "replica: away, seen earlier": [
        (
            "replica | unknown | unknown | redis-1:6379 | redis-1:6379 was not looked at: it "
            "could not be reached; it was last seen 2026-11-23 02:01 UTC | run again when it "
            "can be reached, or declare it decommissioned"
        ),
    ],
    "replica: wrong password": [
        (
            "replica | unknown | unknown | redis-1:6379 | redis-1:6379 was not looked at: "
            "redis-1:6379 refused the login: invalid | create the user on redis-1:6379 with "
            "the same password and rights, then run again"
        ),
    ],
    "replica: without rights": [
        (
            "replica | unknown | unknown | redis-1:6379 | redis-1:6379 was not looked at: "
            "redis-1:6379: INFO failed: NOPERM no | create the user on redis-1:6379 with the"
            " same password and rights, then run again"
        ),
    ],
    "replica: full": [
        (
            "replica | unknown | unknown | redis-1:6379 | redis-1:6379 was not looked at: "
            "redis-1:6379 refused the login: max number of | run again when it can be "
            "reached, or declare it decommissioned"
        ),
    ],
    "replica: not listed": [
        (
            "replica | unknown | unknown | redis-1:6379 | redis-1:6379 was not looked at: "
            "redis-0:6379 names it, but it is not listed | add it to replicas, or declare "
            "`replicas: announced`, then run again"
        ),
    ],
    "replica: no port": [
        (
            "replica | unknown | unknown | redis-1:0 | redis-1:0 was not looked at: "
            "redis-0:6379 names it: a reader of the stream, or a replica without a port | "
            "declare `replicas: {only: [...]}` with those that exist, then run again"
        ),
    ],
    "replica: a primary of its own": [
        (
            "replica | unknown | unknown | redis-1:6379 | redis-1:6379 was part of this "
            "cache earlier, and is now a primary on its own | make it a replica again, or "
            "declare it decommissioned"
        ),
    ],
    "replica: behind": [
        (
            "replica | holding | held | redis-1:6379 | replica redis-1:6379 is 40 bytes "
            "behind | run again when redis-1:6379 has caught up | since 02:01 | passes"
        ),
    ],
    "replica: not yet": [
        (
            "replica | holding | held | redis-1:6379 | replica redis-1:6379 has not been "
            "looked at since the key was gone | run again when redis-1:6379 has caught up | "
            "since 02:01 | passes"
        ),
    ],
    "replica: was writable": [
        (
            "replica | holding | held | redis-1:6379 | replica redis-1:6379 could be written"
            " to earlier (replica-read-only no) | stop redis-1:6379, remove its files, start"
            " it again, then run again | since 02:01"
        ),
    ],
    "replica: not known to be gone": [
        (
            "replica | holding | held | redis-1:6379 | replica redis-1:6379 has what its "
            "primary has, and the key is not known to be gone there | run again | since "
            "02:01"
        ),
    ],
    "aof: none": [
        (
            "aof | assumed | retirable | redis-0:6379 | redis-0:6379 has no append-only "
            "file: a cache only | "
        ),
    ],
    "aof: silent": [
        (
            "aof | unknown | unknown | redis-0:6379 | redis-0:6379 does not say whether it "
            "keeps an AOF | grant +info to the user at redis-0:6379, or declare assume.aof"
        ),
    ],
    "aof: off": [
        ("aof | clean | retirable | redis-0:6379 | redis-0:6379 keeps no AOF |  | since 02:01"),
    ],
    "aof: kept earlier": [
        (
            "aof | unknown | unknown | redis-0:6379 | redis-0:6379 kept an append-only file "
            "earlier, which may still be there | remove the file if there is one, and "
            "declare assume.aof"
        ),
    ],
    "aof: told": [
        (
            "aof | unknown | unknown | redis-0:6379 | redis-0:6379 may have been told to "
            "keep an append-only file (bgrewriteaof or config|set) | remove the file if "
            "there is one, and declare assume.aof"
        ),
    ],
    "aof: told before 7.0": [
        (
            "aof | unknown | unknown | redis-0:6379 | redis-0:6379 may have been told to "
            "keep an append-only file (bgrewriteaof) | remove the file if there is one, and "
            "declare assume.aof"
        ),
    ],
    "aof: not counted": [
        (
            "aof | unknown | unknown | redis-0:6379 | it is no longer known whether "
            "redis-0:6379 was told to keep an append-only file | remove the file if there is"
            " one, and declare assume.aof"
        ),
    ],
    "aof: held": [
        (
            "aof | holding | held | redis-0:6379 | the append-only file of redis-0:6379 has "
            "not been rewritten since 2026-11-23 02:01 UTC, when the key was gone | one "
            "write, then BGREWRITEAOF on redis-0:6379, then run again | since 02:01"
        ),
    ],
    "aof: held, written": [
        (
            "aof | holding | held | redis-0:6379 | the append-only file of redis-0:6379 has "
            "not been rewritten yet | BGREWRITEAOF on redis-0:6379, then run again"
        ),
    ],
    "aof: said none": [
        (
            "aof | holding | held | redis-0:6379 | the append-only file of redis-0:6379 has "
            "not been rewritten since 2026-11-23 02:01 UTC, when the key was gone; "
            "assume.aof says that there is none, but one is kept | one write, then "
            "BGREWRITEAOF on redis-0:6379, then run again | since 02:01"
        ),
    ],
    "aof: rewritten": [
        (
            "aof | clean | retirable | redis-0:6379 | the append-only file of redis-0:6379 "
            "was rewritten after the key was gone |  | since 02:03"
        ),
    ],
}


@pytest.mark.parametrize("situation", CASES)
def test_what_it_says(situation):
    """In each situation the places say exactly this."""
    assert [written(place) for place in CASES[situation]()] == SAYS[situation]


@pytest.mark.parametrize("situation", CASES)
def test_what_an_assumption_rests_on(situation):
    """Of each thing that is assumed a report knows who says so; of applications nobody does."""
    for one in CASES[situation]():
        if one.status is Status.ASSUMED:
            declared = assumed_of(one.evidence).basis.startswith("declared")
            assert declared is (one.kind is not Kind.WRITERS)
