"""Whether a pool is full. librados itself waits for space, for as long as its timeouts allow, so it is asked before.

(``rados_set_osdmap_full_try`` would not wait, but leaves a snapshot without an object map.)
"""

import errno
import json
import threading
import time

import rados
from connectrpc.code import Code

from ..errors import CephError

__all__ = ["Fullness"]

_FRESH_SECONDS = 2.0


class Fullness:
    """What the monitor says of the pools' flags, asked at most every two seconds. Its calls block; from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked = float("-inf")
        self._flags: dict[str, frozenset[str]] = {}

    def check(self, connection: rados.Rados, pool: str) -> None:
        """Raise CephError (resource_exhausted) where a pool takes no more data, and what ``rados_mon_command`` raises.

        A pool that is said to be full is asked about anew, so that no call is refused for what is mended already.
        """
        flags = self._of(connection, pool, fresh_seconds=_FRESH_SECONDS)
        if "full" in flags:
            flags = self._of(connection, pool, fresh_seconds=0)
        if "full_quota" in flags:
            raise CephError(
                Code.RESOURCE_EXHAUSTED, "POOL_QUOTA_REACHED", f"The quota of pool {pool!r} is reached.", errno.EDQUOT
            )
        if "full" in flags:
            raise CephError(Code.RESOURCE_EXHAUSTED, "POOL_FULL", f"The pool {pool!r} is full.", errno.ENOSPC)

    def ask(self, connection: rados.Rados) -> None:
        """Ask the monitor, whenever it was asked before. Raises what ``rados_mon_command`` raises."""
        with self._lock:
            self._ask(connection)

    def _of(self, connection: rados.Rados, pool: str, *, fresh_seconds: float) -> frozenset[str]:
        with self._lock:
            if time.monotonic() - self._asked > fresh_seconds:
                self._ask(connection)
            return self._flags.get(pool, frozenset())

    def _ask(self, connection: rados.Rados) -> None:
        command = json.dumps({"prefix": "osd pool ls", "detail": "detail", "format": "json"})
        status, output, _ = connection.mon_command(command, b"")
        if status:
            raise rados.OSError("osd pool ls detail", errno=-status)
        self._flags = {pool["pool_name"]: frozenset(pool["flags_names"].split(",")) for pool in json.loads(output)}
        self._asked = time.monotonic()
