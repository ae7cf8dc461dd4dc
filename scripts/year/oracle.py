"""
Oracle: what must hold, found out by other means than rotator's: reading all servers and files.

- No key is retirable while a value under it is in a memory, in what a server has that is started
  from a file, or in a backup that is not older than the retention; nor by a wrong clock.
- A report adds up: its outcomes, and what it counts of each key beside what the servers hold before
  and after; `report`, `status` and `keys` say the same; a receipt is as it was signed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from year.application import Application
from year.backup import Backup
from year.machine import RETENTION_DAYS, Machine, old_keys
from year.world import World, holdings


@dataclass(slots=True)
class Oracle:
    """Oracle: looks into verdicts and reports; sentences say what does not hold."""

    world: World
    application: Application
    machine: Machine

    def whereabouts(self, key_id: str, backups: Iterable[Backup]) -> list[str]:
        """Return where values under a key still are that is said to be retirable."""
        found = [
            (where, len(names))
            for where, values in self._everywhere(backups)
            if (names := [n for n, value in values if self._is_under(n, value, key_id)])
        ]
        return [f"{key_id} is retirable, {number} values in {where}" for where, number in found]

    def _is_under(self, name: bytes, value: bytes, key_id: str) -> bool:
        return self.application.ring.key_of(name, value) == key_id

    def _everywhere(
        self, backups: Iterable[Backup]
    ) -> Iterator[tuple[str, list[tuple[bytes, bytes]]]]:
        memory = [(name, value) for name, (value, _) in holdings(self.world).items()]
        yield "the memory of primaries", memory
        with self.world.snapshot() as snapshot:
            yield from snapshot.read()
        for backup in backups:
            yield from backup.read()

    @staticmethod
    def haste(key_id: str, nights: int) -> list[str]:
        """Return that a verdict came sooner after the last value than backups are kept."""
        if nights >= RETENTION_DAYS:
            return []
        return [f"{key_id} is retirable {nights} nights after a value under it was in memory"]

    def sums(
        self,
        report: Mapping[str, Any],
        before: Counter[str],
        after: Counter[str],
        *,
        resumed: bool,
    ) -> list[str]:
        """Return what does not add up in a report; *before* and *after* are values by key id."""
        (cache,) = report["caches"]
        outcomes, visits = Counter(cache["outcomes"]), cache["visits"]
        broken = []
        if sum(outcomes.values()) != visits:
            broken.append(f"{visits} visits, and the outcomes are {outcomes}")
        moved = outcomes["rotated"] + outcomes["would_rotate"]
        if outcomes["current"] + moved != visits - outcomes["gone"]:
            broken.append(f"not all values were opened: {outcomes}")
        if sum(key["found"] for key in cache["keys"]) != outcomes["current"] + moved:
            broken.append("what was found of the keys is not what was opened")
        if sum(key["rotated"] for key in cache["keys"]) != outcomes["rotated"]:
            broken.append("what was rotated of the keys is not what was rotated in all")
        if visits < sum(before.values()):
            broken.append(f"{visits} visits of {sum(before.values())} names")
        if not resumed and visits == sum(before.values()):  # no name came twice
            broken += _tallies(cache["keys"], before, after)
        return broken

    def agreement(self, report: Mapping[str, Any]) -> list[str]:
        """Return where other commands say something else than the report of the last run."""
        verdicts = {key_id: key["verdict"] for key_id, key in old_keys(report).items()}
        state, config = self.machine.options, ("--config", str(self.machine.config))
        again = self._json("report", *state)
        status = self._json("status", *state)
        ring = self._json("keys", *config)
        said = {
            "report": {key_id: key["verdict"] for key_id, key in old_keys(again).items()},
            "status": {
                key_id: one for last in status["last"] for key_id, one in last["keys"].items()
            },
        }
        broken = [
            f"{name} says {one}, the run {verdicts}"
            for name, one in said.items()
            if one != verdicts
        ]
        listed = [key["id"] for key in ring["keys"]]
        if listed != self.application.ring.ids:
            broken.append(f"`keys` lists {listed}")
        return broken

    def _json(self, *arguments: str) -> dict[str, Any]:
        _, said = self.machine.command(*arguments, "--format", "json")
        return dict(json.loads(said))

    def receipt(self, key_id: str) -> list[str]:
        """Return what is wrong with the receipt of a key that is retirable."""
        folder = self.machine.folder
        path, state = folder / "receipt.json", self.machine.options
        required = self.machine.command("report", *state, "--require", f"retirable:{key_id}")
        signed = ("--sign", str(folder / "audit.pem"))
        made = self.machine.command(
            "report", *state, "--receipt", str(path), "--key", key_id, *signed
        )
        checked = ("--verify-receipt", str(path), "--public", str(folder / "audit.pub.pem"))
        verified = self.machine.command("report", *checked)
        broken = [
            f"{what} of {key_id}: {code}, {said.decode(errors='replace')[:500]}"
            for what, (code, said) in {
                "requirement": required,
                "receipt": made,
                "check of the receipt": verified,
            }.items()
            if code
        ]
        if not broken and not (key_id.encode() in verified[1] and b"retirable" in verified[1]):
            broken.append(f"the receipt of {key_id} says {verified[1]!r}")
        return broken


def _tallies(
    keys: Collection[Mapping[str, Any]], before: Counter[str], after: Counter[str]
) -> Iterator[str]:
    """Yield where the counts of keys are not what the servers hold."""
    for key in keys:
        key_id, found = key["id"], key["found"]
        if found != before[key_id]:
            yield f"{found} found under {key_id}, and there were {before[key_id]}"
        if key["role"] == "old" and key["remaining"] != after[key_id]:
            yield f"{key['remaining']} remain under {key_id}, and there are {after[key_id]}"
        if key["role"] == "old" and key["rotated"] != found - key["remaining"]:
            yield f"{key['rotated']} of {found} under {key_id} rotated, {key['remaining']} remain"
