"""What a worker writes to standard error: records of its own, and librados' lines. The server logs each, as data.

So no name in Ceph can break a line of the log, and a reader of the log that has stalled stops no worker.
"""

import asyncio
import logging
import os

from rbd_connect.common.logging import WORKER_LINE

__all__ = ["Output"]

_log = logging.getLogger(__name__)

_MOST_OF_LINE = 16 * 1024


class Output(asyncio.Protocol):
    """The reading end of a pipe. For one event loop."""

    def __init__(self, scope: str) -> None:
        self._scope = scope
        self._rest = b""
        self._ended = asyncio.get_running_loop().create_future()

    @classmethod
    async def open(cls, scope: str) -> "tuple[Output, int]":
        """Give the reading end, and the descriptor of the writing end, which is for who asks to close."""
        reading, writing = os.pipe()
        _, output = await asyncio.get_running_loop().connect_read_pipe(lambda: cls(scope), os.fdopen(reading, "rb", 0))
        return output, writing

    async def ended(self) -> None:
        """Return when nobody has the writing end any more, and all is logged."""
        await asyncio.shield(self._ended)

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._log(line)
        if len(self._rest) > _MOST_OF_LINE:
            self._log(self._rest)
            self._rest = b""

    def connection_lost(self, _error: Exception | None) -> None:
        if self._rest:
            self._log(self._rest)
        if not self._ended.done():
            self._ended.set_result(None)

    def _log(self, line: bytes) -> None:
        text = line.decode("utf-8", "backslashreplace")
        match = WORKER_LINE.fullmatch(text)
        if match:
            _log.log(int(match["level"]), "scope %s: %s", self._scope, match["text"])
        elif text.strip():
            _log.warning("scope %s: librados: %s", self._scope, text)
