"""Whether a pool has room, and is there for images. librados itself waits for space, for as long as its timeouts allow,
so it is asked before.

(``rados_set_osdmap_full_try`` would not wait, but leaves a snapshot without an object map.)
"""

import errno
import threading
import time
from collections.abc import Mapping
from typing import Any

import rados
from connectrpc.code import Code

from ..errors import CephError, PreconditionError
from .pools import holds_images, mon_command

__all__ = ["PoolStates"]

_FRESH_SECONDS = 2.0


class PoolStates:
    """What the monitor says of the pools, asked at most every two seconds. Its calls block; from any thread.

    Before a call is refused, the monitor is asked anew, so that none is for what is mended already.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked = float("-inf")
        self._pools: dict[str, Mapping[str, Any]] = {}

    def check_room(self, connection: rados.Rados, name: str) -> None:
        """Raise CephError (resource_exhausted) where a pool takes no more data, and what ``mon_command`` raises."""
        if "full" in self._flags(connection, name, fresh_seconds=_FRESH_SECONDS):
            flags = self._flags(connection, name, fresh_seconds=0)
            if "full_quota" in flags:
                raise CephError(
                    Code.RESOURCE_EXHAUSTED,
                    "POOL_QUOTA_REACHED",
                    f"The quota of pool {name!r} is reached.",
                    errno.EDQUOT,
                )
            if "full" in flags:
                raise CephError(Code.RESOURCE_EXHAUSTED, "POOL_FULL", f"The pool {name!r} is full.", errno.ENOSPC)

    def check_holds_images(self, connection: rados.Rados, name: str) -> None:
        """Raise PreconditionError where a pool is not there for images, and what ``mon_command`` raises."""
        for fresh_seconds in (_FRESH_SECONDS, 0):
            pool = self._pool(connection, name, fresh_seconds=fresh_seconds)
            if pool is not None and holds_images(pool):
                return
        if pool is not None:
            raise PreconditionError(
                "POOL_NOT_FOR_IMAGES",
                f"The pool {name!r} is not for images: it must be replicated, and tagged for the application rbd.",
            )

    def ask(self, connection: rados.Rados) -> None:
        """Ask the monitor, whenever it was asked before. Raises what ``rados_mon_command`` raises."""
        with self._lock:
            self._ask(connection)

    def _flags(self, connection: rados.Rados, name: str, *, fresh_seconds: float) -> list[str]:
        pool = self._pool(connection, name, fresh_seconds=fresh_seconds)
        return [] if pool is None else pool["flags_names"].split(",")

    def _pool(self, connection: rados.Rados, name: str, *, fresh_seconds: float) -> Mapping[str, Any] | None:
        with self._lock:
            if time.monotonic() - self._asked > fresh_seconds:
                self._ask(connection)
            return self._pools.get(name)

    def _ask(self, connection: rados.Rados) -> None:
        self._pools = {pool["pool_name"]: pool for pool in mon_command(connection, "osd pool ls", detail="detail")}
        self._asked = time.monotonic()
