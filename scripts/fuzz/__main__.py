"""
Look for bytes that break a rule: `PYTHONPATH=scripts python -m fuzz --minutes 2 open config`.

Needs atheris (`make fuzz` installs it), a fuzzer that sees which code its inputs reach; where it is
not installed, this says so and does nothing. Each target gets a process of its own and so many
minutes. What breaks one is printed, and kept in the folder `.fuzz`, where the next run begins.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from fuzz.targets import TARGETS, seeds

CORPUS: Final = Path(".fuzz")
_LONGEST: Final = 4096  # bytes of an input
_ONE: Final = "--one"  # how this script calls itself


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="fuzz", description=str(__doc__).partition(":")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}")
    parser.add_argument("--minutes", type=float, default=1.0, metavar="N", help="each; default: 1")
    given = parser.parse_args()
    if strangers := set(given.targets) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(strangers))}")
    return given


def run_one(target: str, rest: list[str]) -> None:
    """Fuzz one target in this process; the fuzzer ends the process."""
    atheris = import_module("atheris")
    with atheris.instrument_imports(include=["rotator"]):
        for module in [
            name for name in sys.modules if name.startswith(("rotator", "fuzz.targets"))
        ]:
            del sys.modules[module]  # imported before it could be instrumented
        instrumented = import_module("fuzz.targets")
    atheris.Setup([sys.argv[0], *rest], instrumented.TARGETS[target])
    atheris.Fuzz()


def fuzz(target: str, seconds: int) -> bool:
    """Fuzz one target in a process of its own; whether all went well."""
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        (folder / f"seed-{number}").write_bytes(seed)
    print(f"{target}: {seconds} s", flush=True)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "fuzz", _ONE, target),
            *(f"-max_total_time={seconds}", f"-max_len={_LONGEST}", "-print_final_stats=1"),
            *("-verbosity=0", "-timeout=20", f"-artifact_prefix={folder}/broken-", str(folder)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    tail: list[Any] = done.stdout.splitlines()[-40:]
    tried = [line.split()[-1] for line in tail if "number_of_executed_units" in line]
    if done.returncode == 0:
        print(f"{target}: {tried[0] if tried else 'no'} inputs, no rule broken", flush=True)
    else:
        print("\n".join(tail))
        print(f"{target}: broken; the input is in {folder}", flush=True)
    return done.returncode == 0


def main() -> int:
    """Fuzz every target that was named, or all; the exit code."""
    if sys.argv[1:2] == [_ONE]:
        run_one(sys.argv[2], sys.argv[3:])
    given = arguments()
    if find_spec("atheris") is None:
        print("fuzz: atheris is not installed (`make fuzz` does it), nothing was fuzzed")
        return 0
    good = [fuzz(target, round(given.minutes * 60)) for target in given.targets or TARGETS]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
