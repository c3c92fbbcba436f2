"""The files that a connection was made by, and whether they are others by now: a key was rotated, monitors moved."""

import time
from collections.abc import Iterable
from pathlib import Path

import rados

__all__ = ["Files", "keyrings_of"]

_FRESH_SECONDS = 1.0


def keyrings_of(connection: rados.Rados) -> list[Path]:
    """Say where librados looks for the keyring of a connection (``rados_conf_get``)."""
    return [Path(path.strip()) for path in (connection.conf_get("keyring") or "").split(",") if path.strip()]


class Files:
    """Files as they were when this was made. They are looked at once a second at the most."""

    def __init__(self, paths: Iterable[Path] = ()) -> None:
        self._paths = tuple(paths)
        self._seen = self._look()
        self._looked = time.monotonic()
        self._changed = False

    def have_changed(self) -> bool:
        """Say whether one was written, replaced, made or removed since."""
        if not self._changed and time.monotonic() - self._looked > _FRESH_SECONDS:
            self._looked = time.monotonic()
            self._changed = self._look() != self._seen
        return self._changed

    def _look(self) -> list[tuple[int, int, int] | None]:
        return [_identity(path) for path in self._paths]


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
