"""
Run the tests that talk to a server on every version of it, and sum up: `make test-matrix`.

    make test-matrix SERVERS="redis-7.0 valkey" TESTS=tests/integration/server/test_acl.py

The servers are those of `servers`, fetched first where they are not there. The tests see the
server through `ROTATOR_SERVER`. One server comes after the other; what pytest prints is seen as it
is. Exits with 1 if a test failed, pytest did not get so far, or not one server can be had.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from servers import __main__ as servers
from servers.sources import FetchError

ROOT: Final = Path(__file__).parents[2]

# What depends on the server's version. Left out are pure modules, secret providers, the demo, the
# documentation, and what needs TLS, which some of the servers were built without.
TESTS: Final = tuple(
    f"tests/{folder}/test_{name}.py"
    for folder, names in {
        "faults": (
            "cluster_faults",
            "failover",
        ),
        "integration/run": (
            "adopt",
            "holds",
            "job",
            "presence",
            "purge",
        ),
        "integration/server": (
            "acl",
            "deletion",
            "exchange",
            "identity",
            "replies",
            "store",
            "topology",
        ),
        "integration/sweep": (
            "cluster_sweep",
            "differences",
            "memory",
            "outcomes",
            "throttle",
            "visitor",
            "watch",
            "worker",
            "writers",
        ),
    }.items()
    for name in names
)


@dataclass(frozen=True, slots=True)
class Result:
    """What came of the tests on one server; *code* is pytest's exit code."""

    server: str
    passed: int
    failed: int
    seconds: float
    code: int


def counted(report: Path) -> tuple[int, int]:
    """How many tests passed and failed, from a JUnit file; (0, 0) if pytest wrote none."""
    if not report.exists():
        return 0, 0
    suite = ET.parse(report).getroot().find("testsuite")  # noqa: S314 - pytest wrote it just now
    if suite is None:
        return 0, 0
    ran, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
    failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    return ran - skipped - failed, failed


def test(server: servers.Server, tests: Sequence[str]) -> Result:
    """Run *tests* on *server*; what pytest prints is printed."""
    print(f"\n##### {server.name}", flush=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        # Runs on several servers must not share what pytest remembers of the last one.
        options = ("-p", "no:cacheprovider", "--color", "no", f"--junit-xml={report}")
        command = (sys.executable, "-m", "pytest", *options, *tests)
        environment = {**os.environ, "ROTATOR_SERVER": str(server.program)}
        code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
        passed, failed = counted(report)
    print(f"##### {server.name}: pytest ended with {code}", flush=True)
    return Result(server.name, passed, failed, time.monotonic() - started, code)


def table(results: Sequence[Result], missing: Sequence[str]) -> str:
    """One line for each server, with those that could not be had."""
    lines = [f"{'server':14} {'passed':>7} {'failed':>7} {'seconds':>8} {'exit':>5}"]
    lines += [
        f"{one.server:14} {one.passed:7} {one.failed:7} {one.seconds:8.0f} {one.code:5}"
        for one in results
    ]
    return "\n".join([*lines, *(f"{name:14} not to be had" for name in missing)])


def main() -> int:
    """Test on the servers that the command line names; the exit code."""
    parser = argparse.ArgumentParser(
        prog="servers.matrix", description=str(__doc__).partition(":")[0]
    )
    parser.add_argument("tests", nargs="*", metavar="TEST", help="as for pytest")
    parser.add_argument("--servers", default="", help="such as 'redis-7.0 valkey'; default: all")
    arguments = parser.parse_args()
    try:
        wanted = servers.chosen(arguments.servers.split())
    except FetchError as error:
        parser.error(str(error))
    had = servers.provide(wanted)
    results = [test(server, arguments.tests or TESTS) for server in had]
    print("\n" + table(results, [server.name for server in wanted if server not in had]))
    return 1 if not results or any(result.code for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
