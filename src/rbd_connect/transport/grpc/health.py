"""gRPC's health checking: what ``/readyz`` says, in gRPC. https://github.com/grpc/grpc/blob/master/doc/health-checking.md"""

import asyncio
from collections.abc import Collection
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from rbd_connect.dispatch.readiness import Readiness

from .caller import Context
from .streams import Streams

__all__ = ["Health"]

# So often the scopes are asked as long as somebody watches.
_LOOK_SECONDS = 2.0
# So long the first answer to who watches waits for clusters that are asked for the first time.
_FIRST_SECONDS = 5.0

_Response = health_pb2.HealthCheckResponse


class Health(health_pb2_grpc.HealthServicer):
    """Says the same of each service that it knows, and of the server as a whole, which is the service ''."""

    def __init__(self, readiness: Readiness, services: Collection[str], streams: Streams, seconds: float) -> None:
        """Those who watch are to begin anew after so many ``seconds``."""
        self._readiness = readiness
        self._services = {"", *services}
        self._streams = streams
        self._seconds = seconds

    async def Check(self, request: Any, context: Context) -> _Response:  # noqa: ANN401, N802 - grpc's own
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "There is no such service.")
        return await self._answer(request.service)

    async def Watch(self, request: Any, context: Context) -> None:  # noqa: ANN401, N802 - grpc's own
        """Tell each change, and that the server is told to stop at once."""
        async with self._streams.held(context, self._seconds):
            last = await self._answer(request.service, _FIRST_SECONDS)
            await context.write(last)
            while True:
                await self._readiness.draining(_LOOK_SECONDS)
                answer = await self._answer(request.service)
                if answer != last:
                    await context.write(answer)
                last = answer
                if self._readiness.is_draining:
                    await asyncio.Event().wait()  # until the server ends the stream

    async def _answer(self, service: str, patience: float | None = None) -> _Response:
        if service not in self._services:
            return _Response(status=_Response.SERVICE_UNKNOWN)
        seen = await (self._readiness.look() if patience is None else self._readiness.look(patience))
        return _Response(status=_Response.SERVING if seen.is_ready else _Response.NOT_SERVING)
