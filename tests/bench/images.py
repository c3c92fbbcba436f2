"""Row 9: listing a thousand images with their snapshots, against `rbd` and the bindings; what others notice of it."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from http.client import HTTPConnection

import rados
import rbd

from otterscale.storage.v1.storage_pb2 import (
    CreateImageSnapshotRequest,
    DeleteImageSnapshotRequest,
    ListImagesRequest,
    ListImagesResponse,
)
from support.cluster import POOL, SCOPE
from support.server import Server

from .progress import shown
from .table import Line, percentile
from .timing import medians, milliseconds
from .unread import WAYS, Call, Way, get, over_connect
from .workbench import Bench, Site

__all__ = ["measure"]

_IMAGES = 1000
_SNAPSHOTS = 5
_IMAGE_BYTES = 64 << 20
_OBJECT_BYTES = 4 << 20
_WRITTEN_OBJECTS = 2  # before each snapshot, and after the last
_MADE_AT_ONCE = 16
_CALLERS = 16
_SECONDS_A_ROUND = 5
_PAUSE_SECONDS = 0.01
_REQUEST = ListImagesRequest(scope=SCOPE)


def measure(bench: Bench, rounds: int) -> Iterator[Line]:
    with bench.fresh_site() as site:
        _fill(site)
        with bench.server(**{SCOPE: site}) as server:
            _check(server, site)
            yield from _listing(server, site, rounds)
            (quiet,) = site.new_images(1)
            yield from _beside(server, quiet, rounds)


def _fill(site: Site) -> None:
    names = site.new_images(_IMAGES, _IMAGE_BYTES)
    with ThreadPoolExecutor(_MADE_AT_ONCE) as pool:
        made = pool.map(partial(_fill_one, site), names)
        for _ in shown(range(_IMAGES), f"row 9, writing to {_IMAGES:,} images"):
            next(made)


def _fill_one(site: Site, name: str) -> None:
    """Write to some objects of an image before each snapshot, and after the last."""
    with site.connection.open_ioctx(POOL) as ioctx, rbd.Image(ioctx, name) as image:
        for number in range(_SNAPSHOTS + 1):
            for which in range(_WRITTEN_OBJECTS):
                image.write(b"x", (_WRITTEN_OBJECTS * number + which) * _OBJECT_BYTES)
            if number < _SNAPSHOTS:
                image.create_snap(f"s{number}")


def _check(server: Server, site: Site) -> None:
    """Connect; see that all tell the same."""
    used = _one_by_one(site)
    for way in WAYS.values():
        with way(server) as call:
            images = ListImagesResponse.FromString(call("ListImages", _REQUEST)).images
        assert [len(image.snapshots) for image in images] == [_SNAPSHOTS] * _IMAGES
        assert sum(image.used_bytes + sum(each.used_bytes for each in image.snapshots) for image in images) == used


def _listing(server: Server, site: Site, rounds: int) -> Iterator[Line]:
    ways: dict[str, Callable[[], object]] = {
        **{name: partial(_list_at_once, way, server, 1) for name, way in WAYS.items()},
        "at once": partial(_list_at_once, over_connect, server, _CALLERS),
        "ls": partial(site.tools.rbd, "ls", "--long", POOL),
        # With the two threads that it has by default, `rbd` 16.2.15 aborts or hangs in every other such run.
        "du": partial(site.tools.rbd, "--librados-thread-count=1", "du", "--pool", POOL),
        "bare": partial(_one_by_one, site),
    }
    took = {name: taken / 1000 for name, taken in medians(ways, rounds, "row 9, listing").items()}
    for name in WAYS:
        what = f"{_IMAGES:,} images, {_SNAPSHOTS} snapshots each, {name} / `rbd ls -l`"
        yield Line(9, what, "s", took[name], took["ls"], "at most 1")
    yield Line(9, "  Connect / `rbd du`", "s", took["Connect"], took["du"])
    yield Line(9, "  Connect / bare, in turn: list_snaps, diff_iterate", "s", took["Connect"], took["bare"])
    yield Line(9, f"  {_CALLERS} callers at once / one, Connect", "s", took["at once"], took["Connect"])


def _list_at_once(way: Way, server: Server, callers: int) -> None:
    with ExitStack() as stack, ThreadPoolExecutor(callers) as pool:
        calls = [stack.enter_context(way(server)) for _ in range(callers)]
        list(pool.map(lambda call: call("ListImages", _REQUEST), calls))


def _one_by_one(site: Site) -> int:
    """Read the images one after the other by the bare bindings. Give the used bytes of all."""
    ioctx = site.connection.open_ioctx(POOL)
    return sum(_used(ioctx, name) for name in rbd.RBD().list(ioctx))


def _used(ioctx: rados.Ioctx, name: str) -> int:
    """Sum the used bytes of an image and its snapshots as `rbd du` tells them (``rbd_diff_iterate2``)."""
    used = 0

    def add(_offset: int, length: int, exists: bool) -> None:  # noqa: FBT001 - librbd's own signature
        nonlocal used
        if exists:
            used += length

    with rbd.Image(ioctx, name, read_only=True) as image:
        since = None
        for snapshot in (*(listed["name"] for listed in image.list_snaps()), None):
            image.set_snap(snapshot)
            image.diff_iterate(0, image.size(), since, add, include_parent=False, whole_object=True)
            since = snapshot
    return used


def _beside(server: Server, quiet: str, rounds: int) -> Iterator[Line]:
    """Measure others' calls while images are listed, and while they are not."""
    alone: dict[str, list[float]] = defaultdict(list)
    beside: dict[str, list[float]] = defaultdict(list)
    with closing(HTTPConnection(server.address)) as connection, over_connect(server) as call:
        others = {
            "GET /healthz": partial(_healthz, connection),
            "a create on a quiet image": partial(_create, call, quiet),
        }
        for _ in shown(range(rounds), "row 9, others"):
            for name, function in others.items():
                alone[name] += _again_and_again(function)
                with _lists_back_to_back(server):
                    beside[name] += _again_and_again(function)
    for name in others:
        for percent in (50, 99, 100):
            what = f"  {name} beside lists / alone, p{percent}"
            yield Line(9, what, "ms", percentile(beside[name], percent), percentile(alone[name], percent))


def _healthz(connection: HTTPConnection) -> float:
    return milliseconds(lambda: get(connection, "/healthz"))


def _create(call: Call, image: str) -> float:
    """Take a snapshot, and delete it when the time is taken."""
    snapshot = {"scope": SCOPE, "pool_name": POOL, "image_name": image, "snapshot_name": "s"}
    taken = milliseconds(lambda: call("CreateImageSnapshot", CreateImageSnapshotRequest(**snapshot)))
    call("DeleteImageSnapshot", DeleteImageSnapshotRequest(**snapshot))
    return taken


def _again_and_again(function: Callable[[], float]) -> list[float]:
    """Call a function for a while; it gives the milliseconds that count."""
    taken = []
    ends = time.perf_counter() + _SECONDS_A_ROUND
    while time.perf_counter() < ends:
        taken.append(function())
        time.sleep(_PAUSE_SECONDS)  # else it would be the load
    return taken


@contextmanager
def _lists_back_to_back(server: Server) -> Iterator[None]:
    """Have images listed one time after the other meanwhile."""
    ended = threading.Event()

    def keep_listing() -> None:
        with over_connect(server) as call:
            while not ended.is_set():
                call("ListImages", _REQUEST)

    with ThreadPoolExecutor(1) as pool:
        listing = pool.submit(keep_listing)
        try:
            yield
        finally:
            ended.set()
        listing.result()
