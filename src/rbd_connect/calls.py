"""The only door to threads: calls that block run on threads, so many at a time in each scope, each image's in turn.

So a sick cluster fills only its own scope, and a slow image only its own lane.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter

from .errors import ServiceError
from .progress import Progress, current
from .settings import CallSettings
from .turns import Turns

__all__ = ["Calls"]

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class Calls:
    """Blocking calls of an asyncio program. Threads are made as they are needed, and used again."""

    def __init__(self, settings: CallSettings) -> None:
        self._settings = settings
        self._turns: dict[str, Turns] = {}
        # The turns are the limit.
        self._limiter = CapacityLimiter(math.inf)
        self._running: set[asyncio.Task[Any]] = set()

    async def run(self, scope: str, function: Callable[..., _T], *args: object, image: Hashable | None = None) -> _T:
        """Run a blocking function when its turn has come: that of its scope, and that of ``image`` if it changes one.

        Cancelled while it waits, it never runs, and its place is given up. Later, it runs on by itself, and the log
        says how it ended.

        Raises TryLaterError where too many wait already, and what the function raises.
        """
        turns = self._turns_of(scope)
        await turns.take(image)
        progress = current()
        if progress is not None:
            progress.begun = True
        task = asyncio.create_task(self._run(turns, image, partial(function, *args)))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(partial(_log_end, progress, time.monotonic()))
            raise

    async def drain(self, seconds: float) -> int:
        """Wait for what runs, also that whose callers have gone; say how much of it has not ended after ``seconds``."""
        if not self._running:
            return 0
        _, unfinished = await asyncio.wait(self._running, timeout=max(0.0, seconds))
        return len(unfinished)

    def _turns_of(self, scope: str) -> Turns:
        turns = self._turns.get(scope)
        if turns is None:
            turns = self._turns[scope] = Turns(
                at_once=self._settings.at_once,
                waiting=self._settings.waiting,
                waiting_per_image=self._settings.waiting_per_image,
            )
        return turns

    async def _run(self, turns: Turns, image: Hashable | None, function: Callable[[], _T]) -> _T:
        try:
            return await anyio.to_thread.run_sync(function, limiter=self._limiter)
        finally:
            turns.give_back(image)


def _log_end(progress: Progress | None, gone: float, task: "asyncio.Task[Any]") -> None:
    if task.cancelled():
        return
    error = task.exception()
    if progress is None:
        return
    outcome = "ok" if error is None else error.code.value if isinstance(error, ServiceError) else repr(error)
    after = time.monotonic() - gone
    _log.info("request %s ended %.1f s after its caller had gone: %s", progress.request_id, after, outcome)
