"""Names: which scope, pool, namespace, image and snapshot a request means, and which names are valid.

librbd takes nearly any name and cuts it at a NUL, so names are judged here, before Ceph sees them. What each side
bears:

- librbd keeps an image's id in the object ``rbd_id.<image name>``, whose name the OSD bounds
  (``osd_max_object_name_len``, 2,048 bytes): a longer one is ENAMETOOLONG. A snapshot's name stands in the value of an
  omap key, and is not bounded.
- The ``rbd`` command refuses ``@`` and ``/`` in names, which it needs for ``pool/namespace/image@snapshot``
  (https://docs.ceph.com/en/latest/man/8/rbd/#image-snap-group-and-journal-specs), and takes any length.
- The kernel client maps snapshots of at most 250 bytes (``RBD_MAX_SNAP_NAME_LEN`` in Linux' ``drivers/block/rbd.c``:
  ``NAME_MAX`` less the prefix ``snap_``) and images whose name fits into a page.
- Names with a leading ``.`` are Ceph's own: ``.mirror.*`` snapshots, ``.group.*``, the pools ``.mgr`` and
  ``.rgw.root``.

255 bytes is ``NAME_MAX``, which a name meets as soon as it becomes a path: an exported file, a device's link.
"""

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from .errors import InvalidRequestError, Violation

__all__ = ["MAX_NAME_BYTES", "ImageSpec", "ScopeSpec", "SnapshotSpec", "parse_image", "parse_scope", "parse_snapshot"]

MAX_NAME_BYTES = 255

# Cc: control characters. Cs: lone surrogates, which are no UTF-8 and bring the bindings down.
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeSpec:
    """Which cluster, by the name that it has here."""

    scope: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec(ScopeSpec):
    """Where an image is. ``namespace`` is "" for the pool's default namespace."""

    pool: str
    namespace: str
    image: str

    @property
    def lane(self) -> tuple[str, str, str]:
        """What calls on the same image of a scope have in common."""
        return self.pool, self.namespace, self.image

    @property
    def pool_name(self) -> str:
        """``pool``, or ``pool/namespace``."""
        return f"{self.pool}/{self.namespace}" if self.namespace else self.pool


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotSpec(ImageSpec):
    """Which snapshot of which image."""

    snapshot: str


def parse_scope(scope: str) -> ScopeSpec:
    """Say which scope a request means. Raises InvalidRequestError where no scope can have the name."""
    _check(_violations("scope", scope, what="scope"))
    return ScopeSpec(scope=scope)


def parse_image(*, scope: str, pool_name: str, image_name: str) -> ImageSpec:
    """Say which image a request means. ``pool_name`` is "pool" or "pool/namespace".

    Raises InvalidRequestError with a violation for each field that is not valid.
    """
    _check(_image_violations(scope, pool_name, image_name))
    pool, _, namespace = pool_name.partition("/")
    return ImageSpec(scope=scope, pool=pool, namespace=namespace, image=image_name)


def parse_snapshot(*, scope: str, pool_name: str, image_name: str, snapshot_name: str) -> SnapshotSpec:
    """Say which snapshot a request means, as ``parse_image`` does."""
    _check(
        chain(
            _image_violations(scope, pool_name, image_name),
            _violations("snapshot_name", snapshot_name, what="snapshot name", forbidden="@/"),
        )
    )
    pool, _, namespace = pool_name.partition("/")
    return SnapshotSpec(scope=scope, pool=pool, namespace=namespace, image=image_name, snapshot=snapshot_name)


def _check(violations: Iterable[Violation]) -> None:
    found = list(violations)
    if found:
        raise InvalidRequestError(found)


def _image_violations(scope: str, pool_name: str, image_name: str) -> Iterator[Violation]:
    pool, slash, namespace = pool_name.partition("/")
    yield from _violations("scope", scope, what="scope")
    yield from _violations("pool_name", pool, what="pool name")
    if slash:
        yield from _violations("pool_name", namespace, what="namespace", forbidden="/")
    yield from _violations("image_name", image_name, what="image name", forbidden="@/")


def _violations(field: str, name: str, *, what: str, forbidden: str = "") -> Iterator[Violation]:
    """Yield the first rule that a name breaks, if any."""
    if not name:
        yield Violation(field=field, reason="EMPTY", description=f"The {what} must not be empty.")
    elif any(unicodedata.category(character) in _FORBIDDEN_CATEGORIES for character in name):
        yield Violation(
            field=field, reason="CONTROL_CHARACTER", description=f"The {what} must not contain control characters."
        )
    elif found := [character for character in forbidden if character in name]:
        allowed = (
            "one '/' may stand between a pool and its namespace"
            if what == "namespace"
            else f"the {what} is given alone"
        )
        yield Violation(
            field=field,
            reason="FORBIDDEN_CHARACTER",
            description=f"The {what} must not contain {' or '.join(map(repr, found))}; {allowed}.",
        )
    elif name.startswith("."):
        yield Violation(
            field=field,
            reason="RESERVED",
            description=f"The {what} must not begin with '.': Ceph keeps such names for itself.",
        )
    elif (size := len(name.encode())) > MAX_NAME_BYTES:
        yield Violation(
            field=field,
            reason="TOO_LONG",
            description=f"The {what} must be {MAX_NAME_BYTES} bytes of UTF-8 at the most; this one has {size}.",
        )
