"""What other clients do to images and pools while calls on them are in flight."""

import time
from collections.abc import Callable
from contextlib import suppress

from support.cluster import POOL
from support.tools import ToolFailedError
from support.waiting import wait_until

from ..environment import Trial
from ..scenario import Scenario

__all__ = ["SCENARIOS"]

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


def _remove_snapshots(trial: Trial) -> None:
    """Remove what was acknowledged, and what nobody was told of yet."""
    ends = time.monotonic() + trial.environment.pace.calm
    while time.monotonic() < ends:
        for image in trial.images[:_VICTIMS]:
            for snapshot in trial.tools.snapshots(image):
                name = f"{image}@{snapshot['name']}"
                trial.gone.add(name)
                trial.tools.rbd("snap", "rm", "--no-progress", name)


def _delete_images(trial: Trial) -> None:
    """By way of the trash, where nobody makes another snapshot."""

    def delete(pool: str, number: str) -> None:
        trial.tools.rbd("snap", "purge", "--no-progress", "--pool", pool, "--image-id", number)
        trial.tools.rbd("trash", "rm", "--no-progress", f"{pool}/{number}")

    for image in trial.images[:_VICTIMS]:
        trial.gone.add(image)
        _insist(delete, *_trashed(trial, image))


def _rename_images(trial: Trial) -> None:
    """And rename them back, so that what was created before and meanwhile is found under the old name."""
    for image in trial.images[:_VICTIMS]:
        _insist(trial.tools.rbd, "rename", image, f"{image}-renamed")
        time.sleep(trial.environment.pace.calm / _VICTIMS)
        _insist(trial.tools.rbd, "rename", f"{image}-renamed", image)


def _resize_images(trial: Trial) -> None:
    for size in ("32M", "8M", "16M"):
        for image in trial.images[:_VICTIMS]:
            trial.tools.rbd("resize", "--no-progress", "--allow-shrink", "--size", size, image)


def _move_images_to_trash(trial: Trial) -> None:
    for image in trial.images[:_VICTIMS]:
        pool, number = _trashed(trial, image)
        time.sleep(trial.environment.pace.calm / _VICTIMS)
        _insist(trial.tools.rbd, "trash", "restore", f"{pool}/{number}")


def _trashed(trial: Trial, image: str) -> tuple[str, str]:
    """Move an image to the trash. Give its pool, and its id."""
    number = trial.tools.rbd_json("info", image)["id"]
    _insist(trial.tools.rbd, "trash", "mv", image)
    return image.partition("/")[0], number


def _delete_pool(trial: Trial) -> None:
    trial.cluster.create_pool(_POOL)
    images = trial.environment.new_images(8, _POOL)
    trial.gone.update(images)
    with trial.traffic.on(trial.environment.server, images, 16):
        time.sleep(trial.environment.pace.calm)
        trial.cluster.delete_pool(_POOL)
        time.sleep(trial.environment.pace.calm)
    last = {record.image: record.answer.reason for record in trial.traffic.records if record.image in images}
    trial.expect(set(last.values()) == {"POOL_NOT_FOUND"}, f"calls on a pool that was deleted ended with {last}")


def _rename_pool(trial: Trial) -> None:
    """And rename it back. Meanwhile another pool has its name, with images of the same names."""
    for pool in (_POOL, _DECOY):
        trial.cluster.create_pool(pool)
    images = trial.environment.new_images(8, _POOL)
    decoys = {image: f"{_DECOY}/{image.partition('/')[2]}" for image in images}
    for decoy in decoys.values():
        trial.tools.rbd("create", "--size", "8M", decoy)
    calm = trial.environment.pace.calm
    trial.gone.update(images)
    with trial.traffic.on(trial.environment.server, images, 16):
        time.sleep(calm)
        periods = [time.perf_counter()]
        for old, new in ((_POOL, "aside"), (_DECOY, _POOL), (_POOL, _DECOY), ("aside", _POOL)):
            trial.tools.ceph("osd", "pool", "rename", old, new)
            periods.append(time.perf_counter())
            time.sleep(calm / 2)
            periods.append(time.perf_counter())
    left, _, _, away, returns, _, _, back, _ = periods
    for record in trial.traffic.records:
        if record.image not in images or not record.is_ok:
            continue
        asked, came = record.answer.asked, record.answer.came
        place = record.image if came < left or asked > back else decoys[record.image]
        if came < left or asked > back or (away < asked and came < returns):
            made = {snapshot["name"] for snapshot in trial.tools.snapshots(place)}
            trial.expect(record.snapshot in made, f"{record.snapshot} was not made in {place}, which had the name")


def _lose_data_pool(trial: Trial) -> None:
    trial.cluster.create_pool(_POOL)
    images = [f"{POOL}/without-data-{number}" for number in range(4)]
    for image in images:
        trial.tools.rbd("create", "--size", "8M", "--data-pool", _POOL, image)
    trial.gone.update(images)
    with trial.traffic.on(trial.environment.server, images, 8):
        time.sleep(trial.environment.pace.calm)
        trial.cluster.delete_pool(_POOL)
        time.sleep(trial.environment.pace.calm)
    last = {record.image: record.answer.reason for record in trial.traffic.records if record.image in images}
    trial.expect(set(last.values()) == {"DATA_POOL_MISSING"}, f"calls on images without data ended with {last}")


SCENARIOS = (
    Scenario("pool renamed, and back", _rename_pool, brings=_GONE | {"POOL_NOT_FOUND"}),
    Scenario("data pool lost", _lose_data_pool, brings=_GONE | {"DATA_POOL_MISSING", "POOL_MISSING"}),
    Scenario("snapshots removed", _remove_snapshots, brings=_GONE),
    Scenario("images deleted", _delete_images, brings=_GONE),
    Scenario("images renamed, and back", _rename_images, brings=_GONE),
    Scenario("images resized", _resize_images),
    Scenario("images moved to the trash, and restored", _move_images_to_trash, brings=_GONE),
    Scenario("pool deleted", _delete_pool, brings=_GONE | {"POOL_NOT_FOUND"}),
)
