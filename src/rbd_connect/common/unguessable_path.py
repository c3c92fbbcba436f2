"""A path for a socket that librados makes: nothing is there, and nobody can guess it."""

from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from tempfile import gettempdir

__all__ = ["unguessable_path"]


def unguessable_path() -> Path | None:
    """Give a path where there is nothing, that nobody can guess; None where there is no folder for such.

    librados makes nothing there before a monitor has answered. A folder of its own would be left by a process that is
    killed until then.
    """
    with suppress(OSError):
        return Path(gettempdir()) / f"rbd-connect-{token_hex(8)}"
    return None
