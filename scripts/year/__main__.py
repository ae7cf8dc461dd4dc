"""
Play a year of nights in minutes: `make year NIGHTS=365 SEED=n`.

A primary and a replica with RDB files, an application that writes values with TTLs of days, a new
key every 30 days, and `rotator run` every night, all by one simulated clock (`clock`). An old key
leaves the configuration only when rotator calls it retirable. At times the servers are restarted
from their files, the primary changes, the machine of rotator has a wrong time, its state is lost or
restored from last week, and the application goes on with the old key for some days. What must hold
each night:

- every value is there, opens, is what was written and expires at the same millisecond;
- no key is called retirable while a value under it is in the memory of either server, or in what a
  server has that is started from a copy of the RDB file of either;
- no key, in hex or as bytes, and no plaintext is in what rotator says and leaves behind;
- in the end every old key has been retired.

Prints figures, the size of the state file month by month among them, and ends with 1 if any of it
does not hold.
"""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any, Final, Self

from rotator.demo.local_server import LocalServer, embedded_binary, wait_until
from soak.model import NEVER
from soak.writer import MARK, Ring
from year.clock import Clock

DAY: Final = 86_400
MONTH: Final = 30
QUIET_HOURS: Final = 30
RETENTION_DAYS: Final = 7
# Without failures that are only the clock's steps.
_OPTIONS: Final = ("--save", "3600 1", "--repl-timeout", "8640000")
_SHOWN: Final = 5  # broken rules of one night
_EVENTS: Final = {
    "nothing": 60,
    "restart": 6,
    "failover": 6,
    "replica restart": 6,
    "clock ahead": 4,
    "clock behind": 4,
    "state lost": 2,
    "state of last week": 3,
    "killed run": 5,
    "dry run": 4,
}


class Year:
    """Year: one cache over simulated months; *broken* says what did not hold."""

    def __init__(self, seed: int, values: int = 60) -> None:
        self.broken: list[str] = []
        self.happened: Counter[str] = Counter()
        self.codes: Counter[int] = Counter()
        self.sizes: list[int] = []
        self.waited: list[int] = []
        self.expected: dict[bytes, tuple[bytes, int]] = {}
        self.ring = Ring(1)
        self._values = values
        self._random = Random(f"year {seed}")  # noqa: S311 - a test is to be repeated
        self._stack = ExitStack()
        self._switched: dict[str, int] = {}
        self._number = self._laggards = 0
        self._hosting: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="year-")))
            self.clock = stack.enter_context(Clock(self.folder))
            binary = embedded_binary()
            first = stack.enter_context(LocalServer(*_OPTIONS, binary=binary))
            second = stack.enter_context(LocalServer(*_OPTIONS, binary=binary))
            self.servers = [first, second]
            self._follow()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def night(self, number: int) -> None:
        """Play one day and the night after it."""
        if number % MONTH == 0:
            self._switch(number)
        self._write()
        # Half of a month is stormy, so that the other half shows that a key retires in peace.
        stormy = number % MONTH < MONTH // 2
        event = self._random.choices(list(_EVENTS), list(_EVENTS.values()))[0]
        event = event if stormy else "nothing"
        self.happened[event] += 1
        self._disturb(event)
        self.clock.step(DAY)
        self._settle()
        report = self._run(number, event)
        self.check()
        for key_id in self._retirable(report):
            self.judge(key_id)
            self._retire(key_id, number)
        if number % 7 == 0 and (self.folder / "state.db").exists():
            shutil.copy(self.folder / "state.db", self.folder / "state.backup")
        if number % MONTH == MONTH - 1:
            self.sizes.append((self.folder / "state.db").stat().st_size)

    def _switch(self, number: int) -> None:
        """Make a new key current; the application goes on with the old one for some days."""
        if number:
            self._switched[self.ring.ids[0]] = number
        fresh = Ring(1)
        self.ring.keys[:0] = fresh.keys
        self.ring.renew()
        self._laggards = self._random.randrange(5) if number else 0

    def _write(self) -> None:
        with self.servers[0].client() as client:
            for _ in range(self._values):
                self._number += 1
                old = self._number if self._random.randrange(4) else self._random.randrange(300)
                name = b"app:%06d" % old
                plaintext = MARK + self._random.randbytes(self._random.randrange(80))
                lags = self._laggards > 0 and len(self.ring.keys) > 1
                key = 1 if lags and not self._random.randrange(3) else 0
                days = self._random.choice((1, 2, 5, 20, 0))
                at_ms = int((self.clock.now() + days * DAY + 1000) * 1000) if days else NEVER
                if not days and old == self._number:
                    at_ms = int((self.clock.now() + 40 * DAY) * 1000)
                value = self.ring.seal(name, plaintext, key, "gcm")
                client.set(name, value, **({} if at_ms == NEVER else {"pxat": at_ms}))
                self.expected[name] = (plaintext, at_ms)
        self._laggards = max(0, self._laggards - 1)

    def _disturb(self, event: str) -> None:
        first, second = self.servers
        state = self.folder / "state.db"
        self.clock.off = 0.0
        if event in {"restart", "replica restart"}:
            server = first if event == "restart" else second
            with server.client() as client:
                client.save()
            server.stop()
            server.start()
            self._follow()
        elif event == "failover":
            with first.client() as old, second.client() as new:
                new.replicaof("NO", "ONE")
                old.replicaof("127.0.0.1", str(second.port))
            self.servers.reverse()
        elif event.startswith("clock"):
            days = self._random.choice((1 / 24, 5, 40))
            self.clock.off = days * DAY * (1 if event == "clock ahead" else -1)
        elif event.startswith("state"):
            for part in self.folder.glob("state.db*"):
                part.unlink()
            if event == "state of last week" and (self.folder / "state.backup").exists():
                shutil.copy(self.folder / "state.backup", state)

    def _follow(self) -> None:
        """Have the second server follow the first, as its configuration would after a start."""
        first, second = self.servers
        with second.client() as client:
            client.replicaof("127.0.0.1", str(first.port))
        self._settle()

    def _settle(self) -> None:
        """Wait until the servers have saved what the step of the clock had them save."""

        def problem() -> str | None:
            for server in self.servers:
                with server.client() as client:
                    info: dict[str, Any] = client.info()
                if info["rdb_bgsave_in_progress"] or info["loading"]:
                    return f"{server} saves"
                if info["role"] == "slave" and info["master_link_status"] != "up":
                    return f"{server} has no primary"
            return None

        wait_until(problem)

    def _run(self, number: int, event: str) -> dict[str, Any]:
        config, report = self.folder / "maverics.json", self.folder / "report.json"
        current, *old = self.ring.keys
        addresses = [server.address for server in self.servers]
        cache = {
            "name": "year",
            "type": "redis",
            "encryption": {"keys": {"current": current, "old": old}},
            "redis": {"addresses": addresses[:1]},
        }
        own = {"backups": {"retention": f"{RETENTION_DAYS}d"}, "replicas": addresses[1:]}
        config.write_text(json.dumps({"caches": [cache], "rotator": {"caches": {"year": own}}}))
        report.unlink(missing_ok=True)
        command = ["run", "--config", str(config), "--state", str(self.folder / "state.db")]
        command += ["--report", str(report), "--quiet", f"{QUIET_HOURS}h"]
        command += ["--workers", "1", "--max-latency", "0"]
        command += ["--dry-run"] if event == "dry run" else ["--refresh-files"]
        code, said = self._command(command, event)
        self.codes[code] += 1
        if b"Traceback" in said or code not in {0, -9}:
            lines = said.decode(errors="replace")[:3000]
            self.broken.append(f"night {number} ({event}) ended with {code}: {lines}")
        self._look_for_leaks(said + (report.read_bytes() if report.exists() else b""))
        return dict(json.loads(report.read_bytes())) if report.exists() else {}

    def _command(self, arguments: list[str], event: str) -> tuple[int, bytes]:
        """Run a command, most as a fork of the host; exit code and what it says."""
        environment = self.clock.of_rotator()
        if event != "killed run" and self._random.randrange(20):
            host, path = self._host(environment), self.folder / "said"
            if host.stdin is None or host.stdout is None:
                raise RuntimeError("the host has no pipes")
            host.stdin.write(json.dumps([arguments, str(path)]) + "\n")
            host.stdin.flush()
            return int(host.stdout.readline()), path.read_bytes()
        process = subprocess.Popen(
            [sys.executable, "-m", "year.host", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if event == "killed run":
            time.sleep(self._random.uniform(0.5, 3))
            process.kill()
        said, _ = process.communicate(timeout=300)
        return process.returncode, said

    def _host(self, environment: dict[str, str]) -> subprocess.Popen[str]:
        if self._hosting is None:
            self._hosting = subprocess.Popen(
                [sys.executable, "-m", "year.host"],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            self._stack.callback(self._hosting.wait)
            self._stack.callback(self._hosting.terminate)
        return self._hosting

    def _look_for_leaks(self, said: bytes) -> None:
        said += b"".join(path.read_bytes() for path in self.folder.glob("state.db*"))
        for key in (*self.ring.keys, *self.ring.retired):
            if key.encode() in said or bytes.fromhex(key) in said:
                self.broken.append("a key is in what rotator leaves behind")
        if MARK in said:
            self.broken.append("a plaintext is in what rotator leaves behind")

    def holdings(self, server: LocalServer) -> dict[bytes, tuple[bytes, int]]:
        """Return value and expiry of every name that a server holds."""
        with server.client() as client:
            names = sorted(client.scan_iter(count=1000))
            pipe = client.pipeline(transaction=False)
            for name in names:
                pipe.get(name)
                pipe.execute_command("PEXPIRETIME", name)
            replies = pipe.execute()
        pairs = zip(names, replies[::2], replies[1::2], strict=True)
        return {name: (value, at) for name, value, at in pairs if value is not None}

    def check(self) -> None:
        """Compare all values with what was written."""
        now, found = self.clock.now() * 1000, self.holdings(self.servers[0])
        self.expected = {
            name: held for name, held in self.expected.items() if held[1] == NEVER or held[1] > now
        }
        for name, (plaintext, at_ms) in self.expected.items():
            value, at = found.pop(name, (b"", 0))
            opened = self.ring.found(name, value, at)
            if (opened.plaintext, at) != (plaintext, at_ms):
                self.broken.append(f"{name!r} on {self.clock.day()} is not what was written")
        self.broken += [f"{name!r} is there and should not be" for name in found]
        self.happened["values checked"] += len(self.expected)

    def judge(self, key_id: str) -> None:
        """See that no value under a key is in a memory or in a file."""
        for server in self.servers:
            where = {f"the memory of {server}": self.holdings(server)}
            dump = server.folder / "dump.rdb"
            if dump.exists():
                copy = LocalServer(binary=embedded_binary())
                shutil.copy(dump, copy.folder / "dump.rdb")
                with copy:
                    where[f"the file of {server}"] = self.holdings(copy)
            for place, found in where.items():
                under = [
                    n for n, (value, _) in found.items() if self.ring.key_of(n, value) == key_id
                ]
                if under:
                    self.broken.append(f"{key_id} is retirable, {len(under)} values in {place}")
        self.happened["verdicts looked into"] += 1

    @staticmethod
    def _retirable(report: dict[str, Any]) -> list[str]:
        keys = [key for cache in report.get("caches", ()) for key in cache["keys"]]
        return [key["id"] for key in keys if key["verdict"] == "retirable"]

    def _retire(self, key_id: str, number: int) -> None:
        index = self.ring.ids.index(key_id)
        self.ring.retired.append(self.ring.keys.pop(index))
        self.ring.renew()
        self.waited.append(number - self._switched.get(key_id, 0))

    def finish(self, nights: int) -> None:
        """See that every old key that had time enough was retired."""
        late = [one for one in self.ring.ids[1:] if nights - self._switched.get(one, 0) > MONTH]
        self.broken += [f"{one} was never retired" for one in late]


def main() -> int:
    """Play a year; the exit code."""
    parser = argparse.ArgumentParser(prog="year", description=str(__doc__).partition(":")[0])
    parser.add_argument("--nights", type=int, default=365, metavar="N")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**9), metavar="N")
    given = parser.parse_args()
    print(f"seed: {given.seed}", flush=True)
    begun = time.monotonic()
    with Year(given.seed) as year:
        for number in range(given.nights):
            known = len(year.broken)
            year.night(number)
            for rule in year.broken[known:][:_SHOWN]:
                print(f"broken in night {number}: {rule}", flush=True)
            if number % MONTH == MONTH - 1:
                print(
                    f"night {number + 1}: {year.sizes[-1]} bytes, {len(year.broken)} broken, "
                    f"{len(year.waited)} retired, {time.monotonic() - begun:.0f} s",
                    flush=True,
                )
        year.finish(given.nights)
        print(f"keys that are left: {len(year.ring.keys)}")
    print(f"exit codes: {dict(year.codes)}")
    print(f"happened: {dict(year.happened)}")
    print(f"retired {len(year.waited)} keys, nights after the switch: {year.waited}")
    print(f"state file, bytes by month: {year.sizes}")
    print(f"broken rules: {len(year.broken)}")
    return 1 if year.broken else 0


if __name__ == "__main__":
    sys.exit(main())
