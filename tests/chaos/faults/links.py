"""The network between the server and the cluster: cut, slow, and coming and going."""

import time

from ..drills import Drill
from ..stage import Scene

__all__ = ["DRILLS"]

_ROUND_TRIP_SECONDS = 0.5
_PATIENCE_SECONDS = 120.0  # for a call under way then: it takes dozens of round trips
_FLAP_SECONDS = 1.0


def _cut_osd(scene: Scene) -> None:
    (osd,) = scene.cluster.command("osd dump")["osds"]
    port = int(osd["public_addrs"]["addrvec"][0]["addr"].rpartition(":")[2])
    with scene.stage.network.cut([port]):
        time.sleep(scene.stage.pace.frozen)


def _cut_all(scene: Scene) -> None:
    with scene.stage.network.cut():
        time.sleep(scene.stage.pace.frozen)


def _delay(scene: Scene) -> None:
    """Calls go on, slowly."""
    with scene.stage.network.delayed(_ROUND_TRIP_SECONDS / 2):
        began = time.perf_counter()
        slowest = scene.traffic.success_everywhere(began, _PATIENCE_SECONDS, scene.images[:1])
        scene.expect(slowest is not None, f"no call succeeded within {_PATIENCE_SECONDS:g} s")


def _flap(scene: Scene) -> None:
    ends = time.monotonic() + scene.stage.pace.frozen
    while time.monotonic() < ends:
        with scene.stage.network.cut():
            time.sleep(_FLAP_SECONDS)
        time.sleep(_FLAP_SECONDS)


# On two hosts.
DRILLS = (
    Drill("network to the OSD cut", _cut_osd),
    Drill("network to the cluster cut", _cut_all),
    Drill("network delayed by 500 ms", _delay, checks="calls succeed meanwhile"),
    Drill("network flapping", _flap),
)
