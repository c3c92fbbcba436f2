"""Row 4: calls in one scope while five hundred hang in another, whose OSD is frozen."""

import asyncio
from collections.abc import Iterator

from support.callers import Caller, over_connect, request
from support.server import Server
from support.tools import frozen

from .progress import shown
from .table import Line, percentile
from .workbench import Bench, Site

__all__ = ["measure"]

_HANGING = 500
_CALLS = 50


def measure(bench: Bench, rounds: int) -> Iterator[Line]:
    sick, well = bench.default, bench.fast
    alone: list[float] = []
    beside: list[float] = []
    with bench.server(sick=sick, well=well) as server:
        asyncio.run(_connect(server, sick, well))
        for _ in shown(range(rounds), "row 4"):
            asyncio.run(_measure(server, sick, well, alone, beside))
    for percent, target in ((50, "at most 1.2"), (99, "")):
        what = f"a call beside {_HANGING} that hang in another scope / alone, p{percent}"
        yield Line(4, what, "ms", percentile(beside, percent), percentile(alone, percent), target)


async def _connect(server: Server, *sites: Site) -> None:
    for name, site in zip(("sick", "well"), sites, strict=True):
        (image,) = site.new_images(1)
        async with over_connect(server, 1) as (call,):
            assert (await call(request(image, scope=name), None)).code is None


async def _measure(server: Server, sick: Site, well: Site, alone: list[float], beside: list[float]) -> None:
    hang = sick.new_images(_HANGING)
    async with over_connect(server, _HANGING + 1) as (call, *others):
        alone += await _calls(call, well)
        with frozen(sick.cluster.osd):
            tasks = [
                asyncio.ensure_future(other(request(image, scope="sick"), 300))
                for other, image in zip(others, hang, strict=True)
            ]
            await _all_have_come(server, call)
            beside += await _calls(call, well)
            assert not any(task.done() for task in tasks), "calls on the frozen cluster were answered"
        answers = await asyncio.gather(*tasks)
    assert {answer.code for answer in answers} == {None}, answers


async def _all_have_come(server: Server, call: Caller) -> None:
    """Return when the server has read what was sent before: it serves its connections in turn."""
    for _ in range(3):
        assert (await call(request("none", scope="nowhere"), None)).reason == "SCOPE_NOT_FOUND", server.log.read_text()


async def _calls(call: Caller, site: Site) -> list[float]:
    """Call one after the other; milliseconds."""
    answers = [await call(request(image, scope="well"), None) for image in site.new_images(_CALLS)]
    assert {answer.code for answer in answers} == {None}, answers
    return [answer.seconds * 1000 for answer in answers]
