"""All drills, by the stage that they need."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial

from support.cluster import QUICK

from .drills import Drill
from .faults import changes, client, daemons, images, links, locks, servers, space
from .stage import Pace, Stage, staged, staged_on_two_hosts

__all__ = ["PROGRAM"]

PROGRAM: Sequence[tuple[Callable[[Pace], AbstractContextManager[Stage]], Sequence[Drill]]] = (
    (
        staged,
        (
            *daemons.DRILLS,
            *client.DRILLS,
            *images.DRILLS,
            *space.DRILLS,
            *locks.DRILLS,
            *servers.DRILLS,
            *changes.DRILLS,
        ),
    ),
    (partial(staged, shape=replace(QUICK, monitors=3)), daemons.LEADER_DRILLS),
    (partial(staged, shape=space.TINY), space.TINY_DRILLS),
    (staged_on_two_hosts, links.DRILLS),
)
