"""A worker process, as the server that started it has it."""

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any, cast

from connectrpc.code import Code

from ..errors import TryLaterError
from .channel import Call, Connected, Decoder, Hello, Outcome, Ping, Pong, encode
from .output import Output

__all__ = ["Child", "start"]

_END_SECONDS = 5.0

_PING_SECONDS = 1.0
# Half of what Ceph itself gives a client; and a process that is given no time by its machine is none the better for it.
_MOST_UNANSWERED = 15

_log = logging.getLogger(__name__)


class Child(asyncio.Protocol):
    """One process: calls go there, and outcomes come back in whatever order.

    Where it answers nothing more, it is killed. ``address`` is that by which Ceph knows it, None while it has not
    connected.
    """

    def __init__(self, hello: Hello, on_stale: "Callable[[Child], None]", on_death: "Callable[[Child], None]") -> None:
        self._hello = hello
        self._on_stale = on_stale
        self._on_death = on_death
        self._numbers = count()
        self._waiting: dict[int, asyncio.Future[Outcome]] = {}
        self._decoder = Decoder()
        self._transport: asyncio.WriteTransport
        self._process: asyncio.subprocess.Process
        self._output: Output
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_to_end = False
        self._is_stale = False
        self._unanswered = 0
        self._watching: asyncio.Task[None] | None = None
        self.address: str | None = None
        self.has_ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)
        self._transport.write(encode(self._hello))

    def begin(self, process: asyncio.subprocess.Process, output: Output) -> None:
        """Say which process has the other end of the socket, and where what it writes comes."""
        self._process = process
        self._output = output
        self._watching = asyncio.create_task(self._watch())

    async def make(self, request_id: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Outcome:
        number = next(self._numbers)
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting[number] = outcome
        self._idle.clear()
        self._transport.write(encode(Call(number, request_id, function, arguments)))
        return await outcome

    async def retire(self) -> None:
        """End the process when its calls have ended."""
        await self._idle.wait()
        await self.stop()

    async def stop(self) -> None:
        """End the process, which leaves the calls that it has."""
        self._is_to_end = True
        self._transport.close()
        try:
            async with asyncio.timeout(_END_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                await self._output.ended()

    def data_received(self, data: bytes) -> None:
        for message in self._decoder.feed(data):
            match message:
                case Pong():
                    self._hear(message)
                case Connected():
                    self.address = message.address
                case _:
                    self._settle(message)
        if not self._waiting:
            self._idle.set()

    async def _watch(self) -> None:
        """Ask it every second whether it is stuck. librados can be, for good: https://tracker.ceph.com/issues/62832."""
        while self._unanswered < _MOST_UNANSWERED:
            self._unanswered += 1
            self._transport.write(encode(Ping()))
            await asyncio.sleep(_PING_SECONDS)
        _log.error("the worker of scope %s answers nothing more, and is killed", self._hello.config.scope)
        self._process.kill()

    def _hear(self, pong: Pong) -> None:
        self._unanswered = 0
        if pong.is_stale and not self._is_stale:
            self._is_stale = True
            self._on_stale(self)

    def _settle(self, outcome: Outcome) -> None:
        waiting = self._waiting.pop(outcome.number)
        if not waiting.done():  # who waited may have gone, at the end of all
            waiting.set_result(outcome)

    def connection_lost(self, _error: Exception | None) -> None:
        self.has_ended = True
        if self._watching is not None:
            self._watching.cancel()
        if self._waiting:
            _log.error("the worker of scope %s died during %d calls", self._hello.config.scope, len(self._waiting))
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(_died())
        self._waiting.clear()
        self._idle.set()
        if not self._is_to_end:
            self._on_death(self)


async def start(hello: Hello, *, on_stale: Callable[[Child], None], on_death: Callable[[Child], None]) -> Child:
    """Start a process; it connects when it has something to do.

    ``on_stale`` is called when what it connected by has changed, ``on_death`` when it has ended by itself.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        _, child = await asyncio.get_running_loop().create_unix_connection(
            lambda: Child(hello, on_stale, on_death), sock=ours
        )
        output, stderr = await Output.open(hello.config.scope)
        try:
            # -P: a file of the working directory is no module of ours.
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "rbd_connect.workers.process",
                str(theirs.fileno()),
                hello.config.scope,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stderr,  # the server's own is the audit's
                stderr=stderr,
                pass_fds=[theirs.fileno()],
            )
        finally:
            os.close(stderr)
    child.begin(process, output)
    return child


def _died() -> TryLaterError:
    return TryLaterError(
        Code.UNAVAILABLE,
        "OUTCOME_UNKNOWN",
        "The process that made the call died. It may be done yet; a retry is safe, and tells.",
        seconds=1,
    )
