"""All scenarios, by the environment that they need."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial

from support.cluster import QUICK

from .environment import Environment, Pace, running_environment, staged_on_two_hosts
from .faults import changes, client, daemons, images, links, locks, servers, space
from .scenario import Scenario

__all__ = ["PROGRAM"]

PROGRAM: Sequence[tuple[Callable[[Pace], AbstractContextManager[Environment]], Sequence[Scenario]]] = (
    (
        running_environment,
        (
            *daemons.SCENARIOS,
            *client.SCENARIOS,
            *images.SCENARIOS,
            *space.SCENARIOS,
            *locks.SCENARIOS,
            *servers.SCENARIOS,
            *changes.SCENARIOS,
        ),
    ),
    (partial(running_environment, shape=replace(QUICK, monitors=3)), daemons.LEADER_DRILLS),
    (partial(running_environment, shape=space.TINY), space.TINY_DRILLS),
    (staged_on_two_hosts, links.SCENARIOS),
)
