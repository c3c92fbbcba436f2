"""The same work as the server's, by the bare bindings."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import rados
import rbd

from rbd_connect.ceph.objects import object_map
from support.cluster import POOL

__all__ = ["create", "create_many", "seconds_for"]


def create(connection: rados.Rados, name: str, snapshot: str = "s") -> dict[str, float]:
    """Create a snapshot of an image and describe it. Give the time that each phase took, in seconds."""
    times: dict[str, float] = {}

    @contextmanager
    def timed(phase: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        times[phase] = time.perf_counter() - started

    with timed("the call"):
        ioctx = connection.open_ioctx(POOL)
        with timed("open"):
            image = rbd.Image(ioctx, name)
        with timed("create"):
            image.create_snap(snapshot)
        with timed("refresh"):
            listed = next(found for found in image.list_snaps() if found["name"] == snapshot)
        image.is_protected_snap(snapshot)
        with timed("usage"):
            _usage(ioctx, image, listed)
        with timed("close"):
            image.close()
        ioctx.close()
    return times


def create_many(connection: rados.Rados, images: list[str], snapshots: Sequence[str]) -> float:
    """Create snapshots of each image one after the other, on as many threads. Give the seconds it took."""

    def create_all(image: str) -> None:
        for snapshot in snapshots:
            create(connection, image, snapshot)

    return seconds_for(create_all, images)


def seconds_for(function: Callable[[str], object], images: list[str]) -> float:
    """Time a function that is called with each image on a thread of its own, all at once."""
    with ThreadPoolExecutor(len(images)) as pool:
        started = time.perf_counter()
        list(pool.map(function, images))
        return time.perf_counter() - started


def _usage(ioctx: rados.Ioctx, image: rbd.Image, snapshot: Mapping[str, Any]) -> int:
    """Read the used bytes of an image's only snapshot."""
    image.set_snap_by_id(snapshot["id"])
    image.flags()
    stat = image.stat()
    length = object_map.encoded_size(stat["num_objs"])
    decoded = object_map.ObjectMap.decode(ioctx.read(object_map.object_name(image.id(), snapshot["id"]), length=length))
    return object_map.used_bytes(decoded, None, size=snapshot["size"], object_size=stat["obj_size"])
