"""The same services for gRPC over HTTP/2 (grpc.aio), with health and reflection.

It turns what ``rpc`` raises into a status with details.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import grpc
import grpc.aio
from connectrpc.code import Code
from connectrpc.compression.gzip import GzipCompression
from connectrpc.errors import ConnectError
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2_grpc

from rbd_connect.config.settings import Settings
from rbd_connect.config.types import Address, is_loopback
from rbd_connect.dispatch.readiness import Readiness
from rbd_connect.model.errors import ServiceError
from rbd_connect.rpc import deadline as rpc
from rbd_connect.rpc.caller import REQUEST_ID_HEADER, Caller
from rbd_connect.rpc.methods import Api, Method
from rbd_connect.rpc.pipeline import Pipeline
from rbd_connect.transport import protocol_errors
from rbd_connect.transport.http.parser import MAX_HEADER_BYTES
from rbd_connect.transport.listening import ListenError, listen_error, owned, refuse_used, spelled_out
from rbd_connect.transport.rpc_status import status_message
from rbd_connect.transport.tls import Tls
from rbd_connect.transport.trusted_proxies import Proxies

from .caller import Context, caller_of, request_id
from .health import Health
from .logging import quieten
from .options import channel_arguments
from .reflection import add_reflection
from .streams import Streams

__all__ = ["GrpcServer"]

_GZIP = GzipCompression()
_GZIP_MAGIC = b"\x1f\x8b"
_HEAD_START_SECONDS = 0.02
_AGES_SECONDS = 1e6
_DETAILS_KEY = "grpc-status-details-bin"
_Implementation = Callable[[Any, Context], Awaitable[Message]]
_STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}


class GrpcServer:
    """A listener for gRPC. It is made, started and drained on one event loop."""

    def __init__(
        self, pipeline: Pipeline, readiness: Readiness, settings: Settings, tls: Tls | None, *, connections: int
    ) -> None:
        self._tls = tls
        self._calls = _Calls(pipeline, settings)
        limits = settings.limits
        streams = Streams(limits.watches)
        quieten()
        self._server = grpc.aio.server(options=channel_arguments(limits, settings.calls, connections))
        self._server.add_generic_rpc_handlers(self._calls.handlers())
        names = [api.name for api in pipeline.services]
        health_pb2_grpc.add_HealthServicer_to_server(
            Health(readiness, names, streams, limits.connection_age), self._server
        )
        add_reflection(self._server, (*names, health.SERVICE_NAME), streams, limits.idle_timeout)
        self._server.add_generic_rpc_handlers((_EveryOther(),))

    async def start(self, address: Address) -> Address:
        """Listen, and give the address with the port that was chosen. Raises ListenError."""
        refuse_used("grpc", address)
        port = address.port
        try:
            for host, _ in spelled_out(address):
                port = self._listen(Address(host, port))
        except OSError as error:
            raise listen_error("grpc", address, error) from error
        except RuntimeError as error:
            raise ListenError("grpc", address, "grpc does not say why. Look whether another process does") from error
        await self._server.start()
        if address.path is not None:
            owned(address.path)
            return address
        return Address(address.host, port)

    def _listen(self, address: Address) -> int:
        """Raises RuntimeError."""
        if self._tls is None:
            return self._server.add_insecure_port(str(address))
        return self._server.add_secure_port(str(address), self._tls.grpc_credentials())

    async def drain(self, seconds: float) -> None:
        """Take no more calls, and return when those in flight have ended or ``seconds`` have passed.

        Who watches the health or has reflection open is not waited for.
        """
        # grpc crashes where the time of one stop passes when another stop has just ended the server.
        # So the time of the first never passes, and the second, without a time, cancels the calls at once.
        stopped = asyncio.ensure_future(self._server.stop(_AGES_SECONDS))
        ended = asyncio.ensure_future(self._calls.ended())
        await asyncio.wait([stopped, ended], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        await self._server.stop(None)
        await stopped


class _Calls:
    """The methods' handlers, and how many calls of them are in flight."""

    def __init__(self, pipeline: Pipeline, settings: Settings) -> None:
        self._pipeline = pipeline
        self._with_tls = settings.tls.certificate is not None
        self._is_local_only = not (settings.with_authentication or settings.insecure)
        self._proxies = Proxies(settings.proxies)
        self._limits = settings.limits
        self._settings = settings.calls
        self._in_flight = 0
        self._none_in_flight = asyncio.Event()
        self._none_in_flight.set()

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """Give each method its handler. One that a service lacks is an AttributeError at the start."""
        return [self._handlers_of(api, service) for api, service in self._pipeline.services.items()]

    def _handlers_of(self, api: Api, service: object) -> grpc.GenericRpcHandler:
        # A stream of messages, from which one is read: so it is ours to say how long a client may take to send it, and
        # what is said of one that cannot be read. On the wire there is no difference.
        methods: dict[str, Any] = {
            method.name: grpc.stream_unary_rpc_method_handler(self._handler(method, method.of(service)))
            for method in api.methods
        }
        return grpc.method_handlers_generic_handler(api.name, methods)

    async def ended(self) -> None:
        """Return when no call is in flight."""
        await self._none_in_flight.wait()

    def _handler(self, method: Method, implementation: _Implementation) -> Any:  # noqa: ANN401 - grpc's types know no coroutines here
        async def call(_messages: object, context: Context) -> bytes:
            self._begin(context)
            caller = caller_of(context, self._proxies, with_tls=self._with_tls)
            rpc.set_deadline(self._settings.seconds(_time_for(context)))
            try:
                context.set_trailing_metadata(((REQUEST_ID_HEADER, caller.request_id),))
                self._check_caller(caller)
                await self._admit(method, caller)
                _check_metadata(context, caller.request_id)
                request = await self._read(method, context, caller.request_id)
                answered = await implementation(request, context)
            except rpc.Failure as failure:
                await _abort(context, failure)
            except Exception:  # noqa: BLE001 - it is logged
                await _abort(context, rpc.Failure(rpc.unforeseen(caller.request_id), None, caller.request_id))
            return answered.SerializeToString()

        return call

    def _check_caller(self, caller: Caller) -> None:
        """Raise Failure for a caller of another machine, where nobody has to say who calls.

        grpc.aio tells nobody the :authority. Browsers speak HTTP/2 by TLS alone, where a certificate's name stands
        against what DNS rebinding does.
        """
        if self._is_local_only and not is_loopback(caller.connection.host):
            raise rpc.refused(protocol_errors.not_local(), caller.request_id)

    async def _admit(self, method: Method, caller: Caller) -> None:
        """Raises Failure."""
        try:
            await self._pipeline.admit(method, caller)
        except ServiceError as error:
            raise rpc.refused(error, caller.request_id, method=method.name) from error

    def _begin(self, context: Context) -> None:
        """Count a call until it has ended for the client too."""
        self._in_flight += 1
        self._none_in_flight.clear()
        context.add_done_callback(self._end)  # type: ignore[arg-type] # the stubs want a class of their own

    def _end(self, _context: object) -> None:
        self._in_flight -= 1
        if not self._in_flight:
            self._none_in_flight.set()

    async def _read(self, method: Method, context: Context, request_id: str) -> Message:
        """Read the one message of a call, in time and within the limits. Raises Failure."""
        limit = self._limits.message_bytes
        latest, late = protocol_errors.late_body(self._limits.body_timeout)
        try:
            async with asyncio.timeout_at(latest):
                body, end = await context.read(), await context.read()
            if body is not grpc.aio.EOF and end is grpc.aio.EOF:
                return method.request_class.FromString(_unpacked(body, limit))
            error = protocol_errors.not_supported()
        except TimeoutError:
            error = late
        except ConnectError:
            error = protocol_errors.too_large(limit)
        except Exception:  # noqa: BLE001 - zlib.error, EOFError, DecodeError: whatever it is, it is no message
            error = protocol_errors.malformed()
        raise rpc.refused(error, request_id, method=method.name)


def _time_for(context: Context) -> float | None:
    """Give the seconds that a client gives a call, less what an answer needs to come to it before it gives up.

    grpc's clients end a call by themselves when its deadline passes, and do not hear of an answer after that.
    """
    remaining = context.time_remaining()
    return None if remaining is None else remaining - min(_HEAD_START_SECONDS, remaining / 10)


def _check_metadata(context: Context, request_id: str) -> None:
    """Raise Failure for headers that are too long, which grpc lets pass."""
    metadata = context.invocation_metadata() or ()
    if sum(len(name) + len(value) for name, value in metadata) > MAX_HEADER_BYTES:
        raise rpc.refused(protocol_errors.too_many_headers(MAX_HEADER_BYTES), request_id)


async def _abort(context: Context, failure: rpc.Failure) -> NoReturn:
    """End a call with a failure: its details are added to the call's trailers. https://github.com/grpc/proposal"""
    status = status_message(failure)
    trailers = (*context.trailing_metadata(), (_DETAILS_KEY, status.SerializeToString()))
    await context.abort(_STATUS_CODES[status.code], status.message, trailers)


def _unpacked(body: bytes, limit: int) -> bytes:
    """Give a message's bytes. Raises ConnectError where they are too many, anything where they are no gzip."""
    if body.startswith(_GZIP_MAGIC):
        # No message begins so: its first field would be of wire type 7, which does not exist.
        return _GZIP.decompress(body, limit)
    if len(body) > limit:
        raise ConnectError(Code.RESOURCE_EXHAUSTED, "too large")
    return body


class _EveryOther(grpc.GenericRpcHandler):
    """Refuses what there is no method for."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:  # noqa: ANN401 - as above
        path = handler_call_details.method

        async def refuse(_messages: object, context: Context) -> None:
            failure = rpc.refused(protocol_errors.unknown_method(path), request_id(context))
            context.set_trailing_metadata(((REQUEST_ID_HEADER, failure.request_id),))
            await _abort(context, failure)

        return grpc.stream_unary_rpc_method_handler(refuse)
