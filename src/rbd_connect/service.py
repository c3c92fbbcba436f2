"""StorageService: message -> a call in the scope's worker -> message.

No transport; and of Ceph only what ``operations`` offers.
"""

from collections.abc import Callable
from functools import partial
from typing import Protocol

from google.protobuf.empty_pb2 import Empty

from otterscale.storage.v1 import storage_pb2 as pb

from .calls import Calls
from .ceph import operations
from .ceph.cluster import Cluster
from .ceph.image_info import Image
from .errors import InvalidRequestError, Violation
from .layout import check
from .messages import image_message, layout_of, pool_message, snapshot_message
from .settings import UsageSettings
from .shared import Shared
from .spec import ImageSpec, SnapshotSpec, check_scope, parse_image, parse_snapshot

__all__ = ["StorageService"]


class _OfImage(Protocol):
    """A request about an image."""

    scope: str
    pool_name: str
    image_name: str


class _OfSnapshot(_OfImage, Protocol):
    """A request about a snapshot."""

    snapshot_name: str


class StorageService:
    """otterscale.storage.v1.StorageService, whatever carries it. Its methods raise ServiceError."""

    def __init__(self, calls: Calls, usage: UsageSettings) -> None:
        self._calls = calls
        self._usage = usage
        self._images = {scope: Shared(partial(self._list_images, scope)) for scope in calls.scopes}

    async def list_pools(self, request: pb.ListPoolsRequest, _context: object) -> pb.ListPoolsResponse:
        check_scope(request.scope)
        pools = await self._calls.run(request.scope, None, operations.list_pools, request.application)
        return pb.ListPoolsResponse(pools=map(pool_message, pools))

    async def list_images(self, request: pb.ListImagesRequest, _context: object) -> pb.ListImagesResponse:
        check_scope(request.scope)
        shared = self._images.get(request.scope)
        images = await (self._list_images(request.scope) if shared is None else shared.answer())
        return pb.ListImagesResponse(images=map(image_message, images))

    async def create_image(self, request: pb.CreateImageRequest, _context: object) -> pb.Image:
        spec = _image(request)
        _check_has_size(request)
        layout = layout_of(request)
        check(layout)
        image = await self._calls.run(
            spec.scope, spec.lane, operations.create_image, spec, layout, self._usage.diff_budget
        )
        return image_message(image)

    async def update_image(self, request: pb.UpdateImageRequest, _context: object) -> pb.Image:
        spec = _image(request)
        _check_has_size(request)
        image = await self._calls.run(
            spec.scope, spec.lane, operations.resize_image, spec, request.quota_bytes, self._usage.diff_budget
        )
        return image_message(image)

    async def delete_image(self, request: pb.DeleteImageRequest, _context: object) -> Empty:
        spec = _image(request)
        await self._calls.run(spec.scope, spec.lane, operations.delete_image, spec)
        return Empty()

    async def create_image_snapshot(
        self, request: pb.CreateImageSnapshotRequest, _context: object
    ) -> pb.Image.Snapshot:
        spec = _snapshot(request)
        snapshot = await self._calls.run(
            spec.scope, spec.lane, operations.create_snapshot, spec, self._usage.diff_budget
        )
        return snapshot_message(snapshot)

    async def delete_image_snapshot(self, request: pb.DeleteImageSnapshotRequest, _context: object) -> Empty:
        return await self._change(request, operations.delete_snapshot)

    async def rollback_image_snapshot(self, request: pb.RollbackImageSnapshotRequest, _context: object) -> Empty:
        return await self._change(request, operations.roll_back)

    async def protect_image_snapshot(self, request: pb.ProtectImageSnapshotRequest, _context: object) -> Empty:
        return await self._change(request, operations.protect_snapshot)

    async def unprotect_image_snapshot(self, request: pb.UnprotectImageSnapshotRequest, _context: object) -> Empty:
        return await self._change(request, operations.unprotect_snapshot)

    async def _list_images(self, scope: str) -> list[Image]:
        """Raises NotFoundError for the scope, too."""
        return await self._calls.run(scope, None, operations.list_images, scope, self._usage.diff_budget)

    async def _change(self, request: _OfSnapshot, change: Callable[[Cluster, SnapshotSpec], None]) -> Empty:
        spec = _snapshot(request)
        await self._calls.run(spec.scope, spec.lane, change, spec)
        return Empty()


def _image(request: _OfImage) -> ImageSpec:
    return parse_image(scope=request.scope, pool_name=request.pool_name, image_name=request.image_name)


def _snapshot(request: _OfSnapshot) -> SnapshotSpec:
    return parse_snapshot(
        scope=request.scope,
        pool_name=request.pool_name,
        image_name=request.image_name,
        snapshot_name=request.snapshot_name,
    )


def _check_has_size(request: pb.CreateImageRequest | pb.UpdateImageRequest) -> None:
    """Raise InvalidRequestError where a request does not say the size: nobody wants to lose an image for that."""
    if not request.HasField("quota_bytes"):
        raise InvalidRequestError(
            [Violation(field="quota_bytes", reason="EMPTY", description="The size, quota_bytes, must be given.")],
            reason="INVALID_LAYOUT",
        )
