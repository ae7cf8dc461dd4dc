"""
Scene: where the commands of the documents are carried out, and what becomes of each block.

A block is run, taken over as the configuration, read as a part of one, or left out with a reason.
"""

import json
import re
import shlex
import tomllib
from dataclasses import dataclass

import typer
import yaml

from rotator.cli import app
from rotator.config.load import load
from rotator.crypto.codec import Codec
from rotator.crypto.keyring import Key, Keyring, generate
from rotator.crypto.layout import BUILTIN
from support.documents import README, SHELLS, Shell, blocks, document, merged, steps
from support.server_versions import since

NAMESPACE = "/app/oidc"
FORMER, NEW, STRANGE = "cache_key_2026_05", "cache_key_2026_11", "unknown"
SMALLEST = "Configure"
"""The section of README.md with the smallest configuration."""


class Scene:
    """A server, the configuration of README.md with its secrets, and a shell."""

    def __init__(self, folder, server, redis):
        self.redis, self.address = redis, server.address
        self.folder = folder
        self.keys = {name: generate() for name in (FORMER, NEW, STRANGE)}
        self.ids = {name: Key.from_text(key, "test").id for name, key in self.keys.items()}
        etc = folder / "etc"
        etc.mkdir()
        self.file = etc / "maverics.yaml"
        (etc / "secrets.yaml").write_text(
            json.dumps({"secrets": {**self.keys, "redis_password": "password"}})
        )
        former = self.ids[FORMER]
        self.shell = Shell(
            folder,
            {
                "YOUR-NEW-KEY": self.keys[NEW],
                "YOUR-OLD-KEY": self.keys[FORMER],
                "YOUR-PASSWORD": "password",
                "/etc/maverics": str(etc),
                "/var/lib": str(folder),
                "redis-0.internal:6379": server.address,
                "9f2c41d07be3a655": former,
                "9f2c41d0": former[:8],
                "15698056": former[:8],
            },
        )
        self.config = {}
        self.configure(yaml.safe_load(smallest("maverics.yaml")))
        self.shell.env["MAVERICS_CONFIG"] = str(self.file)
        self.shell.env["MAVERICS_SECRET_PROVIDER"] = f"secretfile://{etc}/secrets.yaml"

    def configure(self, change):
        """Take over a part of a configuration, and what older servers need to be told."""
        self.config = merged(self.config, change)
        if not since(self.redis, 7, 0):
            assume = {"rdb": {"is": "none", "reason": "a server of the tests"}}
            settings = {"rotator": {"caches": {"shared-redis": {"assume": assume}}}}
            self.config = merged(self.config, settings)
        self.file.write_text(self.shell.here(yaml.safe_dump(self.config, allow_unicode=True)))

    def put(self, count, key=FORMER, form="gcm", prefix="session"):
        """Values as an application stores them, under one of the keys."""
        codec = Codec(Keyring(Key.from_text(self.keys[key], "test")), [BUILTIN[form]])
        pipe = self.redis.pipeline(transaction=False)
        for index in range(count):
            name = f"{NAMESPACE}:{prefix}{index}".encode()
            pipe.set(name, codec.seal(name, b"a session"), ex=86_400)
        pipe.execute()

    def later(self):
        """Let the quiet time be over."""
        self.shell.env["ROTATOR_QUIET"] = "0s"


def smallest(name):
    """The text of a file that README.md has its reader write."""
    [text] = [
        body.partition("\n")[2].removesuffix("EOF")
        for one in blocks("README")
        if one.section == SMALLEST
        for body in [step.command for step in steps(one)]
        if body.startswith(f"cat > {name} ")
    ]
    return text


@dataclass(frozen=True)
class Run:
    """Its commands are carried out; *before* prepares the scene."""

    before: object = None

    def __call__(self, block, scene):
        """Do it."""
        assert block.kind in SHELLS, f"{block} is no block of commands"
        if self.before:
            self.before(scene)
        scene.shell.run(block)


@dataclass(frozen=True)
class Take:
    """It is the configuration from here on; *before* prepares the scene."""

    before: object = None

    def __call__(self, block, scene):
        """Do it."""
        assert block.kind == "yaml", f"{block} is no configuration"
        if self.before:
            self.before(scene)
        scene.configure(document(block))


@dataclass(frozen=True)
class Load:
    """It is read as a part of a configuration, and nothing in it is unknown."""

    def __call__(self, block, scene):
        """Do it."""
        path = scene.folder / "part.yaml"
        path.write_text(scene.shell.here(block.text))
        complete = "caches" in document(block)
        found = load([path] if complete else [scene.file, path])
        assert found.warnings == ()


@dataclass(frozen=True)
class NotRun:
    """It cannot be run here, for this *reason*; it is parsed, and *check* looks at more of it."""

    reason: str
    check: object = None

    def __call__(self, block, _scene):
        """Do it."""
        assert self.reason
        if block.kind in SHELLS or block.text.startswith("$ "):
            for step in steps(block):
                parse(step.command)
        if self.check:
            self.check(block)


def parse(command):
    """See that a command line is one: every option and argument of rotator in it exists."""
    for part in re.split(r"&&|\|\||[|;]", command):
        words = shlex.split(part, comments=True)
        if words and words[0] == "rotator" and len(words) > 1:
            if words[1].startswith("-"):
                continue
            command = typer.main.get_command(app.app)
            context = typer.Context(command)
            found = command.get_command(context, words[1])
            assert found is not None, f"there is no command {words[1]}"
            found.make_context(words[1], words[2:])


def makes(block):
    """`make X`: there is such a target."""
    targets = re.findall(r"^([a-z-]+):", (README.parent / "Makefile").read_text(), re.MULTILINE)
    for line in block.text.splitlines():
        words = shlex.split(line, comments=True)
        assert words[0] == "make"
        assert [one for one in words[1:] if "=" not in one and one not in targets] == []


def installs(block):
    """`pip install`: every extra that is named exists."""
    project = tomllib.loads((README.parent / "pyproject.toml").read_text())["project"]
    named = re.findall(r"\[([a-z,-]+)\]", block.text)
    for name in ",".join(named).split(","):
        assert not name or name in project["optional-dependencies"], name
