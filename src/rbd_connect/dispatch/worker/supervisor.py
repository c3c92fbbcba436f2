"""The worker of a scope, whatever becomes of its process: it is started, replaced where its connection is lost, calls
have timed out or its files were changed, and spared where the cluster cannot be reached.

Ceph takes a client that has gone for alive for half a minute. Until then, who changes an image that it had open waits
for its answer, and its locks are respected. So one that died is blocklisted. So is one that was told that Ceph had not
answered in time: what librados gave up, an OSD that was held up carries out later, and opens images for nobody.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Hashable
from copy import copy
from functools import partial
from typing import Any, TypeVar, TypeVarTuple

from connectrpc.code import Code

from rbd_connect.ceph.errnos import NotConnectedError, has_timed_out, is_connection_lost, is_denied, is_unreachable
from rbd_connect.common.backoff import pauses
from rbd_connect.common.call_context import current
from rbd_connect.config.cluster import ClusterConfig
from rbd_connect.dispatch.operations import Operations
from rbd_connect.model.errors import RetryableError, ServiceError

from . import process as worker_process
from .channel import Init, Result
from .connection_log import ConnectionLog
from .process import ProcessEndedError, WorkerProcess
from .quarantine import CallKey, Quarantine

__all__ = ["Supervisor"]

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")
_RECONSIDER_SECONDS = 2.0
_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 2.0
# A process that ends as it starts costs a core a third of a second each time.
_LONGEST_PAUSE_OF_STARTS_SECONDS = 30.0
_MOST_ALONE = 4
_FOR_NO_CLIENT = (Operations.probe, Operations.osds_answer, Operations.pool_names)
_pauses = partial(pauses, _FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
_log = logging.getLogger(__name__)


class Supervisor:
    """What makes the calls of one scope. For one event loop."""

    def __init__(self, config: ClusterConfig, threads: int) -> None:
        self._init = Init(config, threads)
        self._starting = asyncio.Lock()
        self._current: WorkerProcess | None = None
        self._processes: set[WorkerProcess] = set()
        self._quarantine = Quarantine()
        self._connection_log = ConnectionLog(config.scope, config.client)
        self._alone = asyncio.Semaphore(_MOST_ALONE)
        self._list_alone = asyncio.Lock()
        self._failed_starts = 0
        self._outage: RetryableError | None = None
        self._reconsidered = float("-inf")
        self._kept = float("-inf")
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> WorkerProcess:
        """Give the process, started if there is none."""
        async with self._starting:
            if self._current is None or self._current.has_ended:
                self._current = await self._new_child()
                self._current.is_shared = True
            return self._current

    async def run(self, function: Callable[[Operations, *_Ts], _T], *args: *_Ts, image: Hashable | None = None) -> _T:
        """Carry an operation out there; once more where the connection was lost before it began.

        ``image`` is the one that it changes, if any. Raises the ServiceError that it raises; RetryableError where the
        cluster cannot be reached, and where the process dies meanwhile; PreconditionError where the call crashed it,
        now or lately; WorkerCrashError.
        """
        key = None if function in _FOR_NO_CLIENT else CallKey(function.__name__, image)
        outcome = await self._make(key, function, args)
        if is_connection_lost(outcome.error) and not outcome.changes:
            outcome = await self._make(key, function, args)
        failure = outcome.failure
        if failure is not None:
            raise failure
        result: _T = outcome.result
        return result

    async def stop(self) -> None:
        """End the processes, which have none left of the calls that anybody waits for."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(each.stop() for each in self._processes))

    async def look(self) -> None:
        """Have the progress of each call say what it is at now, if the process answers within a second."""
        await asyncio.gather(*(each.look() for each in self._processes if not each.has_ended))

    def describe(self) -> str:
        """Say in which process the calls are made, and as whom Ceph knows it."""
        if self._outage is not None:
            return f"calls are refused: {self._outage.message}"
        if self._current is None or self._current.has_ended:
            return "there is no worker"
        address = self._current.address
        return f"worker {self._current.process_id}, " + (
            "not connected" if address is None else f"connected as {address}"
        )

    async def _make(self, key: CallKey | None, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Result:
        """Make a call, alone where it is a suspect; see Quarantine."""
        if key is not None:
            self._quarantine.check(key)
        if self._outage is not None:
            raise copy(self._outage)
        if key is not None and self._quarantine.is_suspect(key):
            return await self._make_alone(key, function, arguments)
        return await self._make_in(await self.start(), key, function, arguments)

    async def _make_alone(self, key: CallKey, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Result:
        """Make a call in a process of its own, which ends with it."""
        async with self._list_alone if key.image is None else self._alone:
            self._quarantine.check(key)
            if self._quarantine.is_suspect(key):  # it may have been cleared while this call waited
                process = await self._new_child()
                error: Exception | None = None
                try:
                    outcome = await self._make_in(process, key, function, arguments)
                    error = outcome.error
                finally:
                    self._in_background(self._end(process, with_blocklist=has_timed_out(error)))
                if not is_unreachable(error) and not is_connection_lost(error):
                    self._quarantine.clear(key)
                return outcome
        return await self._make(key, function, arguments)

    async def _make_in(
        self, process: WorkerProcess, key: CallKey | None, function: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> Result:
        """Make a call in a process, and draw the consequences for that. ``key`` is None for what is no client's."""
        progress = current()
        request_id = progress.request_id if progress else ""
        process.has_calls = process.has_calls or key is not None
        try:
            outcome = await process.make(request_id, function, arguments)
        except ProcessEndedError as ended:
            raise self._told_of_end(ended, key, request_id) from None
        if is_connection_lost(outcome.error):
            self._leave(process)
        self._note_connection(process, outcome.error)
        if is_unreachable(outcome.error):
            self._begin_outage("The Ceph cluster cannot be reached.", _LONGEST_PAUSE_SECONDS)
        if is_denied(outcome.error):
            self._reconsider(process)
        if has_timed_out(outcome.error):
            self._in_background(self._replace(process))
        return outcome

    def _note_connection(self, process: WorkerProcess, error: Exception | None) -> None:
        if isinstance(error, NotConnectedError):
            self._connection_log.failed(error)
        elif process.address is not None:
            self._connection_log.succeeded()

    def _told_of_end(self, ended: ProcessEndedError, key: CallKey | None, request_id: str) -> ServiceError:
        """Give what a caller is told whose process ended, and note what the crash tells about the call."""
        if key is not None and ended.crash is not None:
            if ended.calls == 1:
                _log.error(
                    "request %s: %s crashed the worker of scope %s by %s, and is refused for a while",
                    request_id,
                    key,
                    self._scope,
                    ended.crash.name,
                )
                return self._quarantine.found(key, ended.crash)
            self._quarantine.suspect(key)
        return RetryableError(
            Code.UNAVAILABLE,
            "OUTCOME_UNKNOWN",
            "The process that made the call died. It may still be done.",
        )

    async def _new_child(self) -> WorkerProcess:
        """Start a process. Raises RetryableError where that cannot be done."""
        try:
            process = await worker_process.start(
                self._init,
                on_stale=lambda stale: self._in_background(self._follow_configuration(stale)),
                on_death=self._note_death,
            )
        except OSError as error:
            _log.error("scope %s: no process can be started: %s", self._scope, error)
            raise RetryableError(
                Code.RESOURCE_EXHAUSTED, "SERVER_EXHAUSTED", "The server can start no process for the call."
            ) from error
        self._processes = {each for each in self._processes if not each.has_ended} | {process}
        return process

    def _note_death(self, dead: WorkerProcess) -> None:
        """Have Ceph told of a process that ended by itself, and start no others at once where they do so as well."""
        if dead.has_calls:
            self._in_background(self._blocklist(dead))
        if dead.is_shared:
            self._failed_starts = 0 if dead.has_answered else self._failed_starts + 1
            if self._failed_starts > 1:
                self._connection_log.failed("the worker process ends as soon as it starts; calls are refused")
                self._begin_outage(
                    "The process that asks the Ceph cluster ends as soon as it starts.",
                    _LONGEST_PAUSE_OF_STARTS_SECONDS,
                )

    async def _end(self, process: WorkerProcess, *, with_blocklist: bool) -> None:
        """End a process when its calls have ended, and blocklist the client that it was."""
        await process.retire()
        if with_blocklist:
            await self._blocklist(process)

    def _leave(self, process: WorkerProcess) -> None:
        """Have the next call start another process. This one ends when its calls have ended."""
        if self._current is process:
            _log.warning("scope %s: the connection to the cluster is lost; the next call opens another", self._scope)
            self._current = None
            self._in_background(process.retire())

    async def _follow_configuration(self, stale: WorkerProcess) -> None:
        """Connect by what is configured now: try until that succeeds, and use the old connection until then."""
        for pause in _pauses():
            if self._current is not stale:
                return
            if await self._renew(stale, "its configuration or keyring has changed"):
                await stale.retire()
                return
            await asyncio.sleep(pause)

    def _reconsider(self, process: WorkerProcess) -> None:
        """Connect anew, where that was not tried just now: what was granted since, a connection does not have."""
        now = time.monotonic()
        if self._current is process and now - self._reconsidered > _RECONSIDER_SECONDS:
            self._reconsidered = now
            self._in_background(self._use_another(process))

    async def _use_another(self, process: WorkerProcess) -> None:
        if await self._renew(process, "it may have been granted more since"):
            await process.retire()

    async def _replace(self, timed_out: WorkerProcess) -> None:
        """Connect anew, where that can be done, and blocklist the old client when its calls have ended."""
        async with self._starting:  # calls that begin meanwhile wait
            if self._current is not timed_out or time.monotonic() - self._kept < _RECONSIDER_SECONDS:
                return
            if not await self._renew(timed_out, "Ceph did not answer in time"):
                self._kept = time.monotonic()
                return
        await self._end(timed_out, with_blocklist=True)

    async def _blocklist(self, ended: WorkerProcess) -> None:
        """Blocklist the client that a process was; try until the cluster can be reached."""
        if ended.address is None:
            return
        for pause in _pauses():
            error = await self._outcome(Operations.blocklist, ended.address) if self._outage is None else self._outage
            if not any(may_pass(error) for may_pass in _MAY_PASS):
                result = "is blocklisted" if error is None else f"is not blocklisted: {error}"
                _log.warning("scope %s: client %s, which has ended, %s", self._scope, ended.address, result)
                return
            await asyncio.sleep(pause)

    async def _renew(self, stale: WorkerProcess, reason: str) -> bool:
        """Try to connect anew. Say whether that succeeded, so that the old connection is used no more."""
        try:
            fresh = await self._new_child()
        except ServiceError:
            return False
        error = await fresh.outcome(Operations.probe)
        if error is None and self._current is stale:
            _log.info("scope %s: connected anew, since %s", self._scope, reason)
            self._connection_log.succeeded()
            self._current = fresh
            fresh.is_shared = True
            return True
        await fresh.stop()
        if error is not None:
            self._connection_log.failed(error, although=reason)
        return False

    def _begin_outage(self, message: str, longest_pause: float) -> None:
        if self._outage is None:
            self._outage = RetryableError(Code.UNAVAILABLE, "CONNECT_FAILED", message)
            self._in_background(self._wait_for_cluster(longest_pause))

    async def _wait_for_cluster(self, longest_pause: float) -> None:
        """Probe, one after the other, until the cluster is reached or says why not."""
        for pause in pauses(_FIRST_PAUSE_SECONDS, longest_pause):
            await asyncio.sleep(pause)
            error = await self._outcome(Operations.probe)
            if not is_unreachable(error) and not isinstance(error, (ProcessEndedError, RetryableError)):
                break
        if isinstance(error, NotConnectedError):
            self._connection_log.failed(error)
        else:
            self._connection_log.succeeded()
        self._outage = None
        self._failed_starts = 0

    async def _outcome(self, function: Callable[..., None], *arguments: object) -> Exception | None:
        """Make a call that is not a client's, in the process of the calls. Give the error that it ended with."""
        try:
            process = await self.start()
        except ServiceError as error:
            return error
        return await process.outcome(function, *arguments)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def _scope(self) -> str:
        return self._init.config.scope


def _is_without_process(error: Exception | None) -> bool:
    """Say whether an error tells that the process ended, not by a crash of the call, or that none could be started."""
    return isinstance(error, RetryableError) or (isinstance(error, ProcessEndedError) and error.crash is None)


_MAY_PASS = (is_unreachable, is_connection_lost, has_timed_out, _is_without_process)
