"""An error as Connect and gRPC-Web have it on the wire, for what is refused before connectrpc sees it."""

import base64
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from connectrpc.code import Code
from google.protobuf.json_format import MessageToDict

from rbd_connect.rpc import deadline as rpc
from rbd_connect.rpc.caller import REQUEST_ID_HEADER
from rbd_connect.transport.rpc_status import status_message

if TYPE_CHECKING:
    from asgiref.typing import ASGISendCallable, HTTPScope

__all__ = ["GRPC_WEB", "connect_response", "media_type", "send_failure"]

GRPC_WEB = ("application/grpc-web", "application/grpc-web+proto", "application/grpc-web+json")

Headers = list[tuple[bytes, bytes]]

# https://connectrpc.com/docs/protocol#error-codes, as far as it is refused here.
_STATUS = {
    Code.DEADLINE_EXCEEDED: 504,
    Code.INTERNAL: 500,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.UNAUTHENTICATED: 401,
    Code.UNIMPLEMENTED: 501,
}
_PRINTABLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


def connect_response(failure: rpc.Failure) -> tuple[Headers, bytes]:
    """Give the headers and the body of an error. https://connectrpc.com/docs/protocol#error-end-stream"""
    details = [
        {
            "type": message.DESCRIPTOR.full_name,
            "value": base64.b64encode(message.SerializeToString()).decode().rstrip("="),
            "debug": MessageToDict(message),
        }
        for message in failure.details
    ]
    error = {"code": failure.code.value, "message": failure.message, "details": details}
    body = json.dumps(error, ensure_ascii=False).encode()
    return [*_headers(b"application/json", failure), (b"content-length", str(len(body)).encode())], body


async def send_connect(
    send: "ASGISendCallable",
    failure: rpc.Failure,
    *,
    status: int | None = None,
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    """Answer with an error, with the HTTP status of its code or with one that says more."""
    own, body = connect_response(failure)
    await _send(send, status or _STATUS.get(failure.code, 400), [*own, *headers], body)


async def send_grpc_web(send: "ASGISendCallable", failure: rpc.Failure, content_type: bytes) -> None:
    """Answer with trailers only. https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md"""
    status = status_message(failure)
    packed = base64.b64encode(status.SerializeToString()).rstrip(b"=")
    headers = [
        *_headers(content_type, failure),
        (b"content-length", b"0"),
        (b"grpc-status", str(status.code).encode()),
        (b"grpc-message", quote(status.message, safe=_PRINTABLE).encode()),
        (b"grpc-status-details-bin", packed),
    ]
    await _send(send, 200, headers, b"")


async def send_failure(
    scope: "HTTPScope",
    send: "ASGISendCallable",
    failure: rpc.Failure,
    *,
    status: int | None = None,
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    """Answer with an error in the form that the request's content type asks for."""
    content_type = media_type(dict(scope["headers"]).get(b"content-type", b"").decode("latin-1"))
    if content_type in GRPC_WEB and status in {None, 404}:
        await send_grpc_web(send, failure, content_type.encode())
    else:
        await send_connect(send, failure, status=status, headers=headers)


def media_type(content_type: str) -> str:
    """Give what a header Content-Type says before its parameters."""
    return content_type.partition(";")[0].strip().lower()


def _headers(content_type: bytes, failure: rpc.Failure) -> Headers:
    return [(b"content-type", content_type), (REQUEST_ID_HEADER.encode(), failure.request_id.encode())]


async def _send(send: "ASGISendCallable", status: int, headers: Headers, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers, "trailers": False})
    await send({"type": "http.response.body", "body": body, "more_body": False})
