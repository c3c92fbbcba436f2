"""Row 2: creates a second, on as many images as there are callers."""

import asyncio
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from support.server import Server

from . import bare
from .callers import TRANSPORTS, Callers, request
from .progress import shown
from .table import Line, median
from .workbench import POOL, SCOPE, Bench, Site

__all__ = ["measure"]

_CALLERS = (1, 16, 64, 128, 256)
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
    for _ in shown(range(rounds), f"row 2, paxos {site.interval:g} s, {callers} callers"):
        rates["bare"].append(callers / bare.create_many(site.connection, site.new_images(callers)))
        for name, transport in TRANSPORTS.items():
            rates[name].append(callers / asyncio.run(_by_server(transport, server, site.new_images(callers))))
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
        answers = await asyncio.gather(
            *(call(request(image), None) for call, image in zip(callers, images, strict=True))
        )
        taken = time.perf_counter() - started
    assert {answer.code for answer in answers} == {None}, answers
    return taken


def _by_rbd(site: Site, images: list[str]) -> float:
    """Run as many `rbd` commands at once."""
    common = ("rbd", "--conf", str(site.cluster.conf), "--no-progress", "snap", "create")
    with ThreadPoolExecutor(len(images)) as pool:
        started = time.perf_counter()
        list(pool.map(lambda image: subprocess.run([*common, f"{POOL}/{image}@s"], check=True), images))
        return time.perf_counter() - started
