"""The tests themselves: what they do where something cannot be had, and when time is over."""

import math
import os
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import pytest
from hypothesis.errors import UnsatisfiedAssumption

from support import programs
from tests import conftest

TESTS = Path(__file__).parents[1]
SKIPPED = """
import pytest

def test_it():
    pytest.skip("no server can fly")
"""


def run(folder, text, *options):
    """What pytest does with a file of tests, and with all that goes for ours."""
    file = folder / "test_it.py"
    file.write_text(text)
    command = (sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", "-ra")
    return subprocess.run(
        [*command, *options, file],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent / 'scripts'}"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("processes", [(), ("-n", "2")])
def test_what_could_not_be_run(tmp_path, processes):
    """It is told with its reason at the end, and is a failure only where all has to be run."""
    done = run(tmp_path, SKIPPED, *processes)
    *_, reason, closing = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert reason.endswith("no server can fly")
    assert " 1 skipped in " in closing
    assert run(tmp_path, SKIPPED, "--complete", *processes).returncode == 1


def test_a_server_that_nobody_has(monkeypatch):
    """A test that needs one is not run, and the reason names what was tried."""
    nobody = programs.Ability(lambda _: False, ("valkey-8.1.8",))
    monkeypatch.setitem(programs.ABILITIES, "flight", nobody)
    with pytest.raises(
        pytest.skip.Exception, match="'flight': try `PYTHONPATH=scripts python -m servers "
    ):
        programs.program("flight")


@pytest.mark.parametrize("ability", programs.ABILITIES)
def test_a_server_that_can_be_had(ability):
    """What a test gets has what it asked for."""
    assert programs.ABILITIES[ability].has(programs.program(ability))


class TestChance:
    """How long a property is tried."""

    @pytest.fixture(autouse=True)
    def _ends(self, monkeypatch):
        monkeypatch.setattr(conftest, "_ends", [math.inf])
        monkeypatch.setattr(conftest, "_tried", [0])

    def test_no_longer_than_its_time(self):
        """Examples that come later are not tried."""
        tried = []
        limited = conftest._limited(tried.append)
        conftest._ends[:] = [0]
        for number in range(20):
            limited(number)
        assert tried == list(range(conftest.CHANCE_LEAST))

    def test_as_long_as_a_failure_takes(self):
        """An example that failed can be tried again whenever that is, to be made smaller."""
        conftest._ends[:] = [time.monotonic() + 60]
        limited = conftest._limited(lambda number: 1 / number)
        with pytest.raises(ZeroDivisionError):
            limited(0)
        assert conftest._ends == [math.inf]

    def test_an_example_that_does_not_count_is_no_failure(self):
        """An assumption that does not hold leaves the time as it is."""
        conftest._ends[:] = [1.0]
        limited = conftest._limited(Mock(side_effect=UnsatisfiedAssumption))
        with pytest.raises(UnsatisfiedAssumption):
            limited()
        assert conftest._ends == [1.0]
