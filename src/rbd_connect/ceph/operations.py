"""What a worker process can be asked to do with its cluster. Each raises ServiceError.

What makes space must succeed where there is none: it is done under ``rados_set_osdmap_full_try``, as `rbd` does.
"""

from rbd_connect.ceph.cluster.connection import Cluster
from rbd_connect.model.layout import Layout
from rbd_connect.model.names import ImageSpec, SnapshotSpec
from rbd_connect.model.resources import Image, Pool, Snapshot

from .images import create as image_create
from .images import delete as image_delete
from .images import resize as image_resize
from .pools import info as pools
from .snapshots import changes as snapshot_changes
from .snapshots import create as snapshot_create
from .snapshots import rollback

__all__ = ["ClusterOperations"]


class ClusterOperations:
    """The operations of a cluster. They block, and may be called from any thread."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def create_snapshot(self, spec: SnapshotSpec, diff_budget: int) -> Snapshot:
        """Create a snapshot and describe it; see ``snapshot_create.create``."""
        with self._cluster.pool_with_room(spec.pool, spec.namespace) as pool:
            return snapshot_create.create(pool, spec, diff_budget=diff_budget)

    def delete_snapshot(self, spec: SnapshotSpec) -> int | None:
        """Delete a snapshot; see ``snapshot_changes.delete``."""
        with self._cluster.pool(spec.pool, spec.namespace, full_try=True) as pool:
            return snapshot_changes.delete(pool, spec)

    def protect_snapshot(self, spec: SnapshotSpec) -> int:
        """Protect a snapshot; see ``snapshot_changes.protect``."""
        with self._cluster.pool_with_room(spec.pool, spec.namespace) as pool:
            return snapshot_changes.protect(pool, spec)

    def unprotect_snapshot(self, spec: SnapshotSpec) -> int:
        """Unprotect a snapshot; see ``snapshot_changes.unprotect``."""
        with self._cluster.pool(spec.pool, spec.namespace, full_try=True) as pool:
            return snapshot_changes.unprotect(pool, spec)

    def roll_back(self, spec: SnapshotSpec) -> int:
        """Roll an image back to a snapshot; see ``rollback.rollback``."""
        with self._cluster.pool_with_room(spec.pool, spec.namespace) as pool:
            return rollback.rollback(pool, spec, in_flight=self._cluster.objects_in_flight)

    def create_image(self, spec: ImageSpec, layout: Layout, diff_budget: int) -> Image:
        """Create an image and describe it; see ``image_create.create``."""
        with self._cluster.pool_with_room(spec.pool, spec.namespace) as pool:
            return image_create.create(pool, spec, layout, diff_budget=diff_budget)

    def resize_image(self, spec: ImageSpec, size: int, diff_budget: int) -> Image:
        """Give an image another size and describe it; see ``image_resize.resize``."""
        with self._cluster.pool_with_room(spec.pool, spec.namespace) as pool:
            return image_resize.resize(
                pool, spec, size, diff_budget=diff_budget, in_flight=self._cluster.objects_in_flight
            )

    def delete_image(self, spec: ImageSpec) -> None:
        """Delete an image; see ``image_delete.delete``."""
        with self._cluster.pool(spec.pool, spec.namespace, full_try=True) as pool:
            image_delete.delete(pool, spec)

    def list_pools(self, application: str) -> list[Pool]:
        """List the pools; see ``pools.list_pools``."""
        with self._cluster.connection() as connection:
            return pools.list_pools(connection, self._cluster.placement_groups, application)

    def pool_names(self) -> list[str]:
        """Return the names of all pools (`osd lspools`)."""
        with self._cluster.connection() as connection:
            return [pool["poolname"] for pool in pools.mon_command(connection, "osd lspools")]

    def list_images(self, scope: str, diff_budget: int) -> list[Image]:
        """List the images; see ``ImageLists.list_images``."""
        with self._cluster.connection() as connection:
            return self._cluster.image_lists.list_images(connection, scope, diff_budget=diff_budget)

    def blocklist(self, address: str) -> None:
        """Blocklist a client that has ended; see ``Cluster.blocklist``."""
        self._cluster.blocklist(address)

    def osds_answer(self) -> bool:
        """Connect if need be, and say whether OSDs answer within a moment."""
        return self._cluster.osds_answer()

    def probe(self) -> None:
        """Connect if need be, and ask the monitor something."""
        self._cluster.probe()
