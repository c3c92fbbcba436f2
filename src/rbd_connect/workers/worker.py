"""A worker process as its server has it: started when it is needed, and anew where it has died."""

import asyncio
import logging
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from connectrpc.code import Code

from ..ceph.cluster import Cluster, ClusterConfig
from ..errors import TryLaterError
from ..progress import current
from .channel import Call, Decoder, Hello, Outcome, encode

__all__ = ["Worker", "WorkerCrashError"]

_END_SECONDS = 5.0

_T = TypeVar("_T")
_P = ParamSpec("_P")
_log = logging.getLogger(__name__)


class WorkerCrashError(Exception):
    """A call raised what nobody foresaw. Its text is the traceback in the worker."""


class Worker:
    """The process that makes the calls of one scope. For one event loop."""

    def __init__(self, config: ClusterConfig, threads: int) -> None:
        self._hello = Hello(config, threads)
        self._starting = asyncio.Lock()
        self._process: _Process | None = None

    async def start(self) -> "_Process":
        """Give the process, started if there is none."""
        async with self._starting:
            if self._process is None or self._process.has_ended:
                self._process = await _start(self._hello)
            return self._process

    async def run(
        self, function: Callable[Concatenate[Cluster, _P], _T], /, *args: _P.args, **_kwargs: _P.kwargs
    ) -> _T:
        """Call a module's function there, with the cluster.

        Raises the ServiceError that it raises; TryLaterError where the process dies meanwhile; WorkerCrashError.
        """
        process = await self.start()
        progress = current()
        outcome = await process.make(progress.request_id if progress else "", function, args)
        if progress is not None:
            progress.phases.update(outcome.phases)
        if outcome.crash is not None:
            raise WorkerCrashError(outcome.crash)
        if outcome.error is not None:
            raise outcome.error
        result: _T = outcome.result
        return result

    async def stop(self) -> None:
        """End the process, which has no calls left."""
        if self._process is not None:
            await self._process.stop()


class _Process(asyncio.Protocol):
    """One process: calls go there, and outcomes come back in whatever order."""

    def __init__(self, scope: str) -> None:
        self._scope = scope
        self._numbers = count()
        self._waiting: dict[int, asyncio.Future[Outcome]] = {}
        self._decoder = Decoder()
        self._transport: asyncio.WriteTransport
        self._child: asyncio.subprocess.Process
        self.has_ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def begin(self, child: asyncio.subprocess.Process, hello: Hello) -> None:
        self._child = child
        self._transport.write(encode(hello))

    async def make(self, request_id: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Outcome:
        number = next(self._numbers)
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting[number] = outcome
        self._transport.write(encode(Call(number, request_id, function, arguments)))
        return await outcome

    async def stop(self) -> None:
        self._transport.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                await self._child.wait()
                return
        self._child.kill()
        await self._child.wait()

    def data_received(self, data: bytes) -> None:
        for outcome in self._decoder.feed(data):
            self._waiting.pop(outcome.number).set_result(outcome)

    def connection_lost(self, _error: Exception | None) -> None:
        self.has_ended = True
        if self._waiting:
            _log.error("the worker of scope %s died during %d calls", self._scope, len(self._waiting))
        for outcome in self._waiting.values():
            outcome.set_exception(_died())
        self._waiting.clear()


async def _start(hello: Hello) -> _Process:
    ours, theirs = socket.socketpair()
    with theirs:
        _, process = await asyncio.get_running_loop().create_unix_connection(
            lambda: _Process(hello.config.scope), sock=ours
        )
        # -P: a file of the working directory is no module of ours.
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "rbd_connect.workers.process",
            str(theirs.fileno()),
            hello.config.scope,
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
    process.begin(child, hello)
    return process


def _died() -> TryLaterError:
    return TryLaterError(
        Code.UNAVAILABLE,
        "OUTCOME_UNKNOWN",
        "The process that made the call died. It may be done yet; a retry is safe, and tells.",
        seconds=1,
    )
