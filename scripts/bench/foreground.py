"""
A client in the foreground: GETs of one name at a fixed rate, each timed, until stdin is closed.

`python foreground.py PORT NAME RATE` prints a list of [sent at, seconds] as JSON, on the clock
of `time.monotonic`, which all processes share. A GET that is due while another is under way is left
out. It takes precedence over other processes of its core where it may (SCHED_FIFO), so that what is
measured is the server and not the wait for the processor.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import socket
import sys
import time
from typing import Final

_PIECE: Final = 1 << 18


def received(connection: socket.socket) -> None:
    """Read one bulk reply to its end."""
    data = _piece(connection)
    while (end := data.find(b"\r\n")) < 0:
        data += _piece(connection)
    length = int(data[1:end])
    missing = end + 2 + (length + 2 if length >= 0 else 0) - len(data)
    while missing > 0:
        missing -= len(_piece(connection))


def _piece(connection: socket.socket) -> bytes:
    """What there is to read; a process with precedence must not ask a dead server for ever."""
    if not (piece := connection.recv(_PIECE)):
        raise ConnectionResetError("the server is gone")
    return piece


def probe(port: int, name: bytes, rate: float) -> list[tuple[float, float]]:
    """Ask again and again; when each GET was sent, and how long it took."""
    request = b"*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n" % (len(name), name)
    times: list[tuple[float, float]] = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        print("ready", flush=True)
        due = time.monotonic()
        while not select.select([sys.stdin], [], [], max(due - time.monotonic(), 0))[0]:
            sent = time.monotonic()
            connection.sendall(request)
            received(connection)
            times.append((sent, time.monotonic() - sent))
            due = max(due + 1 / rate, sent)
    return times


def main(port: str, name: str, rate: str) -> None:
    """Take precedence, ask, and print the times."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    gc.disable()
    print(json.dumps(probe(int(port), name.encode(), float(rate))))


if __name__ == "__main__":
    main(*sys.argv[1:])
