"""A connection of the HTTP/1.1 listener: uvicorn's, with limits on how long a client may take to send a request.

And whatever is no HTTP is refused in the form in which every other request is.
"""

import asyncio
from typing import Any, ClassVar

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from .. import rpc
from ..caller import request_id_of
from ..errors import ServiceError
from ..settings import LimitSettings
from . import refusals
from .http_caller import CERTIFICATE
from .http_errors import connect_response

__all__ = ["MAX_HEADER_BYTES", "connection_class"]

MAX_HEADER_BYTES = 64 * 1024

# More than a body may take, so that the application, which has better words, is the first to give up.
_GRACE_SECONDS = 2

_Sentinel = type[h11.IDLE] | type[h11.SEND_BODY]


class _Connection(H11Protocol):
    """What a client sends is a request's head (``header_timeout``), then its body (``body_timeout``)."""

    limits: ClassVar[LimitSettings]
    grpc_address: ClassVar[str]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._awaited: _Sentinel | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's does
        super().connection_made(transport)
        self._keep_certificate(transport)
        self._await(h11.IDLE)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        state = self.conn.their_state
        if state is h11.SEND_BODY or (state is h11.IDLE and self.conn.trailing_data[0]):
            self._await(state)
        else:
            self._await(None)

    def _keep_certificate(self, transport: asyncio.Transport) -> None:
        """Have the client's certificate, which TLS verified, among each request's state."""
        connection = transport.get_extra_info("ssl_object")
        if connection is not None:
            self.app_state = {**self.app_state, CERTIFICATE: connection.getpeercert(binary_form=True)}

    def connection_lost(self, exc: Exception | None) -> None:
        self._await(None)
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the words are ours
        if len(self.conn.trailing_data[0]) >= MAX_HEADER_BYTES:
            self._refuse(refusals.too_many_headers(MAX_HEADER_BYTES), 431)
        else:
            self._refuse(refusals.bad_http(self.grpc_address), 400)

    def _await(self, state: _Sentinel | None) -> None:
        """Start the time for what the client has to send now, unless it is running; stop it if that is nothing."""
        if state is self._awaited:
            return
        self._awaited = state
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if state is not None:
            seconds = self.limits.header_timeout if state is h11.IDLE else self.limits.body_timeout + _GRACE_SECONDS
            self._timer = self.loop.call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        if self._awaited is h11.IDLE and self.conn.trailing_data[0]:
            self._refuse(refusals.too_slow(self.limits.header_timeout), 408)
        else:
            self.transport.close()

    def _refuse(self, error: ServiceError, status: int) -> None:
        if self.transport.is_closing():
            return
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            failure = rpc.refused(error, request_id_of(()))
            headers, body = connect_response(failure)
            response = h11.Response(status_code=status, headers=[*headers, (b"connection", b"close")])
            self.transport.write(self.conn.send(response) or b"")
            self.transport.write(self.conn.send(h11.Data(data=body)) or b"")
            self.transport.write(self.conn.send(h11.EndOfMessage()) or b"")
        self.transport.close()


def connection_class(limits: LimitSettings, grpc_address: str) -> type[H11Protocol]:
    """Give the class that uvicorn is to make its connections of."""
    return type("Connection", (_Connection,), {"limits": limits, "grpc_address": grpc_address})
