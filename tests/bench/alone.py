"""Row 1: one call, alone; by phase, as the server's log has them."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from support.callers import TRANSPORTS, Callers, request
from support.cluster import POOL, SCOPE
from support.server import Server, phases

from . import bare
from .progress import shown
from .table import Line
from .workbench import Bench, Site

__all__ = ["measure"]

# What the bare binding does without: see docs/api.md on retries.
_OURS = ("lock", "unlock")
_PHASES = ("open", "lock", "create", "unlock", "refresh", "usage", "close")
_TARGETS = {0.01: "at most 1.15", 1.0: "at most 1.02"}

Times = Mapping[str, Sequence[float]]


def measure(bench: Bench, rounds: int) -> Iterator[Line]:
    for site, calls in ((bench.fast, 20 * rounds), (bench.default, 5 * rounds)):
        with bench.server(**{SCOPE: site}) as server:
            times = _times(site, server, calls)
        the_bare = median(times["bare"])
        for name in TRANSPORTS:
            what = f"a call, {name}, paxos {site.interval:g} s / bare"
            yield Line(1, what, "ms", median(times[name]), the_bare, _TARGETS[site.interval])
        yield Line(1, f"`rbd snap create`, paxos {site.interval:g} s / bare", "ms", median(times["rbd"]), the_bare)
        if site is bench.fast:
            for phase in _PHASES:
                against = None if phase in _OURS else median(times[f"bare {phase}"])
                yield Line(1, f"  {phase}", "ms", median(times[f"Connect {phase}"]), against)


def _times(site: Site, server: Server, calls: int) -> Times:
    """Take snapshots in every way in turn, of fresh images. Milliseconds."""
    times = defaultdict(list)
    for number in shown(range(-2, calls), f"row 1, paxos {site.interval:g} s"):
        *images, by_hand, by_rbd = site.new_images(len(TRANSPORTS) + 2)
        taken = {}
        for (name, callers), image in zip(TRANSPORTS.items(), images, strict=True):
            taken[name] = asyncio.run(_call(callers, server, image))
            for phase, milliseconds in phases(server, image).items():
                taken[f"{name} {phase}"] = milliseconds
        for phase, seconds in bare.create(site.connection, by_hand).items():
            taken["bare" if phase == "the call" else f"bare {phase}"] = seconds * 1000
        taken["rbd"] = _by_rbd(site, by_rbd)
        if number >= 0:  # the first ones connect and warm up
            for name, milliseconds in taken.items():
                times[name].append(milliseconds)
    return times


async def _call(callers: Callers, server: Server, image: str) -> float:
    async with callers(server, 1) as (call,):
        answer = await call(request(image), None)
    assert answer.code is None, answer
    return answer.seconds * 1000


def _by_rbd(site: Site, image: str) -> float:
    started = time.perf_counter()
    site.tools.rbd("--no-progress", "snap", "create", f"{POOL}/{image}@s")
    return (time.perf_counter() - started) * 1000
