"""The listener for gRPC by itself: a call's trailers, and its end."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import pytest
from connectrpc.code import Code

from rbd_connect.config.settings import Settings
from rbd_connect.config.types import Address
from rbd_connect.dispatch.dispatcher import Dispatcher
from rbd_connect.dispatch.readiness import Readiness
from rbd_connect.model.errors import ServiceError
from rbd_connect.rpc import deadline as rpc
from rbd_connect.rpc.methods import METHODS, STORAGE, Api, Method
from rbd_connect.rpc.pipeline import Pipeline
from rbd_connect.transport.grpc.server import GrpcServer
from support.clients import grpc_outcome

_REQUEST_ID = (("x-request-id", "the-id"),)


class _Service:
    def __init__(self) -> None:
        for method in METHODS:
            setattr(self, method.python_name, self._fail)

    async def _fail(self, _request: object, context: Any) -> None:  # noqa: ANN401 - grpc's
        context.set_trailing_metadata((*context.trailing_metadata(), ("x-note", "one"), ("x-note", "two")))
        raise rpc.Failure(ServiceError(Code.ABORTED, "REASON", "No."), None, "the-id")


class _Front(Pipeline):
    def __init__(self) -> None:
        """Have neither a policy nor an audit."""

    @property
    def services(self) -> Mapping[Api, object]:
        return {STORAGE: _Service()}

    async def admit(self, _method: Method, _caller: object) -> None:
        """Admit everybody."""


@asynccontextmanager
async def _channel() -> AsyncIterator[grpc.aio.Channel]:
    """Give a channel to a server, which is drained while the channel is open."""
    settings = Settings(scopes={})
    server = GrpcServer(_Front(), Readiness(Dispatcher(settings)), settings, None, connections=16)
    address = await server.start(Address("127.0.0.1", 0))
    async with grpc.aio.insecure_channel(str(address)) as channel:
        yield channel
        await server.drain(0)


def _failed(path: str) -> grpc.aio.AioRpcError:
    async def call() -> grpc.aio.AioRpcError:
        async with _channel() as channel:
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await channel.unary_unary(path)(b"", metadata=_REQUEST_ID)  # type: ignore[arg-type] # bytes as they are
        return failed.value

    return asyncio.run(call())


def test_an_error_has_the_trailers_that_were_set_before_it() -> None:
    error = _failed(METHODS[0].path)
    trailers = [(name, value) for name, value in error.trailing_metadata() if not name.endswith("-bin")]
    assert trailers == [("x-request-id", "the-id"), ("x-note", "one"), ("x-note", "two")]
    assert (grpc_outcome(error).code, grpc_outcome(error).reason) == ("aborted", "REASON")


def test_a_method_that_is_unknown_is_told_with_the_request_id() -> None:
    error = _failed("/otterscale.storage.v1.StorageService/Nothing")
    assert dict(error.trailing_metadata())["x-request-id"] == "the-id"
    assert grpc_outcome(error).reason == "UNKNOWN_PROCEDURE"


def test_servers_end_at_once_one_after_the_other() -> None:
    """One that was stopped twice at a time ended the process by a segmentation fault, one time in a hundred."""

    async def many() -> None:
        for _ in range(200):
            async with _channel() as channel:
                with pytest.raises(grpc.aio.AioRpcError):
                    await channel.unary_unary(METHODS[0].path)(b"")  # type: ignore[arg-type] # as above

    asyncio.run(many())
