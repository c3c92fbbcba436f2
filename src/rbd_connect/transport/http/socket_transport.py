"""What a connection's protocol writes to: its transport, which lingers where it is closed after an answer."""

import asyncio
from typing import Any

from rbd_connect.config.settings import LimitSettings

from .lingering_close import linger

__all__ = ["HttpTransport"]


class HttpTransport(asyncio.Transport):
    """A transport whose ``close`` lets the answer arrive. ``drop`` is for connections that wait for none."""

    def __init__(self, transport: asyncio.Transport, limits: LimitSettings) -> None:
        super().__init__()
        self._transport = transport
        self._limits = limits
        self._is_ended = False
        self._has_answered = False
        # Whether the client has ended its side, and will send nothing more.
        self.is_half_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if data and not self._is_ended:
            self._has_answered = True
            self._transport.write(data)

    def close(self) -> None:
        if self._is_ended:
            return
        if self._has_answered and not self.is_half_closed and not self._transport.is_closing():
            self._is_ended = True
            linger(self._transport, self._limits.linger_bytes, self._limits.linger_timeout)
        else:
            self.drop()

    def drop(self) -> None:
        """Close at once."""
        if not self._is_ended:
            self._is_ended = True
            self._transport.close()

    def abort(self) -> None:
        self._is_ended = True
        self._transport.abort()

    def lost(self) -> None:
        """Be told that the connection is no more."""
        self._is_ended = True

    def is_closing(self) -> bool:
        return self._is_ended or self._transport.is_closing()

    def pause_reading(self) -> None:
        if not self._is_ended:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._is_ended:
            self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - as the base class has it
        return self._transport.get_extra_info(name, default)
