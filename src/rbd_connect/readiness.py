"""Whether calls are to be sent here: whether each scope answers, and whether the server is told to stop.

Scopes are asked in the background, so that who wants to know need not wait for a sick cluster. HTTP's probes and gRPC's
health say what stands here, and so the same.
"""

import asyncio
import time
from contextlib import suppress
from enum import Enum

from .calls import Calls
from .ceph import operations
from .errors import ServiceError

__all__ = ["Readiness", "State"]

_FRESH_SECONDS = 0.1
_PATIENCE_SECONDS = 0.5


class State(Enum):
    """What is known of a scope."""

    CONNECTED = "connected"
    NOT_CONNECTED = "not connected"
    NOT_ANSWERING = "not answering"


class Readiness:
    """Probes of the scopes, one at a time each. For one event loop."""

    def __init__(self, calls: Calls) -> None:
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

    async def states(self, patience: float = _PATIENCE_SECONDS) -> dict[str, State]:
        """Say what is known of each scope. It takes half a second at the most, however long the clusters take."""
        running = [probe.start() for probe in self._probes.values()]
        if running:
            await asyncio.wait(running, timeout=patience)
        return {scope: probe.state for scope, probe in self._probes.items()}

    async def is_ready(self, patience: float = _PATIENCE_SECONDS) -> bool:
        """Say whether calls are to be sent here: a scope is connected at least, and the server goes on."""
        return State.CONNECTED in (await self.states(patience)).values() and not self.is_draining


class _Probe:
    """The last probe of a scope: connecting, if need be, and one question to its monitor."""

    def __init__(self, scope: str, calls: Calls) -> None:
        self._scope = scope
        self._calls = calls
        self._task: asyncio.Task[None] | None = None
        self._ended = float("-inf")
        self._last = State.NOT_CONNECTED

    def start(self) -> "asyncio.Task[None]":
        """Give the probe that runs, or the last one while it is fresh, or a new one."""
        is_fresh = time.monotonic() - self._ended < _FRESH_SECONDS
        if self._task is None or (self._task.done() and not is_fresh):
            self._task = asyncio.create_task(self._run())
        return self._task

    @property
    def state(self) -> State:
        return self._last if self._task is None or self._task.done() else State.NOT_ANSWERING

    async def _run(self) -> None:
        try:
            await self._calls.run(self._scope, None, operations.probe)
            self._last = State.CONNECTED
        except ServiceError:
            self._last = State.NOT_CONNECTED
        finally:
            self._ended = time.monotonic()
