"""Other clients that have an image open and write: alive, frozen, killed."""

import signal
import time
from collections.abc import Callable

import rbd

from ..drills import Drill
from ..point_in_time import Writer, problems, writing
from ..stage import Scene

__all__ = ["DRILLS"]

# As long as Ceph waits for a client that has the lock and says nothing, and a little for what follows.
_PATIENCE_SECONDS = 45.0
_UNNOTICED_SECONDS = 5.0


def _alive(scene: Scene, features: int | None = None) -> None:
    """Its numbers say whether each snapshot is a point in time."""
    images = scene.stage.new_images(2, features=features)
    for image in images:
        with writing(scene.tools, image, scene.stage.folder) as writer:
            with scene.traffic.on(scene.stage.server, [image], 2):
                time.sleep(4 * scene.stage.pace.calm)
            writer.kill()
            scene.wrong.extend(problems(scene.tools, writer, scene.traffic.records))


def _without_lock(scene: Scene) -> None:
    _alive(scene, rbd.RBD_FEATURE_LAYERING)


def _stopped(scene: Scene, stop: Callable[[Writer], None]) -> None:
    """The server's next call on the image takes the lock from it; the other images do not notice."""
    image = scene.stage.new_images(1)[0]
    with writing(scene.tools, image, scene.stage.folder) as writer:
        stop(writer)
        stopped = time.perf_counter()
        with scene.traffic.on(scene.stage.server, [image], 2):
            taken = scene.traffic.success_everywhere(stopped, _PATIENCE_SECONDS, [image])
            others = scene.traffic.success_everywhere(stopped, _PATIENCE_SECONDS, scene.images)
        scene.expect(taken is not None, f"no call got the lock from a writer within {_PATIENCE_SECONDS:g} s")
        scene.expect(others is not None and others < _UNNOTICED_SECONDS, f"other images took {others} s meanwhile")


def _frozen(scene: Scene) -> None:
    _stopped(scene, lambda writer: writer.send_signal(signal.SIGSTOP))


def _killed(scene: Scene) -> None:
    _stopped(scene, Writer.kill)


_CHECKS = "each snapshot has all that was acknowledged before it was asked for, and nothing issued after its answer"

DRILLS = (
    Drill("exclusive lock held by a live writer", _alive, checks=_CHECKS),
    Drill("a live writer without exclusive lock", _without_lock, checks=_CHECKS),
    Drill(
        "exclusive lock held by a frozen writer", _frozen, checks="the lock is taken over within 45 s", takes_long=True
    ),
    Drill(
        "exclusive lock held by a writer that was killed",
        _killed,
        checks="the lock is taken over within 45 s",
        takes_long=True,
    ),
)
