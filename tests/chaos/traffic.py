"""Calls that go on during a scenario: many callers, both transports, each call a snapshot of its own name."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count, cycle, islice
from typing import Any

from support.callers import TRANSPORTS, Answer, Caller, over_connect, request
from support.server import Server

__all__ = ["Record", "Traffic"]

_DEADLINE_SECONDS = 90.0
_PAUSE_AFTER_ERROR_SECONDS = 0.2
_POLL_SECONDS = 0.02

_names = count(1)


@dataclass(frozen=True)
class Record:
    """A call, and what was answered. ``image`` has the pool's name before it."""

    image: str
    snapshot: str
    answer: Answer

    @property
    def is_ok(self) -> bool:
        return self.answer.code is None


class Traffic:
    """What was called and answered so far."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    @contextmanager
    def on(self, server: Server, images: Sequence[str], callers: int) -> Iterator[None]:
        """Keep callers calling, over each transport and on each image; at the end, wait for their last answers."""
        done = threading.Event()

        async def call_until_done() -> None:
            async with _callers(server, callers) as ways:
                await asyncio.gather(*(self._keep_calling(way, image, done) for way, image in zip(ways, cycle(images))))

        with _elsewhere(call_until_done()) as running:
            try:
                yield
            finally:
                done.set()
                running.result()

    @contextmanager
    def once(self, server: Server, images: Sequence[str]) -> Iterator[None]:
        """Call once on each image, all at the same time; at the end, wait until all are answered."""

        async def call_each() -> None:
            async with _callers(server, len(images)) as ways:
                await asyncio.gather(*(self._call(way, image) for way, image in zip(ways, images, strict=True)))

        with _elsewhere(call_each()) as running:
            yield
            running.result()

    def first_success(self, server: Server, image: str, patience: float) -> float | None:
        """Call until it succeeds, on an image that nobody else wants; give the seconds it took, or None in vain."""

        async def call_until() -> None:
            async with over_connect(server, 1) as (call,):
                while time.perf_counter() < started + patience:
                    record = await self._call(call, image)
                    if record is None or record.is_ok:
                        return
                    await asyncio.sleep(_POLL_SECONDS)

        started = time.perf_counter()
        with _elsewhere(call_until()) as running:
            running.result()
        record = self._last(image)
        return record.answer.came - started if record.is_ok else None

    def success_everywhere(self, moment: float, patience: float, images: Collection[str]) -> float | None:
        """Wait until a call on each of some images succeeded that was asked after a moment.

        Give the seconds from then until the last of those came, or None in vain.
        """
        first: dict[str, float] = {}
        while len(first) < len(images):
            if time.perf_counter() > moment + patience:
                return None
            time.sleep(_POLL_SECONDS)
            for record in list(self.records):
                if record.image in images and record.is_ok and record.answer.asked >= moment:
                    first.setdefault(record.image, record.answer.came - moment)
        return max(first.values(), default=0.0)

    def _last(self, image: str) -> Record:
        return next(record for record in reversed(self.records) if record.image == image)

    async def _keep_calling(self, call: Caller, image: str, done: threading.Event) -> None:
        """Call over and over; what is to be called otherwise overrides this."""
        while not done.is_set():
            record = await self._call(call, image)
            if record is None:
                return
            if not record.is_ok:
                await asyncio.sleep(_PAUSE_AFTER_ERROR_SECONDS)

    async def _call(self, call: Caller, image: str, seconds: float = _DEADLINE_SECONDS) -> Record | None:
        """Create another snapshot. Give None where the connection was lost, and no other call can be made on it."""
        snapshot = f"d{next(_names)}"
        pool, _, name = image.partition("/")
        asked = time.perf_counter()
        try:
            answer = await call(request(name, snapshot, pool=pool), seconds)
        except ConnectionError:
            self.records.append(Record(image, snapshot, Answer(asked, time.perf_counter(), code="unavailable")))
            return None
        record = Record(image, snapshot, answer)
        self.records.append(record)
        return record


@asynccontextmanager
async def _callers(server: Server, number: int) -> AsyncIterator[list[Caller]]:
    async with AsyncExitStack() as stack:
        groups = [
            await stack.enter_async_context(transport(server, -(-number // len(TRANSPORTS))))
            for transport in TRANSPORTS.values()
        ]
        yield list(islice((way for ways in zip(*groups, strict=True) for way in ways), number))


@contextmanager
def _elsewhere(work: Coroutine[Any, Any, None]) -> "Iterator[Future[None]]":
    """Run it on a thread of its own: the daemons that a fault starts end with the thread that started them."""
    run: Callable[[Coroutine[Any, Any, None]], None] = asyncio.run
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(run, work)
