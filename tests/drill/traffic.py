"""Calls that go on during a drill: many callers, both transports, each call a snapshot of its own name."""

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager
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

    @contextmanager
    def on(self, server: Server, images: Sequence[str], callers: int) -> Iterator[None]:
        """Keep callers calling, over each transport and on each image; at the end, wait for their last answers.

        They are on a thread of their own: daemons that a fault starts end with the thread that started them.
        """
        done = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(asyncio.run, self._call_until(done, server, images, callers))
            try:
                yield
            finally:
                done.set()
                running.result()

    def success_after(self, moment: float, patience: float) -> float | None:
        """Wait for a call that was asked after a moment and succeeded; give the seconds since then, None in vain."""
        while time.perf_counter() < moment + patience:
            came = [
                record.answer.came
                for record in self.records
                if record.answer.asked >= moment and record.answer.code is None
            ]
            if came:
                return min(came) - moment
            time.sleep(0.05)
        return None

    async def _call_until(self, done: threading.Event, server: Server, images: Sequence[str], callers: int) -> None:
        async with AsyncExitStack() as stack:
            ways: list[Caller] = []
            for transport in TRANSPORTS.values():
                ways += await stack.enter_async_context(transport(server, callers // len(TRANSPORTS)))
            await asyncio.gather(
                *(self._keep_calling(way, images[number % len(images)], done) for number, way in enumerate(ways))
            )

    async def _keep_calling(self, call: Caller, image: str, done: threading.Event) -> None:
        while not done.is_set():
            snapshot = f"d{next(_names)}"
            answer = await call(request(image, snapshot), _DEADLINE_SECONDS)
            self.records.append(Record(image, snapshot, answer))
            if answer.code is not None:
                await asyncio.sleep(_PAUSE_AFTER_ERROR_SECONDS)
