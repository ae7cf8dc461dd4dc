"""
Try mutants: `PYTHONPATH=scripts python -m mutants --processes 2 retirement crypto`.

Every function of a package is changed in many small ways, each of which should make a test fail. A
table says how many did; `.mutants/NAME.txt` shows those that no test saw. What they mean has to be
read: a fact that no test states, code that does nothing, or a change that nobody can see.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mutants.running import KILLED, NO_TEST, SURVIVED, TIMEOUT
from mutants.sources import COPY, ROOT, Mutant, copied, mutated


@dataclass(frozen=True)
class Part:
    """Part: modules that are mutated, but for *others*, and the tests that have to see it."""

    modules: str
    tests: Sequence[str]
    others: Sequence[str] = ()


# A search for a format goes through all else, and takes long: it has a part of its own.
_SEARCH: Final = ("attempts", "comparison", "cuts", "format_search", "samples")
_TESTS_OF_SEARCH: Final = [f"tests/unit/crypto/test_{name}.py" for name in _SEARCH]
_NOT: Final = "not TestNothing and not costs_little and not few_values and not TestAnyLayout"
# Whole runs take seconds each, most of which a mutant waits: these ask the class itself.
_TEST_OF_EXCHANGE: Final = "tests/integration/server/test_exchange.py"
PARTS: Final = {
    "retirement": Part("rotator/retirement/*.py", ["tests/unit/retirement"]),
    "crypto": Part(
        "rotator/crypto/*.py",
        [
            "tests/unit/crypto",
            "tests/unit/sweep/test_page.py",
            *(f"--ignore={test}" for test in _TESTS_OF_SEARCH),
            "-k",
            "not TestDerivedKeys",
        ],
        _SEARCH,
    ),
    "search": Part(
        "rotator/crypto/[acfs]*.py",
        [*_TESTS_OF_SEARCH, "-k", _NOT],
        ("codec", "foreign", "format_codec"),
    ),
    "tally": Part("rotator/tally/*.py", ["tests/unit/tally"]),
    "page": Part("rotator/sweep/node/page.py", ["tests/unit/sweep/test_page.py"]),
    "exchange": Part(
        "rotator/server/exchange.py", [_TEST_OF_EXCHANGE, "-k", "TestChoice or TestJoin"]
    ),
}
RESULTS: Final = (KILLED, SURVIVED, TIMEOUT, NO_TEST)


def tried(name: str, said: argparse.Namespace) -> Counter[str]:
    """Try the mutants of a part, or of one module of it, and say how many had which result."""
    part = PARTS[name.partition(".")[0]]
    module = name.partition(".")[2]
    found = [one for one in ROOT.glob(part.modules) if one.stem not in part.others]
    paths = [one for one in found if not module or one.stem == module]
    mutants = list(mutated(sorted(str(one.relative_to(ROOT)) for one in paths)))[:: said.every]
    results = COPY / f"{name}.json"
    known = json.loads(results.read_text()) if said.again else {}
    wanted = [one.name for one in mutants if known.get(one.name, [""])[0] != KILLED]
    told = {"mutants": wanted, "results": str(results), "tests": part.tests}
    told |= {"processes": said.processes, "most_seconds": said.seconds}
    path = os.pathsep.join([str(COPY), str(COPY / "scripts")])
    subprocess.run(
        [sys.executable, "-m", "mutants.running"], input=json.dumps(told), text=True,
        cwd=COPY, env={**os.environ, "PYTHONPATH": path}, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    came = known | json.loads(results.read_text())
    results.write_text(json.dumps(came, indent=0))
    (COPY / f"{name}.txt").write_text("\n\n".join(shown(mutants, came)) + "\n")
    return Counter(came[one.name][0] for one in mutants)


def shown(mutants: Sequence[Mutant], found: dict[str, tuple[str, str]]) -> list[str]:
    """Those that were not killed."""
    return [
        f"{one.name}: {found[one.name][0]}\n{one.diff}"
        for one in mutants
        if found[one.name][0] != KILLED
    ]


def main() -> int:
    """Try the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help="all, if none is named; or a module: crypto.cuts")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--every", type=int, default=1, help="of so many mutants one is tried")
    parser.add_argument("--again", action="store_true", help="those that were not killed last time")
    parser.add_argument("--seconds", type=float, default=1e9, help="of tests for a mutant, at most")
    said = parser.parse_args()
    copied()
    print(
        f"{'package':<12}{'mutants':>9}", *(f"{result:>9}" for result in RESULTS), f"{'percent':>9}"
    )
    for name in said.parts or PARTS:
        counts = tried(name, said)
        total = sum(counts.values())
        percent = 100 * (counts[KILLED] + counts[TIMEOUT]) / max(total, 1)
        figures = (f"{counts[result]:>9}" for result in RESULTS)
        print(f"{name:<12}{total:>9}", *figures, f"{percent:>8.1f}%", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
