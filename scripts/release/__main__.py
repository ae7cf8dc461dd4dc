"""
See that this checkout can be released: `make release-check`.

It builds the packages, looks into them, installs them as a user would, and leaves in `dist/`

    redis_rotator-VERSION.tar.gz, redis_rotator-VERSION-py3-none-any.whl   the packages
    requirements.txt       everything that rotator needs, pinned, with the hashes of every file
    redis_rotator-VERSION.cdx.json   the same as a bill of materials (CycloneDX)

Nothing is uploaded. Exits with 1 if anything is not as it should be; every step is tried, so that
one run tells all.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from release import files, image
from release.files import NotReadyError

ROOT: Final = Path(__file__).parents[2]
DIST: Final = ROOT / "dist"
LOCK: Final = ROOT / "scripts" / "lock" / "dev.txt"
NAME: Final = "redis_rotator"  # as the names of files have it (PEP 427)
DEMO_VALUES: Final = "1000"  # enough to see that the demo of an installed wheel works


class Release:
    """One release, step by step; *folder* is for what is not kept."""

    def __init__(self, folder: Path) -> None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        self.version = str(project["version"])
        self.folder = folder
        self.requirements = DIST / "requirements.txt"
        self.sbom = DIST / f"{NAME}-{self.version}.cdx.json"
        self.source = DIST / f"{NAME}-{self.version}.tar.gz"
        self.wheel = DIST / f"{NAME}-{self.version}-py3-none-any.whl"

    def checkout(self) -> str:
        """Nothing is here that is not committed, for all of it would be released."""
        changed = command("git", "-C", str(ROOT), "status", "--porcelain").splitlines()
        if changed:
            raise NotReadyError(f"{len(changed)} files are not as they are committed")
        return command("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD").strip()

    def changelog(self) -> str:
        """The version is one that the changelog knows."""
        date = files.changelog_date((ROOT / "CHANGELOG.md").read_text(), self.version)
        return f"{self.version} of {date}"

    def build(self) -> str:
        """Source package and wheel, by the tools that pyproject.toml names."""
        shutil.rmtree(DIST, ignore_errors=True)
        tool("build", "--no-isolation", "--outdir", str(DIST), str(ROOT))
        return ", ".join(sorted(one.name for one in DIST.iterdir()))

    def metadata(self) -> str:
        """What a package index shows, and what the wheel holds."""
        tool("twine", "check", "--strict", *map(str, DIST.glob(f"{NAME}-*")))
        with zipfile.ZipFile(self.wheel) as wheel:
            number = files.check_wheel(wheel.namelist())
        with tarfile.open(self.source) as source:
            more = files.check_source(source.getnames())
        return f"{number} files in the wheel, {more} in the source package"

    def install(self) -> str:
        """The wheel works in an environment of its own, with what the package index has today."""
        python = fresh(self.folder / "plain")
        install(python, str(self.wheel))
        return self.try_out(python)

    def demo(self) -> str:
        """The wheel can be tried without being installed: `uvx --from dist/*.whl rotator demo`."""
        start = ("uv", "tool", "run", "--quiet", "--isolated", "--from", f"{self.wheel}[demo]")
        tool(*start, "rotator", "demo", "--values", DEMO_VALUES)
        return f"{DEMO_VALUES} values rotated, and nothing installed"

    def image(self) -> str:
        """The image can be built from this checkout, and works without rights or root."""
        if not image.allowed():
            return "not tried: this takes root and mounts, or podman build"
        tried = (
            "rotator --version",
            "rotator keygen",
            "touch $ROTATOR_STATE",
            "! touch /none 2>&1",
        )
        said = image.make(" && ".join(tried)).splitlines()
        if f"rotator {self.version}" not in said:
            raise NotReadyError("--version says another version")
        return "it works as a user without rights, on a file system that is only read"

    def pin(self) -> str:
        """Every package that it needs, with the hash of every file of it, as tests had them."""
        pinned = self.folder / "requirements.txt"
        options = ("--quiet", "--generate-hashes", "--no-header", "--no-annotate")
        source = ("-c", str(LOCK), "-o", str(pinned), str(ROOT / "pyproject.toml"))
        tool("uv", "pip", "compile", *options, *source)
        text = files.clean_requirements(pinned.read_text())
        self.requirements.write_text(text)
        return f"{len(files.pins(text))} packages"

    def install_pinned(self) -> str:
        """Those packages can be installed by their hashes alone, and are all that it needs."""
        python = fresh(self.folder / "pinned")
        install(python, "--no-deps", "--require-hashes", "-r", str(self.requirements))
        install(python, "--no-deps", "--no-index", str(self.wheel))
        tool("uv", "pip", "check", "--python", str(python))
        return self.try_out(python)

    def list_parts(self) -> str:
        """The bill of materials of that environment."""
        python = self.folder / "pinned" / "bin" / "python"
        raw = self.folder / "sbom.json"
        options = ["--pyproject", str(ROOT / "pyproject.toml"), "--output-reproducible"]
        tool("cyclonedx_py", "environment", *options, "-o", str(raw), str(python))
        sbom = files.clean_sbom(json.loads(raw.read_text()))
        pinned = files.pins(self.requirements.read_text())
        number = files.check_sbom(sbom, self.version, pinned)
        self.sbom.write_text(json.dumps(sbom, indent=1) + "\n")
        return f"{number} parts"

    def try_out(self, python: Path) -> str:
        """The commands that need nothing, and the man page."""
        rotator = python.with_name("rotator")
        first = command(rotator, "--version").splitlines()[0]
        if first != f"rotator {self.version}":
            raise NotReadyError(f"--version says {first!r}")
        if not re.fullmatch(r"[0-9a-f]{64}\n", command(rotator, "keygen")):
            raise NotReadyError("keygen does not print a key")
        if not (python.parents[1] / "share" / "man" / "man1" / "rotator.1").is_file():
            raise NotReadyError("the man page is not where man looks for it")
        return first

    def steps(self) -> tuple[tuple[str, Callable[[], str]], ...]:
        """All steps in their order."""
        return (
            ("checkout", self.checkout),
            ("changelog", self.changelog),
            ("build", self.build),
            ("metadata", self.metadata),
            ("install", self.install),
            ("hashes", self.pin),
            ("install by hashes", self.install_pinned),
            ("SBOM", self.list_parts),
            ("demo", self.demo),
            ("image", self.image),
        )


def command(program: str | Path, *arguments: str) -> str:
    """
    What a program prints, started outside of the checkout and without its environment.

    Raises:
        NotReadyError: It fails.
    """
    env = {name: one for name, one in os.environ.items() if not name.startswith(("PYTHON", "VIRT"))}
    done = subprocess.run(
        [program, *arguments], cwd="/", env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise NotReadyError(
            f"{Path(program).name} {' '.join(arguments[:3])}: {' / '.join(said[-5:])}"
        )
    return done.stdout


def tool(module: str, *arguments: str) -> str:
    """What one of the tools of the dependency group `release` prints."""
    return command(sys.executable, "-m", module, *arguments)


def fresh(folder: Path) -> Path:
    """The Python of a new virtual environment with nothing in it."""
    command(sys.executable, "-m", "venv", "--without-pip", str(folder))
    return folder / "bin" / "python"


def install(python: Path, *what: str) -> None:
    """Install packages into the environment of *python*."""
    tool("uv", "pip", "install", "--quiet", "--python", str(python), *what)


def main() -> int:
    """Take all steps; the exit code."""
    failed = 0
    with tempfile.TemporaryDirectory(prefix="rotator-release-") as folder:
        for name, step in Release(Path(folder)).steps():
            try:
                print(f"ok      {name}: {step()}", flush=True)
            except (NotReadyError, OSError) as error:
                failed += 1
                print(f"FAILED  {name}: {error}", flush=True)
    print(f"{failed} of the steps failed" if failed else f"ready: {DIST}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
