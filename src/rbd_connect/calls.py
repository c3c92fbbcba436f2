"""The only door to Ceph: so many calls at a time in each scope, each image's in turn, all in the scope's worker.

So a sick cluster fills only its own scope, and a slow image only its own lane.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, TypeVarTuple

from .ceph.cluster import Cluster, ClusterConfig
from .errors import NotFoundError, ServiceError
from .progress import Progress, current
from .settings import CallSettings, Settings
from .turns import Turns
from .workers.worker import Worker

__all__ = ["Calls"]

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Scope:
    turns: Turns
    worker: Worker


class Calls:
    """Calls into Ceph. For one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._scopes: Mapping[str, _Scope] = {
            config.scope: _Scope(_turns(settings.calls), Worker(config, settings.calls.at_once))
            for config in _configs(settings)
        }
        self._running: set[asyncio.Task[Any]] = set()

    @property
    def scopes(self) -> Collection[str]:
        """The names of the scopes."""
        return self._scopes.keys()

    async def start(self) -> None:
        """Start the workers. They connect when they have something to do."""
        await asyncio.gather(*(scope.worker.start() for scope in self._scopes.values()))

    async def run(self, scope: str, image: Hashable | None, function: Callable[[Cluster, *_Ts], _T], *args: *_Ts) -> _T:
        """Call a module's function in the scope's worker when its turn has come: that of the scope, and of the image.

        ``image`` is None for what changes none. Cancelled while it waits, the call is never made, and its place is
        given up. Later, it runs on by itself, and the log says how it ended.

        Raises NotFoundError for the scope, TryLaterError where too many wait already, and what the function raises.
        """
        of_scope = self._scopes.get(scope)
        if of_scope is None:
            raise NotFoundError("scope", scope, "on this server")
        await of_scope.turns.take(image)
        progress = current()
        if progress is not None and image is not None:
            progress.begun = True
        task = asyncio.create_task(_run(of_scope, image, function, *args))
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

    async def stop(self) -> None:
        """End the workers, and with them the connections to Ceph. No call may be under way."""
        await asyncio.gather(*(scope.worker.stop() for scope in self._scopes.values()))


async def _run(scope: _Scope, image: Hashable | None, function: Callable[[Cluster, *_Ts], _T], *args: *_Ts) -> _T:
    try:
        return await scope.worker.run(function, *args)
    finally:
        scope.turns.give_back(image)


def _configs(settings: Settings) -> list[ClusterConfig]:
    return [
        ClusterConfig(scope=name, **scope.model_dump(), **settings.ceph.model_dump())
        for name, scope in settings.scopes.items()
    ]


def _turns(settings: CallSettings) -> Turns:
    return Turns(at_once=settings.at_once, waiting=settings.waiting, waiting_per_image=settings.waiting_per_image)


def _log_end(progress: Progress | None, gone: float, task: "asyncio.Task[Any]") -> None:
    if task.cancelled():
        return
    error = task.exception()
    if progress is None:
        return
    outcome = "ok" if error is None else error.code.value if isinstance(error, ServiceError) else repr(error)
    after = time.monotonic() - gone
    _log.info("request %s ended %.1f s after its caller had gone: %s", progress.request_id, after, outcome)
