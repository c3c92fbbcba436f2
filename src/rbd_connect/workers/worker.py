"""The worker of a scope, whatever becomes of its process: it is started, replaced where its connection is lost, calls
have timed out or its files were changed, and spared where the cluster cannot be reached.

Ceph takes a client that has gone for alive for half a minute. Until then, who changes an image that it had open waits
for its answer, and its locks are respected. So one that died is blocklisted. So is one that was told that Ceph had not
answered in time: what librados gave up, an OSD that was held up carries out later, and opens images for nobody.
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
from ..ceph.errnos import has_timed_out, is_connection_lost, is_denied, is_unreachable
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
        self._kept = float("-inf")
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
        if has_timed_out(outcome.error):
            self._in_background(self._replace(process))
        return outcome

    async def _new_child(self) -> Child:
        process = await child.start(
            self._hello,
            on_stale=lambda stale: self._in_background(self._follow_configuration(stale)),
            on_death=lambda dead: self._in_background(self._blocklist(dead)),
        )
        self._children = {each for each in self._children if not each.has_ended} | {process}
        return process

    def _leave(self, process: Child) -> None:
        """Have the next call start another process. This one ends when its calls have ended."""
        if self._child is process:
            _log.warning("scope %s: the connection to the cluster is lost; the next call opens another", self._scope)
            self._child = None
            self._in_background(process.retire())

    async def _follow_configuration(self, stale: Child) -> None:
        """Connect by what is configured now: try until that succeeds, and use the old connection until then."""
        for pause in _pauses():
            if await self._renew(stale, "its configuration or keyring has changed"):
                await stale.retire()
            if self._child is not stale:
                return
            await asyncio.sleep(pause)

    def _reconsider(self, process: Child) -> None:
        """Connect anew, where that was not tried just now: what was granted since, a connection does not have."""
        now = time.monotonic()
        if self._child is process and now - self._reconsidered > _RECONSIDER_SECONDS:
            self._reconsidered = now
            self._in_background(self._use_another(process))

    async def _use_another(self, process: Child) -> None:
        if await self._renew(process, "it may have been granted more since"):
            await process.retire()

    async def _replace(self, timed_out: Child) -> None:
        """Connect anew, where that can be done, and blocklist the old client when its calls have ended."""
        async with self._starting:  # calls that begin meanwhile wait
            if self._child is not timed_out or time.monotonic() - self._kept < _RECONSIDER_SECONDS:
                return
            if not await self._renew(timed_out, "Ceph did not answer in time"):
                self._kept = time.monotonic()
                return
        await timed_out.retire()
        await self._blocklist(timed_out)

    async def _blocklist(self, ended: Child) -> None:
        """Blocklist the client that a process was; try until the cluster can be reached."""
        if ended.address is None:
            return
        for pause in _pauses():
            error = await _outcome(await self.start(), operations.blocklist, ended.address)
            if not any(may_pass(error) for may_pass in (is_unreachable, is_connection_lost, has_timed_out)):
                result = "is blocklisted" if error is None else f"is not blocklisted: {error}"
                _log.warning("scope %s: client %s, which has ended, %s", self._scope, ended.address, result)
                return
            await asyncio.sleep(pause)

    async def _renew(self, stale: Child, reason: str) -> bool:
        """Try to connect anew. Say whether that succeeded, so that the old connection is used no more."""
        fresh = await self._new_child()
        error = await _outcome(fresh, operations.probe)
        if error is None and self._child is stale:
            _log.info("scope %s: connected anew, since %s", self._scope, reason)
            self._child = fresh
            return True
        await fresh.stop()
        if error is not None:
            _log.warning("scope %s: not connected anew, although %s: %s", self._scope, reason, error)
        return False

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
            if not is_unreachable(await _outcome(await self.start(), operations.probe)):
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


async def _outcome(process: Child, function: Callable[..., None], *arguments: object) -> Exception | None:
    """Make a call that is not a client's. Give the error that it ended with: what waits on it goes on in any case."""
    try:
        outcome = await process.make("", function, arguments)
    except ServiceError as error:
        return error
    return outcome.error if outcome.crash is None else WorkerCrashError(outcome.crash)
