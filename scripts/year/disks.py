"""
A disk that fills: a small file system of its own where one may be mounted, else a limit on files.

Both are the real thing: the kernel refuses the write (ENOSPC, or EFBIG with the limit).
"""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Disk:
    """
    A folder on which, inside of `full`, nothing more can be written.

    Where it is not its *own* file system, the limit is that of this process and those started then.
    """

    def __init__(self, folder: Path, size: str = "1m") -> None:
        folder.mkdir()
        self.folder = folder
        self._before = resource.getrlimit(resource.RLIMIT_FSIZE)
        self.own = (
            subprocess.run(
                ("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder),  # noqa: S607
                capture_output=True,
                check=False,
            ).returncode
            == 0
        )

    @property
    def content(self) -> dict[str, bytes]:
        """What files there are, with what is in each."""
        return {one.name: one.read_bytes() for one in sorted(self.folder.iterdir())}

    @contextmanager
    def full(self) -> Iterator[None]:
        """No room for another byte while the block runs."""
        self.fill()
        try:
            yield
        finally:
            self.free()

    def fill(self) -> None:
        """Take the room away."""
        if not self.own:
            self._before = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, self._before[1]))
            return
        with (self.folder / "ballast").open("wb", buffering=0) as file:
            try:
                while file.write(b"x" * 4096):
                    pass
            except OSError:
                return

    def free(self) -> None:
        """Give the room back."""
        if self.own:
            (self.folder / "ballast").unlink(missing_ok=True)
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, self._before)

    def remove(self) -> None:
        """Take the file system away."""
        if self.own:
            subprocess.run(("umount", "--lazy", self.folder), check=True)  # noqa: S607
