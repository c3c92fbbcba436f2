"""What a drill is, and how one goes."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from .stage import Scene, Stage
from .traffic import Record
from .verdict import Verdict, judge, look

__all__ = ["Drill", "Report", "run"]

_PATIENCE_SECONDS = 120.0
# What `rbd snap create` takes during the calls of a drill, at the most. Where a machine is too busy for that, healing
# may take as much longer as that does.
_YARDSTICK_SECONDS = 0.5


@dataclass(frozen=True)
class Drill:
    """``fault`` breaks something and mends it. All is healthy as soon as `rbd` makes a snapshot after that.

    ``heals_within`` are the seconds from then until a call on a quiet image has succeeded, ``everywhere_within`` those
    until one has on each image. ``brings`` are the reasons of errors that are no surprise, besides those of a cluster
    in trouble. ``takes_long`` tells drills that wait for what Ceph does after half a minute.
    """

    name: str
    fault: Callable[[Scene], None]
    checks: str = ""
    callers: int = 32
    heals_within: float = 5.0
    everywhere_within: float = 10.0
    brings: frozenset[str] = frozenset()
    takes_long: bool = False


@dataclass(frozen=True)
class Report:
    """What a drill showed. It healed, and did on each image, after so many seconds; None where it never did."""

    drill: Drill
    records: list[Record]
    heal: float | None
    everywhere: float | None
    verdict: Verdict

    @property
    def is_fine(self) -> bool:
        return not self.verdict.wrong


def run(drill: Drill, stage: Stage) -> Report:
    """Keep calling while something is broken and mended, and see what became of each call."""
    scene = Scene.on(stage)
    with scene.traffic.on(stage.server, scene.images, drill.callers):
        scene.traffic.success_everywhere(time.perf_counter(), _PATIENCE_SECONDS, scene.images[: drill.callers])
        time.sleep(stage.pace.calm)
        slowness = max(1.0, _snap_create(scene, "before") / _YARDSTICK_SECONDS)
        drill.fault(scene)
        _snap_create(scene, "healthy")
        healthy = time.perf_counter()
        left = [image for image in scene.images[: drill.callers] if image not in scene.gone]
        heal = scene.traffic.first_success(stage.server, scene.quiet_image, _PATIENCE_SECONDS)
        everywhere = scene.traffic.success_everywhere(healthy, _PATIENCE_SECONDS, left)
        time.sleep(stage.pace.calm)
    scene.at_end.close()
    records = scene.traffic.records
    looked = look(stage.tools, {record.image for record in records} - scene.gone)
    verdict = judge(records, looked, scene.gone, drill.brings)
    for seconds, limit in ((heal, drill.heals_within), (everywhere, drill.everywhere_within)):
        allowed = limit * slowness
        scene.expect(
            seconds is not None and seconds <= allowed, f"it healed after {seconds} s, not within {allowed:.2g}"
        )
    return Report(drill, records, heal, everywhere, replace(verdict, wrong=[*verdict.wrong, *scene.wrong]))


def _snap_create(scene: Scene, name: str) -> float:
    """Make a snapshot by `rbd`, and give the seconds it took."""
    started = time.perf_counter()
    scene.tools.rbd("snap", "create", "--no-progress", f"{scene.witness}@{name}")
    return time.perf_counter() - started
