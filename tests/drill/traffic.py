"""Calls that go on during a drill: many callers, both transports, each call a snapshot of its own name."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count

from bench.callers import TRANSPORTS, Answer, Caller, request
from support.server import Server

__all__ = ["Record", "Traffic"]

_DEADLINE_SECONDS = 90.0
_PAUSE_AFTER_ERROR_SECONDS = 0.2

_names = count(1)


@dataclass(frozen=True)
class Record:
    """A call, and what was answered."""

    image: str
    snapshot: str
    answer: Answer


class Traffic:
    """What was called and answered so far."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    @asynccontextmanager
    async def on(self, server: Server, images: Sequence[str], callers: int) -> AsyncIterator[None]:
        """Keep callers calling, over each transport and on each image; at the end, wait for their last answers."""
        done = asyncio.Event()
        async with AsyncExitStack() as stack:
            ways: list[Caller] = []
            for transport in TRANSPORTS.values():
                ways += await stack.enter_async_context(transport(server, callers // len(TRANSPORTS)))
            tasks = [
                asyncio.ensure_future(self._keep_calling(way, images[number % len(images)], done))
                for number, way in enumerate(ways)
            ]
            try:
                yield
            finally:
                done.set()
                await asyncio.gather(*tasks)

    async def until_success_after(self, moment: float, patience: float) -> float | None:
        """Wait for a call that was asked after a moment and succeeded; give the seconds since then, None in vain."""
        while time.perf_counter() < moment + patience:
            for record in self.records:
                if record.answer.asked >= moment and record.answer.code is None:
                    return record.answer.came - moment
            await asyncio.sleep(0.05)
        return None

    async def _keep_calling(self, call: Caller, image: str, done: asyncio.Event) -> None:
        while not done.is_set():
            snapshot = f"d{next(_names)}"
            answer = await call(request(image, snapshot), _DEADLINE_SECONDS)
            self.records.append(Record(image, snapshot, answer))
            if answer.code is not None:
                await asyncio.sleep(_PAUSE_AFTER_ERROR_SECONDS)
