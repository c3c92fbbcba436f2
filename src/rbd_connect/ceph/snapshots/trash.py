"""What is left of snapshots whose deletion was interrupted.

librbd begins a deletion by moving the snapshot to a trash inside its image, under another name. Cut off there, it can
be deleted by none of `rbd`'s commands, and its image neither.
"""

from contextlib import suppress

import rados
import rbd

from rbd_connect.common.call_context import changes, phase

from .info import list_snapshots

__all__ = ["remove_trash"]


def remove_trash(ioctx: rados.Ioctx, image: rbd.Image, snapshot: str | None = None) -> bool:
    """Delete what is left of a snapshot, or of any (``rbd_snap_remove_by_id``), but what clones need. Say whether there
    was something.
    """
    removed = False
    with phase("trash_snapshots"):
        for found in list_snapshots(ioctx, image):
            if found.kind != rbd.RBD_SNAP_NAMESPACE_TYPE_TRASH or snapshot not in {None, found.original_name}:
                continue
            with suppress(rbd.ImageBusy, rbd.ImageNotFound):
                changes()
                image.remove_snap_by_id(found.id)
                removed = True
    return removed
