"""What a call's answer describes: pools, images, snapshots."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from connectrpc.code import Code

from .errors import ServiceError, quoted
from .layout import Features
from .names import ImageSpec

__all__ = ["Erasure", "Image", "ImageExistsError", "ImageFacts", "Pool", "Snapshot", "SnapshotExistsError"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What is true of a snapshot.

    ``id`` is its number in its image; ``quota_bytes`` is the image's size at it; ``used_bytes`` is None where it is
    unknown.
    """

    id: int
    name: str
    protected: bool
    quota_bytes: int
    used_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """What an image says when it is opened. Sizes are in bytes; what is None is unknown."""

    object_size: int
    stripe_unit: int
    stripe_count: int
    size: int
    used_bytes: int | None
    objects: int
    features: Features
    created: datetime | None
    snapshots: tuple[Snapshot, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image, and what it says; None where it cannot be opened. ``namespace`` is "" for the pool's default one."""

    name: str
    pool: str
    namespace: str
    facts: ImageFacts | None

    def spec(self, scope: str) -> ImageSpec:
        """Say which image of a scope it is."""
        return ImageSpec(scope=scope, pool=self.pool, namespace=self.namespace, image=self.name)

    @property
    def pool_name(self) -> str:
        """``pool``, or ``pool/namespace``: for people and messages. It is not split again: a pool may have a slash."""
        return f"{self.pool}/{self.namespace}" if self.namespace else self.pool


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """How the objects of an erasure-coded pool are cut."""

    data_chunks: int
    coding_chunks: int
    overwrites: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A pool. ``replicas`` or ``erasure`` is None; a quota of 0 is none; bytes are as `ceph df` has them.

    What is used and at the most is None where `ceph df` lacks the pool, as for a while after it was made.
    """

    id: int
    name: str
    updating: bool
    replicas: int | None
    erasure: Erasure | None
    quota_bytes: int
    quota_objects: int
    used_bytes: int | None
    used_objects: int | None
    max_bytes: int | None
    placement_groups: int
    placement_group_states: Mapping[str, int]
    created: datetime
    applications: tuple[str, ...]


class SnapshotExistsError(ServiceError):
    """The snapshot exists. It comes along, so that a retry needs no second call."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__(
            Code.ALREADY_EXISTS, "SNAPSHOT_EXISTS", f"The snapshot {quoted(snapshot.name)} exists already."
        )
        self.snapshot = snapshot


class ImageExistsError(ServiceError):
    """The image exists. It comes along, so that a retry needs no second call."""

    def __init__(self, image: Image) -> None:
        super().__init__(Code.ALREADY_EXISTS, "IMAGE_EXISTS", f"The image {quoted(image.name)} exists already.")
        self.image = image
