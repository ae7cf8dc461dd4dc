"""Tab in a shell: what bash offers, by the script that rotator gives it."""

import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from rotator.cli import completion
from rotator.state.state import State
from rotator.text import utc_now
from support import sample_reports
from support.commandline import cache, config_file
from support.processes import clean

# Types a line as a user does, presses Tab, and prints what bash would offer.
TAB = """
eval "$(rotator --show-completion)"
COMP_WORDS=({words})
COMP_CWORD={index}
complete -p rotator >/dev/null || exit
_rotator_completion rotator
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def shell(tmp_path):
    """Run a script in a bash that finds `rotator` and has a home of its own."""
    command = tmp_path / "bin" / "rotator"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m rotator "$@"\n')
    command.chmod(0o755)

    def run(script, **env):
        # With another command behind it bash stays: it is the shell to be found.
        done = subprocess.run(
            ["bash", "--norc", "-c", f"{script}\nexit $?"],
            env=clean({"PATH": f"{command.parent}:/usr/bin:/bin", "HOME": str(tmp_path), **env}),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run


def tab(shell, *words, **env):
    """What Tab offers after the last of *words*."""
    typed = shlex.join(["rotator", *map(str, words)])
    return shell(TAB.format(words=typed, index=len(words)), **env).split()


def test_commands(shell):
    """Commands are offered by their beginnings."""
    assert tab(shell, "r") == ["run", "report"]
    assert tab(shell, "keyg") == ["keygen"]


def test_options(shell):
    """So are the options of a command, and the values of one that is a choice."""
    assert tab(shell, "run", "--d") == ["--dry-run"]
    assert tab(shell, "report", "--max") == ["--max-age"]
    assert tab(shell, "run", "--format", "") == ["table", "json"]


def test_caches(shell, tmp_path):
    """Names of caches come from the configuration, named on the line or in the environment."""
    found = [cache("127.0.0.1:6379", name=name) for name in ("shared-one", "shared-two", "other")]
    path = str(config_file(tmp_path / "maverics.yaml", *found))
    assert tab(shell, "run", "-c", path, "--cache", "sh") == ["shared-one", "shared-two"]
    assert tab(shell, "get", "--cache", "", MAVERICS_CONFIG=path)[-1] == "other"


@pytest.mark.parametrize("content", ["", "caches: [", "caches: [{name: 7}]"])
def test_a_configuration_that_is_wrong(shell, tmp_path, content):
    """Where the configuration cannot be read nothing is offered, and nothing is said."""
    path = tmp_path / "maverics.yaml"
    path.write_text(content)
    assert tab(shell, "run", "-c", str(path), "--cache", "s") == []


OLD, OTHER = "9f2c41d07be3a655", "15698056aa01bb02"


@pytest.fixture
def state(tmp_path):
    """A state file with reports on two caches, each with an old key."""
    path = tmp_path / "state.db"
    report = sample_reports.example()
    (cache,) = report.caches
    with State(path) as opened:
        for name, ident in (("shared-redis", OLD), ("other", OTHER)):
            keys = (sample_reports.old_key(id=ident),)
            one = cache.model_copy(update={"name": name, "keys": keys})
            text = report.model_copy(update={"caches": (one,)}).model_dump_json(by_alias=True)
            opened.save_report(name, text, utc_now())
    return path


def line(state, *caches):
    """What a line of options has so far."""
    return SimpleNamespace(params={"state": state, "cache": list(caches)})


def test_keys(shell, state):
    """Ids of old keys come from the last reports; with --cache, from those on that cache."""
    for command in ("purge", "report"):
        assert tab(shell, command, "--state", state, "--key", "") == [OTHER, OLD]
    told = [(OLD, "verifying, shared-redis")]
    assert completion.complete_key(line(state), "9") == told
    assert completion.complete_key(line(state, "shared-redis"), "") == told


def test_conditions(state):
    """What `report --require` can ask for is offered, of all old keys or of one."""
    assert completion.complete_condition(line(state), "retirable") == [
        *("retirable", f"retirable:{OTHER}", f"retirable:{OLD}")
    ]
    assert completion.complete_condition(line(Path("/none")), "") == [
        *("retirable", "proven", "in-time")
    ]


@pytest.mark.parametrize("typed", [("retirable", ":"), ("retirable", ":", "9f")])
def test_a_colon(shell, state, typed):
    """Where bash parts a word, at its colons, it is offered what follows the last one."""
    found = tab(shell, "report", "--state", state, "--cache", "shared-redis", "--require", *typed)
    assert found == [OLD]


@pytest.mark.parametrize("content", [None, "", "no database"])
def test_a_state_that_is_none(tmp_path, content):
    """Where there is no state, or none that can be read, nothing is offered, said or made."""
    path = tmp_path / "state.db"
    if content is not None:
        path.write_text(content)
    assert completion.complete_key(line(path), "") == []
    assert path.exists() is (content is not None)


def test_topics(shell):
    """`rotator help` takes commands and documents, `rotator docs` takes documents."""
    assert tab(shell, "docs", "s") == ["servers", "security"]
    assert tab(shell, "help", "d") == ["detect", "delete", "docs", "demo", "developing"]


def test_files(shell, tmp_path):
    """For files rotator offers nothing, so that bash offers its own."""
    assert tab(shell, "run", "--config", str(tmp_path)[:-2]) == []
    assert "complete -o default -F" in shell("rotator --show-completion")


def test_it_can_be_installed(shell, tmp_path):
    """`--install-completion` makes it last: the next bash has it."""
    (tmp_path / ".bashrc").write_text("# mine\n")
    said = shell("rotator --install-completion")
    assert str(tmp_path) in said
    rc = (tmp_path / ".bashrc").read_text()
    assert rc.startswith("# mine\n")
    assert "_rotator_completion" in shell(f"{rc}\ncomplete -p rotator")


def test_it_cannot_be_installed(shell):
    """Where there is no home to install it in, that is said, and what to do instead."""
    said = shell("rotator --install-completion 2>&1; echo $?", HOME="/dev/null/home")
    assert said.splitlines() == [
        "rotator: error: completion cannot be installed: not a directory",
        "rotator: hint: `rotator --show-completion` prints it, to save where your shell looks",
        "1",
    ]


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_any_shell(shell, name):
    """For a package the script of each shell can be had without being in that shell."""
    script = shell("rotator", _ROTATOR_COMPLETE=f"source_{name}")
    assert f"_ROTATOR_COMPLETE=complete_{name}" in script
