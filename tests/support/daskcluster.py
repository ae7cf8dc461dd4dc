"""
Dask clusters on this machine: a scheduler, and workers that are processes of their own.

    with DaskCluster(folder, workers=2) as dask, dask.machines() as machines:
        place.run(machines=machines)
"""

import json
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress

from rotator.sweep.engine import open_remote_workers
from support.caches import wait_for
from support.processes import clean


class DaskCluster:
    """A scheduler and some workers, in *folder*; all of them end with the block."""

    def __init__(self, folder, *, workers=2, options=(), env=None):
        self._folder = folder
        self._options = options
        self._env = env or {}
        self._file = folder / "scheduler.json"
        self._first = workers
        self.workers = []

    def __enter__(self):
        self.scheduler = self._start(
            "scheduler", "--port", 0, "--scheduler-file", self._file, *self._options
        )
        wait_for(lambda: self._file.exists() and self._file.read_text())
        self.address = json.loads(self._file.read_text())["address"]
        for _ in range(self._first):
            self.add()
        return self

    def add(self, *, through=None, env=None, folder=None):
        """One more worker; it speaks to the scheduler *through* another address if there is one."""
        options = ("--nthreads", 1, "--no-nanny", "--death-timeout", 20)
        process = self._start(
            "worker",
            through or self.address,
            *options,
            *self._options,
            env=env,
            folder=folder,
        )
        self.workers.append(process)
        return process

    def kill(self, pid):
        """End the worker with this process id, and see that it is gone."""
        [process] = [one for one in self.workers if one.pid == pid]
        process.kill()
        process.wait()

    def _start(self, what, *arguments, env=None, folder=None):
        with (self._folder / f"{what}-{len(self.workers)}.log").open("w") as log:
            return subprocess.Popen(
                [
                    *(sys.executable, "-m", "dask", what),
                    *map(str, arguments),
                    *("--host", "127.0.0.1", "--no-dashboard"),
                ],
                env=clean({**self._env, **(env or {})}),
                cwd=folder or self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @contextmanager
    def machines(self, count=None, through=None):
        """The workers as a run gets them: *count*, new ones if need be, or all that there are."""
        while count is not None and len(self.alive()) < count:
            self.add()
        for process in self.alive()[count:] if count is not None else []:
            self.kill(process.pid)
        with open_remote_workers(through or self.address, lambda: None) as machines:
            wait_for(lambda: len(machines.cluster.present()) == len(self.alive()))
            yield machines

    def staff(self, count):
        """Have so many workers, all of them with the scheduler."""
        with self.machines(count):
            pass

    def alive(self):
        """The processes of the workers that were not killed."""
        return [process for process in self.workers if process.poll() is None]

    def __exit__(self, *_):
        processes = [*self.workers, self.scheduler]
        for process in processes:
            process.send_signal(signal.SIGKILL)
        for process in processes:
            process.wait()


class Relay:
    """Stands between a scheduler and all that speak to it, and keeps what it passes on."""

    def __init__(self, target):
        self._target = target.removeprefix("tcp://").split(":")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._streams = []
        self._open = [self._listener]

    @property
    def streams(self):
        """What went through each connection in each direction."""
        return [bytes(stream) for stream in self._streams]

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._target)
            self._open += [near, far]
            for source, sink in ((near, far), (far, near)):
                stream = bytearray()
                self._streams.append(stream)
                threading.Thread(target=_pass, args=(source, sink, stream), daemon=True).start()

    def __exit__(self, *_):
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


def _pass(source, sink, stream):
    with suppress(OSError):
        while data := source.recv(65536):
            stream += data
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
