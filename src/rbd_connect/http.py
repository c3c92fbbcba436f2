"""The ASGI application: Connect and gRPC-Web over HTTP/1.1.

It turns what ``rpc`` raises into what connectrpc writes.
"""

from typing import TYPE_CHECKING, Any, TypeVar

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from connectrpc.interceptor import MetadataInterceptor, UnaryInterceptor
from google.protobuf.message import Message

from otterscale.storage.v1.storage_connect import StorageServiceASGIApplication

from . import rpc
from .connect_details import connect_detail
from .errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asgiref.typing import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope
    from connectrpc.request import RequestContext

    from .service import StorageService

__all__ = ["application"]

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")

_MAX_MESSAGE_BYTES = 64 * 1024
_VERSION_HEADER = "connect-protocol-version"
_REQUEST_ID_HEADER = "x-request-id"

# What connectrpc refuses by itself, by the code it gives. Its own texts do not reach a client.
_REFUSALS = {
    Code.CANCELED: ("CANCELED", "The client went away."),
    Code.DEADLINE_EXCEEDED: ("DEADLINE_EXCEEDED", "The deadline passed; the outcome is unknown."),
    Code.RESOURCE_EXHAUSTED: ("MESSAGE_TOO_LARGE", f"A message may have {_MAX_MESSAGE_BYTES} bytes at the most."),
    Code.UNIMPLEMENTED: ("NOT_SUPPORTED", "The server does not support this form of a request."),
}
_MALFORMED = ("MALFORMED_REQUEST", "The request cannot be read as a message of this procedure.")


def application(service: "StorageService", *, require_protocol_version: bool) -> "ASGI3Application":
    """Compose the application, outermost first: the protocol's version, errors, the common way, the service."""
    connect = StorageServiceASGIApplication(
        service,
        interceptors=[_Errors(require_protocol_version=require_protocol_version), _CommonWay()],
        read_max_bytes=_MAX_MESSAGE_BYTES,
    )
    return _without_other_versions(connect) if require_protocol_version else connect


class _Errors(MetadataInterceptor[None]):
    """Gives every call a request id, and every error that connectrpc makes by itself our text and details."""

    def __init__(self, *, require_protocol_version: bool) -> None:
        self._require_protocol_version = require_protocol_version

    async def on_start(self, ctx: "RequestContext[Any, Any]") -> None:
        ctx.response_headers[_REQUEST_ID_HEADER] = rpc.new_request_id()
        if self._require_protocol_version and _is_connect(ctx) and _VERSION_HEADER not in ctx.request_headers:
            raise _refusal(
                ctx,
                Code.INVALID_ARGUMENT,
                "PROTOCOL_VERSION",
                "The header Connect-Protocol-Version is required; the one allowed value is 1.",
            )

    async def on_end(self, _token: None, ctx: "RequestContext[Any, Any]", error: Exception | None, /) -> None:
        if isinstance(error, ConnectError) and not error.details:
            raise _refusal(ctx, error.code, *_REFUSALS.get(error.code, _MALFORMED)) from error


class _CommonWay(UnaryInterceptor):
    """Leads every call through ``rpc.answer``."""

    async def intercept_unary(
        self,
        call_next: "Callable[[_Request, RequestContext[Any, Any]], Awaitable[_Response]]",
        request: _Request,
        ctx: "RequestContext[Any, Any]",
        /,
    ) -> _Response:
        assert isinstance(request, Message)  # noqa: S101 - connectrpc's types do not know
        try:
            return await rpc.answer(
                lambda: call_next(request, ctx),
                method=ctx.method.name,
                request=request,
                request_id=ctx.response_headers[_REQUEST_ID_HEADER],
            )
        except rpc.Failure as failure:
            raise _connect_error(failure) from failure


def _is_connect(ctx: "RequestContext[Any, Any]") -> bool:
    return not ctx.request_headers.get("content-type", "").startswith("application/grpc")


def _refusal(ctx: "RequestContext[Any, Any]", code: Code, reason: str, message: str) -> ConnectError:
    return _connect_error(
        rpc.Failure(ServiceError(code, reason, message), None, ctx.response_headers[_REQUEST_ID_HEADER])
    )


def _connect_error(failure: rpc.Failure) -> ConnectError:
    return ConnectError(failure.code, failure.message, [connect_detail(detail) for detail in failure.details])


def _without_other_versions(app: "ASGI3Application") -> "ASGI3Application":
    """Drop a Connect-Protocol-Version other than 1, so that it is refused like an absent one.

    connectrpc would answer in words of its own.
    """

    async def wrapped(scope: "Scope", receive: "ASGIReceiveCallable", send: "ASGISendCallable") -> None:
        if scope["type"] == "http":
            headers = [
                (name, value) for name, value in scope["headers"] if name != _VERSION_HEADER.encode() or value == b"1"
            ]
            scope = {**scope, "headers": headers}
        await app(scope, receive, send)

    return wrapped
