"""Files that something was made by, and whether they are others by now: a key was rotated, a token revoked."""

import time
from pathlib import Path

__all__ = ["Files"]

_FRESH_SECONDS = 1.0

_Identity = tuple[int, int, int]


class Files:
    """Files as they were when they were first looked at; after that, once a second at the most."""

    def __init__(self) -> None:
        self._seen: dict[Path, _Identity | None] = {}
        self._looked = time.monotonic()
        self._changed = False

    def look_at(self, *paths: Path) -> None:
        """Do so before they are read."""
        self._seen = self._seen | {path: _identity(path) for path in paths}

    def have_changed(self) -> bool:
        """Say whether one was written, replaced, made or removed since."""
        if not self._changed and time.monotonic() - self._looked > _FRESH_SECONDS:
            self._looked = time.monotonic()
            self._changed = any(_identity(path) != seen for path, seen in self._seen.items())
        return self._changed


def _identity(path: Path) -> _Identity | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
