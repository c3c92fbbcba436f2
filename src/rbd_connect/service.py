"""StorageService: message -> core call -> message.

No transport; and of Ceph only what ``cluster`` and ``snapshot`` offer.
"""

from collections.abc import Mapping

from otterscale.storage.v1.storage_pb2 import CreateImageSnapshotRequest, Image

from . import snapshot
from .calls import Calls
from .cluster import Cluster
from .errors import NotFoundError
from .messages import snapshot_message
from .settings import UsageSettings
from .spec import SnapshotSpec, parse_snapshot

__all__ = ["StorageService"]


class StorageService:
    """otterscale.storage.v1.StorageService, whatever carries it. Its methods raise ServiceError."""

    def __init__(self, clusters: Mapping[str, Cluster], calls: Calls, usage: UsageSettings) -> None:
        self._clusters = clusters
        self._calls = calls
        self._usage = usage

    async def create_image_snapshot(self, request: CreateImageSnapshotRequest, _context: object) -> Image.Snapshot:
        spec = parse_snapshot(
            scope=request.scope,
            pool_name=request.pool_name,
            image_name=request.image_name,
            snapshot_name=request.snapshot_name,
        )
        cluster = self._cluster(spec.scope)
        return snapshot_message(await self._calls.run(spec.scope, self._create, cluster, spec, image=spec.lane))

    def _create(self, cluster: Cluster, spec: SnapshotSpec) -> snapshot.Snapshot:
        with cluster.pool_with_room(spec.pool, spec.namespace) as ioctx:
            return snapshot.create(ioctx, spec, diff_budget=self._usage.diff_budget)

    def _cluster(self, scope: str) -> Cluster:
        try:
            return self._clusters[scope]
        except KeyError:
            raise NotFoundError("scope", scope, "on this server") from None
