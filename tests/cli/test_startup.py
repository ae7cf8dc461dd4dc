"""What a command imports at its start: modules are counted, since seconds depend on the machine."""

import subprocess
import sys

import pytest

from rotator.cli import help as command_help
from support.processes import clean, job

# Runs rotator, and says on stderr which modules there are in the end.
LAUNCHER = """
import atexit, sys
from rotator.__main__ import main
atexit.register(lambda: print("modules", *sorted(sys.modules), file=sys.stderr))
main()
"""
# Libraries that take long, by what needs them.
LIBRARIES = {
    "a server": ["redis", "hiredis", "ssl"],
    "a configuration": ["pydantic", "yaml", "tarfile"],
    "a log or a table": ["structlog", "rich"],
    "a bar": ["tqdm"],
    "a state": ["sqlite3"],
    "other forms of a report": ["jinja2", "prometheus_client", "pygal"],
    "secret providers": ["requests", "httpx", "hvac", "boto3", "azure"],
    "other machines": ["dask", "distributed"],
}
RUN_NEEDS = {"a server", "a configuration", "a log or a table", "a state"}


def modules(*arguments, **env):
    """The modules that `rotator *arguments*` has imported when it ends with 0."""
    done = subprocess.run(
        [sys.executable, "-c", LAUNCHER, *map(str, arguments)],
        env=clean(env),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.rpartition("modules ")[2].split())


def unwanted(found, *, but=()):
    """The libraries among the modules *found*, except those that serve the purposes in *but*."""
    names = [name for why, names in LIBRARIES.items() if why not in but for name in names]
    return {name for name in names if name in found}


@pytest.mark.parametrize(
    ("arguments", "most"), [(["--help"], 190), (["--version"], 250), (["keygen"], 220)]
)
def test_a_short_command_imports_little(tmp_path, arguments, most):
    """Help, versions and a new key need no library that takes long, and few modules at all."""
    found = modules(*arguments, ROTATOR_STATE=str(tmp_path / "none"))
    allowed = {"a state"} if arguments == ["--version"] else set()
    assert unwanted(found, but=allowed) == set()
    assert len(found) <= most


def test_help_imports_no_command():
    """`rotator --help` knows what commands there are without importing one."""
    found = {name for name in modules("--help") if name.startswith("rotator.")}
    assert found == {
        "rotator.__main__",
        "rotator.cli",
        "rotator.cli.app",
        "rotator.cli.completion",
        "rotator.cli.help",
        "rotator.cli.options",
        "rotator.console",
        "rotator.errors",
        "rotator.progress",
        "rotator.protection",
        "rotator.text",
    }


@pytest.mark.parametrize("name", command_help.COMMANDS)
def test_help_says_what_the_command_says(name):
    """The sentence that `rotator --help` has for a command is the first one of its own help."""
    assert command_help.COMMANDS[name][1] == command_help.load(name).get_short_help_str(limit=200)


def test_a_report_needs_no_server():
    """`rotator report` reads what was left behind, and does not wait for the library for Redis."""
    assert {"redis", "hiredis"} & modules("report", "--help") == set()


def test_a_run_imports_what_it_uses(place):
    """A run on an empty server imports no library that its options do not ask for."""
    found = modules(*job(place, "--allow-empty"))
    assert unwanted(found, but=RUN_NEEDS) == set()
    assert {"rotator.report.html", "rotator.report.chart"} & found == set()
    assert len(found) <= 720
