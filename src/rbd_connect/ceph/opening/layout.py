"""The layout of an image that is open, and librbd's bits for its features."""

import rbd

from rbd_connect.model.layout import Features, Layout

__all__ = ["bits_of", "features_of", "layout_of"]


_BITS = {
    "layering": rbd.RBD_FEATURE_LAYERING,
    "exclusive_lock": rbd.RBD_FEATURE_EXCLUSIVE_LOCK,
    "object_map": rbd.RBD_FEATURE_OBJECT_MAP,
    "fast_diff": rbd.RBD_FEATURE_FAST_DIFF,
    "deep_flatten": rbd.RBD_FEATURE_DEEP_FLATTEN,
}


def bits_of(features: Features) -> int:
    """Give features as librbd has them."""
    return sum(bit for name, bit in _BITS.items() if getattr(features, name))


def features_of(bits: int) -> Features:
    """Give those of librbd's features that can be asked for."""
    return Features(**{name: bool(bits & bit) for name, bit in _BITS.items()})


def layout_of(image: rbd.Image, size: int) -> Layout:
    """Give the layout that an image has, or would have with another size, in bytes."""
    return Layout(
        size=size,
        object_size=image.stat()["obj_size"],
        stripe_unit=image.stripe_unit(),
        stripe_count=image.stripe_count(),
        features=features_of(image.features()),
    )
