"""Images and their snapshots in plain Python: what each call of the API is to do to them, or why it is refused."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

__all__ = ["CODES", "Image", "Images", "RefusedError", "Snapshot", "reason_of"]

# The code of each reason for which a call is refused here.
CODES = {
    "IMAGE_EXISTS": "already_exists",
    "IMAGE_HAS_SNAPSHOTS": "failed_precondition",
    "IMAGE_NOT_FOUND": "not_found",
    "IMAGE_WITHOUT_LAYERING": "failed_precondition",
    "INVALID_LAYOUT": "invalid_argument",
    "SNAPSHOT_EXISTS": "already_exists",
    "SNAPSHOT_HAS_CLONES": "failed_precondition",
    "SNAPSHOT_NOT_FOUND": "not_found",
    "SNAPSHOT_PROTECTED": "failed_precondition",
}


MOST_BYTES = (1 << 63) - 1


class RefusedError(Exception):
    """The call is refused, and nothing was done."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def reason_of(change: Callable[[], object]) -> str | None:
    """Do something to the model. Give the reason where it is refused."""
    try:
        change()
    except RefusedError as error:
        return error.reason
    return None


@dataclass(eq=False)
class Snapshot:
    """An image's bytes at some time. Its size is how many there are."""

    content: bytes
    protected: bool = False


@dataclass(eq=False)
class Image:
    """An image's bytes, and its snapshots in the order in which they were made.

    ``kept`` are snapshots that were deleted, but have clones of format 2. ``parent`` is the snapshot that it is a clone
    of, ``clone_format`` that clone's.
    """

    content: bytes
    layering: bool
    parent: Snapshot | None = None
    clone_format: int = 0
    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    kept: list[Snapshot] = field(default_factory=list)

    def find(self, name: str) -> Snapshot:
        if name not in self.snapshots:
            raise RefusedError("SNAPSHOT_NOT_FOUND")
        return self.snapshots[name]

    def write(self, data: bytes, offset: int) -> None:
        assert offset + len(data) <= len(self.content)
        self.content = self.content[:offset] + data + self.content[offset + len(data) :]


class Images:
    """The images of one place. Each method is a call, and raises RefusedError where that is refused."""

    def __init__(self) -> None:
        self.by_name: dict[str, Image] = {}

    def snapshots(self) -> list[tuple[str, str]]:
        """The snapshots that there are: the image's name, and its own."""
        return [(name, snapshot) for name, image in self.by_name.items() for snapshot in image.snapshots]

    def find(self, name: str) -> Image:
        if name not in self.by_name:
            raise RefusedError("IMAGE_NOT_FOUND")
        return self.by_name[name]

    def create(self, name: str, size: int, *, layering: bool) -> None:
        self._add(name, Image(bytes(size), layering))

    def clone(self, name: str, snapshot: Snapshot, clone_format: int) -> None:
        self._add(name, Image(snapshot.content, layering=True, parent=snapshot, clone_format=clone_format))

    def resize(self, name: str, size: int) -> None:
        image = self.find(name)
        if size > MOST_BYTES:
            raise RefusedError("INVALID_LAYOUT")
        image.content = image.content[:size].ljust(size, b"\0")

    def delete(self, name: str) -> None:
        image = self.find(name)
        if image.snapshots or image.kept:
            raise RefusedError("IMAGE_HAS_SNAPSHOTS")
        del self.by_name[name]
        if image.parent is not None and not self._has_clones(image.parent):
            for other in self.by_name.values():
                other.kept = [snapshot for snapshot in other.kept if snapshot is not image.parent]

    def create_snapshot(self, name: str, snapshot: str) -> None:
        image = self.find(name)
        if snapshot in image.snapshots:
            raise RefusedError("SNAPSHOT_EXISTS")
        image.snapshots[snapshot] = Snapshot(image.content)

    def delete_snapshot(self, name: str, snapshot: str) -> None:
        image = self.find(name)
        found = image.find(snapshot)
        if found.protected:
            raise RefusedError("SNAPSHOT_PROTECTED")
        del image.snapshots[snapshot]
        if self._has_clones(found):
            image.kept.append(found)

    def protect(self, name: str, snapshot: str) -> None:
        image = self.find(name)
        found = image.find(snapshot)
        if not image.layering:
            raise RefusedError("IMAGE_WITHOUT_LAYERING")
        found.protected = True

    def unprotect(self, name: str, snapshot: str) -> None:
        found = self.find(name).find(snapshot)
        if found.protected and any(clone.clone_format == 1 for clone in self._clones(found)):
            raise RefusedError("SNAPSHOT_HAS_CLONES")  # those of format 2 need no protection
        found.protected = False

    def roll_back(self, name: str, snapshot: str) -> None:
        image = self.find(name)
        image.content = image.find(snapshot).content

    def _add(self, name: str, image: Image) -> None:
        if name in self.by_name:
            raise RefusedError("IMAGE_EXISTS")
        self.by_name[name] = image

    def _clones(self, snapshot: Snapshot) -> Iterator[Image]:
        return (image for image in self.by_name.values() if image.parent is snapshot)

    def _has_clones(self, snapshot: Snapshot) -> bool:
        return any(True for _ in self._clones(snapshot))
