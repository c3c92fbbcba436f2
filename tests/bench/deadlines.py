"""Row 7: how late deadlines are answered while 256 calls are in flight."""

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from itertools import count

from support.callers import Answer, Caller, over_connect, over_grpc, request
from support.cluster import SCOPE
from support.server import Server

from .progress import shown
from .table import Line, percentile
from .workbench import Bench, Site

__all__ = ["measure"]

_CALLERS = 256
_SECONDS_A_ROUND = 5
_SHORTEST, _LONGEST = 0.2, 2.0

_names = count(1)


def measure(bench: Bench, rounds: int) -> Iterator[Line]:
    site = bench.default
    with bench.server(**{SCOPE: site}) as server:
        late = asyncio.run(_late(server, site, _SECONDS_A_ROUND * rounds))
        by_server = asyncio.run(_answered_by_server(server, site, _SECONDS_A_ROUND * rounds))
    what = f"a deadline's answer beside {_CALLERS} calls, Connect: late"
    for percent, target in ((50, ""), (99, "under 50"), (100, "")):
        yield Line(7, f"{what}, p{percent}", "ms", percentile(late, percent), None, target)
    yield Line(7, "deadlines, gRPC: told by the server / all", "calls", *by_server)


async def _late(server: Server, site: Site, seconds: int) -> list[float]:
    """Say how many milliseconds after their deadlines calls were answered; those done in time do not count."""
    async with over_connect(server, _CALLERS) as callers:
        answers = await _keep_calling(callers, site, seconds, "row 7, Connect")
    return [(answer.seconds - timeout) * 1000 for timeout, answer in answers if answer.code == "deadline_exceeded"]


async def _answered_by_server(server: Server, site: Site, seconds: int) -> tuple[int, int]:
    """Say how many of the deadlines that passed the server told of; grpc's own client told of the others."""
    async with over_grpc(server, _CALLERS) as callers:
        answers = await _keep_calling(callers, site, seconds, "row 7, gRPC")
    reasons = [answer.reason for _, answer in answers if answer.code == "deadline_exceeded"]
    return sum(reason is not None for reason in reasons), len(reasons)


async def _keep_calling(callers: Sequence[Caller], site: Site, seconds: int, label: str) -> list[tuple[float, Answer]]:
    """Let each caller call again and again, on an image of its own, with random deadlines."""
    images = site.new_images(len(callers))
    ends = time.perf_counter() + seconds
    tasks = []
    for call, image in zip(callers, images, strict=True):
        tasks.append(asyncio.ensure_future(_calls(call, image, ends)))
        await asyncio.sleep(_LONGEST / len(callers))  # not all in one moment
    for _ in shown(range(seconds), label):
        await asyncio.sleep(1)
    return [answered for task in tasks for answered in await task]


async def _calls(call: Caller, image: str, ends: float) -> list[tuple[float, Answer]]:
    answered = []
    while time.perf_counter() < ends:
        timeout = round(random.uniform(_SHORTEST, _LONGEST), 3)  # noqa: S311 - no secret
        answered.append((timeout, await call(request(image, f"s{next(_names)}"), timeout)))
    return answered
