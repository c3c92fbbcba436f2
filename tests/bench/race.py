"""Row 8: eight callers that race for one name, through one server and through two."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from itertools import cycle, islice

from support.callers import TRANSPORTS, Answer, Caller, request
from support.cluster import SCOPE
from support.server import Server

from .progress import shown
from .table import Line
from .workbench import Bench, Site

__all__ = ["measure"]

_RACERS = 8
_RACES_A_ROUND = 20
_OUTCOME = Counter({None: 1, "already_exists": _RACERS - 1})


def measure(bench: Bench, rounds: int) -> Iterator[Line]:
    races = _RACES_A_ROUND * rounds
    for number in (1, 2):
        with ExitStack() as stack:
            servers = [stack.enter_context(bench.server(**{SCOPE: bench.fast})) for _ in range(number)]
            right = asyncio.run(_races(servers, bench.fast, races))
        what = f"races for a name through {number} server{'s' * (number > 1)}: one winner / races"
        yield Line(8, what, "races", right, races, "1.00")


async def _races(servers: Sequence[Server], site: Site, races: int) -> int:
    """Say in how many races one caller won and the others were told that it exists."""
    (image,) = site.new_images(1)
    async with AsyncExitStack() as stack:
        ways: list[Caller] = []
        for server in servers:
            for callers in TRANSPORTS.values():
                ways += await stack.enter_async_context(callers(server, _RACERS // len(TRANSPORTS) // len(servers)))
        racers = list(islice(cycle(ways), _RACERS))
        right = 0
        for number in shown(range(races), f"row 8, {len(servers)} servers"):
            answers = await asyncio.gather(*(_race(call, image, number) for call in racers))
            right += Counter(answer.code for answer in answers) == _OUTCOME
    return right


async def _race(call: Caller, image: str, number: int) -> Answer:
    return await call(request(image, f"race-{number}"), None)
