"""Many callers in one process that take little of the cores they share with the server."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
import grpc.aio

from otterscale.storage.v1.storage_pb2 import CreateImageSnapshotRequest, Image

from .clients import grpc_outcome, grpc_stubs
from .cluster import POOL, SCOPE
from .server import PROCEDURE, Server

__all__ = ["TRANSPORTS", "Answer", "Caller", "Callers", "over_connect", "over_grpc", "request"]


@dataclass(frozen=True)
class Answer:
    """What came back, and when it was asked for and came (``time.perf_counter``)."""

    asked: float
    came: float
    snapshot: Image.Snapshot | None = None
    code: str | None = None
    reason: str | None = None

    @property
    def seconds(self) -> float:
        return self.came - self.asked


# Called with a request, and with seconds until its deadline, or None.
Caller = Callable[[CreateImageSnapshotRequest, float | None], Awaitable[Answer]]
Callers = Callable[[Server, int], AbstractAsyncContextManager[Sequence[Caller]]]


def request(image: str, snapshot: str = "s", *, scope: str = SCOPE, pool: str = POOL) -> CreateImageSnapshotRequest:
    return CreateImageSnapshotRequest(scope=scope, pool_name=pool, image_name=image, snapshot_name=snapshot)


@asynccontextmanager
async def over_connect(server: Server, number: int) -> AsyncIterator[Sequence[Caller]]:
    """Give callers with a connection each, open already. They speak Connect, with binary messages."""
    host, _, port = server.address.rpartition(":")
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        connections = []
        for _ in range(number):
            transport, connection = await loop.create_connection(_Connection, host, int(port))
            stack.callback(transport.close)
            connections.append(connection)
        yield [connection.call for connection in connections]


@asynccontextmanager
async def over_grpc(server: Server, number: int) -> AsyncIterator[Sequence[Caller]]:
    """Give callers that share a channel, open already."""
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        await channel.channel_ready()
        stub = grpc_stubs().StorageServiceStub(channel)
        yield [partial(_call_grpc, stub)] * number


TRANSPORTS: dict[str, Callers] = {"Connect": over_connect, "gRPC": over_grpc}


class _Connection(asyncio.Protocol):
    """An HTTP/1.1 connection: one request at a time. What answers has a Content-Length."""

    def __init__(self) -> None:
        self._received = b""
        self._answered: asyncio.Future[tuple[int, bytes]]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    async def call(self, message: CreateImageSnapshotRequest, timeout: float | None) -> Answer:  # noqa: ASYNC109
        body = message.SerializeToString()
        limit = "" if timeout is None else f"Connect-Timeout-Ms: {timeout * 1000:.0f}\r\n"
        head = (
            f"POST /{PROCEDURE} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/proto\r\n"
            f"Connect-Protocol-Version: 1\r\n{limit}Content-Length: {len(body)}\r\n\r\n"
        )
        self._received = b""
        self._answered = asyncio.get_running_loop().create_future()
        asked = time.perf_counter()
        self._transport.write(head.encode() + body)
        status, reply = await self._answered
        came = time.perf_counter()
        if status == 200:
            return Answer(asked, came, Image.Snapshot.FromString(reply))
        error = json.loads(reply)
        return Answer(asked, came, None, error["code"], _reason(error))

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        if end and len(body) == next(int(line[15:]) for line in lines if line.startswith(b"content-length:")):
            self._answer(int(lines[0].split()[1]), body)

    def _answer(self, status: int, body: bytes) -> None:
        if not self._answered.done():  # who called may have gone
            self._answered.set_result((status, body))

    def connection_lost(self, _error: Exception | None) -> None:
        if hasattr(self, "_answered") and not self._answered.done():
            self._answered.set_exception(ConnectionError("the server closed the connection"))


def _reason(error: dict[str, Any]) -> str:
    (info,) = [detail["debug"] for detail in error["details"] if detail["type"].endswith("ErrorInfo")]
    return str(info["reason"])


async def _call_grpc(stub: Any, message: CreateImageSnapshotRequest, timeout: float | None) -> Answer:  # noqa: ANN401, ASYNC109
    asked = time.perf_counter()
    try:
        snapshot = await stub.CreateImageSnapshot(message, timeout=timeout)
    except grpc.aio.AioRpcError as error:
        came = time.perf_counter()
        outcome = grpc_outcome(error)
        # Where the deadline passed for grpc's own client, there are no details.
        return Answer(asked, came, None, outcome.code, outcome.reason if outcome.details else None)
    return Answer(asked, time.perf_counter(), snapshot)
