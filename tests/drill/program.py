"""All drills, by the shape of the cluster that they need."""

from collections.abc import Sequence

from rbd_connect.devcluster import Shape
from support.cluster import QUICK

from .drills import Drill
from .faults import client, daemons

__all__ = ["PROGRAM"]

_THREE_MONITORS = Shape(paxos_propose_interval=0.01, monitors=3)

PROGRAM: Sequence[tuple[Shape, Sequence[Drill]]] = (
    (QUICK, (*daemons.DRILLS, *client.DRILLS)),
    (_THREE_MONITORS, daemons.LEADER_DRILLS),
)
