"""Prometheus' own tool: what it says of rules, their tests, and expressions."""

import shutil
import subprocess

import pytest

MISSING = "there is no promtool on the PATH: it comes with Debian's package prometheus"


def promtool(*arguments, text=None):
    """What `promtool` ends with and says, given *text* on stdin; without it no test is run."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip(MISSING)
    done = subprocess.run(
        [found, *map(str, arguments)],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr
