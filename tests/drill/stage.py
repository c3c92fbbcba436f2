"""Where a drill takes place: a cluster, a server of it, images to make snapshots of."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import rados
import rbd

from bench.workbench import POOL, SCOPE
from rbd_connect.devcluster import DevCluster
from support.server import Server, run_server
from support.tools import Tools, write_scope

__all__ = ["IMAGE_BYTES", "USER", "Stage", "staged"]

USER = "client.rbd-connect"
CAPS: Mapping[str, str] = {"mon": "profile rbd", "osd": "profile rbd"}
IMAGE_BYTES = 16 << 20
_IMAGES = 16


@dataclass(frozen=True)
class Stage:
    """A cluster whose monitor commits at once, and a server that is its user's only client."""

    cluster: DevCluster
    server: Server
    images: list[str]

    @property
    def tools(self) -> Tools:
        return Tools(self.cluster)

    def listed(self) -> dict[str, dict[str, int]]:
        """The snapshots of each image, name and size, as `rbd snap ls` prints them."""
        return {
            image: {snapshot["name"]: int(snapshot["size"]) for snapshot in self.tools.snapshots(f"{POOL}/{image}")}
            for image in self.images
        }


@contextmanager
def staged(name: str) -> Iterator[Stage]:
    """Set the stage, on a cluster of its own."""
    with (
        tempfile.TemporaryDirectory(prefix=f"drill-{name}-") as folder,
        DevCluster(Path(folder) / "ceph", paxos_propose_interval=0.01) as cluster,
    ):
        cluster.create_pool(POOL)
        cluster.create_user(USER, **CAPS)
        images = [f"image-{number}" for number in range(_IMAGES)]
        with (
            rados.Rados(conffile=str(cluster.conf), name="client.admin") as connection,
            connection.open_ioctx(POOL) as ioctx,
        ):
            for image in images:
                rbd.RBD().create(ioctx, image, IMAGE_BYTES)
        with run_server(Path(folder), write_scope(SCOPE, cluster)) as server:
            yield Stage(cluster, server, images)
