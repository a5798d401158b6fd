#!/usr/bin/env python3
"""Stands before an HTTP server and makes it as slow as one that is far away.

    tools/stores/proxy.py PORT HOST:PORT [--delay MILLISECONDS] [--mbit MEGABITS] [--log FILE]

Listens on 127.0.0.1:PORT. Each request, and each connection, waits for --delay (20) before it goes on; all connections
together send and receive no more than --mbit (1000) each way. With --log each request is a line of FILE: the seconds at
which it came and was answered in whole or in part, the bytes that were sent and received, its method and its target.
What is beyond a first request on a connection must wait for its answer, as clients of stores do.
"""

import argparse
import asyncio
import time

PIECE = 256 << 10


class Line:
    """What passes one way: no more than so many bytes a second."""

    def __init__(self, mbit):
        self.rate = mbit * 125_000
        self.free = 0.0

    async def passes(self, count):
        now = time.monotonic()
        self.free = max(self.free, now) + count / self.rate
        if self.free - now > 0.002:
            await asyncio.sleep(self.free - now)


class Proxy:
    def __init__(self, options):
        self.host, _, port = options.target.partition(":")
        self.port, self.delay = int(port), options.delay / 1000
        self.up, self.down = Line(options.mbit), Line(options.mbit)
        self.log = open(options.log, "w", buffering=1) if options.log else None

    async def serve(self, reader, writer):
        await asyncio.sleep(self.delay)
        try:
            far_reader, far_writer = await asyncio.open_connection(self.host, self.port, limit=1 << 20)
        except OSError:
            writer.close()
            return
        try:
            while await self.exchange(reader, writer, far_reader, far_writer):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            far_writer.close()

    async def exchange(self, reader, writer, far_reader, far_writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return False
        begin = time.monotonic()
        await asyncio.sleep(self.delay)
        sent = await self.forward(head, reader, far_writer, self.up, False)
        answer = await far_reader.readuntil(b"\r\n\r\n")
        is_head = head.startswith(b"HEAD ")
        received = await self.forward(answer, far_reader, writer, self.down, is_head)
        if self.log:
            method, target = head.split(b" ", 2)[:2]
            times = f"{begin:.4f} {time.monotonic():.4f}"
            self.log.write(f"{times} {sent} {received} {method.decode()} {target.decode()}\n")
        return b"connection: close" not in answer.lower()

    async def forward(self, head, reader, writer, line, is_empty):
        """Passes a message on: its head, and the body that the head announces."""
        writer.write(head)
        fields = dict(field.split(b":", 1) for field in head.lower().split(b"\r\n")[1:] if b":" in field)
        status = head.split(b" ", 2)[1] if head.startswith(b"HTTP/") else b""
        left, passed = int(fields.get(b"content-length", b"0")), 0
        if is_empty or status in (b"204", b"304"):
            left = 0
        elif b"chunked" in fields.get(b"transfer-encoding", b""):
            while True:
                size = await reader.readuntil(b"\r\n")
                chunk = int(size.split(b";")[0], 16)
                data = await reader.readexactly(chunk + 2)
                await line.passes(chunk)
                writer.write(size + data)
                passed += chunk
                if chunk == 0:
                    break
        while left > 0:
            data = await reader.read(min(left, PIECE))
            if not data:
                raise OSError("it ended early")
            await line.passes(len(data))
            writer.write(data)
            await writer.drain()
            left, passed = left - len(data), passed + len(data)
        await writer.drain()
        return passed


async def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("port", type=int)
    options.add_argument("target")
    options.add_argument("--delay", type=float, default=20)
    options.add_argument("--mbit", type=float, default=1000)
    options.add_argument("--log")
    options = options.parse_args()
    proxy = Proxy(options)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", options.port, limit=1 << 20)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
