"""What is left of snapshots whose deletion was interrupted.

librbd begins a deletion by moving the snapshot to a trash inside its image, under another name. Cut off there, it can
be deleted by none of `rbd`'s commands, and its image neither.
"""

from contextlib import suppress

import rbd

from ..progress import changes, phase
from .snapshots import snapshots_of

__all__ = ["remove_remains"]


def remove_remains(image: rbd.Image, snapshot: str | None = None) -> bool:
    """Delete what is left of a snapshot, or of any (``rbd_snap_remove_by_id``), but what clones need. Say whether there
    was something.
    """
    removed = False
    with phase("remains"), suppress(UnicodeDecodeError):
        for found in snapshots_of(image):
            if found["namespace"] != rbd.RBD_SNAP_NAMESPACE_TYPE_TRASH:
                continue
            if snapshot not in {None, found["trash"]["original_name"]}:
                continue
            with suppress(rbd.ImageBusy, rbd.ImageNotFound):
                changes()
                image.remove_snap_by_id(found["id"])
                removed = True
    return removed
