"""Whether calls are to be sent here: whether each scope answers, and whether the server is told to stop.

Scopes are asked in the background, so that who wants to know need not wait for a sick cluster. HTTP's probes and gRPC's
health say what stands here, and so the same.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

from rbd_connect.model.errors import ServiceError

from .dispatcher import Dispatcher
from .operations import Operations

__all__ = ["Readiness", "Seen", "State"]

_FRESH_SECONDS = 0.1
_PATIENCE_SECONDS = 0.5
# A cluster or a machine that is busy may be silent for a moment. Its calls are as good as anywhere else then.
_SILENCE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of each scope, and whether calls are to be sent here."""

    states: "dict[str, State]"
    is_ready: bool


class State(Enum):
    """What is known of a scope."""

    CONNECTED = "connected"
    OSDS_NOT_ANSWERING = "OSDs not answering"
    NOT_CONNECTED = "not connected"
    NOT_ANSWERING = "not answering"


class Readiness:
    """Probes of the scopes, one at a time each. For one event loop."""

    def __init__(self, calls: Dispatcher) -> None:
        self._probes = {scope: _Probe(scope, calls) for scope in calls.scopes}
        self._draining = asyncio.Event()

    @property
    def is_draining(self) -> bool:
        """Whether the server has been told to stop."""
        return self._draining.is_set()

    def drain(self) -> None:
        """Say no from now on."""
        self._draining.set()

    async def draining(self, seconds: float) -> None:
        """Return when the server is told to stop, or when so much time has passed."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._draining.wait(), seconds)

    async def look(self, patience: float = _PATIENCE_SECONDS) -> Seen:
        """Say what is known. It takes half a second at the most, however long the clusters take.

        Calls are to be sent here if at least one scope is connected and answered within the last five seconds, and the
        server goes on.
        """
        running = [probe.start() for probe in self._probes.values()]
        if running:
            await asyncio.wait(running, timeout=patience)
        is_ready = any(probe.is_ready for probe in self._probes.values()) and not self.is_draining
        return Seen({scope: probe.state for scope, probe in self._probes.items()}, is_ready)


class _Probe:
    """The last probe of a scope: connecting, if need be, and a question to its monitor and to some OSDs."""

    def __init__(self, scope: str, calls: Dispatcher) -> None:
        self._scope = scope
        self._calls = calls
        self._task: asyncio.Task[None] | None = None
        self._ended = float("-inf")
        self._last = State.NOT_CONNECTED
        self._heard = float("-inf")  # when OSDs answered last, or were first asked

    def start(self) -> "asyncio.Task[None]":
        """Give the probe that runs, or the last one while it is fresh, or a new one."""
        is_fresh = time.monotonic() - self._ended < _FRESH_SECONDS
        if self._task is None or (self._task.done() and not is_fresh):
            self._task = asyncio.create_task(self._run())
        return self._task

    @property
    def state(self) -> State:
        return self._last if self._task is None or self._task.done() else State.NOT_ANSWERING

    @property
    def is_ready(self) -> bool:
        match self.state:
            case State.CONNECTED:
                return True
            case State.NOT_CONNECTED:
                return False
        return self._last is not State.NOT_CONNECTED and time.monotonic() - self._heard < _SILENCE_SECONDS

    async def _run(self) -> None:
        began = time.monotonic()
        try:
            answers = await self._calls.run(self._scope, None, Operations.osds_answer)
            if answers or self._last is not State.OSDS_NOT_ANSWERING:
                self._heard = began
            self._last = State.CONNECTED if answers else State.OSDS_NOT_ANSWERING
        except ServiceError:
            self._last = State.NOT_CONNECTED
        finally:
            self._ended = time.monotonic()
