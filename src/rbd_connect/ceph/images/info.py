"""What is true of an image."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC

import rados
import rbd

from rbd_connect.ceph.opening.layout import features_of
from rbd_connect.ceph.opening.open_image import open_image
from rbd_connect.ceph.snapshots.info import describe, list_snapshots
from rbd_connect.ceph.used_bytes import Listed, head, used_bytes
from rbd_connect.common.call_context import phase
from rbd_connect.model.names import ImageSpec
from rbd_connect.model.resources import Image, ImageFacts, Snapshot

__all__ = ["describe_image", "read_image"]


def _tell_nobody(_image: Image) -> None:
    pass


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
