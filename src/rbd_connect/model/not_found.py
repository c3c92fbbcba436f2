"""What is said of what is not there: in one wording, whether Ceph has none, or the caller may not know of it."""

from .errors import NotFoundError, quoted
from .names import ImageSpec, SnapshotSpec

__all__ = ["no_image", "no_namespace", "no_pool", "no_scope", "no_snapshot"]


def no_scope(name: str) -> NotFoundError:
    return NotFoundError("scope", name, "on this server")


def no_pool(name: str, scope: str) -> NotFoundError:
    return NotFoundError("pool", name, f"in scope {quoted(scope)}")


def no_namespace(spec: ImageSpec) -> NotFoundError:
    return NotFoundError("namespace", spec.namespace, f"in pool {quoted(spec.pool)}")


def no_image(spec: ImageSpec) -> NotFoundError:
    return NotFoundError("image", spec.image, f"in pool {quoted(spec.pool_name)}")


def no_snapshot(spec: SnapshotSpec) -> NotFoundError:
    return NotFoundError("snapshot", spec.snapshot, f"of image {quoted(spec.image)} in pool {quoted(spec.pool_name)}")
