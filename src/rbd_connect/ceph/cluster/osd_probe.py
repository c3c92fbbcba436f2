"""Whether the OSDs of a cluster answer, for who asks whether calls may be sent here."""

import errno
import threading
import time
from functools import partial
from itertools import cycle, islice

import rados

from rbd_connect.ceph.objects.async_calls import BoundedReply, open_handle
from rbd_connect.ceph.pools.pool_map import PoolMap

__all__ = ["OsdProbe"]

# In so many placement groups, and in as many pools where there are: so they are several OSDs' where there are several.
_QUESTIONS = 3
_PATIENCE_SECONDS = 0.3
_LOOK_SECONDS = 0.01


class OsdProbe:
    """Questions for objects that do not exist. One that was not answered is waited for, and none is asked beside it.

    From any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[BoundedReply] = []

    def answers(self, connection: rados.Rados, pools: PoolMap) -> bool:
        """Say whether an OSD has answered within 0.3 s, be it that the Ceph user may not ask. Raises rados.Error.

        Where no pool holds images, there is none to be asked, and the answer is yes.
        """
        with self._lock:
            self._ask(connection, pools)
            if not self._open:
                return True
            until = time.monotonic() + _PATIENCE_SECONDS
            while not any(map(_is_answered, self._open)):
                if time.monotonic() > until:
                    return False
                self._open[0].status(_LOOK_SECONDS)
            return True

    def _ask(self, connection: rados.Rados, pools: PoolMap) -> None:
        self._open = [reply for reply in self._open if reply.status(0) is None]
        holding = [pool for pool in pools.by_id.values() if pool.holds_images]
        for number, pool in enumerate(islice(cycle(holding), _QUESTIONS - len(self._open))):
            ioctx = open_handle(connection, pool.id)
            self._open.append(BoundedReply(partial(ioctx.aio_read, f"rbd-connect.{number}", 1, 0)))


def _is_answered(reply: BoundedReply) -> bool:
    return reply.status(0) not in {None, errno.ETIMEDOUT}
