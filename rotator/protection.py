"""
Protection: keeps keys out of core dumps, other users' files out of use, and outputs apart.

A folder may be a symbolic link, a file must not: where others may write too, as in /tmp, one who
puts a link there would choose which file is written, and one who puts a file there what is read.
"""

import os
import pwd
import resource
import stat
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from ctypes import CDLL
from pathlib import Path
from urllib.parse import unquote

from rotator.errors import ConfigError, RotatorError

STATE = "the state file"
"""What is written to, of the files that must stay."""

_PR_SET_DUMPABLE = 4  # linux/prctl.h


def disable_core_dumps() -> None:
    """
    Keep this process from leaving its memory in a file when it crashes: keys are in it.

    The limit is inherited. Where the kernel pipes dumps to a program (core(5)) no limit counts, but
    the mark does, which each program that is started loses. It also keeps other processes of the
    same user from attaching to this one or reading its memory and environment.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if sys.platform == "linux":
        CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def is_there(path: Path) -> bool:
    """Return whether something is there; where nobody can tell, opening it says why: True."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # the folder is closed to us, the name too long
        return True
    return True


def open_own(path: Path, kind: type[RotatorError]) -> int:
    """
    Open a file to read and write, made if it is not there; return its descriptor.

    Raises:
        OSError: It cannot be opened.
        RotatorError: Of that *kind*; see `require_own`.
    """
    require_own(path, kind)
    # The file may be another one by now: a link is not followed, a pipe not waited for.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    handle = os.open(path, flags, 0o600)
    try:
        _require(path, os.fstat(handle), kind)
    except kind:
        os.close(handle)
        raise
    return handle


def require_own(path: Path, kind: type[RotatorError]) -> None:
    """
    Raise unless *path* is a file of the user that rotator runs as, or nothing is there.

    Raises:
        RotatorError: Of that *kind*: it is a symbolic link, no file, or another user's.
    """
    try:
        found = path.lstat()
    except OSError:
        return  # whoever opens it says why it cannot be
    _require(path, found, kind)


def _require(path: Path, found: os.stat_result, kind: type[RotatorError]) -> None:
    """Raise unless what was *found* at a path is a file of this user."""
    if stat.S_ISLNK(found.st_mode):
        hint = f"remove the link, or name the file that it leads to: {os.path.realpath(path)}"
        raise kind(f"{path} is a symbolic link", hint=hint)
    if not stat.S_ISREG(found.st_mode):
        raise kind(f"{path} is not a file", hint="remove what is there, or name a file")
    if found.st_uid != os.geteuid():
        owner, user = _name(found.st_uid), _name(os.geteuid())
        raise kind(
            f"{path} belongs to the user {owner}, and rotator runs as {user}",
            hint=f"run rotator as {owner}, or name another file",
        )


def _name(number: int) -> str:
    """Return the name of a user, or the number if it has none."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def path_of_secrets(url: str) -> Path | None:
    """Return the path of the secret file that a provider's URL names; None if it names none."""
    scheme, _, path = url.strip().partition("://")
    return Path(unquote(path)) if scheme.lower() == "secretfile" else None


def _marks(path: Path) -> set[object]:
    """Return what two paths have in common if they lead to one file, or would."""
    marks: set[object] = {os.path.realpath(path)}
    with suppress(OSError):
        found = path.stat()
        marks.add((found.st_dev, found.st_ino))
    return marks


def check_targets(
    wanted: Mapping[str, Path | None], kept: Iterable[tuple[str, Path | None]]
) -> None:
    """
    Raise unless each of the *wanted* files, by its kind, can be written, and is a file of its own.

    *kept* are files that must stay, each with what it is.

    Raises:
        ConfigError: One cannot be replaced, or would replace one that is kept, or another output;
            or the state is another file that is kept.
    """
    taken: dict[object, str] = {}
    for what, path in sorted(kept, key=lambda one: one[0] == STATE):  # it would be written to
        marks = _marks(path) if path else set()
        for other in filter(None, map(taken.get, marks)) if what == STATE else ():
            raise ConfigError(f"{path}: {STATE} is {other}", hint="name another one with --state")
        taken |= dict.fromkeys(marks, f"{what} {path}")
    for kind, path in wanted.items():
        if path is None:
            continue
        for other in filter(None, map(taken.get, _marks(path))):
            raise ConfigError(f"{path}: the {kind} would replace {other}", hint="name another file")
        check_target(path)
        taken |= dict.fromkeys(_marks(path), f"the {kind} {path}")


def check_target(path: Path) -> None:
    """
    Raise unless a report can be written to *path*; asked before the work begins.

    Raises:
        ConfigError: The folder is missing or closed to us, or *path* cannot be replaced: it is a
            symbolic link, another user's, or `-`.
    """
    if path == Path("-"):  # what --report takes for stdout does not come here
        raise ConfigError("-: only --report writes to stdout", hint="name a file")
    folder = Path(os.path.realpath(path.parent))
    if not folder.is_dir():
        raise ConfigError(
            f"{path}: the folder {folder} does not exist", hint=f"create it: mkdir -p {folder}"
        )
    if path.exists() and (not path.is_file() or _is_output(path)):
        raise ConfigError(
            f"{path} is not a file that can be replaced",
            hint="name a file; for a report on stdout use --format json",
        )
    require_own(path, ConfigError)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(
            f"{path}: no right to write to the folder {folder}",
            hint="choose another folder, or give this user the right to write there",
        )


def _is_output(path: Path) -> bool:
    """Return whether stdout or stderr goes there, and would not go to what replaces it."""
    for number in (1, 2):
        with suppress(OSError):
            if os.path.samestat(os.fstat(number), path.stat()):
                return True
    return False
