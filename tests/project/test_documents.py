"""
README.md is true: every command block in it is run, and answers what it says.

Conventions are in `documents`. Each section with blocks has an entry in `SECTIONS`: what becomes
of each block, in their order. A block that is not there fails the test, so that nothing is promised
that nobody has tried.
"""

import ast
import json
import re
import shlex
import tomllib
from dataclasses import dataclass

import pytest
import typer
import yaml
from cryptography.hazmat.primitives import serialization as pem
from cryptography.hazmat.primitives.asymmetric import ed25519

from rotator.cli import app
from rotator.config.load import load
from rotator.crypto.codec import Codec
from rotator.crypto.keyring import Key, Keyring, generate
from rotator.crypto.layout import BUILTIN
from rotator.demo.local_server import LocalServer
from rotator.errors import ENDINGS
from support.documents import README, SHELLS, Shell, blocks, document, merged, missing, steps
from support.server_versions import since

ROOT = README.parent
TEXT = README.read_text()
BLOCKS = blocks(TEXT)
NAMESPACE = "/app/oidc"
FORMER, NEW, STRANGE = "cache_key_2026_05", "cache_key_2026_11", "unknown"
QUICK_START = "Quick start on your own cache"
PURGING = ("+unlink", "+evalsha", "+script|load")
"""What `purge` needs besides, as README.md says."""


class Scene:
    """A server with the user of README.md, its configuration and secrets, and a shell."""

    def __init__(self, folder, server, redis):
        self.redis = redis
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
                "/etc/maverics": str(etc),
                "/var/lib": str(folder),
                "redis-0.internal:6379": server.address,
                "9f2c41d07be3a655": former,
                "9f2c41d0": former[:8],
                "15698056": former[:8],
            },
        )
        self.config = {}
        [block] = [one for one in BLOCKS if (one.section, one.kind) == (QUICK_START, "yaml")]
        self.configure(block)
        exports = next(one for one in BLOCKS if (one.section, one.kind) == (QUICK_START, "sh"))
        for line in exports.text.splitlines():
            if line.startswith("export "):
                name, _, value = line.removeprefix("export ").partition("=")
                self.shell.env[name] = self.shell.here(value)

    def configure(self, block):
        """Take over what a block of YAML says, and what older servers need to be told."""
        self.config = merged(self.config, document(block))
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


# What becomes of a block: it is run, taken over as the configuration, or left out with a reason.


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
        scene.configure(block)


@dataclass(frozen=True)
class Load:
    """It is read as a part of a configuration, and nothing in it is unknown."""

    def __call__(self, block, scene):
        """Do it."""
        path = scene.folder / "part.yaml"
        path.write_text(scene.shell.here(block.text))
        found = load([scene.file, path]) if "caches" not in document(block) else load([path])
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
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in block.text.splitlines():
        words = shlex.split(line, comments=True)
        assert words[0] == "make"
        assert [one for one in words[1:] if "=" not in one and one not in targets] == []


def installs(block):
    """`pip install`: every extra that is named exists."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = re.findall(r"\[([a-z,-]+)\]", block.text)
    for name in ",".join(named).split(","):
        assert not name or name in project["optional-dependencies"], name


def straggle(scene):
    """Somebody writes two values with the old configuration."""
    scene.put(2, FORMER, prefix="straggler")


def strange(scene):
    """Values that nobody can open: noise, and one under a lost key that it names."""
    scene.put(1204, NEW)
    scene.redis.set(f"{NAMESPACE}:n1", b"\xff" * 60)
    scene.redis.set(f"{NAMESPACE}:n2", b"\xfe" * 60)
    scene.put(1, STRANGE, "sealed", prefix="lost")


def plaintext(scene):
    """A cache that was used without encryption."""
    for index in range(1204):
        scene.redis.set(f"{NAMESPACE}:{index}", f"session {index}", ex=86_400)


def retired(scene):
    """A rotation that is over."""
    scene.put(20)
    scene.later()
    for _ in range(2):
        assert scene.shell.call("rotator run").returncode == 0


def audited(scene):
    """A rotation that is over, and a pair of keys for receipts."""
    retired(scene)
    (scene.folder / "receipts").mkdir()
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption())
    kind = pem.PublicFormat.SubjectPublicKeyInfo
    (scene.folder / "etc" / "audit.pem").write_bytes(private)
    public = key.public_key().public_bytes(pem.Encoding.PEM, kind)
    (scene.folder / "etc" / "audit.pub.pem").write_bytes(public)


def reported(scene):
    """A rotation that is over, and its report in the folder of a host."""
    (scene.folder / "reports" / "web-1").mkdir(parents=True)
    scene.shell.env["ROTATOR_REPORT"] = str(scene.folder / "reports" / "web-1" / "report.json")
    retired(scene)


SHOWN = "output, shortened, of what is run elsewhere"

SECTIONS = {
    "See it": [
        NotRun(
            "makes a virtual environment; tests/integration/demo/test_demo.py runs the demo", makes
        ),
        NotRun(SHOWN),
        NotRun("these are the tests", makes),
    ],
    QUICK_START: [
        NotRun("needs the package index", installs),
        Take(),
        Run(lambda scene: scene.put(1204)),
    ],
    "The safe order": [
        NotRun("tests/integration/diagnose/test_stage.py takes a cache through all of them")
    ]
    * 3,
    "Configuration": [Load()],
    "TLS": [Load()],
    "The Redis user": [NotRun("tests/integration/server/test_acl.py carries out both lines")],
    "Commands": [
        NotRun("tests/integration/cache/test_cache.py runs it", lambda block: ast.parse(block.text))
    ],
    "Verdicts": [NotRun(SHOWN)],
    "Reports": [Run(retired)],
    "Receipts": [NotRun("openssl may be missing, and is another's"), Run(audited)],
    "Many hosts": [Run(reported)],
    "Be told when something changes": [NotRun("tests/unit/run/test_notify.py runs both scripts")],
    "Windows": [Run(lambda scene: scene.put(1204)), NotRun(SHOWN)],
    "Several machines": [
        NotRun("tests/integration/sweep/test_dask.py does it on this machine", installs)
    ],
    "Planned rotation": [
        Run(lambda scene: (scene.put(1204), scene.put(46, NEW, prefix="new"))),
        Run(Scene.later),
        Take(),
        Run(),
    ],
    "Compromised key": [Run(lambda scene: scene.put(1204)), Run(straggle)],
    "Roll back": [
        Take(lambda scene: (scene.put(904, prefix="former"), scene.put(300, NEW))),
        Run(),
    ],
    "Values that nobody can open": [Run(strange), Run(), Run()],
    "Another format": [Take(lambda scene: scene.put(1204)), Run()],
    "From plaintext to encrypted": [Take(plaintext), Run()],
}
"""
What becomes of the blocks of each section, in their order.

A section with blocks of another kind than these gets an entry here: `Run` for commands, `Take` for
the configuration that they work with, `Load` for a part of one that is only to be valid, and
`NotRun` with a reason for what cannot be run.
"""


@pytest.fixture
def scene(tmp_path):
    """A fresh server, a configuration and a shell as README.md has them."""
    [rule] = re.findall(r"^(ACL SETUSER rotator .*)$", TEXT, re.MULTILINE)
    with LocalServer() as server, server.client() as redis:
        # As the section on rights says, without the last no key gets better than `verifying`.
        redis.execute_command(*rule.split(), *PURGING, "+cluster|myid")
        yield Scene(tmp_path, server, redis)


@pytest.mark.parametrize("section", list(dict.fromkeys(block.section for block in BLOCKS)))
def test_every_block_is_true(section, scene):
    """The blocks of a section, one after the other, in one place."""
    here = [block for block in BLOCKS if block.section == section]
    known = SECTIONS.get(section, [])
    assert len(here) == len(known), (
        f"the section {section!r} of README.md has {len(here)} blocks, at the lines "
        f"{[block.line for block in here]}, and SECTIONS tells of {len(known)}"
    )
    for block, what in zip(here, known, strict=True):
        what(block, scene)


def test_no_section_is_forgotten():
    """`SECTIONS` tells of no section that is gone."""
    assert set(SECTIONS) <= {block.section for block in BLOCKS}


def test_exit_codes():
    """The table of exit codes says of each code what `--help` says, in the same words."""
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", TEXT.partition("### Exit codes")[2], re.MULTILINE)
    table = [(int(code), meaning.replace("`", "")) for code, meaning in rows]
    assert table == [(code, ending.long) for code, ending in ENDINGS.items()]


class TestInText:
    """What the text between the blocks says of commands."""

    WORDS = re.sub(r"^```.*?^```$", "", TEXT, flags=re.DOTALL | re.MULTILINE)
    SPANS = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", WORDS)

    @pytest.mark.parametrize(
        "command", sorted({span for span in SPANS if span.startswith("rotator ")})
    )
    def test_commands(self, command):
        """Every command in the text can be typed; a value that is left out is no fault."""
        try:
            parse(command.replace("[", "").replace("]", ""))
        except typer.TyperException as error:
            assert error.format_message().lower().startswith("missing")  # noqa: PT017 - most raise nothing

    def test_options(self):
        """Every option in the text is one of some command."""
        menu = typer.main.get_command(app.app)
        context = typer.Context(menu)
        known = {
            flag
            for name in menu.list_commands(context)
            for option in menu.get_command(context, name).params
            for flag in (*option.opts, *option.secondary_opts)
        }
        known |= {"--help", *(flag for option in menu.params for flag in option.opts)}
        said = {
            flag
            for span in self.SPANS
            if not span.startswith(
                ("redis-cli", "--cluster", "make", "pip", "python", "PYTHONPATH", "uvx")
            )
            for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]+", span)
        }
        assert said <= known


class TestConventions:
    """What the conventions in README.md mean."""

    TEXT = """# Title

## One

    $ rotator run
    done

Words, and a list:

- with a line
  that goes on

```sh
export A=1
rotator run --dry-run \\
  --fresh   # exit 3: and why
# a remark

rotator report   # words
```

### Two

```console
$ rotator keys
first ... line
...
last line
$ rotator run
```
"""

    def test_blocks(self):
        """Fenced and indented ones, with their section and line; a list is none."""
        found = blocks(self.TEXT)
        assert [(one.section, one.number, one.kind, one.line) for one in found] == [
            ("One", 0, "indented", 5),
            ("One", 1, "sh", 13),
            ("Two", 0, "console", 24),
        ]

    def test_steps(self):
        """Commands with the code that they end with, and their output."""
        _, first, second = blocks(self.TEXT)
        assert [(step.command, step.code) for step in steps(first)] == [
            ("export A=1", 0),
            ("rotator run --dry-run --fresh", 3),
            ("rotator report", 0),
        ]
        assert [step.output for step in steps(second)] == [
            ["first ... line", "...", "last line"],
            [],
        ]

    @pytest.mark.parametrize(
        ("output", "lost"),
        [
            ("first and\n  only line", "first ... line"),
            ("first and last line\nlast   line\nmore", None),
            ("log\nfirst x line\nx\ny\nlast line", None),
            ("last line\nfirst x line", "last line"),
        ],
    )
    def test_output(self, output, lost):
        """Lines come in their order; `...` is anything; what follows the last does not matter."""
        assert missing(["first ... line", "...", "last line"], output) == lost

    def test_a_command_that_is_none(self):
        """What cannot be run is parsed: a misspelled option is found."""
        parse("rotator run --dry-run && make it")
        for wrong in ("rotator run --dry-rnu", "rotator rum"):
            with pytest.raises((AssertionError, typer.TyperException)):
                parse(wrong)
