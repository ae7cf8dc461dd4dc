"""
Play: nights of rotator on real servers, by one simulated clock.

A primary and a replica, or a cluster; an application that writes values with TTLs of days; a new
key every 30 days; `rotator run` every night. An old key leaves the configuration only when rotator
calls it retirable. Half of each month is stormy: `events` says what happens; the other half shows
that a key retires in peace. At every second switch the operator records a fence when the last
application has switched.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any, Final, Self

from year.application import DAY, Application
from year.bound import Night, Timetable
from year.clock import Clock
from year.events import Day, Event, Events
from year.machine import QUIET_HOURS, RETENTION_DAYS, Machine, old_keys
from year.oracle import Oracle
from year.world import Cluster, Pair, World, holdings, write

KINDS: Final = ("rdb", "aof", "cluster")
MONTH: Final = 30
STATE_BYTES: Final = 2_000_000
"""
What the state may take in the second half of a year.

Each night adds a proof and some looks at each server; only what adds evidence is to be kept, so it
does not grow for ever. In the last three months the state is never lost, so that it could.
"""
_KEPT_FROM: Final = 9 * MONTH
_QUIET_NIGHTS: Final = -(-QUIET_HOURS // 24)
_MOVE_AWAY: Final = "move the state file away"


class Year:
    """Year: one cache over simulated months; *broken* says what did not hold."""

    def __init__(self, seed: int, kind: str = "rdb", values: int = 60) -> None:
        self.broken: list[str] = []
        self.codes: Counter[int] = Counter()
        self.sizes: list[int] = []
        self.waited: list[int] = []
        self.days: list[str] = []
        self._random = Random(f"year {seed}")  # noqa: S311 - a test is to be repeated
        self.application = Application(self._random, values)
        self.timetable = Timetable(_QUIET_NIGHTS, RETENTION_DAYS)
        self._kind = kind
        self._switched: dict[str, int] = {}
        self._told = self._resumed = self._fences = False
        self._last: dict[str, Any] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="year-")))
            self.clock = stack.enter_context(Clock(folder))
            self.machine = stack.enter_context(Machine(folder, self.clock))
            self.world: World
            if self._kind == "cluster":
                self.world = stack.enter_context(Cluster(self._random, folder))
            else:
                self.world = stack.enter_context(Pair(keeps_aof=self._kind == "aof"))
            self._stack = stack.pop_all()
        parts = (self.world, self.application, self.machine)
        self.oracle = Oracle(*parts)
        self.events = Events(*parts, self.timetable, self._random, broken=self.broken)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def happened(self) -> Counter[str]:
        """How often what has happened."""
        return self.events.happened

    @property
    def _old(self) -> list[str]:
        return self.application.ring.ids[1:]

    def night(self, number: int, event: Event | None = None) -> None:
        """Play one day, with an event by chance or that one, and the night after it."""
        if number % MONTH == 0:
            self._switch(number)
        lagged = self.application.laggards > 0
        write(self.world, self.application.day(self.clock.now()))
        if event is None:
            self.events.keeps_state = number >= _KEPT_FROM
            drawn, stormy = self.events.draw(), number % MONTH < MONTH // 2
            event = drawn if stormy else Event.NOTHING
        day = Day(number, event, told=self._told)
        self.events.happen(day)
        self.days.append(f"{number} {day.event}")
        self.clock.step(DAY)
        self.world.settle()
        if self._fences and not lagged and day.right and event is not Event.FULL:
            self._fence(day)
        self._run(day)
        self.events.back_up(number)
        if number % MONTH == MONTH - 1:
            self.sizes.append(self.machine.size)

    def _switch(self, number: int) -> None:
        """Make a new key current; a fence that there was no longer counts."""
        if number:
            self._switched[self.application.ring.ids[0]] = number
        self.application.switch(lags=number > 0)
        self.timetable.unfence()
        self._fences = number // MONTH % 2 == 1

    def _fence(self, day: Day) -> None:
        """Record that no application writes with an old key any more, as of now."""
        self._configure()
        known = ("--config", str(self.machine.config), *self.machine.options)
        code, said = self.machine.command("fence", *known)
        if code:
            self.broken.append(f"the fence of night {day.number} ended with {code}: {said!r}")
        self.timetable.fence(self._old)
        self._fences = False
        self.happened["fences"] += 1

    def _configure(self) -> None:
        keys, world = self.application.ring.keys, self.world
        self.machine.configure(keys, world.addresses, world.listed)

    def _run(self, day: Day) -> None:
        """Do the run of a night, and see that all holds after it."""
        self._configure()
        held = holdings(self.world)
        before = self.application.count(held)
        code, said = self._command(day)
        report = self.machine.reported()
        held = holdings(self.world)
        after = self.application.count(held)
        self.broken += self.application.differences(held, self.clock.now())
        self.happened["values checked"] += len(held)
        self._ended(day, code, said, report)
        if code == 0:
            self._last = report
            self.broken += self.oracle.sums(report, before, after, resumed=self._resumed)
            once = report["caches"][0]["visits"] == sum(before.values())
            self.happened["tallies compared"] += once and not self._resumed
        if code == 0 or (day.event is Event.FULL and not day.lost):
            self.broken += self.oracle.agreement(self._last)
        self._resumed = code == -9
        done = code == 0 and day.right
        due = self.timetable.due(
            Night(
                day.number,
                proves=done,
                writes=done and day.event is not Event.DRY,
                met=before,
                left=after,
                lost=day.lost or code == -9,
                files_lost=day.files_lost,
            ),
            self._old,
        )
        self._judge(day, report, due)

    def _command(self, day: Day) -> tuple[int, bytes]:
        more = ("--dry-run",) if day.event is Event.DRY else ("--refresh-files",)
        full = day.event is Event.FULL
        alone = day.event is Event.KILLED or not self._random.randrange(20)
        return self.machine.run(*more, alone=alone, kill_after=day.kill_after, full=full)

    def _ended(self, day: Day, code: int, said: bytes, report: Mapping[str, Any]) -> None:
        """See that a run ended as it has to, and that it tells no secret."""
        self.codes[code] += 1
        ways = {Event.FULL: {1}, Event.KILLED: {0, -9}}.get(day.event, {0})
        text = said.decode(errors="replace")
        full = day.event is Event.FULL
        clear = "rotator: error: " in text and str(self.machine.state) in text
        clear = clear and ("make room" in text or "look at the disk" in text)
        if code not in ways or "Traceback" in text or (full and not clear):
            self.broken.append(f"night {day.number} ({day.event}) ended with {code}: {text[:3000]}")
        ring = self.application.ring
        self.broken += self.machine.leaks(said, (*ring.keys, *ring.retired))
        told = [text for key in old_keys(report).values() for text in key["reasons"]]
        far = self.timetable.ahead > day.number + MONTH // 2
        self._told = far and any(_MOVE_AWAY in one for one in told)

    def _judge(self, day: Day, report: Mapping[str, Any], due: list[str]) -> None:
        """Look into verdicts, and retire keys by them."""
        keys = old_keys(report)
        retirable = [one for one, key in keys.items() if key["verdict"] == "retirable"]
        for one in due:
            if one not in retirable:
                why = keys.get(one, {}).get("reasons", "nothing")
                self.broken.append(f"{one} is not retirable, and had to be: the report says {why}")
        if self.timetable.voided and any(map(_trusts_a_fence, keys.values())):
            self.broken.append("a fence counts, although a value was met after it")
        for key_id in retirable:
            if not day.right:
                self.broken.append(f"{key_id} is retirable by a wrong clock")
            self.broken += self.oracle.haste(
                key_id, day.number - self.timetable.met_at.get(key_id, -MONTH)
            )
            self.broken += self.oracle.whereabouts(key_id, self.events.backups)
            self.broken += self.oracle.receipt(key_id)
            self.happened["verdicts looked into"] += 1
            if key_id in due:
                self.happened["retired in the night of the bound"] += 1
            self.happened["retired by a fence"] += _trusts_a_fence(keys[key_id])
            self.application.retire(key_id)
            self.waited.append(day.number - self._switched.get(key_id, 0))

    def finish(self) -> None:
        """See that the state has stopped growing."""
        later = self.sizes[len(self.sizes) // 2 :]
        if too_large := [size for size in later if size > STATE_BYTES]:
            self.broken.append(f"the state takes {max(too_large)} bytes")


def _trusts_a_fence(key: Mapping[str, Any]) -> bool:
    """Return whether a report has it that nobody writes with a key, by a fence."""
    return any(one["kind"] == "writers" and one["status"] == "clean" for one in key["places"])
