"""
Run the tests that say something of a server on every version of it: `make test-matrix`.

    make test-matrix SERVERS="redis-7.0 valkey" TESTS=tests/integration/server/test_acl.py

The servers are those of `servers`, fetched first where they are not there. The tests see the
server through `ROTATOR_SERVER`, side by side in `JOBS` processes; one server comes after the other,
and what pytest prints is seen as it is. `--record` writes what passed into the table in
`rotator/docs/servers.md`. Exits with 1 if a test failed, pytest did not get so far, or not one
server can be had.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from servers import __main__ as servers
from servers.sources import FetchError

ROOT: Final = Path(__file__).parents[2]
DOCUMENT: Final = ROOT / "rotator" / "docs" / "servers.md"
TESTS: Final = ("tests/integration", "tests/faults")
SAME_EVERYWHERE: Final = {
    "tests/integration/cache/test_orchestrator_file.py": "reading a file",
    "tests/integration/demo": "the demo, and the servers and clusters of the tests",
    "tests/integration/report": "rendering a report",
    "tests/integration/run/test_alarm.py": "messages to other programs",
    "tests/integration/run/test_files_of_1_0_0.py": "state files of an earlier version",
    "tests/integration/run/test_live.py": "`status` and `tune` beside a run",
    "tests/integration/secrets": "secret providers",
    "tests/integration/server/test_proxies.py": "proxies",
    "tests/integration/server/test_tls_profiles.py": "TLS, which half of the servers lack",
    "tests/integration/sweep/test_dask.py": "other machines",
    "tests/integration/sweep/test_engine.py": "processes, and how they share the work",
    "tests/integration/sweep/test_lanes.py": "several processes at one node",
    "tests/faults/test_full_disk.py": "the disk of the state",
    "tests/faults/test_interruption.py": "signals to a run",
    "tests/faults/test_signals.py": "signals to a run",
    "tests/faults/test_slow_network.py": "the network",
}
"""What says nothing of the server, by file or folder, and what it is about; not run again."""

_ROW: Final = re.compile(r"^\| (Redis|Valkey|Redict) (\S+) \|")


@dataclass(frozen=True, slots=True)
class Result:
    """What came of the tests on one server; *code* is pytest's exit code."""

    server: str
    passed: int
    failed: int
    left_out: int
    seconds: float
    code: int


def counted(report: Path) -> tuple[int, int, int]:
    """How many tests passed, failed and were left out, from a JUnit file; 0 if there is none."""
    suite = (
        ET.parse(report).getroot().find("testsuite")  # noqa: S314 - pytest wrote it just now
        if report.exists()
        else None
    )
    if suite is None:
        return 0, 0, 0
    ran, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
    failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    return ran - skipped - failed, failed, skipped


def chosen(tests: Sequence[str]) -> list[str]:
    """What pytest is to run: *tests*, or without any all that say something of a server."""
    return [*tests] or [*TESTS, *(f"--ignore={path}" for path in SAME_EVERYWHERE)]


def test(server: servers.Server, tests: Sequence[str], jobs: int) -> Result:
    """Run *tests* on *server* in *jobs* processes, 0 for this one; what pytest prints is seen."""
    print(f"\n##### {server.name}", flush=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        # Runs on several servers must not share what pytest remembers of the last one.
        options = ("-p", "no:cacheprovider", "--color", "no", f"--junit-xml={report}")
        side = ("-n", f"{jobs}", "--dist", "loadscope", "--no-loadscope-reorder")
        told = (*options, *(side if jobs else ()), *tests)
        command = (sys.executable, "-m", "pytest", *told)
        environment = {**os.environ, "ROTATOR_SERVER": str(server.program)}
        code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
        counts = counted(report)
    print(f"##### {server.name}: pytest ended with {code}", flush=True)
    return Result(server.name, *counts, time.monotonic() - started, code)


def table(results: Sequence[Result], missing: Sequence[str]) -> str:
    """One line for each server, with those that could not be had."""
    titles = ("passed", "failed", "left out", "seconds", "exit")
    lines = [f"{'server':14} {' '.join(f'{title:>8}' for title in titles)}"]
    lines += [
        f"{one.server:14} {one.passed:8} {one.failed:8} {one.left_out:8} {one.seconds:8.0f}"
        f" {one.code:8}"
        for one in results
    ]
    return "\n".join([*lines, *(f"{name:14} not to be had" for name in missing)])


def recorded(text: str, results: Sequence[Result], today: str) -> str:
    """
    The document with what passed, in the last column of the row of each server.

    A server on which a test failed keeps what it had: the row says what passed, and when.
    """
    passed = {one.server: one for one in results if one.passed and not one.code}
    lines = text.split("\n")
    for number, line in enumerate(lines):
        row = _ROW.match(line)
        if row and (one := passed.get(f"{row[1].lower()}-{row[2]}")):
            begin = line.rstrip(" |").rpartition(" | ")[0]
            lines[number] = f"{begin} | {one.passed:,} on {today} |"
    return "\n".join(lines)


def main() -> int:
    """Test on the servers that the command line names; the exit code."""
    parser = argparse.ArgumentParser(
        prog="servers.matrix", description=str(__doc__).partition(":")[0]
    )
    parser.add_argument("tests", nargs="*", metavar="TEST", help="as for pytest")
    parser.add_argument("--servers", default="", help="such as 'redis-7.0 valkey'; default: all")
    parser.add_argument("--jobs", type=int, default=4, help="how many processes; default: 4")
    parser.add_argument("--record", action="store_true", help="write what passed into servers.md")
    arguments = parser.parse_args()
    if arguments.record and arguments.tests:
        parser.error("--record writes what passed of all tests, so none can be named")
    try:
        wanted = servers.chosen(arguments.servers.split())
    except FetchError as error:
        parser.error(str(error))
    had = servers.provide(wanted)
    tests = ["--this-server", *chosen(arguments.tests)]
    results = [test(server, tests, arguments.jobs) for server in had]
    print("\n" + table(results, [server.name for server in wanted if server not in had]))
    if arguments.record:
        today = datetime.now(UTC).date().isoformat()
        DOCUMENT.write_text(recorded(DOCUMENT.read_text(), results, today))
    return 1 if not results or any(result.code for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
