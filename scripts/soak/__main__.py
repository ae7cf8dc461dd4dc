"""
Rotate a cluster for minutes while everything breaks: `make soak MINUTES=10`.

A private cluster of three primaries with a replica each, with RDB and append-only files as the seed
says; an application that writes, at times under old keys too; rotator, again and again, by
processes of which many are killed; servers that die or restart from their files, replicas that take
over, slots that move, and partitions: servers are cut off from one another or from rotator, one way
or both, and get together again before or after a replica has taken over. Storms and calms take
turns. In a calm an old key that rotator calls retirable is removed from the configuration, and a
new one made. What must hold:

- every value whose write a replica confirmed is there, opens, and is what was written;
- it expires when it was told to; what was deleted or has expired is not there;
- nothing is there that nobody wrote;
- no key is called retirable while a value under it has been there since before the run;
- where the application has not written with it since the time that the verdict names, none is
  there either, nor in the memory of a replica, nor in what a server has that is started from a copy
  of any file of any server; and so it stays when the key is removed;
- no key is called retirable by a run during which a server was away;
- in the end, in peace, one run gets every old key to retirable;
- no key, password or plaintext is in what rotator says and leaves behind.

Prints the seed and figures, and ends with 1 if any of it does not hold. Needs a server that knows
PEXPIRETIME (Redis 7.0, Valkey).
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Final, Self

from cluster.network import Network
from rotator.demo.local_server import DeferredSignals
from rotator.errors import RotatorError
from rotator.text import rfc3339, utc_now
from soak.disks import DiskCluster, Snapshot
from soak.faults import Faults
from soak.model import Model
from soak.runs import QUIET_SECONDS, Run, Runs
from soak.verdicts import Verdicts
from soak.writer import MARK, Ring, Writer, holdings

_NAMES: Final = 1500
_UNTOUCHED: Final = 1500
_STORM_SECONDS: Final = 30.0
_CALM_SECONDS: Final = 20.0
_AWAY: Final = 8  # of so many runs in peace, one has to do without a server
_SHOWN: Final = 20  # broken rules


class Soak:
    """One soak: `with Soak(seed) as soak: soak.run(60); soak.finish()`; then *broken* is empty."""

    def __init__(self, seed: int, names: int = _NAMES, untouched: int = _UNTOUCHED) -> None:
        self.seed = seed
        self.broken: list[str] = []
        self.checks = 0
        self.checked = 0
        self._password = secrets.token_hex(16)
        self._size = (names, untouched)
        self._network = Network()
        self._cluster = DiskCluster(
            self._network,
            ["--user", "rotator", "on", f">{self._password}", "~*", "&*", "+@all"],
            f"files {seed}",
        )
        self._folder = tempfile.TemporaryDirectory(prefix="rotator-soak-")
        self.ring = Ring(3)
        self.model = Model()
        self._random = Random(f"soak {seed}")  # noqa: S311 - a test is to be repeated
        self.runs = Runs(Path(self._folder.name), self.broken, f"runs {seed}")

    def __enter__(self) -> Self:
        self._network.__enter__()
        try:
            self._cluster.start()
            self.faults = Faults(self._cluster, self.model, f"faults {self.seed}")
            self.writer = Writer(self._cluster, self.ring, self.model, f"writer {self.seed}")
            self.verdicts = Verdicts(
                self._cluster, self.ring, self.writer, self.faults, self.runs, self.broken
            )
            self.writer.fill(*self._size)
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end_threads()
        self._remove()

    def _remove(self) -> None:
        self._cluster.remove()
        self._network.__exit__()
        self._folder.cleanup()

    def _end_threads(self) -> None:
        for thread in (self.writer, self.faults):
            thread.over.set()
            if thread.ident is not None:
                thread.join()

    def run(
        self,
        seconds: float,
        storm: float = _STORM_SECONDS,
        calm: float = _CALM_SECONDS,
        stopping: Callable[[], object] = lambda: None,
    ) -> None:
        """Let it storm and be calm in turns for so many seconds."""
        end = time.monotonic() + seconds
        self.writer.start()
        self.faults.start()

        def going(until: float) -> bool:
            now = time.monotonic()
            return now < min(until, end) and not stopping() and self.faults.error is None

        while going(end):
            until = time.monotonic() + storm
            self.faults.calm.clear()
            self.writer.laggards = True
            while going(until):
                self._configure()
                self.judge(self.runs.any())
            self.faults.calm.set()
            self.writer.laggards = False
            self.check()
            until = time.monotonic() + calm
            while going(until):
                self._configure()
                self.judge(self._run_in_peace())

    def _configure(self) -> None:
        addresses = [node.address for node in self._cluster.nodes]
        self.runs.configure(addresses, self.ring.keys, self._password)

    def _run_in_peace(self) -> Run:
        """One run, at times without one of the servers, and what it asks an operator to do."""
        if not self._random.randrange(_AWAY):
            with self.faults.one_away():
                run = self.runs.one("one away")
            self.verdicts.refuse(run)
            return run
        at = float(int(time.time()))
        is_true = all(self.writer.last_with.get(one, 0.0) < at for one in self.ring.ids[1:])
        run = self.runs.peaceful(at if is_true else None)
        if run.how == "fenced":
            self.ring.fenced = True
        elif run.how == "to the end":
            with self.faults.turn:
                self.faults.clean_files(run.files)
        return run

    def judge(self, run: Run, *, act: bool = True) -> None:
        """See that what a run called retirable is, and *act* on it."""
        self._look_for_leaks()
        self.verdicts.judge(run, act=act and self.faults.calm.is_set())

    def check(self) -> None:
        """Compare all there is with what must be there, while nothing moves."""
        with ExitStack() as after:
            with self.faults.turn, self.writer.turn:
                if self.faults.error:
                    return
                begun = int(time.time() * 1000)
                found = holdings(self._cluster, self.ring)
                self.broken += self.model.broken(found, begun, int(time.time() * 1000))
                self.checks += 1
                self.checked += self.model.checked()
                snapshot = after.enter_context(Snapshot(self._cluster))
            self.verdicts.look_into(snapshot)

    def finish(self) -> None:
        """Let rotator run to the end in peace, and look at everything."""
        if not self.writer.is_alive():
            self.broken.append("the application has ended before its time")
        self._end_threads()
        if self.faults.error:
            self.broken.append(self.faults.error)
            return
        self.faults.rest()
        self._configure()
        # What the last storm left under old keys says that somebody writes, until it is quiet.
        self.judge(self.runs.one("to the end", "--fresh"), act=False)
        time.sleep(QUIET_SECONDS)
        run = self.runs.one("last")
        self.judge(run, act=False)
        if run.code != 0 or set(run.retirable) != set(self.ring.ids[1:]):
            self.broken.append(f"in peace, a run ends with {run.code} and {run.verdicts}")
        self.faults.promote_all()
        self.check()
        found = holdings(self._cluster, self.ring).values()
        if old := sum(one.key_id != self.ring.ids[0] for one in found):
            self.broken.append(f"{old} values are under old keys after the last run")

    def _look_for_leaks(self) -> None:
        kept = {"the password": self._password.encode(), "a plaintext": MARK}
        for key in (*self.ring.keys, *self.ring.retired):
            kept |= {"a key": key.encode(), "a key's bytes": bytes.fromhex(key)}
            self.broken += self.runs.leaks(kept)

    def spoil(self, how: str) -> None:
        """Break a rule on purpose, so that it can be seen that this is noticed."""
        name = b"soak:%06d" % self._size[0]  # one that is never written again
        with self._cluster.client_for(name) as client:
            if how == "value":
                client.setrange(name, 20, b"????")
            elif how == "loss":
                client.delete(name)
            elif how == "expiry":
                client.pexpire(name, 10_000_000)
            elif how == "creation":
                client.copy(name, b"{%s}copy" % name)
            elif how == "leak":
                (self.runs.folder / "said").write_text(self.ring.keys[0])
                self._look_for_leaks()
            elif how in {"verdict", "file"}:
                kept = client.get(name)
                client.set(name, self.ring.seal(name, MARK, 1, "gcm"), keepttl=True)
                if how == "file":
                    client.save()
                    client.set(name, kept, keepttl=True)
                self.judge(self._made_up(self.ring.ids[1]), act=False)

    @staticmethod
    def _made_up(key_id: str) -> Run:
        """A run that calls a key retirable that was just met."""
        key = {"id": key_id, "verdict": "retirable", "last_seen_at": rfc3339(utc_now())}
        return Run("made up", time.monotonic(), 0, {"caches": [{"keys": [key]}]})

    def figures(self) -> dict[str, object]:
        """What it came to."""
        return {
            "writes": f"{self.writer.writes} ({self.writer.unconfirmed} not confirmed)",
            "runs": sum(self.runs.ended.values()),
            "runs by end: exit code": dict(sorted(self.runs.ended.items())),
            **dict(sorted(self.faults.happened.items())),
            "verdicts": dict(self.runs.verdicts),
            **dict(self.verdicts.happened),
            "checks": self.checks,
            "values checked": self.checked,
            "names": len(self.model),
            "broken rules": len(self.broken),
        }


def main() -> int:
    """Soak; the exit code."""
    parser = argparse.ArgumentParser(prog="soak", description=str(__doc__).partition(":")[0])
    parser.add_argument("--minutes", type=float, default=10.0, metavar="N", help="default: 10")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**9), metavar="N")
    given = parser.parse_args()
    print(f"seed: {given.seed}", flush=True)
    with DeferredSignals() as ending:
        try:
            with Soak(given.seed) as soak:
                soak.run(given.minutes * 60, stopping=lambda: ending.signal)
                soak.finish()
                for what, figure in soak.figures().items():
                    print(f"{what}: {figure}")
        except RotatorError as error:
            print(f"soak: error: {error}", file=sys.stderr)
            return error.exit_code
    for rule in soak.broken[:_SHOWN]:
        print(f"broken: {rule}")
    return 1 if soak.broken else int(ending.exit_code)


if __name__ == "__main__":
    sys.exit(main())
