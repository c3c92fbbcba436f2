"""Names: which scope, pool, namespace, image and snapshot a request means, and which names are valid.

librbd takes nearly any name and cuts it at a NUL, so names are judged here, before Ceph sees them. What exists is found
by the name that it has, whoever gave it that. The strict rules are for names that are created. What each side bears:

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

import shlex
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from .errors import FieldViolation, InvalidRequestError

__all__ = ["MAX_NAME_BYTES", "ImageSpec", "ScopeSpec", "SnapshotSpec", "parse_image", "parse_scope", "parse_snapshot"]

MAX_NAME_BYTES = 255

# What has a longer name was not made by librbd as it is configured by default, nor by any tool that is known.
_MAX_EXISTING_BYTES = 4096

# Cc: control characters. Cs: lone surrogates, which are no UTF-8 and bring the bindings down.
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs"})
_FORBIDDEN_IN_ANY = frozenset({"Cs"})
_SEPARATORS = "@/"


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
    def lock_key(self) -> tuple[str, str, str]:
        """What calls on the same image of a scope have in common."""
        return self.pool, self.namespace, self.image

    @property
    def pool_name(self) -> str:
        """``pool``, or ``pool/namespace``."""
        return f"{self.pool}/{self.namespace}" if self.namespace else self.pool

    @property
    def words(self) -> str:
        """How the `rbd` command is told the image: as ``pool/namespace/image`` where it can be, else by options."""
        if not set(_SEPARATORS) & set(self.pool + self.image):
            return shlex.quote(f"{self.pool_name}/{self.image}")
        options = {"--pool": self.pool, "--namespace": self.namespace, "--image": self.image}
        return " ".join(f"{option} {shlex.quote(value)}" for option, value in options.items() if value)


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotSpec(ImageSpec):
    """Which snapshot of which image."""

    snapshot: str


def parse_scope(scope: str) -> ScopeSpec:
    """Say which scope a request means. Raises InvalidRequestError where no scope can have the name."""
    _check(_violations("scope", scope, _Rules(what="scope")))
    return ScopeSpec(scope=scope)


def parse_image(*, scope: str, pool_name: str, image_name: str, is_new: bool = False) -> ImageSpec:
    """Say which image a request means. ``pool_name`` is "pool" or "pool/namespace". ``is_new`` says that it is created.

    Raises InvalidRequestError with a violation for each field that is not valid.
    """
    _check(_image_violations(scope, pool_name, image_name, is_new=is_new))
    pool, _, namespace = pool_name.partition("/")
    return ImageSpec(scope=scope, pool=pool, namespace=namespace, image=image_name)


def parse_snapshot(
    *, scope: str, pool_name: str, image_name: str, snapshot_name: str, is_new: bool = False
) -> SnapshotSpec:
    """Say which snapshot a request means, as ``parse_image`` does. ``is_new`` says that it is created."""
    _check(
        chain(
            _image_violations(scope, pool_name, image_name, is_new=False),
            _violations("snapshot_name", snapshot_name, _rules("snapshot name", is_new=is_new)),
        )
    )
    pool, _, namespace = pool_name.partition("/")
    return SnapshotSpec(scope=scope, pool=pool, namespace=namespace, image=image_name, snapshot=snapshot_name)


def _check(violations: Iterable[FieldViolation]) -> None:
    found = list(violations)
    if found:
        raise InvalidRequestError(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rules:
    """The rules for one name: the characters and categories that it must not have, and its length in bytes."""

    what: str
    forbidden: str = ""
    categories: frozenset[str] = _FORBIDDEN_CATEGORIES
    reserves_dot: bool = True
    max_bytes: int = MAX_NAME_BYTES


def _rules(what: str, *, is_new: bool, forbidden: str = "") -> _Rules:
    """Return the strict rules for a name that is created, else those for one that exists."""
    if is_new:
        return _Rules(what=what, forbidden=_SEPARATORS)
    return _Rules(
        what=what,
        forbidden=forbidden,
        categories=_FORBIDDEN_IN_ANY,
        reserves_dot=False,
        max_bytes=_MAX_EXISTING_BYTES,
    )


def _image_violations(scope: str, pool_name: str, image_name: str, *, is_new: bool) -> Iterator[FieldViolation]:
    pool, slash, namespace = pool_name.partition("/")
    yield from _violations("scope", scope, _Rules(what="scope"))
    yield from _violations("pool_name", pool, _rules("pool name", is_new=False))
    if slash:
        yield from _violations("pool_name", namespace, _rules("namespace", is_new=False, forbidden="/"))
    yield from _violations("image_name", image_name, _rules("image name", is_new=is_new))


def _violations(field: str, name: str, rules: _Rules) -> Iterator[FieldViolation]:
    """Yield the first rule that a name breaks, if any."""
    what = rules.what
    if not name:
        yield FieldViolation(field=field, reason="EMPTY", description=f"The {what} must not be empty.")
    elif "\0" in name or any(unicodedata.category(character) in rules.categories for character in name):
        yield FieldViolation(
            field=field, reason="CONTROL_CHARACTER", description=f"The {what} must not contain control characters."
        )
    elif found := [character for character in rules.forbidden if character in name]:
        allowed = (
            "one '/' may stand between a pool and its namespace"
            if what == "namespace"
            else f"the {what} is given alone"
        )
        yield FieldViolation(
            field=field,
            reason="FORBIDDEN_CHARACTER",
            description=f"The {what} must not contain {' or '.join(map(repr, found))}; {allowed}.",
        )
    elif rules.reserves_dot and name.startswith("."):
        yield FieldViolation(
            field=field,
            reason="RESERVED",
            description=f"The {what} must not begin with '.': Ceph keeps such names for itself.",
        )
    elif (size := len(name.encode())) > rules.max_bytes:
        yield FieldViolation(
            field=field,
            reason="TOO_LONG",
            description=f"The {what} must be {rules.max_bytes} bytes of UTF-8 at the most; this one has {size}.",
        )
