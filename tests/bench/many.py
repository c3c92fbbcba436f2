"""Row 2: creates a second, on as many images as there are callers; each caller creates a few, one after the other."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator
from statistics import median

from support.callers import TRANSPORTS, Caller, Callers, request
from support.cluster import POOL, SCOPE
from support.server import Server

from . import bare
from .progress import shown
from .table import Line
from .workbench import Bench, Site

__all__ = ["measure"]

_CALLERS = (1, 16, 64, 128, 256)
_SNAPSHOTS = ("a", "b", "c", "d")
_MOST_PROCESSES = 64
_TARGETS = {256: "at least 0.90"}


def measure(bench: Bench, rounds: int) -> Iterator[Line]:
    for site in bench.sites:
        with bench.server(**{SCOPE: site}) as server:
            asyncio.run(_by_server(TRANSPORTS["Connect"], server, site.new_images(1)))  # connects
            for callers in _CALLERS:
                yield from _with(callers, site, server, rounds)


def _with(callers: int, site: Site, server: Server, rounds: int) -> Iterator[Line]:
    """Measure the ways one after the other in each round."""
    rates = defaultdict(list)
    calls = callers * len(_SNAPSHOTS)
    for _ in shown(range(rounds), f"row 2, paxos {site.interval:g} s, {callers} callers"):
        rates["bare"].append(calls / bare.create_many(site.connection, site.new_images(callers), _SNAPSHOTS))
        for name, transport in TRANSPORTS.items():
            rates[name].append(calls / asyncio.run(_by_server(transport, server, site.new_images(callers))))
        if callers <= _MOST_PROCESSES:
            rates["`rbd`"].append(callers / _by_rbd(site, site.new_images(callers)))
    for name in (*TRANSPORTS, "`rbd`"):
        if rates[name]:
            what = f"{callers} callers, {name}, paxos {site.interval:g} s / bare"
            target = _TARGETS.get(callers, "at least 0.95") if name in TRANSPORTS else ""
            yield Line(2, what, "calls/s", median(rates[name]), median(rates["bare"]), target)


async def _by_server(transport: Callers, server: Server, images: list[str]) -> float:
    async with transport(server, len(images)) as callers:
        started = time.perf_counter()
        await asyncio.gather(*(_create_all(call, image) for call, image in zip(callers, images, strict=True)))
        return time.perf_counter() - started


async def _create_all(call: Caller, image: str) -> None:
    for snapshot in _SNAPSHOTS:
        answer = await call(request(image, snapshot), None)
        assert answer.code is None, answer


def _by_rbd(site: Site, images: list[str]) -> float:
    """Run as many `rbd` commands at once, once each."""
    return bare.seconds_for(
        lambda image: site.tools.rbd("--no-progress", "snap", "create", f"{POOL}/{image}@s"), images
    )
