"""`rotator --version`: rotator, its libraries, and the servers that were seen."""

import subprocess
import sys
from importlib.metadata import version

import pytest

from rotator import __version__
from support.caches import fill
from support.commandline import run


def versions(state):
    """The lines of `rotator --version` with this state."""
    done = run(["--version"], env={"ROTATOR_STATE": str(state)})
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode().splitlines()


def test_the_libraries(tmp_path):
    """The first line is rotator's version; Python and the libraries that matter follow."""
    first, *libraries = versions(tmp_path / "none")
    assert first == f"rotator {__version__}"
    assert [line.split() for line in libraries] == [
        ["Python", "{}.{}.{}".format(*sys.version_info)],
        ["redis-py", version("redis")],
        ["hiredis", version("hiredis")],
        ["cryptography", version("cryptography")],
    ]
    assert not (tmp_path / "none").exists()


def test_the_servers_as_last_seen(place, redis):
    """The servers of the last sweep are there with their versions, and when that was."""
    fill(redis, place.cache, 10)
    report = place.run()
    (node,) = report.caches[0].coverage.nodes
    seen = report.finished_at.strftime("%Y-%m-%d %H:%M UTC")
    assert versions(place.state)[-2:] == [
        "servers, as last seen:",
        f"  shared-redis at {node.node}: {node.version} ({seen})",
    ]


@pytest.mark.parametrize("content", [b"", b"this is no state"])
def test_a_state_that_says_nothing(tmp_path, content):
    """A state without a report, or one that is none, does not keep the versions from us."""
    state = tmp_path / "state.db"
    state.write_bytes(content)
    assert versions(state)[-1].startswith("servers: ")


@pytest.mark.parametrize("arguments", [["--version"], ["keygen"]])
def test_it_does_not_wait_for_what_it_does_not_need(tmp_path, arguments):
    """What short commands do not need is not imported: Redis, TLS, the reports' templates."""
    script = (
        "import sys; from rotator.cli.app import run; run(sys.argv[1:]);"
        "print(sorted({'redis', 'jinja2', 'yaml'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={"ROTATOR_STATE": str(tmp_path / "none")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == "[]\n"
