"""Ctrl-C before the work has begun, and after it is done: never a traceback."""

import re
import signal
import subprocess
import sys
import time

import pytest

from support.caches import fill
from support.processes import Running, clean, job

# Runs rotator, and presses Ctrl-C in the moment in which a module is first looked for.
LAUNCHER = """
import os, runpy, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            os.kill(os.getpid(), signal.SIGINT)

_, module, *arguments = sys.argv
sys.meta_path.insert(0, Finder())
sys.argv = ["rotator", *arguments]
runpy.run_module("rotator", run_name="__main__", alter_sys=True)
"""
# A console script, as pip makes it, that starts a worker as the engine does.
WORKER = """
import multiprocessing, os, signal, sys
from rotator.__main__ import main

def work():
    os.kill(os.getpid(), signal.SIGINT)
    print("at work")

if __name__ == "__main__":
    worker = multiprocessing.get_context("spawn").Process(target=work)
    worker.start()
    worker.join()
    sys.exit(worker.exitcode)
"""
SAID = "rotator: error: interrupted\nrotator: hint: nothing was done; run it again\n"
KEY = re.compile(r"[0-9a-f]{64}\n")


def interrupted_at(module, *arguments, before=None):
    """The end of `rotator *arguments*` with Ctrl-C when *module* is imported."""
    return subprocess.run(
        [sys.executable, "-c", LAUNCHER, module, *arguments],
        env=clean(),
        preexec_fn=before,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "module",
    [
        "rotator.cli.app",
        "typer",
        "rotator.console",
        "rotator.cli.help",
        "rotator.cli.keys",
        "rotator.crypto.keyring",
        "cryptography.hazmat.bindings._rust",
    ],
)
def test_at_any_import(module):
    """Ctrl-C while a module is imported, ours or another, is 130 and two lines."""
    done = interrupted_at(module, "keygen")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", SAID)


@pytest.mark.parametrize("module", ["rotator.cli.run", "redis", "sqlite3", "structlog"])
def test_at_the_imports_of_a_run(module, tmp_path):
    """So it is while a run imports all that it needs; nothing has been opened by then."""
    done = interrupted_at(module, "run", "--state", str(tmp_path / "state"))
    assert (done.returncode, done.stdout, done.stderr) == (130, "", SAID)
    assert not list(tmp_path.iterdir())


def test_where_ctrl_c_is_ignored():
    """Whoever starts rotator deaf to Ctrl-C, as a shell does in the background, finds it so."""
    done = interrupted_at(
        "typer", "keygen", before=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert KEY.fullmatch(done.stdout)


@pytest.mark.parametrize("delay", [0, 0.03, 0.06, 0.1, 0.13, 0.16, 0.2, 0.3])
def test_at_any_time(delay):
    """However long after its start it is, a command is interrupted or it has done its work."""
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "rotator", "keygen"],
        env=clean(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        # Python tells of each import; before the first one of ours nobody can do anything.
        said = ""
        while "typer" not in said:
            said += process.stderr.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert "Traceback" not in stderr
    assert "KeyboardInterrupt" not in stderr
    if process.returncode:
        assert process.returncode == 130, stdout + stderr[-3000:]
        assert "rotator: error: interrupted\n" in stderr
    else:
        assert KEY.fullmatch(stdout)


def test_workers_leave_it_to_their_parent(tmp_path):
    """Ctrl-C on a terminal reaches workers that are just starting too; they do not hear it."""
    script = tmp_path / "rotator"
    script.write_text(WORKER)
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "at work\n", "")


def test_when_the_result_is_out(place, redis):
    """Ctrl-C on the way out does not take away the result, or its exit code."""
    fill(redis, place.cache, 10)
    redis.set("foreign", b"not a value of ours")
    with Running(*job(place, "--format", "json")) as running:
        running.wait_until(lambda: b'"exit_code": 3' in running._said["stdout"])
        running.signal(signal.SIGINT)
        done = running.end()
    assert done.returncode == 3
    assert done.stdout.endswith("}\n")
    assert "Traceback" not in done.stderr
