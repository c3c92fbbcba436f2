"""The parser of an HTTP/1.1 connection: h11's, with bounds on what one request may cost to read.

It also bears what RFC 9112 asks a server to bear: an empty line before a request, a target in absolute form, and both
Content-Length and Transfer-Encoding.
"""

import re
from collections.abc import Callable
from typing import Any
from weakref import WeakMethod

import h11

from rbd_connect.config.settings import LimitSettings
from rbd_connect.model.errors import ServiceError
from rbd_connect.transport import protocol_errors

__all__ = ["MAX_HEADER_BYTES", "Parser"]

MAX_HEADER_BYTES = 64 * 1024

# Framing may be as much again as the message, and a head may come in the same read.
_FRAMING_BYTES = 64 * 1024

_ABSOLUTE = re.compile(rb"(?i:https?)://(?P<authority>[^/?#]*)(?P<path>.*)", re.DOTALL)
_HEAD_END = re.compile(rb"\n\r?\n")
_CLOSE = (b"connection", b"close")

_Event = h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]


class Parser(h11.Connection):
    """The server's side of a connection. ``is_last`` says whether the next answer is the connection's last."""

    def __init__(self, limits: LimitSettings, is_last: Callable[[], bool]) -> None:
        super().__init__(h11.SERVER, MAX_HEADER_BYTES)
        self._limits = limits
        self._is_last = WeakMethod(is_last)  # so that a connection that has ended is freed at once
        self._most_bytes = 2 * limits.message_bytes + _FRAMING_BYTES
        self._bytes = 0
        self._length: int | None = 0
        self._lines = 0
        self._chunks = 0
        self._may_skip_line = True
        # Why next_event raised RemoteProtocolError, where it was for a bound: the error, and its HTTP status.
        self.excess: tuple[ServiceError, int] | None = None
        # The status that h11 gives to what it cannot read.
        self.status_hint = 400

    @property
    def has_unread(self) -> bool:
        """Whether bytes have come that are no event yet."""
        return bool(self._receive_buffer)

    def receive_data(self, data: bytes) -> None:
        self._bytes += len(data)
        self._lines += data.count(b"\n")
        super().receive_data(data)

    def next_event(self) -> Any:  # noqa: ANN401 - h11's own type is not public
        """Give the next event. Raises h11.RemoteProtocolError, also where a request takes too much to read."""
        if self.their_state is h11.IDLE:
            if not self._skip_empty_line():
                return h11.NEED_DATA
            self._check_lines()
        elif self.their_state is h11.SEND_BODY:
            self._check_bytes()
        try:
            event: _Event = super().next_event()
        except h11.RemoteProtocolError as error:
            self.status_hint = error.error_status_hint
            raise
        if isinstance(event, h11.Request):
            self._begin(event)
            return _plain(event)
        if isinstance(event, h11.Data):
            self._count_chunk(event)
        return event

    def send(self, event: Any) -> Any:  # noqa: ANN401 - as above
        """Give the bytes of an event. An answer tells the client how long its connection is kept, or that it is not."""
        if isinstance(event, h11.Response):
            headers = event.headers.raw_items()
            is_last = self._is_last()
            if (is_last is not None and is_last()) or self._has_much_to_come():
                headers = [*headers, _CLOSE]
            elif self._cstate.keep_alive and _CLOSE not in event.headers:
                kept = b"timeout=%d" % self._limits.idle_timeout
                headers = [*headers, (b"connection", b"keep-alive"), (b"keep-alive", kept)]
            event = h11.Response(status_code=event.status_code, headers=headers, reason=event.reason)
        return super().send(event)

    def _begin(self, request: h11.Request) -> None:
        """Begin to count for a request whose head was read; what follows it may have come with it."""
        lengths = [int(value) for name, value in request.headers if name == b"content-length"]
        is_chunked = any(name == b"transfer-encoding" for name, _ in request.headers)
        self._length = None if is_chunked else lengths[0] if lengths else 0
        rest = bytes(self._receive_buffer)
        self._bytes = len(rest)
        self._lines = rest.count(b"\n")
        self._chunks = 0
        self._may_skip_line = True

    def _has_much_to_come(self) -> bool:
        """Say whether more of a body follows its answer than is read for it, or nobody knows how much, or whether."""
        if self.their_state is not h11.SEND_BODY:
            return False
        if self._length is None or self.they_are_waiting_for_100_continue:
            return True
        return self._length > self._most_bytes

    def _skip_empty_line(self) -> bool:
        """Skip one before a request (RFC 9112, section 2.2). Say whether enough has come to know."""
        buffer = self._receive_buffer
        if self._may_skip_line and buffer.is_next_line_obviously_invalid_request_line():
            received = bytes(buffer)
            if received == b"\r":
                return False
            if received.startswith((b"\r\n", b"\n")):
                buffer.maybe_extract_lines()
                self._may_skip_line = False
        return True

    def _check_lines(self) -> None:
        """Bound the lines of a head before they are read. Raises h11.RemoteProtocolError."""
        if self._lines <= self._limits.header_lines:
            return
        received = bytes(self._receive_buffer)
        end = _HEAD_END.search(received)
        self._lines = received.count(b"\n", 0, end.start() if end else len(received))
        if self._lines > self._limits.header_lines:
            self._exceed(protocol_errors.too_many_header_lines(self._limits.header_lines), 431)

    def _check_bytes(self) -> None:
        if self._bytes > self._most_bytes:
            self._exceed(protocol_errors.too_large(self._limits.message_bytes), 429)

    def _count_chunk(self, event: h11.Data) -> None:
        """Count what is to be read by itself: a piece of a body, which the client cuts as small as it likes."""
        self._chunks += event.chunk_start
        if self._chunks > self._limits.chunks:
            self._exceed(protocol_errors.too_many_chunks(self._limits.chunks), 429)

    def _exceed(self, error: ServiceError, status: int) -> None:
        self.excess = (error, status)
        raise h11.RemoteProtocolError(error.message)


def _plain(request: h11.Request) -> h11.Request:
    """Give a request as an origin server has it: a target in origin form, and one framing.

    https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2: an absolute target overrides Host.
    https://www.rfc-editor.org/rfc/rfc9112#section-6.3: Transfer-Encoding overrides Content-Length, and the connection
    ends with the answer.
    """
    headers = list(request.headers)
    target = request.target
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is not None:
        path = absolute["path"]
        target = path if path.startswith(b"/") else b"/" + path
        headers = [(name, value) for name, value in headers if name != b"host"]
        headers.append((b"host", absolute["authority"]))
    names = {name for name, _ in headers}
    if {b"content-length", b"transfer-encoding"} <= names:
        headers = [(name, value) for name, value in headers if name not in {b"content-length", b"connection"}]
        headers.append(_CLOSE)
    elif absolute is None:
        return request
    return h11.Request(method=request.method, target=target, headers=headers, http_version=request.http_version)
