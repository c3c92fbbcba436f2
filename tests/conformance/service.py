"""ConformanceService: answers as each request says, and tells what the transport made of the request."""

import asyncio
from collections.abc import Sequence

from connectrpc.code import Code
from google.protobuf import symbol_database
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message

from rbd_connect.model.errors import ServiceError
from rbd_connect.rpc import deadline as rpc
from rbd_connect.rpc.caller import current_caller

from .gen.config_pb2 import Code as CodeNumber
from .gen.service_connect import ConformanceService
from .gen.service_pb2 import ConformancePayload, Error, Header, UnaryRequest, UnaryResponse
from .wire import Context, Wire, wire_of

__all__ = ["Service"]


class Service(ConformanceService):  # type: ignore[misc] # generated, and not always there
    async def unary(self, request: UnaryRequest, context: Context) -> UnaryResponse:
        """Raises Failure."""
        wire = wire_of(context)
        asked = request.response_definition
        seen = _seen(request, wire)
        await wire.send(_pairs(asked.response_headers), _pairs(asked.response_trailers))
        try:
            async with asyncio.timeout_at(rpc.deadline()):
                await asyncio.sleep(asked.response_delay_ms / 1000)
        except TimeoutError:
            raise rpc.Failure(rpc.not_started(), None, _request_id()) from None
        if asked.HasField("error"):
            raise _failure(asked.error, seen)
        return UnaryResponse(payload=ConformancePayload(data=asked.response_data, request_info=seen))


def _seen(request: Message, wire: Wire) -> ConformancePayload.RequestInfo:
    """Say what came of a request: headers, the message, and the time that the transport gives the call."""
    packed = Any()
    packed.Pack(request)
    values: dict[str, list[str]] = {}
    for name, value in wire.request_headers:
        values.setdefault(name, []).append(value)
    seen = ConformancePayload.RequestInfo(
        requests=[packed], request_headers=[Header(name=name, value=value) for name, value in values.items()]
    )
    deadline = rpc.deadline()
    if wire.has_timeout and deadline is not None:
        seen.timeout_ms = int((deadline - asyncio.get_running_loop().time()) * 1000)
    return seen


def _failure(error: Error, seen: Message) -> rpc.Failure:
    code = Code[CodeNumber.Name(error.code).removeprefix("CODE_")]
    failure = rpc.Failure(ServiceError(code, "TOLD", error.message), None, _request_id())
    failure.details = [*map(_unpacked, error.details), seen]
    return failure


def _unpacked(detail: Any) -> Message:
    name = detail.type_url.rpartition("/")[2]
    message: Message = symbol_database.Default().GetSymbol(name)()
    detail.Unpack(message)
    return message


def _request_id() -> str:
    caller = current_caller()
    return caller.request_id if caller else ""


def _pairs(headers: Sequence[Header]) -> list[tuple[str, str]]:
    return [(header.name, value) for header in headers for value in header.value]
