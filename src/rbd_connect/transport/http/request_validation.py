"""What stands before connectrpc: requests that are no call of a method end here, with an answer like any other.

connectrpc would answer them in words of its own, without details, or not at all.
"""

import asyncio
import re
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING

from rbd_connect.auth.identity import UnauthenticatedError
from rbd_connect.config.settings import Settings
from rbd_connect.model.errors import ServiceError
from rbd_connect.rpc import deadline as rpc
from rbd_connect.rpc.caller import Caller
from rbd_connect.rpc.methods import Method
from rbd_connect.rpc.pipeline import Pipeline
from rbd_connect.transport import protocol_errors
from rbd_connect.transport.trusted_proxies import Proxies

from . import tracebacks
from .caller import caller_of
from .errors import GRPC_WEB, media_type, send_failure
from .parser import MAX_HEADER_BYTES

if TYPE_CHECKING:
    from asgiref.typing import (
        ASGI3Application,
        ASGIReceiveCallable,
        ASGIReceiveEvent,
        ASGISendCallable,
        ASGISendEvent,
        HTTPResponseStartEvent,
        HTTPScope,
        Scope,
    )

__all__ = ["RequestValidation"]

_CONNECT = ("application/json", "application/proto")
_VERSION = "connect-protocol-version"
# https://www.rfc-editor.org/rfc/rfc6750#section-3, and nothing that would tell one cause from another.
_CHALLENGE = (b"www-authenticate", b'Bearer realm="rbd-connect"')

# One of each at the most: of two, connectrpc and a proxy before it might heed different ones.
_SINGLE = {
    "content-type", "content-encoding", "grpc-encoding", "connect-timeout-ms", "grpc-timeout", _VERSION
}  # fmt: skip
_TIMEOUTS = {
    # https://connectrpc.com/docs/protocol#unary-request
    "connect-timeout-ms": (re.compile(r"(?P<digits>[0-9]{1,10})"), "a number of milliseconds, of up to 10 digits"),
    # https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests
    "grpc-timeout": (
        re.compile(r"(?P<digits>[0-9]{1,8})(?P<unit>[HMSmun])"),
        "up to 8 digits and a unit, one of H, M, S, m, u and n",
    ),
}
_SECONDS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
# What connectrpc is to read. Nobody reads another header, so that one may have any bytes.
_ENCODINGS = {"content-encoding", "grpc-encoding", "accept-encoding", "grpc-accept-encoding"}
_FOR_CONNECT = {"content-type", "content-length", *_ENCODINGS}
# What is seen to here, and not by connectrpc.
_OURS = {_VERSION, *_TIMEOUTS}
_PERMITTED_ENCODINGS = {"", "identity", "gzip"}
# https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1.3
_ALIASES = {"x-gzip": "gzip"}
# Those before a message in gRPC-Web.
_FRAME_BYTES = 5


class _Refused(Exception):  # noqa: N818 - an answer
    def __init__(
        self, error: ServiceError, status: int | None = None, headers: Sequence[tuple[bytes, bytes]] = ()
    ) -> None:
        super().__init__(error.message)
        self.error = error
        self.status = status
        self.headers = headers


class RequestValidation:
    """Lets through what calls a method, and comes from whom ``pipeline`` admits; and the body as it comes in time."""

    def __init__(self, app: "ASGI3Application", pipeline: Pipeline, settings: Settings, *, grpc_address: str) -> None:
        self._app = app
        self._pipeline = pipeline
        self._methods = {method.path.encode(): method for api in pipeline.services for method in api.methods}
        self._limits = settings.limits
        self._proxies = Proxies(settings.proxies)
        self._calls = settings.calls
        self._versions = {"1"} if settings.connect.require_protocol_version else {"1", None}
        self._grpc_address = grpc_address

    async def __call__(self, scope: "Scope", receive: "ASGIReceiveCallable", send: "ASGISendCallable") -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        caller = caller_of(scope, self._proxies)
        try:
            headers = self._check(scope)
            await self._admit(self._methods[scope["raw_path"]], caller)
        except _Refused as refused:
            method = self._methods.get(scope["raw_path"])
            failure = rpc.refused(refused.error, caller.request_id, method=method.name if method else None)
            await send_failure(scope, send, failure, status=refused.status, headers=refused.headers)
        except Exception:  # noqa: BLE001 - it is logged
            await send_failure(scope, send, _unforeseen(caller))
        else:
            # uvicorn cancels what is left when the time to drain has passed, and would log it as if something had gone
            # wrong; by then connectrpc has answered.
            with suppress(asyncio.CancelledError), tracebacks.dropped():
                in_time = _in_time(receive, self._limits.body_timeout)
                try:
                    await self._app({**scope, "headers": headers}, in_time, _in_one_piece(send))
                except Exception:  # noqa: BLE001 - it is logged
                    await send_failure(scope, send, _unforeseen(caller))

    async def _admit(self, method: Method, caller: Caller) -> None:
        """Raises _Refused."""
        try:
            await self._pipeline.admit(method, caller)
        except UnauthenticatedError as error:
            raise _Refused(error, headers=[_CHALLENGE]) from error
        except ServiceError as error:
            raise _Refused(error) from error

    def _check(self, scope: "HTTPScope") -> list[tuple[bytes, bytes]]:
        """Give the headers for connectrpc. Raises _Refused."""
        if not scope["http_version"].startswith("1."):
            raise _Refused(protocol_errors.bad_http(self._grpc_address), 400, [(b"connection", b"close")])
        _check_target(scope, self._methods)
        headers = _read_headers(scope["headers"])
        is_connect = _check_content_type(headers, self._grpc_address) in _CONNECT
        if is_connect and headers.get(_VERSION) not in self._versions:
            raise _Refused(protocol_errors.no_version())
        rpc.set_deadline(self._calls.seconds(_timeout(headers)))
        if headers.get("content-encoding" if is_connect else "grpc-encoding", "") not in _PERMITTED_ENCODINGS:
            raise _Refused(protocol_errors.unknown_encoding())
        limit = self._limits.message_bytes
        if int(headers.get("content-length", "0")) > limit + (0 if is_connect else _FRAME_BYTES):
            raise _Refused(protocol_errors.too_large(limit))
        return [(name.encode("latin-1"), value.encode()) for name, value in headers.items() if name not in _OURS]


def _unforeseen(caller: Caller) -> rpc.Failure:
    """Log the error that is being handled, and return what its caller is told."""
    return rpc.refused(rpc.unforeseen(caller.request_id), caller.request_id)


def _check_target(scope: "HTTPScope", paths: Collection[bytes]) -> None:
    """Compare the path as it was sent: what decodes to a method's is none."""
    # A 2xx to CONNECT, as gRPC-Web's errors have, would turn the connection into a tunnel.
    if scope["raw_path"] not in paths and scope["method"] != "CONNECT":
        raise _Refused(protocol_errors.unknown_method(scope["raw_path"].decode("latin-1")), 404)
    if scope["method"] != "POST":
        raise _Refused(protocol_errors.wrong_method(scope["method"]), 405, [(b"allow", b"POST")])


def _read_headers(headers: "Iterable[tuple[bytes, bytes]]") -> dict[str, str]:
    if sum(map(len, chain(*headers))) > MAX_HEADER_BYTES:
        raise _Refused(protocol_errors.too_many_headers(MAX_HEADER_BYTES), 431)
    read: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name = raw_name.decode("latin-1")
        if name not in _FOR_CONNECT | _OURS:
            continue
        try:
            value = raw_value.decode()
        except UnicodeDecodeError:
            raise _Refused(protocol_errors.bad_header(name, "is no UTF-8")) from None
        if name in read and name in _SINGLE:
            raise _Refused(protocol_errors.bad_header(name, "was sent more than once"))
        if name in _ENCODINGS:  # https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1: in capitals they mean the same
            value = _ALIASES.get(value.lower(), value.lower())
        read[name] = f"{read[name]}, {value}" if name in read else value
    return read


def _check_content_type(headers: dict[str, str], grpc_address: str) -> str:
    content_type = headers["content-type"] = media_type(headers.get("content-type", ""))
    if content_type not in _CONNECT and content_type not in GRPC_WEB:
        known = (*_CONNECT, *GRPC_WEB)
        accept = [(b"accept-post", ", ".join(known).encode())]
        raise _Refused(protocol_errors.unknown_content_type(content_type, known, grpc_address), 415, accept)
    return content_type


def _timeout(headers: dict[str, str]) -> float | None:
    """Give the seconds that a client gives a call, if it says so. Raises _Refused."""
    seconds = None
    for name, (form, description) in _TIMEOUTS.items():
        if name not in headers:
            continue
        match = form.fullmatch(headers[name])
        if match is None:
            raise _Refused(protocol_errors.bad_timeout(name, description))
        seconds = int(match["digits"]) * _SECONDS[match["unit"] if name == "grpc-timeout" else "m"]
        if not seconds:
            raise _Refused(rpc.not_started())
    return seconds


def _in_time(receive: "ASGIReceiveCallable", seconds: int) -> "ASGIReceiveCallable":
    """Receive a body as long as it comes in time, counted from now. Raises ServiceError, which ``http`` answers."""
    latest, error = protocol_errors.late_body(seconds)
    is_complete = False

    async def receive_in_time() -> "ASGIReceiveEvent":
        nonlocal is_complete
        if is_complete:
            return await receive()
        try:
            async with asyncio.timeout_at(latest):
                event = await receive()
        except TimeoutError:
            raise error from None
        is_complete = event["type"] != "http.request" or not event.get("more_body", False)
        return event

    return receive_in_time


def _in_one_piece(send: "ASGISendCallable") -> "ASGISendCallable":
    """Send a response when it is whole, with its length: one write less, and one that every client can read."""
    start: HTTPResponseStartEvent | None = None
    body = b""

    async def send_whole(event: "ASGISendEvent") -> None:
        nonlocal start, body
        if event["type"] == "http.response.start":
            start = event
            return
        assert event["type"] == "http.response.body"  # noqa: S101 - nothing else follows here
        body += event.get("body", b"")
        if start is not None and not event.get("more_body", False):
            headers = [*start["headers"], (b"content-length", str(len(body)).encode())]
            await send({**start, "headers": headers})
            await send({"type": "http.response.body", "body": body, "more_body": False})

    return send_whole
