"""Row 5: a thousand callers at once, where there is room for three hundred."""

import asyncio
import re
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from rbd_connect.server.lifecycle import allow_many_connections
from support.callers import Answer, over_connect, request
from support.cluster import SCOPE
from support.server import Held, Server

from .progress import shown
from .table import Line, percentile
from .workbench import Bench, Site

__all__ = ["measure"]

_CALLERS = 1000
_AT_ONCE = 256
_WAITING = 44
_REFUSED = "SCOPE_BUSY"
_MIB = 1 << 20


def measure(bench: Bench, rounds: int) -> Iterator[Line]:
    allow_many_connections()
    site = bench.fast
    answers: list[Answer] = []
    during: list[Held] = []
    rests: list[float] = []
    flags = (f"--calls-at-once={_AT_ONCE}", f"--calls-waiting={_WAITING}")
    with bench.server(*flags, **{SCOPE: site}) as server:
        asyncio.run(_once(server, site, 1, []))  # connects
        resting = Held.by(server)
        for _ in shown(range(rounds), "row 5"):
            answers += asyncio.run(_once(server, site, _CALLERS, during))
            rests.append(_seconds_until(resting, server))
        after = Held.by(server)
        held = _held_milliseconds(server.log)
    served = [answer for answer in answers if answer.code is None]
    refused = [answer.seconds * 1000 for answer in answers if answer.reason == _REFUSED]
    assert len(served) + len(refused) == len(answers), {(answer.code, answer.reason) for answer in answers}
    what = f"{_CALLERS} callers, room for {_AT_ONCE + _WAITING}"
    yield Line(5, f"{what}: served", "calls", len(served) / rounds, _AT_ONCE + _WAITING)
    for percent in (50, 99):
        yield Line(5, f"  refused after reading it, p{percent}", "ms", percentile(held, percent), None, "at most 100")
        yield Line(5, f"  refused, as its caller waits, p{percent}", "ms", percentile(refused, percent))
    peak = max(process.peak_bytes for process in during)
    yield Line(5, "  peak memory / at rest", "MiB", peak / _MIB, resting.peak_bytes / _MIB, "at most 300")
    yield Line(5, "  threads during / at rest", "", max(process.threads for process in during), resting.threads)
    yield Line(5, "  threads after / at rest", "", after.threads, resting.threads, "1.00")
    most = max(process.descriptors for process in during)
    yield Line(5, "  descriptors during / at rest", "", most, resting.descriptors)
    yield Line(5, "  descriptors after / at rest", "", after.descriptors, resting.descriptors, "1.00")
    yield Line(5, "  back at rest after", "s", median(rests))


async def _once(server: Server, site: Site, number: int, during: list[Held]) -> list[Answer]:
    images = site.new_images(number)
    async with over_connect(server, number) as callers:
        tasks = [asyncio.ensure_future(call(request(image), None)) for call, image in zip(callers, images, strict=True)]
        while not all(task.done() for task in tasks):
            await asyncio.wait(tasks, timeout=0.2)
            during.append(Held.by(server))
        return [task.result() for task in tasks]


def _seconds_until(resting: Held, server: Server) -> float:
    """Wait until the server has no more threads and descriptors than it had. Give up after a minute."""
    started = time.monotonic()
    while time.monotonic() - started < 60:
        now = Held.by(server)
        if now.threads <= resting.threads and now.descriptors <= resting.descriptors:
            break
        time.sleep(0.1)
    return time.monotonic() - started


def _held_milliseconds(log: Path) -> list[float]:
    """Say how long the server had each call that it refused, by its log."""
    return [float(spent) for spent in re.findall(r"resource_exhausted in ([\d.]+) ms", log.read_text())]
