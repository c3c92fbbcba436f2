"""Whether each scope answers: asked in the background, so that who wants to know need not wait for a sick cluster."""

import asyncio
import time
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

    async def states(self) -> dict[str, State]:
        """Say what is known of each scope. It takes half a second at the most, however long the clusters take."""
        running = [probe.start() for probe in self._probes.values()]
        await asyncio.wait(running, timeout=_PATIENCE_SECONDS)
        return {scope: probe.state for scope, probe in self._probes.items()}


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
