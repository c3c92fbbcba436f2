"""A connection of the HTTP/1.1 listener: uvicorn's, with limits on how long a client may take to send a request.

And whatever is no HTTP is refused in the form in which every other request is.
"""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from rbd_connect.config.settings import LimitSettings
from rbd_connect.model.errors import ServiceError
from rbd_connect.rpc import deadline as rpc
from rbd_connect.rpc.caller import request_id_of
from rbd_connect.transport import protocol_errors
from rbd_connect.transport.peer import Peer

from .caller import CERTIFICATE
from .connection_limit import ConnectionSlot
from .disconnects import has_gone
from .errors import connect_response
from .parser import MAX_HEADER_BYTES, Parser
from .socket_transport import HttpTransport

__all__ = ["MAX_HEADER_BYTES", "HttpConnection", "Serving"]

# More than a body may take, so that the application, which has better words, is the first to give up.
_GRACE_SECONDS = 2
# A client counts from when it had the answer, so it is told a little less than is kept.
_KEPT_LONGER_SECONDS = 1
# So much is read in one go, so that what one client sends holds up the others the less.
_READ_BYTES = 16 * 1024
# So often the server looks whether a client that ended its side is there, and asks it.
_LOOK_FIRST_SECONDS = 0.005
_LOOK_SECONDS = 0.25
_ASK_SECONDS = 2.0
# So long a new connection is waited for that is there when the server stops to listen.
_LATE_SECONDS = 0.5
_HEAR_SECONDS = 0.1

_TOO_LARGE = 431

_Sentinel = type[h11.IDLE] | type[h11.SEND_BODY]


class HttpConnection(H11Protocol):
    """What a client sends is a request's head (``header_timeout``), then its body (``body_timeout``)."""

    transport: HttpTransport
    conn: Parser

    def __init__(self, serving: "Serving", peer: Peer, place: ConnectionSlot) -> None:
        super().__init__(serving.config, serving.state, {"peer": peer})
        self.limits = serving.limits
        self._grpc_address = serving.grpc_address
        self._is_draining = serving.is_draining
        self._place = place
        self.conn = Parser(self.limits, self._is_last)
        self.timeout_keep_alive = self.limits.idle_timeout + _KEPT_LONGER_SECONDS
        self._awaited: _Sentinel | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._looking: asyncio.TimerHandle | None = None
        self._last_from = self.loop.time() + self.limits.connection_age

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's does
        super().connection_made(transport)
        self._keep_certificate(transport)
        # asyncio's transports read as much as this says; those over TLS have a bound of their own.
        transport.max_size = _READ_BYTES  # type: ignore[attr-defined]
        self._place.give_way = transport.abort
        self.transport = HttpTransport(transport, self.limits)
        self.flow = FlowControl(self.transport)
        self._await(h11.IDLE)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        self._settle()

    def eof_received(self) -> bool:  # type: ignore[override] # asyncio's may say so
        """Keep the connection of a client that ended its side after a whole request, until it has its answer.

        Over TLS there is no such thing: asyncio ends the other side, too.
        """
        self.transport.is_half_closed = True
        is_waited_for = self._is_answering and self.conn.their_state in {h11.DONE, h11.MUST_CLOSE}
        if not is_waited_for or self.transport.get_extra_info("sslcontext"):
            return False
        if has_gone(self.transport.get_extra_info("socket")):
            return False
        if self._looking is None:
            # It may be about to close.
            self._looking = self.loop.call_later(_LOOK_FIRST_SECONDS, self._look)
        return True

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_half_closed and not self._is_answering:
            self.transport.drop()
        self._settle()

    def _keep_certificate(self, transport: asyncio.Transport) -> None:
        """Have the client's certificate, which TLS verified, among each request's state."""
        connection = transport.get_extra_info("ssl_object")
        if connection is not None:
            self.app_state = {**self.app_state, CERTIFICATE: connection.getpeercert(binary_form=True)}

    def connection_lost(self, exc: Exception | None) -> None:
        self._await(None)
        self._unset_keepalive_if_required()
        if self._looking is not None:
            self._looking.cancel()
        self.transport.lost()
        self._place.leave()
        super().connection_lost(exc)
        if not self._is_answering:
            self.cycle = None  # type: ignore[assignment] # it refers to this, and would keep it for the garbage collector

    def shutdown(self) -> None:
        """Let a request that has come be answered, and close the connection after it."""
        if self._is_answering:
            self.cycle.keep_alive = False
        elif self.cycle is not None or self.conn.has_unread:
            self.transport.drop()
        else:
            # It has just come, and its request is on its way.
            self.loop.call_later(_LATE_SECONDS, self._drop_unless_answering)

    def _drop_unless_answering(self) -> None:
        if not self._is_answering:
            self.transport.drop()

    def timeout_keep_alive_handler(self) -> None:
        self.transport.drop()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the words are ours
        if self.conn.excess is not None:
            self._refuse(*self.conn.excess)
        elif self.conn.status_hint == _TOO_LARGE:
            self._refuse(protocol_errors.too_many_headers(MAX_HEADER_BYTES), 431)
        else:
            self._refuse(protocol_errors.bad_http(self._grpc_address), self.conn.status_hint)

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _is_last(self) -> bool:
        """Say whether the answer that is to be sent now is the connection's last."""
        if self.cycle is None:
            return False
        return not self.cycle.keep_alive or self.loop.time() > self._last_from or self._is_draining()

    def _settle(self) -> None:
        """Start or stop the clock by what the client has to send now."""
        state = self.conn.their_state
        if self.transport.is_closing():
            self._place.end()
        elif self._is_answering and state in {h11.DONE, h11.MUST_CLOSE}:
            self._place.serve()
        else:
            self._place.wait()
        if self.transport.is_closing():
            self._await(None)
        elif state is h11.SEND_BODY or (state is h11.IDLE and self.conn.has_unread):
            self._await(state)
        else:
            self._await(None)

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
        if self._awaited is h11.IDLE and self.conn.has_unread:
            self._refuse(protocol_errors.too_slow(self.limits.header_timeout), 408)
        elif self._awaited is h11.IDLE:
            self.transport.drop()
        else:
            self.transport.close()
        self._settle()

    def _look(self) -> None:
        """See whether a client that ended its side is still there, and ask where the kernel cannot know."""
        if self.transport.is_closing() or not self._is_answering:
            return
        match has_gone(self.transport.get_extra_info("socket")):
            case True:
                self.transport.abort()
            case False:
                self._looking = self.loop.call_later(_LOOK_SECONDS, self._look)
            case None:
                self._looking = self.loop.call_later(_ASK_SECONDS, self._ask)

    def _ask(self) -> None:
        """Send what a client that has gone answers by a reset, and every client of HTTP/1.1 passes over.

        https://www.rfc-editor.org/rfc/rfc9110#section-15.2
        """
        if self.transport.is_closing() or not self._is_answering:
            return
        if self.conn.our_state is h11.SEND_RESPONSE and self.conn.their_http_version == b"1.1":
            interim = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
            self.transport.write(self.conn.send(interim))
        self._looking = self.loop.call_later(_HEAR_SECONDS, self._hear)

    def _hear(self) -> None:
        """Look for the reset. The transport does not: it has stopped to read."""
        connection = self.transport.get_extra_info("socket")
        if not self.transport.is_closing() and connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.transport.abort()
        else:
            self._look()

    def _refuse(self, error: ServiceError, status: int) -> None:
        if self.transport.is_closing():
            return
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            failure = rpc.refused(error, request_id_of(()))
            headers, body = connect_response(failure)
            response = h11.Response(status_code=status, headers=[*headers, (b"connection", b"close")])
            self.transport.write(self.conn.send(response))
            self.transport.write(self.conn.send(h11.Data(data=body)))
            self.transport.write(self.conn.send(h11.EndOfMessage()))
            self._forsake()
        self.transport.close()

    def _forsake(self) -> None:
        """Have the application, where it is at this request, hear that it is not to answer."""
        if self._is_answering:
            self.cycle.disconnected = True
            self.cycle.message_event.set()


@dataclass(frozen=True, slots=True)
class Serving:
    """What the connections of a listener have in common."""

    config: Config
    state: ServerState
    limits: LimitSettings
    grpc_address: str
    # Whether the server is told to stop; then each answer is its connection's last.
    is_draining: Callable[[], bool]

    def connection(self, peer: Peer, place: ConnectionSlot) -> HttpConnection:
        """Make the protocol of a connection."""
        return HttpConnection(self, peer, place)
