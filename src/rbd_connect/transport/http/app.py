"""The ASGI application: Connect and gRPC-Web over HTTP/1.1, and health for probes.

It turns what ``rpc`` raises into what connectrpc writes.
"""

from typing import TYPE_CHECKING, Any

from connectrpc.code import Code
from connectrpc.compat import google_protobuf_binary_codec
from connectrpc.errors import ConnectError
from connectrpc.interceptor import MetadataInterceptor
from starlette.middleware.cors import CORSMiddleware

from rbd_connect.model.errors import ServiceError
from rbd_connect.rpc import deadline as rpc
from rbd_connect.rpc.caller import REQUEST_ID_HEADER, current_caller, request_id_of
from rbd_connect.transport import protocol_errors
from rbd_connect.transport.local_only import local_only
from rbd_connect.transport.trusted_proxies import Proxies

from .connect_details import connect_detail
from .json_codec import JSONCodec, UnreadableError
from .request_validation import RequestValidation
from .tracebacks import note

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asgiref.typing import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope
    from connectrpc.request import RequestContext

    from rbd_connect.config.settings import CorsSettings, Settings
    from rbd_connect.rpc.pipeline import Pipeline

    from .probes import Probes

__all__ = ["application"]

_CANCELED = ServiceError(
    Code.CANCELED, "CANCELED", "The call was given up, since the server is stopping. It may still be done."
)


def application(
    pipeline: "Pipeline", probes: "Probes", settings: "Settings", *, grpc_address: str
) -> "ASGI3Application":
    """Compose the application, outermost first: callers on this machine, CORS, probes, the gate, connectrpc."""
    services = {
        api.name: api.application(
            service,
            interceptors=[_Errors(settings.limits.message_bytes)],
            read_max_bytes=settings.limits.message_bytes,
            codecs=[google_protobuf_binary_codec(), JSONCodec()],
        )
        for api, service in pipeline.services.items()
    }
    gate = RequestValidation(_by_name(services), pipeline, settings, grpc_address=grpc_address)
    return local_only(_with_cors(probes.before(gate), settings.cors), settings, Proxies(settings.proxies))


def _by_name(services: "Mapping[str, ASGI3Application]") -> "ASGI3Application":
    """Have each service answer the calls of its methods, ``/package.Service/Method``."""

    async def answer(scope: "Scope", receive: "ASGIReceiveCallable", send: "ASGISendCallable") -> None:
        assert scope["type"] == "http"  # noqa: S101 - nothing else is served
        await services[scope["path"].split("/")[1]](scope, receive, send)

    return answer


def _with_cors(app: "ASGI3Application", settings: "CorsSettings") -> "ASGI3Application":
    """Let the pages of some origins call. https://connectrpc.com/docs/cors"""
    if not settings.origins:
        return app
    return CORSMiddleware(  # type: ignore[return-value] # Starlette has types of its own for ASGI
        app,  # type: ignore[arg-type]
        allow_origins=settings.origins,
        allow_methods=["POST"],
        allow_headers=[
            "Authorization",
            "Connect-Protocol-Version",
            "Connect-Timeout-Ms",
            "Content-Encoding",
            "Content-Type",
            "Grpc-Encoding",
            "Grpc-Timeout",
            "Traceparent",
            "Tracestate",
            "X-Grpc-Web",
            "X-Request-Id",
            "X-User-Agent",
            *settings.headers,
        ],
        expose_headers=["Grpc-Message", "Grpc-Status", "Grpc-Status-Details-Bin", REQUEST_ID_HEADER],
        max_age=7200,
    )


class _Errors(MetadataInterceptor[None]):
    """Gives every call a request id, and every error that connectrpc makes by itself our text and details."""

    def __init__(self, message_bytes: int) -> None:
        # What connectrpc refuses by itself, by the code it gives. Its own texts do not reach a client.
        self._refusals = {
            Code.CANCELED: _CANCELED,
            Code.INTERNAL: protocol_errors.encoding_missing(),
            Code.INVALID_ARGUMENT: protocol_errors.malformed(),
            Code.RESOURCE_EXHAUSTED: protocol_errors.too_large(message_bytes),
            Code.UNIMPLEMENTED: protocol_errors.not_supported(),
        }

    async def on_start(self, ctx: "RequestContext[Any, Any]") -> None:
        caller = current_caller()
        ctx.response_headers[REQUEST_ID_HEADER] = caller.request_id if caller else request_id_of(())

    async def on_end(self, _token: None, ctx: "RequestContext[Any, Any]", error: Exception | None, /) -> None:
        if error is None:
            return
        note(error)
        if isinstance(error, rpc.Failure):
            raise _connect_error(error) from error
        if isinstance(error, ServiceError):
            refusal = error
        elif isinstance(error, UnreadableError):
            refusal = error.refusal
        elif isinstance(error, ConnectError):
            refusal = self._refusals.get(error.code, protocol_errors.malformed())
        else:
            refusal = protocol_errors.malformed()
        failure = rpc.refused(refusal, ctx.response_headers[REQUEST_ID_HEADER], method=ctx.method.name)
        raise _connect_error(failure) from error


def _connect_error(failure: rpc.Failure) -> ConnectError:
    error = ConnectError(failure.code, failure.message, [connect_detail(detail) for detail in failure.details])
    note(error)
    return error
