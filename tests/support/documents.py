"""
README.md and the pages of `rotator docs` as something to run: blocks, commands, and their output.

The conventions, which people read as well:

- In a block of `sh`, every line is a command; what `<<EOF` begins goes on until `EOF`. In one of
  `console`, a command stands behind `$ `, and what follows is its output.
- A command ends with 0, or with the code that a comment behind it says: `# exit 3`, and whatever
  words come after that.
- Output is compared line by line, in order, however it is indented. `...` stands for anything: in a
  line for a part of it, alone for any lines. What follows the last line may be left out.
- A block of `yaml` is the configuration from there on, or the part of it that changes: caches are
  told apart by their names.
"""

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from itertools import count, takewhile
from pathlib import Path

import yaml

from support.processes import Ended, clean, run_here

README = Path(__file__).parents[2] / "README.md"
DOCUMENTS = {
    "README": README,
    **{one.stem: one for one in sorted((README.parent / "rotator" / "docs").glob("*.md"))},
}
"""The file of each document, by its topic."""
SHELLS = ("sh", "console")
_LINES = re.MULTILINE | re.DOTALL
_EXIT = re.compile(r"\s+# exit (\d+)\b.*$")
_COMMENT = re.compile(r"\s+# .*$")
_HERE = re.compile(r"<<'?(\w+)'?")


@dataclass(frozen=True)
class Block:
    """
    A piece of a document that is set apart.

    *kind* is what stands behind the fence, or "indented"; *number* counts the blocks of a *section*
    from 0; *line* is where it begins. What comes before the first heading has the section "".
    """

    topic: str
    section: str
    number: int
    kind: str
    text: str
    line: int

    def __str__(self):
        return f"{self.topic}, {self.section}, block {self.number}"


@dataclass
class Step:
    """A command, the code that it ends with, and lines of output."""

    command: str
    code: int = 0
    output: list[str] = field(default_factory=list)


def blocks(topic, text=None):
    """All of a document, in their order."""
    text = DOCUMENTS[topic].read_text() if text is None else text
    found = [
        (fence.start(), fence["kind"] or "plain", fence["text"])
        for fence in re.finditer(r"^```(?P<kind>\w*)\n(?P<text>.*?)^```$", text, _LINES)
    ]
    # Without what is between fences, of the same length.
    rest = re.sub(r"^```.*?^```$", lambda one: re.sub(r"[^\n]", "-", one[0]), text, flags=_LINES)
    found += [
        (indented.start(), "indented", re.sub(r"^ {4}", "", indented[0], flags=re.MULTILINE))
        for indented in re.finditer(r"(?<=\n\n)( {4}\S.*\n(\n* {4}.*\n)*)", rest)
    ]
    counters = {}
    return [
        Block(
            topic,
            section,
            next(counters.setdefault(section, count())),
            kind,
            body.strip("\n"),
            line,
        )
        for place, kind, body in sorted(found)
        for section in ["", *re.findall(r"^##+ (.*)$", rest[:place], re.MULTILINE)][-1:]
        for line in [text.count("\n", 0, place) + 1]
    ]


def section(topic, heading):
    """The text below a heading of a document, up to the next one of its level or above."""
    text = DOCUMENTS[topic].read_text()
    begin = re.search(rf"^(#+) {re.escape(heading)}$", text, re.MULTILINE)
    rest = text[begin.end() :]
    end = re.search(rf"^#{{1,{len(begin[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def steps(block):
    """The commands of a block of shell."""
    found = []
    lines = iter(re.sub(r"\\\n\s*", "", block.text).splitlines())
    for line in lines:
        if block.kind == "console" and not line.startswith("$ "):
            if found:
                found[-1].output.append(line)
            continue
        command = line.removeprefix("$ ")
        if here := _HERE.search(command):
            body = [*takewhile(lambda one, end=here[1]: one != end, lines), here[1]]
            found.append(Step("\n".join([command, *body])))
        elif command.strip() and not command.startswith("#"):
            code = _EXIT.search(command)
            found.append(Step(_COMMENT.sub("", command), int(code[1]) if code else 0))
    return found


def missing(expected, output):
    """The first line that is expected and does not come, or None."""
    lines = [" ".join(line.split()) for line in output.splitlines() if line.strip()]
    at, loose = 0, True  # log lines and headings may come before the first one
    for wanted in (line.strip() for line in expected):
        if not wanted:
            continue
        if wanted == "...":
            loose = True
            continue
        parts = (re.escape(part) for part in " ".join(wanted.split()).split("..."))
        pattern = re.compile(".*".join(parts))
        ahead = range(at, len(lines)) if loose else range(at, min(at + 1, len(lines)))
        hit = next((index for index in ahead if pattern.fullmatch(lines[index])), None)
        if hit is None:
            return wanted
        at, loose = hit + 1, False
    return None


class Shell:
    """
    Carries out commands as a user types them, in a place of its own.

    *words* maps what the documents say to what holds here. What is exported stays for later
    commands.
    """

    def __init__(self, folder, words, env=None):
        self._words = words
        self._folder = folder
        bin_ = folder / "bin"
        bin_.mkdir()
        tool = bin_ / "rotator"
        # Of this checkout, wherever the command is run.
        start = f"PYTHONPATH={README.parent} exec {sys.executable} -m rotator"
        tool.write_text(f'#!/bin/sh\n{start} "$@"\n')
        tool.chmod(0o755)
        self.env = {"HOME": str(folder), "XDG_STATE_HOME": str(folder / "state"), **(env or {})}
        self.path = str(bin_)

    def here(self, text):
        """*text* with what holds here in place of what the documents say."""
        for said, meant in self._words.items():
            text = text.replace(said, meant)
        return text

    def run(self, block):
        """Carry out every command of *block*, and see that each answers as it says."""
        for step in steps(block):
            command = self.here(step.command)
            if command.startswith("export "):
                self.export(command)
                continue
            done = self.call(command)
            told = f"{block} (line {block.line}): {step.command}\n{done.stdout}\n{done.stderr}"
            assert done.returncode == step.code, told
            assert "Traceback" not in done.stderr, told
            lost = missing(map(self.here, step.output), f"{done.stdout}\n{done.stderr}")
            assert lost is None, f"not in the output: {lost}\n{told}"

    def export(self, command):
        """Keep a variable for later commands; $PWD in it is the folder."""
        name, _, value = command.removeprefix("export ").partition("=")
        self.env[name] = shlex.split(value.replace("$PWD", str(self._folder)))[0]

    def call(self, command):
        """What one command answers; those that need no shell are run in this process."""
        if re.fullmatch(r"rotator [^|&;<>$`*?\n]*|rotator [^|&;<>$`\n]*'[^|&;<>$`\n]*", command):
            return run_here(shlex.split(command)[1:], self.env)
        env = clean(self.env)
        done = subprocess.run(
            ["sh", "-c", command],
            env={**env, "PATH": f"{self.path}:{env['PATH']}"},
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)


def merged(before, change):
    """A configuration with a part of it changed; caches are told apart by their names."""
    if isinstance(before, dict) and isinstance(change, dict):
        both = {name: merged(before.get(name), part) for name, part in change.items()}
        return {**before, **both}
    named = [isinstance(one, list) and one and "name" in one[0] for one in (before, change)]
    if all(named):
        changes = {part["name"]: part for part in change}
        return [merged(part, changes.get(part["name"], {})) for part in before]
    return change


def document(block):
    """What a block of YAML says."""
    return yaml.safe_load(block.text)
