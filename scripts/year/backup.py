"""Backup: copies of the files of servers, to be looked into and to be put back."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from rotator.demo.local_server import LocalServer
from soak.disks import AOF, RDB, read_copy


class Backup:
    """Backup: copies of the files of all servers, of one *day*."""

    def __init__(self, folder: Path, day: int, nodes: Iterable[LocalServer]) -> None:
        self.day = day
        self._folder = folder
        for node in nodes:
            own = folder / str(node.port)
            own.mkdir(parents=True)
            _copy_files(node.folder, own)

    @property
    def ready(self) -> bool:
        """True if there is a file of every server."""
        return all(any(own.iterdir()) for own in self._folder.iterdir())

    def read(self) -> Iterator[tuple[str, list[tuple[bytes, bytes]]]]:
        """Yield every name and value with the file they are in."""
        for path in sorted(self._folder.glob("*/*")):
            yield from read_copy(f"{path.name} of {path.parent.name} of day {self.day}", path)

    def put_back(self, node: LocalServer) -> None:
        """Give a server that does not run the files that it had."""
        for file in (RDB, AOF):
            path = node.folder / file
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        _copy_files(self._folder / str(node.port), node.folder)

    def remove(self) -> None:
        """Remove the copies."""
        shutil.rmtree(self._folder)


def _copy_files(source: Path, target: Path) -> None:
    if (source / RDB).exists():
        shutil.copyfile(source / RDB, target / RDB)
    if (source / AOF).exists():
        shutil.copytree(source / AOF, target / AOF)
