"""What a soak makes of a verdict: the key is removed, and must be nowhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from cluster.local_cluster import LocalCluster
from soak.disks import Snapshot
from soak.faults import Faults
from soak.model import Found
from soak.runs import Run, Runs
from soak.writer import Ring, Writer, holdings


@dataclass(slots=True)
class Verdicts:
    """
    Looks for values under keys that a run has called retirable, and removes these keys.

    *broken* takes what is not as a verdict says; *happened* counts.
    """

    cluster: LocalCluster
    ring: Ring
    writer: Writer
    faults: Faults
    runs: Runs
    broken: list[str]
    happened: Counter[str] = field(default_factory=Counter)

    def judge(self, run: Run, *, act: bool) -> None:
        """See that what a run called retirable is nowhere; remove these keys if to *act* on it."""
        if not run.retirable:
            return
        with ExitStack() as after:
            with self.faults.turn, self.writer.turn:
                found = holdings(self.cluster, self.ring)
                gone = [one for one in run.retirable if self._is_gone(run, one, found)]
                if not gone or self.faults.error:
                    return
                snapshot = after.enter_context(Snapshot(self.cluster))
                for key_id in gone if act else ():
                    self._retire(key_id)
            self.look_into(snapshot, gone)

    def refuse(self, run: Run) -> None:
        """See that a run during which a server was away calls nothing retirable."""
        self.broken += [
            f"{key_id} was called retirable while a server was away" for key_id in run.retirable
        ]

    def _is_gone(self, run: Run, key_id: str, found: Mapping[bytes, Found]) -> bool:
        """
        Whether a key that a run called retirable has to be nowhere, and is under no name.

        While the application writes with it, only what was there before the run has to be gone.
        """
        under = [name for name, one in found.items() if one.key_id == key_id]
        older = [name for name in under if not self._written_since(run, key_id, name)]
        holds = self.writer.last_with.get(key_id, 0.0) < run.relies_on(key_id)
        self.happened["retirable" if holds else "retirable, had nobody written with it"] += 1
        if wrong := under if holds else older:
            self.broken.append(f"{key_id} was called retirable with {len(wrong)} values under it")
        return holds and not under

    def _written_since(self, run: Run, key_id: str, name: bytes) -> bool:
        """Whether the application wrote *name* under an old key after a run had begun."""
        used, at = self.writer.last_under.get(name, ("", 0.0))
        return used == key_id and at >= run.begun

    def _retire(self, key_id: str) -> None:
        """Remove a key from the configuration, by the word of `rotator report` too."""
        if not self.runs.confirms(key_id):
            self.broken.append(f"the run says that {key_id} is retirable, and `report` does not")
        self.ring.rotate(key_id)
        self.happened["keys retired"] += 1

    def look_into(self, snapshot: Snapshot, gone: Sequence[str] = ()) -> None:
        """See that all that is anywhere opens with the keys that are left, under none of *gone*."""
        for where, found in snapshot.read():
            self.happened["replicas and files read"] += 1
            self.happened["values in them"] += len(found)
            under = Counter(self.ring.key_of(name, value) for name, value in found)
            for key_id, number in under.items():
                if key_id not in self.ring.ids or key_id in gone:
                    self.broken.append(f"{number} values in {where} are under {key_id or 'no key'}")
