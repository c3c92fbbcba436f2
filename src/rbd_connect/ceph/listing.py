"""Listing the images of a cluster. All of it blocks."""

import errno
import logging
import queue
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import rados
import rbd

from ..errors import NotFoundError
from ..progress import phase
from ..spec import ImageSpec
from .errnos import tells_of_lost_connection
from .image_info import Image, read_image
from .pools import holds_images, mon_command

__all__ = ["list_images"]

# Twice as many make a list a tenth faster, and another's create beside it take half as long again.
_AT_ONCE = 8
_PATIENCE_SECONDS = 10.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Place:
    """A pool or one of its namespaces, and the names of the images there."""

    ioctx: rados.Ioctx
    pool: str
    namespace: str
    names: Sequence[str]

    def spec(self, scope: str, name: str) -> ImageSpec:
        return ImageSpec(scope=scope, pool=self.pool, namespace=self.namespace, image=name)


def list_images(
    connection: rados.Rados, scope: str, check: Callable[[rados.Ioctx], None], *, diff_budget: int
) -> list[Image]:
    """List the images of all pools that are tagged for RBD, in all namespaces: by pool, namespace and name.

    An image that is deleted meanwhile is left out. Of one that cannot be opened, or that keeps the others waiting, only
    the name is given, and the log says why. So it is with pools for which the user has no caps: they are left out.

    ``check`` raises rados.PermissionError where it is barred from all of them. ``diff_budget`` bounds, in objects for
    each snapshot, what is spent on used bytes.

    Raises what the bindings raise where a pool cannot be listed.
    """
    pools = mon_command(connection, "osd pool ls", detail="detail")
    names = sorted(pool["pool_name"] for pool in pools if holds_images(pool))
    with _executor() as executor:
        with phase("list"):
            places = [place for found in executor.map(partial(_places, connection, check), names) for place in found]
        specs = [(place, place.spec(scope, name)) for place in places for name in place.names]
        with phase("images"):
            return list(_read(executor, specs, diff_budget))


@contextmanager
def _executor() -> Iterator[ThreadPoolExecutor]:
    """Give threads that nobody waits for at the end: librbd may keep one for as long as its timeouts allow."""
    executor = ThreadPoolExecutor(_AT_ONCE)
    try:
        yield executor
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


def _places(connection: rados.Rados, check: Callable[[rados.Ioctx], None], pool: str) -> list[_Place]:
    """List the images of a pool (``rbd_namespace_list``, ``rbd_list2``). What has gone, or is barred, has none."""
    try:
        ioctx = connection.open_ioctx(pool)
        check(ioctx)
        return [_place(connection, pool, namespace) for namespace in ["", *sorted(rbd.RBD().namespace_list(ioctx))]]
    except (rados.ObjectNotFound, rbd.ImageNotFound):
        return []
    except (rados.PermissionError, rbd.PermissionError):
        _log.warning("the images of pool %r are not listed: the Ceph user has no capability for it", pool)
        return []


def _place(connection: rados.Rados, pool: str, namespace: str) -> _Place:
    # It is closed with the last image that is read by it, which may be later than this call.
    ioctx = connection.open_ioctx(pool)
    ioctx.set_namespace(namespace)
    return _Place(ioctx, pool, namespace, sorted(rbd.RBD().list(ioctx)))


def _read(executor: ThreadPoolExecutor, specs: Sequence[tuple[_Place, ImageSpec]], diff_budget: int) -> Iterator[Image]:
    """Read images side by side, and give them in their order."""
    ended: queue.SimpleQueue[Future[Image | None]] = queue.SimpleQueue()
    futures = [executor.submit(_read_one, place.ioctx, spec, diff_budget) for place, spec in specs]
    for future in futures:
        future.add_done_callback(ended.put)
    _wait(ended, len(futures))
    are_read = [future.done() for future in futures]
    if futures and not any(are_read):
        raise rbd.Timeout("no image was read", errno=errno.ETIMEDOUT)
    images = [
        future.result() if is_read else _known_by_name(spec, "it keeps the others waiting")
        for future, is_read, (_, spec) in zip(futures, are_read, specs, strict=True)
    ]
    not_found = [place_and_spec for place_and_spec, image in zip(specs, images, strict=True) if image is None]
    still_there = _still_there(not_found)
    for (_, spec), image in zip(specs, images, strict=True):
        if image is not None:
            yield image
        elif spec in still_there:
            yield _known_by_name(spec, "it was made or deleted by halves")


def _wait(ended: "queue.SimpleQueue[Future[Image | None]]", number: int) -> None:
    """Return when so many have ended, or none has for a while."""
    for _ in range(number):
        try:
            ended.get(timeout=_PATIENCE_SECONDS)
        except queue.Empty:
            return


def _read_one(ioctx: rados.Ioctx, spec: ImageSpec, diff_budget: int) -> Image | None:
    """Read an image; None where it is not found. Raises what the bindings raise where the connection is lost."""
    try:
        return read_image(ioctx, spec, diff_budget=diff_budget)
    except NotFoundError:
        return None
    except (rados.Error, rbd.Error) as error:
        if tells_of_lost_connection(error):
            raise
        return _known_by_name(spec, str(error))


def _still_there(specs: Iterable[tuple[_Place, ImageSpec]]) -> set[ImageSpec]:
    """Say which images are still listed."""
    places = {id(place): (place, spec.scope) for place, spec in specs}
    return {place.spec(scope, name) for place, scope in places.values() for name in rbd.RBD().list(place.ioctx)}


def _known_by_name(spec: ImageSpec, reason: str) -> Image:
    _log.warning("of image %s/%s only the name is listed: %s", spec.pool_name, spec.image, reason)
    return Image(name=spec.image, pool=spec.pool, namespace=spec.namespace, facts=None)
