"""The only way to Ceph: a scope runs a limited number of calls at a time, one for each image, in its worker process.

So a sick cluster fills only its own scope, and a slow image only its own queue.
"""

import asyncio
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, TypeVarTuple

from rbd_connect.common.call_context import current, phase
from rbd_connect.config.cluster import scope_configs
from rbd_connect.config.settings import CallSettings, Settings
from rbd_connect.dispatch.operations import Operations
from rbd_connect.dispatch.worker.supervisor import Supervisor
from rbd_connect.model.not_found import no_scope

from .concurrency_limiter import ConcurrencyLimiter

__all__ = ["Dispatcher"]

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")


@dataclass(frozen=True, slots=True)
class _Scope:
    limiter: ConcurrencyLimiter
    worker: Supervisor


class Dispatcher:
    """Calls into Ceph. For one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._scopes: Mapping[str, _Scope] = {
            config.scope: _Scope(_limiter(settings.calls), Supervisor(config, settings.calls.at_once))
            for config in scope_configs(settings)
        }
        self._running: set[asyncio.Task[Any]] = set()

    @property
    def scopes(self) -> Collection[str]:
        """The names of the scopes."""
        return self._scopes.keys()

    async def start(self) -> None:
        """Start the workers. They connect when they have something to do."""
        await asyncio.gather(*(scope.worker.start() for scope in self._scopes.values()))

    async def run(
        self, scope: str, image: Hashable | None, function: Callable[[Operations, *_Ts], _T], *args: *_Ts
    ) -> _T:
        """Carry an operation out in the scope's worker when its turn has come: that of the scope, and of the image.

        ``image`` is None for what changes none. Cancelled while it waits, the call is never made, and its place is
        given up. Later, it runs on by itself, as the task of the call's progress.

        Raises NotFoundError for the scope, RetryableError where too many wait already, and what ``Supervisor.run``
        raises.
        """
        of_scope = self._scopes.get(scope)
        if of_scope is None:
            raise no_scope(scope)
        with phase("wait"):
            await of_scope.limiter.acquire(image)
        progress = current()
        task = asyncio.create_task(_run(of_scope, image, function, *args))
        if progress is not None:
            progress.begun = progress.begun or image is not None
            progress.task = task
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    async def look(self) -> None:
        """Have the progress of each call say what it is at now, as far as the workers answer within a second."""
        await asyncio.gather(*(scope.worker.look() for scope in self._scopes.values()))

    def describe(self) -> Iterator[str]:
        """Say of each scope how many calls Ceph is asked for, how many wait, and which process makes them."""
        for name, scope in self._scopes.items():
            yield f"scope {name}: {scope.limiter.describe()}; {scope.worker.describe()}"

    async def ask(self, scope: str, function: Callable[[Operations], _T]) -> _T:
        """Carry out what changes nothing, for the server itself: it takes no turn, and holds up no end.

        Raises what ``Supervisor.run`` raises.
        """
        return await self._scopes[scope].worker.run(function)

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # nobody may wait for it any more

    async def drain(self, seconds: float) -> int:
        """Wait for what runs, also that whose callers have gone; say how much of it has not ended after ``seconds``."""
        if not self._running:
            return 0
        _, unfinished = await asyncio.wait(self._running, timeout=max(0.0, seconds))
        return len(unfinished)

    async def stop(self) -> None:
        """End the workers, and with them the connections to Ceph. No call may be under way."""
        await asyncio.gather(*(scope.worker.stop() for scope in self._scopes.values()))


async def _run(scope: _Scope, image: Hashable | None, function: Callable[[Operations, *_Ts], _T], *args: *_Ts) -> _T:
    try:
        return await scope.worker.run(function, *args, image=image)
    finally:
        scope.limiter.release(image)


def _limiter(settings: CallSettings) -> ConcurrencyLimiter:
    return ConcurrencyLimiter(
        at_once=settings.at_once, waiting=settings.waiting, waiting_per_image=settings.waiting_per_image
    )
