"""Deleting, protecting and unprotecting a snapshot. All of it blocks."""

from collections.abc import Callable, Iterator

import rados
import rbd

from ..errors import NotFoundError, Obstacle, PreconditionError, named
from ..missing import no_snapshot
from ..progress import changes, phase
from ..spec import SnapshotSpec
from .image import changing, open_image
from .monitor import once_more_if_denied
from .remains import remove_remains

__all__ = ["delete", "protect", "unprotect"]


def delete(ioctx: rados.Ioctx, spec: SnapshotSpec) -> int | None:
    """Delete a snapshot (``rbd_snap_remove``), also what is left of one whose deletion was interrupted.

    Gives its id; None for what was left.

    Raises NotFoundError; PreconditionError where it is protected; and what the bindings raise.
    """
    with changing(ioctx, spec) as (image, _):
        try:
            return _change(image, spec, "delete", lambda: once_more_if_denied(lambda: image.remove_snap(spec.snapshot)))
        except rbd.ImageBusy as error:
            if not image.is_protected_snap(spec.snapshot):
                raise
            raise PreconditionError(
                "SNAPSHOT_PROTECTED", f"The snapshot {spec.snapshot!r} is protected; unprotect it first."
            ) from error
        except NotFoundError:
            if not remove_remains(image, spec.snapshot):
                raise
            return None


def protect(ioctx: rados.Ioctx, spec: SnapshotSpec) -> int:
    """Protect a snapshot (``rbd_snap_protect``), and give its id. One that is protected stays so.

    Raises NotFoundError; PreconditionError where the image cannot be cloned; and what the bindings raise.
    """
    with changing(ioctx, spec) as (image, _):
        try:
            return _change(image, spec, "protect", lambda: image.protect_snap(spec.snapshot))
        except rbd.ImageBusy:
            if not image.is_protected_snap(spec.snapshot):
                raise
            return image.snap_get_id(spec.snapshot)
        except rbd.FunctionNotSupported as error:
            raise PreconditionError(
                "IMAGE_WITHOUT_LAYERING", "The image lacks the feature layering, without which nothing is protected."
            ) from error


def unprotect(ioctx: rados.Ioctx, spec: SnapshotSpec) -> int:
    """Unprotect a snapshot (``rbd_snap_unprotect``), and give its id. One that is not protected stays so.

    Raises NotFoundError; PreconditionError with the clones where there are any; and what the bindings raise.
    """
    with changing(ioctx, spec) as (image, _):
        try:
            return _change(image, spec, "unprotect", lambda: image.unprotect_snap(spec.snapshot))
        except rbd.InvalidArgument:
            if image.is_protected_snap(spec.snapshot):
                raise
            return image.snap_get_id(spec.snapshot)
        except rbd.ImageBusy as error:
            clones = list(_clones(ioctx, spec))
            if not clones:
                raise
            raise PreconditionError(
                "SNAPSHOT_HAS_CLONES",
                f"The snapshot {spec.snapshot!r} has clones; flatten or delete them first: {named(clones)}.",
                clones,
            ) from error


def _change(image: rbd.Image, spec: SnapshotSpec, name: str, call: Callable[[], None]) -> int:
    try:
        number = image.snap_get_id(spec.snapshot)
        with phase(name):
            changes()
            call()
    except rbd.ImageNotFound as error:
        raise no_snapshot(spec) from error
    return number


def _clones(ioctx: rados.Ioctx, spec: SnapshotSpec) -> Iterator[Obstacle]:
    """List the clones of a snapshot (``rbd_list_children3``), as ``pool/image`` or ``pool/namespace/image``."""
    with open_image(ioctx, spec, read_only=True) as image:
        image.set_snap(spec.snapshot)
        for child in image.list_children2():
            which = (child["pool"], child["pool_namespace"], child["image"])
            place = "/".join(filter(None, which))
            where = " in the trash" if child["trash"] else ""
            description = f"The image {place}{where} is a clone of it."
            yield Obstacle(kind="CLONE", subject=place, description=description, image=which)
