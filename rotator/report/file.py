"""Writing a report to a file: whole or not at all, whatever happens meanwhile."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from rotator.errors import ConfigError, StateError

_MODE = 0o644  # less what the umask takes away


def check_target(path: Path) -> None:
    """
    See before the work begins that a report can be written to *path*.

    Raises:
        ConfigError: The folder is missing or closed to us, or *path* cannot be replaced.
    """
    folder = path.resolve().parent
    if not folder.is_dir():
        raise ConfigError(
            f"{path}: the folder {folder} does not exist", hint=f"create it: mkdir -p {folder}"
        )
    if path.exists() and (not path.is_file() or _is_output(path)):
        raise ConfigError(
            f"{path} is not a file that can be replaced",
            hint="name a file; for a report on stdout use --format json",
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(
            f"{path}: no right to write to the folder {folder}",
            hint="choose another folder, or give this user the right to write there",
        )


def write_whole(path: Path, text: str) -> None:
    """
    Replace *path* by a file that holds *text*, so that a reader finds the old one or the new one.

    A symbolic link stays one: what it points to is replaced.

    Raises:
        ConfigError: The folder is missing or closed to us, or *path* cannot be replaced.
        StateError: Writing failed; *path* is as it was.
    """
    check_target(path)
    target = path.resolve()
    draft = target.with_name(f".{target.name[:64]}.{secrets.token_hex(8)}.tmp")
    try:
        _write_out(draft, text)
        draft.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise StateError(
            f"{path}: cannot be written: {os.strerror(error.errno or 0).lower()}",
            hint="what was there before is unchanged; make room or choose another folder",
        ) from error


def _is_output(path: Path) -> bool:
    """Whether stdout or stderr goes there: replaced, it would no longer be the file they fill."""
    for number in (1, 2):
        with suppress(OSError):
            if os.path.samestat(os.fstat(number), path.stat()):
                return True
    return False


def _write_out(draft: Path, text: str) -> None:
    """Write a new file, and see it on the disk."""
    # O_EXCL: a name that somebody else put there is not followed.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(draft, flags, _MODE), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make the new name last, where the folder and its file system let us; the file is there."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
