"""What a call has on the wire besides its messages: headers and trailers, which each transport has in its own way."""

from base64 import b64encode
from collections.abc import Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from connectrpc.request import RequestContext

from rbd_connect.transport.grpc import caller as grpc_caller

if TYPE_CHECKING:
    from asgiref.typing import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope

__all__ = ["Context", "Wire", "noting_headers", "wire_of"]

Pairs = Sequence[tuple[str, str]]
Context = RequestContext[Any, Any] | grpc_caller.Context

_TIMEOUTS = {"connect-timeout-ms", "grpc-timeout"}

_noted: ContextVar[Pairs] = ContextVar("noted")


class Wire(Protocol):
    @property
    def request_headers(self) -> Pairs: ...

    @property
    def has_timeout(self) -> bool:
        """Whether the client gave the call a time."""

    async def send(self, headers: Pairs, trailers: Pairs) -> None:
        """Have headers and trailers sent with the answer, whatever it is."""


def wire_of(context: Context) -> Wire:
    return _Http(context) if isinstance(context, RequestContext) else _Grpc(context)


def noting_headers(app: "ASGI3Application") -> "ASGI3Application":
    """Note each request's headers: the application leaves only those that it reads."""

    async def note(scope: "Scope", receive: "ASGIReceiveCallable", send: "ASGISendCallable") -> None:
        assert scope["type"] == "http"
        _noted.set([(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]])
        await app(scope, receive, send)

    return note


class _Http:
    def __init__(self, context: RequestContext[Any, Any]) -> None:
        self._context = context
        self.request_headers = _noted.get()

    @property
    def has_timeout(self) -> bool:
        return any(name in _TIMEOUTS for name, _ in self.request_headers)

    async def send(self, headers: Pairs, trailers: Pairs) -> None:
        for name, value in headers:
            self._context.response_headers.add(name, value)
        for name, value in trailers:
            self._context.response_trailers.add(name, value)


class _Grpc:
    def __init__(self, context: grpc_caller.Context) -> None:
        self._context = context
        self.request_headers = [
            (name, value if isinstance(value, str) else b64encode(value).decode())
            for name, value in context.invocation_metadata() or ()
        ]

    @property
    def has_timeout(self) -> bool:
        return self._context.time_remaining() is not None

    async def send(self, headers: Pairs, trailers: Pairs) -> None:
        if headers:
            await self._context.send_initial_metadata(tuple(headers))
        self._context.set_trailing_metadata((*self._context.trailing_metadata(), *trailers))
