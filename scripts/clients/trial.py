"""
A trial: a client fills a cache under an old and a new key, rotator rotates it, the client reads it.

Twice: with the entry of the cookbook, and as a user would do it who knows nothing, with what
`rotator detect` prints. A trial is passed if the client reads every value with the new key alone,
and no name expires at another time than before.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from clients.client import NEW, OLD, Client, Text
from rotator.crypto.keyring import Key
from rotator.demo.local_server import LocalServer

CACHE: Final = "box"
_EXPIRES_MS: Final = 4_102_444_800_000  # 2100-01-01
_ASSUMED: Final = {"is": "none", "reason": "a private server of this test"}


class TrialError(Exception):
    """A trial is not passed; the message says what came instead, on one line."""


def texts(old: int, new: int) -> list[Text]:
    """Texts of several lengths, *old* of them for the old key, the others for the new one."""
    return [
        Text(
            OLD if number < old else NEW,
            f"app:item:{number}",
            f'{{"user":{number},"name":"Zoë"}}' + "." * 7 * number,
        )
        for number in range(old + new)
    ]


class Trial:
    """One client on one server, which is emptied first."""

    def __init__(self, client: Client, server: LocalServer, folder: Path) -> None:
        self._client, self._server, self._folder = client, server, folder
        self._redis = server.client()
        self._redis.flushall()

    def by_the_entry(self) -> int:
        """Rotate with the entry of the cookbook; the number of values that the client reads."""
        return self._play(texts(5, 2), [self._described()])

    def as_detected(self) -> int:
        """Rotate with what `rotator detect` prints."""
        written = texts(5, 3)
        names = self._fill(written)
        text = self._client.row.authenticated
        known = ["--aad", text] if text else []  # which nobody can guess
        found = self._rotator("detect", [self._configured()], known)
        _, mark, section = found.stdout.partition("rotator:\n")
        if not mark and found.returncode:
            said = " ".join((found.stdout or found.stderr).split())
            raise TrialError(f"detect prints no entry: {said[:200]}")
        printed = self._folder / "printed.yaml"
        printed.write_text(mark + section or "rotator: {}\n")  # all of it opens as it is
        return self._rotated(written, names, [self._configured(), printed])

    def _play(self, written: list[Text], more: list[Path]) -> int:
        names = self._fill(written)
        return self._rotated(written, names, [self._configured(), *more])

    def _fill(self, written: list[Text]) -> dict[str, str]:
        """Have the client write; the names in the cache by those of the application."""
        values = self._client.write(written, self._server.address)
        for one, value in zip(written, values, strict=bool(values)):
            self._redis.set(one.name, value)
        names = {
            one.name: f"{CACHE}:{one.name}" if self._client.is_cache else one.name
            for one in written
        }
        for number, name in enumerate(names.values()):
            if not self._redis.pexpireat(name, _EXPIRES_MS + number):
                raise TrialError(f"the client did not write {name}")
        return names

    def _rotated(self, written: list[Text], names: dict[str, str], files: list[Path]) -> int:
        ended = self._rotator("run", files, ["--state", str(self._folder / "state.db")])
        if ended.returncode:
            said = " ".join((ended.stderr or ended.stdout).split())
            raise TrialError(f"rotator run ends with {ended.returncode}: {said[-300:]}")
        for number, name in enumerate(names.values()):
            self._look_at_expiry(name, _EXPIRES_MS + number)
        values = {name: self._value(stored) for name, stored in names.items()}
        read = self._client.read(values, self._server.address)
        good = sum(text == one.text for text, one in zip(read, written, strict=True))
        if good != len(written):
            raise TrialError(f"the client reads {good} of {len(written)} with the new key alone")
        return good

    def _look_at_expiry(self, name: str, expected: int) -> None:
        """See that *name* expires then, in milliseconds: old servers tell only how long it has."""
        earliest = self._milliseconds()
        left = self._redis.pttl(name)
        if not earliest + left - 1 <= expected <= self._milliseconds() + left + 1:
            raise TrialError(f"{name} expires at another time than before")

    def _milliseconds(self) -> int:
        """The time of the server."""
        seconds, more = self._redis.time()
        return int(seconds) * 1000 + int(more) // 1000

    def _value(self, name: str) -> bytes:
        """What is stored as *name*; nothing where the client looks by itself."""
        found = b"" if self._client.is_cache else self._redis.get(name)
        return found if isinstance(found, bytes) else b""

    def _rotator(
        self, command: str, files: list[Path], options: list[str]
    ) -> subprocess.CompletedProcess[str]:
        named = [word for path in files for word in ("--config", str(path))]
        return subprocess.run(
            [sys.executable, "-m", "rotator", command, *named, *options],
            capture_output=True,
            encoding="utf-8",
            check=False,
        )

    def _write(self, name: str, document: Mapping[str, Any]) -> Path:
        path = self._folder / name
        path.write_text(json.dumps(document))
        return path

    def _configured(self) -> Path:
        """The configuration of somebody who knows keys and server, and nothing of the layout."""
        derived = self._client.described.derived
        cache = {
            "name": CACHE,
            "type": "redis",
            "encryption": {"keys": {"current": derived[NEW], "old": [derived[OLD]]}},
            "redis": {"addresses": [self._server.address]},
        }
        fields = {"fields": "*"} if self._client.is_cache else {}
        settings = {"assume": {"rdb": _ASSUMED, "aof": _ASSUMED}, **fields}
        rotator = {"caches": {CACHE: settings}}
        return self._write("maverics.json", {"caches": [cache], "rotator": rotator})

    def _described(self) -> Path:
        """The section that a user writes who has read the cookbook."""
        described = self._client.described
        labels = {
            Key.from_text(secret, name).id: described.labels[name]
            for name, secret in described.derived.items()
            if name in described.labels
        }
        settings = json.dumps({"formats": ["theirs"], **({"labels": labels} if labels else {})})
        path = self._folder / "entry.yaml"
        path.write_text(
            f"rotator:\n  formats:\n    theirs: {self._client.row.entry}\n"
            f"  caches:\n    {CACHE}: {settings}\n"
        )
        return path


def tried(client: Client, server: LocalServer) -> str:
    """
    Have a client try both; what came of it, in words.

    Raises:
        ClientError: It cannot be had.
        TrialError: It does not read everything.
    """
    version = client.described.version
    with tempfile.TemporaryDirectory() as folder:
        first = Trial(client, server, Path(folder)).by_the_entry()
    so_far = f"{version}: reads {first} values by the entry"
    try:
        with tempfile.TemporaryDirectory() as folder:
            second = Trial(client, server, Path(folder)).as_detected()
    except TrialError as error:
        raise TrialError(f"{so_far}; as detected: {error}") from None
    return f"{so_far}, {second} as detected"
