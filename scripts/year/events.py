"""Events: what happens to servers, to the machine of rotator and to the application on a day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Final

from year.application import DAY, Application
from year.backup import Backup
from year.bound import Timetable
from year.machine import RETENTION_DAYS, Machine
from year.world import World, holdings, write

_JUMPS: Final = (1 / 24, 5, 40)  # days; after the last one the state is to be moved away
_LATEST_KILL: Final = 3  # seconds


class Event(StrEnum):
    """Event: the kinds there are."""

    NOTHING = "nothing"
    RESTART = "restart"
    FAILOVER = "failover"
    REPLICA = "replica restart"
    OLD_FILES = "old files"
    LAGGARD = "laggard"
    AHEAD = "clock ahead"
    BEHIND = "clock behind"
    LOST = "state lost"
    LAST_WEEK = "state of last week"
    UPGRADE = "state of 1.0.0"
    FULL = "full disk"
    KILLED = "killed run"
    DRY = "dry run"


WEIGHTS: Final = {
    Event.NOTHING: 50,
    Event.RESTART: 6,
    Event.FAILOVER: 6,
    Event.REPLICA: 6,
    Event.OLD_FILES: 4,
    Event.LAGGARD: 4,
    Event.AHEAD: 4,
    Event.BEHIND: 4,
    Event.LOST: 2,
    Event.LAST_WEEK: 3,
    Event.UPGRADE: 3,
    Event.FULL: 4,
    Event.KILLED: 5,
    Event.DRY: 4,
}
"""How often each is drawn, of a hundred or so."""

_OF_THE_STATE: Final = {Event.LOST, Event.LAST_WEEK, Event.UPGRADE}


@dataclass(slots=True)
class Day:
    """
    Day: what became of what was known: *lost*, or of files only.

    *told*: the night before said that the state is to be moved away. *kill_after* is when the run
    is killed, in seconds.
    """

    number: int
    event: Event
    told: bool = False
    lost: bool = False
    files_lost: bool = False
    kill_after: float | None = None

    @property
    def right(self) -> bool:
        """True if rotator has the right time."""
        return self.event not in {Event.AHEAD, Event.BEHIND}


@dataclass(slots=True)
class Events:
    """
    Events: has them happen; what a backup or a copy of the state knew is noted with it.

    *keeps_state*: it is not lost from now on. *broken* takes what does not hold, *happened* counts.
    """

    world: World
    application: Application
    machine: Machine
    timetable: Timetable
    random: Random
    keeps_state: bool = False
    broken: list[str] = field(default_factory=list)
    happened: Counter[str] = field(default_factory=Counter)
    backups: list[Backup] = field(default_factory=list)
    _ahead_then: int = 0
    _copied_at: int = 0

    def draw(self) -> Event:
        """Return an event by chance."""
        events = [one for one in WEIGHTS if not (self.keeps_state and one in _OF_THE_STATE)]
        return self.random.choices(events, [WEIGHTS[one] for one in events])[0]

    def happen(self, day: Day) -> None:
        """Do what the event of a day is."""
        self.machine.clock.off = 0.0
        if day.told:
            self.happened["state moved away as told"] += 1
            self._forget(day)
        do: Callable[[Day], bool] = {
            Event.RESTART: self._restart,
            Event.REPLICA: self._restart,
            Event.FAILOVER: self._fail_over,
            Event.OLD_FILES: self._restore,
            Event.LAGGARD: self._lag,
            Event.AHEAD: self._jump,
            Event.BEHIND: self._jump,
            Event.LOST: self._forget,
            Event.LAST_WEEK: self._go_back,
            Event.UPGRADE: self._upgrade,
            Event.KILLED: self._kill,
        }.get(day.event, lambda _: True)
        if not do(day):
            day.event = Event.NOTHING
        self.happened[str(day.event)] += 1

    def back_up(self, day: int) -> None:
        """Copy the files of all servers, and the state once a week; forget what is too old."""
        folder = self.machine.folder / f"backup-{day}"
        self.backups.append(Backup(folder, day, self.world.nodes))
        while self.backups[0].day <= day - RETENTION_DAYS:
            self.backups.pop(0).remove()
        if day % 7 == 0:
            self.machine.save_state()
            self._copied_at = day
            self._ahead_then = self.timetable.ahead

    def _restart(self, day: Day) -> bool:
        replica = day.event is Event.REPLICA
        self.world.restart(replica=replica)
        day.files_lost, day.lost = replica, not replica
        return True

    def _fail_over(self, day: Day) -> bool:
        day.lost = self.world.fail_over(day.number)
        return day.lost

    def _restore(self, day: Day) -> bool:
        """Have the servers start from files that are days old: values are what they were."""
        ready = [one for one in self.backups if one.ready]
        if not ready:
            return False
        self.world.restore(self.random.choice(ready))
        self.broken += self.application.go_back(holdings(self.world))
        day.lost = True
        return True

    def _lag(self, _day: Day) -> bool:
        """Have an application write with an old key that was thought to have the new one."""
        if len(self.application.ring.keys) < 2:
            return False
        write(self.world, self.application.lag(self.machine.clock.now()))
        return True

    def _jump(self, day: Day) -> bool:
        """Let the machine have a wrong time; what it writes down may be of the future."""
        days = self.random.choice(_JUMPS[:-1] if self.keeps_state else _JUMPS)
        ahead = day.event is Event.AHEAD
        self.machine.clock.off = days * DAY * (1 if ahead else -1)
        wrong_until = day.number + 1 + (int(days) if ahead else 0)
        self.timetable.ahead = max(self.timetable.ahead, wrong_until)
        return True

    def _forget(self, day: Day) -> bool:
        self.machine.lose_state()
        self._nothing_known(day)
        return True

    def _go_back(self, day: Day) -> bool:
        """
        Put an older copy of the state in place, or none if it would be wrong of an old key.

        What was met since that copy was made is nowhere else, and nobody may forget that.
        """
        old, met_at = self.application.ring.ids[1:], self.timetable.met_at
        knows = all(met_at.get(key, 0) <= self._copied_at for key in old)
        restored = self.machine.lose_state(restore=knows)
        self._nothing_known(day)
        if restored:
            self.timetable.ahead = self._ahead_then
        else:
            day.event = Event.LOST
        return True

    def _upgrade(self, day: Day) -> bool:
        """Put a state of 1.0.0 in place that says of an old key that it was gone weeks ago."""
        ring, server = self.application.ring, self.world.primaries[0]
        if len(ring.keys) < 2:
            return False
        with server.client() as client:
            run = client.info("server")["run_id"]
        name = {"name": "year", "address": server.address, "run": run}
        self.machine.take_state_of_1_0_0(**name, current=ring.ids[0], old=ring.ids[1])
        self._nothing_known(day)
        return True

    def _nothing_known(self, day: Day) -> None:
        day.lost = True
        self.timetable.ahead = 0
        self.timetable.unfence()

    def _kill(self, day: Day) -> bool:
        day.kill_after = self.random.uniform(0.5, _LATEST_KILL)
        return True
