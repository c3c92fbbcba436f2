"""Streams that clients hold open, to watch or to ask: so many and no more, and each for so long."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from .caller import Context, peer_of

__all__ = ["Streams"]

_AGAIN = "The stream was open for as long as one may be, or another took its place. Open another."
_TOO_MANY = "There are too many streams of health and reflection."
# So long the address that has most of them waits to hear that it gets no more. Else its clients would ask again at once
# and all the time; that costs others more than a stream that waits, of which a connection has limits.streams at most.
_REFUSED_SECONDS = 2.0


class Streams:
    """Where there are too many, the address that has most gets no more, and gives way to others. For one event loop."""

    def __init__(self, most: int) -> None:
        self._most = most
        # Of each address, in the order in which they were opened.
        self._open: dict[str, dict[asyncio.Task[object], None]] = {}
        self._number = 0

    @asynccontextmanager
    async def held(self, context: Context, seconds: float) -> AsyncIterator[None]:
        """Hold a stream while inside, for so long at the most; then the call is aborted (unavailable)."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - it is a coroutine's
        host = peer_of(context).host
        if self._number >= self._most and not self._make_room_for(host):
            await asyncio.sleep(_REFUSED_SECONDS)
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, _TOO_MANY)
        self._number += 1
        self._open.setdefault(host, {})[task] = None
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            await context.abort(grpc.StatusCode.UNAVAILABLE, _AGAIN)
        except asyncio.CancelledError:
            if task in self._open.get(host, {}):
                raise
            task.uncancel()
            await context.abort(grpc.StatusCode.UNAVAILABLE, _AGAIN)
        finally:
            self._leave(host, task)

    def _make_room_for(self, host: str) -> bool:
        """End the oldest stream of the address that has most, unless it is ``host``, which then gets none."""
        largest = max(self._open, key=lambda name: len(self._open[name]))
        if len(self._open.get(host, {})) >= len(self._open[largest]):
            return False
        task = next(iter(self._open[largest]))
        self._leave(largest, task)
        task.cancel()
        return True

    def _leave(self, host: str, task: "asyncio.Task[object]") -> None:
        if task in self._open.get(host, {}):
            del self._open[host][task]
            self._number -= 1
            if not self._open[host]:
                del self._open[host]
