"""What a worker process can be asked to do with its cluster. Each raises ServiceError.

What makes space must succeed where there is none: it is done under ``rados_set_osdmap_full_try``, as `rbd` does.
"""

from ..layout import Layout
from ..spec import ImageSpec, SnapshotSpec
from . import image_create, image_delete, image_resize, pools, rollback, snapshot_changes, snapshot_create
from .cluster import Cluster
from .image_info import Image
from .pools import Pool
from .snapshots import Snapshot

__all__ = [
    "blocklist",
    "create_image",
    "create_snapshot",
    "delete_image",
    "delete_snapshot",
    "list_images",
    "list_pools",
    "pool_names",
    "probe",
    "protect_snapshot",
    "resize_image",
    "roll_back",
    "unprotect_snapshot",
]


def create_snapshot(cluster: Cluster, spec: SnapshotSpec, diff_budget: int) -> Snapshot:
    """Create a snapshot and describe it; see ``snapshot_create.create``."""
    with cluster.pool_with_room(spec.pool, spec.namespace) as pool:
        return snapshot_create.create(pool, spec, diff_budget=diff_budget)


def delete_snapshot(cluster: Cluster, spec: SnapshotSpec) -> int | None:
    """Delete a snapshot; see ``snapshot_changes.delete``."""
    with cluster.pool(spec.pool, spec.namespace, full_try=True) as pool:
        return snapshot_changes.delete(pool, spec)


def protect_snapshot(cluster: Cluster, spec: SnapshotSpec) -> int:
    """Protect a snapshot; see ``snapshot_changes.protect``."""
    with cluster.pool_with_room(spec.pool, spec.namespace) as pool:
        return snapshot_changes.protect(pool, spec)


def unprotect_snapshot(cluster: Cluster, spec: SnapshotSpec) -> int:
    """Unprotect a snapshot; see ``snapshot_changes.unprotect``."""
    with cluster.pool(spec.pool, spec.namespace, full_try=True) as pool:
        return snapshot_changes.unprotect(pool, spec)


def roll_back(cluster: Cluster, spec: SnapshotSpec) -> int:
    """Roll an image back to a snapshot; see ``rollback.rollback``."""
    with cluster.pool_with_room(spec.pool, spec.namespace) as pool:
        return rollback.rollback(pool, spec, in_flight=cluster.objects_in_flight)


def create_image(cluster: Cluster, spec: ImageSpec, layout: Layout, diff_budget: int) -> Image:
    """Create an image and describe it; see ``image_create.create``."""
    with cluster.pool_with_room(spec.pool, spec.namespace) as pool:
        return image_create.create(pool, spec, layout, diff_budget=diff_budget)


def resize_image(cluster: Cluster, spec: ImageSpec, size: int, diff_budget: int) -> Image:
    """Give an image another size and describe it; see ``image_resize.resize``."""
    with cluster.pool_with_room(spec.pool, spec.namespace) as pool:
        return image_resize.resize(pool, spec, size, diff_budget=diff_budget, in_flight=cluster.objects_in_flight)


def delete_image(cluster: Cluster, spec: ImageSpec) -> None:
    """Delete an image; see ``image_delete.delete``."""
    with cluster.pool(spec.pool, spec.namespace, full_try=True) as pool:
        image_delete.delete(pool, spec)


def list_pools(cluster: Cluster, application: str) -> list[Pool]:
    """List the pools; see ``pools.list_pools``."""
    with cluster.connection() as connection:
        return pools.list_pools(connection, cluster.placement_groups, application)


def pool_names(cluster: Cluster) -> list[str]:
    """Return the names of all pools (`osd lspools`)."""
    with cluster.connection() as connection:
        return [pool["poolname"] for pool in pools.mon_command(connection, "osd lspools")]


def list_images(cluster: Cluster, scope: str, diff_budget: int) -> list[Image]:
    """List the images; see ``ImageLists.list_images``."""
    with cluster.connection() as connection:
        return cluster.image_lists.list_images(connection, scope, diff_budget=diff_budget)


def blocklist(cluster: Cluster, address: str) -> None:
    """Blocklist a client that has ended; see ``Cluster.blocklist``."""
    cluster.blocklist(address)


def osds_answer(cluster: Cluster) -> bool:
    """Connect if need be, and say whether OSDs answer within a moment."""
    return cluster.osds_answer()


def probe(cluster: Cluster) -> None:
    """Connect if need be, and ask the monitor something."""
    cluster.probe()
