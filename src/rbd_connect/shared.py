"""One answer for all who ask the same at the same time. For one event loop."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

__all__ = ["Shared"]

_T = TypeVar("_T")


class Shared(Generic[_T]):
    """A question that takes long. Who asks while an answer is under way shares the next one with all who do.

    So nobody is told what was true before he asked, and it is asked once at a time.
    """

    def __init__(self, ask: Callable[[], Awaitable[_T]]) -> None:
        self._ask = ask
        self._under_way: asyncio.Task[_T] | None = None
        self._next: asyncio.Task[_T] | None = None
        self._waiting = 0  # for the next

    async def answer(self) -> _T:
        """Give an answer that was asked for after this call. Raises what asking raises."""
        if self._next is None:
            self._next = asyncio.create_task(self._ask_after(self._under_way))
        task = self._next
        self._waiting += 1
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task is self._next:
                self._waiting -= 1
                if not self._waiting:
                    self._next = None
                    task.cancel()
            raise

    async def _ask_after(self, last: "asyncio.Task[_T] | None") -> _T:
        if last is not None:
            await asyncio.wait([last])
        self._under_way, self._next, self._waiting = self._next, None, 0
        try:
            return await self._ask()
        finally:
            self._under_way = None
