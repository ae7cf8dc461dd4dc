"""
Protection: keeps keys out of core dumps, and other users' files out of use.

A folder may be a symbolic link, a file must not: where others may write too, as in /tmp, one who
puts a link there would choose which file is written, and one who puts a file there what is read.
"""

import os
import pwd
import resource
import stat
import sys
from ctypes import CDLL
from pathlib import Path

from rotator.errors import RotatorError

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
