"""StorageService: message -> a call in the scope's worker -> message.

No transport; and of Ceph only what ``operations`` offers.
"""

from otterscale.storage.v1.storage_pb2 import CreateImageSnapshotRequest, Image

from .calls import Calls
from .ceph import operations
from .messages import snapshot_message
from .settings import UsageSettings
from .spec import parse_snapshot

__all__ = ["StorageService"]


class StorageService:
    """otterscale.storage.v1.StorageService, whatever carries it. Its methods raise ServiceError."""

    def __init__(self, calls: Calls, usage: UsageSettings) -> None:
        self._calls = calls
        self._usage = usage

    async def create_image_snapshot(self, request: CreateImageSnapshotRequest, _context: object) -> Image.Snapshot:
        spec = parse_snapshot(
            scope=request.scope,
            pool_name=request.pool_name,
            image_name=request.image_name,
            snapshot_name=request.snapshot_name,
        )
        snapshot = await self._calls.run(
            spec.scope, spec.lane, operations.create_snapshot, spec, self._usage.diff_budget
        )
        return snapshot_message(snapshot)
