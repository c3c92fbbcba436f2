"""What a worker process can be asked to do with its cluster. Each raises ServiceError."""

from ..spec import SnapshotSpec
from . import snapshot
from .cluster import Cluster

__all__ = ["create_snapshot", "probe"]


def create_snapshot(cluster: Cluster, spec: SnapshotSpec, diff_budget: int) -> snapshot.Snapshot:
    """Create a snapshot and describe it; see ``snapshot.create``."""
    with cluster.pool_with_room(spec.pool, spec.namespace) as ioctx:
        return snapshot.create(ioctx, spec, diff_budget=diff_budget)


def probe(cluster: Cluster) -> None:
    """Connect if need be, and ask the monitor something."""
    cluster.probe()
