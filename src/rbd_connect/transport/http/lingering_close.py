"""The end of a connection whose client may still be sending: the answer arrives, and what comes after it is dropped.

Where a socket is closed with bytes unread, the kernel resets the connection, and the client loses the answer on its
way. So the sending side ends first, and what comes is read until the client ends, too; for so many bytes, and so long.
https://www.rfc-editor.org/rfc/rfc9112#section-9.6
"""

import asyncio
import ssl
from contextlib import suppress
from typing import Any

__all__ = ["linger"]

# What is read here is looked at by nobody, so all connections read into the same place.
_NOWHERE = memoryview(bytearray(128 * 1024))
_PAUSE_SECONDS = 0.02


def linger(transport: asyncio.Transport, most_bytes: int, seconds: float) -> None:
    """End the sending side of a connection when all is sent, and the rest when the client ends, or a bound is reached.

    The transport's protocol receives nothing any more but ``connection_lost``.
    """
    try:
        of_socket = _end_sending(transport)
    except OSError:  # the client has reset it meanwhile
        transport.abort()
    else:
        _Lingering(of_socket, most_bytes, seconds)


def _end_sending(transport: asyncio.Transport) -> asyncio.Transport:
    """Send what says that nothing follows. Give the transport of the socket, which TLS stands on."""
    # asyncio's TLS has no end of one side. Its close() takes bytes of the client's for an error, and resets.
    layer: Any = getattr(transport, "_ssl_protocol", None)
    if layer is None:
        transport.write_eof()
        return transport
    of_socket: asyncio.Transport = layer._transport  # noqa: SLF001 - as said above
    # It writes close_notify, and raises since the client's own has not come.
    with suppress(ssl.SSLError, ValueError):
        transport.get_extra_info("ssl_object").unwrap()
    of_socket.write(layer._outgoing.read())  # noqa: SLF001 - as said above
    of_socket.write_eof()
    return of_socket


class _Lingering(asyncio.BufferedProtocol):
    """Reads and drops what comes. Whoever had the connection before is told when it is over."""

    def __init__(self, transport: asyncio.Transport, most_bytes: int, seconds: float) -> None:
        self._transport = transport
        self._left = most_bytes
        self._before = transport.get_protocol()
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(seconds, transport.abort)
        self._pause: asyncio.TimerHandle | None = None
        transport.set_protocol(self)
        transport.resume_reading()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - its place has a size of its own
        return _NOWHERE

    def buffer_updated(self, nbytes: int) -> None:
        """Read no more for a moment, so that what is dropped does not take the time of others."""
        self._left -= nbytes
        if self._left < 0:
            self._transport.abort()
        else:
            self._transport.pause_reading()
            self._pause = self._loop.call_later(_PAUSE_SECONDS, self._transport.resume_reading)

    def pause_writing(self) -> None:
        """Nothing is written any more."""

    def resume_writing(self) -> None:
        """Nothing is written any more."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        if self._pause is not None:
            self._pause.cancel()
        self._before.connection_lost(exc)
