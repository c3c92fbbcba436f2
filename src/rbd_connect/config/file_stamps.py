"""Files that something was made by, and whether they are others by now: a key was rotated, a token revoked."""

import time
from pathlib import Path

__all__ = ["Files", "Stamps", "stamps"]

_FRESH_SECONDS = 1.0

_Identity = tuple[int, int, int, int]
Stamps = dict[Path, _Identity | None]


def stamps(*paths: Path) -> Stamps:
    """Say what would be different of files had they been written, replaced, made, removed, or had another mode."""
    return {path: _identity(path) for path in paths}


class Files:
    """Files as they were when they were first looked at; after that, once a second at the most."""

    def __init__(self) -> None:
        self._seen: Stamps = {}
        self._looked = time.monotonic()
        self._changed = False

    def look_at(self, *paths: Path) -> None:
        """Do so before they are read."""
        self._seen = self._seen | stamps(*paths)

    def have_changed(self) -> bool:
        """Say whether one was written, replaced, made or removed since."""
        if not self._changed and time.monotonic() - self._looked > _FRESH_SECONDS:
            self._looked = time.monotonic()
            self._changed = stamps(*self._seen) != self._seen
        return self._changed


def _identity(path: Path) -> _Identity | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size
