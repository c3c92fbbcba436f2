"""The faults once more, while images are also resized, rolled back, and rid of their snapshots."""

from dataclasses import replace
from functools import partial

from ..changes import changes
from ..drills import Drill
from ..stage import Scene
from . import client, daemons, servers

__all__ = ["DRILLS"]

_IMAGES = 8
_FAULTS = (
    "OSD frozen",
    "OSD killed and restarted",
    "monitor frozen",
    "client blocklisted in the middle of 64 calls",
    "worker process killed",
)


def _while_changing(fault: Drill, scene: Scene) -> None:
    """Each call is told the truth; then each image is resized, rolled back and deleted."""
    with changes(scene.stage.server, scene.tools, scene.stage.new_images(_IMAGES)) as wrong:
        fault.fault(scene)
    scene.wrong.extend(wrong)


def _drill(fault: Drill) -> Drill:
    return replace(
        fault,
        name=f"delete, rollback, resize: {fault.name.partition(' in the')[0]}",
        fault=partial(_while_changing, fault),
        checks="the images are what was told, and each can be resized, rolled back and deleted",
    )


DRILLS = tuple(_drill(fault) for fault in (*daemons.DRILLS, *client.DRILLS, *servers.DRILLS) if fault.name in _FAULTS)
