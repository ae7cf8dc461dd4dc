"""Commands that go on while a test does something to them, and commands without start-up time."""

import contextlib
import io
import logging
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass
from unittest import mock

import pytest
import structlog

from rotator.cli import app
from support.caches import wait_for


def clean(env=None):
    """The environment of this process without options of rotator, and *env* on top."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ROTATOR_", "MAVERICS_"))
    }
    return {**kept, **(env or {})}


@dataclass
class Ended:
    """What a command that has ended leaves behind."""

    returncode: int
    stdout: str
    stderr: str


class Running:
    """`rotator *args*`, from its start to the end of the `with` block at the latest."""

    def __init__(self, *args, env=None):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rotator", *map(str, args)],
            env=clean(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._said = {"stdout": b"", "stderr": b""}
        self._readers = [
            threading.Thread(target=self._listen, args=(name, getattr(self.process, name)))
            for name in self._said
        ]
        for reader in self._readers:
            reader.start()

    def _listen(self, name, pipe):
        while chunk := os.read(pipe.fileno(), 65536):
            self._said[name] += chunk

    @property
    def stderr(self):
        """What it has said on stderr so far."""
        return self._said["stderr"].decode()

    def wait_until(self, condition):
        """Wait for *condition*, but not longer than the process lives."""
        wait_for(lambda: condition() or self.process.poll() is not None)
        assert condition(), self.stderr

    def wait_for_line(self, text):
        """Wait until it has said *text* on stderr."""
        self.wait_until(lambda: text in self.stderr)

    def signal(self, number):
        """Send it a signal."""
        self.process.send_signal(number)

    def end(self):
        """Wait for its end."""
        self.process.wait(timeout=60)
        for reader in self._readers:
            reader.join()
        return Ended(self.process.returncode, self._said["stdout"].decode(), self.stderr)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.end()
        self.process.stdout.close()
        self.process.stderr.close()


def carry_out(args, env=None, input=b""):  # noqa: A002 - the word of subprocess.run
    """
    `rotator *args*` in this process, ten times as fast as in one of its own; *input* is on stdin.

    For all that does not need a process: signals, descriptors, the locale, its own start. Gives the
    exit code and the bytes on stdout and stderr.
    """
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    structlog.reset_defaults()  # a process begins without
    output = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    try:
        with (
            mock.patch.dict(os.environ, clean(env), clear=True),
            mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(input), "utf-8")),
            contextlib.redirect_stdout(output[0]),
            contextlib.redirect_stderr(output[1]),
        ):
            code = app.run([str(arg) for arg in args])
    finally:
        structlog.reset_defaults()
        logging.captureWarnings(False)
        root.handlers[:] = handlers
        root.setLevel(level)
    for stream in output:
        stream.flush()
    return code, *(stream.buffer.getvalue() for stream in output)


def run_here(args, env=None):
    """The same with what it prints as text."""
    code, stdout, stderr = carry_out(args, env)
    return Ended(code, stdout.decode(), stderr.decode())


def found(program, package):
    """The path of a program; without it no test is run."""
    # Debian has what is a service in a folder that not every PATH has.
    path = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")
    if path is None:
        pytest.skip(f"there is no {program} on the PATH: it comes with {package}")
    return path


def job(place, *more):
    """The arguments of a `rotator run` over the configuration of *place*, with its state."""
    return ["run", "--config", place.file, "--state", place.state, *more]


@contextlib.contextmanager
def writes_held(client):
    """Let no write through while the block runs: whoever writes waits for the server."""
    client.execute_command("CLIENT", "PAUSE", 60_000, "WRITE")
    try:
        yield
    finally:
        client.execute_command("CLIENT", "UNPAUSE")


def waiting(client):
    """Whether somebody waits for the server to let a write through."""
    return client.info("clients")["blocked_clients"] > 0
