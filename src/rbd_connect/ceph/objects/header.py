"""What Ceph keeps of an image, read by class calls of cls_rbd, for images that librbd does not open.

The objects are librbd's (https://docs.ceph.com/en/latest/dev/rbd-layering/, src/include/rbd_types.h): ``rbd_directory``
and ``rbd_id.NAME`` hold an image's id, ``rbd_header.ID`` all else.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import rados

from .encoding import Reader, encode_string, encode_u64

__all__ = [
    "DIRECTORY",
    "TRASH",
    "Link",
    "RawSnapshot",
    "header_of",
    "id_in_directory",
    "id_of",
    "is_half_deleted",
    "migration_source",
    "parent_of",
    "raw_snapshots",
    "raw_snapshots_of_format_1",
]

DIRECTORY = "rbd_directory"
TRASH = "rbd_trash"

_REPLY_BYTES = 1 << 20
_PAGE = 512
_REMOVING = 3  # cls::rbd::TRASH_IMAGE_SOURCE_REMOVING
_MIGRATION_TARGET = 2  # cls::rbd::MIGRATION_HEADER_TYPE_DST
_USER = 0  # cls::rbd::SNAPSHOT_NAMESPACE_TYPE_USER
_TRASH = 2  # cls::rbd::SNAPSHOT_NAMESPACE_TYPE_TRASH


@dataclass(frozen=True, slots=True)
class Link:
    """Another image that an image needs: its parent, or the source of its migration."""

    pool_id: int
    namespace: str
    image_id: str


@dataclass(frozen=True, slots=True)
class RawSnapshot:
    """A snapshot (``cls::rbd::SnapshotInfo``). ``kind`` is as librbd numbers namespaces; ``size`` is in bytes.

    ``original_name`` is that of a deleted one that is kept for its clones.
    """

    id: int
    name: bytes
    size: int
    kind: int
    original_name: bytes | None


def header_of(image_id: str) -> str:
    """Return the name of an image's header object."""
    return f"rbd_header.{image_id}"


def id_of(ioctx: rados.Ioctx, name: str) -> str | None:
    """Return the id that ``rbd_id.NAME`` holds; None where there is no such object. Raises what ``rados_read`` raises.

    Images of format 1 have no id.
    """
    try:
        return _text(Reader(ioctx.read(f"rbd_id.{name}")))
    except rados.ObjectNotFound:
        return None


def id_in_directory(ioctx: rados.Ioctx, name: str) -> str | None:
    """Return the id that the directory has for a name (``dir_get_id``); None where the name is not listed.

    Raises what ``rados_exec`` raises.
    """
    try:
        return _text(_ask(ioctx, DIRECTORY, "dir_get_id", encode_string(name)))
    except rados.ObjectNotFound:
        return None


def is_half_deleted(ioctx: rados.Ioctx, name: str) -> bool:
    """Say whether the deletion of an image of that name was begun and not ended (``trash_list``).

    librbd begins a deletion by moving the image to the trash, with a mark of its own. Raises what ``rados_exec``
    raises.
    """
    last = b""
    while True:
        try:
            page = _ask(ioctx, TRASH, "trash_list", encode_string(last) + encode_u64(_PAGE))
        except rados.ObjectNotFound:
            return False
        count = page.u32()
        for _ in range(count):
            last, entry = page.string(), page.versioned()
            if entry.u8() == _REMOVING and entry.string() == name.encode():
                return True
        if count < _PAGE:
            return False


def parent_of(ioctx: rados.Ioctx, image_id: str) -> Link | None:
    """Return an image's parent (``parent_get``), or None. Raises ``rados.ObjectNotFound`` for the header."""
    spec = _ask(ioctx, header_of(image_id), "parent_get").versioned()
    link = Link(spec.i64(), _text(spec), _text(spec))
    return None if link.pool_id < 0 else link


def migration_source(ioctx: rados.Ioctx, image_id: str) -> Link | None:
    """Return the source of the migration that an image is the target of (``migration_get``), or None.

    Raises ``rados.ObjectNotFound`` for the header.
    """
    try:
        spec = _ask(ioctx, header_of(image_id), "migration_get").versioned()
    except rados.InvalidArgumentError:
        return None  # it is under no migration
    if spec.u8() != _MIGRATION_TARGET:
        return None
    pool_id, namespace = spec.i64(), _text(spec)
    spec.string()  # its name
    return Link(pool_id, namespace, _text(spec))


def raw_snapshots(ioctx: rados.Ioctx, image_id: str) -> Iterator[RawSnapshot]:
    """Yield an image's snapshots, the newest first (``get_snapcontext``, ``snapshot_get``), whatever their names hold.

    A snapshot that is removed meanwhile is left out. Raises what ``rados_exec`` raises.
    """
    header = header_of(image_id)
    context = _ask(ioctx, header, "get_snapcontext")
    context.u64()  # the highest id
    for number in [context.u64() for _ in range(context.u32())]:
        try:
            snapshot = _ask(ioctx, header, "snapshot_get", encode_u64(number)).versioned()
        except rados.ObjectNotFound:
            continue
        snapshot.u64()  # its id
        namespace = snapshot.versioned()
        kind = namespace.u32()
        original_name = namespace.string() if kind == _TRASH else None
        yield RawSnapshot(number, snapshot.string(), snapshot.u64(), kind, original_name)


def raw_snapshots_of_format_1(ioctx: rados.Ioctx, name: str) -> Iterator[RawSnapshot]:
    """Yield the snapshots of an image of format 1 (``snap_list``), as ``raw_snapshots`` does."""
    listed = _ask(ioctx, f"{name}.rbd", "snap_list")
    listed.u64()  # the highest id
    for _ in range(listed.u32()):
        number, size = listed.u64(), listed.u64()
        yield RawSnapshot(number, listed.string(), size, _USER, None)


def _ask(ioctx: rados.Ioctx, oid: str, method: str, argument: bytes = b"") -> Reader:
    _, reply = ioctx.execute(oid, "rbd", method, argument, _REPLY_BYTES)
    return Reader(bytes(reply))


def _text(reader: Reader) -> str:
    return reader.string().decode(errors="replace")
