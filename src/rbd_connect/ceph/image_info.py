"""What is true of an image."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import rados
import rbd

from ..layout import Features, Layout
from ..progress import phase
from ..spec import ImageSpec
from .image import open_image
from .snapshots import Snapshot, describe, list_snapshots
from .usage import Listed, head, used_bytes

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
    """An image, and what it says; None where it cannot be opened. ``namespace`` is "" for the pool's default one."""

    name: str
    pool: str
    namespace: str
    facts: ImageFacts | None

    def spec(self, scope: str) -> ImageSpec:
        """Say which image of a scope it is."""
        return ImageSpec(scope=scope, pool=self.pool, namespace=self.namespace, image=self.name)

    @property
    def pool_name(self) -> str:
        """``pool``, or ``pool/namespace``: for people and messages. It is not split again: a pool may have a slash."""
        return f"{self.pool}/{self.namespace}" if self.namespace else self.pool


def _tell_nobody(_image: Image) -> None:
    pass


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


def read_image(
    ioctx: rados.Ioctx, spec: ImageSpec, *, diff_budget: int | None, tell: Callable[[Image], None] = _tell_nobody
) -> Image:
    """Open an image for reading and describe it. Raises ``rbd.ImageNotFound``, and what else the bindings raise.

    The rest is as for ``describe_image``.
    """
    with open_image(ioctx, spec.image, read_only=True) as image:
        return describe_image(ioctx, image, spec, diff_budget=diff_budget, tell=tell)


def describe_image(
    ioctx: rados.Ioctx,
    image: rbd.Image,
    spec: ImageSpec,
    *,
    diff_budget: int | None,
    tell: Callable[[Image], None] = _tell_nobody,
) -> Image:
    """Describe an image that is open, with its snapshots. Raises what the bindings raise.

    ``diff_budget`` bounds, in objects each, what is spent on used bytes; without one they are not asked for. ``tell``
    is given the image without them, before they are asked for: that may take long.
    """
    stat = image.stat()
    created = image.create_timestamp()
    listing = list_snapshots(ioctx, image)
    of_users = list(_of_users(image, listing))
    facts = ImageFacts(
        object_size=stat["obj_size"],
        stripe_unit=image.stripe_unit(),
        stripe_count=image.stripe_count(),
        size=stat["size"],
        used_bytes=None,
        objects=stat["num_objs"],
        features=features_of(image.features()),
        # The binding gives UTC without saying so; an image of format 1 has no time.
        created=created.replace(tzinfo=UTC) if created.timestamp() else None,
        snapshots=tuple(snapshot for _, snapshot in of_users),
    )
    described = Image(name=spec.image, pool=spec.pool, namespace=spec.namespace, facts=facts)
    if diff_budget is None:
        return described
    tell(described)
    wanted = [*(listed for listed, _ in of_users), head(stat["size"])]
    with phase("usage"):
        *used, used_by_head = used_bytes(ioctx, image, listing, wanted, diff_budget=diff_budget)
    snapshots = (replace(one, used_bytes=used) for one, used in zip(facts.snapshots, used, strict=True))
    return replace(described, facts=replace(facts, used_bytes=used_by_head, snapshots=tuple(snapshots)))


def _of_users(image: rbd.Image, listing: Iterable[Listed]) -> Iterator[tuple[Listed, Snapshot]]:
    """Describe the users' snapshots that have a name, as far as that goes without their used bytes."""
    for listed in listing:
        if listed.user and listed.name is not None:
            with suppress(rbd.ImageNotFound):  # it was removed meanwhile
                yield listed, describe(image, listed, None)
