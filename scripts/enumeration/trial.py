"""
One trial: a command is killed or cut off at one point, begun again, and all that is left looked at.

What must hold after every trial, by what the servers say and not by what rotator does:

- every value is there, opens, and holds what the application wrote; names and fields expire at the
  millisecond they did, and nothing else is there; the replica has the same;
- a dry run has changed no byte, `purge` deleted nothing but what is under its key, `adopt` changed
  only what it was told to;
- no key is called retirable in the state or in the report while a value under it is in the memory
  of a server or in a file that it would start from, also one that an application wrote while nobody
  ran; nor is one held or verifying that is in the memory of a primary;
- a report and a file of metrics are whole or not there;
- a command that ends with 0 in spite of a fault has left nothing to do;
- the next run goes on and ends well, counts every value once (a dry run, too), and in the end all
  is under the current key and every old key retirable;
- no key and no plaintext is in what rotator says or leaves behind.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from enumeration import outputs
from enumeration.places import CLUSTER, Servers
from enumeration.proxy import Fault
from enumeration.values import MARK, Entry, Found, Key, Place, make, sealed
from enumeration.warm_client import WarmClient
from rotator.errors import Exit
from rotator.retirement.places import Verdict

KILLED_AT_WRITE: Final = "killed at a write"
SYSTEM_CALLS: Final = {
    f"killed at {call}": call
    for call in ("pwrite64", "write", "fsync", "fdatasync", "ftruncate", "link", "unlink", "rename")
}
"""Killed as it begins a call that writes to a file; by strace, in a process of its own."""
FAULTS: Final = (*map(str, Fault), KILLED_AT_WRITE)
"""What may happen at a point where there is no strace."""

_ROUNDS: Final = 4  # runs in peace until every old key is retirable
_PURGED: Final = 2  # the number of the key whose values `purge` deletes
_GONE: Final = {Verdict.VERIFYING, Verdict.HELD, Verdict.RETIRABLE}  # under no name any more
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - only for speed: the disk is not what is tried


class Command(StrEnum):
    """The commands that are tried."""

    RUN = "run"
    DRY_RUN = "run --dry-run"
    PURGE = "purge"
    ADOPT = "adopt"


class Point(NamedTuple):
    """Where something happens: *number* counts commands, or writes, from 1."""

    place: str
    command: Command
    fault: str
    number: int

    def __str__(self) -> str:
        return f"{self.place}: {self.command}, {self.fault}, number {self.number}"


class Trials:
    """
    Trials: plays points on the servers of one place, one after the other.

    *servers* and *client* are there already. What is left of a broken trial is kept in *kept*, if
    that is given.
    """

    def __init__(self, servers: Servers, client: WarmClient, kept: Path | None = None) -> None:
        self._servers, self._client, self._kept = servers, client, kept

    def play(self, point: Point) -> list[str] | None:
        """Play one; return what is broken, a sentence each, or None: it has no such point."""
        with tempfile.TemporaryDirectory(prefix="trial-", dir=_MEMORY) as folder:
            trial = Trial(self._servers, self._client, Path(folder), point)
            if not trial.begin():
                return None
            trial.go_on()
            if trial.broken and self._kept is not None:
                shutil.copytree(folder, self._kept / str(point), dirs_exist_ok=True)
            return [f"{point} ({trial.where}): {what}" for what in trial.broken]

    def count(self, place: str, command: Command) -> int:
        """Return how many commands a command sends where nothing happens."""
        with tempfile.TemporaryDirectory(prefix="trial-", dir=_MEMORY) as folder:
            point = Point(place, command, Fault.CUT, 0)
            trial = Trial(self._servers, self._client, Path(folder), point)
            trial.begin()
            return trial.commands


class Trial:
    """Trial: one command at one point; *broken* says what does not hold, *where* it happened."""

    def __init__(self, servers: Servers, client: WarmClient, folder: Path, point: Point) -> None:
        self._servers, self._client, self._folder, self._point = servers, client, folder, point
        servers.meter.kill = client.kill
        self.broken: list[str] = []
        self.where = ""
        self.commands = 0
        self._keys = [Key() for _ in range(3)]
        self._entries = make(self._keys, point.number, plain=point.command is Command.ADOPT)
        servers.empty()
        servers.fill(self._entries)
        servers.save()  # or no file would ever hold what a verdict is about
        self._configure()

    def _configure(self) -> None:
        current, *old = (key.text for key in self._keys)
        proxies = {node: proxy.address for node, proxy in self._servers.proxies.items()}
        cache = {
            "name": "trial",
            "type": "redis",
            "encryption": {"keys": {"current": current, "old": old}},
            "redis": {"addresses": [node.address for node in self._servers.primaries]},
        }
        settings: dict[str, object] = {"fields": "*", "addressMap": proxies}
        if self._point.command is Command.ADOPT:
            settings["write"] = "sealed"
        told = {"caches": [cache], "rotator": {"caches": {"trial": settings}}}
        (self._folder / outputs.CONFIG).write_text(json.dumps(told))

    def begin(self) -> bool:
        """Run the command with its fault; return whether the point was reached."""
        fault, number = self._point.fault, self._point.number
        if fault in SYSTEM_CALLS:
            return self._traced(SYSTEM_CALLS[fault], number) < 0
        if fault == KILLED_AT_WRITE:
            return self._command(kill_at=number) < 0
        meter = self._servers.meter
        meter.set(number, Fault(fault))
        code = self._command(hurried=True)
        happened, self.commands = meter.happened, meter.count
        self.broken += meter.broken
        meter.set(None)
        if code == Exit.OK and self._left():
            self.broken.append("it ends with 0, and has left something to do")
        self.where = "" if happened is None else happened.decode(errors="replace")
        return happened is not None

    def _traced(self, call: str, number: int) -> int:
        """Run the command in a process that strace kills at a call of the system, its exit code."""
        kill = f"inject={call}:signal=SIGKILL:when={number}"
        strace = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", kill)
        command = (*strace, "-e", f"trace={call}", sys.executable, "-m", "rotator", *self._args())
        with (self._folder / "logged").open("ab") as logged:
            ended = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=logged, stderr=logged, check=False
            )
        return ended.returncode

    def _command(self, kill_at: int | None = None, *, hurried: bool = False) -> int:
        """Run the command of the point in a warm process; return its exit code."""
        return self._client.run(self._folder, self._args(), kill_at, hurried=hurried)

    def _args(self) -> list[str]:
        """Return the command line of the point."""
        command = self._point.command
        more = ["--page", "60" if self._point.place == CLUSTER else "20"]
        more += ["--state", self._path(outputs.STATE), "--config", self._path(outputs.CONFIG)]
        if command is Command.PURGE:
            more += ["--key", self._keys[_PURGED].id, "--yes"]
        elif command is Command.ADOPT:
            more += ["--match", "plain:*", "--yes"]
        else:
            more += ["--report", self._path(outputs.REPORT)]
            more += ["--metrics-file", self._path(outputs.METRICS)]
            # Others' processes would import rotator at every point, and have a user's deadlines.
            more += ["--quiet", "0s", "--max-latency", "0", "--workers", "1"]
        more += ["--refresh-files"] if command is Command.RUN else []
        return [*str(command).split(), *more, "--format", "json"]

    def _path(self, name: str) -> str:
        return str(self._folder / name)

    def go_on(self) -> None:
        """Look at what is left, go on, and look again."""
        self._look()
        late = self._point.command is Command.RUN and self._point.number % 2
        if late:
            self._write_late()
        left, code = self._left(), self._command()
        self._look()
        if code and not (late and code == Exit.NOT_MOVED):
            self.broken.append(f"the next run ends with {code}")
        elif self._point.command is Command.RUN:
            self._rotate_in_peace()
        elif self._left():
            self.broken.append("the next run has left something to do")
        elif self._point.command is Command.DRY_RUN:
            self._look_at_counts()
        elif (done := outputs.handled(self._folder)) != left:
            self.broken.append(f"{left} values were left, and {done} are said to be dealt with")
        self._look_for_leaks()

    def _write_late(self) -> None:
        """Write as an application that has not heard of the new key."""
        random = Random(self._point.number)  # noqa: S311 - a trial is to be repeated
        late = sealed(self._keys[1], 1, b"late:1", 0, random, -1)
        self._entries[b"late:1", None] = late
        self._servers.fill({(b"late:1", None): late})
        self._servers.save()

    def _rotate_in_peace(self) -> None:
        """Run until every old key is retirable, and see that all is done then."""
        for _ in range(_ROUNDS):
            if len(self._retirable()) == len(self._keys) - 1:
                break
            if code := self._command():
                self.broken.append(f"in peace, a run ends with {code}")
            self._look()
        else:
            self.broken.append("old keys do not get retirable")
        if self._left():
            self.broken.append("values are under old keys, and all of these are retirable")
        self._look_at_counts()

    def _look_at_counts(self) -> None:
        """See that the last report counts every value once."""
        [cache] = json.loads((self._folder / outputs.REPORT).read_text())["caches"]
        counted = {name: number for name, number in cache["outcomes"].items() if number}
        there = len(self._entries)
        moved = "would_rotate" if self._point.command is Command.DRY_RUN else "rotated"
        if sum(counted.values()) != there or set(counted) - {"current", moved}:
            self.broken.append(f"{there} values are there, and {counted} were counted")
        for key in cache["keys"]:
            if key["found"] != key["rotated"] + key["remaining"] and key["role"] == "old":
                self.broken.append(f"the counts of {key['id']} do not add up")

    def _look(self) -> None:
        """See that what is there is what must be there, and that no verdict is too good."""
        found = self._servers.contents()
        for place, entry in self._entries.items():
            if (why := self._wrong(place, entry, found.get(place))) is not None:
                self.broken.append(f"{place} {why}")
        self.broken += [f"{place} is there" for place in found if place not in self._entries]
        if (apart := self._servers.difference()) is not None:
            self.broken.append(apart)
        self.broken += outputs.halves(self._folder)
        said = (outputs.of_the_state(self._folder), outputs.of_the_report(self._folder))
        for key_id, verdict in dict.fromkeys(one for told in said for one in told.items()):
            if verdict in _GONE and (under := self._under(key_id, found)):
                self.broken.append(f"{key_id} is called {verdict}, {under} values are under it")
            where = self._in(key_id) if verdict == Verdict.RETIRABLE else ()
            self.broken += [f"{key_id} is called retirable and is in {one}" for one in where]

    def _under(self, key_id: str, found: Mapping[Place, Found]) -> int:
        """Return how many values under a key are in the memory of primaries."""
        return sum(
            place in found and found[place].value == entry.value
            for place, entry in self._entries.items()
            if entry.key is not None and self._keys[entry.key].id == key_id
        )

    def _wrong(self, place: Place, entry: Entry, found: Found | None) -> str | None:
        """Say what is wrong with one value, if anything is."""
        purged = self._point.command is Command.PURGE and entry.key == _PURGED
        if found is None:
            return None if purged else "is lost"
        fields = self._servers.field_ttls
        if found[1:] != (entry.at_ms, entry.field_at_ms if fields else -1):
            return f"expires at {found[1:]}"
        if found.value == entry.value:
            return None
        changed = (Command.RUN, entry.key is not None), (Command.ADOPT, entry.key is None)
        if (self._point.command, True) not in changed:
            return "was changed"
        opened = self._opened(place, entry, found.value)
        return None if opened == entry.plaintext else "does not open, or holds something else"

    def _opened(self, place: Place, entry: Entry, value: bytes) -> bytes | None:
        """Open what was rewritten: under the current key, in the format that it had."""
        forms = [entry.form] if entry.form else ["sealed", "gcm", "gcm-base64"]
        opened = (self._keys[0].open(form, place[0], value) for form in forms)
        return next((one for one in opened if one is not None), None)

    def _retirable(self) -> list[str]:
        """Return the ids of the keys that the state calls retirable."""
        verdicts = outputs.of_the_state(self._folder).items()
        return [key_id for key_id, verdict in verdicts if verdict == Verdict.RETIRABLE]

    def _in(self, key_id: str) -> list[str]:
        """Return where values under a key are."""
        number = [key.id for key in self._keys].index(key_id)
        values = [entry.value for entry in self._entries.values() if entry.key == number]
        copies = self._servers.copies()
        return [where for where, copy in copies if any(value in copy for value in values)]

    def _left(self) -> int:
        """Return how many values the command still has something to do with."""
        own: dict[Command, tuple[int | None, ...]]
        own = {Command.RUN: (1, 2), Command.PURGE: (_PURGED,), Command.ADOPT: (None,)}
        found, keys = self._servers.contents(), own.get(self._point.command, ())
        return sum(
            found[place].value == entry.value
            for place, entry in self._entries.items()
            if entry.key in keys and place in found
        )

    def _look_for_leaks(self) -> None:
        """See that no key and no plaintext is in any file but the configuration."""
        keys = (key.text.encode() for key in self._keys)
        self.broken += outputs.leaks(self._folder, [MARK, *keys])
