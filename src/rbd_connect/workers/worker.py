"""The worker of a scope, whatever becomes of its process: it is started, replaced where its connection is lost or its
files were changed, and spared where the cluster cannot be reached.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from copy import copy
from functools import partial
from typing import Any, TypeVar, TypeVarTuple

from connectrpc.code import Code

from ..backoff import pauses
from ..ceph import operations
from ..ceph.cluster import Cluster, ClusterConfig
from ..ceph.errnos import is_connection_lost, is_denied, is_unreachable
from ..errors import ServiceError, TryLaterError
from ..progress import current
from . import child
from .channel import Hello, Outcome
from .child import Child

__all__ = ["Worker", "WorkerCrashError"]

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")
_RECONSIDER_SECONDS = 2.0
_pauses = partial(pauses, 0.25, 2.0)
_log = logging.getLogger(__name__)


class WorkerCrashError(Exception):
    """A call raised what nobody foresaw. Its text is the traceback in the worker."""


class Worker:
    """What makes the calls of one scope. For one event loop."""

    def __init__(self, config: ClusterConfig, threads: int) -> None:
        self._hello = Hello(config, threads)
        self._starting = asyncio.Lock()
        self._child: Child | None = None
        self._children: set[Child] = set()
        self._outage: TryLaterError | None = None
        self._reconsidered = float("-inf")
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> Child:
        """Give the process, started if there is none."""
        async with self._starting:
            if self._child is None or self._child.has_ended:
                self._child = await self._new_child()
            return self._child

    async def run(self, function: Callable[[Cluster, *_Ts], _T], *args: *_Ts) -> _T:
        """Call a module's function there, with the cluster; once more where the connection was lost before it began.

        Raises the ServiceError that it raises; TryLaterError where the cluster cannot be reached, and where the process
        dies meanwhile; WorkerCrashError.
        """
        outcome = await self._make(function, args)
        if is_connection_lost(outcome.error) and not outcome.changes:
            outcome = await self._make(function, args)
        progress = current()
        if progress is not None:
            progress.phases.update(outcome.phases)
        if outcome.crash is not None:
            raise WorkerCrashError(outcome.crash)
        if outcome.error is not None:
            raise outcome.error
        result: _T = outcome.result
        return result

    async def stop(self) -> None:
        """End the processes, which have none left of the calls that anybody waits for."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(each.stop() for each in self._children))

    async def _make(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Outcome:
        if self._outage is not None:
            raise copy(self._outage)
        process = await self.start()
        progress = current()
        outcome = await process.make(progress.request_id if progress else "", function, arguments)
        if is_connection_lost(outcome.error):
            self._leave(process)
        if is_unreachable(outcome.error):
            self._begin_outage()
        if is_denied(outcome.error):
            self._reconsider(process)
        return outcome

    async def _new_child(self) -> Child:
        process = await child.start(self._hello, on_stale=lambda stale: self._in_background(self._follow_files(stale)))
        self._children = {each for each in self._children if not each.has_ended} | {process}
        return process

    def _leave(self, process: Child) -> None:
        """Have the next call start another process. This one ends when its calls have ended."""
        if self._child is process:
            _log.warning("scope %s: the connection to the cluster is lost; the next call opens another", self._scope)
            self._child = None
            self._in_background(process.retire())

    async def _follow_files(self, stale: Child) -> None:
        """Connect by the files as they are now: try until that succeeds, and use the old connection until then."""
        for pause in _pauses():
            await self._renew(stale, "its configuration or keyring has changed")
            if self._child is not stale:
                return
            await asyncio.sleep(pause)

    def _reconsider(self, process: Child) -> None:
        """Connect anew, where that was not tried just now: what was granted since, a connection does not have."""
        now = time.monotonic()
        if self._child is process and now - self._reconsidered > _RECONSIDER_SECONDS:
            self._reconsidered = now
            self._in_background(self._renew(process, "it may have been granted more since"))

    async def _renew(self, stale: Child, reason: str) -> None:
        """Try to connect anew, and leave the old connection where that succeeds."""
        fresh = await self._new_child()
        error = await _probe(fresh)
        if error is None and self._child is stale:
            _log.info("scope %s: connected anew, since %s", self._scope, reason)
            self._child = fresh
            await stale.retire()
            return
        await fresh.stop()
        if error is not None:
            _log.warning("scope %s: not connected anew, although %s: %s", self._scope, reason, error)

    def _begin_outage(self) -> None:
        if self._outage is None:
            _log.error("scope %s: the cluster cannot be reached; calls are refused until it can", self._scope)
            self._outage = TryLaterError(
                Code.UNAVAILABLE, "CONNECT_FAILED", "The Ceph cluster cannot be reached.", seconds=1
            )
            self._in_background(self._wait_for_cluster())

    async def _wait_for_cluster(self) -> None:
        """Probe, one after the other, until the cluster is reached or says why not."""
        for pause in _pauses():
            await asyncio.sleep(pause)
            if not is_unreachable(await _probe(await self.start())):
                break
        _log.info("scope %s: the cluster is reached again", self._scope)
        self._outage = None

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def _scope(self) -> str:
        return self._hello.config.scope


async def _probe(process: Child) -> Exception | None:
    try:
        return (await process.make("", operations.probe, ())).error
    except ServiceError as error:
        return error
