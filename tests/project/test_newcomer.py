"""README.md as a newcomer follows it: from top to bottom by copying, with Python and make alone."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rotator.cli.help import TOPICS
from support.caches import Cache, keys_of
from support.documents import README, blocks
from support.processes import clean, run_here
from support.scene import FORMER, NEW
from support.verdict_scenes import shape

ROOT = README.parent
TOOLS = "awk basename cat chmod cp dirname env ln make mkdir mv printf rm sed sh sleep touch uname"
"""What every Linux has, and make; neither a server nor another Python."""
MADE = (".*", "build", "dist", "__pycache__")
"""What is not in a fresh checkout."""
INSTEAD = {
    "make test": "make test TESTS=tests/unit/test_text.py",  # which would run this test again
    "pip install redis-rotator": "pip install .",  # what is to be released
}
KEPT = re.compile(r"(UV|PIP|SSL|XDG)_|https?_proxy|no_proxy", re.IGNORECASE)
"""Where this machine has its package index and its caches."""


@pytest.fixture
def tools(tmp_path):
    """A folder with all that is on the PATH."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for tool in TOOLS.split():
        (folder / tool).symlink_to(shutil.which(tool))
    python = folder / "python3"
    # A link would have the environments look for their Python here.
    real = Path(sys._base_executable).resolve()
    python.write_text(f'#!/bin/sh\nexec {real} "$@"\n')
    python.chmod(0o755)
    return folder


def script():
    """All commands of README.md, in their order."""
    lines = []
    for block in blocks("README"):
        if block.kind == "sh" or block.text.startswith("make "):
            lines += [INSTEAD.get(line, line) for line in block.text.splitlines()]
    return "\n".join(["set -e", *lines])


@pytest.mark.timeout(600)
def test_readme_can_be_followed(scene, tmp_path, tools):
    """Copied line by line, README.md leads from a checkout to a cache under the new key."""
    checkout = tmp_path / "checkout"
    shutil.copytree(ROOT, checkout, ignore=shutil.ignore_patterns(*MADE))
    (checkout / ".cache").symlink_to(ROOT / ".cache")  # the servers that tests fetch
    scene.put(1204)
    kept = {name: value for name, value in os.environ.items() if KEPT.match(name)}
    home = Path.home()
    kept = {"XDG_CONFIG_HOME": f"{home}/.config", "XDG_CACHE_HOME": f"{home}/.cache"} | kept
    done = subprocess.run(
        ["sh", "-c", scene.shell.here(script())],
        cwd=checkout,
        env={**kept, "PATH": str(tools), "HOME": str(tmp_path), "LANG": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    told = f"{done.stdout}\n{done.stderr}"
    assert done.returncode == 0, told
    assert "That was the demo" in done.stdout
    assert re.search(r"\d+ passed in", done.stdout)
    cache = Cache(scene.address, keys=(scene.keys[NEW], scene.keys[FORMER]))
    assert keys_of(scene.redis, cache) == {0: 1204}
    shown = [shown_by(checkout / "rotator-env" / "bin" / "rotator", topic) for topic in TOPICS]
    assert shown == [run_here(["docs", topic]).stdout for topic in TOPICS]
    assert_demo_output(done.stdout)


def shown_by(rotator, topic):
    """What an installed rotator shows of a document, far from its checkout."""
    done = subprocess.run(
        [rotator, "docs", topic], cwd="/", env=clean(), capture_output=True, text=True, check=True
    )
    return done.stdout


def assert_demo_output(output):
    """Each line that README.md shows of the demo was printed, but for numbers and ids."""
    [shown] = [one for one in blocks("README") if "$ rotator run" in one.text]
    printed = alike(output)
    assert [line for line in shown.text.splitlines() if alike(line) not in printed] == []


def alike(text):
    """A text without what differs from run to run, in words."""
    return re.sub(r"N(\.N)?( [kMG]?B| days| m?s\b)?", "N", shape(text)).strip()
