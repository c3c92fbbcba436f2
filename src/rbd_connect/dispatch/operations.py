"""What a worker process can be asked to do. The server's process names an operation; the worker carries it out.

So the server itself never loads librados or librbd.
"""

from typing import Protocol

from rbd_connect.model.layout import Layout
from rbd_connect.model.names import ImageSpec, SnapshotSpec
from rbd_connect.model.resources import Image, Pool, Snapshot

__all__ = ["Operations"]


class Operations(Protocol):
    """Operations of one scope's cluster. All of them block, and raise ServiceError.

    ``diff_budget`` bounds, in objects for each snapshot, what is spent on used bytes.
    """

    def create_snapshot(self, spec: SnapshotSpec, diff_budget: int, /) -> Snapshot:
        """Create a snapshot and describe it. Raises SnapshotExistsError with the existing one."""
        ...

    def delete_snapshot(self, spec: SnapshotSpec, /) -> int | None:
        """Delete a snapshot. Return its id, or None where there was none."""
        ...

    def protect_snapshot(self, spec: SnapshotSpec, /) -> int:
        """Protect a snapshot from deletion. Return its id."""
        ...

    def unprotect_snapshot(self, spec: SnapshotSpec, /) -> int:
        """Take a snapshot's protection away. Return its id."""
        ...

    def roll_back(self, spec: SnapshotSpec, /) -> int:
        """Roll an image back to a snapshot. Return the snapshot's id."""
        ...

    def create_image(self, spec: ImageSpec, layout: Layout, diff_budget: int, /) -> Image:
        """Create an image and describe it. Raises ImageExistsError with the existing one."""
        ...

    def resize_image(self, spec: ImageSpec, size: int, diff_budget: int, /) -> Image:
        """Give an image another size, in bytes, and describe it."""
        ...

    def delete_image(self, spec: ImageSpec, /) -> None:
        """Delete an image."""
        ...

    def list_pools(self, application: str, /) -> list[Pool]:
        """List the pools that are tagged for an application, or all where it is ""."""
        ...

    def pool_names(self) -> list[str]:
        """Return the names of all pools."""
        ...

    def list_images(self, scope: str, diff_budget: int, /) -> list[Image]:
        """List the images of all pools and namespaces."""
        ...

    def blocklist(self, address: str, /) -> None:
        """Blocklist a client that has ended."""
        ...

    def osds_answer(self) -> bool:
        """Connect if need be, and say whether OSDs answer within a moment."""
        ...

    def probe(self) -> None:
        """Connect if need be, and ask the monitor something."""
        ...
