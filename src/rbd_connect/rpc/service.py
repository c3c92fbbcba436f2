"""StorageService: message -> a call in the scope's worker -> message.

No transport; and of Ceph only what ``Operations`` offers.
"""

from collections.abc import Callable
from functools import partial

from google.protobuf.empty_pb2 import Empty

from otterscale.storage.v1 import storage_pb2 as pb
from rbd_connect.auth.grants import Granted
from rbd_connect.config.settings import UsageSettings
from rbd_connect.dispatch.dispatcher import Dispatcher
from rbd_connect.dispatch.operations import Operations
from rbd_connect.dispatch.single_flight import SingleFlight
from rbd_connect.model.errors import FieldViolation, InvalidRequestError
from rbd_connect.model.layout import check
from rbd_connect.model.names import SnapshotSpec
from rbd_connect.model.resources import Image

from .conversion import image_message, layout_of, pool_message, snapshot_message
from .resources import OfSnapshot, image_of, scope_of, snapshot_of

__all__ = ["StorageService"]


class StorageService:
    """otterscale.storage.v1.StorageService, behind ``Pipeline``, which has checked that the caller may call.

    What a method is told of him is what is granted, by which lists leave out the rest. They raise ServiceError.
    """

    def __init__(self, calls: Dispatcher, usage: UsageSettings) -> None:
        self._calls = calls
        self._usage = usage
        self._images = {scope: SingleFlight(partial(self._list_images, scope)) for scope in calls.scopes}

    async def list_pools(self, request: pb.ListPoolsRequest, granted: Granted) -> pb.ListPoolsResponse:
        scope = scope_of(request).scope
        pools = await self._calls.run(scope, None, Operations.list_pools, request.application)
        shown = (pool for pool in pools if granted.lists_pool(scope, pool.name))
        return pb.ListPoolsResponse(pools=map(pool_message, shown))

    async def list_images(self, request: pb.ListImagesRequest, granted: Granted) -> pb.ListImagesResponse:
        scope = scope_of(request).scope
        shared = self._images.get(scope)
        images = await (self._list_images(scope) if shared is None else shared.answer())
        shown = (image for image in images if granted.lists_image(image.spec(scope)))
        return pb.ListImagesResponse(images=map(image_message, shown))

    async def create_image(self, request: pb.CreateImageRequest, _granted: Granted) -> pb.Image:
        spec = image_of(request)
        _check_has_size(request)
        layout = layout_of(request)
        check(layout)
        image = await self._calls.run(
            spec.scope, spec.lock_key, Operations.create_image, spec, layout, self._usage.diff_budget
        )
        return image_message(image)

    async def update_image(self, request: pb.UpdateImageRequest, _granted: Granted) -> pb.Image:
        spec = image_of(request)
        _check_has_size(request)
        image = await self._calls.run(
            spec.scope, spec.lock_key, Operations.resize_image, spec, request.quota_bytes, self._usage.diff_budget
        )
        return image_message(image)

    async def delete_image(self, request: pb.DeleteImageRequest, _granted: Granted) -> Empty:
        spec = image_of(request)
        await self._calls.run(spec.scope, spec.lock_key, Operations.delete_image, spec)
        return Empty()

    async def create_image_snapshot(
        self, request: pb.CreateImageSnapshotRequest, _granted: Granted
    ) -> pb.Image.Snapshot:
        spec = snapshot_of(request)
        snapshot = await self._calls.run(
            spec.scope, spec.lock_key, Operations.create_snapshot, spec, self._usage.diff_budget
        )
        return snapshot_message(snapshot)

    async def delete_image_snapshot(self, request: pb.DeleteImageSnapshotRequest, _granted: Granted) -> Empty:
        return await self._change(request, Operations.delete_snapshot)

    async def rollback_image_snapshot(self, request: pb.RollbackImageSnapshotRequest, _granted: Granted) -> Empty:
        return await self._change(request, Operations.roll_back)

    async def protect_image_snapshot(self, request: pb.ProtectImageSnapshotRequest, _granted: Granted) -> Empty:
        return await self._change(request, Operations.protect_snapshot)

    async def unprotect_image_snapshot(self, request: pb.UnprotectImageSnapshotRequest, _granted: Granted) -> Empty:
        return await self._change(request, Operations.unprotect_snapshot)

    async def _list_images(self, scope: str) -> list[Image]:
        """Raises NotFoundError for the scope, too."""
        return await self._calls.run(scope, None, Operations.list_images, scope, self._usage.diff_budget)

    async def _change(self, request: OfSnapshot, change: Callable[[Operations, SnapshotSpec], object]) -> Empty:
        spec = snapshot_of(request)
        await self._calls.run(spec.scope, spec.lock_key, change, spec)
        return Empty()


def _check_has_size(request: pb.CreateImageRequest | pb.UpdateImageRequest) -> None:
    """Raise InvalidRequestError where a request does not say the size: nobody wants to lose an image for that."""
    if not request.HasField("quota_bytes"):
        raise InvalidRequestError(
            [FieldViolation(field="quota_bytes", reason="EMPTY", description="The size, quota_bytes, must be given.")],
            reason="INVALID_LAYOUT",
        )
