"""What is true of an image."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import rados
import rbd

from ..layout import Features, Layout
from ..progress import phase
from ..spec import ImageSpec
from .image import open_image
from .snapshots import Snapshot, describe, list_snapshots
from .usage import head, used_bytes

__all__ = ["Image", "ImageFacts", "bits_of", "describe_image", "features_of", "layout_of", "read_image"]

_BITS = {
    "layering": rbd.RBD_FEATURE_LAYERING,
    "exclusive_lock": rbd.RBD_FEATURE_EXCLUSIVE_LOCK,
    "object_map": rbd.RBD_FEATURE_OBJECT_MAP,
    "fast_diff": rbd.RBD_FEATURE_FAST_DIFF,
    "deep_flatten": rbd.RBD_FEATURE_DEEP_FLATTEN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """What an image says when it is opened. Sizes are in bytes; what is None is unknown."""

    object_size: int
    stripe_unit: int
    stripe_count: int
    size: int
    used_bytes: int | None
    objects: int
    features: Features
    created: datetime | None
    snapshots: tuple[Snapshot, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image, and what it says; None where it cannot be opened. ``pool_name`` is ``pool`` or ``pool/namespace``."""

    name: str
    pool_name: str
    facts: ImageFacts | None

    def spec(self, scope: str) -> ImageSpec:
        """Say which image of a scope it is."""
        pool, _, namespace = self.pool_name.partition("/")
        return ImageSpec(scope=scope, pool=pool, namespace=namespace, image=self.name)


def bits_of(features: Features) -> int:
    """Give features as librbd has them."""
    return sum(bit for name, bit in _BITS.items() if getattr(features, name))


def features_of(bits: int) -> Features:
    """Give those of librbd's features that can be asked for."""
    return Features(**{name: bool(bits & bit) for name, bit in _BITS.items()})


def layout_of(image: rbd.Image, size: int) -> Layout:
    """Give the layout that an image has, or would have with another size, in bytes."""
    return Layout(
        size=size,
        object_size=image.stat()["obj_size"],
        stripe_unit=image.stripe_unit(),
        stripe_count=image.stripe_count(),
        features=features_of(image.features()),
    )


def read_image(ioctx: rados.Ioctx, spec: ImageSpec, *, diff_budget: int) -> Image:
    """Open an image for reading and describe it. Raises ``rbd.ImageNotFound``, and what else the bindings raise."""
    with open_image(ioctx, spec.image, read_only=True) as image:
        return describe_image(ioctx, image, spec, diff_budget=diff_budget)


def describe_image(ioctx: rados.Ioctx, image: rbd.Image, spec: ImageSpec, *, diff_budget: int) -> Image:
    """Describe an image that is open, with its snapshots. Raises what the bindings raise.

    ``diff_budget`` bounds, in objects each, what is spent on used bytes.
    """
    stat = image.stat()
    created = image.create_timestamp()
    layout = {"stripe_unit": image.stripe_unit(), "stripe_count": image.stripe_count()}
    used, snapshots = _usage(ioctx, image, stat["size"], diff_budget)
    facts = ImageFacts(
        object_size=stat["obj_size"],
        size=stat["size"],
        used_bytes=used,
        objects=stat["num_objs"],
        features=features_of(image.features()),
        # The binding gives UTC without saying so; an image of format 1 has no time.
        created=created.replace(tzinfo=UTC) if created.timestamp() else None,
        snapshots=tuple(snapshots),
        **layout,
    )
    return Image(name=spec.image, pool_name=spec.pool_name, facts=facts)


def _usage(ioctx: rados.Ioctx, image: rbd.Image, size: int, diff_budget: int) -> tuple[int | None, list[Snapshot]]:
    """Give the used bytes of the head, and the users' snapshots that have a name."""
    listing = list_snapshots(ioctx, image)
    of_users = [listed for listed in listing if listed.user and listed.name is not None]
    with phase("usage"):
        *used, used_by_head = used_bytes(ioctx, image, listing, [*of_users, head(size)], diff_budget=diff_budget)
    snapshots = []
    for listed, bytes_used in zip(of_users, used, strict=True):
        with suppress(rbd.ImageNotFound):  # it was removed meanwhile
            snapshots.append(describe(image, listed, bytes_used))
    return used_by_head, snapshots
