"""What a newcomer finds in a fresh cluster: a least-privileged user, a pool, a namespace, an image with some data."""

import os

import rados
import rbd

from .cluster import DevCluster

__all__ = ["CLIENT", "IMAGE", "NAMESPACE", "POOL", "fill"]

CLIENT = "client.rbd-connect"
POOL = "rbd"
NAMESPACE = "team-a"
IMAGE = "demo"

_IMAGE_BYTES = 1 << 30
_WRITE_BYTES = 4 << 20
_WRITES = 8


def fill(cluster: DevCluster) -> None:
    """Make all of it, in a cluster that has none of it yet."""
    cluster.create_pool(POOL)
    # What the server needs, and nothing more: see docs/quickstart.md.
    cluster.create_user(CLIENT, mon="profile rbd", osd=f"profile rbd pool={POOL}")
    with rados.Rados(conffile=str(cluster.conf), name=CLIENT) as connection, connection.open_ioctx(POOL) as ioctx:
        rbd.RBD().namespace_create(ioctx, NAMESPACE)
        rbd.RBD().create(ioctx, IMAGE, _IMAGE_BYTES)
        with rbd.Image(ioctx, IMAGE) as image:
            for offset in range(0, _IMAGE_BYTES, _IMAGE_BYTES // _WRITES):
                image.write(os.urandom(_WRITE_BYTES), offset)
