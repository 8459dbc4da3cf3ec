# SPDX-License-Identifier: LGPL-2.1-or-later
"""A TCP proxy on the loopback that can be slow, and that can cut the line."""

import asyncio
import socket
import struct
import threading

from server import free_port

CHUNK = 256 * 1024


class Proxy:
    """Between a client and the server on a port. Its settings may change at any time:

    latency   what a round trip takes (s); half of it in each direction
    began     when bytes have come from the client, since this was last set to None
    ended     when bytes have gone to it last

    cut(after, how) does this to the connection on which that many more bytes have come
    from the client:
      reset     both sides get a reset
      silence   nothing passes any more; it stays up
      replies   what comes from the server is thrown away, then as with reset
    Connections that are made later are not concerned.

    cut_off() ends all connections, and every one that is made, until cut_off(False)."""

    def __init__(self, target):
        self.target = target
        self.port = free_port()
        self.latency = 0
        self.began = self.ended = None
        self.connections = 0
        self.cuts = 0
        self._cut = None
        self._off = False
        self._lines = set()
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=[ready], daemon=True)
        self._thread.start()
        ready.wait()

    def _run(self, ready):
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(self.listen(self._serve, limit=CHUNK))
        ready.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    def close(self):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def listen(self, serve, **settings):
        return asyncio.start_server(serve, '127.0.0.1', self.port, **settings)

    async def greet(self, reader, writer, up_reader, up_writer):
        """What is done on a connection, with both its ends, before all else."""

    def rewrite(self, data):
        """What becomes of bytes from the server on their way."""
        return data

    def cut(self, after, how='reset'):
        self._cut = [after, how]

    def cut_off(self, off=True):
        """Returns when it is so."""
        done = threading.Event()

        def apply():
            self._off = off
            for line in self._lines if off else ():
                line.reset()
            done.set()

        self._loop.call_soon_threadsafe(apply)
        done.wait()

    async def _serve(self, reader, writer):
        self.connections += 1
        line = _Line(self, writer)
        if self._off:
            line.reset()
            return
        self._lines.add(line)
        await self._pass_on(line, reader, writer)
        self._lines.remove(line)

    async def _pass_on(self, line, reader, writer):
        try:
            up_reader, up_writer = await asyncio.open_connection('127.0.0.1', self.target, limit=CHUNK)
        except OSError:
            line.reset()
            return
        line.writers.append(up_writer)
        try:
            await self.greet(reader, writer, up_reader, up_writer)
        except OSError:
            line.close()
            return
        await asyncio.gather(line.pump(reader, up_writer, True), line.pump(up_reader, writer, False),
                             return_exceptions=True)
        line.close()


class _Line:
    """One connection through the proxy."""

    def __init__(self, proxy, writer):
        self.proxy = proxy
        self.writers = [writer]
        self.silent = False
        self.deaf = False

    async def pump(self, reader, writer, upwards):
        queue = asyncio.Queue(64)
        sender = asyncio.ensure_future(self._send(queue, writer, upwards))
        loop = asyncio.get_running_loop()
        try:
            while True:
                data = await reader.read(CHUNK)
                if upwards and self.proxy.began is None:
                    self.proxy.began = loop.time()
                if upwards and data and self._cuts(data):
                    if self.deaf:
                        await queue.put((loop.time(), data))
                        loop.call_later(0.3, self.reset)
                    continue
                if self.silent or (self.deaf and not upwards):
                    if not data:
                        return
                    continue
                await queue.put((loop.time() + self.proxy.latency / 2, data if upwards else self.proxy.rewrite(data)))
                if not data:
                    await sender
                    return
        except OSError:
            self.reset()
        finally:
            sender.cancel()

    async def _send(self, queue, writer, upwards):
        loop = asyncio.get_running_loop()
        try:
            while True:
                due, data = await queue.get()
                if due > loop.time():
                    passed = loop.create_future()
                    loop.call_at(due, lambda: passed.done() or passed.set_result(None))
                    await passed
                if not data:
                    # TLS ends in both directions at once.
                    writer.write_eof() if writer.can_write_eof() else writer.close()
                    return
                writer.write(data)
                await writer.drain()
                if not upwards:
                    self.proxy.ended = loop.time()
        except OSError:
            self.reset()

    def _cuts(self, data):
        """Whether these bytes are the ones at which the line is cut."""
        cut = self.proxy._cut
        if cut is None:
            return False
        cut[0] -= len(data)
        if cut[0] > 0:
            return False
        self.proxy._cut = None
        self.proxy.cuts += 1
        if cut[1] == 'silence':
            self.silent = True
        elif cut[1] == 'replies':
            self.deaf = True
        else:
            self.reset()
        return True

    def reset(self):
        for writer in self.writers:
            end = writer.get_extra_info('socket')
            if end is not None and not writer.transport.is_closing():
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            writer.transport.abort()

    def close(self):
        for writer in self.writers:
            writer.close()
