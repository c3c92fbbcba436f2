"""Row 6: used bytes against the number of objects, by object map and by ``diff_iterate``; what others notice of it."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from statistics import median
from threading import Semaphore

import rbd

from support.callers import Caller, over_connect, request
from support.cluster import POOL, SCOPE
from support.server import Server, phases

from .progress import shown
from .table import Line
from .workbench import Bench, Site

__all__ = ["measure"]

_OBJECT_BYTES = 4 << 20
_CALLERS = 100
_DIFF_BUDGET = 65536
_PATIENCE_SECONDS = 600
_WRITES_AT_ONCE = 64
_WARM_UP_SECONDS = 2
_BASELINE_SECONDS = 5

_names = count(1)


@dataclass(frozen=True)
class _Kind:
    """An image: how many objects it could have and how many there are, and whether it has an object map."""

    objects: int
    written: int
    has_map: bool
    calls: int
    beside_others: bool = True  # else it takes minutes
    target_idle: str = ""
    target_busy: str = ""

    def __str__(self) -> str:
        return f"{self.objects:,} objects, {'object map' if self.has_map else 'diff_iterate'}"


_KINDS = (
    _Kind(4096, 4096, has_map=True, calls=5),
    _Kind(65536, 4096, has_map=True, calls=5),
    _Kind(10 << 18, 4096, has_map=True, calls=5, target_idle="under 30 ms", target_busy="at most 3"),
    _Kind(4096, 4096, has_map=False, calls=2),
    _Kind(65536, 65536, has_map=False, calls=1, beside_others=False),
)


def measure(bench: Bench, rounds: int) -> Iterator[Line]:
    site = bench.fast
    with bench.server(f"--usage-diff-budget={_DIFF_BUDGET}", **{SCOPE: site}) as server:
        for kind in _KINDS:
            yield from _lines(kind, server, site, rounds if kind.has_map else 1)


def _lines(kind: _Kind, server: Server, site: Site, rounds: int) -> Iterator[Line]:
    features = None if kind.has_map else rbd.RBD_FEATURE_LAYERING
    (image,) = site.new_images(1, kind.objects * _OBJECT_BYTES, features)
    _fill(site, image, kind)
    idle: list[float] = []
    busy: list[float] = []
    alone: list[float] = []
    beside: list[float] = []
    for _ in shown(range(rounds), f"row 6, {kind}"):
        idle += asyncio.run(_usage(server, image, kind.calls))
        if kind.beside_others:
            without, taken, with_it = asyncio.run(_usage_beside_others(server, site, image, kind.calls))
            busy += taken
            alone.append(without)
            beside.append(with_it)
    yield Line(6, f"usage, {kind} / `rbd du`", "ms", median(idle), _by_rbd(site, image), kind.target_idle)
    if kind.beside_others:
        yield Line(6, f"  beside {_CALLERS} calls / idle", "ms", median(busy), median(idle), kind.target_busy)
        yield Line(6, f"  those {_CALLERS} callers / without it", "calls/s", median(beside), median(alone))


async def _usage(server: Server, image: str, calls: int) -> list[float]:
    """Take snapshots one after the other; give the milliseconds that the usage of each took, by the server's log."""
    async with over_connect(server, 1) as (call,):
        return [await _usage_of_next(server, call, image) for _ in range(calls)]


async def _usage_of_next(server: Server, call: Caller, image: str) -> float:
    snapshot = f"s{next(_names)}"
    answer = await call(request(image, snapshot), _PATIENCE_SECONDS)
    assert answer.code is None, answer
    return phases(server, snapshot)["usage"]


async def _usage_beside_others(server: Server, site: Site, image: str, calls: int) -> tuple[float, list[float], float]:
    """Give the others' calls a second without it, what ``_usage`` gives beside them, and their rate meanwhile."""
    async with _others(server, site) as answered:
        before, began = len(answered), time.perf_counter()
        await asyncio.sleep(_BASELINE_SECONDS)
        without = (len(answered) - before) / (time.perf_counter() - began)
        before, began = len(answered), time.perf_counter()
        taken = await _usage(server, image, calls)
        return without, taken, (len(answered) - before) / (time.perf_counter() - began)


@asynccontextmanager
async def _others(server: Server, site: Site) -> AsyncIterator[Sequence[None]]:
    """Keep callers calling, each on an image of its own. Give a list with an item for each answer that came."""
    answered: list[None] = []

    async def keep_calling(call: Caller, image: str) -> None:
        while True:
            answer = await call(request(image, f"s{next(_names)}"), _PATIENCE_SECONDS)
            assert answer.code is None, answer
            answered.append(None)

    async with over_connect(server, _CALLERS) as callers:
        images = site.new_images(_CALLERS)
        tasks = [asyncio.ensure_future(keep_calling(*each)) for each in zip(callers, images, strict=True)]
        await asyncio.sleep(_WARM_UP_SECONDS)
        yield answered
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends


def _fill(site: Site, image: str, kind: _Kind) -> None:
    """Write a little to objects that are spread over the image."""
    room = Semaphore(_WRITES_AT_ONCE)
    stride = kind.objects // kind.written * _OBJECT_BYTES
    with site.connection.open_ioctx(POOL) as ioctx, rbd.Image(ioctx, image) as opened:
        for number in shown(range(kind.written), f"row 6, writing {kind.written:,} objects"):
            room.acquire()
            opened.aio_write(b"x", number * stride, lambda _completion: room.release())
        for _ in range(_WRITES_AT_ONCE):
            room.acquire()
        opened.flush()


def _by_rbd(site: Site, image: str) -> float:
    """Time `rbd du` of the image's first snapshot, in milliseconds."""
    with site.connection.open_ioctx(POOL) as ioctx, rbd.Image(ioctx, image, read_only=True) as opened:
        snapshot = next(iter(opened.list_snaps()))["name"]
    started = time.perf_counter()
    site.tools.rbd("du", f"{POOL}/{image}@{snapshot}")
    return (time.perf_counter() - started) * 1000
