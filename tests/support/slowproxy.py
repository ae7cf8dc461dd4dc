"""
A slow network in front of a server: bytes arrive late, in dribs and drabs, or not at all.

    with SlowProxy(server.port, delay=0.02, most=7) as proxy:
        connect_to(proxy.address)
        proxy.cut_after(100)  # bytes of replies, and every connection is broken
"""

import asyncio
import contextlib
import socket
import threading
from random import Random

_READ = 1 << 16


class SlowProxy:
    """
    Passes bytes on, each *delay* seconds late in either direction, at most *most* at a time.

    *passed* counts the bytes of replies, *connections* those opened, *cuts* how often all of them
    were broken.
    """

    def __init__(self, port, *, delay=0.0, most=None, seed=1):
        self.passed = 0
        self.connections = 0
        self.cuts = 0
        self._target = port
        self._delay = delay
        self._most = most
        self._random = Random(seed)
        self._left = None
        self._open = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def cut_after(self, size):
        """Break every connection once that many more bytes of replies have come through."""
        self._loop.call_soon_threadsafe(setattr, self, "_left", size)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        assert not self._thread.is_alive()
        self._loop.close()
        self._listener.close()

    def _run(self):
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, sock=self._listener)
        )
        self._loop.run_forever()
        server.close()
        self._break()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                self._loop.run_until_complete(task)

    async def _serve(self, from_client, to_client):
        self.connections += 1
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._target)
        for writer in (to_client, to_server):
            made = writer.get_extra_info("socket")
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair = (to_client, to_server)
        self._open.add(pair)
        with contextlib.suppress(OSError):
            await asyncio.gather(
                self._pass(from_client, to_server), self._pass(from_server, to_client, replies=True)
            )
        self._open.discard(pair)
        for writer in pair:
            writer.transport.abort()

    async def _pass(self, source, target, *, replies=False):
        """Read as bytes come, and write each when its time has come."""
        late = asyncio.Queue()
        writing = asyncio.ensure_future(self._write(late, target, replies=replies))
        try:
            while data := await source.read(_READ):
                late.put_nowait((self._loop.time() + self._delay, data))
        finally:
            late.put_nowait((self._loop.time() + self._delay, None))
            await writing
        target.transport.abort()

    async def _write(self, late, target, *, replies):
        while (item := await late.get())[1] is not None:
            due, data = item
            await asyncio.sleep(max(0.0, due - self._loop.time()))
            while data:
                size = self._random.randint(1, self._most) if self._most else len(data)
                part, data = data[:size], data[size:]
                if replies and not self._may_pass(part, target):
                    return
                target.write(part)
                await target.drain()
                if self._most:
                    await asyncio.sleep(0)  # so that it goes out by itself

    def _may_pass(self, part, target):
        """Whether a part of a reply comes through whole; if not, that is the end of it all."""
        self.passed += len(part)
        if self._left is None:
            return True
        self._left -= len(part)
        if self._left > 0:
            return True
        target.write(part[: self._left])
        self._left = None
        self.cuts += 1
        self._loop.call_later(self._delay, self._break)
        return False

    def _break(self):
        for pair in list(self._open):
            for writer in pair:
                writer.transport.abort()
