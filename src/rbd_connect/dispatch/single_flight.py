"""One answer for all who ask the same at the same time. For one event loop."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from rbd_connect.common.call_context import CallContext, current, followed, phase

__all__ = ["SingleFlight"]

_T = TypeVar("_T")


@dataclass(slots=True, eq=False)
class _Asking(Generic[_T]):
    """An answer that is asked for, or will be, and how many wait for that to begin."""

    task: asyncio.Task[_T]
    progress: CallContext
    waiting: int = 0


class SingleFlight(Generic[_T]):
    """A question that takes long. Who asks while an answer is under way shares the next one with all who do.

    So nobody is told what was true before he asked, and it is asked once at a time. The progress of all who share an
    answer says where its time went.
    """

    def __init__(self, ask: Callable[[], Awaitable[_T]]) -> None:
        self._ask = ask
        self._under_way: _Asking[_T] | None = None
        self._next: _Asking[_T] | None = None

    async def answer(self) -> _T:
        """Give an answer that was asked for after this call. Raises what asking raises.

        What is under way when a caller goes is the task of his progress.
        """
        progress = current()
        if self._next is None:
            self._next = self._begin(progress.request_id if progress else "")
        asking = self._next
        asking.waiting += 1
        if progress is not None:
            progress.shared = asking.progress
        try:
            return await asyncio.shield(asking.task)
        except asyncio.CancelledError:
            if asking is not self._next:
                if progress is not None:
                    progress.task = asking.task
                raise
            asking.waiting -= 1
            if not asking.waiting:
                self._next = None
                asking.task.cancel()
            raise

    def _begin(self, request_id: str) -> _Asking[_T]:
        with followed(request_id) as progress:
            return _Asking(asyncio.create_task(self._ask_after(self._under_way)), progress)

    async def _ask_after(self, last: _Asking[_T] | None) -> _T:
        if last is not None:
            with phase("wait"):
                await asyncio.wait([last.task])
        self._under_way, self._next = self._next, None
        try:
            return await self._ask()
        finally:
            self._under_way = None
