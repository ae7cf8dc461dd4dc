"""
What runs the clients: an environment of their own in .cache/clients, and the programs in it.

A program in the folder `programs` answers one request, JSON on stdin, with JSON on stdout:

- `client` is the name of a row of the cookbook, `keys` maps names of keys to 32 bytes in hex. The
  keys are text as well, because some clients take nothing else; they are for tests only.
- `op` is `describe`: the answer has the `version` of the client, the `labels` by which values name
  the keys, if they do, the `derived` keys (what the client makes of the given ones, in hex), and
  whether it `wraps` plaintexts into something of its own.
- `write`: each of the `items` has `key`, `name` and `text`; the answer is a list of values in
  base64.
- `read`: each has `name` and `value`; the answer is a list of texts, null where nothing opens.
- With `server` (host:port) a client that is a cache writes to that server and reads from it: values
  are null.

It ends with 3 where the client is not on this machine, and says on stderr what would bring it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / ".cache" / "clients"
PROGRAMS: Final = Path(__file__).parent / "programs"
SECONDS: Final = 300  # for one command: what does not answer is a reason, not a hang
NOT_HERE: Final = 3
_LOCK: Final = ROOT / "scripts" / "lock" / "clients.txt"
_VENV: Final = FOLDER / "venv"


class ClientError(Exception):
    """A client cannot be had, or does not do as it should; the message says why, on one line."""


class NotHereError(ClientError):
    """A client is not on this machine, and is none of those that are installed."""


def run(*command: str | Path, folder: Path | None = None, given: str = "") -> str:
    """
    What a command prints.

    Raises:
        ClientError: It is not there, failed, or took too long; the message holds its last words.
        NotHereError: It says so.
    """
    env = {**os.environ, "GOTOOLCHAIN": "local", "GOPROXY": "off", "GOFLAGS": "-trimpath"}
    try:
        ended = subprocess.run(
            command,
            cwd=folder,
            input=given,
            env={**env, "GOCACHE": str(FOLDER / "go-build")},
            capture_output=True,
            encoding="utf-8",
            check=False,
            timeout=SECONDS,
        )
    except FileNotFoundError:
        raise ClientError(f"there is no {command[0]} on this machine") from None
    except subprocess.TimeoutExpired:
        raise ClientError(f"{Path(command[0]).name} did not end within {SECONDS} s") from None
    if ended.returncode:
        last = (ended.stderr or ended.stdout).strip().splitlines() or ["no message"]
        kind = NotHereError if ended.returncode == NOT_HERE else ClientError
        raise kind(last[-1])
    return ended.stdout


def _python() -> list[str | Path]:
    """Install the packages of the lock, if it is another one than last time; the interpreter."""
    python, stamp = _VENV / "bin" / "python", _VENV / ".installed"
    if not stamp.exists() or stamp.read_bytes() != _LOCK.read_bytes():
        uv = Path(sys.executable).with_name("uv")
        run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, _VENV)
        options = ("--quiet", "--require-hashes", "--only-binary", ":all:", "--python", python)
        run(uv, "pip", "install", *options, "--requirements", _LOCK)
        stamp.write_bytes(_LOCK.read_bytes())
    return [python, PROGRAMS / "python" / "client.py"]


def _brought(name: str) -> Path:
    """A program that one of the packages carries."""
    _python()
    for path in sorted(_VENV.glob(f"lib/python*/site-packages/**/bin/{name}")):
        return path
    raise ClientError(f"no package of {_LOCK.name} carries {name}")


def _node() -> list[str | Path]:
    """Install the npm packages of the lock beside a copy of the program."""
    node, folder = _brought("node"), FOLDER / "node"
    npm = node.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    lock, stamp = PROGRAMS / "node" / "package-lock.json", folder / ".installed"
    shutil.copytree(PROGRAMS / "node", folder, dirs_exist_ok=True)
    if not stamp.exists() or stamp.read_bytes() != lock.read_bytes():
        quiet = ("--omit=peer", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")
        run(node, npm, "ci", *quiet, folder=folder)
        stamp.write_bytes(lock.read_bytes())
    return [node, folder / "client.mjs"]


def _go() -> list[str | Path]:
    """Build the program with the toolchain that a package brings."""
    program = FOLDER / "go-client"
    run(_brought("go"), "build", "-o", program, ".", folder=PROGRAMS / "go")
    return [program]


def _here(name: str, program: str) -> Callable[[], list[str | Path]]:
    """A program for what this machine may have."""

    def command() -> list[str | Path]:
        if (found := shutil.which(name)) is None:
            raise NotHereError(f"there is no {name} on this machine: apt-get install {name}")
        return [found, PROGRAMS / name / program]

    return command


@dataclass(frozen=True)
class Runtime:
    """What runs a program: *prepare* installs what it takes, and says how it is called."""

    name: str
    prepare: Callable[[], list[str | Path]]

    def ask(self, **request: Any) -> Any:
        """
        The answer to a request.

        Raises:
            ClientError: There is none.
            NotHereError: The client is not on this machine.
        """
        return json.loads(run(*self.prepare(), given=json.dumps(request)))


PYTHON: Final = Runtime("Python", _python)
NODE: Final = Runtime("Node", _node)
GO: Final = Runtime("Go", _go)
PHP: Final = Runtime("PHP", _here("php", "client.php"))
RUBY: Final = Runtime("Ruby", _here("ruby", "client.rb"))
