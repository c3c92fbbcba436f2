"""How far librbd is where it goes through an image's objects in their order, and the binding has no callback for that:
by those that operations are under way on.
"""

from collections.abc import Callable

import rbd

from rbd_connect.ceph.opening.layout import layout_of
from rbd_connect.common.progress_log import HowFar
from rbd_connect.model.layout import objects

__all__ = ["InFlight", "progress_by_objects"]

# Gives the numbers of the objects of a prefix that operations are under way on; see ``AdminSocket.objects_in_flight``.
InFlight = Callable[[str], list[int]]


def progress_by_objects(image: rbd.Image, in_flight: InFlight, *, start: int, end: int) -> HowFar:
    """Tell how far it is between two of an image's sizes, in bytes: from the first object beyond ``start`` on."""
    prefix = image.stat()["block_name_prefix"]
    first, last = (objects(layout_of(image, size)) for size in (start, end))

    def how_far() -> float | None:
        swept = [number - first for number in in_flight(prefix) if first <= number < last]
        return max(swept) / (last - first) if swept else None

    return how_far
