"""Whether clusters have the pools that grants name: only they know. They are asked in the background."""

import asyncio
import logging
from contextlib import suppress

from rbd_connect.auth.grant_warnings import names_pools, pool_doubts
from rbd_connect.config.settings import Settings
from rbd_connect.dispatch.dispatcher import Dispatcher
from rbd_connect.dispatch.operations import Operations
from rbd_connect.model.errors import ServiceError

__all__ = ["PoolReview"]

_log = logging.getLogger(__name__)

_PAUSE_SECONDS = 5.0


class PoolReview:
    """Asks each scope once for its pools, as soon as it answers, and warns in the log. For one event loop.

    No call waits for it, and a server that stops does not either.
    """

    def __init__(self, calls: Dispatcher) -> None:
        self._calls = calls
        self._task: asyncio.Task[None] | None = None

    def begin(self, settings: Settings) -> None:
        """Look at the grants of some settings, and no more at those of others."""
        self.stop()
        self._task = asyncio.create_task(self._run(settings))

    def stop(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self, settings: Settings) -> None:
        pools: dict[str, list[str]] = {}
        said: set[str] = set()
        asked = [asyncio.ensure_future(self._pools(scope)) for scope in names_pools(settings)]
        try:
            for answered in asyncio.as_completed(asked):
                scope, names = await answered
                pools[scope] = names
                for doubt in pool_doubts(settings, pools):
                    if doubt not in said:
                        said.add(doubt)
                        _log.warning("%s", doubt)
        except Exception:  # noqa: BLE001 - nobody waits for it
            _log.exception("pools of grants: not looked at")
        finally:
            for one in asked:
                one.cancel()

    async def _pools(self, scope: str) -> tuple[str, list[str]]:
        while True:
            with suppress(ServiceError):
                return scope, await self._calls.ask(scope, Operations.pool_names)
            await asyncio.sleep(_PAUSE_SECONDS)
