"""Values of the core as the contract's messages, and back."""

from otterscale.storage.v1 import storage_pb2
from otterscale.storage.v1.storage_pb2 import CreateImageRequest, PoolType
from rbd_connect.model.layout import Features, Layout
from rbd_connect.model.resources import Image, ImageFacts, Pool, Snapshot

__all__ = ["image_message", "layout_of", "pool_message", "snapshot_message"]

_FEATURES = ("layering", "exclusive_lock", "object_map", "fast_diff", "deep_flatten")


def snapshot_message(snapshot: Snapshot) -> storage_pb2.Image.Snapshot:
    """Give a snapshot as its message. All that is known is set, zero and false too; what is unknown stays unset."""
    return storage_pb2.Image.Snapshot(
        name=snapshot.name,
        protected=snapshot.protected,
        quota_bytes=snapshot.quota_bytes,
        used_bytes=snapshot.used_bytes,
    )


def image_message(image: Image) -> storage_pb2.Image:
    """Give an image as its message, as ``snapshot_message`` does."""
    message = storage_pb2.Image(name=image.name, pool_name=image.pool_name)
    if image.facts is not None:
        message.MergeFrom(_facts_message(image.facts))
    return message


def pool_message(pool: Pool) -> storage_pb2.Pool:
    """Give a pool as its message. Fields of another type of pool, and what is unknown, stay unset."""
    erasure = pool.erasure
    return storage_pb2.Pool(
        id=pool.id,
        name=pool.name,
        updating=pool.updating,
        pool_type=PoolType.REPLICATED if erasure is None else PoolType.ERASURE,
        ec_overwrites=None if erasure is None else erasure.overwrites,
        data_chunks=None if erasure is None else erasure.data_chunks,
        coding_chunks=None if erasure is None else erasure.coding_chunks,
        replicated_size=pool.replicas,
        quota_bytes=pool.quota_bytes,
        quota_objects=pool.quota_objects,
        used_bytes=pool.used_bytes,
        used_objects=pool.used_objects,
        max_bytes=pool.max_bytes,
        placement_group_count=pool.placement_groups,
        placement_group_state=pool.placement_group_states,
        created_at=pool.created,
        applications=pool.applications,
    )


def layout_of(request: CreateImageRequest) -> Layout:
    """Read how an image is to be laid out. Where none of the features is set, they are left to Ceph."""
    is_any_set = any(request.HasField(name) for name in _FEATURES)
    return Layout(
        size=request.quota_bytes,
        object_size=request.object_size_bytes,
        stripe_unit=request.stripe_unit_bytes,
        stripe_count=request.stripe_count,
        features=Features(**{name: getattr(request, name) for name in _FEATURES}) if is_any_set else None,
    )


def _facts_message(facts: ImageFacts) -> storage_pb2.Image:
    return storage_pb2.Image(
        object_size_bytes=facts.object_size,
        stripe_unit_bytes=facts.stripe_unit,
        stripe_count=facts.stripe_count,
        quota_bytes=facts.size,
        used_bytes=facts.used_bytes,
        object_count=facts.objects,
        created_at=facts.created,
        snapshots=[snapshot_message(snapshot) for snapshot in facts.snapshots],
        **{name: getattr(facts.features, name) for name in _FEATURES},
    )
