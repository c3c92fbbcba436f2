"""What other clients do to images and pools while calls on them are in flight."""

import time
from collections.abc import Callable
from contextlib import suppress

from support.cluster import POOL
from support.tools import ToolFailedError
from support.waiting import wait_until

from ..drills import Drill
from ..stage import Scene

__all__ = ["DRILLS"]

_VICTIMS = 4
_POOL = "victim"
_DECOY = "decoy"
_GONE = frozenset({"IMAGE_NOT_FOUND", "VANISHED", "SNAPSHOT_VANISHED", "NAME_CHANGED"})


def _insist(action: Callable[..., object], *words: str) -> None:
    """Do what Ceph refuses as long as somebody has the image open."""

    def succeeds() -> bool:
        with suppress(ToolFailedError):
            action(*words)
            return True
        return False

    wait_until(succeeds)


def _remove_snapshots(scene: Scene) -> None:
    """Remove what was acknowledged, and what nobody was told of yet."""
    ends = time.monotonic() + scene.stage.pace.calm
    while time.monotonic() < ends:
        for image in scene.images[:_VICTIMS]:
            for snapshot in scene.tools.snapshots(image):
                name = f"{image}@{snapshot['name']}"
                scene.gone.add(name)
                scene.tools.rbd("snap", "rm", "--no-progress", name)


def _delete_images(scene: Scene) -> None:
    """By way of the trash, where nobody makes another snapshot."""

    def delete(pool: str, number: str) -> None:
        scene.tools.rbd("snap", "purge", "--no-progress", "--pool", pool, "--image-id", number)
        scene.tools.rbd("trash", "rm", "--no-progress", f"{pool}/{number}")

    for image in scene.images[:_VICTIMS]:
        scene.gone.add(image)
        _insist(delete, *_trashed(scene, image))


def _rename_images(scene: Scene) -> None:
    """And rename them back, so that what was created before and meanwhile is found under the old name."""
    for image in scene.images[:_VICTIMS]:
        _insist(scene.tools.rbd, "rename", image, f"{image}-renamed")
        time.sleep(scene.stage.pace.calm / _VICTIMS)
        _insist(scene.tools.rbd, "rename", f"{image}-renamed", image)


def _resize_images(scene: Scene) -> None:
    for size in ("32M", "8M", "16M"):
        for image in scene.images[:_VICTIMS]:
            scene.tools.rbd("resize", "--no-progress", "--allow-shrink", "--size", size, image)


def _move_images_to_trash(scene: Scene) -> None:
    for image in scene.images[:_VICTIMS]:
        pool, number = _trashed(scene, image)
        time.sleep(scene.stage.pace.calm / _VICTIMS)
        _insist(scene.tools.rbd, "trash", "restore", f"{pool}/{number}")


def _trashed(scene: Scene, image: str) -> tuple[str, str]:
    """Move an image to the trash. Give its pool, and its id."""
    number = scene.tools.rbd_json("info", image)["id"]
    _insist(scene.tools.rbd, "trash", "mv", image)
    return image.partition("/")[0], number


def _delete_pool(scene: Scene) -> None:
    scene.cluster.create_pool(_POOL)
    images = scene.stage.new_images(8, _POOL)
    scene.gone.update(images)
    with scene.traffic.on(scene.stage.server, images, 16):
        time.sleep(scene.stage.pace.calm)
        scene.cluster.delete_pool(_POOL)
        time.sleep(scene.stage.pace.calm)
    last = {record.image: record.answer.reason for record in scene.traffic.records if record.image in images}
    scene.expect(set(last.values()) == {"POOL_NOT_FOUND"}, f"calls on a pool that was deleted ended with {last}")


def _rename_pool(scene: Scene) -> None:
    """And rename it back. Meanwhile another pool has its name, with images of the same names."""
    for pool in (_POOL, _DECOY):
        scene.cluster.create_pool(pool)
    images = scene.stage.new_images(8, _POOL)
    decoys = {image: f"{_DECOY}/{image.partition('/')[2]}" for image in images}
    for decoy in decoys.values():
        scene.tools.rbd("create", "--size", "8M", decoy)
    calm = scene.stage.pace.calm
    scene.gone.update(images)
    with scene.traffic.on(scene.stage.server, images, 16):
        time.sleep(calm)
        periods = [time.perf_counter()]
        for old, new in ((_POOL, "aside"), (_DECOY, _POOL), (_POOL, _DECOY), ("aside", _POOL)):
            scene.tools.ceph("osd", "pool", "rename", old, new)
            periods.append(time.perf_counter())
            time.sleep(calm / 2)
            periods.append(time.perf_counter())
    left, _, _, away, returns, _, _, back, _ = periods
    for record in scene.traffic.records:
        if record.image not in images or not record.is_ok:
            continue
        asked, came = record.answer.asked, record.answer.came
        place = record.image if came < left or asked > back else decoys[record.image]
        if came < left or asked > back or (away < asked and came < returns):
            made = {snapshot["name"] for snapshot in scene.tools.snapshots(place)}
            scene.expect(record.snapshot in made, f"{record.snapshot} was not made in {place}, which had the name")


def _lose_data_pool(scene: Scene) -> None:
    scene.cluster.create_pool(_POOL)
    images = [f"{POOL}/without-data-{number}" for number in range(4)]
    for image in images:
        scene.tools.rbd("create", "--size", "8M", "--data-pool", _POOL, image)
    scene.gone.update(images)
    with scene.traffic.on(scene.stage.server, images, 8):
        time.sleep(scene.stage.pace.calm)
        scene.cluster.delete_pool(_POOL)
        time.sleep(scene.stage.pace.calm)
    last = {record.image: record.answer.reason for record in scene.traffic.records if record.image in images}
    scene.expect(set(last.values()) == {"DATA_POOL_MISSING"}, f"calls on images without data ended with {last}")


DRILLS = (
    Drill("pool renamed, and back", _rename_pool, brings=_GONE | {"POOL_NOT_FOUND"}),
    Drill("data pool lost", _lose_data_pool, brings=_GONE | {"DATA_POOL_MISSING", "POOL_MISSING"}),
    Drill("snapshots removed", _remove_snapshots, brings=_GONE),
    Drill("images deleted", _delete_images, brings=_GONE),
    Drill("images renamed, and back", _rename_images, brings=_GONE),
    Drill("images resized", _resize_images),
    Drill("images moved to the trash, and restored", _move_images_to_trash, brings=_GONE),
    Drill("pool deleted", _delete_pool, brings=_GONE | {"POOL_NOT_FOUND"}),
)
