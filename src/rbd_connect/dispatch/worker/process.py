"""A worker process, as the server that started it has it."""

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from signal import Signals
from typing import Any, cast

from rbd_connect.common.call_context import CallContext, current
from rbd_connect.common.unguessable_path import unguessable_path

from .channel import Call, Connected, Decoder, Init, Ping, Pong, Result, encode
from .output import Output

__all__ = ["ProcessEndedError", "WorkerProcess", "start"]

_END_SECONDS = 5.0

_PING_SECONDS = 1.0
# Half of what Ceph itself gives a client; and a process that is given no time by its machine is none the better for it.
_MOST_UNANSWERED = 15

# A process does these to itself. SIGKILL and SIGTERM are others' doing: an operator's, or the kernel's without memory.
_CRASHES = frozenset(
    {Signals.SIGABRT, Signals.SIGBUS, Signals.SIGFPE, Signals.SIGILL, Signals.SIGSEGV, Signals.SIGSYS, Signals.SIGTRAP}
)

_log = logging.getLogger(__name__)


class ProcessEndedError(Exception):
    """The process ended before the call did.

    ``crash`` is the signal where it crashed, once it had connected to Ceph; else None. ``calls`` is how many calls it
    had. A crash while it connects is not a call's doing, whichever calls wait for that.
    """

    def __init__(self, crash: Signals | None, calls: int) -> None:
        super().__init__("the worker process ended")
        self.crash = crash
        self.calls = calls


class WorkerProcess(asyncio.Protocol):
    """One process: calls go there, and outcomes come back in whatever order.

    Where it answers nothing more, it is killed. ``address`` is that by which Ceph knows it, None while it has not
    connected. ``is_shared`` says whether it is the one for all calls of a scope, ``has_calls`` whether it was given a
    client's, ``has_answered`` whether any ended.
    """

    def __init__(
        self, init: Init, on_stale: "Callable[[WorkerProcess], None]", on_death: "Callable[[WorkerProcess], None]"
    ) -> None:
        self._init = init
        self._on_stale = on_stale
        self._on_death = on_death
        self._numbers = count()
        self._waiting: dict[int, asyncio.Future[Result]] = {}
        self._progress: dict[int, CallContext | None] = {}
        self._decoder = Decoder()
        self._transport: asyncio.WriteTransport
        self._process: asyncio.subprocess.Process
        self._output: Output
        self._idle = asyncio.Event()
        self._idle.set()
        self._heard = asyncio.Event()
        self._is_to_end = False
        self._is_stale = False
        self._unanswered = 0
        self._watching: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self.address: str | None = None
        self.is_shared = False
        self.has_calls = False
        self.has_answered = False
        self.has_ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)
        self._transport.write(encode(self._init))

    def begin(self, process: asyncio.subprocess.Process, output: Output) -> None:
        """Say which process has the other end of the socket, and where what it writes comes."""
        self._process = process
        self._output = output
        self._watching = asyncio.create_task(self._watch())

    def abandon(self) -> None:
        """Say that there is no process."""
        self._is_to_end = True
        self._transport.abort()

    @property
    def process_id(self) -> int:
        return self._process.pid

    @property
    def admin_socket(self) -> Path | None:
        """Where librados makes its admin socket, for a moment."""
        return self._init.admin_socket

    async def make(self, request_id: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Result:
        """Make a call. Raises ProcessEndedError."""
        if self.has_ended:
            raise ProcessEndedError(None, 0)
        number = next(self._numbers)
        outcome: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting[number] = outcome
        self._progress[number] = current()
        self._idle.clear()
        self._transport.write(encode(Call(number, request_id, function.__name__, arguments)))
        return await outcome

    async def outcome(self, function: Callable[..., None], *arguments: object) -> Exception | None:
        """Make a call that is not a client's. Give the error that it ended with: what waits on it goes on anyway."""
        try:
            outcome = await self.make("", function, arguments)
        except ProcessEndedError as error:
            return error
        return outcome.failure

    async def look(self) -> None:
        """Ask what the calls are at, and wait for the answer for a second at the most."""
        self._transport.write(encode(Ping()))
        self._heard.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(_PING_SECONDS):
                await self._heard.wait()

    async def retire(self) -> None:
        """End the process when its calls have ended."""
        await self._idle.wait()
        await self.stop()

    async def stop(self) -> None:
        """End the process, which leaves the calls that it has."""
        self._is_to_end = True
        self._transport.close()
        if await self._exit_status() is None:
            self._process.kill()
            await self._process.wait()
        self._remove_trash_snapshots()
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
        _log.error("the worker of scope %s answers nothing more, and is killed", self._init.config.scope)
        self._process.kill()

    def _hear(self, pong: Pong) -> None:
        self._unanswered = 0
        self._heard.set()
        for number, spent in pong.spent.items():
            progress = self._progress.get(number)
            if progress is not None:
                progress.add(spent)
        if pong.is_stale and not self._is_stale:
            self._is_stale = True
            self._on_stale(self)

    def _settle(self, outcome: Result) -> None:
        self.has_answered = True
        waiting = self._waiting.pop(outcome.number)
        progress = self._progress.pop(outcome.number, None)
        if progress is not None:
            progress.add(outcome.spent)
        if not waiting.done():  # who waited may have gone, at the end of all
            waiting.set_result(outcome)

    def connection_lost(self, _error: Exception | None) -> None:
        self.has_ended = True
        if self._watching is not None:
            self._watching.cancel()
        if self._is_to_end:
            self._give_up(None)
        else:
            self._ending = asyncio.create_task(self._end())

    async def _end(self) -> None:
        """Find out how the process ended by itself, before its calls are told."""
        status = await self._exit_status()
        how = "in an unknown way" if status is None else f"with status {status}"
        signal = Signals(-status) if status is not None and status < 0 else None
        if self._waiting or signal in _CRASHES or (status or 0) > 0:
            _log.error(
                "the worker of scope %s ended %s during %d calls",
                self._init.config.scope,
                how if signal is None else f"by {signal.name}",
                len(self._waiting),
            )
        if status is None:
            self._process.kill()
        self._remove_trash_snapshots()
        self._give_up(signal if signal in _CRASHES and self.address is not None else None)
        self._on_death(self)

    async def _exit_status(self) -> int | None:
        """Wait for the process to end. Give its status, minus the signal where one ended it; None where it does not."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                return await self._process.wait()
        return None

    def _give_up(self, crash: Signals | None) -> None:
        calls = len(self._waiting)
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ProcessEndedError(crash, calls))
        self._waiting.clear()
        self._progress.clear()
        self._idle.set()

    def _remove_trash_snapshots(self) -> None:
        """Remove the one file that a process leaves where it is killed in the wrong moment."""
        if self.admin_socket is not None:
            with suppress(OSError):
                self.admin_socket.unlink()


async def start(
    init: Init, *, on_stale: Callable[[WorkerProcess], None], on_death: Callable[[WorkerProcess], None]
) -> WorkerProcess:
    """Start a process; it connects when it has something to do.

    ``on_stale`` is called when what it connected by has changed, ``on_death`` when it has ended by itself. Raises
    OSError where no process can be started.
    """
    init = replace(init, admin_socket=unguessable_path())
    ours, theirs = socket.socketpair()
    with theirs:
        _, worker_process = await asyncio.get_running_loop().create_unix_connection(
            lambda: WorkerProcess(init, on_stale, on_death), sock=ours
        )
        output, stderr = await Output.open(init.config.scope)
        # -P: a file of the working directory is no module of ours.
        words = ("-P", "-m", "rbd_connect.dispatch.worker.main", str(theirs.fileno()), init.config.scope)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stderr,  # the server's own is the audit's
                stderr=stderr,
                pass_fds=[theirs.fileno()],
            )
        except OSError:
            worker_process.abandon()
            raise
        finally:
            os.close(stderr)
    worker_process.begin(process, output)
    return worker_process
