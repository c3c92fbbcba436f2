"""The only door to threads: calls that block run on a bounded set of threads a scope.

So a sick cluster fills only its own.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
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

    def wait(self, seconds: float) -> int:
        """Wait for what runs, also that whose callers have gone; say how much of it has not ended after ``seconds``."""
        return len(wait(set(self._futures), timeout=seconds).not_done)

    def close(self) -> None:
        """Wait for the calls that run, drop those that wait, and let the threads go."""
        for executor in self._executors.values():
            executor.shutdown(cancel_futures=True)
