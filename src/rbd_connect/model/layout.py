"""How an image is to be laid out: its size, objects, striping and features; and which layouts librbd takes.

The rules are librbd's own (``CreateRequest<I>::validate_order``, ``validate_features``, ``validate_striping`` and
``validate_layout`` in ``src/librbd/image/CreateRequest.cc``, ``MAX_OBJECT_MAP_OBJECT_COUNT`` in
``src/cls/rbd/cls_rbd_types.h``), and three that it lacks:

- A size of 2^63 bytes or more makes its arithmetic overflow: the image then has no objects.
- A stripe count of 2^32 is 0 to it, by which it divides.
- Without an object map there is no fast-diff, and it leaves that feature out without a word.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from .errors import FieldViolation, InvalidRequestError

__all__ = ["Features", "Layout", "check", "objects"]

_MIN_OBJECT_BYTES = 1 << 12
_MAX_OBJECT_BYTES = 1 << 25
_MIN_STRIPE_UNIT_BYTES = 512
_MAX_STRIPE_COUNT = (1 << 32) - 1
_MAX_BYTES = (1 << 63) - 1
_MAX_MAPPED_OBJECTS = 256_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """The features that an image can be asked to have."""

    layering: bool = False
    exclusive_lock: bool = False
    object_map: bool = False
    fast_diff: bool = False
    deep_flatten: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """``size``, ``object_size`` and ``stripe_unit`` are in bytes. 0, and for the features None, is Ceph's default."""

    size: int
    object_size: int = 0
    stripe_unit: int = 0
    stripe_count: int = 0
    features: Features | None = None

    def completed(self, defaults: "Layout") -> "Layout":
        """Fill in the object size and the features from a cluster's defaults."""
        return replace(
            self,
            object_size=self.object_size or defaults.object_size,
            features=defaults.features if self.features is None else self.features,
        )


def check(layout: Layout) -> None:
    """Raise InvalidRequestError with each rule that a layout breaks. What is left to Ceph is not looked at."""
    found = [*_of_size(layout), *_of_objects(layout), *_of_stripes(layout), *_of_features(layout)]
    if not found and _is_too_large_for_a_map(layout):
        found = [
            _violation(
                "quota_bytes",
                "TOO_MANY_OBJECTS",
                f"With object_map, an image has {_MAX_MAPPED_OBJECTS:,} objects at the most.",
            )
        ]
    if found:
        raise InvalidRequestError(found, reason="INVALID_LAYOUT")


def objects(layout: Layout) -> int:
    """Say how many objects an image has (``Striper::get_num_objects``). The object size must be known."""
    count = layout.stripe_count or 1
    unit = layout.stripe_unit or layout.object_size
    periods, rest = divmod(layout.size, count * layout.object_size)
    # In the last period an object exists once the first stripe reaches it.
    return periods * count + min(count, -(-rest // unit))


def _violation(field: str, reason: str, description: str) -> FieldViolation:
    return FieldViolation(field=field, reason=reason, description=description)


def _of_size(layout: Layout) -> Iterator[FieldViolation]:
    if layout.size > _MAX_BYTES:
        yield _violation("quota_bytes", "TOO_LARGE", "An image has less than 2^63 bytes.")


def _of_objects(layout: Layout) -> Iterator[FieldViolation]:
    size = layout.object_size
    if size and (size.bit_count() != 1 or not _MIN_OBJECT_BYTES <= size <= _MAX_OBJECT_BYTES):
        yield _violation("object_size_bytes", "OBJECT_SIZE", "The object size must be a power of 2, 4 KiB to 32 MiB.")


def _of_stripes(layout: Layout) -> Iterator[FieldViolation]:
    unit, count = layout.stripe_unit, layout.stripe_count
    if unit and not count:
        yield _violation("stripe_count", "STRIPE_COUNT", "With a stripe unit goes a stripe count.")
    if count and not unit:
        yield _violation("stripe_unit_bytes", "STRIPE_UNIT", "With a stripe count goes a stripe unit.")
    if count > _MAX_STRIPE_COUNT:
        yield _violation("stripe_count", "STRIPE_COUNT", "The stripe count must be less than 2^32.")
    if 0 < unit < _MIN_STRIPE_UNIT_BYTES:
        yield _violation("stripe_unit_bytes", "STRIPE_UNIT", "The stripe unit must be 512 bytes at the least.")
    elif unit and layout.object_size and layout.object_size % unit:
        yield _violation(
            "stripe_unit_bytes",
            "STRIPE_UNIT",
            f"The stripe unit must divide the object size, {layout.object_size:,} bytes.",
        )


def _of_features(layout: Layout) -> Iterator[FieldViolation]:
    features = layout.features
    if features is None:
        return
    if features.object_map and not features.exclusive_lock:
        yield _violation("object_map", "FEATURES", "object_map needs exclusive_lock.")
    if features.fast_diff and not features.object_map:
        yield _violation("fast_diff", "FEATURES", "fast_diff needs object_map.")


def _is_too_large_for_a_map(layout: Layout) -> bool:
    has_map = layout.features is not None and layout.features.object_map
    return has_map and layout.object_size > 0 and objects(layout) > _MAX_MAPPED_OBJECTS
