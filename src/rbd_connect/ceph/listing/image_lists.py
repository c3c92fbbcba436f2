"""Listing the images of a cluster: each namespace of each pool by itself, so that the list is as good as its best
parts. All of it blocks.
"""

import logging
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

import rados
import rbd

from rbd_connect.ceph.errors import tells_of_lost_connection
from rbd_connect.ceph.images.info import read_image
from rbd_connect.ceph.objects.async_calls import open_handle
from rbd_connect.ceph.objects.directory import Names, read_image_names, read_namespace_names
from rbd_connect.ceph.pools.info import holds_images, mon_command, readable_pools
from rbd_connect.ceph.pools.pool_namespace import PoolNamespace
from rbd_connect.ceph.workarounds.migration_source import is_source_barred
from rbd_connect.common.call_context import phase
from rbd_connect.model.resources import Image

from .attended_time import AttendedTime
from .directory_reads import NameReads
from .image_reads import ImageReads, Result
from .omissions import Unlisted, check_something_was_read, report
from .unanswered import Unanswered

__all__ = ["ImageLists"]

_LOOK_SECONDS = 0.1

_log = logging.getLogger(__name__)


class ImageLists:
    """Lists of a cluster's images, one at a time. What Ceph has not answered for is known to those that follow."""

    def __init__(self, check: Callable[[rados.Ioctx], None], namespaces: Collection[str]) -> None:
        """``check`` raises rados.PermissionError where the client is barred from all pools.

        ``namespaces`` are looked into, as ``pool/namespace``, also where those of the pool cannot be listed.
        """
        self._check = check
        self._namespaces = [tuple(name.split("/", 1)) for name in namespaces]
        self._unanswered = Unanswered()

    @property
    def is_waiting(self) -> bool:
        """Say whether Ceph has not answered something that a list, also one that has ended, has asked for."""
        return bool(self._unanswered)

    def list_images(self, connection: rados.Rados, scope: str, *, diff_budget: int) -> list[Image]:
        """List the images of all pools that are tagged for RBD, in all namespaces: by pool, namespace and name.

        An image that is deleted meanwhile is left out. Of one that cannot be opened, or that Ceph does not answer for,
        only the name is given. A pool or a namespace that cannot be read is left out. The log says which, and why.

        ``diff_budget`` bounds, in objects for each snapshot, what is spent on used bytes.

        Raises what the bindings raise where the connection is lost, or all that there is is barred; and CephError where
        nothing could be read.
        """
        with phase("list"):
            listing = _Listing(connection, scope, self._unanswered, diff_budget)
            for pool in readable_pools(mon_command(connection, "osd pool ls", detail="detail")):
                if holds_images(pool):
                    named = [name for of, name in self._namespaces if of == pool["pool_name"]]
                    listing.add_pool(pool, named)
            listing.find_images(self._check)
        with phase("images"):
            listing.read_images()
        units = listing.units
        report(units)
        check_something_was_read(units)
        return [image for unit in units for image in _images_of(unit)]


@dataclass(slots=True, eq=False)
class _Unit(Unlisted):
    """A place whose images are listed, and what became of it."""

    ioctx: rados.Ioctx | None = None


def _images_of(unit: _Unit) -> Iterator[Image]:
    for name, result in sorted(unit.results.items()):
        if result.image is not None:
            yield result.image
        elif result.is_only_name:
            yield Image(name=name, pool=unit.place.pool, namespace=unit.place.namespace, facts=None)


class _Listing:
    """One list. Its methods are for one thread, on which all that comes from others is taken up too."""

    def __init__(self, connection: rados.Rados, scope: str, unanswered: Unanswered, diff_budget: int) -> None:
        self._connection = connection
        self._scope = scope
        self._diff_budget = diff_budget
        self._events: SimpleQueue[Callable[[], None]] = SimpleQueue()
        time = AttendedTime(longest_step=2 * _LOOK_SECONDS)
        self._names = NameReads(self._events, unanswered, time)
        self._images = ImageReads(self._read, self._events, unanswered, time)
        self._units: dict[PoolNamespace, _Unit] = {}

    @property
    def units(self) -> Sequence[_Unit]:
        """What there is, by pool and namespace."""
        return [self._units[place] for place in sorted(self._units, key=lambda place: (place.pool, place.namespace))]

    def add_pool(self, pool: Mapping[str, Any], namespaces: Collection[str]) -> None:
        """List a pool, as `osd pool ls` has it: its default namespace, those that it has, and those that are named."""
        default = self._add(PoolNamespace(pool_id=pool["pool_id"], pool=pool["pool_name"], namespace=""))
        if default is None or default.ioctx is None:
            return
        for namespace in namespaces:
            self._add(PoolNamespace(pool_id=pool["pool_id"], pool=pool["pool_name"], namespace=namespace))
        default.has_named_namespaces = bool(namespaces)
        self._names.read(
            (default.place, "namespaces"),
            partial(read_namespace_names, default.ioctx),
            partial(self._add_namespaces, default),
        )

    @property
    def _is_all_readable(self) -> bool:
        """Whether all that is listed is known to be readable for the Ceph user."""
        return self._names.is_idle and all(unit.error is None for unit in list(self._units.values()))

    def find_images(self, check: Callable[[rados.Ioctx], None]) -> None:
        """Read the directories, and begin with their images."""
        any_ioctx = next((unit.ioctx for unit in self._units.values() if unit.ioctx is not None), None)
        if any_ioctx is not None:
            threading.Thread(target=self._see_that_we_are_let_in, args=(check, any_ioctx), daemon=True).start()
        self._run(lambda: self._names.is_idle)

    def read_images(self) -> None:
        """Wait for the images, and let the threads go that read them."""
        self._run(lambda: self._names.is_idle and self._images.is_idle)
        self._images.close()

    def _run(self, is_done: Callable[[], bool]) -> None:
        try:
            while True:
                self._names.go_on()
                self._images.go_on()
                if is_done():
                    return
                try:
                    event = self._events.get(timeout=_LOOK_SECONDS)
                except Empty:
                    continue
                event()
        except BaseException:
            self._images.close()
            raise

    def _see_that_we_are_let_in(self, check: Callable[[rados.Ioctx], None], ioctx: rados.Ioctx) -> None:
        """Find out, on a thread, whether the OSDs answer this client at all."""
        try:
            check(ioctx)
        except rados.PermissionError as error:
            self._events.put(partial(self._names.fail, error))
        except rados.Error as error:
            _log.warning("it is unknown whether the OSDs let this client in: %s", error)

    def _add(self, place: PoolNamespace) -> _Unit | None:
        """List a place. Gives None where there is no such pool any more, or the place is listed already."""
        if place in self._units:
            return None
        unit = _Unit(place)
        try:
            ioctx = open_handle(self._connection, place.pool_id, place.namespace)
        except rados.ObjectNotFound:
            return None
        except rados.Error as error:
            unit.error = error
        else:
            unit.ioctx = ioctx
            self._names.read((place, "images"), partial(read_image_names, ioctx), partial(self._found, unit))
        self._units[place] = unit
        return unit

    def _add_namespaces(self, default: _Unit, found: Names | Exception) -> None:
        if isinstance(found, Exception):
            _raise_if_lost(found)
            default.namespaces_error = found
            return
        default.unreadable_namespaces = found.unreadable
        for namespace in found.readable:
            self._add(PoolNamespace(pool_id=default.place.pool_id, pool=default.place.pool, namespace=namespace))

    def _found(self, unit: _Unit, found: Names | Exception) -> None:
        if isinstance(found, Exception):
            _raise_if_lost(found)
            unit.error = found
            return
        unit.unreadable = found.unreadable
        if found.readable:
            self._images.add(unit.place, found.readable, partial(self._were_read, unit))

    def _were_read(self, unit: _Unit, results: Mapping[str, Result]) -> None:
        """Take what became of a place's images. Look again whether those that were not found are still listed."""
        unit.results = results
        if any(result.is_missing for result in results.values()):
            assert unit.ioctx is not None  # noqa: S101 - its directory was read by it
            self._names.read(
                (unit.place, "images"), partial(read_image_names, unit.ioctx), partial(self._looked_again, unit)
            )

    def _looked_again(self, unit: _Unit, found: Names | Exception) -> None:
        still_listed = unit.results.keys() if isinstance(found, Exception) else set(found.readable)
        half = Result(None, "it is listed and cannot be found: it, or what it was cloned from, is there by halves")
        unit.results = {
            name: half if result.is_missing and name in still_listed else result
            for name, result in unit.results.items()
        }

    def _read(self, place: PoolNamespace, name: str, tell: Callable[[Image], None] | None) -> Result:
        """Read an image, on a thread. Raises what the bindings raise where the connection is lost."""
        ioctx = self._units[place].ioctx
        assert ioctx is not None  # noqa: S101 - its name was read by it
        spec = place.spec(self._scope, name)
        try:
            if not self._is_all_readable and is_source_barred(self._connection, ioctx, name):
                return Result(None, "it is under migration from an image that the Ceph user may not read")
            if tell is None:
                return Result(read_image(ioctx, spec, diff_budget=None), "they are not asked for, since others hang")
            return Result(read_image(ioctx, spec, diff_budget=self._diff_budget, tell=tell), None)
        except rbd.ImageNotFound:
            return Result(None, None)
        except (rados.Error, rbd.Error) as error:
            _raise_if_lost(error)
            return Result(None, str(error))
        except Exception:  # noqa: BLE001 - the other images are listed all the same
            _log.exception("reading an image of %s failed in a way that nobody foresaw", place)
            return Result(None, "reading it failed in a way that nobody foresaw")


def _raise_if_lost(error: Exception) -> None:
    if tells_of_lost_connection(error):
        raise error
