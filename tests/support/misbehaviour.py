"""
Answers that no client should have to see, and proxies: written byte by byte to a connection.

    server.script.append(Answer(send=trickle))
"""

import contextlib
import gzip
import io
import select
import socket
import struct
import threading
import time
from functools import cache

from support.vendor_servers import PLANTED, SECRET

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_PIECE = b"\x00" * (1 << 16)


def _drip(handler, before, drop, pause=0.02):
    """Write *before*, and a *drop* now and then, until the client has had enough."""
    with contextlib.suppress(OSError):
        handler.wfile.write(before)
        while True:
            handler.wfile.write(drop)
            time.sleep(pause)


def trickle(handler):
    """A body that comes byte by byte."""
    _drip(handler, _HEAD + b"Content-Length: 1000000\r\n\r\n", b" ")


def trickled_chunks(handler):
    """A body in chunks of one byte."""
    _drip(handler, _HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n")


def trickled_head(handler):
    """A header that never ends."""
    _drip(handler, _HEAD + b"X-Told: ", b"a")


def continuing(handler):
    """100 Continue, again and again."""
    _drip(handler, b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0)


def _flood(handler, before, piece, most=1 << 27):
    """Write up to 128 MB; `handler.flooded` says how many bytes the client took."""
    handler.server.flooded = 0
    with contextlib.suppress(OSError):
        handler.wfile.write(before)
        while handler.server.flooded < most:
            handler.wfile.write(piece)
            handler.server.flooded += len(piece)


def huge(handler):
    """A body of 128 MB, as it was announced."""
    _flood(handler, _HEAD + f"Content-Length: {1 << 27}\r\n\r\n".encode(), _PIECE)


def endless_chunks(handler):
    """Chunk after chunk."""
    chunk = b"%x\r\n%b\r\n" % (len(_PIECE), _PIECE)
    _flood(handler, _HEAD + b"Transfer-Encoding: chunked\r\n\r\n", chunk)


def endless_size(handler):
    """The size of a chunk, digit after digit."""
    _flood(handler, _HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0" * (1 << 16))


def huge_header(handler):
    """One header of 128 MB."""
    _flood(handler, _HEAD + b"X-Told: ", b"a" * (1 << 16))


def endless_headers(handler):
    """Header after header."""
    _flood(handler, _HEAD, b"X-Told: " + PLANTED.encode() + b"\r\n")


@cache
def _packed(size):
    """A gzip file of a few kilobytes for each megabyte that it holds."""
    file = io.BytesIO()
    with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1) as archive:
        for _ in range(size >> 20):
            archive.write(b" " * (1 << 20))
    return file.getvalue()


def bomb(handler):
    """A megabyte that is 256 MB when unpacked."""
    content = _packed(256 << 20)
    with contextlib.suppress(OSError):
        length = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(content)
        handler.wfile.write(_HEAD + length + content)


def bad_gzip(handler):
    """What is said to be packed, and is not."""
    text = SECRET.encode()
    length = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(text)
    handler.wfile.write(_HEAD + length + text)


def _reset(handler):
    """Break the connection as a firewall does."""
    handler.wfile.flush()
    with contextlib.suppress(OSError):
        connection = handler.connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.socket.close(connection)


def reset(handler):
    """A connection that is reset in the middle of a body."""
    handler.wfile.write(_HEAD + b'Content-Length: 1000\r\n\r\n{"value": "' + SECRET.encode())
    _reset(handler)


def cut_body(handler):
    """A connection that is closed in the middle of a body."""
    handler.wfile.write(_HEAD + b'Content-Length: 1000\r\n\r\n{"value": "' + SECRET.encode())


def cut_chunks(handler):
    """A connection that is closed between two chunks."""
    handler.wfile.write(_HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n")


def cut_head(handler):
    """A connection that is closed in the middle of a header."""
    handler.wfile.write(_HEAD + b"X-Told: " + SECRET.encode())


def hung_up(_):
    """A connection that is closed without an answer."""


def babble(handler):
    """Something else than HTTP."""
    handler.wfile.write(f"SSH-2.0-{SECRET}\r\n".encode())


class Proxy:
    """
    A proxy that opens tunnels (RFC 9110, 9.3.6) for who has its user and password.

    *asked* holds the heads of the requests; *answer*, if there is one, takes the place of a tunnel.
    """

    user = f"user:{PLANTED}proxy"

    def __init__(self, answer=None):
        self.asked = []
        self._answer = answer
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.place = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = f"http://{self.user}@{self.place}"

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self):
        while not self._over.is_set():
            with contextlib.suppress(OSError):
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with contextlib.suppress(OSError), client:
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(1 << 16)
            self.asked.append(head.decode())
            if self._answer is not None:
                self._answer(client, self._over)
                return
            host, _, port = head.split()[1].decode().rpartition(":")
            with socket.create_connection((host.strip("[]"), int(port))) as server:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                self._carry(client, server)

    def _carry(self, client, server):
        while not self._over.is_set():
            for source in select.select([client, server], [], [], 0.1)[0]:
                data = source.recv(1 << 16)
                if not data:
                    return
                (server if source is client else client).sendall(data)


def refusing(client, _):
    """407, with a body that repeats too much."""
    client.sendall(f"HTTP/1.1 407 {SECRET}\r\nContent-Length: 0\r\n\r\n".encode())


def silent(_, over):
    """No answer."""
    over.wait(20)


def dripping(client, over):
    """A header that never ends."""
    client.sendall(b"HTTP/1.1 200 OK\r\nX-Told: ")
    while not over.wait(0.02):
        client.sendall(b"a")
