"""Values of the core as the contract's messages."""

from otterscale.storage.v1.storage_pb2 import Image

from .ceph.snapshot import Snapshot

__all__ = ["snapshot_message"]


def snapshot_message(snapshot: Snapshot) -> Image.Snapshot:
    """Give a snapshot as its message. All that is known is set, zero and false too; what is unknown stays unset."""
    return Image.Snapshot(
        name=snapshot.name,
        protected=snapshot.protected,
        quota_bytes=snapshot.quota_bytes,
        used_bytes=snapshot.used_bytes,
    )
