"""Row 3: a call on a quiet image while two hundred wait on a busy one."""

import asyncio
from collections.abc import Iterator, Sequence
from statistics import median

from support.callers import Answer, Caller, over_connect, request
from support.cluster import SCOPE
from support.server import Server

from .progress import shown
from .table import Line
from .workbench import Bench, Site

__all__ = ["measure"]

_WAITING = 200
_CALLS = 10


def measure(bench: Bench, rounds: int) -> Iterator[Line]:
    for site in bench.sites:
        alone: list[float] = []
        beside: list[float] = []
        with bench.server(**{SCOPE: site}) as server:
            for _ in shown(range(rounds), f"row 3, paxos {site.interval:g} s"):
                for seconds, is_busy in ((alone, False), (beside, True)):
                    answers = asyncio.run(_quiet_calls(server, site, busy=is_busy))
                    after_first = answers[1:]  # which meets the paxos interval
                    seconds.extend(answer.seconds * 1000 for answer in after_first)
        what = f"a call beside {_WAITING} on a busy image, paxos {site.interval:g} s / alone"
        yield Line(3, what, "ms", median(beside), median(alone), "at most 1.5")


async def _quiet_calls(server: Server, site: Site, *, busy: bool) -> list[Answer]:
    """Call one after the other on images that nobody else wants."""
    quiet, (wanted,) = site.new_images(_CALLS), site.new_images(1)
    async with over_connect(server, _WAITING + 1) as (call, *others):
        waiting = await _keep_busy(others, wanted) if busy else []
        answers = [await call(request(image), None) for image in quiet]
        assert {answer.code for answer in answers} == {None}, answers
        assert not busy or not all(task.done() for task in waiting), "the busy image was busy no longer"
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    return answers


async def _keep_busy(callers: Sequence[Caller], image: str) -> "list[asyncio.Task[Answer]]":
    """Begin calls on one image; return when a few of them are answered: the others wait by then."""
    tasks = [asyncio.ensure_future(call(request(image, f"s{number}"), 300)) for number, call in enumerate(callers)]
    for answered in asyncio.as_completed(tasks[:3]):
        await answered
    return tasks
