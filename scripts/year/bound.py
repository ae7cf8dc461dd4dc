"""
Bound: by which night an old key has to be retired, from what happened, by the rules of `verdict`.

A night is a run, a day after the one before. With a quiet time of Q nights and a retention of R:

1. *First proof.* A run that ends well by a right clock proves what it left. What it moved it has
   verified, so the run that meets the last value is the first proof too (verdict 2.5). A dry run
   that meets nothing is one as well; one that meets something leaves it.
2. *Confirmed.* The next proof at least the quiet time later, so Q nights on; with a fence the first
   proof that begins after it is enough (verdict 1 and 5), but for a key that was met again after
   it was gone: that one is in use until the quiet time has passed.
3. *All is clean.* In the run that confirms it, for it has the servers write their files anew
   (`--refresh-files`), which it does once nothing else holds any old key (verdict 8). A dry run
   does not.
4. *Retired.* R nights after that, for backups are counted from there (verdict 1), in the first run
   that ends well by a right clock.

What takes evidence away begins again at 1: the key is met; the primary is another process, or goes
on from a file, which may end the lineage (verdict 4); the state is lost, older or of 1.0.0; a run
was killed, and nobody knows what it met (verdict 7). A replica that restarts has files of unknown
age, and begins again at 3. A run by a wrong clock proves nothing; where it was ahead, nothing
counts until the time that it wrote down has come. On a full disk nothing is learnt, nor lost.

Rotator may be sooner: a restart may keep the lineage, a file may have been saved meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Night:
    """
    Night: what happened until a run of that *number* ended, and in it.

    It *proves* what it found, and *writes* files anew. *met* are keys that were in memory before
    it, and *left* those that still are. *lost*: what was known counts no more; *files_lost*: of
    files only.
    """

    number: int
    proves: bool
    writes: bool
    met: Collection[str] = ()
    left: Collection[str] = ()
    lost: bool = False
    files_lost: bool = False


@dataclass(slots=True)
class _Course:
    """Course: when a key was first proven to be gone, and since when all is clean of it."""

    first: int | None = None
    clean: int | None = None


@dataclass(slots=True)
class Timetable:
    """
    Timetable: takes nights, and says which keys have to be retirable by now.

    *quiet* and *retention* are numbers of nights. *ahead* is the night from which the times that
    were written down are past, and *fenced* are the keys of the fence; *voided*: one of them was
    met after it was proven to be gone. *met_at* is the last night before which a key was in memory.
    """

    quiet: int
    retention: int
    ahead: int = 0
    fenced: frozenset[str] = frozenset()
    voided: bool = False
    met_at: dict[str, int] = field(default_factory=dict)
    _courses: dict[str, _Course] = field(default_factory=dict)

    def fence(self, keys: Collection[str]) -> None:
        """Take a fence around these keys: only later proofs count."""
        self.fenced, self.voided = frozenset(keys), False
        for key in keys:
            course = self._courses.setdefault(key, _Course())
            course.first = course.clean = None

    def unfence(self) -> None:
        """Take it that there is no fence."""
        self.fenced, self.voided = frozenset(), False

    def due(self, night: Night, old: Collection[str]) -> list[str]:
        """Take a night, and return those of the *old* keys that have to be retirable by its run."""
        self.met_at |= dict.fromkeys(night.met, night.number)
        courses = {key: self._courses.setdefault(key, _Course()) for key in old}
        returned = [key for key in night.met if key in self.fenced and self._is_gone(key)]
        if returned and not night.lost:
            self.voided = self.voided or night.proves
            self.fenced = frozenset()
        for key, course in courses.items():
            if night.lost or key in night.met:
                course.first = course.clean = None
            elif night.files_lost:
                course.clean = None
        if not night.proves or night.number < self.ahead:
            return []
        for key, course in courses.items():
            if course.first is None and key not in night.left:
                course.first = night.number
        confirmed = [
            key for key, course in courses.items() if self._is_confirmed(key, course, night)
        ]
        for key in confirmed:
            if courses[key].clean is None and night.writes and len(confirmed) == len(courses):
                courses[key].clean = night.number
        return [key for key in confirmed if self._is_over(courses[key], night)]

    def _is_gone(self, key: str) -> bool:
        course = self._courses.get(key)
        return course is not None and course.first is not None

    def _is_confirmed(self, key: str, course: _Course, night: Night) -> bool:
        if course.first is None:
            return False
        return key in self.fenced or night.number >= course.first + self.quiet

    def _is_over(self, course: _Course, night: Night) -> bool:
        return course.clean is not None and night.number >= course.clean + self.retention
