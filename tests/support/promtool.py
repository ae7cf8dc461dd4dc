"""Prometheus' own tool: what it says of rules, their tests, and expressions."""

import subprocess

from support.processes import found


def promtool(*arguments, text=None):
    """What `promtool` ends with and says, given *text* on stdin; without it no test is run."""
    done = subprocess.run(
        [found("promtool", "Debian's package prometheus"), *map(str, arguments)],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr
