"""The only door to threads: calls that block run on a bounded set of threads a scope.

So a sick cluster fills only its own.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, ParamSpec, TypeVar

__all__ = ["Calls"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Calls:
    """Blocking calls of an asyncio program.

    Threads are made as they are needed, ``threads`` of them a scope at the most.
    """

    def __init__(self, *, threads: int) -> None:
        self._threads = threads
        self._executors: dict[str, ThreadPoolExecutor] = {}
        self._futures: set[Future[Any]] = set()

    async def run(self, scope: str, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run a blocking function on one of the scope's threads.

        Cancelled while it waits, it never runs; later, it runs on by itself.
        """
        executor = self._executors.get(scope)
        if executor is None:
            executor = self._executors[scope] = ThreadPoolExecutor(self._threads, thread_name_prefix=f"ceph-{scope}")
        future = executor.submit(partial(copy_context().run, function, *args, **kwargs))
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        return await asyncio.wrap_future(future)

    @property
    def running(self) -> int:
        """Say how many functions run or wait to, also those whose callers have gone."""
        return len(self._futures)

    def close(self) -> None:
        """Wait for the calls that run, drop those that wait, and let the threads go."""
        for executor in self._executors.values():
            executor.shutdown(cancel_futures=True)
