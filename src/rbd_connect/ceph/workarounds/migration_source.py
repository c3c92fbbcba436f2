"""The source of an image under migration, where the Ceph user may not read it.

librbd opens the source with the image, and aborts the process where that is denied (seen with 16.2.15: `rbd info` does
so, too; not with 18.2.7).
"""

import errno
from functools import partial

import rados

from rbd_connect.ceph.objects.async_calls import BoundedReply, open_handle
from rbd_connect.ceph.objects.header import header_of, id_of, migration_source

__all__ = ["is_source_barred"]

_PATIENCE_SECONDS = 2.0


def is_source_barred(connection: rados.Rados, ioctx: rados.Ioctx, name: str) -> bool:
    """Say whether an image is under migration from one that the Ceph user may not read.

    Raises what the bindings raise.
    """
    try:
        image_id = id_of(ioctx, name)
        source = None if image_id is None else migration_source(ioctx, image_id)
        if source is None:
            return False
        of_source = open_handle(connection, source.pool_id, source.namespace)
        header = BoundedReply(partial(of_source.aio_read, header_of(source.image_id), 1, 0))
        status = header.status(_PATIENCE_SECONDS)
    except rados.ObjectNotFound:
        return False
    return status in {errno.EPERM, errno.EACCES}
