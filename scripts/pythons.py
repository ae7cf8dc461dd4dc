"""
Run the unit tests with other interpreters, or with the oldest packages: `make test-pythons`.

    python scripts/pythons.py             with each Python that the classifiers name
    python scripts/pythons.py --lowest    with this one, and the oldest packages allowed

Each gets an environment under `.cache/pythons`, from a lock with hashes. Interpreters are those
that uv finds on this machine, pyenv's among them; none is downloaded, and those that are not here
are listed. Exits with 1 if a test failed, or there was not one interpreter.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
LOCK: Final = ROOT / "scripts" / "lock"
FOLDER: Final = ROOT / ".cache" / "pythons"
TESTS: Final = "tests/unit"
_CLASSIFIER: Final = re.compile(r"Programming Language :: Python :: (3\.\d+)$")
_UV: Final = (sys.executable, "-m", "uv")


def versions() -> list[str]:
    """The versions that rotator is said to run with, the newer ones that are here, and the next."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = [one[1] for one in map(_CLASSIFIER.match, project["classifiers"]) if one]
    newest = max(int(version.partition(".")[2]) for version in found) + 1
    while interpreter(f"3.{newest}"):
        found.append(f"3.{newest}")
        newest += 1
    return [*found, f"3.{newest}"]


def interpreter(version: str) -> str | None:
    """The path of an interpreter of that *version* on this machine; None if there is none."""
    # pyenv puts on the PATH only what its user has chosen.
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    path = os.pathsep.join([*map(str, pyenv.glob("versions/*/bin")), os.environ["PATH"]])
    command = (*_UV, "python", "find", "--no-python-downloads", "--no-project", "--system", version)
    found = subprocess.run(
        command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() if found.returncode == 0 else None


_HOW = (
    *("-p", "no:cacheprovider", "-n", "auto", "--dist", "loadscope"),
    *("--hypothesis-profile", "quick"),  # the packages are tried, not the properties
)


def test(python: str, lock: Path, name: str) -> bool:
    """Whether the unit tests pass with *python* and the packages of *lock*; they print as usual."""
    print(f"\n##### {name}: {python}", flush=True)
    folder = FOLDER / name
    own = str(folder / "bin" / "python")
    install = (*_UV, "pip", "install", "--quiet", "--python", own)
    steps = (
        (*_UV, "venv", "--quiet", "--clear", "--python", python, str(folder)),
        (*install, "--require-hashes", "--requirements", str(lock)),
        (*install, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)),
        (own, "-m", "pytest", *_HOW, TESTS),
    )
    return all(subprocess.run(step, cwd=ROOT, check=False).returncode == 0 for step in steps)


def main() -> int:
    """Test as the command line says; the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition(":")[0])
    parser.add_argument("--lowest", action="store_true", help="the lowest versions of packages")
    if parser.parse_args().lowest:
        return 0 if test(sys.executable, LOCK / "lowest.txt", "lowest") else 1
    found = {version: interpreter(version) for version in versions()}
    passed = {
        version: test(python, LOCK / "dev.txt", version)
        for version, python in found.items()
        if python is not None
    }
    print()
    for version in found:
        result = {True: "passed", False: "FAILED", None: "not on this machine"}
        print(f"Python {version}: {result[passed.get(version)]}")
    return 0 if passed and all(passed.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
