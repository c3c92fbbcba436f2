"""Faults of the cluster's own processes."""

import time

from support.tools import frozen
from support.waiting import wait_until

from ..drills import Drill
from ..stage import Scene

__all__ = ["DRILLS", "LEADER_DRILLS"]


def _freeze(scene: Scene, name: str) -> None:
    with frozen(scene.cluster.daemons[name]):
        time.sleep(scene.stage.pace.frozen)


def _kill(scene: Scene, *names: str) -> None:
    scene.cluster.kill(*names)
    time.sleep(scene.stage.pace.down)
    scene.cluster.revive(*names)


def _stop_all(scene: Scene) -> None:
    _kill(scene, *scene.cluster.daemons)


def _freeze_beyond_patience(scene: Scene) -> None:
    """As the OSD frozen; for a server whose patience ends before."""
    flags = [f"--ceph-{daemon}-timeout={max(1, scene.stage.pace.frozen // 4):.0f}" for daemon in ("osd", "mon")]
    images = scene.stage.new_images(8)
    with scene.stage.another_server(*flags) as server, scene.traffic.on(server, images, len(images)):
        time.sleep(scene.stage.pace.calm)
        _freeze(scene, "osd.0")
        healed = scene.traffic.success_everywhere(time.perf_counter(), 5.0, images)
        scene.expect(healed is not None, "a server with less patience did not heal within 5 s")


def _kill_leader(scene: Scene) -> None:
    """The others choose another; only at the end it is started again."""
    leader = f"mon.{scene.cluster.command('quorum_status')['quorum_leader_name']}"
    scene.cluster.kill(leader)
    scene.at_end.callback(scene.cluster.revive, leader)
    wait_until(lambda: leader != f"mon.{scene.cluster.command('quorum_status')['quorum_leader_name']}")


DRILLS = (
    Drill("OSD frozen", lambda scene: _freeze(scene, "osd.0")),
    Drill("OSD frozen for longer than the timeouts", _freeze_beyond_patience),
    Drill("OSD killed and restarted", lambda scene: _kill(scene, "osd.0")),
    Drill("monitor frozen", lambda scene: _freeze(scene, "mon.a")),
    Drill("monitor killed and restarted", lambda scene: _kill(scene, "mon.a")),
    Drill("whole cluster stopped and started", _stop_all),
)

# With three monitors.
LEADER_DRILLS = (Drill("leader of three monitors killed", _kill_leader),)
